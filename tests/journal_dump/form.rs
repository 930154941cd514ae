//! The form of the file: what was written once can be read, and what is not as it was written is
//! found before anything of it counts.

use crate::world::{AT, Place, export, room, talk};
use safe_chat::{
    bus::JournalKind,
    journal::dump::{Error, FORM, Item, Reader, Writer, check},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf};

fn golden() -> String {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal/export.1.ndjson");
    fs::read_to_string(path).unwrap()
}

async fn file() -> String {
    let place = Place::bus();
    for (name, messages) in [("aaa", 3), ("bbb", 1)] {
        talk(&place, name, messages).await;
    }
    String::from_utf8(export(&place, &["aaa", "bbb"]).await).unwrap()
}

fn lines(file: &str) -> Vec<Value> {
    let lines = file.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Why a file is refused.
fn refusal(file: &str) -> String {
    match check(file.as_bytes()) {
        Err(Error::Form { line, what }) => format!("{line}: {what}"),
        other => panic!("{other:?}"),
    }
}

/// Which of the lines, from 1 on, is another.
fn with(file: &str, number: usize, change: impl FnOnce(&str) -> String) -> String {
    let mut change = Some(change);
    let lines = file
        .lines()
        .enumerate()
        .map(|(index, line)| match index + 1 == number {
            true => change
                .take()
                .map_or_else(String::new, |change| change(line)),
            false => format!("{line}\n"),
        });
    lines.collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_as_it_was_always_written() {
    let golden = golden();
    let (mut written, mut before) = (lines(&file().await), lines(&golden));
    // How events and states are stored has golden files of its own, and goes on to newer versions.
    for line in written.iter_mut().chain(&mut before) {
        let line = line.as_object_mut().unwrap();
        line.retain(|key, _| !["stored", "sha256"].contains(&key.as_str()));
        line.remove("name").map(|_| line.remove("version"));
    }
    assert_eq!(written, before, "the form of version {FORM} never changes");
    let checked = check(golden.as_bytes()).unwrap();
    assert_eq!((checked.rooms, checked.events), (2, 6));
    assert_eq!(checked.header.cluster.as_deref(), Some("the-cluster"));
}

#[tokio::test(start_paused = true)]
async fn a_person_reads_what_happened_beside_the_stored_bytes() {
    let lines = lines(&file().await);
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds[..8],
        [
            "safe-chat journal",
            "room",
            "event",
            "event",
            "event",
            "event",
            "state",
            "end"
        ]
    );
    assert_eq!(lines[0]["shards"], 4);
    assert_eq!(
        (&lines[2]["seq"], &lines[2]["name"]),
        (&1.into(), &"joined".into())
    );
    assert_eq!(
        (&lines[3]["name"], &lines[3]["version"]),
        (&"text".into(), &2.into())
    );
    assert_eq!(
        (&lines[7]["events"], &lines[7]["last"]),
        (&4.into(), &4.into())
    );
    assert_eq!(lines.last().unwrap()["rooms"], 2);
}

#[tokio::test(start_paused = true)]
async fn whatever_line_is_changed_left_out_or_moved_the_file_is_refused() {
    let file = file().await;
    let count = file.lines().count();
    for number in 1..=count {
        let missing = with(&file, number, |_| String::new());
        assert!(check(missing.as_bytes()).is_err(), "without line {number}");
        let twice = with(&file, number, |line| format!("{line}\n{line}\n"));
        assert!(check(twice.as_bytes()).is_err(), "line {number} twice");
        // A digit of each number and text, one after the other.
        let line = file.lines().nth(number - 1).unwrap();
        let digits = line.char_indices().filter(|(_, c)| c.is_ascii_digit());
        for (at, digit) in digits.step_by(3) {
            let other = if digit == '1' { "2" } else { "1" };
            let changed = with(&file, number, |line| {
                format!("{}{other}{}\n", &line[..at], &line[at + 1..])
            });
            assert!(
                check(changed.as_bytes()).is_err(),
                "line {number}, byte {at}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_cut_off_is_refused_wherever_that_was() {
    let file = file().await;
    for end in (0..file.len()).step_by(5) {
        assert!(check(&file.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    assert!(refusal(&file[..file.len() - 1]).contains("cut off"));
    let (without_total, _) = file.trim_end().rsplit_once('\n').unwrap();
    assert!(refusal(&format!("{without_total}\n")).contains("before its total"));
}

/// An endless line, of which it counts how much is read.
struct Endless {
    begin: &'static [u8],
    read: u64,
}

impl std::io::Read for &mut Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let from = self.begin.len().min(into.len());
        into.fill(b'x');
        into[..from].copy_from_slice(&self.begin[..from]);
        self.begin = &self.begin[from..];
        self.read += into.len() as u64;
        Ok(into.len())
    }
}

#[test]
fn a_line_that_can_be_none_is_refused_before_all_of_it_is_read() {
    for begin in [&b""[..], b"{\"type\":\"event\","] {
        let mut endless = Endless { begin, read: 0 };
        let why = match check(std::io::BufReader::new(&mut endless)) {
            Err(Error::Form { line: 1, what }) => what,
            other => panic!("{other:?}"),
        };
        assert!(why.contains("longer than any line"), "{why}");
        assert!(endless.read <= 17 * 1024 * 1024, "{}", endless.read);
    }
}

#[tokio::test(start_paused = true)]
async fn what_happened_to_a_file_on_its_way_is_said() {
    let file = file().await;
    let zipped = b"\x1f\x8b\x08\x00\x00";
    let marked = format!("\u{feff}{file}");
    let crlf = file.replace('\n', "\r\n");
    let cases: [(&[u8], &str); 4] = [
        (zipped, "1: the file is compressed: gunzip"),
        (
            marked.as_bytes(),
            "1: the file begins with a byte order mark",
        ),
        (crlf.as_bytes(), "1: the line ends with CR and LF"),
        (
            &file.as_bytes()[..file.len() - 9],
            ": the line has no end: the file was cut off",
        ),
    ];
    for (bytes, expected) in cases {
        let why = match check(bytes) {
            Err(Error::Form { line, what }) => format!("{line}: {what}"),
            other => panic!("{other:?}"),
        };
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_version_and_other_files_are_named() {
    let file = file().await;
    let newer = with(&file, 1, |line| {
        let newer = line.replacen("\"version\":1", "\"version\":2", 1);
        format!("{newer}\n")
    });
    let why = refusal(&newer);
    assert!(why.starts_with("1: ") && why.contains("version 2"), "{why}");
    for other in [
        "",
        "{}\n",
        "hello\n",
        "{\"type\":\"room\",\"room\":\"a\",\"head\":1}\n",
    ] {
        assert!(check(other.as_bytes()).is_err(), "{other}");
    }
}

/// Digests that fit are easily made: what stands in the lines must fit as well.
#[tokio::test(start_paused = true)]
async fn a_state_that_the_events_do_not_give_is_refused() {
    let (place, other) = (Place::memory(), Place::memory());
    talk(&place, "aaa", 3).await;
    talk(&other, "aaa", 2).await;
    talk(&other, "bbb", 3).await;
    let (one, two) = (
        export(&place, &["aaa"]).await,
        export(&other, &["bbb"]).await,
    );
    let state = |file: &[u8]| lines(std::str::from_utf8(file).unwrap())[6]["stored"].clone();
    assert_eq!(state(&one), state(&two), "the same was said");
    let mut speaker = crate::world::Speaker::of(&other, "aaa").await;
    speaker.joins().await;
    speaker.says(7..=7).await;
    speaker.saves().await;
    let three = export(&other, &["aaa"]).await;
    let forged = String::from_utf8(one).unwrap();
    let (mine, theirs) = (state(forged.as_bytes()), state(&three));
    let forged = forged.replace(mine.as_str().unwrap(), theirs.as_str().unwrap());
    let why = refusal(&forged);
    assert!(why.starts_with("7: ") && why.contains("messages"), "{why}");
}

/// The file with the digests that its lines give.
fn signed_again(file: &str) -> String {
    let (mut whole, mut of_room) = (String::new(), String::new());
    for line in file.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let of = match value["type"].as_str().unwrap() {
            "end" => Some(&of_room),
            "total" => Some(&whole),
            _ => None,
        };
        let line = match of {
            None => line.to_owned(),
            Some(of) => {
                let old = value["sha256"].take();
                let new: String = Sha256::digest(of)
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect();
                line.replace(old.as_str().unwrap(), &new)
            }
        };
        if value["type"] == "room" {
            of_room.clear();
        }
        whole += &format!("{line}\n");
        of_room += &format!("{line}\n");
    }
    whole
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_must_be_told_although_the_digests_fit() {
    let file = file().await;
    assert_eq!(signed_again(&file), file);
    // The third event of the first room: the state cannot be compared, its end still counts it.
    let missing = signed_again(&with(&file, 5, |_| String::new()));
    let why = refusal(&missing);
    assert!(
        why.starts_with("7: ") && why.contains("the end of room aaa"),
        "{why}"
    );
    let told = missing.replacen("\"events\":4", "\"events\":3", 1);
    let told = told.replacen("\"holes\":[]", "\"holes\":[[3,3]]", 1);
    let told = told.replacen("\"events\":6", "\"events\":5", 1);
    assert_eq!(check(signed_again(&told).as_bytes()).unwrap().events, 5);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_could_not_be_read_is_in_the_file_with_the_reason() {
    let place = Place::memory();
    talk(&place, "aaa", 3).await;
    let begun = Writer::begin(Vec::new(), None, JournalKind::Cassandra, 4, AT.into());
    let mut writer = begun.unwrap();
    let error = Error::Refused("no good".into());
    writer.failed(&room("bad"), &error).unwrap();
    let mut incoming = place.source().room(&room("aaa")).await.unwrap().unwrap();
    writer.room(&mut incoming).await.unwrap();
    let (file, written) = writer.end().unwrap();
    assert_eq!((written.rooms, written.failed), (1, 1));
    assert_eq!(written.bytes, file.len() as u64);
    let checked = check(&*file).unwrap();
    assert_eq!(checked.failed, [(room("bad"), "no good".to_owned())]);
    assert_eq!(checked.rooms, 1);
    let mut reader = Reader::open(&*file).unwrap();
    let first = reader.item().unwrap();
    assert!(matches!(first, Some(Item::Failed { .. })), "{first:?}");
}
