//! What the program is made of: each dependency is used, and takes no newer Rust than is promised.
//! `tests/run` holds licences, duplicates and sources to deny.toml.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What cargo knows of the packages that the build has brought.
fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(ROOT).args(["metadata", "--format-version=1", "--locked", "--offline"]);
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = cargo.args(["--filter-platform", &target]).output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("packages")
}

fn own(metadata: &Value) -> &Value {
    packages(metadata).iter().find(|package| package["name"] == "glimpse").expect("its own package")
}

/// The first two parts of a version of Rust; the third only mends.
fn version(text: &str) -> Vec<u32> {
    text.split('.').take(2).map(|part| part.parse().unwrap_or_else(|_| panic!("{text}"))).collect()
}

#[test]
fn the_promised_rust_is_new_enough_for_every_dependency() {
    let metadata = metadata();
    let promised = own(&metadata)["rust_version"].as_str().expect("a version");
    let mut count = 0;
    for package in packages(&metadata) {
        let Some(needed) = package["rust_version"].as_str() else { continue };
        assert!(version(needed) <= version(promised), "{} needs Rust {needed}", package["name"]);
        count += 1;
    }
    assert!(count > 100, "{count}");
    for file in ["README.md", "docs/operating.md"] {
        let text = fs::read_to_string(format!("{ROOT}/{file}")).expect("a document");
        assert!(text.contains(&format!("Rust {promised} or newer")), "{file} tells of another Rust");
    }
}

/// The text of all Rust files in a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(path).expect("a source");
        }
    }
}

#[test]
fn every_dependency_is_used() {
    let metadata = metadata();
    let text = |folders: &[&str]| {
        let mut text = String::new();
        for folder in folders {
            sources(&Path::new(ROOT).join(folder), &mut text);
        }
        text
    };
    let (of_program, of_tests) = (text(&["src"]), text(&["tests", "benches"]));
    let dependencies = own(&metadata)["dependencies"].as_array().expect("dependencies");
    assert!(dependencies.len() > 30, "{dependencies:?}");
    for dependency in dependencies {
        let name = dependency["name"].as_str().expect("a name").replace('-', "_");
        let text = if dependency["kind"] == "dev" { &of_tests } else { &of_program };
        let uses = |text: &str| text.contains(&format!("{name}::")) || text.contains(&format!("use {name};"));
        assert!(uses(text), "{name} is used nowhere");
        assert_eq!(dependency["source"].as_str().map(|source| source.starts_with("registry+")), Some(true), "{name}");
    }
}

/// Else the next `tests/fuzz` would choose its own versions.
#[test]
fn the_lock_file_of_the_fuzzers_has_every_dependency() {
    let metadata = metadata();
    let lock = fs::read_to_string(format!("{ROOT}/fuzz/Cargo.lock")).expect("a lock file");
    let own_part =
        lock.split("[[package]]\n").find(|part| part.starts_with("name = \"glimpse\"\n")).expect("its own part");
    let linux = |dependency: &Value| {
        dependency["target"].is_null() || dependency["target"].as_str().is_some_and(|target| target.contains("linux"))
    };
    let dependencies = own(&metadata)["dependencies"].as_array().expect("dependencies").iter();
    for dependency in dependencies.filter(|dependency| dependency["kind"].is_null() && linux(dependency)) {
        let name = dependency["name"].as_str().expect("a name");
        let is_there = own_part.lines().any(|line| line.trim_matches([' ', '"', ',']).split(' ').next() == Some(name));
        assert!(is_there, "{name} is not in fuzz/Cargo.lock");
    }
}
