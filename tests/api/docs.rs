//! The documents tell what the code has: every parameter, every variable, every difference.

use std::collections::BTreeSet;

use glimpse::config;
use glimpse::query::PARAMETERS;

use crate::support::{Engine, Start};

const README: &str = include_str!("../../README.md");
const FAULTS: &str = include_str!("../../docs/faults.md");
const GETTING_STARTED: &str = include_str!("../../docs/getting-started.md");
const MIGRATING: &str = include_str!("../../docs/migrating.md");
const OPERATING: &str = include_str!("../../docs/operating.md");
const SCALING: &str = include_str!("../../docs/SCALING.md");
const SEEDING: &str = include_str!("../../docs/seeding.md");
const ENV_EXAMPLE: &str = include_str!("../../.env.example");

/// The rows of the README's tables, as cells.
fn rows() -> Vec<Vec<&'static str>> {
    let lines = README.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    lines.map(|line| line.split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_readme_tells_every_parameter() {
    let rows = rows();
    for parameter in &PARAMETERS {
        let name = format!("`{}`", parameter.name);
        let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(row[2], parameter.description, "{name}");
    }
    let accepted = rows.iter().find(|row| row[0] == "`sort_key`").expect("a row")[1].replace('`', "");
    let sort_key = PARAMETERS.iter().find(|parameter| parameter.name == "sort_key").expect("a parameter");
    assert_eq!(sort_key.kind.accepted().replace(" or ", ", "), accepted);
}

/// The variables with their defaults.
fn variables() -> Vec<(String, String)> {
    let command = config::command();
    let with_variables = command.get_arguments().filter_map(|argument| Some((argument.get_env()?, argument)));
    with_variables
        .map(|(variable, argument)| {
            let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            (variable.to_string_lossy().into_owned(), defaults.join(","))
        })
        .collect()
}

#[test]
fn the_readme_tells_every_variable() {
    let rows = rows();
    let variables = variables();
    assert!(variables.len() >= 19, "{variables:?}");
    for (variable, default) in &variables {
        let name = format!("`{variable}`");
        let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(row[1].trim_matches('`'), default, "{name}");
    }
}

#[test]
fn the_example_sets_every_variable_and_nothing_else() {
    let set: Vec<(&str, &str)> = ENV_EXAMPLE
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.starts_with('#'))
        .collect();
    let names: BTreeSet<&str> = set.iter().map(|(name, _)| *name).collect();
    let variables = variables();
    assert_eq!(names, variables.iter().map(|(name, _)| name.as_str()).collect());
    for (name, value) in set {
        let default = &variables.iter().find(|(variable, _)| variable == name).expect("a variable").1;
        let expected = if name == "SEEDS_DIR" { "migrations/seeds" } else { default };
        assert_eq!(value, expected, "{name}");
    }
}

#[test]
fn the_readme_tells_every_difference() {
    let rows = rows();
    for number in 1..=20 {
        assert!(rows.iter().any(|row| row[0] == format!("D{number}")), "D{number}");
    }
}

#[test]
fn the_page_for_operators_tells_every_metric_and_plan() {
    let server = Start::new(Engine::Sqlite).serve();
    server.get("/v1.1/images/detail");
    let text = server.get("/metrics").body;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: Vec<(&str, &str)> = types.collect();
    assert!(types.len() >= 10, "{types:?}");
    for (name, kind) in types {
        assert!(OPERATING.contains(&format!("| `{name}` | {kind} |")), "{name}, a {kind}");
    }
    for plan in text.lines().filter_map(|line| line.split_once("_count{plan=\"")?.1.split('"').next()) {
        assert!(OPERATING.contains(&format!("`{plan}`")), "{plan}");
    }
}

#[test]
fn the_commands_in_the_documents_are_understood() {
    let mut count = 0;
    for text in [README, FAULTS, GETTING_STARTED, MIGRATING, OPERATING, SCALING, SEEDING] {
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let inline = text.split('`').skip(1).step_by(2);
        for line in blocks.flat_map(str::lines).chain(inline) {
            // What is left out is named in capitals.
            let Some(line) = line.strip_prefix("glimpse ").filter(|line| !line.contains("QUERY")) else { continue };
            let line = crate::program::words(line.split(['>', '|']).next().unwrap_or_default());
            let words = std::iter::once("glimpse").chain(line.iter().map(String::as_str));
            if let Err(error) = config::command().try_get_matches_from(words) {
                assert!(!error.use_stderr(), "{line:?}: {error}");
            }
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
}
