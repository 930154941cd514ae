//! Parts behind their lengths: what is signed, certificates and stored forms are made of them. A
//! reader takes no more than there is, and nothing may be left over.

use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bytes end too early, or too late")]
pub(crate) struct Malformed;

/// The parts one after the other, each behind its length in two bytes, big-endian: the form of
/// everything that is signed here and in `docs/protocol.md`.
pub(crate) fn short_parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 2).sum());
    for part in parts {
        let length = u16::try_from(part.len()).expect("a short part is a name, a key or a label");
        bytes.extend(length.to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}

/// The same with lengths of four bytes.
#[cfg(feature = "mls")]
pub(crate) fn long_parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).expect("a part is bounded far below 4 GiB");
        bytes.extend(length.to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}

/// Takes parts off the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }

    #[cfg(feature = "mls")]
    pub(crate) fn long(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(length as usize)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many as were taken"))
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (part, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(part)
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}
