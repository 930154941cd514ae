//! Certificates in files, as operators and their programs change them.

use super::{identity::Look, *};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, PKCS_ED25519, date_time_ymd};
use std::fs;
use tempfile::TempDir;

/// A certificate for `localhost` that counts in these years, and its key.
fn made(years: [i32; 2]) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(years[0], 1, 1);
    params.not_after = date_time_ymd(years[1], 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Two files.
struct Files(TempDir);

impl Files {
    fn with(pair: (&str, &str)) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put(pair);
        files
    }

    fn put(&self, (certificate, key): (&str, &str)) {
        fs::write(self.certificate(), certificate).unwrap();
        fs::write(self.key(), key).unwrap();
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn load(&self) -> Result<Arc<Identity>, Error> {
        Identity::load(&self.certificate(), &self.key())
    }
}

#[test]
fn a_new_pair_is_taken_over_once() {
    let (first, second) = (made([2020, 2090]), made([2020, 2091]));
    let files = Files::with((&first.0, &first.1));
    let identity = files.load().unwrap();
    assert_eq!(identity.look(), Look::Same);
    files.put((&second.0, &second.1));
    assert_eq!(identity.look(), Look::Taken);
    assert_eq!(identity.look(), Look::Same);
    assert_eq!(identity.warnings(), [""; 0]);
}

#[test]
fn what_cannot_be_used_changes_nothing_and_is_said_once_and_warned_of_until_it_is_mended() {
    let (first, second) = (made([2020, 2090]), made([2020, 2091]));
    let expired = made([2020, 2021]);
    let future = made([2089, 2090]);
    let cut = &second.0[..second.0.len() / 2];
    for (pair, why) in [
        ((&*second.0, &*first.1), "not the key of the certificate"),
        (("", &second.1), "no certificate"),
        ((cut, &second.1), "certificate"),
        ((&second.0, "no key"), "no private key"),
        ((&expired.0, &expired.1), "expired"),
        ((&future.0, &future.1), "not valid yet"),
    ] {
        let files = Files::with((&first.0, &first.1));
        let identity = files.load().unwrap();
        files.put(pair);
        let Look::Refused(error) = identity.look() else {
            panic!("taken: {why}")
        };
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(identity.look(), Look::Same, "said twice: {why}");
        assert!(identity.warnings()[0].contains(why), "{why}");
        files.put((&second.0, &second.1));
        assert_eq!(identity.look(), Look::Taken);
        assert_eq!(identity.warnings(), [""; 0]);
    }
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let first = made([2020, 2090]);
    let files = Files::with((&first.0, &first.1));
    let identity = files.load().unwrap();
    fs::remove_file(files.key()).unwrap();
    assert!(matches!(identity.look(), Look::Refused(_)));
    files.put((&first.0, &first.1));
    assert_eq!(identity.look(), Look::Taken);
}

#[test]
fn an_expired_certificate_is_better_than_none_and_is_warned_of() {
    let (expired, other) = (made([2020, 2021]), made([2020, 2022]));
    let files = Files::with((&expired.0, &expired.1));
    let identity = files.load().unwrap();
    assert!(identity.warnings()[0].contains("it has expired; renew it"));
    files.put((&other.0, &other.1));
    assert_eq!(identity.look(), Look::Taken);
}

#[test]
fn a_chain_ends_with_the_first_of_its_certificates_that_does() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2090, 1, 1);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    let files = Files::with((&(leaf.pem() + &authority.pem()), &key.serialize_pem()));
    let identity = files.load().unwrap();
    assert_eq!(identity.ends(), 1_609_459_200, "the first second of 2021");
    assert!(identity.warnings()[0].contains("it has expired"));
}

#[tokio::test]
async fn a_certificate_is_told_with_what_it_is_for_and_when_it_ends() {
    let (first, second) = (made([2020, 2090]), made([2020, 2091]));
    let files = Files::with((&first.0, &first.1));
    let watch = Watch::new([("nats", files.load().unwrap())]);
    assert_eq!(watch.ends(), [("nats", 3_786_912_000)]);
    files.put((&second.0, &second.1));
    watch.reload().await;
    assert_eq!(watch.ends(), [("nats", 3_818_448_000)]);
}

#[test]
fn no_error_quotes_a_file() {
    for text in [
        "topsecret",
        "-----BEGIN PRIVATE KEY-----\ntopsecret\n-----END PRIVATE KEY-----\n",
        "-----BEGIN topsecret\n-----BEGIN CERTIFICATE-----\ntopsecret",
        "-----BEGIN CERTIFICATE-----\ntopsecret=\n-----END CERTIFICATE-----\n",
    ] {
        let good = made([2020, 2090]);
        for pair in [(text, &*good.1), (&good.0, text)] {
            let why = Files::with(pair).load().unwrap_err().to_string();
            assert!(!why.contains("topsecret"), "{why}");
        }
    }
}

#[test]
fn keys_of_all_usual_kinds_are_read() {
    let params = || CertificateParams::new(["localhost".to_owned()]).unwrap();
    let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let pair = (
        params().self_signed(&edwards).unwrap().pem(),
        edwards.serialize_pem(),
    );
    Files::with((&pair.0, &pair.1)).load().unwrap();
    // A chain: the leaf, and who issued it.
    let authority = CertifiedIssuer::self_signed(params(), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params().signed_by(&key, &authority).unwrap();
    let chain = leaf.pem() + &authority.pem();
    Files::with((&chain, &key.serialize_pem())).load().unwrap();
}

#[test]
fn whom_to_trust_is_read_from_a_file_or_refused_by_name() {
    let good = made([2020, 2090]);
    let files = Files::with((&good.0, "nothing"));
    let trust = |ca: PathBuf| Trust {
        ca: Some(ca),
        ..Trust::default()
    };
    client(&trust(files.certificate())).unwrap();
    let why = client(&trust(files.key())).unwrap_err().to_string();
    assert!(
        why.contains("key.pem") && why.contains("no certificate"),
        "{why}"
    );
    let why = client(&trust("/nowhere/ca.pem".into()))
        .unwrap_err()
        .to_string();
    assert!(why.contains("/nowhere/ca.pem"), "{why}");
}

#[test]
fn half_a_pair_is_refused_by_the_key_that_is_missing() {
    let names = ["gateway.tls_certificate", "gateway.tls_key"];
    assert_eq!(check_pair(names, [false, false]), Ok(()));
    assert_eq!(check_pair(names, [true, true]), Ok(()));
    for is_set in [[true, false], [false, true]] {
        let why = check_pair(names, is_set).unwrap_err();
        let given = names[usize::from(is_set[1])];
        assert!(why.starts_with(given), "{why}");
    }
}
