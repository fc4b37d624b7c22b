//! An image of the catalog, with every column, as it is written.

use std::borrow::Cow;

use uuid::Uuid;

use crate::timestamp::Timestamp;

/// An image to be stored, with every column.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub id: Uuid,
    pub name: Option<String>,
    pub status: Cow<'static, str>,
    pub disk_format: Option<Cow<'static, str>>,
    pub container_format: Option<Cow<'static, str>>,
    pub size: Option<i64>,
    pub virtual_size: Option<i64>,
    pub checksum: Option<String>,
    pub owner: Option<String>,
    pub is_public: bool,
    pub protected: bool,
    pub deleted: bool,
    pub min_ram: i64,
    pub min_disk: i64,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    /// A compact JSON object of text and null values.
    pub properties: String,
    pub members: Vec<Member>,
}

/// A project that sees an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub member: String,
    pub can_share: bool,
}
