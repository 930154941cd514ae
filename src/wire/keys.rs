//! What is said outside of rooms, over HTTP: key packages and welcomes (docs/protocol.md). What a
//! request signs, the bodies that come, and the answers.

use super::{Utf8, json::BASE64URL, proof::joined};
use crate::{
    room::{Reason, Rejection},
    wire::proof::PublicKey,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// What a signature begins with, so that it is never taken for that of a message.
const LABEL: &[u8] = b"safe-chat keys proof v1";
/// Key packages in one request.
pub const MOST_PACKAGES: usize = 100;

/// What a request's proof is about, beside the host.
#[derive(Debug, Clone)]
pub struct KeysContext<'a> {
    /// The method, such as POST.
    pub method: &'a str,
    /// The path below where the service is, such as `/keys/KEY/harry/claim`.
    pub path: &'a str,
    /// The key that is proven.
    pub key: PublicKey,
    /// When it was signed: milliseconds since 1970 UTC.
    pub at: u64,
    /// The body of the request.
    pub body: &'a [u8],
}

impl KeysContext<'_> {
    /// The bytes that are signed.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        joined(&[
            LABEL,
            self.method.as_bytes(),
            host.as_bytes(),
            self.path.as_bytes(),
            self.key.as_bytes(),
            &self.at.to_be_bytes(),
            &Sha256::digest(self.body),
        ])
    }
}

/// The body of a request that publishes: key packages as MLS has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// For one use each.
    pub packages: Vec<Bytes>,
    /// In place of the one that is there.
    pub last_resort: Option<Bytes>,
}

impl Published {
    /// Reads one. At most [`MOST_PACKAGES`], and one at least.
    pub fn read(body: &[u8]) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        struct Body {
            packages: Option<Vec<String>>,
            last_resort: Option<String>,
        }
        let refused = |reason, why: &str| Rejection::new(reason, why);
        let body: Body = serde_json::from_slice(body).map_err(|_| {
            let why =
                "the body must be one JSON object, with packages and last_resort in base64url";
            refused(Reason::BadFrame, why)
        })?;
        let packages = body.packages.unwrap_or_default();
        if packages.len() > MOST_PACKAGES {
            let why = "at most 100 key packages come at a time";
            return Err(refused(Reason::TooLarge, why));
        }
        let bytes = |text: String| {
            let bytes = BASE64URL
                .decode(text)
                .ok()
                .filter(|bytes| !bytes.is_empty());
            let why = "a key package must be base64url, and not empty";
            Ok::<_, Rejection>(bytes.ok_or_else(|| refused(Reason::BadField, why))?.into())
        };
        let published = Self {
            packages: packages.into_iter().map(bytes).collect::<Result<_, _>>()?,
            last_resort: body.last_resort.map(bytes).transpose()?,
        };
        match published == Self::default() {
            true => Err(refused(Reason::BadField, "no key package is in the body")),
            false => Ok(published),
        }
    }
}

/// What is left of a device.
#[derive(Debug, Serialize)]
pub struct Left<'a> {
    /// The device.
    pub device: &'a str,
    /// One-time packages.
    pub one_time: usize,
    /// Whether there is a last resort.
    pub last_resort: bool,
}

/// The devices of a person.
#[derive(Debug, Serialize)]
pub struct Devices<'a> {
    /// By name.
    pub devices: Vec<Left<'a>>,
}

/// A key package that somebody gets.
#[derive(Debug, Serialize)]
pub struct Package<'a> {
    /// The device that made it.
    pub device: &'a str,
    /// As MLS has it.
    #[serde(serialize_with = "base64url")]
    pub package: &'a [u8],
    /// Whether others get it, too.
    pub last_resort: bool,
}

/// The key packages that somebody gets.
#[derive(Debug, Default, Serialize)]
pub struct Claimed<'a> {
    /// One of each device that has one.
    pub packages: Vec<Package<'a>>,
    /// Devices that have none now.
    pub missing: Vec<&'a str>,
}

