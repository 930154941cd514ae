//! What every adapter asks of a blob before it stores it.

use super::Error;

/// The most bytes of a blob: half of what one message of NATS carries by default.
pub const BLOB: usize = 512 * 1024;

/// Values whose names begin so may be read by whoever reads rooms: what was said in them. All
/// others are for owners alone.
pub const PUBLIC: &str = "copies.";

/// A name is letters, digits and `_ - = / .`, with no empty part between dots; a value has at most
/// [`BLOB`] bytes.
pub(super) fn check_blob(name: &str, bytes: usize) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=/".contains(&b);
    if !name
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(allowed))
    {
        return Err(Error::Unusable(format!(
            "`{name}` cannot name a value: letters, digits and _ - = / . only"
        )));
    }
    if bytes > BLOB {
        return Err(Error::Unusable(format!(
            "the value {name} has {bytes} bytes, more than {BLOB}"
        )));
    }
    Ok(())
}

/// Whether a value may be read by whoever reads rooms.
pub(super) fn check_public(name: &str) -> Result<(), Error> {
    match name.starts_with(PUBLIC) {
        true => check_blob(name, 0),
        false => Err(Error::Unusable(format!(
            "the value {name} is for owners alone: only what begins with {PUBLIC} is for others"
        ))),
    }
}
