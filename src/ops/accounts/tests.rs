//! A file of operators that changes under a node.

use super::{testing::line, *};
use std::fs::Permissions;

struct Testbed {
    folder: tempfile::TempDir,
}

impl Testbed {
    fn new(text: &str) -> Self {
        let testbed = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        testbed.write(text);
        testbed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("operators")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
        fs::set_permissions(self.path(), Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self, password: Option<&str>) -> Result<Accounts, Error> {
        Accounts::load(&Config {
            operators_file: Some(self.path()),
            password: password.map(str::to_owned),
            ..Config::default()
        })
    }
}

fn role(accounts: &Accounts, name: &str, password: &str) -> Option<Role> {
    let found = accounts.roll().find(name.as_bytes(), password.as_bytes());
    found.map(|account| account.role())
}

#[test]
fn a_change_counts_and_a_broken_file_changes_nothing() {
    let testbed = Testbed::new(&line("alice", "operate", "one"));
    let accounts = testbed.load(None).unwrap();
    assert_eq!(role(&accounts, "alice", "one"), Some(Role::Operate));
    assert_eq!(accounts.0.look(), Look::Same);

    testbed.write(
        &[
            line("alice", "read", "two"),
            line("bob", "operate", "three"),
        ]
        .concat(),
    );
    assert_eq!(accounts.0.look(), Look::Taken(2));
    assert_eq!(role(&accounts, "alice", "one"), None);
    assert_eq!(role(&accounts, "alice", "two"), Some(Role::Read));

    for broken in ["", "alice:operate:geheim\n"] {
        testbed.write(broken);
        let Look::Refused(why) = accounts.0.look() else {
            panic!("taken: {broken}");
        };
        assert_eq!(accounts.0.look(), Look::Same, "it is told once");
        assert_eq!(role(&accounts, "bob", "three"), Some(Role::Operate));
        let warnings = accounts.warnings();
        assert_eq!(warnings, [not_used(&why)]);
        assert!(!warnings[0].contains("geheim") && warnings[0].contains("operators"));
    }
    fs::remove_file(testbed.path()).unwrap();
    assert!(matches!(accounts.0.look(), Look::Refused(_)));
    assert_eq!(role(&accounts, "bob", "three"), Some(Role::Operate));
    testbed.write(&line("bob", "operate", "four"));
    assert_eq!(accounts.0.look(), Look::Taken(1));
    assert_eq!(accounts.warnings(), [""; 0]);
}

#[test]
fn with_a_file_the_user_of_the_configuration_counts_only_with_a_password_of_its_own() {
    let testbed = Testbed::new(&line("alice", "read", "one"));
    let alone = testbed.load(None).unwrap();
    assert_eq!(role(&alone, "admin", "safe-chat"), None);
    assert_eq!(alone.described(), "user alice");
    let both = testbed.load(Some("another")).unwrap();
    assert_eq!(role(&both, "admin", "another"), Some(Role::Operate));
    assert_eq!(role(&both, "alice", "one"), Some(Role::Read));
    assert_eq!(role(&testbed.load(Some("")).unwrap(), "admin", ""), None);
    testbed.write(&line("admin", "read", "one"));
    assert!(testbed.load(Some("another")).is_err(), "two of one name");
    assert!(testbed.load(None).is_ok());

    let none = Accounts::load(&Config::default()).unwrap();
    assert_eq!(role(&none, "admin", "safe-chat"), Some(Role::Operate));
    assert_eq!(none.described(), "user admin");
}

#[test]
fn a_file_that_everybody_may_read_is_warned_of() {
    let testbed = Testbed::new(&line("alice", "read", "one"));
    let accounts = testbed.load(None).unwrap();
    assert_eq!(accounts.warnings(), [""; 0]);
    fs::set_permissions(testbed.path(), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(accounts.0.look(), Look::Same);
    assert!(accounts.warnings()[0].contains("chmod o-r"));
    fs::set_permissions(testbed.path(), Permissions::from_mode(0o640)).unwrap();
    accounts.0.look();
    assert_eq!(accounts.warnings(), [""; 0]);
}

#[test]
fn a_name_that_nobody_has_costs_what_a_wrong_password_costs() {
    let testbed = Testbed::new(&line("alice", "read", "one"));
    // What is computed is the same; how long that takes is not for a test to say.
    let roll = testbed.load(Some("another")).unwrap().roll();
    assert!(roll.has_decoy());
    let plain = Accounts::load(&Config::default()).unwrap().roll();
    assert!(!plain.has_decoy(), "nothing is hashed there");
}
