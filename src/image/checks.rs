//! From what JSON can hold to what the catalog can: each check gives the value, or why there is
//! none, in a sentence that begins with the field.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use crate::query::canonical_uuid;
use crate::timestamp::Timestamp;

/// Every status that an image may have.
pub const STATUSES: [&str; 9] =
    ["queued", "saving", "uploading", "importing", "active", "deactivated", "killed", "pending_delete", "deleted"];

/// The characters of a name, an owner, a member or a format.
const LONGEST: usize = 255;

/// Reads a record of a known form.
///
/// # Errors
/// The first thing that is not of that form, with the field where it stands.
pub fn typed<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        let reason = error.to_string();
        // Where in the record it is tells less than the field does.
        let reason = reason.rsplit_once(" at line ").filter(|_| error.is_data()).map_or(&*reason, |(reason, _)| reason);
        if path == "." || !error.is_data() { reason.to_owned() } else { format!("{path}: {reason}") }
    })?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(read)
}

/// # Errors
/// Anything but a UUID in lower case with dashes.
pub fn id(text: &str) -> Result<Uuid, String> {
    canonical_uuid(text).ok_or_else(|| format!("id is {}; a UUID in lower case with dashes is accepted", shown(text)))
}

/// # Errors
/// Text with a NUL.
pub fn text(field: &str, text: Option<String>) -> Result<Option<String>, String> {
    match text {
        Some(text) if text.contains('\0') => Err(format!("{field} has a NUL character")),
        text => Ok(text),
    }
}

/// # Errors
/// Text with a NUL, or of more than 255 characters.
pub fn short_text(field: &str, given: Option<String>) -> Result<Option<String>, String> {
    match text(field, given)? {
        Some(text) if text.chars().nth(LONGEST).is_some() => {
            Err(format!("{field} has {} characters; at most {LONGEST} are accepted", text.chars().count()))
        }
        text => Ok(text),
    }
}

/// # Errors
/// As [`short_text`].
pub fn format(field: &str, text: Option<String>) -> Result<Option<Cow<'static, str>>, String> {
    Ok(short_text(field, text)?.map(Cow::Owned))
}

/// # Errors
/// Anything that is no status.
pub fn status(text: &str) -> Result<Cow<'static, str>, String> {
    let known = STATUSES.into_iter().find(|status| *status == text).map(Cow::Borrowed);
    known.ok_or_else(|| format!("status is {}; accepted are {}", shown(text), STATUSES.join(", ")))
}

/// # Errors
/// Anything that is no time.
pub fn time(field: &str, text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| {
        let accepted = "an ISO 8601 time in the years 1 to 9999 is accepted, such as 2016-05-22T06:04:22Z";
        format!("{field} is {}; {accepted}", shown(text))
    })
}

/// # Errors
/// As [`time`].
pub fn optional_time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, String> {
    text.map(|text| time(field, text)).transpose()
}

/// A whole number, as far as the catalog can hold it.
#[derive(Clone, Copy, Debug)]
pub struct Whole(i64);

impl Whole {
    pub fn number(Self(number): Self) -> i64 {
        number
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number from 0 to 2^63-1")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                let whole = i64::try_from(number).map(Whole);
                whole.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
                Err(E::invalid_value(Unexpected::Signed(number), &self))
            }
        }

        deserializer.deserialize_u64(Number)
    }
}

/// A JSON object as it was written: in its order, with repeated names.
#[derive(Debug)]
pub struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The properties of an image, as a compact JSON object.
///
/// # Errors
/// A value that is neither text nor null, a NUL, and a name that stands there twice.
pub fn properties(Pairs(pairs): Pairs) -> Result<String, String> {
    let mut names = BTreeSet::new();
    let mut object = String::from("{");
    for (name, value) in &pairs {
        if !names.insert(name) {
            return Err(format!("the property {} stands there twice", shown(name)));
        }
        if !matches!(value, Value::String(_) | Value::Null) {
            return Err(format!("the property {} is neither text nor null", shown(name)));
        }
        if name.contains('\0') || value.as_str().is_some_and(|value| value.contains('\0')) {
            return Err(format!("the property {} has a NUL character", shown(name)));
        }
        if names.len() > 1 {
            object.push(',');
        }
        object.push_str(&Value::from(name.as_str()).to_string());
        object.push(':');
        object.push_str(&value.to_string());
    }
    object.push('}');
    Ok(object)
}

/// The first characters of a text, as JSON writes them, for a message of one line.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    let dots = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{dots}")
}
