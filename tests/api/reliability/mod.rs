//! What Glimpse promises when the world around it breaks: each test breaks it. They measure times,
//! so that they run one after another; `docs/RELIABILITY.md` has their figures. Only the long form
//! holds them to a time: a machine that does other work as well would fail the short one.

mod outage;
mod overload;
mod replicas;
mod slow;

use std::time::{Duration, Instant};

use crate::support::{Engine, Glimpse, id};

/// How long the load of the long form lasts: `TEST_LOAD_SECONDS`, which `tests/reliability` sets.
fn long_form() -> Option<Duration> {
    let seconds = std::env::var("TEST_LOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map(Duration::from_secs)
}

/// How long the load of a test lasts.
fn duration() -> Duration {
    long_form().unwrap_or(Duration::from_secs(3))
}

/// Holds the long form to a time that is promised in seconds, and what clients that run on the same
/// cores may add to it.
#[track_caller]
fn promised(what: &str, seconds: u64, measured: Duration) {
    const GRACE: Duration = Duration::from_secs(2);
    if long_form().is_some() {
        assert!(measured < Duration::from_secs(seconds) + GRACE, "{what} took {measured:.2?}, not {seconds} s");
    }
}

/// Prints a figure for `docs/RELIABILITY.md`; `--nocapture` shows it.
fn figure(text: &str) {
    println!("figure: {text}");
}

/// Waits for a condition, but not for ever.
#[track_caller]
pub fn wait(what: &str, condition: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "in vain: {what}");
        std::thread::yield_now();
    }
    started.elapsed()
}

/// Makes every query of images work through so many rows first, in the engine.
fn slow_down(server: &Glimpse, rows: u64) {
    let counted = match server.database().engine {
        Engine::Sqlite => {
            format!(
                "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) SELECT count(*) FROM c"
            )
        }
        Engine::Postgres => format!("SELECT count(*) FROM (SELECT generate_series(1, {rows})) AS c"),
    };
    rename(server, "images", "real_images");
    server.database().execute(format!("CREATE VIEW images AS SELECT * FROM real_images WHERE ({counted}) > 0"));
}

/// Undoes [`slow_down`].
fn speed_up(server: &Glimpse) {
    server.database().execute("DROP VIEW images");
    rename(server, "real_images", "images");
}

fn rename(server: &Glimpse, from: &str, to: &str) {
    // SQLite would look at the triggers, too.
    let before = if server.database().engine == Engine::Sqlite { "PRAGMA legacy_alter_table = ON; " } else { "" };
    server.database().execute(format!("{before}ALTER TABLE {from} RENAME TO {to}"));
}

/// A request whose query [`slow_down`] makes slow.
fn slow_target() -> String {
    format!("/v1.1/images/{}/members", id(1))
}
