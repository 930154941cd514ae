//! A device of somebody, with the key of its person: it asks for key packages and welcomes over
//! HTTP.

use reqwest::{Client, Method};
use safe_chat_client::{
    KeyPair,
    keys::{Keys, PROOF_HEADER, Request},
};
use seal::{
    Certificate, DeviceKey, Identity, Member, Name,
    member::{Frame, Step},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Device {
    pub(crate) keys: Keys,
    pub(crate) certificate: Certificate,
    pub(crate) member: Member,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn reason(&self) -> &str {
        self.body["error"]["reason"].as_str().unwrap_or_default()
    }

    /// What it is with status 200.
    pub(crate) fn is<T: DeserializeOwned>(self) -> T {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_value(self.body).unwrap()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

impl Device {
    /// One whose person and key are of a seed, at a server.
    pub(crate) fn new(seed: u8, user: &str, device: &str, url: &str) -> Self {
        let name = |text| Name::parse(text).unwrap();
        let key = DeviceKey::from_seed(&[seed.wrapping_add(100); 32]);
        let identity = Identity::from_seed(&[seed; 32]);
        let certificate = identity.certify(name(user), name(device), &key);
        Self {
            keys: Self::keys_at(seed, url),
            member: Member::new(key, certificate.clone()),
            certificate,
        }
    }

    /// What its person asks another server with.
    pub(crate) fn keys_at(seed: u8, url: &str) -> Keys {
        Keys::new(KeyPair::from_seed(&[seed; 32]), &url.parse().unwrap())
    }

    pub(crate) fn identity(&self) -> String {
        self.certificate.identity().to_string()
    }

    /// Key packages for one use each, and the last resort.
    pub(crate) fn packages(&mut self, count: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let Step { mut frames, .. } = self.member.publish(count, now() / 1000).unwrap();
        let Some(Frame::Publish {
            one_time,
            last_resort,
        }) = frames.pop()
        else {
            panic!("a step that publishes")
        };
        (one_time, last_resort)
    }

    /// Makes key packages and publishes them.
    pub(crate) async fn publishes(&mut self, count: usize) -> Answer {
        let (one_time, last_resort) = self.packages(count);
        let (user, device) = (self.certificate.user(), self.certificate.device());
        let (user, device, last) = (user.as_str(), device.as_str(), Some(&*last_resort));
        send(&self.keys.publish(user, device, &one_time, last, now())).await
    }
}

pub(crate) async fn send(request: &Request) -> Answer {
    let method: Method = request.method.parse().unwrap();
    let sent = Client::new()
        .request(method, &request.url)
        .header(PROOF_HEADER, &request.proof)
        .body(request.body.clone())
        .send();
    let answer = sent.await.unwrap();
    let retry_after = answer.headers().get("retry-after");
    Answer {
        status: answer.status().as_u16(),
        retry_after: retry_after.map(|seconds| seconds.to_str().unwrap().parse().unwrap()),
        body: answer.json().await.unwrap_or_default(),
    }
}
