//! The one table of parameters: it feeds the parser, the messages and the documents.
//!
//! A new filter is a new row in [`PARAMETERS`], its column (a variant of [`Column`] if it is not
//! there yet), an index in `migrations/`, and its line in the README.

use super::Column;
use crate::timestamp;

/// A parameter of the query string of a list.
#[derive(Debug)]
pub struct Parameter {
    /// As it is written in a query string; for properties the part before the property's name.
    pub name: &'static str,
    pub kind: Kind,
    /// What it does, as a sentence.
    pub description: &'static str,
}

/// What values a parameter takes, and what they do.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text that the column equals; `in:a,b` is a list, `eq:x` takes `x` as it stands.
    Text(Column),
    /// A whole number from 0 up that bounds the column.
    Whole(Column, Bound),
    /// A flag that the column equals.
    Flag(Column),
    /// A time that the column has reached.
    Since(Column),
    /// The value of the property whose name follows the parameter's.
    Property,
    IsPublic,
    SortKey,
    SortDir,
    Limit,
    Marker,
}

/// How a number bounds its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Equal,
    AtLeast,
    AtMost,
}

/// The columns that a list can be sorted by. Ties go by `created_at`, then `id`.
pub const SORT_KEYS: [Column; 8] = [
    Column::Name,
    Column::Status,
    Column::ContainerFormat,
    Column::DiskFormat,
    Column::Size,
    Column::Id,
    Column::CreatedAt,
    Column::UpdatedAt,
];

/// Every parameter of a list, the seven documented filters first. Others are ignored.
pub const PARAMETERS: [Parameter; 16] = [
    Parameter { name: "name", kind: Kind::Text(Column::Name), description: "Images with this name." },
    Parameter {
        name: "container_format",
        kind: Kind::Text(Column::ContainerFormat),
        description: "Images of this container format, such as bare or ovf.",
    },
    Parameter {
        name: "disk_format",
        kind: Kind::Text(Column::DiskFormat),
        description: "Images of this disk format, such as qcow2 or raw.",
    },
    Parameter {
        name: "status",
        kind: Kind::Text(Column::Status),
        description: "Images of this status; killed, deleted and pending_delete show images that are else hidden.",
    },
    Parameter {
        name: "size_min",
        kind: Kind::Whole(Column::Size, Bound::AtLeast),
        description: "Images of at least this size in bytes.",
    },
    Parameter {
        name: "size_max",
        kind: Kind::Whole(Column::Size, Bound::AtMost),
        description: "Images of at most this size in bytes.",
    },
    Parameter {
        name: "changes-since",
        kind: Kind::Since(Column::UpdatedAt),
        description: "Images whose updated_at is this time or later, deleted and killed ones too.",
    },
    Parameter {
        name: "min_ram",
        kind: Kind::Whole(Column::MinRam, Bound::Equal),
        description: "Images with just this min_ram in MB.",
    },
    Parameter {
        name: "min_disk",
        kind: Kind::Whole(Column::MinDisk, Bound::Equal),
        description: "Images with just this min_disk in GB.",
    },
    Parameter {
        name: "protected",
        kind: Kind::Flag(Column::Protected),
        description: "Images that are protected, or that are not.",
    },
    Parameter {
        name: "is_public",
        kind: Kind::IsPublic,
        description: "For admins, and where no token is needed: none shows all images, false those that are not public.",
    },
    Parameter {
        name: "property-",
        kind: Kind::Property,
        description: "property-NAME=VALUE: images whose property NAME is VALUE; several must all hold.",
    },
    Parameter {
        name: "sort_key",
        kind: Kind::SortKey,
        description: "The column to sort by, created_at unless given; null is the smallest value.",
    },
    Parameter { name: "sort_dir", kind: Kind::SortDir, description: "The direction of the order, desc unless given." },
    Parameter {
        name: "limit",
        kind: Kind::Limit,
        description: "The largest number of images in the answer; capped at MAX_LIMIT, DEFAULT_LIMIT unless given.",
    },
    Parameter {
        name: "marker",
        kind: Kind::Marker,
        description: "The id of the last image of the page before; the answer begins after it.",
    },
];

impl Kind {
    /// The accepted values in words, for messages and documents.
    pub fn accepted(&self) -> String {
        match self {
            Self::Text(_) => "text without NUL; in:a,b for a list, where quotes around an item keep its commas; \
                 eq:x for x itself"
                .to_owned(),
            Self::Whole(..) | Self::Limit => "a whole number from 0 up".to_owned(),
            Self::Flag(_) => "true, false, 1 or 0".to_owned(),
            Self::IsPublic => "true, false, 1, 0 or none".to_owned(),
            Self::Since(_) => timestamp::ACCEPTED.to_owned(),
            Self::Property => "a property's name and value without NUL".to_owned(),
            Self::SortKey => one_of(&SORT_KEYS.map(Column::name)),
            Self::SortDir => one_of(&["asc", "desc"]),
            Self::Marker => "the id of an image that you can see, a UUID in lower case with dashes".to_owned(),
        }
    }
}

fn one_of(words: &[&str]) -> String {
    let (last, others) = words.split_last().expect("every list of words has some");
    format!("{} or {last}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn what_is_accepted_is_told_in_words() {
        assert_eq!(Kind::SortDir.accepted(), "asc or desc");
        assert_eq!(
            Kind::SortKey.accepted(),
            "name, status, container_format, disk_format, size, id, created_at or updated_at"
        );
    }
}
