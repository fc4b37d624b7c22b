//! Secrets that stand in files of their own, whose paths are given in their place.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::Settings;
use super::origin::{Given, Origin};
use super::values::given;

/// Puts what the files of secrets hold into `settings`, and tells of it in `told`.
///
/// # Errors
/// A secret that is given by value and by file, and a file that cannot be read, by its name.
pub fn read(settings: &mut Settings, told: &mut [Given]) -> anyhow::Result<()> {
    let Settings { database_url, database_url_file, keystone_password, keystone_password_file, .. } = settings;
    for (variable, secret, file) in [
        ("DATABASE_URL", database_url, database_url_file),
        ("KEYSTONE_PASSWORD", keystone_password, keystone_password_file),
    ] {
        let Some(path) = given(file.as_ref()) else { continue };
        let own = told.iter_mut().find(|told| told.variable == variable).expect("every secret is a setting");
        ensure!(
            own.origin == Origin::Default || own.value.is_empty(),
            "{variable} ({}) and {variable}_FILE are both given; take one of them away.",
            own.origin
        );
        *secret = secret_of(path, &format!("The file {} ({variable}_FILE)", path.display()))?;
        own.value.clone_from(secret);
        own.origin = Origin::File;
    }
    Ok(())
}

/// What the file holds that messages call `name`, without the end of its line.
fn secret_of(path: &Path, name: &str) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{name} cannot be read"))?;
    let text = String::from_utf8(bytes).ok().with_context(|| format!("{name} is no UTF-8."))?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    ensure!(!line.is_empty(), "{name} is empty.");
    Ok(line.to_owned())
}
