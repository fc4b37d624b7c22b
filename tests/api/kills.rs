//! Whatever SIGKILL ends, at any moment, SQLite's file is sound, each transaction is in it whole or
//! not at all, and the next start goes on.
//!
//! `KILLS` asks for more of them, `KILLS_SEED` for other moments.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use glimpse::random::Random;

use crate::support::{Database, Engine, Start, get, set_or};

const IMAGES: usize = 2000;

fn glimpse(database: &Database, command: &str) -> Command {
    let mut glimpse = Command::new(env!("CARGO_BIN_EXE_glimpse"));
    glimpse.args(command.split(' ')).current_dir(database.folder.path()).env("DATABASE_URL", &database.url);
    glimpse.env("LISTEN", "127.0.0.1:0").env("RUST_LOG", "error").stdin(Stdio::null());
    glimpse.stdout(Stdio::null()).stderr(Stdio::null());
    glimpse
}

fn succeed(database: &Database, command: &str) {
    assert!(glimpse(database, command).status().expect("it can be run").success(), "{command}");
}

/// Ends a process at some moment of its work, which takes about as long as `whole`.
fn kill(mut child: Child, random: &mut Random, whole: Duration) -> bool {
    let moment = whole.mul_f64(f64::from(random.small(1000)) / 900.0);
    thread::sleep(moment);
    let was_at_work = child.try_wait().expect("it can be waited for").is_none();
    child.kill().expect("it can be ended");
    child.wait().expect("it ends");
    was_at_work
}

/// The names of the images of one kind, each with how many have it.
fn names(database: &Database, prefix: &str) -> Vec<String> {
    let sql =
        format!("SELECT name || ' ' || count(*) FROM images WHERE name GLOB '{prefix}*' GROUP BY name ORDER BY name");
    database.texts(sql).into_iter().flatten().collect()
}

fn file(database: &Database) -> PathBuf {
    database.folder.path().join("catalog.db")
}

/// A process that was killed at once may have made none.
fn is_sound(database: &Database) {
    if file(database).exists() {
        assert_eq!(database.texts("PRAGMA integrity_check"), [Some("ok".to_owned())]);
        assert_eq!(database.texts("PRAGMA foreign_key_check"), []);
    }
}

fn has_schema(database: &Database) -> bool {
    file(database).exists()
        && !database.texts("SELECT name FROM sqlite_schema WHERE name = 'seed_migrations'").is_empty()
}

/// Properties lead to their images, all of them and no others, whatever was taken down and built
/// anew in the middle of a filling.
fn is_complete(database: &Database) {
    let indexes = "SELECT count(*) || '' FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL";
    let whole = Database::new(Engine::Sqlite);
    succeed(&whole, "migrate");
    assert_eq!(database.texts(indexes), whole.texts(indexes));
    let properties = "SELECT count(*) || '' FROM images, json_each(properties) WHERE type = 'text'";
    assert_eq!(database.texts(properties), database.texts("SELECT count(*) || '' FROM image_properties"));
}

/// Seeds, each of which knows the one before it.
fn write_seeds(database: &Database) -> PathBuf {
    let folder = database.folder.path().join("seeds");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 1..=8 {
        let sql = format!(
            "INSERT INTO images (id, name, properties)
             WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 500)
             SELECT printf('00000000-0000-4000-8000-%04d%08d', {number}, n), 'seed-{number}', '{{\"a\": \"b\"}}' FROM g;"
        );
        fs::write(folder.join(format!("{number:04}_seed.sql")), sql).expect("a file");
    }
    folder
}

