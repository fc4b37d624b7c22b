//! SQLite's file where it is locked, broken, full, protected or not what it should be: readers wait
//! or are told so, the path is named, and the file stays as it is.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{Database, Engine, Glimpse, Start, run};

/// Another process's transaction, until it is dropped.
struct Writer {
    ends: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    fn begin(url: &str, statements: &'static str) -> Self {
        let (url, (ends, ended)) = (url.to_owned(), mpsc::channel::<()>());
        let (begun, is_begun) = mpsc::channel();
        let thread = thread::spawn(move || {
            run(async {
                let mut connection = SqliteConnection::connect(&url).await.expect("the file can be opened");
                sqlx::raw_sql(statements).execute(&mut connection).await.expect("the statements can be run");
                begun.send(()).expect("the test waits");
                let _ = ended.recv();
                connection.close().await.expect("it can be closed");
            });
        });
        is_begun.recv().expect("it has begun");
        Self { ends: Some(ends), thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.ends.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const WRITES: [&str; 2] = [
    "BEGIN EXCLUSIVE; UPDATE images SET min_ram = 7",
    // So much that it does not fit into the memory of the writer.
    "BEGIN IMMEDIATE; PRAGMA cache_size = 1; UPDATE images SET min_ram = 7",
];

/// Besides the images, one that can be imported.
fn generated(arguments: &[&str]) -> Database {
    let image = r#"{"id":"3c3d1d01-b48a-4639-8a88-08be3b9b5d78","name":"a","properties":{}}"#;
    let start = arguments
        .iter()
        .fold(Start::new(Engine::Sqlite).argument("generate"), |start, argument| start.argument(argument));
    assert!(start.output().status.success());
    fs::write(start.database.folder.path().join("images.json"), image).expect("the file can be written");
    start.database
}

fn path(database: &Database) -> &Path {
    Path::new(database.url.trim_start_matches("sqlite://"))
}

fn digest(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).expect("the file can be read")).to_vec()
}

fn ask(server: &Glimpse) -> u16 {
    server.get("/v1.1/images/detail?limit=1").status
}

#[test]
fn whoever_writes_does_not_hold_up_readers() {
    let server = Start::on(generated(&["--count", "300"])).serve();
    for writes in WRITES {
        let writer = Writer::begin(&server.database().url, writes);
        let answers = (0..30).map(|_| server.get("/v1.1/images/detail?limit=300&min_ram=7"));
        for answer in answers {
            assert_eq!(answer.images().len(), 0, "nothing is seen of what is not committed");
        }
        drop(writer);
    }
}

/// Connections that are not open yet and those that are, more of them than the pool has.
#[test]
fn a_lock_without_the_write_ahead_log_delays_readers_and_fails_none() {
    let database = generated(&["--count", "300"]);
    database.execute("PRAGMA journal_mode = DELETE");
    let start = Start::on(database).set("MIGRATE", "false").set("DATABASE_CONNECTIONS", "4");
    let server = start.set("QUERY_TIMEOUT", "1m").serve();
    assert!(server.log().contains("write-ahead log"), "{}", server.log());
    for writes in WRITES {
        let writer = Writer::begin(&server.database().url, writes);
        thread::scope(|scope| {
            let (answered, answers) = mpsc::channel();
            for _ in 0..4 {
                let (answered, server) = (answered.clone(), &server);
                scope.spawn(move || answered.send(ask(server)));
            }
            // Longer than the wait for a connection of the pool.
            let early = answers.recv_timeout(Duration::from_millis(2500));
            drop(writer);
            if writes.contains("EXCLUSIVE") {
                assert!(early.is_err(), "it was answered in spite of the lock: {early:?}");
            }
            drop(answered);
            let answers: Vec<u16> = early.into_iter().chain(answers).collect();
            assert_eq!(answers, [200; 4]);
        });
    }
}

#[test]
fn a_lock_is_waited_for_at_the_start() {
    for migrate in ["true", "false"] {
        let database = generated(&["--count", "3"]);
        database.execute("PRAGMA journal_mode = DELETE");
        let start = Start::on(database).set("MIGRATE", migrate);
        let writer = Writer::begin(&start.database.url, "BEGIN EXCLUSIVE");
        let log = start.database.folder.path().join("log");
        let is_waiting = move || fs::read_to_string(&log).is_ok_and(|log| log.contains("waiting for another process"));
        thread::scope(|scope| {
            let (starting, start_ends) = mpsc::channel::<()>();
            scope.spawn(move || {
                while !is_waiting() && start_ends.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    thread::yield_now();
                }
                drop(writer);
            });
            let server = start.serve();
            drop(starting);
            assert!(server.log().contains("waiting for another process"), "{}", server.log());
            assert_eq!(ask(&server), 200);
        });
    }
}

