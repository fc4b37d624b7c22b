//! `glimpse generate`: the same catalog everywhere, whole or not at all.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::support::{Database, Engine, Glimpse, Start, image, on_both_engines};

fn generate(database: Database, arguments: &[&str]) -> Start {
    arguments.iter().fold(Start::on(database).argument("generate"), |start, argument| start.argument(argument))
}

/// Generates into a database, which it gives back.
#[track_caller]
fn fill(database: Database, arguments: &[&str]) -> Database {
    let start = generate(database, arguments);
    let output = start.output();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    start.database
}

/// The one line that says why it was refused.
#[track_caller]
fn refusal(start: &Start) -> String {
    let output = start.output();
    assert_eq!(output.status.code(), Some(1));
    one_line(&String::from_utf8(output.stderr).expect("messages are UTF-8"))
}

#[track_caller]
fn one_line(messages: &str) -> String {
    let lines: Vec<&str> = messages.lines().filter(|line| line.starts_with("glimpse: ")).collect();
    assert!(lines.len() == 1 && messages.ends_with(&format!("{}\n", lines[0])), "{messages}");
    lines[0].to_owned()
}

/// Every page of all images, as they were sent, and then the members of those that are shared.
fn everything(server: &Glimpse) -> Vec<String> {
    let mut pages = Vec::new();
    let mut target = Some("/v1.1/images/detail?changes-since=0001".to_owned());
    while let Some(page) = target {
        let answer = server.get(&page);
        assert_eq!(answer.status, 200, "{page}");
        let next = answer.header("Link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        target = next.map(|(next, _)| next.to_owned());
        pages.push(answer.body);
    }
    let shared = "SELECT DISTINCT CAST(image_id AS TEXT) FROM image_members ORDER BY 1";
    for id in server.database().texts(shared).into_iter().flatten() {
        pages.push(server.get(&format!("/v1.1/images/{id}/members")).body);
    }
    pages
}

fn served(database: Database) -> (Database, Vec<String>) {
    let server = Start::on(database).serve();
    let everything = everything(&server);
    (server.stop().database, everything)
}

/// The statements that make the indexes, whichever way the engine has them.
fn indexes(database: &Database) -> Vec<Option<String>> {
    database.texts(match database.engine {
        Engine::Sqlite => "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
        Engine::Postgres => "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
    })
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_seed_gives_the_same_bytes_on_both_engines() {
    let arguments = ["--count", "2500", "--seed", "7"];
    let (_, sqlite) = served(fill(Database::new(Engine::Sqlite), &arguments));
    let (_, postgres) = served(fill(Database::new(Engine::Postgres), &arguments));
    assert!(sqlite.len() > 30, "three pages of images, and members");
    assert_eq!(sqlite, postgres);
}

fn a_seed_gives_the_same_catalog_again_and_another_seed_another(engine: Engine) {
    let (first, seed_1) = served(fill(Database::new(engine), &["--count", "500"]));
    let (_, again) = served(fill(Database::new(engine), &["--count", "500", "--seed", "1"]));
    assert_eq!(seed_1, again);
    let (_, seed_2) = served(fill(first, &["--count", "500", "--seed", "2", "--replace"]));
    assert!(seed_2.iter().all(|page| !seed_1.contains(page)));
    let (_, early) = served(fill(Database::new(engine), &["--count", "500", "--until", "2020-01-01"]));
    assert!(early[0].contains("\"created_at\":\"2019-") && !early[0].contains("\"created_at\":\"2025-"));
}
on_both_engines!(a_seed_gives_the_same_catalog_again_and_another_seed_another);

fn what_is_there_already_is_kept_or_deleted_only_when_told(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    let database = start.database;
    database.execute(image(1).insert());
    database.execute("CREATE INDEX images_of_ours ON images (checksum, owner DESC) WHERE size > 1000");
    let indexes_before = indexes(&database);

    let refused = generate(database, &["--count", "50"]);
    let message = refusal(&refused);
    for part in ["(1)", "--append", "--replace"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(refused.database.count("images"), 1);

    let appended = fill(refused.database, &["--count", "50", "--append"]);
    assert_eq!(appended.count("images"), 51);
    assert_eq!(indexes(&appended), indexes_before, "built anew, because there are many more new rows");
    let few = fill(appended, &["--count", "1", "--seed", "2", "--append"]);
    assert_eq!(few.count("images"), 52);
    assert_eq!(indexes(&few), indexes_before, "kept up");

    let (database, before) = served(few);
    let taken = generate(database, &["--count", "10", "--seed", "2", "--append"]);
    let message = refusal(&taken);
    assert!(message.contains("--seed") && message.contains("unchanged"), "{message}");
    let (database, after) = served(taken.database);
    assert_eq!(before, after);

    let replaced = fill(database, &["--count", "50", "--replace"]);
    assert_eq!(replaced.count("images"), 50);
    assert_eq!(replaced.texts(format!("SELECT name FROM images WHERE id = '{}'", image(1).id)), []);
    assert_eq!(indexes(&replaced), indexes_before);
}
on_both_engines!(what_is_there_already_is_kept_or_deleted_only_when_told);

#[test]
fn wrong_arguments_are_named_with_what_is_accepted() {
    for (arguments, accepted) in [
        (["--count", "0"], "1..=1000000000"),
        (["--seed", "one"], "--seed"),
        (["--until", "0010-12-31"], "years 11 to 9999"),
        (["--append", "--replace"], "--replace"),
    ] {
        let output = generate(Database::new(Engine::Sqlite), &arguments).output();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && message.contains(accepted), "{arguments:?}: {message}");
    }
}

/// Far more than can be stored before the test ends it.
const ENDLESS: [&str; 5] = ["--count", "100000000", "--replace", "--seed", "3"];

/// A filling that has given rows to the database, and the rest of its messages.
fn filling(mut child: Child) -> (Child, impl Read) {
    let mut messages = BufReader::new(child.stderr.take().expect("standard error is piped"));
    let mut line = String::new();
    while !line.starts_with("rows: ") {
        line.clear();
        assert!(messages.read_line(&mut line).expect("messages are UTF-8") > 0, "it has ended");
    }
    (child, messages)
}

fn interrupt(child: &Child, signal: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
    assert!(sent.expect("a shell").success());
}

/// How it ended, and with which line.
fn end((mut child, mut messages): (Child, impl Read)) -> (ExitStatus, String) {
    let mut rest = String::new();
    messages.read_to_string(&mut rest).expect("messages are UTF-8");
    let last = rest.lines().last().unwrap_or_default().to_owned();
    assert_eq!(rest.matches("glimpse: ").count(), 1, "{rest}");
    (child.wait().expect("it ends"), last)
}

fn ctrl_c_leaves_the_catalog_as_it_was(engine: Engine) {
    let database = fill(Database::new(engine), &["--count", "100"]);
    let indexes_before = indexes(&database);
    let (mut database, before) = served(database);
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let start = generate(database, &ENDLESS);
        let filling = filling(start.spawn());
        interrupt(&filling.0, signal);
        let (ended, message) = end(filling);
        assert_eq!(ended.code(), Some(status), "{message}");
        assert!(message.contains("unchanged"), "{message}");
        assert!(start.database.engine == Engine::Postgres || writes_ahead(&start.database));
        let (after_signal, after) = served(start.database);
        database = after_signal;
        assert_eq!(after, before);
        assert_eq!(indexes(&database), indexes_before);
    }
}
on_both_engines!(ctrl_c_leaves_the_catalog_as_it_was);

/// Whether readers of the file need not wait for a writer.
fn writes_ahead(database: &Database) -> bool {
    database.texts("PRAGMA journal_mode") == [Some("wal".to_owned())]
}

/// PostgreSQL lets nobody read a table that is being emptied.
#[test]
fn readers_of_a_file_see_what_was_there_until_all_is_stored() {
    let (database, before) = served(fill(Database::new(Engine::Sqlite), &["--count", "100"]));
    // Nobody has asked it for anything when the filling begins.
    let server = Start::on(database).serve();
    let mut command = Command::new(env!("CARGO_BIN_EXE_glimpse"));
    command.arg("generate").args(ENDLESS).current_dir(server.database().folder.path());
    command.env("DATABASE_URL", &server.database().url).stderr(Stdio::piped());
    let filling = filling(command.spawn().expect("it starts"));
    let (meanwhile, wrote_ahead) = (everything(&server), writes_ahead(server.database()));
    interrupt(&filling.0, "INT");
    end(filling);
    assert_eq!(meanwhile, before);
    assert!(wrote_ahead, "else readers wait once the rows outgrow the memory of the filling");
    assert_eq!(everything(&server), before);
    assert!(writes_ahead(server.database()));
}

fn a_killed_process_leaves_the_catalog_as_it_was(engine: Engine) {
    let (database, before) = served(fill(Database::new(engine), &["--count", "100"]));
    let start = generate(database, &ENDLESS);
    let (mut child, _) = filling(start.spawn());
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let (database, after) = served(start.database);
    assert_eq!(after, before);
    assert_eq!(fill(database, &["--count", "10", "--append", "--seed", "2"]).count("images"), 110);
}
on_both_engines!(a_killed_process_leaves_the_catalog_as_it_was);

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_lost_connection_leaves_the_catalog_as_it_was() {
    let (database, before) = served(fill(Database::new(Engine::Postgres), &["--count", "100"]));
    let start = generate(database, &ENDLESS);
    let filling = filling(start.spawn());
    start.database.forbid_connections(true);
    let (ended, message) = end(filling);
    assert_eq!(ended.code(), Some(1), "{message}");
    assert!(message.contains("connection") && message.contains("unchanged"), "{message}");
    start.database.forbid_connections(false);
    assert_eq!(served(start.database).1, before);
}

/// A limit to the size of files stands for the end of the disk.
#[test]
fn a_full_disk_leaves_the_catalog_as_it_was() {
    let (database, before) = served(fill(Database::new(Engine::Sqlite), &["--count", "100"]));
    let start = Start::on(database);
    let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" generate --count 50000 --replace";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_glimpse")])
        .current_dir(start.database.folder.path())
        .env("DATABASE_URL", &start.database.url)
        .output()
        .expect("a shell");
    let message = one_line(&String::from_utf8(output.stderr).expect("messages are UTF-8"));
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("disk") && message.contains("unchanged"), "{message}");
    assert_eq!(served(start.database).1, before);
}
