//! What a token must be, and who is let in: against keys and tokens of others (RFC 7515, appendix
//! A), and against those that no issuer would make.

use super::{keys::KeySet, token::verify, *};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// The key of RFC 7515, A.1.
const HMAC: &str = r#"{"kty":"oct","kid":"hs","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
/// Its token.
const HMAC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The public key of RFC 7515, A.3.
const P256: &str = r#"{"kty":"EC","kid":"es","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
/// Its token.
const P256_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

const SECRET: &[u8] = b"a secret that has more than thirty-two bytes";

fn set(keys: &[&str]) -> KeySet {
    let json = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    KeySet::of_json(json.as_bytes(), true).unwrap()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn claims() -> Value {
    json!({"sub": "harry", "rooms": ["aaa", "team-*"], "exp": now() + 3600})
}

fn signed(header: &Header, claims: &Value) -> Token {
    Token::new(&encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap())
}

fn verified(token: &Token, keys: &KeySet, checks: &Checks) -> Result<Grant, Failure> {
    verify(token, [keys, &KeySet::default()], checks)
}

fn by_secret(token: &Token) -> Result<Grant, Failure> {
    verified(
        token,
        &KeySet::of_secret(SECRET).unwrap(),
        &Checks::default(),
    )
}

#[test]
fn tokens_of_others_are_understood_and_one_letter_changes_everything() {
    for (key, token) in [(HMAC, HMAC_TOKEN), (P256, P256_TOKEN)] {
        let keys = set(&[key]);
        let found = verified(&Token::new(token), &keys, &Checks::default());
        // It is signed, and misses what is asked for here.
        assert!(matches!(found, Err(Failure::Says(_))), "{found:?}");
        for at in [token.len() / 3, token.len() - 10] {
            let mut letters = token.as_bytes().to_vec();
            letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
            let altered = Token::new(&String::from_utf8(letters).unwrap());
            let found = verified(&altered, &keys, &Checks::default());
            assert_eq!(found, Err(Failure::Unsigned), "{at}");
        }
        let other = if key == HMAC { P256 } else { HMAC };
        let found = verified(&Token::new(token), &set(&[other]), &Checks::default());
        assert_eq!(found, Err(Failure::UnknownKey));
    }
}

#[test]
fn an_algorithm_belongs_to_its_key_and_not_to_the_token() {
    let public = include_bytes!("../../tests/keys/rsa.pub.pem");
    let keys = KeySet::of_file(public).unwrap();
    // The public key as a secret, as everybody has it.
    let forged = encode(
        &Header::new(Algorithm::HS256),
        &claims(),
        &EncodingKey::from_secret(public),
    );
    let forged = Token::new(&forged.unwrap());
    assert_eq!(
        verified(&forged, &keys, &Checks::default()),
        Err(Failure::UnknownKey)
    );
    // A longer hash of the same family.
    let longer = signed(&Header::new(Algorithm::HS512), &claims());
    assert_eq!(by_secret(&longer), Err(Failure::UnknownKey));
    for none in ["none", "None", "NONE", ""] {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as CODE};
        let header = CODE.encode(format!(r#"{{"alg":"{none}"}}"#));
        let body = CODE.encode(claims().to_string());
        let token = Token::new(&format!("{header}.{body}."));
        assert_eq!(by_secret(&token), Err(Failure::Unsigned), "{none}");
    }
    let critical = Header {
        crit: Some(vec!["b64".into()]),
        ..Header::default()
    };
    assert_eq!(
        by_secret(&signed(&critical, &claims())),
        Err(Failure::Unsigned)
    );
    let long = Token::new(&"a".repeat(Token::MAX + 1));
    assert!(matches!(by_secret(&long), Err(Failure::Says(why)) if why.contains("8192")));
}

#[test]
fn a_token_says_who_where_what_for_and_until_when() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        by_secret(&signed(&Header::default(), &claims))
    };
    let grant = with("rights", json!(["read", "dance"])).unwrap();
    assert_eq!(grant.user.as_str(), "harry");
    let rights = |read, write| Rights { read, write };
    assert_eq!(grant.rights, rights(true, false));
    assert_eq!(
        with("rights", Value::Null).unwrap().rights,
        rights(true, true)
    );
    assert_eq!(
        with("rights", json!("write")).unwrap().rights,
        rights(false, true)
    );
    assert_eq!(
        with("rights", json!([])).unwrap().rights,
        rights(false, false)
    );
    assert_eq!(with("rooms", json!("aaa")).unwrap().rooms.len(), 1);
    // A number may have a fraction, and be far away.
    assert!(with("exp", json!(now() as f64 + 9.5)).is_ok());
    assert!(with("exp", json!(1e300)).is_err() && with("exp", json!(9e15)).is_ok());
    assert_eq!(with("exp", json!(now() - 1)), Err(Failure::Expired));
    for (name, value, told) in [
        ("exp", Value::Null, "exp"),
        ("exp", json!("tomorrow"), "exp"),
        ("exp", json!(-1), "exp"),
        ("nbf", json!(now() + 60), "nbf"),
        ("nbf", json!("x"), "nbf"),
        ("sub", Value::Null, "sub"),
        ("sub", json!("har ry"), "sub"),
        ("sub", json!(7), "sub"),
        ("rooms", Value::Null, "rooms"),
        ("rooms", json!(["a b"]), "rooms"),
        ("rooms", json!([7]), "rooms"),
        ("rooms", json!(vec!["aaa"; 257]), "rooms"),
        ("rights", json!(7), "rights"),
        ("aud", json!("other"), "aud"),
        ("aud", json!(5), "aud"),
    ] {
        let Err(Failure::Says(why)) = with(name, value.clone()) else {
            panic!("{name} {value}");
        };
        assert!(why.contains(told), "{name} {value}: {why}");
    }
}

