//! What is kept, over restarts, cuts, versions and bounds.

use super::*;

fn hash(bytes: &[u8]) -> Hash {
    Kept::hash(bytes)
}

const NOW: u64 = 4_000_000_000_000;

fn open(folder: &Path) -> Kept {
    let identity = Identity::from_seed(&[1; 32]);
    Kept::open(&folder.join("key"), identity, ("aaa", "harry")).unwrap()
}

fn keep(kept: &mut Kept, records: Vec<Record>) -> Result<()> {
    kept.keep(records)?;
    kept.write()
}

fn read(seq: u64, text: &str) -> Record {
    Record::Read {
        seq,
        at: NOW,
        from: "kim".into(),
        text: text.into(),
        sent: None,
    }
}

fn seqs(messages: &[Earlier]) -> Vec<u64> {
    messages.iter().map(|one| one.seq).collect()
}

fn sealed(seq: u64, from: &str, bytes: &'static [u8]) -> Event {
    Event {
        seq,
        at: NOW,
        from: from.into(),
        to: None,
        id: None,
        body: Body::Sealed(bytes.into()),
    }
}

#[test]
fn what_was_read_is_there_again_and_lies_nowhere_in_the_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    let records = [2, 1, 4].map(|seq| read(seq, "Hello")).into();
    keep(&mut kept, records).unwrap();
    keep(&mut kept, vec![read(4, "Hello")]).unwrap();
    drop(kept);
    let kept = open(folder.path());
    assert_eq!(seqs(&kept.newest(100, u64::MAX)), [1, 2, 4]);
    assert_eq!(seqs(&kept.newest(2, 4)), [1, 2]);
    assert_eq!(seqs(&kept.newest(1, u64::MAX)), [4]);
    let mut events = [
        sealed(2, "kim", b"x"),
        sealed(3, "kim", b"x"),
        sealed(4, "tom", b"x"),
    ];
    kept.recall(&mut events);
    let texts: Vec<_> = events.iter().map(Event::text).collect();
    assert_eq!(texts, [Some("Hello"), None, None]);
    let file = fs::read(&kept.path).unwrap();
    assert!(!file.windows(5).any(|part| part == b"Hello"));
}

#[test]
fn what_is_no_message_is_read_again_at_its_place_and_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    let note = |seq, from: &str, text: &str| {
        let (from, text) = (from.into(), text.into());
        let at = NOW;
        Record::Noted(Note {
            seq,
            at,
            from,
            text,
        })
    };
    let asked = "you asked the others for the last 9 messages from before";
    keep(
        &mut kept,
        vec![note(2, "harry", asked), note(3, "kim", "kim shared")],
    )
    .unwrap();
    drop(kept);
    let mut kept = open(folder.path());
    let mut events = [sealed(2, "harry", b"x"), sealed(4, "harry", b"x")];
    let noted = kept.recall(&mut events);
    assert_eq!(
        noted.into_iter().collect::<Vec<_>>(),
        [(2, asked.to_owned())]
    );
    assert_eq!(
        kept.newest(9, u64::MAX).len(),
        0,
        "and it is no message to share"
    );
    kept.trim(9, Some("kim")).unwrap();
    assert_eq!(open(folder.path()).notes.len(), 1);
    let large = "x".repeat(600_000);
    for seq in 10..20 {
        keep(&mut kept, vec![note(seq, "kim", &large)]).unwrap();
    }
    drop(kept);
    let mut kept = open(folder.path());
    assert_eq!(kept.notes.keys().collect::<Vec<_>>(), [&19]);
    keep(
        &mut kept,
        (30..400).map(|seq| note(seq, "kim", "x")).collect(),
    )
    .unwrap();
    drop(kept);
    let mut kept = open(folder.path());
    assert_eq!(kept.notes.len(), MOST_NOTES.0);
    kept.trim(u64::MAX, None).unwrap();
    assert_eq!(open(folder.path()).notes.len(), 0);
}

/// Terminals of two versions may take turns.
#[test]
fn what_one_version_knows_survives_one_that_does_not_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    let later = br#"{"Later":{"seq":3}}"#;
    let later = kept.lock(later).unwrap();
    kept.unwritten.extend(later);
    let note = Note {
        seq: 5,
        at: NOW,
        from: "kim".into(),
        text: "kim asks".into(),
    };
    keep(
        &mut kept,
        vec![read(4, "before"), Record::Noted(note.clone())],
    )
    .unwrap();
    // A version of before has no notes, and takes all that it knows.
    let file = fs::read(&kept.path).unwrap();
    let (mut rest, mut known) = (&file[..], 0);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (record, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        let record = shelf::unlock(record, &kept.identity, &kept.about).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        known += usize::from(record["Read"].is_object());
        rest = behind;
    }
    assert_eq!(known, 2);
    // The form that one version wrote notes in is read, too.
    let old = serde_json::to_vec(&Record::Noted(Note { seq: 6, ..note })).unwrap();
    let old = kept.lock(&old).unwrap();
    kept.unwritten.extend(old);
    keep(&mut kept, vec![read(7, "behind")]).unwrap();
    drop(kept);
    for _ in 0..2 {
        let mut kept = open(folder.path());
        assert_eq!(seqs(&kept.newest(9, u64::MAX)), [4, 7]);
        assert_eq!(kept.notes.keys().collect::<Vec<_>>(), [&5, &6]);
        assert_eq!(kept.unknown.len(), 1);
        kept.write_anew().unwrap();
    }
    let mut kept = open(folder.path());
    kept.trim(u64::MAX, None).unwrap();
    assert_eq!(open(folder.path()).count(), 0);
}

