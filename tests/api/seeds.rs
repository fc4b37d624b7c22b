//! Seeds: each applied once, whole or not at all, and every bad one refused by name.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::ExitStatus;

use crate::support::{Answer, Database, Engine, Start, get, image, on_both_engines};

/// A seed of one image.
fn one(number: u32) -> String {
    image(number).insert()
}

fn migrate(start: Start) -> (Start, ExitStatus, String) {
    let start = start.argument("migrate");
    let output = start.output();
    let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
    (start, output.status, message)
}

fn starting_twice_changes_nothing(engine: Engine) {
    let seed = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/seeds/0001_demo.sql")).expect("the seed");
    let first = Start::new(engine).seed("0001_demo.sql", &seed).serve();
    let everything = first.get("/v1.1/images/detail?changes-since=0001");
    let count = first.database().count("images");
    assert!(count >= 12, "a dozen images");
    let again = first.stop().serve();
    assert_eq!(again.get("/v1.1/images/detail?changes-since=0001").body, everything.body);
    assert_eq!(again.database().count("seed_migrations"), 1);

    // What was changed by hand stays, and a later seed comes on top.
    again.database().execute("DELETE FROM images");
    let more = again.stop().seed("2_more.sql", one(1)).seed("README.md", "not a seed").serve();
    assert_eq!(more.get("/v1.1/images/detail").names(), ["image-1"]);
}
on_both_engines!(starting_twice_changes_nothing);

fn migrate_prepares_and_serving_can_leave_it_alone(engine: Engine) {
    let early = Start::new(engine).set("MIGRATE", "false");
    assert!(early.refusal().contains("glimpse migrate"), "{}", early.refusal());
    // A file of SQLite without anything in it is a database.
    std::fs::write(early.database.folder.path().join("catalog.db"), "").expect("a file can be written");
    let message = early.refusal();
    assert!(message.contains("has no Glimpse schema; `glimpse migrate` makes it: "), "{message}");
    assert_eq!((message.lines().count(), message.matches("_sqlx_migrations").count()), (1, 1), "{message}");
    let (start, status, message) = migrate(Start::on(early.database).seed("1_a.sql", one(1)));
    assert!(status.success(), "{message}");
    let server = Start::on(start.database).seed("2_b.sql", one(2)).set("MIGRATE", "false").serve();
    assert_eq!(server.get("/v1.1/images/detail").names(), ["image-1"]);
}
on_both_engines!(migrate_prepares_and_serving_can_leave_it_alone);

/// Applies a good first seed, then a bad folder; the refusal must name the file, and leave
/// nothing of the bad seed.
fn refused(engine: Engine, files: &[(&str, &str)], said: &[&str]) {
    let (start, status, message) = migrate(Start::new(engine).seed("0001_good.sql", one(1)));
    assert!(status.success(), "{message}");
    let bad = files.iter().fold(Start::on(start.database), |start, (name, sql)| start.seed(name, sql));
    let message = bad.refusal();
    for part in said {
        assert!(message.contains(part), "{files:?}: {part:?} is not in {message}");
    }
    assert_eq!(message.lines().filter(|line| line.starts_with("glimpse: ")).count(), 1, "{message}");
    let names = bad.database.texts("SELECT name FROM images");
    assert_eq!(names, [Some("image-1".to_owned())], "{files:?} left a trace");
    assert_eq!(bad.database.count("seed_migrations"), 1, "{files:?}");
}

fn bad_folders_are_refused_before_the_first_seed_runs(engine: Engine) {
    let good = one(1);
    let next = one(2);
    refused(
        engine,
        &[("0001_good.sql", &format!("{good}-- edited")), ("0002_b.sql", &next)],
        &["0001_good.sql", "changed"],
    );
    refused(engine, &[("0002_b.sql", &next), ("2_c.sql", &next)], &["0002_b.sql", "2_c.sql", "same number"]);
    for name in [
        "b.sql",
        "0002.sql",
        "0002-b.sql",
        "x0002_b.sql",
        "0002_.sql",
        "0002_b.SQL",
        "-2_b.sql",
        "99999999999999999999_b.sql",
    ] {
        refused(engine, &[("0002_a.sql", &next), (name, &next)], &[name, "NUMBER_name.sql"]);
    }
}
on_both_engines!(bad_folders_are_refused_before_the_first_seed_runs);

