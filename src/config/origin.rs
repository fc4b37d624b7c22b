//! Where each setting came from, for `glimpse config` and for what is said of settings that
//! contradict each other.

use std::fmt;
use std::io::{self, Write};

use clap::ArgMatches;
use clap::parser::ValueSource;
use reqwest::Url;

use super::variables::Variables;

/// Stands for what is not shown.
const SECRET: &str = "***";

/// What stands in the names of parameters whose values are not shown.
const SECRETS: [&str; 4] = ["pass", "pwd", "token", "secret"];

/// Where a value came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    /// The file `.env`.
    Variables,
    /// The file that the variable with `_FILE` behind it names.
    File,
    #[default]
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Variables => ".env",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A setting as it was given; empty where it was not, and has no default.
#[derive(Clone, Debug)]
pub struct Given {
    pub variable: String,
    pub value: String,
    pub origin: Origin,
}

/// All settings, in the order in which `--help` has them.
pub fn all(command: &clap::Command, matches: &ArgMatches, variables: &Variables) -> Vec<Given> {
    let settings =
        command.get_arguments().filter_map(|argument| Some((argument.get_id().as_str(), argument.get_env()?)));
    let given = settings.map(|(id, variable)| {
        let variable = variable.to_string_lossy().into_owned();
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) if variables.taken.contains(&variable) => Origin::Variables,
            Some(ValueSource::EnvVariable) => Origin::Environment,
            _ => Origin::Default,
        };
        let value = matches.get_raw(id).and_then(|mut values| values.next_back()).unwrap_or_default();
        Given { variable, value: value.to_string_lossy().into_owned(), origin }
    });
    given.collect()
}

/// Prints a line for each setting: its variable, where its value came from, and that value, without
/// secrets.
///
/// # Errors
/// Those of `out`.
pub fn print(settings: &[Given], mut out: impl Write) -> io::Result<()> {
    let width = settings.iter().map(|setting| setting.variable.len()).max().unwrap_or_default();
    for setting in settings {
        let Given { variable, value, origin } = setting;
        let line = format!("{variable:width$}  {origin:11}  {}", shown(variable, value));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn shown(variable: &str, value: &str) -> String {
    let is_url = value.contains("://");
    // What is no URL where one should be may be any part of one.
    if !value.is_empty() && (variable.ends_with("_PASSWORD") || (variable.ends_with("_URL") && !is_url)) {
        return SECRET.to_owned();
    }
    if is_url { without_password(value) } else { value.to_owned() }
}

/// A URL without its password, and nothing of it where it is not sure where that ends.
fn without_password(value: &str) -> String {
    let Ok(mut url) = Url::parse(value) else { return SECRET.to_owned() };
    if url.scheme() == "sqlite" {
        return value.to_owned();
    }
    // Another @ means that a password with an unescaped / ? or # has ended too early.
    let has_user = !url.username().is_empty() || url.password().is_some();
    if value.matches('@').count() != usize::from(has_user) {
        return SECRET.to_owned();
    }
    let is_secret = |name: &str| SECRETS.iter().any(|part| name.to_ascii_lowercase().contains(part));
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    // A token may stand for a user, and the rest of a password for a parameter.
    let has_only_user = has_user && url.password().is_none();
    if (has_only_user && url.scheme().starts_with("http")) || pairs.iter().any(|(_, value)| value.is_empty()) {
        return SECRET.to_owned();
    }
    if url.password().is_none() && !pairs.iter().any(|(name, _)| is_secret(name)) {
        return value.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(SECRET)).is_err() {
        return SECRET.to_owned();
    }
    if !pairs.is_empty() {
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), if is_secret(name) { SECRET } else { value }));
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn no_password_is_shown() {
        for (variable, value, expected) in [
            ("LISTEN", "127.0.0.1:9292", "127.0.0.1:9292"),
            ("KEYSTONE_PASSWORD", "", ""),
            ("KEYSTONE_PASSWORD", "http://secret", "***"),
            ("DATABASE_URL", "sqlite://glimpse.db", "sqlite://glimpse.db"),
            ("DATABASE_URL", "sqlite:///srv/a@b.db?mode=rwc", "sqlite:///srv/a@b.db?mode=rwc"),
            ("DATABASE_URL", "postgres://user@host/db", "postgres://user@host/db"),
            ("DATABASE_URL", "postgres://user:secret@host:5432/db", "postgres://user:***@host:5432/db"),
            ("DATABASE_URL", "postgres://user:se%40cret@host/db", "postgres://user:***@host/db"),
            ("DATABASE_URL", "postgres://host/db?user=u&password=secret", "postgres://host/db?user=u&password=***"),
            ("DATABASE_URL", "postgres://host/db?p%61ssword=secret", "postgres://host/db?password=***"),
            ("DATABASE_URL", "postgres://host/db?Password=secret", "postgres://host/db?Password=***"),
            ("DATABASE_URL", "postgres://host/db?pwd=secret", "postgres://host/db?pwd=***"),
            ("DATABASE_URL", "postgres://user:5432?secret", "***"),
            ("DATABASE_URL", "user:secret@host/db", "***"),
            ("KEYSTONE_URL", "https://secret@host/v3", "***"),
            ("KEYSTONE_URL", "https://host/v3?token=secret", "https://host/v3?token=***"),
            ("DATABASE_URL", "postgres:user:secret@host/db", "***"),
            ("PUBLIC_URL", "", ""),
            ("DATABASE_URL", "postgres://user:se/cret@host/db", "***"),
            ("DATABASE_URL", "postgres://user:se@cret@host/db", "***"),
            ("DATABASE_URL", "postgres://user:12#secret@host/db", "***"),
            ("DATABASE_URL", "postgres://user:12?secret@host/db", "***"),
            ("DATABASE_URL", "postgres://user:secret@host:port/db", "***"),
            ("KEYSTONE_URL", "https://user:secret@host/v3", "https://user:***@host/v3"),
        ] {
            assert_eq!(shown(variable, value), expected, "{variable}={value}");
        }
    }
}