/// Turns the write-ahead log off where nobody has the file open.
fn is_open(url: &str) -> bool {
    let mode = run(async {
        let mut connection = SqliteConnection::connect(url).await?;
        sqlx::query_scalar::<_, String>("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await
    });
    mode.is_err()
}

/// Before the first query, and after one that has failed, neither of which leaves a connection.
#[test]
fn the_file_is_open_while_the_server_runs() {
    let server = Start::on(generated(&["--count", "300"])).serve();
    assert!(is_open(&server.database().url), "before the first query");
    let server = server.stop();
    let server = server.set("DATABASE_CONNECTIONS", "1").serve();
    let whole = fs::read(path(server.database())).expect("the file can be read");
    write_in_place(path(server.database()), &broken(&whole));
    server.get("/v1.1/images/detail").refusal(503);
    write_in_place(path(server.database()), &whole);
    assert!(is_open(&server.database().url), "after a query that has failed");
}

/// What is told where a command or the server meets a file that it cannot use.
fn refused(database: &Database, arguments: &[&str]) -> String {
    let before = digest(path(database));
    let output = program(database, arguments);
    let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert!(!output.status.success(), "{arguments:?}: {message}");
    let line = message.lines().last().expect("a message");
    assert!(line.starts_with("glimpse: ") && line.contains("catalog.db"), "{arguments:?}: {message}");
    assert_eq!(digest(path(database)), before, "{arguments:?}");
    line.to_owned()
}

const COMMANDS: [&[&str]; 6] = [
    &[],
    &["migrate"],
    &["generate", "--count", "3", "--append"],
    &["export"],
    &["import", "images.json"],
    &["explain", "name=a"],
];

/// Runs the program to its end. The server finds its address taken, in case that it finds nothing
/// else.
fn program(database: &Database, arguments: &[&str]) -> Output {
    let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
    let listen = taken.local_addr().expect("its address").to_string();
    // Root may write to whatever it likes, unless it gives that right up.
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]);
        command.arg(env!("CARGO_BIN_EXE_glimpse"));
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_glimpse"))
    };
    command.args(arguments).current_dir(database.folder.path()).env_clear();
    command.env("DATABASE_URL", &database.url).env("LISTEN", listen).env("RUST_LOG", "warn");
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output().expect("the program can be run")
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let database = generated(&["--count", "300"]);
    let whole = fs::read(path(&database)).expect("the file can be read");
    let noise: Vec<u8> = (0_u32..30_000).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let cases = [
        (noise, "not a database"),
        (b"<html>".to_vec(), "malformed"),
        (whole[..whole.len() / 2].to_vec(), "malformed"),
        (whole[..4096 * 3 + 100].to_vec(), "malformed"),
        (whole[..100].to_vec(), "malformed"),
        // SQLite itself would take what is lacking of the last page for zeros.
        (whole[..whole.len() - 1].to_vec(), "cut off"),
    ];
    for (bytes, reason) in cases {
        for arguments in COMMANDS {
            fs::write(path(&database), &bytes).expect("the file can be written");
            let message = refused(&database, arguments);
            assert!(message.contains(reason) || message.contains("not a database"), "{message}");
        }
    }
}

/// Its texts are others to the checks of the tables, so that it could hold no image.
#[test]
fn a_file_of_another_encoding_is_refused_and_left_alone() {
    let database = Database::new(Engine::Sqlite);
    run(async {
        let options = SqliteConnectOptions::new().filename(path(&database)).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the file can be made");
        let made = sqlx::raw_sql("PRAGMA encoding = 'UTF-16le'; CREATE TABLE a (b)").execute(&mut connection).await;
        made.expect("the statements can be run");
    });
    fs::write(database.folder.path().join("images.json"), "[]").expect("the file can be written");
    for arguments in COMMANDS {
        let message = refused(&database, arguments);
        assert!(message.contains("UTF-16le") && message.contains("must be UTF-8"), "{message}");
    }
}