/// Who made a commit.
#[derive(Debug, Serialize)]
pub struct By<'a> {
    /// The name.
    pub user: &'a str,
    /// The device.
    pub device: &'a str,
    /// The identity.
    #[serde(rename = "pub")]
    pub key: String,
}

/// A welcome that waits; with `welcome` and `tree` where it was asked for.
#[derive(Debug, Serialize)]
pub struct Welcome<'a> {
    /// Names it in a path.
    pub id: String,
    /// The room.
    pub room: &'a str,
    /// The place of the commit there.
    pub seq: u64,
    /// The epoch of the group that it made.
    pub epoch: u64,
    /// When it was stored, in milliseconds since 1970 UTC.
    pub at: u64,
    /// Who added the device.
    pub by: By<'a>,
    /// Bytes of welcome and tree.
    pub size: u64,
    /// The welcome, as MLS has it.
    #[serde(
        serialize_with = "maybe_base64url",
        skip_serializing_if = "Option::is_none"
    )]
    pub welcome: Option<&'a [u8]>,
    /// The tree of the epoch.
    #[serde(
        serialize_with = "maybe_base64url",
        skip_serializing_if = "Option::is_none"
    )]
    pub tree: Option<&'a [u8]>,
}

/// What waits for a device.
#[derive(Debug, Serialize)]
pub struct Welcomes<'a> {
    /// Oldest first.
    pub welcomes: Vec<Welcome<'a>>,
    /// When to ask again, in milliseconds.
    pub poll_after_ms: u64,
}

/// Whether something was removed.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// It was there.
    pub removed: bool,
}

/// An answer as JSON.
pub fn encode(answer: &impl Serialize) -> Utf8 {
    serde_json::to_string(answer)
        .expect("names, numbers and texts can be written")
        .into()
}

fn base64url<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn maybe_base64url<S: Serializer>(bytes: &Option<&[u8]>, out: S) -> Result<S::Ok, S::Error> {
    base64url(bytes.unwrap_or_default(), out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Key;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    /// The worked example of docs/protocol.md.
    #[test]
    fn a_proof_is_what_the_protocol_says() {
        let seed: [u8; 32] = std::array::from_fn(|n| n as u8);
        let pair = SigningKey::from_bytes(&seed);
        let key = BASE64_URL_SAFE_NO_PAD.encode(pair.verifying_key().as_bytes());
        let path = format!("/keys/{key}/harry/devices/phone");
        let context = KeysContext {
            method: "DELETE",
            path: &path,
            key: PublicKey::parse(&Key::parse(&key).unwrap()).unwrap(),
            at: 1_795_465_200_123,
            body: b"",
        };
        let bytes = context.bytes("chat.example");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(&bytes).to_bytes());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let document = include_str!("../../docs/protocol.md");
        let squeezed: String = document.split_whitespace().collect();
        assert!(squeezed.contains(&hex), "{hex}");
        assert!(document.contains(&signature), "{signature}");
    }

    #[test]
    fn a_body_is_bounded_and_must_say_something() {
        let many = format!(
            r#"{{"packages":[{}"AA"]}}"#,
            r#""AA","#.repeat(MOST_PACKAGES)
        );
        for (body, reason) in [
            ("", Reason::BadFrame),
            ("[]", Reason::BadFrame),
            (r#"{"packages":"AA"}"#, Reason::BadFrame),
            ("{}", Reason::BadField),
            (r#"{"packages":[],"last_resort":null}"#, Reason::BadField),
            (r#"{"packages":["+/"]}"#, Reason::BadField),
            (r#"{"packages":[""]}"#, Reason::BadField),
            (&many, Reason::TooLarge),
        ] {
            let refused = Published::read(body.as_bytes()).unwrap_err();
            assert_eq!(refused.reason, reason, "{body}");
        }
        let read = Published::read(br#"{"packages":["AQ=="],"last_resort":"Ag","x":1}"#).unwrap();
        assert_eq!(read.packages, [Bytes::from_static(&[1])]);
        assert_eq!(read.last_resort, Some(Bytes::from_static(&[2])));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let _ = Published::read(&body);
        }
    }
}
