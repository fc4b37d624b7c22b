//! The program itself, apart from what it serves.

use std::path::Path;
use std::process::Command;

use glimpse::version;

use crate::support::{Engine, Start};

/// What the program prints, which must have ended well.
fn printed(arguments: &[&str]) -> String {
    let start = arguments.iter().fold(Start::new(Engine::Sqlite), |start, argument| start.argument(argument));
    let output = start.output();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("what is printed is UTF-8")
}

#[test]
fn the_version_tells_the_commit_where_there_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output();
    let head = head.ok().filter(|output| root.join(".git").exists() && output.status.success());
    let version = version::VERSION;
    let shown = printed(&["--version"]);
    if std::env::var_os("GLIMPSE_COMMIT").is_some() {
        assert!(shown.starts_with(&format!("glimpse {version}")), "{shown}");
    } else if let Some(output) = head {
        let commit = String::from_utf8(output.stdout).expect("a commit is made of digits");
        assert_eq!(shown, format!("glimpse {version} ({})\n", &commit[..12]));
    } else {
        assert!(shown == format!("glimpse {version}\n") || shown.contains(" ("), "{shown}");
    }
}
