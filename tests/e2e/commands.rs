//! What a person at a terminal is told of commands in a sealed room: which one failed, why, and
//! what to type instead.

use crate::{
    cluster::{Cluster, eventually},
    devices::{now, send},
    node::Node,
    terminal::Terminal,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use safe_chat_client::{
    KeyPair,
    keys::{Devices, Keys},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A person in an invited room.
struct Person {
    user: &'static str,
    key_file: PathBuf,
}

impl Person {
    fn new(user: &'static str, file: &str, folder: &Path) -> Self {
        let key_file = folder.join(file);
        Self { user, key_file }
    }

    fn opens(&self, node: &Node, more: &[&str]) -> Terminal {
        let (url, key) = (node.url(), self.key_file.to_str().expect("a path of text"));
        let of = ["--seal", "--room", "aaa", "--user", self.user];
        Terminal::open(&[&[&url, "--key-file", key][..], &of, more].concat(), 250)
    }

    fn pair(&self) -> KeyPair {
        let text = fs::read_to_string(&self.key_file).expect("a key");
        let secret = text.trim().strip_prefix("ed25519:").expect("a pair");
        let seed = BASE64_URL_SAFE_NO_PAD.decode(secret).expect("base64url");
        KeyPair::from_seed(&seed.try_into().expect("32 bytes"))
    }

    /// Waits until so many devices can be added.
    async fn has_published(&self, node: &Node, devices: usize) {
        let gateway = node.url().parse().expect("an address");
        let keys = Keys::new(self.pair(), &gateway);
        let are_there = async || {
            let found: Devices = send(&keys.left(self.user, now())).await.is();
            found.devices.len() == devices
        };
        eventually("key packages of all devices", are_there).await;
    }
}

pub(crate) async fn what_fails_names_its_command_and_what_to_do(cluster: Cluster) {
    let node = cluster.node("first").await;
    let folder = tempfile::tempdir().expect("a folder");
    let harry = Person::new("harry", "harry", folder.path());
    let charly = Person::new("charly", "charly", folder.path());
    let mut at_harrys = harry.opens(&node, &["--share-history", "5"]);
    at_harrys.shows("you made the group").await;
    for (typed, told) in [
        (
            "/remove kim",
            "! /remove kim: nobody of that name is in the",
        ),
        ("/share kim", "! /share kim: nobody of that name is in the"),
        ("/dm kim", "! /dm kim: kim is not in the group"),
        ("/revoke web", "! /revoke web: "),
        ("/allow web", "! /allow web: none of your devices"),
    ] {
        at_harrys.types(&format!("{typed}\r"));
        at_harrys.shows(told).await;
    }

    let mut at_charlys = charly.opens(&node, &[]);
    at_charlys
        .shows("you are not in the group of this room")
        .await;
    at_charlys.types("/ask 5\r");
    at_charlys
        .shows("/ask: waiting to be sent, as soon as you are in")
        .await;
    let add = format!("/add charly {}\r", charly.pair().public());
    charly.has_published(&node, 1).await;
    at_harrys.types(&add);
    at_harrys.shows("you let in charly").await;
    at_harrys.shows("--share-history: nothing was shared").await;
    at_harrys.shows("asks for the last 5 messages").await;
    at_charlys.shows("harry let you in").await;
    at_harrys.types(&add);
    at_harrys
        .shows("! /add charly: all devices of charly that can")
        .await;

    // A second device of charly, which he revokes.
    fs::copy(&charly.key_file, folder.path().join("second")).expect("a copy");
    let second = Person::new("charly", "second", folder.path());
    let mut at_second = second.opens(&node, &[]);
    at_charlys.shows("your device ").await;
    let device = at_charlys.shows_up_to(" came in").await;
    second.has_published(&node, 2).await;
    at_charlys.types(&format!("/revoke {device}\r"));
    at_second.shows("was revoked in this room by you").await;
    at_second.shows("removed this").await;
    at_second.types("/quit\r");
    assert_eq!(at_second.ends().await, Some(0));
    let mut at_second = second.opens(&node, &[]);
    // It has tried to come in by itself, and waits for somebody now.
    at_second.shows("was revoked in this room by you").await;
    second.has_published(&node, 2).await;
    at_harrys.types(&add);
    at_harrys
        .shows(&format!(
            "! /add charly: not let in is {device}, for charly"
        ))
        .await;
    at_harrys
        .shows(&format!(
            "First charly has to type, at a device that is in: /allow {device}"
        ))
        .await;
    at_charlys.types(&format!("/allow {device}\r"));
    at_charlys.shows("is on your list of devices once").await;
    // What is said after that is read after that.
    at_charlys.types("it counts again\r");
    at_harrys.shows("it counts again").await;
    at_harrys.types(&add);
    at_second.shows("let you in again").await;

    at_harrys.types("/remove charly\r");
    at_charlys.shows("! harry removed this device, cli-").await;
    at_harrys.shows("you removed charly").await;
    at_harrys.types("/leave\r");
    assert_eq!(at_harrys.ends().await, Some(0));
}
