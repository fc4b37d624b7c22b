//! The query string of a list as a typed [`ImageQuery`]. Pure: knows neither HTTP nor SQL.
//!
//! [`PARAMETERS`] is the one table of what can be asked; to add a filter, add a row there.

mod parameters;
mod parse;

use std::collections::BTreeMap;

use uuid::Uuid;

pub use parameters::{Bound, Kind, PARAMETERS, Parameter, SORT_KEYS};
pub use parse::{Limits, QueryError, canonical_uuid, pairs, parse};

use crate::timestamp::Timestamp;

/// A column of the catalog that can be filtered or sorted by; named as in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    Checksum,
    ContainerFormat,
    CreatedAt,
    DeletedAt,
    DiskFormat,
    Id,
    MinDisk,
    MinRam,
    Name,
    Owner,
    Protected,
    Size,
    Status,
    UpdatedAt,
    VirtualSize,
}

impl Column {
    /// The name in SQL, JSON and `sort_key` alike.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::ContainerFormat => "container_format",
            Self::CreatedAt => "created_at",
            Self::DeletedAt => "deleted_at",
            Self::DiskFormat => "disk_format",
            Self::Id => "id",
            Self::MinDisk => "min_disk",
            Self::MinRam => "min_ram",
            Self::Name => "name",
            Self::Owner => "owner",
            Self::Protected => "protected",
            Self::Size => "size",
            Self::Status => "status",
            Self::UpdatedAt => "updated_at",
            Self::VirtualSize => "virtual_size",
        }
    }

    /// What its values are.
    pub const fn kind(self) -> ColumnKind {
        match self {
            Self::Checksum | Self::ContainerFormat | Self::DiskFormat | Self::Name | Self::Owner | Self::Status => {
                ColumnKind::Text
            }
            Self::MinDisk | Self::MinRam | Self::Size | Self::VirtualSize => ColumnKind::Whole,
            Self::CreatedAt | Self::DeletedAt | Self::UpdatedAt => ColumnKind::Time,
            Self::Protected => ColumnKind::Flag,
            Self::Id => ColumnKind::Id,
        }
    }

    /// Whether rows may hold null here; null sorts as the smallest value.
    pub const fn is_nullable(self) -> bool {
        !matches!(self, Self::CreatedAt | Self::Id | Self::MinDisk | Self::MinRam | Self::Protected | Self::Status)
    }
}

/// What the values of a column are; each has its variant of [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Text,
    Whole,
    Flag,
    Time,
    Id,
}

/// A value to compare a column with. Text holds no NUL, which PostgreSQL could not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Whole(i64),
    Flag(bool),
    Time(Timestamp),
    Id(Uuid),
}

/// One condition on one column. Null passes none but [`Test::IsNull`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub column: Column,
    pub test: Test,
}

/// How a column is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Equal(Value),
    /// Equal to any of these; an empty list passes nothing.
    OneOf(Vec<String>),
    AtLeast(Value),
    AtMost(Value),
    /// No query string asks for it: it is what the images without a value are of a longer list.
    IsNull,
    /// Passes nothing: a number larger than anything that can be stored was asked for.
    Never,
}

impl Test {
    /// Whether this value of a text column passes; `None` is null.
    pub fn passes(&self, text: Option<&str>) -> bool {
        match (self, text) {
            (Self::IsNull, text) => text.is_none(),
            (Self::Equal(Value::Text(wanted)), Some(text)) => wanted == text,
            (Self::OneOf(items), Some(text)) => items.iter().any(|item| item == text),
            _ => false,
        }
    }

    /// Whether a text without a character passes.
    pub fn takes_empty_text(&self) -> bool {
        match self {
            Self::Equal(Value::Text(text)) => text.is_empty(),
            Self::OneOf(texts) => texts.iter().any(String::is_empty),
            _ => false,
        }
    }
}

/// The direction of the order; ties and nulls follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    Asc,
    #[default]
    Desc,
}

/// What is asked of the catalog, without who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuery {
    /// All must pass; in the order of [`PARAMETERS`], so that like queries compile alike, and last what
    /// [`ImageQuery::with_key`] adds.
    pub filters: Vec<Filter>,
    /// Which deleted and killed images it shows.
    pub liveness: Liveness,
    /// Live properties that an image must have with just these values.
    pub properties: BTreeMap<String, String>,
    /// What it means depends on the caller.
    pub is_public: IsPublic,
    pub sort_key: Column,
    pub sort_dir: Direction,
    /// The size of the page, in images.
    pub limit: u32,
    /// The image after which the page begins.
    pub marker: Option<Uuid>,
}