#[test]
fn audience_and_issuer_are_checked_and_clocks_may_differ() {
    let checks = Checks {
        audience: vec!["chat".into(), "talk".into()],
        issuer: vec!["https://issuer.example".into()],
        leeway: Duration::from_secs(30),
    };
    let keys = KeySet::of_secret(SECRET).unwrap();
    let with = |aud: Value, iss: Value, exp: u64, nbf: u64| {
        let mut claims = claims();
        (claims["aud"], claims["iss"]) = (aud, iss);
        (claims["exp"], claims["nbf"]) = (exp.into(), nbf.into());
        verified(&signed(&Header::default(), &claims), &keys, &checks)
    };
    let (good, issuer, at) = (json!("chat"), json!("https://issuer.example"), now());
    let grant = with(good.clone(), issuer.clone(), at - 10, at + 10).unwrap();
    assert_eq!(grant.until, UNIX_EPOCH + Duration::from_secs(at + 20));
    assert!(with(json!(["x", "talk"]), issuer.clone(), at + 60, at).is_ok());
    assert_eq!(
        with(good.clone(), issuer.clone(), at - 40, at),
        Err(Failure::Expired)
    );
    for (aud, iss, told) in [
        (json!("other"), issuer.clone(), "aud"),
        (Value::Null, issuer.clone(), "aud"),
        (json!([]), issuer, "aud"),
        (good.clone(), json!("https://evil.example"), "iss"),
        (good, Value::Null, "iss"),
    ] {
        let found = with(aud, iss, at + 60, at);
        let Err(Failure::Says(why)) = &found else {
            panic!("{found:?}");
        };
        assert!(why.contains(told), "{why}");
    }
}

