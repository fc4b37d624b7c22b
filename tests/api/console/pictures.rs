//! The pictures of the documents.

use std::fs;
use std::path::{Path, PathBuf};

use super::Console;
use crate::support::{Engine, Start};

/// Takes the pictures of `docs/console.md`; into the folder that `CONSOLE_PICTURES` names, such as
/// `docs`, else into one that is gone with the test.
#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn the_pictures_of_the_documents_can_be_taken() {
    let seed = include_str!("../../../migrations/seeds/0001_demo.sql");
    let console = Console::new(Start::new(Engine::Sqlite).seed("1_demo.sql", seed));
    let browser = &console.browser;
    let spare = tempfile::tempdir().expect("a temporary folder");
    let folder = std::env::var_os("CONSOLE_PICTURES").map_or_else(|| spare.path().to_owned(), PathBuf::from);
    let take = |name: &str| {
        let picture = browser.screenshot();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() < 300_000, "{} bytes", picture.len());
        fs::write(folder.join(name), picture).expect("a file can be written");
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        assert!(kept.exists(), "docs/{name} is missing");
    };
    browser.resize(1280, 900, false);
    console.open("?container_format=bare&size_min=104857600&sort_key=size&sort_dir=desc&limit=25");
    take("console.png");
    browser.prefer("prefers-color-scheme", "dark");
    browser.resize(390, 800, true);
    console.open("?disk_format=qcow2&limit=25");
    take("console-phone.png");
}