#[test]
fn an_own_message_is_known_by_its_bytes_until_it_is_in_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    let sent = |bytes: &[u8], text: &str| Record::sent(bytes, text.as_bytes());
    let (one, two) = (sent(b"one", "Hello"), sent(b"two", "refused"));
    keep(&mut kept, vec![one, two, sent(b"three", "lost")]).unwrap();
    keep(&mut kept, vec![Record::Refused { hash: hash(b"two") }]).unwrap();
    drop(kept);
    let mut kept = open(folder.path());
    let event = sealed(7, "harry", b"one");
    assert_eq!(kept.said_before(&event), Some((hash(b"one"), "Hello")));
    // What was sent since it was opened the conversation knows.
    keep(&mut kept, vec![sent(b"now", "later")]).unwrap();
    assert_eq!(kept.said_before(&sealed(9, "harry", b"now")), None);
    keep(&mut kept, vec![Record::Refused { hash: hash(b"now") }]).unwrap();
    assert_eq!(kept.said_before(&sealed(8, "harry", b"two")), None);
    let own = kept.sent_as(Some(&event.body), "Hello");
    assert!(own.is_some() && own == kept.sent_as(None, "Hello"));
    let mut record = read(7, "Hello");
    if let Record::Read { sent, .. } = &mut record {
        *sent = own;
    }
    keep(&mut kept, vec![record]).unwrap();
    drop(kept);
    let unseen: Vec<_> = open(folder.path()).sent;
    assert_eq!(unseen, [(hash(b"three"), "lost".to_owned())]);
}

#[test]
fn where_others_came_in_is_known_after_a_restart_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let key =
        |seed: u64| Identity::from_seed(&std::array::from_fn(|at| seed.to_be_bytes()[at % 8]));
    let came = |seq: u64, seed| Record::Came {
        seq,
        key: key(seed).public().to_string(),
    };
    let mut kept = open(folder.path());
    keep(&mut kept, vec![came(5, 1), came(7, 2), came(9, 1)]).unwrap();
    kept.write_anew().unwrap();
    drop(kept);
    let mut kept = open(folder.path());
    let of = |kept: &Kept, seed| kept.came(&key(seed).public());
    assert_eq!(
        [1, 2, 3].map(|seed| of(&kept, seed)),
        [Some(9), Some(7), None]
    );
    // Whatever is forgotten of what was said.
    kept.trim(u64::MAX, None).unwrap();
    let many = (0..MOST_KEYS as u64).map(|n| came(10 + n, 10 + n));
    keep(&mut kept, many.collect()).unwrap();
    assert_eq!((of(&kept, 1), of(&kept, 10)), (None, Some(10)));
}

#[test]
fn what_was_cut_off_costs_nothing_that_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    keep(&mut kept, vec![read(1, "one"), read(2, "two")]).unwrap();
    let path = kept.path.clone();
    let whole = fs::read(&path).unwrap();
    for cut in 1..whole.len() / 2 {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut kept = open(folder.path());
        assert_eq!(seqs(&kept.newest(9, u64::MAX)), [1], "{cut}");
        keep(&mut kept, vec![read(3, "three")]).unwrap();
        assert_eq!(seqs(&open(folder.path()).newest(9, u64::MAX)), [1, 3]);
    }
}

#[test]
fn it_is_bounded_and_what_is_forgotten_is_not_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    keep(&mut kept, (1..=1200).map(|seq| read(seq, "x")).collect()).unwrap();
    assert_eq!(open(folder.path()).messages.len(), MOST);
    let large = "x".repeat(60_000);
    for seq in 1201..1300 {
        keep(&mut kept, vec![read(seq, &large)]).unwrap();
    }
    assert!(kept.bytes <= MOST_BYTES && kept.messages.len() < 40);
    assert!(fs::metadata(&kept.path).unwrap().len() < 6_000_000);
    kept.trim(1299, None).unwrap();
    assert_eq!(seqs(&open(folder.path()).newest(9, u64::MAX)), [1299]);
    assert!(fs::metadata(&kept.path).unwrap().len() < 61_000);
    keep(&mut kept, vec![read(1300, "x")]).unwrap();
    kept.trim(u64::MAX, Some("tom")).unwrap();
    assert_eq!(open(folder.path()).messages.len(), 2);
    kept.trim(1300, Some("kim")).unwrap();
    assert_eq!(seqs(&open(folder.path()).newest(9, u64::MAX)), [1300]);
}

#[test]
fn nothing_is_kept_for_longer_than_a_year() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = open(folder.path());
    let old = Record::Read {
        seq: 1,
        at: 1_500_000_000_000,
        from: "kim".into(),
        text: "old".into(),
        sent: None,
    };
    keep(&mut kept, vec![old, read(2, "new")]).unwrap();
    let elsewhere = kept.path.with_file_name("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    let long_ago = SystemTime::now() - LONGEST - Duration::from_secs(60);
    let file = File::options().write(true).open(&elsewhere).unwrap();
    file.set_modified(long_ago).unwrap();
    assert_eq!(seqs(&open(folder.path()).newest(9, u64::MAX)), [2]);
    assert!(!elsewhere.exists());
}
