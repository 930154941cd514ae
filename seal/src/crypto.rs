//! The cryptography of the one suite, out of what `openmls_rust_crypto` has for many: whatever else
//! it is asked for, it refuses. It names each algorithm itself instead of passing on what it was
//! told, so the compiler leaves the others out of the module that a browser fetches.

use crate::mls::SUITE;
use openmls::prelude::{
    Ciphersuite, CryptoError, HashType, OpenMlsCrypto, OpenMlsProvider, OpenMlsRand,
    SignatureScheme, tls_codec::SecretVLBytes,
};
use openmls_rust_crypto::{MemoryStorage, RandError, RustCrypto};
use openmls_traits::types::{
    AeadType, ExporterSecret, HpkeAeadType, HpkeCiphertext, HpkeConfig, HpkeKdfType, HpkeKemType,
    HpkeKeyPair, KemOutput,
};

const HASH: HashType = HashType::Sha2_256;
const AEAD: AeadType = AeadType::Aes128Gcm;
const SIGNATURE: SignatureScheme = SignatureScheme::ED25519;

fn hpke() -> HpkeConfig {
    HpkeConfig(
        HpkeKemType::DhKem25519,
        HpkeKdfType::HkdfSha256,
        HpkeAeadType::AesGcm128,
    )
}

/// Storage in memory beside that cryptography.
#[derive(Default)]
pub(crate) struct Provider {
    crypto: Crypto,
    storage: MemoryStorage,
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = Crypto;
    type RandProvider = Crypto;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Crypto {
        &self.crypto
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Crypto(RustCrypto);

fn only(is_of_the_suite: bool) -> Result<(), CryptoError> {
    match is_of_the_suite {
        true => Ok(()),
        false => Err(CryptoError::UnsupportedCiphersuite),
    }
}

fn only_hpke(config: &HpkeConfig) -> Result<(), CryptoError> {
    let HpkeConfig(kem, kdf, aead) = hpke();
    only(config.0 == kem && config.1 == kdf && config.2 == aead)
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, suite: Ciphersuite) -> Result<(), CryptoError> {
        only(suite == SUITE)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![SUITE]
    }

    fn hkdf_extract(
        &self,
        hash: HashType,
        salt: &[u8],
        ikm: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        only(hash == HASH)?;
        self.0.hkdf_extract(HASH, salt, ikm)
    }

    fn hmac(
        &self,
        hash: HashType,
        key: &[u8],
        message: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        only(hash == HASH)?;
        self.0.hmac(HASH, key, message)
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        only(hash == HASH)?;
        self.0.hkdf_expand(HASH, prk, info, len)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        only(hash == HASH)?;
        self.0.hash(HASH, data)
    }

    fn aead_encrypt(
        &self,
        aead: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        only(aead == AEAD)?;
        self.0.aead_encrypt(AEAD, key, data, nonce, aad)
    }

    fn aead_decrypt(
        &self,
        aead: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        only(aead == AEAD)?;
        self.0.aead_decrypt(AEAD, key, data, nonce, aad)
    }

    fn signature_key_gen(
        &self,
        scheme: SignatureScheme,
    ) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        only(scheme == SIGNATURE)?;
        self.0.signature_key_gen(SIGNATURE)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        data: &[u8],
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        only(scheme == SIGNATURE)?;
        self.0.verify_signature(SIGNATURE, data, key, signature)
    }

    fn sign(
        &self,
        scheme: SignatureScheme,
        data: &[u8],
        key: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        only(scheme == SIGNATURE)?;
        self.0.sign(SIGNATURE, data, key)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        key: &[u8],
        info: &[u8],
        aad: &[u8],
        plain: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        only_hpke(&config)?;
        self.0.hpke_seal(hpke(), key, info, aad, plain)
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        key: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        only_hpke(&config)?;
        self.0.hpke_open(hpke(), input, key, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        key: &[u8],
        info: &[u8],
        context: &[u8],
        len: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        only_hpke(&config)?;
        let crypto = &self.0;
        crypto.hpke_setup_sender_and_export(hpke(), key, info, context, len)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        key: &[u8],
        info: &[u8],
        context: &[u8],
        len: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        only_hpke(&config)?;
        let crypto = &self.0;
        crypto.hpke_setup_receiver_and_export(hpke(), enc, key, info, context, len)
    }

    fn derive_hpke_keypair(
        &self,
        config: HpkeConfig,
        ikm: &[u8],
    ) -> Result<HpkeKeyPair, CryptoError> {
        only_hpke(&config)?;
        self.0.derive_hpke_keypair(hpke(), ikm)
    }
}

impl OpenMlsRand for Crypto {
    type Error = RandError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], RandError> {
        self.0.random_array()
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, RandError> {
        self.0.random_vec(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_algorithms_are_those_of_the_suite() {
        assert_eq!(SUITE.hash_algorithm(), HASH);
        assert_eq!(SUITE.aead_algorithm(), AEAD);
        assert_eq!(SUITE.signature_algorithm(), SIGNATURE);
        assert!(only_hpke(&SUITE.hpke_config()).is_ok());
    }

    #[test]
    fn it_refuses_any_other() {
        let crypto = Crypto::default();
        for suite in RustCrypto::default().supported_ciphersuites() {
            assert_eq!(crypto.supports(suite).is_ok(), suite == SUITE);
        }
        let other = SignatureScheme::ECDSA_SECP256R1_SHA256;
        let (key, public) = RustCrypto::default().signature_key_gen(other).unwrap();
        let signature = RustCrypto::default().sign(other, b"data", &key).unwrap();
        assert!(crypto.sign(other, b"data", &key).is_err());
        let verified = crypto.verify_signature(other, b"data", &public, &signature);
        assert!(verified.is_err());
        assert!(crypto.hash(HashType::Sha2_384, b"data").is_err());
    }
}