/// Also one that is without its write-ahead log.
#[test]
fn a_newer_or_older_schema_is_refused_and_left_alone() {
    let database = generated(&["--count", "3"]);
    database.execute(
        "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time
         FROM _sqlx_migrations LIMIT 1; PRAGMA journal_mode = DELETE",
    );
    for arguments in [&COMMANDS[..3], &COMMANDS[4..5]].concat() {
        assert!(refused(&database, arguments).contains("too new"));
    }
    let unmigrated = Start::on(database).set("MIGRATE", "false");
    let message = unmigrated.refusal();
    assert!(message.contains("too new") && message.contains("catalog.db"), "{message}");
}

#[test]
fn what_may_not_be_written_is_read_or_refused_and_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = generated(&["--count", "3"]);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    mode(path(&database), 0o444);
    for arguments in [COMMANDS[2], COMMANDS[4]] {
        assert!(refused(&database, arguments).contains("readonly"));
    }
    let before = digest(path(&database));
    assert!(program(&database, &["export"]).status.success());
    assert!(program(&database, &["explain", "name=a"]).status.success());
    assert!(program(&database, &["migrate"]).status.success(), "there is nothing to write");
    assert_eq!(digest(path(&database)), before);

    // In a folder that may not be written, SQLite cannot make what the write-ahead log needs.
    for companion in ["catalog.db-wal", "catalog.db-shm"] {
        // Whoever closes the file last may have taken them away.
        let _ = fs::remove_file(database.folder.path().join(companion));
    }
    mode(database.folder.path(), 0o555);
    for arguments in COMMANDS {
        assert!(refused(&database, arguments).contains("readonly"));
    }
    mode(database.folder.path(), 0o755);
}

/// The end of the disk, wherever in the work it comes.
#[test]
fn a_full_disk_is_told_and_leaves_the_catalog_as_it_was() {
    let database = generated(&["--count", "300"]);
    let image = |number: u32| {
        format!(r#"{{"id":"3c3d1d01-b48a-4639-8a88-{number:012}","name":"{}","properties":{{}}}}"#, "n".repeat(200))
    };
    let images: Vec<String> = (0..3000).map(image).collect();
    fs::write(database.folder.path().join("images.nd"), images.join("\n")).expect("a file");
    let seeds = database.folder.path().join("seeds");
    fs::create_dir(&seeds).expect("a folder");
    let seed = "INSERT INTO images (id, name)
        WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 3000)
        SELECT printf('3c3d1d01-b48a-4639-8a88-%012d', n), 'seed' FROM g";
    fs::write(seeds.join("0001_many.sql"), seed).expect("a file");
    let size = fs::metadata(path(&database)).expect("the file is there").len();
    for command in [
        "generate --count 3000 --seed 2 --append",
        "generate --count 3000 --replace",
        "import images.nd",
        "migrate",
        "serve",
    ] {
        for room in [0, 300_000] {
            let blocks = (size + room).div_ceil(1024);
            let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" {command}");
            let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
            let output = Command::new("bash")
                .args(["-c", &limited, env!("CARGO_BIN_EXE_glimpse")])
                .current_dir(database.folder.path())
                .env("DATABASE_URL", &database.url)
                .env("SEEDS_DIR", &seeds)
                .env("LISTEN", taken.local_addr().expect("its address").to_string())
                .env("RUST_LOG", "error")
                .output()
                .expect("a shell");
            let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
            let told = message.lines().last().unwrap_or_default();
            assert!(!output.status.success(), "{command} {room}");
            assert!(told.contains("disk"), "{command} {room}: {message}");
            assert!(told.contains("catalog.db") || told.contains("0001_many.sql"), "{command} {room}: {message}");
            assert_eq!(database.count("images"), 300, "{command} {room}");
            assert_eq!(database.texts("PRAGMA integrity_check"), [Some("ok".to_owned())], "{command} {room}");
        }
    }
    assert_eq!(ask(&Start::on(database).serve()), 200);
}

