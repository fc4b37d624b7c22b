//! Tells the program which commit it is built from: `GLIMPSE_COMMIT` if the environment has it (as
//! where a container is built without the history), else what git says, else what cargo has written
//! into an archive of the crate, else nothing.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GLIMPSE_COMMIT");
    let given = env::var("GLIMPSE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(of_repository).or_else(of_archive).unwrap_or_default();
    let commit: String = commit.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    let version = env!("CARGO_PKG_VERSION");
    let shown = if commit.is_empty() { version.to_owned() } else { format!("{version} ({commit})") };
    println!("cargo::rustc-env=GLIMPSE_COMMIT={commit}");
    println!("cargo::rustc-env=GLIMPSE_VERSION={shown}");
}

/// The commit that is checked out, if the root of the repository is here and not further up.
fn of_repository() -> Option<String> {
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]).unwrap_or_default();
    for file in ["HEAD", "logs/HEAD", "packed-refs", &branch] {
        // Those that move with the commit. One that is missing would make cargo run this each time.
        let path = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).is_file());
        if let Some(path) = path {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The commit in the file that `cargo package` puts beside the sources.
fn of_archive() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    Some(rest.split('"').nth(1)?.to_owned())
}