fn write_records(database: &Database, round: u64) {
    let mut records = String::new();
    for number in 0..IMAGES {
        let id = format!("11111111-0000-4000-8000-{number:012}");
        writeln!(records, r#"{{"id":"{id}","name":"import-{round}","properties":{{"round":"{round}"}}}}"#)
            .expect("a String takes all that is written");
    }
    fs::write(database.folder.path().join("records"), records).expect("a file");
}

/// Seeding: each seed is recorded with all of its images, or neither is there.
fn seeding(random: &mut Random, whole: &mut Whole) -> bool {
    let database = Database::new(Engine::Sqlite);
    let seeds = write_seeds(&database);
    let command = || {
        let mut command = glimpse(&database, "migrate");
        command.env("SEEDS_DIR", &seeds);
        command
    };
    let time = whole.of(
        "seeding",
        || Start::on(Database::new(Engine::Sqlite)),
        |start| {
            let seeds = write_seeds(&start.database);
            assert!(glimpse(&start.database, "migrate").env("SEEDS_DIR", seeds).status().expect("it runs").success());
        },
    );
    let was_at_work = kill(command().spawn().expect("it starts"), random, time);
    is_sound(&database);
    if has_schema(&database) {
        let recorded = database.texts("SELECT 'seed-' || number || ' 500' FROM seed_migrations ORDER BY number");
        let recorded: Vec<String> = recorded.into_iter().flatten().collect();
        assert_eq!(names(&database, "seed-"), recorded);
    }
    assert!(command().status().expect("it runs").success());
    assert_eq!(names(&database, "seed-").len(), 8);
    is_complete(&database);
    was_at_work
}

/// Importing: of all records, half of which change images, none or each is stored.
fn importing(random: &mut Random, whole: &mut Whole) -> bool {
    let prepare = || {
        let database = Database::new(Engine::Sqlite);
        write_records(&database, 1);
        succeed(&database, "import records");
        write_records(&database, 2);
        database
    };
    let database = prepare();
    let time = whole.of("importing", prepare, |database| succeed(database, "import records"));
    let was_at_work = kill(glimpse(&database, "import records").spawn().expect("it starts"), random, time);
    is_sound(&database);
    let found = names(&database, "import-");
    assert!(found == [format!("import-1 {IMAGES}")] || found == [format!("import-2 {IMAGES}")], "{found:?}");
    is_complete(&database);
    succeed(&database, "import records");
    assert_eq!(names(&database, "import-"), [format!("import-2 {IMAGES}")]);
    is_complete(&database);
    was_at_work
}

/// Generating on no file, where the write-ahead log is off meanwhile. The pages wait in memory up to
/// the commit, which writes them within milliseconds, so that it is waited for where `at_commit`.
fn generating_anew(random: &mut Random, whole: &mut Whole, at_commit: bool) -> bool {
    let command = format!("generate --count {IMAGES}");
    let database = Database::new(Engine::Sqlite);
    if at_commit {
        succeed(&database, "migrate");
        let file = file(&database);
        let length = || fs::metadata(&file).expect("the file is there").len();
        let (before, mut child) = (length(), glimpse(&database, &command).spawn().expect("it starts"));
        while length() == before && child.try_wait().expect("it can be waited for").is_none() {
            std::hint::spin_loop();
        }
        let was_at_work = kill(child, random, Duration::from_millis(5));
        is_whole_or_absent(&database);
        goes_on(database, &command);
        return was_at_work;
    }
    let time = whole.of("generating anew", || Database::new(Engine::Sqlite), |database| succeed(database, &command));
    let was_at_work = kill(glimpse(&database, &command).spawn().expect("it starts"), random, time);
    is_whole_or_absent(&database);
    goes_on(database, &command);
    was_at_work
}

fn is_whole_or_absent(database: &Database) {
    is_sound(database);
    if has_schema(database) {
        let count = database.count("images");
        assert!([0, IMAGES].contains(&count), "{count}");
        is_complete(database);
    }
}

/// A server turns the write-ahead log on, and the filling can be done.
fn goes_on(database: Database, command: &str) {
    let database = Start::on(database).serve().stop().database;
    assert_eq!(database.texts("PRAGMA journal_mode"), [Some("wal".to_owned())]);
    succeed(&database, &format!("{command} --replace"));
    assert_eq!(database.count("images"), IMAGES);
    is_complete(&database);
}

/// Generating over images that are there, while a server has the file open, or while none has.
fn generating_over(random: &mut Random, whole: &mut Whole, is_served: bool) -> bool {
    let prepare = || {
        let database = Database::new(Engine::Sqlite);
        succeed(&database, "generate --count 100");
        database
    };
    let command = format!("generate --count {IMAGES} --replace --seed 2");
    let database = prepare();
    let time = whole.of("generating over", prepare, |database| succeed(database, &command));
    let server = is_served.then(|| Start::new(Engine::Sqlite).set("DATABASE_URL", &database.url).serve());
    let was_at_work = kill(glimpse(&database, &command).spawn().expect("it starts"), random, time);
    let count = database.count("images");
    assert!([100, IMAGES].contains(&count), "{count}");
    if let Some(server) = server {
        assert_eq!(server.get("/v1.1/images?limit=1").status, 200);
    }
    is_sound(&database);
    is_complete(&database);
    assert_eq!(Start::on(database).serve().send(&get("/v1.1/images?limit=1")).status, 200);
    was_at_work
}

/// Serving, while another process writes: that one goes on.
fn serving(random: &mut Random, whole: &mut Whole) -> bool {
    let database = Database::new(Engine::Sqlite);
    succeed(&database, "generate --count 100");
    let time = whole.of("serving", || (), |()| thread::sleep(Duration::from_millis(400)));
    let server = Start::new(Engine::Sqlite).set("DATABASE_URL", &database.url).serve();
    let mut writer =
        glimpse(&database, &format!("generate --count {IMAGES} --append --seed 2")).spawn().expect("it starts");
    let asked = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            // The last one is cut off.
            let mut answers = 0;
            while std::net::TcpStream::connect(&server.address).is_ok_and(|stream| {
                use std::io::Read as _;
                let mut stream = stream;
                let request = "GET /v1.1/images/detail?limit=50 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                let mut answer = String::new();
                stream.write_all(request.as_bytes()).is_ok() && stream.read_to_string(&mut answer).is_ok()
            }) {
                answers += 1;
            }
            answers
        });
        thread::sleep(time.mul_f64(f64::from(random.small(1000)) / 900.0));
        server.signal("KILL");
        asking.join().expect("the client ends")
    });
    assert!(writer.wait().expect("it ends").success());
    is_sound(&database);
    assert_eq!(database.count("images"), 100 + IMAGES);
    is_complete(&database);
    assert_eq!(Start::on(database).serve().send(&get("/v1.1/images?limit=1")).status, 200);
    asked > 0
}

