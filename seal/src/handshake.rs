//! What changes the group of a room, as one value: the content of a message that every member reads
//! in its place, and the writer before it is placed.

use crate::codec::{Malformed, Reader, long_parts};
use crate::device::Name;
use crate::lists::MOST_LIST;
use crate::member::{Event, Frame};
use crate::rules::{
    Bundle, Founding, MOST_MEMBERS, MOST_MESSAGE, Refusal, check_is_proposal, check_proposals,
    epoch_of_commit,
};

/// The form of handshakes.
const FORM: u8 = 1;
/// Bytes of a handshake, encoded: as base64url in a frame it fits into a message of the protocol.
/// The longest that a group of [`crate::rules::MOST_MEMBERS`] needs is a commit whose path has no
/// node in common with anybody, some 85 KB.
pub const MOST_HANDSHAKE: usize = 96_000;

/// What changes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// Makes the group of a room.
    Founding(Founding),
    /// Makes its next epoch.
    Bundle(Bundle),
    /// Asks to be removed: the proposal.
    Leave(Vec<u8>),
    /// Says which devices somebody has: the signed list.
    Devices(Vec<u8>),
    /// Says that the commit which made this epoch cannot be processed.
    Report(u64),
}

const FOUNDING: u8 = 1;
const BUNDLE: u8 = 2;
const LEAVE: u8 = 3;
const DEVICES: u8 = 4;
const REPORT: u8 = 5;

impl Handshake {
    /// As it is sent and kept: the form, the kind, then its parts.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, parts) = match self {
            Self::Founding(founding) => (FOUNDING, founding.encode()),
            Self::Bundle(bundle) => (BUNDLE, bundle.encode()),
            Self::Leave(proposal) => (LEAVE, long_parts(&[proposal])),
            Self::Devices(list) => (DEVICES, long_parts(&[list])),
            Self::Report(epoch) => (REPORT, epoch.to_be_bytes().to_vec()),
        };
        [&[FORM, kind], &parts[..]].concat()
    }

    /// Reads it; what is in the parts is not looked at.
    ///
    /// # Errors
    /// Bytes of another form, or more than [`MOST_HANDSHAKE`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MOST_HANDSHAKE {
            return Err(Refusal::TooLarge);
        }
        let mut reader = Reader(bytes);
        let [form, kind] = reader.array()?;
        if form != FORM {
            return Err(Refusal::Malformed);
        }
        let handshake = match kind {
            FOUNDING => Self::Founding(Founding::read(&mut reader)?),
            BUNDLE => return Ok(Self::Bundle(Bundle::decode(reader.0)?)),
            LEAVE => Self::Leave(reader.long()?.to_vec()),
            DEVICES => Self::Devices(reader.long()?.to_vec()),
            REPORT => Self::Report(u64::from_be_bytes(reader.array()?)),
            _ => return Err(Refusal::Malformed),
        };
        reader.end()?;
        Ok(handshake)
    }

    /// For whoever only passes it on: whether it can be what it says, in any group. Nothing is
    /// verified, and no group is needed. The epoch that it ends, if it is a commit.
    ///
    /// # Errors
    /// It is longer than any of its kind, or cannot be read.
    pub fn look(&self) -> Result<Option<u64>, Refusal> {
        let fits = |bytes: &[u8], most| match bytes.len() <= most {
            true => Ok(()),
            false => Err(Refusal::TooLarge),
        };
        match self {
            Self::Founding(founding) => founding.room().map(|_| None),
            Self::Bundle(bundle) => {
                bundle.check_size(MOST_MEMBERS)?;
                check_proposals(&bundle.commit)?;
                epoch_of_commit(&bundle.commit).map(Some)
            }
            Self::Leave(proposal) => {
                fits(proposal, MOST_MESSAGE)?;
                check_is_proposal(proposal).map(|()| None)
            }
            Self::Devices(list) => fits(list, MOST_LIST).map(|()| None),
            Self::Report(_) => Ok(None),
        }
    }

    /// What a device sends that changes the group of a room; `None`: it is something else.
    pub fn of(frame: &Frame) -> Option<(&Name, Self)> {
        Some(match frame {
            Frame::Found { room, founding } => (room, Self::Founding(founding.clone())),
            Frame::Change { room, bundle } => (room, Self::Bundle(bundle.clone())),
            Frame::Leave { room, bytes } => (room, Self::Leave(bytes.clone())),
            Frame::Devices { room, list } => (room, Self::Devices(list.clone())),
            Frame::Report { room, epoch } => (room, Self::Report(*epoch)),
            Frame::Message { .. } | Frame::Publish { .. } => return None,
        })
    }

    /// What members are told; `None`: it is for the writer alone.
    pub fn event(&self) -> Option<Event<'_>> {
        Some(match self {
            Self::Founding(founding) => Event::Founded(&founding.group_info),
            Self::Bundle(bundle) => Event::Commit(&bundle.commit),
            Self::Leave(proposal) => Event::Leave(proposal),
            Self::Devices(list) => Event::Devices(list),
            Self::Report(_) => return None,
        })
    }
}

impl Founding {
    pub(crate) fn encode(&self) -> Vec<u8> {
        long_parts(&[&self.group_info, &self.tree])
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            group_info: reader.long()?.to_vec(),
            tree: reader.long()?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn handshake() -> impl Strategy<Value = Handshake> {
        let part = || vec(any::<u8>(), 1..200);
        let welcome = proptest::option::of(part());
        prop_oneof![
            (part(), part())
                .prop_map(|(group_info, tree)| Handshake::Founding(Founding { group_info, tree })),
            (part(), welcome, part()).prop_map(|(commit, welcome, group_info)| {
                Handshake::Bundle(Bundle {
                    commit,
                    welcome,
                    group_info,
                })
            }),
            part().prop_map(Handshake::Leave),
            part().prop_map(Handshake::Devices),
            any::<u64>().prop_map(Handshake::Report),
        ]
    }

    proptest! {
        #[test]
        fn a_handshake_is_read_as_it_is_written_and_no_part_of_it_is_one(
            handshake in handshake(), cut in any::<prop::sample::Index>()
        ) {
            let bytes = handshake.encode();
            prop_assert_eq!(Handshake::decode(&bytes), Ok(handshake));
            prop_assert!(Handshake::decode(&bytes[..cut.index(bytes.len())]).is_err());
            prop_assert!(Handshake::decode(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn whatever_is_read_is_written_alike(bytes in vec(0..8_u8, 0..40)) {
            if let Ok(handshake) = Handshake::decode(&bytes) {
                prop_assert_eq!(handshake.encode(), bytes);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_even_read() {
        let leave = |bytes| Handshake::Leave(vec![0; bytes]).encode();
        assert!(Handshake::decode(&leave(MOST_HANDSHAKE - 6)).is_ok());
        let refused = Handshake::decode(&leave(MOST_HANDSHAKE - 5));
        assert_eq!(refused, Err(Refusal::TooLarge));
    }
}