fn a_recorded_number_keeps_its_name(engine: Engine) {
    let (start, ..) = migrate(Start::new(engine).seed("0001_good.sql", one(1)));
    std::fs::rename(start.seeds().join("0001_good.sql"), start.seeds().join("0001_other.sql")).expect("renamed");
    let renamed = Start::on(start.database);
    let message = renamed.refusal();
    assert!(message.contains("0001_other.sql") && message.contains("good"), "{message}");
    std::fs::remove_file(renamed.seeds().join("0001_other.sql")).expect("removed");
    assert!(Start::on(renamed.database).argument("migrate").output().status.success(), "a file that is gone is fine");
}
on_both_engines!(a_recorded_number_keeps_its_name);

fn seeds_that_do_not_keep_to_their_transaction_are_refused(engine: Engine) {
    let (a, b) = (one(2), one(3));
    for sql in [
        format!("{a} COMMIT; {b}"),
        format!("{a} COMMIT"),
        format!("{a} END; {b}"),
        format!("{a} ROLLBACK; {b}"),
        format!("{a} ROLLBACK"),
        format!("{a} /* ; */ COMMIT; BEGIN; {b}"),
        format!("COMMIT; BEGIN; {a}"),
        format!("-- no-transaction\n{a}"),
    ] {
        refused(engine, &[("0002_bad.sql", &sql)], &["0002_bad.sql", "transaction"]);
    }
    refused(engine, &[("0002_bad.sql", &format!("BEGIN; {a} COMMIT;"))], &["0002_bad.sql", "transaction"]);
}
on_both_engines!(seeds_that_do_not_keep_to_their_transaction_are_refused);

fn a_failing_seed_leaves_no_trace_and_says_what_the_database_said(engine: Engine) {
    let a = one(2);
    refused(
        engine,
        &[("0002_bad.sql", &format!("{a}\nINSERT INTO imagse (id) VALUES ('x');"))],
        &["0002_bad.sql", "imagse"],
    );
    refused(
        engine,
        &[("0002_bad.sql", &format!("{a} INSERT INTO images (id) VALUES (;"))],
        &["0002_bad.sql", "syntax"],
    );
    refused(engine, &[("0002_bad.sql", &format!("{a}{a}"))], &["0002_bad.sql", "images"]);
    refused(
        engine,
        &[("0002_bad.sql", &format!("{a} UPDATE images SET status = 'no'"))],
        &["0002_bad.sql", "images_status_is_known"],
    );
    refused(engine, &[("0002_bad.sql", &format!("{a}\0{a}"))], &["0002_bad.sql", "NUL"]);
    let start = Start::new(engine).seed("0001_bytes.sql", b"-- \xff");
    assert!(start.refusal().contains("0001_bytes.sql is not UTF-8"), "{}", start.refusal());
    let start = Start::new(engine).set("SEEDS_DIR", "/nowhere");
    assert!(start.refusal().contains("/nowhere (SEEDS_DIR)"), "{}", start.refusal());
}
on_both_engines!(a_failing_seed_leaves_no_trace_and_says_what_the_database_said);

fn a_seed_that_breaks_what_it_is_recorded_by_is_named(engine: Engine) {
    let a = one(2);
    refused(
        engine,
        &[("0002_bad.sql", &format!("{a} DROP TABLE seed_migrations;"))],
        &["0002_bad.sql", "seed_migrations"],
    );
    if engine == Engine::Postgres {
        refused(engine, &[("0002_bad.sql", "SET TRANSACTION READ ONLY;")], &["0002_bad.sql", "read-only"]);
        let unchecked = format!("SET session_replication_role = replica; {a}");
        refused(engine, &[("0002_bad.sql", &unchecked)], &["0002_bad.sql", "document"]);
        // What pg_dump writes first, and what a later seed must not notice.
        let start = Start::new(engine)
            .seed(
                "1_a.sql",
                "SELECT pg_catalog.set_config('search_path', '', false); SET session_replication_role = replica;",
            )
            .seed("2_b.sql", one(1));
        assert_eq!(start.serve().get("/v1.1/images/detail").names(), ["image-1"]);
    }
}
on_both_engines!(a_seed_that_breaks_what_it_is_recorded_by_is_named);

fn seeds_before_a_bad_one_stay(engine: Engine) {
    let bad = Start::new(engine).seed("1_a.sql", one(1)).seed("2_bad.sql", "SELECT nothing;").seed("3_c.sql", one(3));
    assert!(bad.refusal().contains("2_bad.sql"));
    assert_eq!(bad.database.texts("SELECT name FROM images"), [Some("image-1".to_owned())]);
    let mended = Start::on(bad.database).seed("2_bad.sql", "\u{feff}-- nothing to do").serve();
    assert_eq!(mended.get("/v1.1/images/detail").names(), ["image-3", "image-1"]);
}
on_both_engines!(seeds_before_a_bad_one_stay);

