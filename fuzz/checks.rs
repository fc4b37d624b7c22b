//! What holds of any input. The fuzz targets run these on inputs that they make up, and the tests of
//! the project on those of `corpus/` that were worth keeping.

#![allow(dead_code, reason = "each fuzz target takes one of them")]

use std::collections::BTreeMap;
use std::io::Cursor;

use glimpse::config::Format;
use glimpse::image::Draft;
use glimpse::import::{form, records};
use glimpse::query::{Column, Limits, Test, pairs, parse};
use glimpse::timestamp::Timestamp;

const LIMITS: Limits = Limits { default: 25, max: 1000 };

/// A query string is refused by one sentence of bounded length, or read into what can be asked.
pub fn query(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match parse(text, LIMITS) {
        Ok(query) => {
            assert!(query.limit <= LIMITS.max);
            assert!(query.properties.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0')));
            // Whatever comes last counts, and what is unknown does not.
            let more = format!("unknown=1&{text}&&unknown=2");
            assert_eq!(parse(&more, LIMITS), Ok(query));
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.ends_with('.') && message.chars().count() < 700, "{message}");
        }
    }
    if let Ok(pairs) = pairs(text) {
        let encoded: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        assert_eq!(glimpse::query::pairs(&encoded.join("&")), Ok(pairs));
    }
}

/// A time that is read is written as the API writes it, and that is read as the same time.
pub fn time(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Some(time) = Timestamp::parse(text) {
        let written = time.to_string();
        assert_eq!(written.len(), 26, "{written}");
        assert_eq!(Timestamp::parse(&written), Some(time));
        assert_eq!(Timestamp::parse(&format!("{written}Z")), Some(time));
        assert!(text.is_ascii() && text.len() >= 4);
    }
}

/// A list has no more items than commas ask for, and its items in quotes are the same list.
pub fn list(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let read = |list: &str| {
        let query = parse(&format!("name=in:{}", encode(list)), LIMITS).ok()?;
        let [filter] = &query.filters[..] else { panic!("{query:?}") };
        assert_eq!(filter.column, Column::Name);
        match &filter.test {
            Test::OneOf(items) => Some(items.clone()),
            other => panic!("{other:?}"),
        }
    };
    let Some(items) = read(text) else { return };
    assert!(items.len() <= text.matches(',').count() + 1);
    assert!(items.iter().all(|item| text.contains(item.as_str())));
    if items.iter().all(|item| !item.contains(['"', '\\'])) {
        let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
        assert_eq!(read(&quoted.join(",")), Some(items));
    }
}

/// A record is refused, or all that it says can be stored.
pub fn record(input: &[u8]) {
    let Some((format, rest)) = format(input) else { return };
    let Ok(json) = str::from_utf8(rest) else { return };
    let _ = form::told(json);
    if let Some(format) = format
        && let Ok(draft) = form::read(format, json)
    {
        can_be_stored(draft);
    }
}

/// Every input comes to its end, by records or by one error.
pub fn import(input: &[u8]) {
    let Some((format, rest)) = format(input) else { return };
    let mut parts = records::read(Cursor::new(rest.to_vec()), format);
    while let Some(part) = parts.blocking_recv() {
        for record in part.into_iter().flatten() {
            if let Ok(draft) = record.read {
                can_be_stored(draft);
            }
        }
    }
}

/// The form of the records, by the first byte, and the rest.
fn format(input: &[u8]) -> Option<(Option<Format>, &[u8])> {
    let (first, rest) = input.split_first()?;
    let format = [None, Some(Format::V1), Some(Format::V2), Some(Format::Openstack)][usize::from(first % 4)];
    Some((format, rest))
}

fn can_be_stored(draft: Draft) {
    let image = draft.onto(None, Timestamp::parse("2026").expect("a time"));
    let texts = [
        image.name.as_deref(),
        image.owner.as_deref(),
        image.disk_format.as_deref(),
        image.container_format.as_deref(),
    ];
    for text in texts.into_iter().flatten() {
        assert!(text.chars().count() <= 255 && !text.contains('\0'), "{text:?}");
    }
    assert!(
        [image.size, image.virtual_size, Some(image.min_ram), Some(image.min_disk)]
            .into_iter()
            .flatten()
            .all(|number| number >= 0)
    );
    let properties: BTreeMap<String, Option<String>> =
        serde_json::from_str(&image.properties).expect("an object of text and null");
    assert!(
        properties
            .iter()
            .all(|(name, value)| !name.contains('\0') && value.as_ref().is_none_or(|value| !value.contains('\0')))
    );
    assert!(image.members.iter().all(|member| member.member.chars().count() <= 255 && !member.member.contains('\0')));
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
