//! From the raw query string to an [`ImageQuery`], or to the one thing that is wrong with it.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use uuid::Uuid;

use super::parameters::SORT_KEYS;
use super::{Bound, Column, Direction, Filter, ImageQuery, IsPublic, Kind, Liveness, PARAMETERS, Test, Value};
use crate::timestamp::Timestamp;

/// The sizes of pages, in images.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of a page whose query has no `limit`.
    pub default: u32,
    /// Of any page; a larger `limit` is capped.
    pub max: u32,
}

/// A value that a parameter does not take: a 400.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("The value '{}' of {} is not accepted; it takes {accepted}.", shortened(value), shortened(parameter))]
pub struct QueryError {
    pub parameter: String,
    pub value: String,
    pub accepted: String,
}

/// The first 100 characters of a text, with an ellipsis where there are more.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The names and values of a query string, decoded: `+` is a blank, only `&` separates, a stray
/// `%` stands for itself.
///
/// # Errors
/// Where anything is not UTF-8, in unknown parameters too, as in the reference.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, QueryError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                (name, value) => Err(QueryError {
                    parameter: name.unwrap_or_else(|lossy| lossy),
                    value: value.unwrap_or_else(|lossy| lossy),
                    accepted: "UTF-8, percent-encoded".to_owned(),
                }),
            }
        })
        .collect()
}

/// The decoded text, or a readable likeness of what is not UTF-8.
fn decode(text: &str) -> Result<String, String> {
    let blanks = text.replace('+', " ");
    let bytes = percent_decode_str(&blanks);
    bytes.clone().decode_utf8().map(Into::into).map_err(|_| bytes.decode_utf8_lossy().into_owned())
}

/// Reads a query string. Of a repeated parameter only the last counts; unknown ones are ignored.
///
/// # Errors
/// The first parameter, in the order of [`PARAMETERS`], whose value is not accepted.
pub fn parse(query: &str, limits: Limits) -> Result<ImageQuery, QueryError> {
    let pairs = pairs(query)?;
    let mut read = ImageQuery {
        filters: Vec::new(),
        liveness: Liveness::Live,
        properties: BTreeMap::new(),
        is_public: IsPublic::Absent,
        sort_key: Column::CreatedAt,
        sort_dir: Direction::default(),
        limit: limits.default,
        marker: None,
    };
    for parameter in &PARAMETERS {
        let refused = |name: &str, value: &str| QueryError {
            parameter: name.to_owned(),
            value: value.to_owned(),
            accepted: parameter.kind.accepted(),
        };
        if parameter.kind == Kind::Property {
            let named = pairs.iter().filter_map(|(name, value)| Some((name.strip_prefix(parameter.name)?, value)));
            let last: BTreeMap<&str, &String> = named.collect();
            for (property, value) in last {
                if property.contains('\0') || value.contains('\0') {
                    return Err(refused(&format!("{}{property}", parameter.name), value));
                }
                read.properties.insert(property.to_owned(), value.clone());
            }
        } else if let Some((_, value)) = pairs.iter().rfind(|(name, _)| name == parameter.name) {
            read.take(&parameter.kind, value, limits).ok_or_else(|| refused(parameter.name, value))?;
        }
    }
    read.liveness = Liveness::of(&read.filters);
    Ok(read)
}