fn a_seed_may_hold_what_looks_like_the_end_of_a_transaction(engine: Engine) {
    let mut odd = image(2);
    odd.name = Some("x; COMMIT; -- no-transaction $$ $glimpse$".to_owned());
    let sql = format!("-- COMMIT;\n/* ROLLBACK; */ {}", odd.insert());
    let server = Start::new(engine).seed("1_odd.sql", sql).serve();
    assert_eq!(server.get("/v1.1/images/detail").names(), [odd.name.expect("a name")]);
}
on_both_engines!(a_seed_may_hold_what_looks_like_the_end_of_a_transaction);

fn processes_that_start_together_take_turns(engine: Engine) {
    let database = Database::new(engine);
    let url = database.url.clone();
    let seeds: Vec<String> = (0..20).map(|number| (1..=20).map(|row| one(number * 20 + row)).collect()).collect();
    let start = seeds
        .iter()
        .enumerate()
        .fold(Start::on(database), |start, (number, sql)| start.seed(&format!("{number}_many.sql"), sql));
    let folder = start.seeds();
    let others: Vec<_> = (0..8)
        .map(|_| {
            std::process::Command::new(env!("CARGO_BIN_EXE_glimpse"))
                .arg("migrate")
                .env_clear()
                .env("DATABASE_URL", &url)
                .env("SEEDS_DIR", &folder)
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("the program can be started")
        })
        .collect();
    for other in others {
        let output = other.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(start.database.count("images"), 400);
    assert_eq!(start.database.count("seed_migrations"), 20);
}
on_both_engines!(processes_that_start_together_take_turns);

fn servers_that_start_together_serve_the_same_seeds(engine: Engine) {
    let start = (0..5).fold(Start::new(engine), |start, number| start.seed(&format!("{number}_one.sql"), one(number)));
    let mut servers: Vec<_> = (0..4)
        .map(|_| {
            std::process::Command::new(env!("CARGO_BIN_EXE_glimpse"))
                .arg("serve")
                .env_clear()
                .env("DATABASE_URL", &start.database.url)
                .env("SEEDS_DIR", start.seeds())
                .env("LISTEN", "127.0.0.1:0")
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::inherit())
                .spawn()
                .expect("the program can be started")
        })
        .collect();
    let answers: Vec<Answer> = servers
        .iter_mut()
        .map(|server| {
            let mut line = String::new();
            let mut output = BufReader::new(server.stdout.take().expect("it is piped"));
            output.read_line(&mut line).expect("it can be read");
            let address = line.trim_end().strip_prefix("listening on http://").expect("it serves");
            get("/v1.1/images/detail").send_to(address)
        })
        .collect();
    for mut server in servers {
        server.kill().expect("it can be ended");
        server.wait().expect("it ends");
    }
    assert!(answers.iter().all(|answer| answer.images().len() == 5 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(start.database.count("seed_migrations"), 5);
}
on_both_engines!(servers_that_start_together_serve_the_same_seeds);

/// The time-outs of a role are for its queries.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn what_changes_the_database_waits_and_works_as_long_as_it_takes() {
    let start = Start::new(Engine::Postgres).seed("1_slow.sql", "SELECT pg_sleep(2)").argument("migrate");
    let name = start.database.url.rsplit_once('/').expect("the URL names a database").1;
    start.database.execute(format!(
        "ALTER DATABASE {name} SET statement_timeout = '1s'; ALTER DATABASE {name} SET lock_timeout = '1ms'"
    ));
    let mut lock = start.database.lock_schema();
    let mut waiting = start.spawn();
    let mut said = BufReader::new(waiting.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("waiting for its end") {
        line.clear();
        assert_ne!(said.read_line(&mut line).expect("it can be read"), 0, "it does not wait");
    }
    lock.wait_for_another();
    lock.release();
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it can be read");
    assert!(waiting.wait().expect("it ends").success(), "{rest}");
    assert_eq!(start.database.count("seed_migrations"), 1);
}

fn a_newer_schema_is_refused(engine: Engine) {
    let server = Start::new(engine).serve();
    server.database().execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 99, 'from the future', TRUE, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    );
    let start = server.stop();
    assert!(start.refusal().contains("too new"), "{}", start.refusal());
    let start = start.set("MIGRATE", "false");
    assert!(start.refusal().contains("too new"), "{}", start.refusal());
    start.database.execute("DELETE FROM _sqlx_migrations WHERE version > 1");
    assert!(start.refusal().contains("too old"), "{}", start.refusal());
}
on_both_engines!(a_newer_schema_is_refused);
