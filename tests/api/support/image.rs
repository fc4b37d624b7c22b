//! Rows of the catalog, as portable SQL and as the JSON that the API must show.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// An image with every column, and the projects that it is shared with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Image {
    pub id: Uuid,
    pub name: Option<String>,
    pub status: String,
    pub disk_format: Option<String>,
    pub container_format: Option<String>,
    pub size: Option<i64>,
    pub virtual_size: Option<i64>,
    pub checksum: Option<String>,
    pub owner: Option<String>,
    pub is_public: bool,
    pub protected: bool,
    pub deleted: bool,
    pub min_ram: i64,
    pub min_disk: i64,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    pub properties: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Member {
    pub member: String,
    pub can_share: bool,
}

/// A UUID that ends in a number.
pub fn id(number: u32) -> Uuid {
    Uuid::from_u128(0x3c3d1d01_b48a_4639_8a88_000000000000 + u128::from(number))
}

/// A public active image, created `number` seconds after the start of 2016.
pub fn image(number: u32) -> Image {
    let second = chrono::NaiveDate::from_ymd_opt(2016, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0)).expect("a time")
        + chrono::TimeDelta::seconds(i64::from(number));
    let time = second.format("%Y-%m-%dT%H:%M:%S.000000").to_string();
    Image {
        id: id(number),
        name: Some(format!("image-{number}")),
        status: "active".to_owned(),
        disk_format: Some("qcow2".to_owned()),
        container_format: Some("bare".to_owned()),
        size: Some(1024),
        virtual_size: None,
        checksum: None,
        owner: Some("owner".to_owned()),
        is_public: true,
        protected: false,
        deleted: false,
        min_ram: 0,
        min_disk: 0,
        created_at: time.clone(),
        updated_at: Some(time),
        deleted_at: None,
        properties: BTreeMap::new(),
        members: Vec::new(),
    }
}

impl Image {
    /// A statement that stores the image on either engine.
    pub fn insert(&self) -> String {
        let flag = |flag| if flag { "TRUE" } else { "FALSE" };
        let number = |number: Option<i64>| number.map_or("NULL".to_owned(), |number| number.to_string());
        let mut sql = format!(
            "INSERT INTO images (id, name, status, disk_format, container_format, size, virtual_size, checksum, owner, \
             is_public, protected, deleted, min_ram, min_disk, created_at, updated_at, deleted_at, properties) VALUES \
             ('{}', {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});\n",
            self.id,
            text(self.name.as_deref()),
            text(Some(&self.status)),
            text(self.disk_format.as_deref()),
            text(self.container_format.as_deref()),
            number(self.size),
            number(self.virtual_size),
            text(self.checksum.as_deref()),
            text(self.owner.as_deref()),
            flag(self.is_public),
            flag(self.protected),
            flag(self.deleted),
            self.min_ram,
            self.min_disk,
            text(Some(&self.created_at)),
            text(self.updated_at.as_deref()),
            text(self.deleted_at.as_deref()),
            text(Some(&json!(self.properties).to_string())),
        );
        let members = self.members.iter().map(|Member { member, can_share }| {
            format!(
                "INSERT INTO image_members (image_id, member, can_share) VALUES ('{}', {}, {});\n",
                self.id,
                text(Some(member)),
                flag(*can_share)
            )
        });
        sql.extend(members);
        sql
    }

    /// What a detailed list must show, in the documented order.
    pub fn document(&self) -> Value {
        json!({
            "status": self.status,
            "deleted_at": self.deleted_at,
            "name": self.name,
            "deleted": self.deleted,
            "container_format": self.container_format,
            "created_at": self.created_at,
            "disk_format": self.disk_format,
            "updated_at": self.updated_at,
            "min_disk": self.min_disk,
            "protected": self.protected,
            "id": self.id,
            "min_ram": self.min_ram,
            "checksum": self.checksum,
            "owner": self.owner,
            "is_public": self.is_public,
            "virtual_size": self.virtual_size,
            "properties": self.properties,
            "size": self.size,
        })
    }
}

/// A literal of standard SQL.
fn text(text: Option<&str>) -> String {
    text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}
