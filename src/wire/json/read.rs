//! Reads what a client sent. Members are taken apart one by one, so that a bad one is refused with
//! the frame's id. What is not known is skipped without being built, however deep it is.

use crate::wire::{ClientFrame, Message, Refused, check};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, sync::Arc};

/// base64url; padding is accepted and not needed.
pub(in crate::wire) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a frame.
pub(in crate::wire) fn decode(text: &str) -> Result<ClientFrame, Refused> {
    let object = Object::parse(text)?;
    let Some(kind) = object.kind.and_then(value::<String>) else {
        return Err(Refused::bad_frame(
            "the frame has no type; it is one of send, history, members, ping, token",
        ));
    };
    match kind.as_str() {
        "send" => object.message(true).map(ClientFrame::Send),
        "history" => object.history(),
        "members" => object.members(),
        "ping" => Ok(ClientFrame::Ping { id: object.id()? }),
        "token" => object.token(),
        _ => Err(Refused::unsupported(object.id().ok())),
    }
}

/// Reads a `send` object, whose type may be absent. Without a session: a handshake needs one.
pub(in crate::wire) fn decode_send(text: &str) -> Result<Message, Refused> {
    let object = Object::parse(text)?;
    match object.kind.map(value::<String>) {
        None => object.message(false),
        Some(Some(kind)) if kind == "send" => object.message(false),
        Some(_) => Err(Refused::unsupported(object.id().ok())),
    }
}

/// The members that some frame knows, not yet read. Absent and null are the same; of several with
/// one name the last counts.
#[derive(Default)]
struct Object<'a> {
    kind: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    to: Option<&'a RawValue>,
    text: Option<&'a RawValue>,
    sealed: Option<&'a RawValue>,
    handshake: Option<&'a RawValue>,
    before: Option<&'a RawValue>,
    after: Option<&'a RawValue>,
    limit: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
}

impl<'a> Object<'a> {
    fn parse(text: &'a str) -> Result<Self, Refused> {
        serde_json::from_str(text)
            .map_err(|_| Refused::bad_frame("a frame must be one JSON object"))
    }

    fn id(&self) -> Result<Arc<str>, Refused> {
        check::id(&self.id.and_then(value::<String>).unwrap_or_default())
    }

    fn message(&self, in_session: bool) -> Result<Message, Refused> {
        let id = self.id()?;
        let to = match member::<String>(&id, self.to, "to must be a string")? {
            Some(to) => check::to(Some(&id), &to)?,
            None => None,
        };
        let text = member::<String>(&id, self.text, "text must be a string")?;
        let sealed = member::<String>(&id, self.sealed, "sealed must be a string")?;
        let handshake = member::<String>(&id, self.handshake, "handshake must be a string")?;
        let bad = |message| Refused::bad_field(Some(id.clone()), message);
        let decode = |text: String, wrong| BASE64URL.decode(text).map_err(|_| bad(wrong));
        let body = match (text, sealed, handshake) {
            (Some(text), None, None) => check::text(Some(&id), &text)?,
            (None, Some(sealed), None) => {
                let bytes = decode(sealed, "sealed must be base64url")?;
                check::sealed(Some(&id), bytes.into())?
            }
            (None, None, Some(_)) if !in_session => {
                return Err(bad("a handshake needs a session that has proven its key"));
            }
            (None, None, Some(handshake)) => {
                let bytes = decode(handshake, "handshake must be base64url")?;
                check::handshake(Some(&id), bytes.into())?
            }
            (None, None, None) => {
                return Err(bad("a message needs text, sealed content or a handshake"));
            }
            _ => return Err(bad("a message has one of text, sealed and handshake")),
        };
        Ok(check::message(id, to, body))
    }

    fn token(&self) -> Result<ClientFrame, Refused> {
        let id = self.id()?;
        let token = member::<String>(&id, self.token, "token must be a string")?;
        check::token(id, &token.unwrap_or_default())
    }

    fn members(&self) -> Result<ClientFrame, Refused> {
        let id = self.id()?;
        let after = member::<String>(&id, self.after, "after must be a string")?;
        check::members(id, after.as_deref())
    }

    fn history(&self) -> Result<ClientFrame, Refused> {
        let id = self.id()?;
        let wrong = "before must be a whole number from 0 to 2^64-1";
        let before = number(&id, self.before, wrong)?;
        let limit = number(&id, self.limit, check::WRONG_LIMIT)?;
        check::history(id, before, limit)
    }
}

fn value<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn member<T: DeserializeOwned>(
    id: &Arc<str>,
    raw: Option<&RawValue>,
    wrong: &str,
) -> Result<Option<T>, Refused> {
    raw.map(|raw| value(raw).ok_or_else(|| Refused::bad_field(Some(id.clone()), wrong)))
        .transpose()
}

fn number(id: &Arc<str>, raw: Option<&RawValue>, wrong: &str) -> Result<Option<u64>, Refused> {
    raw.map(|raw| whole(raw.get()).ok_or_else(|| Refused::bad_field(Some(id.clone()), wrong)))
        .transpose()
}

/// The value of a JSON number that is whole and not below 0: JSON knows numbers and not how they
/// are written, so 50, 50.0 and 5e1 are the same one. Exact, so not by way of a floating point
/// number. The text is a JSON value.
fn whole(text: &str) -> Option<u64> {
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |text| (true, text));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0).filter(|_| !digits.is_empty());
    }
    let zeros = (digits.len() - digits.trim_end_matches('0').len()) as i64;
    // An exponent that fits into no i64 is of no number here, too.
    let exponent = exponent.parse::<i64>().ok()?;
    let zeros = exponent
        .checked_sub(fraction.len() as i64)?
        .checked_add(zeros)?;
    let scale = 10_u64.checked_pow(u32::try_from(zeros).ok()?)?;
    significant
        .parse::<u64>()
        .ok()
        .filter(|_| !negative)?
        .checked_mul(scale)
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Type,
    Id,
    To,
    Text,
    Sealed,
    Handshake,
    Before,
    After,
    Limit,
    Token,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object::default();
        while let Some(name) = map.next_key()? {
            let member = match name {
                Name::Type => &mut object.kind,
                Name::Id => &mut object.id,
                Name::To => &mut object.to,
                Name::Text => &mut object.text,
                Name::Sealed => &mut object.sealed,
                Name::Handshake => &mut object.handshake,
                Name::Before => &mut object.before,
                Name::After => &mut object.after,
                Name::Limit => &mut object.limit,
                Name::Token => &mut object.token,
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = Some(map.next_value::<&RawValue>()?).filter(|raw| raw.get() != "null");
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_by_its_value_not_by_how_it_is_written() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.0e-99", Some(0)),
            ("50", Some(50)),
            ("50.0", Some(50)),
            ("50.00", Some(50)),
            ("5e1", Some(50)),
            ("5E+1", Some(50)),
            ("0.5e2", Some(50)),
            ("500e-1", Some(50)),
            ("50000000000000000000000e-21", Some(50)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615.0", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e20", None),
            ("1e9999999999999999999999", None),
            ("50.5", None),
            ("5e-1", None),
            ("-1", None),
            ("-5e1", None),
            ("\"50\"", None),
            ("[5]", None),
            ("true", None),
            ("{}", None),
            ("\"\"", None),
        ] {
            assert_eq!(whole(text), value, "{text}");
        }
    }
}
