//! A key package as whoever keeps it for others sees it: outside of any room.

use crate::crypto::Crypto;
use crate::delivery::{Proven, is_of};
use crate::device::Certificate;
use crate::mls;
use crate::rules::{MARGIN, MOST_KEY_PACKAGE, Refusal, check_key_package};

/// A key package that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The device that made it.
    pub certificate: Certificate,
    /// Until when it may be handed out, in seconds since 1970: it counts for [`MARGIN`] longer.
    pub until: u64,
    /// Whether it is made for more than one use.
    pub is_last_resort: bool,
}

impl Published {
    /// Whether a key package may be published by a device of this person.
    ///
    /// # Errors
    /// It is not a key package, of another person, or does not count long enough.
    pub fn check(bytes: &[u8], by: &Proven, now: u64) -> Result<Self, Refusal> {
        if bytes.len() > MOST_KEY_PACKAGE {
            return Err(Refusal::TooLarge);
        }
        let crypto = Crypto::default();
        let package = mls::read_key_package(bytes, &crypto)?;
        let certificate = check_key_package(&package, Some(now), &crypto)?;
        if !is_of(&certificate, by) {
            return Err(Refusal::OtherSender);
        }
        Ok(Self {
            certificate,
            until: package.life_time().not_after().saturating_sub(MARGIN),
            is_last_resort: package.last_resort(),
        })
    }
}
