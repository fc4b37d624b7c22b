//! The forms that records come in.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{openstack, v2};
use crate::config::Format;
use crate::image::{Draft, Said, checks, document};

/// The form that the fields of a record tell: each has one that the others lack.
///
/// # Errors
/// What is no image of any form.
pub fn told(json: &str) -> Result<Format, String> {
    #[derive(Deserialize)]
    #[serde(expecting = "an image")]
    struct Fields {
        #[serde(default, rename = "ID")]
        column: Said<IgnoredAny>,
        #[serde(default)]
        visibility: Said<IgnoredAny>,
        #[serde(default)]
        id: Said<IgnoredAny>,
    }

    match checks::typed(json)? {
        Fields { column: Said::This(_), .. } => Ok(Format::Openstack),
        Fields { visibility: Said::This(_), .. } => Ok(Format::V2),
        Fields { id: Said::This(_), .. } => Ok(Format::V1),
        _ => Err("it is no image: it has neither id nor ID".to_owned()),
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
