//! The variables in a file `.env` of the working folder.

use std::fs;
use std::io::ErrorKind;

use anyhow::{bail, ensure};

/// Takes the variables of `.env`, if there is one, that the environment does not have.
///
/// # Errors
/// A file that cannot be read.
pub fn read() -> anyhow::Result<()> {
    match fs::read_to_string(".env") {
        Ok(text) => take(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => bail!("The file .env cannot be read: {error}."),
    }
}

fn take(text: &str) -> anyhow::Result<()> {
    ensure!(!text.contains('\0'), "The file .env cannot be read: it contains a NUL character.");
    match dotenvy::from_read(text.as_bytes()) {
        Ok(()) => Ok(()),
        // The line itself is not shown: it may hold a secret.
        Err(dotenvy::Error::LineParse(line, _)) => {
            let number = text.lines().position(|candidate| candidate.contains(line.trim())).unwrap_or(0) + 1;
            bail!("The file .env cannot be read: line {number} is not of the form VARIABLE=value.");
        }
        Err(error) => bail!("The file .env cannot be read: {error}."),
    }
}