#[test]
fn a_key_with_a_name_checks_tokens_that_name_it() {
    let named = |kid: Option<&str>| {
        let header = Header {
            kid: kid.map(Into::into),
            ..Header::default()
        };
        signed(&header, &claims())
    };
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as CODE};
    let jwk = |kid: &str, secret: &[u8]| {
        let k = CODE.encode(secret);
        format!(r#"{{"kty":"oct","kid":"{kid}","k":"{k}"}}"#)
    };
    let other = [7; 32];
    let keys = set(&[&jwk("old", &other), &jwk("new", SECRET)]);
    let found = |kid| verified(&named(kid), &keys, &Checks::default());
    assert!(found(Some("new")).is_ok() && found(None).is_ok());
    assert_eq!(found(Some("old")), Err(Failure::Unsigned));
    assert_eq!(found(Some("newer")), Err(Failure::UnknownKey));
    // A key of a file has no name, and checks whatever comes. It is not the one that was named.
    assert!(by_secret(&named(Some("any"))).is_ok());
    let mine = KeySet::of_secret(&[7; 32]).unwrap();
    let found = |kid| verified(&named(kid), &mine, &Checks::default());
    assert_eq!(found(Some("new")), Err(Failure::UnknownKey));
    assert_eq!(found(None), Err(Failure::Unsigned));
    // However many such keys there are, those that an issuer publishes come to their turn.
    let many = vec![jwk("", &other).replace(r#""kid":"","#, ""); 20];
    let many = set(&many.iter().map(String::as_str).collect::<Vec<_>>());
    for kid in [Some("new"), None] {
        let found = verify(&named(kid), [&many, &keys], &Checks::default());
        assert!(found.is_ok(), "{kid:?}");
    }
}

#[test]
fn only_keys_for_signing_tokens_are_taken() {
    let rsa = |more: &str| {
        let n = "v".repeat(341) + "w";
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"{more}}}"#)
    };
    let empty = |key: &str| {
        let json = format!(r#"{{"keys":[{key}]}}"#);
        KeySet::of_json(json.as_bytes(), false).unwrap().is_empty()
    };
    assert!(!empty(&rsa("")));
    assert!(!empty(&rsa(r#","use":"sig","alg":"RS256""#)));
    assert!(!empty(P256));
    for bad in [
        &rsa(r#","use":"enc""#),
        &rsa(r#","alg":"RS512""#),
        &rsa(r#","alg":"RSA-OAEP""#),
        &rsa(r#","alg":7"#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
        r#"{"kty":"EC","crv":"P-384","x":"AQAB","y":"AQAB"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"AQAB"}"#,
        r#"{"kty":"AKP"}"#,
        "7",
        // Whoever sees what is published could sign.
        HMAC,
    ] {
        assert!(empty(bad), "{bad}");
    }
    for bad in ["", "{}", "[]", r#"{"keys":7}"#] {
        assert!(KeySet::of_json(bad.as_bytes(), true).is_err(), "{bad}");
    }
    let many = vec![P256; 101].join(",");
    assert!(KeySet::of_json(format!(r#"{{"keys":[{many}]}}"#).as_bytes(), true).is_err());
}

#[test]
fn a_file_that_cannot_check_tokens_is_refused_and_not_quoted() {
    macro_rules! key {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/keys/", $name))
        };
    }
    for good in [
        &key!("rsa.pub.pem")[..],
        key!("p256.pub.pem"),
        key!("ed25519.pub.pem"),
    ] {
        assert!(!KeySet::of_file(good).unwrap().is_empty());
    }
    for (bad, told) in [
        (&key!("rsa.pem")[..], "a private key"),
        (key!("ed25519.pem"), "a private key"),
        (key!("p384.pub.pem"), "P-256"),
        (key!("rsa1024.pub.pem"), "2048 bits"),
        (b"geheim", "no public key"),
        (b"{\"geheim\":1}", "no set of keys"),
    ] {
        let why = KeySet::of_file(bad).err().unwrap();
        assert!(why.contains(told) && !why.contains("geheim"), "{why}");
    }
    for (bad, told) in [
        (&key!("rsa.pub.pem")[..], "access.keys"),
        (b"short", "32 bytes"),
        (b"thirty-two bytes with their end\n", "32 bytes"),
    ] {
        let why = KeySet::of_secret(bad).err().unwrap();
        assert!(why.contains(told), "{why}");
    }
}

#[tokio::test]
async fn files_are_read_again_and_what_cannot_be_used_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let config = Config {
        hs256_keys: vec![path.clone()],
        default: Policy::Token,
        ..Config::default()
    };
    let access = Access::load(&config).unwrap();
    let token = Credentials {
        token: Some(signed(&Header::default(), &claims())),
        proven: false,
    };
    let room = RoomId::parse("aaa").unwrap();
    let is_in = async || access.admit(&room, None, Right::Read, &token).await.is_ok();
    assert!(is_in().await);
    std::fs::write(&path, "short").unwrap();
    let why = access.0.files.look().unwrap_err().to_string();
    assert!(why.contains("secret") && why.contains("32 bytes"), "{why}");
    assert!(is_in().await);
    assert_eq!(access.0.files.look(), Ok(false), "it is told once");
    std::fs::write(&path, [7; 32]).unwrap();
    assert_eq!(access.0.files.look(), Ok(true));
    assert!(!is_in().await);
    std::fs::remove_file(&path).unwrap();
    assert!(Access::load(&config).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[!-~]{0,200}", json in any::<Vec<u8>>()) {
        let _ = by_secret(&Token::new(&text));
        let _ = KeySet::of_json(&json, true);
        let _ = KeySet::of_file(&json);
    }
}
