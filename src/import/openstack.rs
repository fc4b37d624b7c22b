//! A row of `openstack image list -f json`, in the columns that it has with either version of the API.

use serde::Deserialize;

use crate::image::checks::{self, Pairs, Whole};
use crate::image::{Draft, Said};

/// Columns that this API does not have, such as tags and hashes, are left out. Without `--long`
/// there are three, and whoever asks for columns may get fewer still.
#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, rename = "Name")]
    name: Said<Option<String>>,
    #[serde(default, rename = "Status")]
    status: Said<String>,
    #[serde(default, rename = "Disk Format")]
    disk_format: Said<Option<String>>,
    #[serde(default, rename = "Container Format")]
    container_format: Said<Option<String>>,
    #[serde(default, rename = "Size")]
    size: Said<Option<Whole>>,
    #[serde(default, rename = "Checksum")]
    checksum: Said<Option<String>>,
    #[serde(default, rename = "Visibility")]
    visibility: Said<Visibility>,
    #[serde(default, rename = "Protected")]
    protected: Said<bool>,
    /// Older clients call it Owner.
    #[serde(default, rename = "Project", alias = "Owner")]
    project: Said<Option<String>>,
    /// Only with version 1 of the API.
    #[serde(default, rename = "Properties")]
    properties: Said<Properties>,
}

/// With version 1 of the API it says whether an image is public.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a visibility is accepted, or whether the image is public")]
enum Visibility {
    Named(String),
    IsPublic(bool),
}

/// With fields that have no column.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object of properties")]
struct Properties {
    #[serde(default)]
    virtual_size: Said<Option<Whole>>,
    #[serde(default)]
    deleted: Said<bool>,
    #[serde(default)]
    deleted_at: Said<Option<String>>,
    #[serde(flatten)]
    own: Pairs,
}

/// # Errors
/// The first thing that the catalog cannot hold.
pub fn read(json: &str) -> Result<Draft, String> {
    let row: Row = checks::typed(json)?;
    let status = row.status.checked(|text| checks::status(&text))?;
    let (mut deleted, mut deleted_at) = super::life(&status);
    let (mut virtual_size, mut properties) = (Said::Nothing, Said::Nothing);
    if let Said::This(given) = row.properties {
        virtual_size = given.virtual_size.map(|size| size.map(Whole::number));
        properties = Said::This(checks::properties(given.own)?);
        if given.deleted != Said::Nothing {
            deleted = given.deleted;
            deleted_at = given.deleted_at.checked(|text| checks::optional_time("deleted_at", text.as_deref()))?;
        }
    }
    Ok(Draft {
        id: checks::id(&row.id)?,
        name: row.name.checked(|text| checks::short_text("Name", text))?,
        status,
        disk_format: row.disk_format.checked(|text| checks::format("Disk Format", text))?,
        container_format: row.container_format.checked(|text| checks::format("Container Format", text))?,
        size: row.size.map(|size| size.map(Whole::number)),
        virtual_size,
        checksum: row.checksum.checked(|text| checks::text("Checksum", text))?,
        owner: row.project.checked(|text| checks::short_text("Project", text))?,
        is_public: row.visibility.checked(|visibility| match visibility {
            Visibility::Named(name) => super::is_public("Visibility", &name),
            Visibility::IsPublic(is_public) => Ok(is_public),
        })?,
        protected: row.protected,
        deleted,
        min_ram: Said::Nothing,
        min_disk: Said::Nothing,
        created_at: Said::Nothing,
        updated_at: Said::Nothing,
        deleted_at,
        properties,
        members: Said::Nothing,
    })
}
