//! The JSON of an image in this API.

use serde::Deserialize;

use super::checks::{self, Pairs, Whole};
use super::{Draft, Member, Said};

/// An image as the API shows it. A brief list shows six of the fields; whoever exports the catalog
/// adds the members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    id: String,
    #[serde(default)]
    name: Said<Option<String>>,
    #[serde(default)]
    status: Said<String>,
    #[serde(default)]
    disk_format: Said<Option<String>>,
    #[serde(default)]
    container_format: Said<Option<String>>,
    #[serde(default)]
    size: Said<Option<Whole>>,
    #[serde(default)]
    virtual_size: Said<Option<Whole>>,
    #[serde(default)]
    checksum: Said<Option<String>>,
    #[serde(default)]
    owner: Said<Option<String>>,
    #[serde(default)]
    is_public: Said<bool>,
    #[serde(default)]
    protected: Said<bool>,
    #[serde(default)]
    deleted: Said<bool>,
    #[serde(default)]
    min_ram: Said<Whole>,
    #[serde(default)]
    min_disk: Said<Whole>,
    #[serde(default)]
    created_at: Said<String>,
    #[serde(default)]
    updated_at: Said<Option<String>>,
    #[serde(default)]
    deleted_at: Said<Option<String>>,
    #[serde(default)]
    properties: Said<Pairs>,
    #[serde(default)]
    members: Said<Vec<Membership>>,
}

/// A member as the API shows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    member_id: String,
    #[serde(default)]
    can_share: bool,
}

/// Reads an image.
///
/// # Errors
/// The first thing in it that is not as the API shows it.
pub fn read(json: &str) -> Result<Draft, String> {
    let document: Document = checks::typed(json)?;
    Ok(Draft {
        id: checks::id(&document.id)?,
        name: document.name.checked(|text| checks::short_text("name", text))?,
        status: document.status.checked(|text| checks::status(&text))?,
        disk_format: document.disk_format.checked(|text| checks::format("disk_format", text))?,
        container_format: document.container_format.checked(|text| checks::format("container_format", text))?,
        size: document.size.map(|size| size.map(Whole::number)),
        virtual_size: document.virtual_size.map(|size| size.map(Whole::number)),
        checksum: document.checksum.checked(|text| checks::text("checksum", text))?,
        owner: document.owner.checked(|text| checks::short_text("owner", text))?,
        is_public: document.is_public,
        protected: document.protected,
        deleted: document.deleted,
        min_ram: document.min_ram.map(Whole::number),
        min_disk: document.min_disk.map(Whole::number),
        created_at: document.created_at.checked(|text| checks::time("created_at", &text))?,
        updated_at: document.updated_at.checked(|text| checks::optional_time("updated_at", text.as_deref()))?,
        deleted_at: document.deleted_at.checked(|text| checks::optional_time("deleted_at", text.as_deref()))?,
        properties: document.properties.checked(checks::properties)?,
        members: document.members.checked(members)?,
    })
}

/// Reads the members of an image, as a JSON array.
///
/// # Errors
/// As [`read`].
pub fn read_members(json: &str) -> Result<Vec<Member>, String> {
    members(checks::typed(json)?)
}

fn members(given: Vec<Membership>) -> Result<Vec<Member>, String> {
    let mut members: Vec<Member> = Vec::with_capacity(given.len());
    for Membership { member_id, can_share } in given {
        let member = checks::short_text("member_id", Some(member_id))?.unwrap_or_default();
        members.push(Member { member, can_share });
    }
    members.sort();
    match members.array_windows().find(|[one, other]| one.member == other.member) {
        Some([member, _]) => Err(format!("the member {:?} stands there twice", member.member)),
        None => Ok(members),
    }
}
