//! What members, strangers, thieves and the server itself can try, and who notices. What the writer
//! can see it refuses before it is journaled; what it cannot, members do not depend on it for.

mod commits;
mod entry;
mod people;
mod server;
mod shared;
mod stolen;
#[path = "../world/mod.rs"]
mod world;

use openmls::prelude::{
    BasicCredential, CredentialWithKey, MlsGroup, MlsGroupJoinConfig, MlsMessageBodyIn,
    MlsMessageIn, OpenMlsProvider as _, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, RatchetTreeIn,
    tls_codec::Deserialize as _,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use seal::delivery::Proven;
use seal::member::Frame;
use seal::{Bundle, Refusal};
use world::{Client, Server, now};

fn bundle_of(client: &mut Client) -> Bundle {
    match client.outbox.pop_back() {
        Some(Frame::Change { bundle, .. }) => bundle,
        other => panic!("no bundle: {other:?}"),
    }
}

fn refused(server: &Server, bundle: &Bundle, by: &Proven) -> Refusal {
    let epoch = server.delivery().epoch();
    let refusal = server
        .delivery()
        .decide(bundle, by, now())
        .map(drop)
        .unwrap_err();
    assert_eq!(server.delivery().epoch(), epoch);
    refusal
}

/// A client that is in nobody's room, with key packages at the server.
fn stranger(server: &mut Server, user: &str, seed: u8) -> Client {
    let mut stranger = Client::new(user, "phone", seed);
    stranger.publish(2);
    stranger.flush(server);
    stranger
}

/// An external commit by somebody who checks nothing.
fn raw_external_commit(client: &Client, group_info: &[u8], tree: &[u8], has_tree: bool) -> Bundle {
    let provider = OpenMlsRustCrypto::default();
    let info = MlsMessageIn::tls_deserialize_exact(group_info).unwrap();
    let MlsMessageBodyIn::GroupInfo(info) = info.extract() else {
        panic!("no group info");
    };
    let credential = CredentialWithKey {
        credential: BasicCredential::new(client.member.certificate().encode()).into(),
        signature_key: client.key.public().as_slice().into(),
    };
    let config = MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .build();
    let (_, made) = MlsGroup::external_commit_builder()
        .with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(tree).unwrap())
        .with_config(config)
        .build_group(&provider, info, credential)
        .unwrap()
        .load_psks(provider.storage())
        .unwrap()
        .create_group_info(true)
        .use_ratchet_tree_extension(has_tree)
        .build(provider.rand(), provider.crypto(), &client.key, |_| true)
        .unwrap()
        .finalize(&provider)
        .unwrap();
    let (commit, _, group_info) = made.into_messages();
    Bundle {
        commit: commit.to_bytes().unwrap(),
        welcome: None,
        group_info: group_info.unwrap().to_bytes().unwrap(),
    }
}
