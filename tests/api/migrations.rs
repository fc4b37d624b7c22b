//! The schema: it is brought in whole or not at all, and the log tells of what takes long.

use sha2::{Digest as _, Sha384};

use crate::support::{Engine, Start, on_both_engines};

/// What the log says of indexes.
fn told(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split_once("building index ")).map(|(_, told)| told).collect()
}

/// The messages of `glimpse migrate`, and whether it went well.
fn migrate(start: &Start) -> (String, bool) {
    let output = start.output();
    (String::from_utf8(output.stderr).expect("messages are UTF-8"), output.status.success())
}

/// The names of all indexes that are no constraint's, sorted.
fn indexes(start: &Start) -> Vec<String> {
    let indexes = start.database.texts(match start.database.engine {
        Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
        Engine::Postgres => {
            "SELECT relname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
             WHERE relnamespace = 'public'::regnamespace AND NOT indisunique ORDER BY relname COLLATE \"C\""
        }
    });
    indexes.into_iter().flatten().collect()
}

fn the_log_names_and_counts_each_index_as_it_is_built(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    let (log, good) = migrate(&start);
    assert!(good, "{log}");
    let indexes = indexes(&start);
    let told = told(&log);
    let count = told.len();
    let mut named = Vec::new();
    for (place, told) in told.iter().enumerate() {
        let name = told.strip_prefix(&format!("{} of {count}: ", place + 1));
        named.push(name.unwrap_or_else(|| panic!("{told}")));
    }
    // A later migration may build one in place of another.
    let unnamed: Vec<String> = indexes.into_iter().filter(|index| !named.contains(&index.as_str())).collect();
    assert_eq!(unnamed, Vec::<String>::new());

    let (log, good) = migrate(&start);
    assert!(good && !log.contains("index"), "{log}");
    let log = Start::on(start.database).serve().log();
    assert!(!log.contains("index"), "{log}");
    assert_eq!(self::told(&Start::new(engine).serve().log()), told);
}
on_both_engines!(the_log_names_and_counts_each_index_as_it_is_built);

/// Databases that were made by another version of the program stay valid.
fn a_migration_is_recorded_by_the_checksum_of_its_file(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    let (folder, checksum) = match engine {
        Engine::Sqlite => ("sqlite", "lower(hex(checksum))"),
        Engine::Postgres => ("postgres", "encode(checksum, 'hex')"),
    };
    let folder = std::fs::read_dir(format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR")));
    let mut files: Vec<_> = folder.expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected: Vec<Option<String>> =
        files.iter().map(|file| Some(hex(&Sha384::digest(std::fs::read(file).expect("a file"))))).collect();
    let records = format!("SELECT {checksum} FROM _sqlx_migrations WHERE success ORDER BY version");
    assert_eq!(start.database.texts(records), expected);

    start.database.execute(
        "UPDATE _sqlx_migrations SET checksum = first.checksum FROM _sqlx_migrations AS first WHERE first.version = 1",
    );
    let (log, good) = migrate(&start);
    assert!(!good && log.contains("migration 2 was previously applied but has been modified"), "{log}");
}
on_both_engines!(a_migration_is_recorded_by_the_checksum_of_its_file);

fn a_migration_that_fails_leaves_no_trace(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    // Its first index can be built, its second is there.
    start.database.execute("DELETE FROM _sqlx_migrations WHERE version = 2; DROP INDEX images_by_created_at");
    let before = indexes(&start);
    let (log, good) = migrate(&start);
    assert!(!good && log.contains("images_by_size") && log.contains("already exists"), "{log}");
    assert_eq!(told(&log).len(), 2, "{log}");
    assert_eq!(indexes(&start), before);
    assert!(Start::on(start.database).set("MIGRATE", "false").refusal().contains("0002_indexes"));
}
on_both_engines!(a_migration_that_fails_leaves_no_trace);
