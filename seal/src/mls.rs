//! OpenMLS as this project uses it: one suite, handshakes in the clear for the writer, messages
//! padded, trees from the writer instead of in every welcome.

use crate::codec::short_parts;
use crate::device::{Certificate, DeviceKey, Name};
use crate::rules::{EPOCHS_BACK, JoinPolicy, PADDING, Refusal, check_leaf, check_tree_size};
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, Credential, CredentialType, CredentialWithKey,
    ExtensionType, KeyPackage, KeyPackageIn, Lifetime, MlsGroupJoinConfig, MlsMessageBodyIn,
    MlsMessageIn, OpenMlsCrypto, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProtocolVersion, RatchetTreeIn,
    SenderRatchetConfiguration, SignatureScheme, tls_codec::Deserialize as _,
};
use openmls::treesync::TreeSync;
use openmls_traits::signatures::{Signer, SignerError};
use std::collections::BTreeMap;

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// Messages of one sender that arrive late, and messages of it that are missing, at which its later
/// ones can still be read. A room has one order, so both are rare.
const RATCHET: (u32, u32) = (16, 1000);

impl Signer for DeviceKey {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(Self::sign(self, payload))
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

pub(crate) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .padding_size(PADDING)
        .max_past_epochs(EPOCHS_BACK as usize)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(RATCHET.0, RATCHET.1))
        .build()
}

pub(crate) fn capabilities() -> Capabilities {
    let extensions = [ExtensionType::LastResort];
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[SUITE]),
        Some(&extensions),
        None,
        Some(&[CredentialType::Basic]),
    )
}

fn mls_credential(certificate: &Certificate) -> Credential {
    BasicCredential::new(certificate.encode()).into()
}

pub(crate) fn credential(certificate: &Certificate) -> CredentialWithKey {
    CredentialWithKey {
        credential: mls_credential(certificate),
        signature_key: certificate.key.as_slice().into(),
    }
}

/// The verified certificate in a leaf's credential.
pub(crate) fn certificate_of(credential: &Credential, key: &[u8]) -> Result<Certificate, Refusal> {
    let basic = BasicCredential::try_from(credential.clone()).map_err(|_| Refusal::Malformed)?;
    Ok(Certificate::decode(basic.identity(), key)?)
}

/// Groups of a room: its name, its policy, and something random that tells a group from the one
/// before it. The id is part of all that members agree on, so nobody changes the policy behind their
/// backs.
pub(crate) fn group_id(room: &Name, policy: JoinPolicy, random: &[u8; 16]) -> Vec<u8> {
    let policy = match policy {
        JoinPolicy::Invited => 0,
        JoinPolicy::Open => 1,
    };
    let front = short_parts(&[room.as_str().as_bytes()]);
    [&front[..], &[policy], random].concat()
}

/// The policy of a group, if it is one of this room.
pub(crate) fn join_policy_of(group_id: &[u8], room: &Name) -> Result<JoinPolicy, Refusal> {
    let front = short_parts(&[room.as_str().as_bytes()]);
    match group_id.strip_prefix(&front[..]) {
        Some([0, random @ ..]) if random.len() == 16 => Ok(JoinPolicy::Invited),
        Some([1, random @ ..]) if random.len() == 16 => Ok(JoinPolicy::Open),
        _ => Err(Refusal::OtherGroup),
    }
}

/// The room that a group is of.
pub(crate) fn room_of(group_id: &[u8]) -> Result<Name, Refusal> {
    let name = crate::codec::Reader(group_id).short()?;
    let name = std::str::from_utf8(name).map_err(|_| Refusal::Malformed)?;
    Ok(Name::parse(name)?)
}

/// The message in bytes that were checked for their size.
pub(crate) fn read(bytes: &[u8]) -> Result<MlsMessageBodyIn, Refusal> {
    let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| Refusal::Malformed)?;
    Ok(message.extract())
}

pub(crate) fn read_tree(bytes: &[u8]) -> Result<RatchetTreeIn, Refusal> {
    check_tree_size(bytes)?;
    RatchetTreeIn::tls_deserialize_exact(bytes).map_err(|_| Refusal::Malformed)
}

pub(crate) fn read_key_package(
    bytes: &[u8],
    crypto: &impl OpenMlsCrypto,
) -> Result<KeyPackage, Refusal> {
    let MlsMessageBodyIn::KeyPackage(package) = read(bytes)? else {
        return Err(Refusal::Malformed);
    };
    KeyPackageIn::validate(package, crypto, ProtocolVersion::Mls10)
        .map_err(|_| Refusal::Invalid("a key package"))
}

pub(crate) fn members(tree: &TreeSync) -> Result<Vec<(u32, Certificate)>, Refusal> {
    let leaves = tree.full_leaves();
    let certified = leaves.map(|(index, leaf)| Ok((index.u32(), check_leaf(leaf)?)));
    let members: Vec<_> = certified.collect::<Result<_, Refusal>>()?;
    crate::rules::check_members(&members)?;
    Ok(members)
}

pub(crate) fn lifetime(now: u64) -> Lifetime {
    let from = now.saturating_sub(crate::rules::SKEW);
    Lifetime::init(from, now + crate::rules::LIFETIME)
}

/// The members of a tree whose changed leaves were reviewed: no signature of the others is verified
/// again, for that is what a commit would cost most. Others are those whose leaf has the very bytes
/// that were verified.
pub(crate) fn members_again(
    tree: &TreeSync,
    before: &BTreeMap<u32, Certificate>,
) -> BTreeMap<u32, Certificate> {
    let leaves = tree.full_leaves().map(|(index, leaf)| {
        let key = leaf.signature_key().as_slice();
        let credential = leaf.credential();
        let known = before
            .get(&index.u32())
            .filter(|one| one.key.as_slice() == key && mls_credential(one) == *credential);
        let certificate = match known {
            Some(known) => known.clone(),
            None => certificate_of(credential, key).expect("it was reviewed"),
        };
        (index.u32(), certificate)
    });
    leaves.collect()
}
