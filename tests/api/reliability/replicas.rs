//! A streaming standby is served, whatever becomes of its primary.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{figure, wait};
use crate::indexes::fill;
use crate::support::{Clients, Cluster, Database, Engine, Start, get, image};

const TARGET: &str = "/v1.1/images/detail?limit=25";

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_standby_serves_on_when_its_primary_dies() {
    let primary = Cluster::new(30);
    let database = Database::of(&primary);
    let start = Start::on(database).seed("1_a.sql", image(1).insert()).argument("migrate");
    assert!(start.output().status.success());
    start.database.execute(fill(Engine::Postgres));
    let standby = primary.standby();
    let server = Start::on(Database::of(&standby)).set("MIGRATE", "false").serve();
    let expected = server.get(TARGET);
    assert_eq!(expected.images().len(), 25);
    // What is written to the primary is shown by the standby.
    start.database.execute(image(2).insert());
    wait("the standby to follow", || {
        server.get("/v1.1/images/detail?name=image-2").images().iter().any(|found| *found == image(2).document())
    });

    let clients = Clients::start(&server.address, 32, TARGET, &expected.body);
    wait("the clients to be served", || clients.counts().0 > 200);
    primary.stop("immediate");
    let before = clients.counts().0;
    wait("the clients to be served on", || clients.counts().0 > before + 500);
    assert_eq!(server.get("/ready").status, 200);
    let seen = clients.stop();
    figure(&format!("a standby whose primary dies: {} times 200, {} times 503", seen.of(200), seen.of(503)));
    seen.expect_only_200_and_503();
    assert_eq!(seen.of(503), 0);

    // A server that is started now serves too, unless it is told to bring the schema up to date.
    let start = server.stop();
    assert_eq!(Start::on(Database::of(&standby)).set("MIGRATE", "false").serve().get(TARGET).body, expected.body);
    let message = Start::on(Database::of(&standby)).refusal();
    assert!(message.contains("read-only") && message.contains("MIGRATE=false"), "{message}");
    drop(start);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_standby_of_another_schema_is_refused_by_name() {
    let primary = Cluster::new(30);
    let start = Start::on(Database::of(&primary)).argument("migrate");
    let standby = primary.standby();
    let served = Start::on(Database::of(&standby)).set("MIGRATE", "false");
    let message = served.refusal();
    assert!(message.contains("has no Glimpse schema") && message.contains("glimpse migrate"), "{message}");

    let count = |sql: &str| wait("the standby to follow", || served.database.try_execute(sql).is_ok());
    assert!(start.output().status.success());
    count("SELECT 1 / count(*) FROM _sqlx_migrations");
    start.database.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 99, 'from the future', TRUE, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    );
    count("SELECT 1 / count(*) FROM _sqlx_migrations WHERE version = 99");
    let message = served.refusal();
    assert!(message.contains("too new") && message.contains("99"), "{message}");

    start.database.execute("DELETE FROM _sqlx_migrations WHERE version IN (5, 99)");
    count("SELECT 1 / (1 - count(*)) FROM _sqlx_migrations WHERE version IN (5, 99)");
    let message = served.refusal();
    assert!(message.contains("too old") && message.contains("0005_covered_orders"), "{message}");
}

/// The commands of the page on scaling, each as it stands there.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn the_page_on_scaling_says_how() {
    let (primary, standby) = (Cluster::new(30), Cluster::absent());
    let pooler = primary.pooler();
    let variables = [
        ("PRIMARY", primary.url("glimpse:secret")),
        ("STANDBY", standby.url("glimpse:secret")),
        ("POOLED", pooler.url("glimpse")),
        ("PGDATA", standby.data()),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/seeds").display().to_string();
    let as_it_was = run_line(&format!("glimpse serve --seeds {seeds}"), folder.path(), &variables).expect("it serves");

    let page = include_str!("../../../docs/SCALING.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let (mut served, mut count) = (0, 0);
    for line in blocks.flat_map(str::lines).filter(|line| !line.starts_with("export ")) {
        if line.starts_with("pg_ctl") {
            standby.give_address();
        }
        if let Some(images) = run_line(line, folder.path(), &variables) {
            assert_eq!(images, as_it_was, "{line}");
            served += 1;
        }
        count += 1;
    }
    assert_eq!((served, count), (4, 11));
}

/// Runs a line of the page; of a server, the images that it shows.
fn run_line(line: &str, folder: &Path, variables: &[(&str, String)]) -> Option<String> {
    let mut command = if line.starts_with("pg_") { Cluster::as_owner("bash") } else { Command::new("bash") };
    let programs = std::env::var("TEST_POSTGRES_PROGRAMS").expect("tests/run sets it");
    let glimpse = Path::new(env!("CARGO_BIN_EXE_glimpse")).parent().expect("a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{glimpse}:{programs}:{path}")).envs(variables.iter().cloned());
    command.env("LISTEN", "127.0.0.1:0").stdin(Stdio::null());
    if !line.starts_with("glimpse serve") {
        if line.starts_with("glimpse") {
            command.current_dir(folder);
        }
        let status = command.args(["-c", line]).stdout(Stdio::null()).status().expect("bash can be run");
        assert!(status.success(), "{line}");
        return None;
    }
    let started = command.args(["-c", &format!("exec {line}")]).current_dir(folder).stdout(Stdio::piped()).spawn();
    let mut server = started.expect("bash can be run");
    let mut said = String::new();
    let mut output = BufReader::new(server.stdout.take().expect("it is piped"));
    output.read_line(&mut said).expect("it can be read");
    let address = said.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}: {said}"));
    let images = get("/v1.1/images/detail").send_to(address).body;
    server.kill().expect("it can be ended");
    server.wait().expect("it ends");
    Some(images)
}