/// What befalls the file of a server that has it open.
#[test]
fn a_file_that_breaks_is_a_503_whose_cause_only_the_log_tells() {
    let database = generated(&["--count", "300"]);
    let whole = fs::read(path(&database)).expect("the file can be read");
    let server = Start::on(database).serve();
    assert_eq!(ask(&server), 200);
    write_in_place(path(server.database()), &broken(&whole));
    let answer = server.get("/v1.1/images/detail?limit=10&sort_key=name");
    let message = answer.refusal(503);
    assert!(!message.contains("catalog") && !message.contains("malformed"), "{message}");
    assert!(answer.header("Retry-After").is_some());
    let log = server.log();
    assert!(log.contains("catalog.db") && log.contains("malformed"), "{log}");
    write_in_place(path(server.database()), &whole);
    assert_eq!(server.get("/v1.1/images/detail?limit=10&sort_key=name").images().len(), 10);
}

/// SQLite has the file mapped into the memory of the server.
#[test]
fn a_file_that_is_cut_off_is_a_503_until_it_is_whole_again() {
    let server = Start::on(generated(&["--count", "300"])).serve();
    let whole = fs::read(path(server.database())).expect("the file can be read");
    let list = || server.get("/v1.1/images/detail?limit=300&sort_key=name");
    let images = list().images().len();
    for length in [whole.len() - 1, whole.len() / 2, 5000, 100, 0] {
        let file = fs::File::options().write(true).open(path(server.database())).expect("the file can be opened");
        file.set_len(u64::try_from(length).expect("a length")).expect("it can be cut off");
        list().refusal(503);
        assert_eq!(server.get("/ready").status, 503, "{length}");
        assert_eq!(server.get("/healthcheck").status, 200, "{length}");
        write_in_place(path(server.database()), &whole);
        assert_eq!(list().images().len(), images, "{length}");
    }
    assert!(server.log().contains("catalog.db: the file is cut off"), "{}", server.log());
}

/// Else one connection would show the one, the next the other.
#[test]
fn another_file_in_the_place_of_the_served_one_is_a_503() {
    let server = Start::on(generated(&["--count", "300"])).serve();
    let catalog = path(server.database()).to_owned();
    let [kept, other] = ["kept.db", "other.db"].map(|name| catalog.with_file_name(name));
    fs::hard_link(&catalog, &kept).expect("it can have another name");
    fs::copy(&catalog, &other).expect("it can be copied");
    fs::rename(&other, &catalog).expect("it can be replaced");
    for target in ["/v1.1/images/detail", "/ready"] {
        server.get(target).refusal(503);
    }
    assert!(server.log().contains("catalog.db: another file"), "{}", server.log());
    // Connections may have been opened meanwhile.
    fs::rename(&kept, &catalog).expect("it can be put back");
    server.get("/ready").refusal(503);
    let server = server.stop().serve();
    assert_eq!(ask(&server), 200);
}

#[test]
fn a_file_that_is_deleted_is_served_by_what_has_it_open_and_warned_of() {
    let server = Start::on(generated(&["--count", "300"])).serve();
    assert_eq!(ask(&server), 200);
    fs::remove_file(path(server.database())).expect("it can be deleted");
    for _ in 0..2 {
        assert_eq!(ask(&server), 200);
    }
    assert_eq!(server.log().matches("is gone from its folder").count(), 1, "{}", server.log());
}

/// Whoever makes the file shorter by SQLite itself has cut nothing off.
#[test]
fn a_file_that_is_vacuumed_is_served() {
    let server = Start::on(generated(&["--count", "3000"])).serve();
    assert_eq!(ask(&server), 200);
    let length = || fs::metadata(path(server.database())).expect("the file is there").len();
    let before = length();
    server.database().execute("DELETE FROM images WHERE id > '1'; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    assert!(length() < before);
    let images = server.get("/v1.1/images?limit=1000").images().len();
    assert_eq!(images, server.database().count("images WHERE NOT deleted AND status <> 'killed'"));
}

/// As long as before.
fn broken(whole: &[u8]) -> Vec<u8> {
    whole.iter().enumerate().map(|(at, byte)| if at < 4096 { *byte } else { 0xa5 }).collect()
}

fn write_in_place(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::File::options().write(true).open(path).expect("the file can be opened");
    file.write_all(bytes).expect("the file can be written");
}