impl ImageQuery {
    /// Takes one parameter in; `None` where its value is not accepted.
    fn take(&mut self, kind: &Kind, value: &str, limits: Limits) -> Option<()> {
        match *kind {
            Kind::Text(column) => self.filter(column, text_test(value)?),
            Kind::Whole(column, bound) => self.filter(column, whole_test(bound, whole(value)?)),
            Kind::Flag(column) => self.filter(column, Test::Equal(Value::Flag(flag(value)?))),
            Kind::Since(column) => self.filter(column, Test::AtLeast(Value::Time(Timestamp::parse(value)?))),
            // Properties have many names; `parse` reads them.
            Kind::Property => {}
            Kind::IsPublic => {
                self.is_public = match flag(value) {
                    Some(true) => IsPublic::True,
                    Some(false) => IsPublic::False,
                    None if value.eq_ignore_ascii_case("none") => IsPublic::None,
                    None => return None,
                }
            }
            Kind::SortKey => self.sort_key = SORT_KEYS.into_iter().find(|column| column.name() == value)?,
            Kind::SortDir => {
                self.sort_dir = match value {
                    "asc" => Direction::Asc,
                    "desc" => Direction::Desc,
                    _ => return None,
                }
            }
            Kind::Limit => {
                self.limit = match whole(value)? {
                    Whole::Stored(limit) => u32::try_from(limit).map_or(limits.max, |limit| limit.min(limits.max)),
                    Whole::Huge => limits.max,
                }
            }
            Kind::Marker => self.marker = Some(canonical_uuid(value)?),
        }
        Some(())
    }

    fn filter(&mut self, column: Column, test: Test) {
        self.filters.push(Filter { column, test });
    }
}

/// A whole number that a client sent.
enum Whole {
    Stored(i64),
    /// Larger than anything that can be stored.
    Huge,
}

/// ASCII digits with leading zeros, one `+` and ASCII blanks around allowed, and `-0`, as in the
/// reference.
fn whole(value: &str) -> Option<Whole> {
    let trimmed = value.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.parse() {
        Ok(0) => Some(Whole::Stored(0)),
        _ if negative => None,
        Ok(number) => Some(Whole::Stored(number)),
        Err(_) => Some(Whole::Huge),
    }
}

fn whole_test(bound: Bound, number: Whole) -> Test {
    match (bound, number) {
        (Bound::Equal, Whole::Stored(number)) => Test::Equal(Value::Whole(number)),
        (Bound::AtLeast, Whole::Stored(number)) => Test::AtLeast(Value::Whole(number)),
        (Bound::AtMost, Whole::Stored(number)) => Test::AtMost(Value::Whole(number)),
        // Everything stored is below it; null still is not.
        (Bound::AtMost, Whole::Huge) => Test::AtMost(Value::Whole(i64::MAX)),
        (Bound::Equal | Bound::AtLeast, Whole::Huge) => Test::Never,
    }
}

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A UUID in lower case with dashes, as ids are written.
pub fn canonical_uuid(value: &str) -> Option<Uuid> {
    Uuid::try_parse(value).ok().filter(|id| id.to_string() == value)
}

/// Equality, or a list after `in:`; `eq:` is equality that leaves every other colon alone.
fn text_test(value: &str) -> Option<Test> {
    if value.contains('\0') {
        return None;
    }
    if let Some(list) = value.strip_prefix("in:") {
        return Some(Test::OneOf(items(list)?));
    }
    let text = value.strip_prefix("eq:").unwrap_or(value);
    Some(Test::Equal(Value::Text(text.to_owned())))
}

/// The items of `a,"b,c",d`, as the reference reads them: quotes keep commas, stand around a
/// whole item, and are taken off; a backslash keeps the quote after it, and stays; a comma at the
/// very end adds no empty item. `None` where quotes do not balance.
fn items(list: &str) -> Option<Vec<String>> {
    let mut items = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (item, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = unescaped_quote(quoted)?;
            (&quoted[..end], &quoted[end + 1..])
        } else {
            rest.split_at(rest.find(',').unwrap_or(rest.len()))
        };
        if !rest.starts_with('"') && unescaped_quote(item).is_some() {
            return None;
        }
        items.push(item.to_owned());
        rest = if after.is_empty() { after } else { after.strip_prefix(',')? };
    }
    Some(items)
}

