//! What the variables that are meant for this program set: keys, and secrets from the files that
//! they name.

use super::{
    Error, Source,
    environment::{IN_A_FILE, OF_AKKA, PREFIX, SHORT},
    layers::{Layers, may_be_secret},
};
use crate::secret;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Those of Akka's variables that others set too: alone they say nothing about where a command came
/// from.
const COMMON: [&str; 2] = ["SEEDS", "ENV"];

impl Layers {
    /// Sets what can be, also when something else there is wrong.
    pub(super) fn environment(&mut self, own: &BTreeMap<String, String>) -> Result<(), Error> {
        let mut outcome = Ok(());
        for (name, key) in SHORT {
            if let Some(text) = own.get(name) {
                self.text(key, text.clone(), Source::Environment(name.into()));
            }
            outcome = outcome.and(self.secret_file(key, name, own).map(drop));
        }
        for (name, text) in own {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let key = key_of(rest);
            let of_file = rest.strip_suffix(IN_A_FILE).map(key_of);
            if self.known.contains_key(&key) {
                self.text(&key, text.clone(), Source::Environment(name.clone()));
            } else if let Some(key) = of_file.filter(|key| self.known.contains_key(key)) {
                let variable = name.strip_suffix(IN_A_FILE).unwrap_or(name);
                match self.secret_file(&key, variable, own) {
                    Ok(true) => {}
                    Ok(false) => self.unknown.push(format!(
                        "{name} in the environment is not known: only secrets are read from \
                         files, and {key} is none; use {variable}"
                    )),
                    Err(wrong) => outcome = outcome.and(Err(wrong)),
                }
            } else {
                self.unknown(&key, name, &Source::Environment(name.clone()));
            }
        }
        self.note_akka(own);
        outcome
    }

    /// Sets a key that may hold a secret from the file that `<variable>_FILE` names, if that is
    /// set. Whether the key may hold one.
    fn secret_file(
        &mut self,
        key: &str,
        variable: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<bool, Error> {
        if !may_be_secret(key) {
            return Ok(false);
        }
        let by_file = format!("{variable}{IN_A_FILE}");
        let Some(path) = variables.get(&by_file).map(PathBuf::from) else {
            return Ok(true);
        };
        let unusable = |why: String| Error::SecretFile {
            variable: by_file.clone(),
            path: path.clone(),
            why,
        };
        if variables.contains_key(variable) {
            return Err(unusable(format!(
                "{variable} is set too; unset one of them"
            )));
        }
        let text = read(&path).map_err(unusable)?;
        // Editors and `echo` end a line.
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(unusable("it is empty".to_owned()));
        }
        if secret.contains(['\r', '\n', '\u{feff}']) {
            return Err(unusable(
                "it has more than one line, or a byte order mark; it must hold the secret alone"
                    .to_owned(),
            ));
        }
        let source = Source::SecretFile {
            variable: by_file,
            path,
        };
        self.text(key, secret.to_owned(), source);
        Ok(true)
    }

    /// Says once, and only to who comes from there, that some variables are not needed.
    fn note_akka(&mut self, variables: &BTreeMap<String, String>) {
        let set: Vec<_> = OF_AKKA
            .into_iter()
            .filter(|name| variables.contains_key(*name))
            .collect();
        if set.iter().any(|name| !COMMON.contains(name)) {
            self.notes.push(format!(
                "{} not needed and ignored: nodes find each other on NATS",
                match set.as_slice() {
                    [one] => format!("{one} is"),
                    many => format!("{} are", many.join(", ")),
                }
            ));
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = secret::read(path).map_err(|error| error.to_string())?;
    // The text of the error would quote bytes of the secret.
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// `OPS__PASSWORD` -> `ops.password`.
fn key_of(variable: &str) -> String {
    variable.to_lowercase().replace("__", ".")
}
