//! The variables in a file `.env` of the working folder.

use std::io::ErrorKind;
use std::{env, fs};

use anyhow::{bail, ensure};

/// What stands in `.env`.
#[derive(Debug, Default)]
pub struct Variables {
    /// The names there, in order.
    pub names: Vec<String>,
    /// Those that count, because the environment does not have them.
    pub taken: Vec<String>,
}

/// Takes the variables of `.env`, if there is one, that the environment does not have.
///
/// # Errors
/// A file that cannot be read.
pub fn read() -> anyhow::Result<Variables> {
    match fs::read_to_string(".env") {
        Ok(text) => take(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Variables::default()),
        Err(error) => bail!("The file .env cannot be read: {error}."),
    }
}

fn take(text: &str) -> anyhow::Result<Variables> {
    ensure!(!text.contains('\0'), "The file .env cannot be read: it contains a NUL character.");
    let names = dotenvy::from_read_iter(text.as_bytes()).map_while(Result::ok).map(|(name, _)| name);
    let names: Vec<String> = names.collect();
    let taken = names.iter().filter(|name| env::var_os(name).is_none()).cloned().collect();
    match dotenvy::from_read(text.as_bytes()) {
        Ok(()) => Ok(Variables { names, taken }),
        // The line itself is not shown: it may hold a secret.
        Err(dotenvy::Error::LineParse(line, _)) => {
            let number = text.lines().position(|candidate| candidate.contains(line.trim())).unwrap_or(0) + 1;
            bail!("The file .env cannot be read: line {number} is not of the form VARIABLE=value.");
        }
        Err(error) => bail!("The file .env cannot be read: {error}."),
    }
}

/// Names that a `.env` may have for others: libraries, PostgreSQL's client and image, Compose.
const OF_OTHERS: [&str; 6] = ["COMPOSE_", "PG", "POSTGRES_", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE", "SSL_CERT_"];

/// A name in `.env` that is no setting, and the setting that may have been meant.
#[derive(Debug)]
pub struct Unknown {
    pub name: String,
    pub meant: Option<String>,
}

impl Variables {
    /// What stands there to no effect.
    pub fn unknown(&self, settings: &[&str]) -> Vec<Unknown> {
        let is_known =
            |name: &str| settings.contains(&name) || OF_OTHERS.iter().any(|beginning| name.starts_with(beginning));
        let unknown = self.names.iter().filter(|name| !is_known(name));
        let unknown = unknown.map(|name| {
            let likeness = |setting: &str| strsim::jaro_winkler(setting, &name.to_uppercase());
            let nearest = settings.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
            let meant = nearest.filter(|setting| likeness(setting) > 0.9).map(|&setting| setting.to_owned());
            Unknown { name: name.clone(), meant }
        });
        unknown.collect()
    }
}
