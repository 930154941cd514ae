//! Lines of files of operators for tests: real hashes, but cheap ones.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version, password_hash::SaltString};

/// An operator with this password.
pub(in crate::ops) fn line(name: &str, role: &str, password: &str) -> String {
    let cheap = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
    let salt = SaltString::encode_b64(&[7; 16]).unwrap();
    let hash = argon2.hash_password(password.as_bytes(), &salt).unwrap();
    format!("{name}:{role}:{hash}\n")
}
