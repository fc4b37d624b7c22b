//! What a user can see, through the real program over HTTP, on both engines from one suite.
//!
//! SQLite needs nothing. The PostgreSQL half is ignored unless asked for (`--include-ignored`)
//! with `TEST_POSTGRES_URL`, the URL of a server in which the tests may make databases;
//! `tests/run` does all of it.

#[path = "../matrix/mod.rs"]
mod matrix;
mod support;

mod any_input;
mod around;
mod callers;
mod catalog;
mod clients;
mod conformance;
mod console;
mod corpus;
mod dependencies;
mod differential;
mod docs;
mod explain;
mod export;
mod faults;
mod file;
mod first_steps;
mod generate;
mod hostile;
mod import;
mod indexes;
mod keystone;
mod kills;
mod list;
mod metrics;
mod migrations;
mod model;
mod openapi;
mod packaging;
mod program;
mod properties;
mod random_lists;
mod reliability;
mod restart;
mod seeds;
mod settings;
mod single;
mod wire;
mod work;

/// Says once what a plain `cargo test` leaves out. Straight to standard error, because the test
/// harness keeps what a passing test prints.
#[test]
fn tell_when_postgresql_is_left_out() {
    use std::io::Write as _;
    if std::env::var_os(support::POSTGRES).is_none() {
        let line = "note: the PostgreSQL half of the tests was left out; tests/run includes it\n";
        std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    }
}
