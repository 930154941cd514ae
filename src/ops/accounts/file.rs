//! The file of operators: `NAME:ROLE:HASH`, one on each line; empty lines and those that begin with
//! `#` say nothing. What is wrong is told by the numbers of lines, never by what stands in them.

use super::{Account, Role, account::Secret, password::Hash};
use std::{collections::HashMap, sync::Arc};

/// Characters of a name, at most.
const NAME: usize = 64;
/// Operators of a file, at most.
const MOST: usize = 1000;
/// Lines of which it is told what is wrong with them.
const TOLD: usize = 5;

/// The operators in a text. `taken`: a name that somebody has who is not in it.
pub(super) fn parse(text: &[u8], taken: Option<&str>) -> Result<Vec<Arc<Account>>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
    let (mut accounts, mut wrong) = (Vec::new(), Vec::new());
    let mut lines_of = HashMap::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (n, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let number = n + 1;
        match account(line) {
            Err(why) => wrong.push(format!("line {number}: {why}")),
            Ok(account) if taken == Some(account.name()) => wrong.push(format!(
                "line {number}: the name is that of ops.user, whose password is ops.password"
            )),
            Ok(account) => match lines_of.insert(account.name().to_owned(), number) {
                Some(first) => {
                    wrong.push(format!("line {number}: the name is that of line {first}"))
                }
                None => accounts.push(Arc::new(account)),
            },
        }
    }
    match (wrong.len(), accounts.len()) {
        (0, 0) => Err("there is no operator in it".into()),
        (0, ..=MOST) => Ok(accounts),
        (0, _) => Err(format!("it has more than {MOST} operators")),
        (..=TOLD, _) => Err(wrong.join("; ")),
        (all, _) => {
            let told = wrong[..TOLD].join("; ");
            Err(format!("{told}; and {} more lines", all - TOLD))
        }
    }
}

fn account(line: &str) -> Result<Account, String> {
    let mut parts = line.splitn(3, ':');
    let (Some(name), Some(role), Some(hash)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it must be NAME:ROLE:HASH".into());
    };
    check_name(name)?;
    let role = Role::parse(role).ok_or("the role must be read or operate")?;
    Ok(Account::new(name, role, Secret::Hashed(Hash::parse(hash)?)))
}

/// Whether an operator may have a name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    match (1..=NAME).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "a name has 1 to {NAME} characters of A-Z a-z 0-9 . _ @ -"
        )),
    }
}

/// A line of the file.
pub(crate) fn line(name: &str, role: Role, hash: &str) -> String {
    format!("{name}:{}:{hash}", role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$QUJDREVGR0hJSktMTU5PUA";

    #[test]
    fn operators_stand_on_lines_among_comments() {
        let text = format!(" # people\r\n\r\nalice:operate:{HASH}\r\n  bob:read:{HASH}\n");
        let accounts = parse(text.as_bytes(), None).unwrap();
        let found: Vec<_> = accounts.iter().map(|it| (it.name(), it.role())).collect();
        assert_eq!(found, [("alice", Role::Operate), ("bob", Role::Read)]);
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_never_quoted() {
        let text = format!(
            "alice:operate:{HASH}\nsecretive\n# fine\nbob:root:{HASH}\nalice:read:{HASH}\n\
             me:read:{HASH}\nx y:read:{HASH}\n"
        );
        let why = parse(text.as_bytes(), Some("me")).err().unwrap();
        let told = [
            "line 2: it must be NAME:ROLE:HASH",
            "line 4: the role must be read or operate",
            "line 5: the name is that of line 1",
            "line 6: the name is that of ops.user, whose password is ops.password",
            "line 7: a name has 1 to 64 characters of A-Z a-z 0-9 . _ @ -",
        ];
        assert_eq!(why, told.join("; "));
        let many = "secretive\n".repeat(9);
        let why = parse(many.as_bytes(), None).err().unwrap();
        assert!(
            why.ends_with("; and 4 more lines") && !why.contains("secretive"),
            "{why}"
        );
        for (text, expected) in [
            (&b"# nobody\n"[..], "there is no operator in it"),
            (b"\xff", "it is not UTF-8"),
        ] {
            assert_eq!(parse(text, None).err().as_deref(), Some(expected));
        }
    }
}
