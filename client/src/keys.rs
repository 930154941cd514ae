//! Key packages and welcomes of sealed rooms: what is asked over HTTP, signed, and what is
//! answered. Without I/O: the caller sends a [`Request`] with whatever HTTP client it has, and
//! gives the body of the answer to [`read`].
//!
//! ```
//! use safe_chat_client::{KeyPair, keys::Keys};
//!
//! let (pair, _seed) = KeyPair::generate();
//! let keys = Keys::new(pair, &"https://chat.example".parse().unwrap());
//! let request = keys.left("harry", 1_795_465_200_123);
//! assert!(request.url.starts_with("https://chat.example/keys/"));
//! assert!(request.proof.starts_with("host=chat.example, time=1795465200123, signature="));
//! ```

use crate::{Gateway, KeyPair};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::json;

/// The header that a proof goes into.
pub const PROOF_HEADER: &str = "Safe-Chat-Proof";
/// Key packages in one request.
pub const MOST_PACKAGES: usize = 100;

/// What a signature begins with.
const LABEL: &[u8] = b"safe-chat keys proof v1";
/// The same of a request about a room.
const REQUEST: &[u8] = b"safe-chat request proof v1";
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A request to send. It counts within a minute of the time that it was signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// GET, POST or DELETE.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// The value of [`PROOF_HEADER`].
    pub proof: String,
    /// The body, empty or JSON.
    pub body: Vec<u8>,
}

/// Makes requests of one identity to one server. `now`: milliseconds since 1970 UTC.
#[derive(Debug, Clone)]
pub struct Keys {
    pair: KeyPair,
    host: String,
    base: String,
}

impl Keys {
    /// Of who has this key pair.
    pub fn new(pair: KeyPair, gateway: &Gateway) -> Self {
        let scheme = if gateway.is_secure() { "https" } else { "http" };
        let at = gateway.to_string();
        let (_, rest) = at.split_once("://").unwrap_or_default();
        Self {
            pair,
            host: gateway.host(),
            base: format!("{scheme}://{rest}"),
        }
    }

    /// Publishes key packages of a device (as MLS has them, at most [`MOST_PACKAGES`]), and the one
    /// of last resort in place of the one that is there. Answered with [`Left`].
    pub fn publish(
        &self,
        user: &str,
        device: &str,
        packages: &[Vec<u8>],
        last_resort: Option<&[u8]>,
        now: u64,
    ) -> Request {
        let text = |bytes: &[u8]| general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let packages: Vec<_> = packages.iter().map(|bytes| text(bytes)).collect();
        let body = json!({ "packages": packages, "last_resort": last_resort.map(text) });
        let path = format!("{}/devices/{device}", self.own(user));
        self.request("POST", &path, "", body.to_string().into_bytes(), now)
    }

    /// How many are left of the own devices. Answered with [`Devices`].
    pub fn left(&self, user: &str, now: u64) -> Request {
        let path = format!("{}/devices", self.own(user));
        self.request("GET", &path, "", Vec::new(), now)
    }

    /// Removes those of a device that is no more. Answered with [`Removed`].
    pub fn remove(&self, user: &str, device: &str, now: u64) -> Request {
        let path = format!("{}/devices/{device}", self.own(user));
        self.request("DELETE", &path, "", Vec::new(), now)
    }

    /// Asks for one key package of each device of somebody, to add them to a room. Answered with
    /// [`Claimed`].
    pub fn claim(&self, identity: &str, user: &str, now: u64) -> Request {
        let path = format!("/keys/{identity}/{user}/claim");
        let query = format!("?pub={}", self.pair.public());
        self.request("POST", &path, &query, Vec::new(), now)
    }

    /// Which welcomes wait for an own device. Answered with [`Welcomes`].
    pub fn welcomes(&self, user: &str, device: &str, now: u64) -> Request {
        let path = self.waiting(user, device);
        self.request("GET", &path, "", Vec::new(), now)
    }

    /// One of them, with all that is needed to join. Answered with [`Welcome`].
    pub fn welcome(&self, user: &str, device: &str, id: &str, now: u64) -> Request {
        let path = format!("{}/{id}", self.waiting(user, device));
        self.request("GET", &path, "", Vec::new(), now)
    }