/// Where the first quote stands that no backslash precedes.
fn unescaped_quote(text: &str) -> Option<usize> {
    text.match_indices('"').map(|(at, _)| at).find(|&at| !text[..at].ends_with('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { default: 25, max: 1000 };

    fn parsed(query: &str) -> ImageQuery {
        parse(query, LIMITS).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    fn text(text: &str) -> Test {
        Test::Equal(Value::Text(text.to_owned()))
    }

    fn one_of(items: &[&str]) -> Test {
        Test::OneOf(items.iter().map(|&item| item.to_owned()).collect())
    }

    #[test]
    fn a_filter_tests_its_column() {
        let number = |number| Value::Whole(number);
        let time = |time| Value::Time(Timestamp::parse(time).expect("a time"));
        for (query, column, test) in [
            ("name=cirros", Column::Name, text("cirros")),
            ("name=", Column::Name, text("")),
            ("name", Column::Name, text("")),
            ("name==cirros", Column::Name, text("=cirros")),
            ("na%6De=a+b%20c", Column::Name, text("a b c")),
            ("name=100%", Column::Name, text("100%")),
            ("name=%zz%u0041", Column::Name, text("%zz%u0041")),
            ("name=cirros;limit=1", Column::Name, text("cirros;limit=1")),
            ("name=a&name=b", Column::Name, text("b")),
            ("&&name=%E9%95%9C&", Column::Name, text("镜")),
            ("name=foo:bar", Column::Name, text("foo:bar")),
            ("name=EQ:x", Column::Name, text("EQ:x")),
            ("name=eq:eq:x", Column::Name, text("eq:x")),
            ("name=eq:in:x", Column::Name, text("in:x")),
            ("name=in:", Column::Name, one_of(&[])),
            ("name=in:,", Column::Name, one_of(&[""])),
            ("name=in:a", Column::Name, one_of(&["a"])),
            ("name=in:a,,b,", Column::Name, one_of(&["a", "", "b"])),
            ("name=in:,a", Column::Name, one_of(&["", "a"])),
            ("name=in:\"a,b\",c", Column::Name, one_of(&["a,b", "c"])),
            ("name=in:\"\"", Column::Name, one_of(&[""])),
            ("name=in:\"a\\\"b\",c", Column::Name, one_of(&["a\\\"b", "c"])),
            ("name=in:a\\\"b", Column::Name, one_of(&["a\\\"b"])),
            ("container_format=ovf", Column::ContainerFormat, text("ovf")),
            ("disk_format=in:raw,qcow2", Column::DiskFormat, one_of(&["raw", "qcow2"])),
            ("status=null", Column::Status, text("null")),
            ("size_min=1024", Column::Size, Test::AtLeast(number(1024))),
            ("size_min=%09+0010%20", Column::Size, Test::AtLeast(number(10))),
            ("size_min=%2B5", Column::Size, Test::AtLeast(number(5))),
            ("size_min=-0", Column::Size, Test::AtLeast(number(0))),
            ("size_min=abc&size_min=1", Column::Size, Test::AtLeast(number(1))),
            ("size_min=9223372036854775807", Column::Size, Test::AtLeast(number(i64::MAX))),
            ("size_min=9223372036854775808", Column::Size, Test::Never),
            ("size_max=1025", Column::Size, Test::AtMost(number(1025))),
            ("size_max=1000000000000000000000000000000", Column::Size, Test::AtMost(number(i64::MAX))),
            ("min_ram=512", Column::MinRam, Test::Equal(number(512))),
            ("min_ram=99999999999999999999", Column::MinRam, Test::Never),
            ("min_disk=20", Column::MinDisk, Test::Equal(number(20))),
            ("protected=TRUE", Column::Protected, Test::Equal(Value::Flag(true))),
            ("protected=0", Column::Protected, Test::Equal(Value::Flag(false))),
            ("changes-since=2016-05-22", Column::UpdatedAt, Test::AtLeast(time("2016-05-22"))),
        ] {
            assert_eq!(parsed(query).filters, [Filter { column, test }], "{query}");
        }
    }

    #[test]
    fn the_page_and_the_rest_have_their_fields() {
        let plain = parsed("");
        assert_eq!((plain.sort_key, plain.sort_dir), (Column::CreatedAt, Direction::Desc));
        assert_eq!((plain.limit, plain.marker, plain.is_public), (25, None, IsPublic::Absent));
        assert_eq!(parsed("sort_dir=desc"), plain);
        for (query, limit) in
            [("limit=0", 0), ("limit=+03", 3), ("limit=1001", 1000), ("limit=99999999999999999999", 1000)]
        {
            assert_eq!(parsed(query).limit, limit, "{query}");
        }
        for (query, is_public) in
            [("is_public=1", IsPublic::True), ("is_public=False", IsPublic::False), ("is_public=NONE", IsPublic::None)]
        {
            assert_eq!(parsed(query).is_public, is_public, "{query}");
        }
        let sorted = parsed("sort_key=disk_format&sort_dir=asc&marker=3c3d1d01-b48a-4639-8a88-08be3b9b5d78");
        assert_eq!((sorted.sort_key, sorted.sort_dir), (Column::DiskFormat, Direction::Asc));
        assert_eq!(sorted.marker, Some(Uuid::from_u128(0x3c3d1d01_b48a_4639_8a88_08be3b9b5d78)));
        let properties =
            parsed("property-a=%00&property-%E9%95%9C=x+y&property-a=2&property-=&property_b=3").properties;
        let expected = [("", ""), ("a", "2"), ("镜", "x y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(properties, BTreeMap::from(expected));
    }

    #[test]
    fn filters_come_in_the_order_of_the_table() {
        assert_eq!(parsed("size_max=2&name=a&size_min=1"), parsed("name=a&size_min=1&size_max=2"));
    }

    #[test]
    fn unknown_parameters_are_ignored() {
        assert_eq!(parsed("LIMIT=1&owner=x&foo=%00&page_size=5&deleted=True&property_x=1&sort"), parsed(""));
    }

    #[test]
    fn what_is_not_accepted_names_its_parameter() {
        let cases: &[(&str, &[&str])] = &[
            (
                "size_min",
                &["", "-1", "--5", "1.5", "1e3", "0x1", "1_000", "abc", "NaN", "%00", "%C2%A05", "%D9%A3", "%2B%205"],
            ),
            ("size_max", &["", "5;", "5'", "-9223372036854775809", "null"]),
            ("min_ram", &["", "-1"]),
            ("min_disk", &["", "-1", "1.5", "null"]),
            ("limit", &["", "-1", "abc", "1e1", "%00"]),
            ("protected", &["", "yes", "none", "2", "t", "%00"]),
            ("is_public", &["", "yes", "-1", "True,False"]),
            ("sort_key", &["", "NAME", "owner", "name,id", "min_disk"]),
            ("sort_dir", &["", "ASC", "asc%20"]),
            ("marker", &["", "foo", "3C3D1D01-B48A-4639-8A88-08BE3B9B5D78", "3c3d1d01b48a46398a8808be3b9b5d78"]),
            ("changes-since", &["", "bad", "0", "2016-05-22T14:04:22%2008:0"]),
            ("name", &["%00", "%00cirros", "in:a%00", "in:\"open", "in:x\"y\"", "in:\"a\"b", "in:a,\"b\"c\""]),
            ("status", &["eq:%00"]),
            ("property-a", &["%00"]),
            ("foo", &["%ff", "%ed%a0%80", "%c0%af", "%f4%90%80%80", "%c3"]),
        ];
        for (parameter, values) in cases {
            for value in *values {
                let query = format!("name=ok&{parameter}={value}");
                let error = parse(&query, LIMITS).expect_err(&query);
                assert_eq!(error.parameter, *parameter, "{query}");
                assert!(!error.accepted.is_empty(), "{query}");
            }
        }
        assert!(parse("property-%00=x", LIMITS).is_err());
        assert!(parse("%ff=1", LIMITS).is_err());
    }

    #[test]
    fn a_message_cuts_long_values() {
        let error = parse(&format!("limit={}", "é".repeat(101)), LIMITS).expect_err("no number");
        let expected =
            format!("The value '{}…' of limit is not accepted; it takes a whole number from 0 up.", "é".repeat(100));
        assert_eq!(error.to_string(), expected);
    }
}
