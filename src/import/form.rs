//! The forms that records come in.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{openstack, v2};
use crate::config::Format;
use crate::image::{Draft, document};

/// The form that the fields of a record tell: each has one that the others lack.
pub fn told(json: &str) -> Option<Format> {
    #[derive(Deserialize)]
    struct Fields {
        #[serde(rename = "ID")]
        column: Option<IgnoredAny>,
        visibility: Option<IgnoredAny>,
        id: Option<IgnoredAny>,
    }

    match serde_json::from_str(json).ok()? {
        Fields { column: Some(_), .. } => Some(Format::Openstack),
        Fields { visibility: Some(_), .. } => Some(Format::V2),
        Fields { id: Some(_), .. } => Some(Format::V1),
        _ => None,
    }
}

/// Reads a record of a form.
///
/// # Errors
/// The first thing in it that is not of that form, or that the catalog cannot hold.
pub fn read(format: Format, json: &str) -> Result<Draft, String> {
    match format {
        Format::V1 => document::read(json),
        Format::V2 => v2::read(json),
        Format::Openstack => openstack::read(json),
    }
}

/// What a record of a form is, in words.
pub fn name(format: Format) -> &'static str {
    match format {
        Format::V1 => "an image of this API",
        Format::V2 => "an image of the Image API v2",
        Format::Openstack => "a row of `openstack image list`",
    }
}