    /// Says that the device has it, so that it need not be kept. Answered with [`Removed`].
    pub fn confirm(&self, user: &str, device: &str, id: &str, now: u64) -> Request {
        let path = format!("{}/{id}", self.waiting(user, device));
        self.request("DELETE", &path, "", Vec::new(), now)
    }

    /// The public state of a sealed room's group, for a device that comes in by itself. Answered
    /// with [`Group`], or 404 when the room has none.
    pub fn group(&self, room: &str, user: &str, now: u64) -> Request {
        self.of_room(room, user, "group", "", now)
    }

    /// The last events of a room, at most `limit` (1 to 500). Answered with [`Last`].
    pub fn last(&self, room: &str, user: &str, limit: u16, now: u64) -> Request {
        self.of_room(room, user, "history", &format!("&limit={limit}"), now)
    }

    fn of_room(&self, room: &str, user: &str, what: &str, query: &str, now: u64) -> Request {
        let (time, hash) = (now.to_be_bytes(), digest(&SHA256, b""));
        let signed = [
            REQUEST,
            b"GET",
            self.host.as_bytes(),
            room.as_bytes(),
            user.as_bytes(),
            self.pair.public_bytes(),
            &time,
            hash.as_ref(),
        ];
        let of = format!("?user={user}&pub={}{query}", self.pair.public());
        let url = format!("{}/rooms/{room}/{what}{of}", self.base);
        self.signed("GET", url, &signed, Vec::new(), now)
    }

    fn own(&self, user: &str) -> String {
        format!("/keys/{}/{user}", self.pair.public())
    }

    fn waiting(&self, user: &str, device: &str) -> String {
        format!("/welcomes/{}/{user}/{device}", self.pair.public())
    }

    fn request(
        &self,
        method: &'static str,
        path: &str,
        query: &str,
        body: Vec<u8>,
        now: u64,
    ) -> Request {
        let (time, hash) = (now.to_be_bytes(), digest(&SHA256, &body));
        let signed = [
            LABEL,
            method.as_bytes(),
            self.host.as_bytes(),
            path.as_bytes(),
            self.pair.public_bytes(),
            &time,
            hash.as_ref(),
        ];
        let url = format!("{}{path}{query}", self.base);
        self.signed(method, url, &signed, body, now)
    }

    fn signed(
        &self,
        method: &'static str,
        url: String,
        parts: &[&[u8]],
        body: Vec<u8>,
        now: u64,
    ) -> Request {
        let signature = general_purpose::URL_SAFE_NO_PAD.encode(self.pair.sign_parts(parts));
        let host = &self.host;
        Request {
            method,
            url,
            proof: format!("host={host}, time={now}, signature={signature}"),
            body,
        }
    }
}

/// Reads the body of an answer with status 200.
///
/// # Errors
/// It is not what was asked for.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

/// What is left of a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Left {
    /// The device.
    pub device: String,
    /// One-time packages.
    pub one_time: usize,
    /// Whether there is one of last resort.
    pub last_resort: bool,
}

/// What is left of all devices.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Devices {
    /// By name.
    pub devices: Vec<Left>,
}

/// A key package of a device of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Package {
    /// The device.
    pub device: String,
    /// As MLS has it. It is to be checked before it is used: the server need not be honest.
    #[serde(deserialize_with = "bytes")]
    pub package: Vec<u8>,
    /// Whether others get it, too.
    pub last_resort: bool,
}

/// Key packages of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claimed {
    /// One of each device that has one.
    pub packages: Vec<Package>,
    /// Devices that have none now.
    pub missing: Vec<String>,
}

/// Who added a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct By {
    /// The name.
    pub user: String,
    /// The device.
    pub device: String,
    /// The identity.
    #[serde(rename = "pub")]
    pub key: String,
}