/// The values of `is_public`, which the callers' rights give a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsPublic {
    #[default]
    Absent,
    None,
    True,
    False,
}

/// Which images a query leaves out for being deleted or killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// None: `changes-since` reports deletions.
    Any,
    /// Those flagged deleted, and the killed ones.
    Live,
    /// As `Live`, but images of these statuses are shown in any case.
    LiveOr(Vec<String>),
}

/// Statuses whose images are shown only when a query names them.
const HIDDEN_STATUSES: [&str; 3] = ["killed", "deleted", "pending_delete"];

impl ImageQuery {
    /// What the list has of the images with this value of its sort key, after the marker where that is
    /// one of them: a list in the order of creation, but that of null, which no comparison finds, keeps
    /// its order. The value is one that the filters on the sort key let through.
    #[must_use]
    pub fn with_key(&self, value: Option<&str>, marker: Option<Uuid>) -> Self {
        let column = self.sort_key;
        let mut piece = Self { marker, ..self.clone() };
        piece.filters.retain(|filter| filter.column != column);
        let test = match value {
            Some(text) => {
                piece.sort_key = Column::CreatedAt;
                Test::Equal(Value::Text(text.to_owned()))
            }
            None => Test::IsNull,
        };
        piece.filters.push(Filter { column, test });
        piece
    }

    /// Whether it lists only images whose sort key is null.
    pub fn is_without_key(&self) -> bool {
        self.filters.iter().any(|filter| filter.column == self.sort_key && filter.test == Test::IsNull)
    }
}

impl Liveness {
    /// Which deleted and killed images a query with these filters shows: with `changes-since` all of
    /// them, else those of a hidden status that the filter on `status` names.
    fn of(filters: &[Filter]) -> Self {
        let mut named: Vec<String> = Vec::new();
        for filter in filters {
            match (filter.column, &filter.test) {
                (Column::UpdatedAt, Test::AtLeast(_)) => return Self::Any,
                (Column::Status, Test::Equal(Value::Text(status))) => named.push(status.clone()),
                (Column::Status, Test::OneOf(statuses)) => named.extend_from_slice(statuses),
                _ => {}
            }
        }
        named.retain(|status| HIDDEN_STATUSES.contains(&status.as_str()));
        if named.is_empty() { Self::Live } else { Self::LiveOr(named) }
    }
}

/// The part of the catalog that a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Public,
    NotPublic,
    /// Public images, the project's own, and those shared with it.
    Project(String),
}

/// What a caller sees of a query: the images it lists, and those that it may name as a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub listed: Scope,
    pub markers: Markers,
}

/// Which images a caller may name as a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// Any image, deleted ones too.
    Any,
    /// Those in the listed scope; ones flagged deleted only where the query shows them.
    Listed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_passes_as_its_column_would() {
        let equal = Test::Equal(Value::Text("raw".to_owned()));
        let one_of = Test::OneOf(vec!["raw".to_owned(), String::new()]);
        for (test, raw, empty, null) in [
            (equal, true, false, false),
            (one_of, true, true, false),
            (Test::OneOf(Vec::new()), false, false, false),
            (Test::IsNull, false, false, true),
            (Test::Never, false, false, false),
        ] {
            let passed = [Some("raw"), Some(""), None].map(|text| test.passes(text));
            assert_eq!(passed, [raw, empty, null], "{test:?}");
        }
    }

    #[test]
    fn only_a_list_of_what_has_no_sort_key_is_without_it() {
        let list =
            parse("disk_format=raw&sort_key=container_format", Limits { default: 25, max: 1000 }).expect("a query");
        assert!(!list.is_without_key());
        let without = list.with_key(None, None);
        assert!(without.is_without_key());
        assert!(!ImageQuery { sort_key: Column::DiskFormat, ..without }.is_without_key());
        assert!(!list.with_key(Some("bare"), None).is_without_key());
        assert!(!ImageQuery { sort_key: Column::DiskFormat, ..list }.is_without_key());
    }
}
