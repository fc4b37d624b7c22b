//! An image as the Image API v2 shows it: visibility in place of a flag, its properties beside the
//! fields of every image.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::image::checks::{self, Pairs, Whole};
use crate::image::{Draft, Said};

/// Fields that this API does not have are read and dropped, so that they become no properties.
#[derive(Debug, Deserialize)]
struct Image {
    id: String,
    visibility: String,
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
    protected: Said<bool>,
    #[serde(default)]
    min_ram: Said<Whole>,
    #[serde(default)]
    min_disk: Said<Whole>,
    #[serde(default)]
    created_at: Said<String>,
    #[serde(default)]
    updated_at: Said<Option<String>>,
    #[serde(default, rename = "tags")]
    _tags: IgnoredAny,
    #[serde(default, rename = "os_hidden")]
    _os_hidden: IgnoredAny,
    #[serde(default, rename = "os_hash_algo")]
    _os_hash_algo: IgnoredAny,
    #[serde(default, rename = "os_hash_value")]
    _os_hash_value: IgnoredAny,
    #[serde(default, rename = "self")]
    _self: IgnoredAny,
    #[serde(default, rename = "file")]
    _file: IgnoredAny,
    #[serde(default, rename = "schema")]
    _schema: IgnoredAny,
    #[serde(default, rename = "direct_url")]
    _direct_url: IgnoredAny,
    #[serde(default, rename = "locations")]
    _locations: IgnoredAny,
    #[serde(default, rename = "stores")]
    _stores: IgnoredAny,
    #[serde(flatten)]
    properties: Pairs,
}

/// # Errors
/// The first thing that the catalog cannot hold.
pub fn read(json: &str) -> Result<Draft, String> {
    let image: Image = checks::typed(json)?;
    let status = image.status.checked(|text| checks::status(&text))?;
    let (deleted, deleted_at) = super::life(&status);
    Ok(Draft {
        id: checks::id(&image.id)?,
        name: image.name.checked(|text| checks::short_text("name", text))?,
        status,
        disk_format: image.disk_format.checked(|text| checks::format("disk_format", text))?,
        container_format: image.container_format.checked(|text| checks::format("container_format", text))?,
        size: image.size.map(|size| size.map(Whole::number)),
        virtual_size: image.virtual_size.map(|size| size.map(Whole::number)),
        checksum: image.checksum.checked(|text| checks::text("checksum", text))?,
        owner: image.owner.checked(|text| checks::short_text("owner", text))?,
        is_public: Said::This(super::is_public("visibility", &image.visibility)?),
        protected: image.protected,
        deleted,
        min_ram: image.min_ram.map(Whole::number),
        min_disk: image.min_disk.map(Whole::number),
        created_at: image.created_at.checked(|text| checks::time("created_at", &text))?,
        updated_at: image.updated_at.checked(|text| checks::optional_time("updated_at", text.as_deref()))?,
        deleted_at,
        properties: Said::This(checks::properties(image.properties)?),
        members: Said::Nothing,
    })
}
