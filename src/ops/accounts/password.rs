//! Passwords of operators: which are strong enough, and what a file has of them (argon2id, as a PHC
//! string).

use argon2::{
    ARGON2ID_IDENT, Argon2, Params, PasswordHasher, PasswordVerifier,
    password_hash::{PasswordHash, PasswordHashString, SaltString},
};

/// Characters of a password, at least: what is guessed once a second for years is shorter.
const SHORTEST: usize = 12;
/// Bytes of a password, at most: it must fit into a header.
const LONGEST: usize = 1024;
/// Characters of a name that must not be in it, at least: shorter ones are in everything.
const NAME: usize = 3;
/// Different characters in it, at least.
const DIFFERENT: usize = 5;
/// Kibibytes that a hash may take to be computed: a line of a file must not take a node's memory.
const MEMORY: u32 = 256 * 1024;
/// Passes over the memory, and lanes, at most.
const PASSES: u32 = 16;
const LANES: u32 = 16;
/// Bytes of a hash, at least.
const BYTES: usize = 16;

/// Why a password is not strong enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// It can be guessed.
    #[error("the password must have {SHORTEST} characters or more")]
    Short,
    /// It does not fit into a header.
    #[error("the password must have {LONGEST} bytes or fewer")]
    Long,
    /// It has few different characters.
    #[error("the password must have {DIFFERENT} different characters or more")]
    Monotonous,
    /// It has the name in it.
    #[error("the password must not have the operator's name in it")]
    Named,
    /// It cannot be typed everywhere.
    #[error("the password must have no control characters in it")]
    Unprintable,
}

/// What a file of operators has of a password that is strong enough for `name`. Takes long.
pub fn hashed(name: &str, password: &str) -> Result<String, Weak> {
    check(name, password)?;
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>());
    let salt = salt.expect("16 bytes are a salt");
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.expect("the parameters are valid").to_string())
}

fn check(name: &str, password: &str) -> Result<(), Weak> {
    let mut different: Vec<char> = password.chars().collect();
    let count = different.len();
    different.sort_unstable();
    different.dedup();
    let lower = |text: &str| text.to_lowercase();
    match () {
        () if count == 0 => Err(Weak::Empty),
        () if count < SHORTEST => Err(Weak::Short),
        () if password.len() > LONGEST => Err(Weak::Long),
        () if password.chars().any(char::is_control) => Err(Weak::Unprintable),
        () if different.len() < DIFFERENT => Err(Weak::Monotonous),
        () if name.len() >= NAME && lower(password).contains(&lower(name)) => Err(Weak::Named),
        () => Ok(()),
    }
}

/// What a file has of a password.
#[derive(Clone)]
pub(super) struct Hash(PasswordHashString);

impl Hash {
    /// The error says nothing of the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let hash = PasswordHash::new(text);
        let hash = hash.map_err(|_| "the hash is no PHC string ($argon2id$...)")?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err("the hash is not of argon2id".into());
        }
        let params = Params::try_from(&hash);
        let params = params.map_err(|_| "the parameters of the hash make no sense")?;
        if params.m_cost() > MEMORY || params.t_cost() > PASSES || params.p_cost() > LANES {
            return Err(format!(
                "the hash costs too much: m={MEMORY},t={PASSES},p={LANES} at most"
            ));
        }
        let is_whole = hash.salt.is_some() && hash.hash.is_some_and(|hash| hash.len() >= BYTES);
        match (is_whole, hash.version) {
            (false, _) => Err(format!("the hash has no salt, or fewer than {BYTES} bytes")),
            (true, None | Some(0x13)) => Ok(Self(hash.serialize())),
            (true, Some(_)) => Err("the hash is not of version 19".into()),
        }
    }

    /// How much work it is.
    pub(super) fn cost(&self) -> u64 {
        let params = Params::try_from(&self.0.password_hash());
        params.map_or(0, |it| u64::from(it.m_cost()) * u64::from(it.t_cost()))
    }

    /// Whether it is of this password. Takes long.
    pub(super) fn fits(&self, password: &[u8]) -> bool {
        let hash = self.0.password_hash();
        Argon2::default().verify_password(password, &hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_alone_and_never_the_same() {
        let [one, other] = ["", ""].map(|_| hashed("alice", "correct horse 7").unwrap());
        assert!(one != other && one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let hash = Hash::parse(&one).unwrap();
        assert!(hash.fits(b"correct horse 7"));
        assert!(!hash.fits(b"correct horse 8") && !hash.fits(b""));
    }

    #[test]
    fn what_can_be_guessed_is_refused() {
        for (password, why) in [
            ("", Weak::Empty),
            ("elevenchars", Weak::Short),
            ("abababababab", Weak::Monotonous),
            ("Xalice-1234567", Weak::Named),
            ("with\u{7}a bell in", Weak::Unprintable),
            (&"abcdefg".repeat(200), Weak::Long),
        ] {
            assert_eq!(check("Alice", password), Err(why), "{password}");
        }
        assert_eq!(check("alice", "zwölf zeichen"), Ok(()));
        assert_eq!(check("a", "a password of a"), Ok(()));
    }

    #[test]
    fn a_hash_that_cannot_be_used_is_refused_in_words_without_it() {
        let salt = "c2FsdHNhbHRzYWx0c2FsdA";
        let whole = format!("{salt}${}", "QUJDREVGR0hJSktMTU5PUA");
        for (text, why) in [
            ("geheim".to_owned(), "no PHC string"),
            (
                format!("$argon2i$v=19$m=8,t=1,p=1${whole}"),
                "not of argon2id",
            ),
            (format!("$argon2id$v=16$m=8,t=1,p=1${whole}"), "version 19"),
            (
                format!("$argon2id$v=19$m=999999,t=1,p=1${whole}"),
                "too much",
            ),
            (format!("$argon2id$v=19$m=8,t=99,p=1${whole}"), "too much"),
            (
                format!("$argon2id$v=19$m=1,t=1,p=1${whole}"),
                "make no sense",
            ),
            (
                format!("$argon2id$v=19$m=8,t=1,p=1${salt}"),
                "no salt, or fewer",
            ),
        ] {
            let told = Hash::parse(&text).err().unwrap_or_default();
            assert!(told.contains(why) && !told.contains(salt), "{text}: {told}");
        }
        assert!(Hash::parse(&format!("$argon2id$v=19$m=8,t=1,p=1${whole}")).is_ok());
    }
}