/// A welcome that waits for a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Welcome {
    /// Names it.
    pub id: String,
    /// The room.
    pub room: String,
    /// The place of the commit there.
    pub seq: u64,
    /// The epoch of the group that it made.
    pub epoch: u64,
    /// When it was stored: milliseconds since 1970 UTC.
    pub at: u64,
    /// Who added the device.
    pub by: By,
    /// Bytes of welcome and tree.
    pub size: u64,
    /// The welcome, as MLS has it; empty in a list.
    #[serde(default, deserialize_with = "bytes")]
    pub welcome: Vec<u8>,
    /// The tree of the epoch; empty in a list.
    #[serde(default, deserialize_with = "bytes")]
    pub tree: Vec<u8>,
}

/// What waits for a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Welcomes {
    /// Oldest first.
    pub welcomes: Vec<Welcome>,
    /// When to ask again, in milliseconds.
    pub poll_after_ms: u64,
}

/// The public state of a sealed room's group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// The epoch.
    pub epoch: u64,
    /// The place of the event that made it.
    pub seq: u64,
    /// The group info, as MLS has it.
    #[serde(deserialize_with = "bytes")]
    pub group_info: Vec<u8>,
    /// The ratchet tree.
    #[serde(deserialize_with = "bytes")]
    pub tree: Vec<u8>,
}

/// An event of a room, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Trace {
    /// Its place.
    pub seq: u64,
    /// What happened, as the protocol spells it.
    pub kind: String,
    /// Who did it.
    pub from: String,
}

/// The last events of a room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Last {
    /// Ascending.
    pub events: Vec<Trace>,
}

/// Whether something was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Removed {
    /// It was there.
    pub removed: bool,
}

fn bytes<'de, D: Deserializer<'de>>(text: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(text)?;
    let decoded = BASE64URL.decode(text);
    decoded.map_err(|_| D::Error::custom("it is no base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let seed: [u8; 32] = std::array::from_fn(|n| n as u8);
        let gateway = "http://chat.example:80/talk".parse().unwrap();
        Keys::new(KeyPair::from_seed(&seed), &gateway)
    }

    #[test]
    fn the_last_events_of_a_room_are_read_without_what_they_say() {
        let request = keys().last("aaa", "harry", 7, 1_795_465_200_123);
        let key = keys().pair.public();
        let url =
            format!("http://chat.example:80/talk/rooms/aaa/history?user=harry&pub={key}&limit=7");
        assert_eq!((request.method, request.url), ("GET", url));
        let answer = r#"{"type":"history","events":[{"type":"event","seq":7,"at":1,"kind":"sealed",
            "from":"charly","sealed":"AA"}],"more":true}"#;
        let last: Last = read(answer.as_bytes()).unwrap();
        let [Trace { seq: 7, kind, from }] = &last.events[..] else {
            panic!("{last:?}");
        };
        assert_eq!((&**kind, &**from), ("sealed", "charly"));
    }

    /// The worked example of docs/protocol.md. The path is that below where the service is.
    #[test]
    fn a_request_is_signed_as_the_protocol_says() {
        let request = keys().remove("harry", "phone", 1_795_465_200_123);
        let document = include_str!("../../docs/protocol.md");
        let (_, signature) = request.proof.rsplit_once('=').unwrap();
        assert!(document.contains(signature), "{signature}");
        let at = format!("http://chat.example:80/talk/keys/{}", keys().pair.public());
        assert_eq!(request.url, format!("{at}/harry/devices/phone"));
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        let claimed = br#"{"packages":[{"device":"phone","package":"AQI","last_resort":false}],
            "missing":["laptop"],"later":1}"#;
        let claimed: Claimed = read(claimed).unwrap();
        assert_eq!(claimed.packages[0].package, [1, 2]);
        let listed = br#"{"welcomes":[{"id":"a.1.2.K","room":"a","seq":1,"epoch":2,"at":3,
            "by":{"user":"u","device":"d","pub":"K"},"size":4}],"poll_after_ms":30000}"#;
        let listed: Welcomes = read(listed).unwrap();
        assert_eq!(listed.welcomes[0].tree, Vec::<u8>::new());
        assert!(read::<Claimed>(b"{}").is_err());
        let bad = br#"{"packages":[{"device":"d","package":"+","last_resort":true}],"missing":[]}"#;
        assert!(read::<Claimed>(bad).is_err());
    }
}
