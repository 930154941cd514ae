//! What nobody but members may have: a text that is searched for in all that a service keeps and
//! tells, also as base64 and hex, in which it would be as readable.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD, prelude::BASE64_URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// How much is read at once.
const PART: usize = 1 << 20;

/// Searches for one text.
pub struct Marker(Vec<Finder<'static>>);

impl Marker {
    /// Of a text of at least some 12 bytes.
    pub fn new(text: &str) -> Self {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut forms = vec![text.as_bytes().to_vec(), hex.to_uppercase().into_bytes()];
        forms.push(hex.into_bytes());
        // Where it begins within three bytes decides how it looks; its ends also depend on what is
        // beside it.
        for shift in 0..3 {
            let shifted = [&b"xxx"[..shift], text.as_bytes()].concat();
            let whole = shifted.len() / 3 * 4;
            for encoded in [
                BASE64_STANDARD_NO_PAD.encode(&shifted),
                BASE64_URL_SAFE_NO_PAD.encode(&shifted),
            ] {
                let from = if shift == 0 { 0 } else { 4 };
                forms.push(encoded.as_bytes()[from..whole].to_vec());
            }
        }
        let finders = forms.iter().map(|form| Finder::new(form).into_owned());
        Self(finders.collect())
    }

    /// Whether bytes have it.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|form| form.find(bytes).is_some())
    }

    /// How many of its forms are in what can be read.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_read_in(&self, mut from: impl Read) -> io::Result<bool> {
        let longest = self.0.iter().map(|form| form.needle().len()).max();
        let longest = longest.unwrap_or(1);
        let mut part = vec![0; PART + longest];
        let mut kept = 0;
        loop {
            let read = from.read(&mut part[kept..])?;
            if read == 0 {
                return Ok(false);
            }
            let end = kept + read;
            if self.is_in(&part[..end]) {
                return Ok(true);
            }
            kept = end.min(longest - 1);
            part.copy_within(end - kept..end, 0);
        }
    }

    /// Files below a folder that have it, and how many were read. What is gone by then is left out.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn files(&self, folder: &Path) -> io::Result<(Vec<PathBuf>, usize)> {
        let (mut found, mut count) = (Vec::new(), 0);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let Some(entries) = there(std::fs::read_dir(&folder))? else {
                continue;
            };
            for entry in entries {
                let path = entry?.path();
                let Some(kind) = there(path.symlink_metadata())? else {
                    continue;
                };
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file()
                    && let Some(file) = there(File::open(&path))?
                {
                    count += 1;
                    if self.is_read_in(file)? {
                        found.push(path);
                    }
                }
            }
        }
        Ok((found, count))
    }
}

/// Servers remove files while they are looked at.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Zwiebelfischkonfitüre";

    #[test]
    fn a_marker_is_found_in_whatever_form_and_place() {
        let marker = Marker::new(TEXT);
        for before in ["", "a", "ab", "abc"] {
            let said = format!("{before}{TEXT}, and more");
            let hex: String = said.bytes().map(|byte| format!("{byte:02x}")).collect();
            let forms = [
                BASE64_URL_SAFE_NO_PAD.encode(&said),
                BASE64_STANDARD_NO_PAD.encode(&said),
                hex,
                said,
            ];
            for form in forms {
                assert!(marker.is_in(form.as_bytes()), "{form}");
            }
        }
        assert!(!marker.is_in("Zwiebelfischkonfitur".as_bytes()));
    }

    #[test]
    fn a_marker_is_found_between_two_parts_of_a_file() {
        let marker = Marker::new(TEXT);
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        for (name, at) in [("cut", PART - 5), ("long", 3 * PART + 7)] {
            let bytes = [&vec![0; at][..], TEXT.as_bytes(), &[0; 9]].concat();
            std::fs::write(deep.join(name), bytes).unwrap();
        }
        std::fs::write(folder.path().join("none"), vec![1; 2 * PART]).unwrap();
        let (mut found, count) = marker.files(folder.path()).unwrap();
        found.sort();
        assert_eq!(
            (found, count),
            (vec![deep.join("cut"), deep.join("long")], 3)
        );
    }
}
