//! An image of the catalog as it is written, and what a record says of one.

pub mod checks;
pub mod document;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub member: String,
    pub can_share: bool,
}

impl Image {
    /// An image of which nothing but its id is known, with the defaults of the table.
    fn unknown(id: Uuid, moment: Timestamp) -> Self {
        Self {
            id,
            name: None,
            status: Cow::Borrowed("active"),
            disk_format: None,
            container_format: None,
            size: None,
            virtual_size: None,
            checksum: None,
            owner: None,
            is_public: false,
            protected: false,
            deleted: false,
            min_ram: 0,
            min_disk: 0,
            created_at: moment,
            updated_at: Some(moment),
            deleted_at: None,
            properties: "{}".to_owned(),
            members: Vec::new(),
        }
    }

    /// Whether both are the same image, in whatever order their properties and members stand.
    pub fn is_like(&self, other: &Self) -> bool {
        let rest = |image: &Self| Self { properties: String::new(), members: Vec::new(), ..image.clone() };
        self == other
            || rest(self) == rest(other)
                && sorted(&self.members) == sorted(&other.members)
                && in_any_order(&self.properties) == in_any_order(&other.properties)
    }
}

fn sorted(members: &[Member]) -> Vec<&Member> {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort();
    sorted
}

fn in_any_order(properties: &str) -> BTreeMap<String, Option<String>> {
    serde_json::from_str(properties).expect("properties are an object of text and null values")
}

/// What a record says of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said<T> {
    #[default]
    Nothing,
    This(T),
}

impl<T> Said<T> {
    pub fn or(self, other: T) -> T {
        match self {
            Self::Nothing => other,
            Self::This(value) => value,
        }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Said<U> {
        match self {
            Self::Nothing => Said::Nothing,
            Self::This(value) => Said::This(change(value)),
        }
    }

    /// Takes what is said through a check.
    ///
    /// # Errors
    /// What the check refuses.
    pub fn checked<U>(self, check: impl FnOnce(T) -> Result<U, String>) -> Result<Said<U>, String> {
        match self {
            Self::Nothing => Ok(Said::Nothing),
            Self::This(value) => check(value).map(Said::This),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::This)
    }
}

/// What a record says of an image, all of it fit to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub id: Uuid,
    pub name: Said<Option<String>>,
    pub status: Said<Cow<'static, str>>,
    pub disk_format: Said<Option<Cow<'static, str>>>,
    pub container_format: Said<Option<Cow<'static, str>>>,
    pub size: Said<Option<i64>>,
    pub virtual_size: Said<Option<i64>>,
    pub checksum: Said<Option<String>>,
    pub owner: Said<Option<String>>,
    pub is_public: Said<bool>,
    pub protected: Said<bool>,
    pub deleted: Said<bool>,
    pub min_ram: Said<i64>,
    pub min_disk: Said<i64>,
    pub created_at: Said<Timestamp>,
    pub updated_at: Said<Option<Timestamp>>,
    pub deleted_at: Said<Option<Timestamp>>,
    /// A compact JSON object of text and null values.
    pub properties: Said<String>,
    pub members: Said<Vec<Member>>,
}

impl Draft {
    /// The image that a draft makes of the present one, or of none.
    ///
    /// What the draft does not say stays as it is, or takes the default of the table. Of a new
    /// image the times that it does not say are this moment; so is `updated_at` of a present one,
    /// if anything else changes: clients that ask for changes depend on it.
    pub fn onto(self, present: Option<&Image>, moment: Timestamp) -> Image {
        let says_when = self.updated_at != Said::Nothing;
        let base = present.cloned().unwrap_or_else(|| Image::unknown(self.id, moment));
        let mut image = Image {
            id: self.id,
            name: self.name.or(base.name),
            status: self.status.or(base.status),
            disk_format: self.disk_format.or(base.disk_format),
            container_format: self.container_format.or(base.container_format),
            size: self.size.or(base.size),
            virtual_size: self.virtual_size.or(base.virtual_size),
            checksum: self.checksum.or(base.checksum),
            owner: self.owner.or(base.owner),
            is_public: self.is_public.or(base.is_public),
            protected: self.protected.or(base.protected),
            deleted: self.deleted.or(base.deleted),
            min_ram: self.min_ram.or(base.min_ram),
            min_disk: self.min_disk.or(base.min_disk),
            created_at: self.created_at.or(base.created_at),
            updated_at: self.updated_at.or(base.updated_at),
            deleted_at: self.deleted_at.or(base.deleted_at),
            properties: self.properties.or(base.properties),
            members: self.members.or(base.members),
        };
        if !says_when && present.is_some_and(|present| !image.is_like(present)) {
            image.updated_at = Some(moment);
        }
        image
    }
}