/// How long each kind of work takes on this machine, when it is left alone.
struct Whole(Vec<(&'static str, Duration)>);

impl Whole {
    fn of<T>(&mut self, kind: &'static str, prepare: impl FnOnce() -> T, work: impl FnOnce(&T)) -> Duration {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == kind) {
            return *known;
        }
        let prepared = prepare();
        let started = Instant::now();
        work(&prepared);
        self.0.push((kind, started.elapsed()));
        started.elapsed()
    }
}

#[test]
fn a_killed_process_leaves_a_sound_file_with_whole_transactions() {
    let (kills, seed) = (set_or("KILLS", 12), set_or("KILLS_SEED", 1));
    let mut whole = Whole(Vec::new());
    let mut at_work = 0;
    for kill in 0..kills {
        let mut random = Random::new(seed, kill);
        at_work += u64::from(match kill % 6 {
            0 => generating_anew(&mut random, &mut whole, kill % 12 == 0),
            1 => seeding(&mut random, &mut whole),
            2 => importing(&mut random, &mut whole),
            3 => generating_over(&mut random, &mut whole, false),
            4 => generating_over(&mut random, &mut whole, true),
            _ => serving(&mut random, &mut whole),
        });
    }
    let line = format!("note: {kills} kills, of which {at_work} in the middle of work, seed {seed}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    // How many there are depends on what else the machine does, and a few say nothing.
    let least = if kills < 100 { 1 } else { kills / 2 };
    assert!(at_work >= least, "too few are in the middle of work: {at_work} of {kills}");
}
