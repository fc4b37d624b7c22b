//! Brings the schema and the seeds into a database: each once, each whole or not at all, and
//! processes that start together take turns.
//!
//! The schema is recorded by sqlx in `_sqlx_migrations`, the seeds by us in `seed_migrations`,
//! because sqlx skips files of other names silently, honours a line that turns the transaction
//! off, does not see two equal numbers and does not lock SQLite.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use sha2::{Digest as _, Sha256};
use sqlx::error::DatabaseError;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType};
use sqlx::{AssertSqlSafe, Connection, Database, PgConnection, SqlSafeStr as _, SqliteConnection, Transaction};

use super::Target;
use super::error::{is_locked, said};
use super::file::patient;
use super::pool::{can_look_for_the_client, look_for_the_client};

/// A migration of the schema.
struct Step {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! schema {
    ($($number:literal $name:literal),+ $(,)?) => {
        [$(Step {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }),+]
    };
}

/// Every file of `migrations/sqlite` and `migrations/postgres`.
const SCHEMA: [Step; 8] = schema![
    1 "0001_images",
    2 "0002_indexes",
    3 "0003_properties",
    4 "0004_covered_walks",
    5 "0005_covered_orders",
    6 "0006_deleted_apart",
    7 "0007_named_formats",
    8 "0008_shown_in_order"
];

/// Where sqlx records the migrations of the schema.
const RECORDS: &str = "_sqlx_migrations";

/// Any constant that no other program locks by; the bytes of "glimpse".
const ADVISORY_LOCK: i64 = 0x67_6c69_6d70_7365;

impl Target {
    /// Brings the schema up to date and applies the seeds in `seeds` that are not recorded yet.
    ///
    /// # Errors
    /// A database of a newer schema, and every seed that is refused, by us or by the database, by the
    /// file's name. Seeds before it stay; it leaves no trace.
    pub async fn migrate(&self, seeds: Option<&Path>) -> anyhow::Result<()> {
        let seeds = seeds.map_or_else(|| Ok(Vec::new()), Seed::list)?;
        match self {
            Self::Sqlite(options) => {
                // Another process may be seeding for as long as it takes.
                let patient = patient(options).create_if_missing(true);
                let prepared = async {
                    let mut connection = SqliteConnection::connect_with(&patient).await?;
                    // A file that is refused stays as it is.
                    check_known(&present(&mut connection).await?)?;
                    write_ahead(&mut connection).await?;
                    let recorded = bring(&mut connection).await?;
                    Ok((connection, recorded))
                };
                let (connection, recorded) = self.naming(prepared.await)?;
                apply(connection, &seeds, &recorded).await
            }
            Self::Postgres(options) => {
                let mut connection = PgConnection::connect_with(options).await?;
                let recorded = bring(&mut connection).await?;
                apply(connection, &seeds, &recorded).await
            }
        }
    }

    /// Refuses a database whose schema is not the one that this program was built for.
    ///
    /// # Errors
    /// Says whether the schema is too old or too new, or that PostgreSQL has not told within `connect`.
    pub async fn check_schema(&self, connect: Duration) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(options) => {
                let checked = async { check_schema(SqliteConnection::connect_with(&patient(options)).await?).await };
                self.naming(checked.await)
            }
            Self::Postgres(options) => {
                let checked = async { check_schema(PgConnection::connect_with(options).await?).await };
                let checked = tokio::time::timeout(connect, checked).await;
                checked.with_context(|| {
                    format!("PostgreSQL did not tell its schema within {connect:?} (CONNECT_TIMEOUT)")
                })?
            }
        }
    }
}

/// So many attempts are a wait of a second, longer than two processes that start together need.
const A_WHILE: u32 = 50;

/// Turns the write-ahead log on, with which readers never wait for a writer; the file remembers it.
pub(super) async fn write_ahead(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    for attempt in 0_u32.. {
        // SQLite does not wait here for another process that does the same: it is locked at once.
        match sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await {
            Ok(_) => break,
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| is_locked(&code)) => {
                if attempt == A_WHILE {
                    tracing::info!("another process fills the SQLite database; waiting for its end");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => bail!("It cannot be written: {}.", said(&error)),
        }
    }
    Ok(())
}

/// The migrations that are recorded in a file of SQLite, read without touching it.
async fn present(connection: &mut SqliteConnection) -> anyhow::Result<Vec<AppliedMigration>> {
    let has_records = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = $1").bind(RECORDS);
    match has_records.fetch_optional(&mut *connection).await? {
        Some(_) => Ok(connection.list_applied_migrations(RECORDS).await?),
        None => Ok(Vec::new()),
    }
}

/// Brings the schema up to date, whole or not at all; the seeds that are recorded then.
async fn bring<C: Seedable>(connection: &mut C) -> anyhow::Result<Vec<Record>> {
    let mut transaction = connection.begin_alone().await.map_err(|error| {
        // PostgreSQL supports no transaction that writes then.
        let is_standby = error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "0A000");
        if is_standby {
            anyhow!(
                "The database is a read-only standby; MIGRATE=false serves it, once `glimpse migrate` has brought the \
                 schema up to date where it can be written."
            )
        } else {
            error.into()
        }
    })?;
    bring_schema::<C>(&mut transaction).await?;
    let recorded = C::recorded(&mut transaction).await?;
    transaction.commit().await?;
    Ok(recorded)
}

/// Applies the seeds that are not recorded yet, each whole or not at all.
async fn apply<C: Seedable>(mut connection: C, seeds: &[Seed], recorded: &[Record]) -> anyhow::Result<()> {
    for seed in seeds {
        seed.check_record(recorded)?;
    }
    for seed in seeds {
        let mut transaction = connection.begin_alone().await?;
        if !seed.check_record(&C::recorded(&mut transaction).await?)? {
            C::apply_seed(&mut transaction, seed).await?;
            transaction.commit().await.with_context(|| seed.named("cannot be committed"))?;
            tracing::info!(file = seed.file, "seed {} applied", seed.file);
        }
    }
    Ok(connection.close().await?)
}

/// Runs the migrations that are not recorded yet, and records them as sqlx does. sqlx itself would
/// run each as one text, but on a large table an index takes minutes, so that the log names each as
/// its turn comes.
async fn bring_schema<C: Seedable>(connection: &mut C) -> anyhow::Result<()> {
    let failed = |error: MigrateError| anyhow!("The schema could not be brought up to date: {error}.");
    connection.ensure_migrations_table(RECORDS).await.map_err(failed)?;
    let applied = connection.applied().await.map_err(failed)?;
    check_known(&applied)?;
    let mut new = Vec::new();
    for step in &SCHEMA {
        let text = C::text(step);
        let migration =
            Migration::new(step.number, step.name.into(), MigrationType::Simple, text.into_sql_str(), false);
        match applied.iter().find(|applied| applied.version == step.number) {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(failed(MigrateError::VersionMismatch(step.number))),
            None => new.push((migration, parts(text))),
        }
    }

    let of = new.iter().flat_map(|(_, parts)| parts).filter(|part| part.index.is_some()).count();
    let mut number = 0;
    for (migration, parts) in &new {
        tracing::info!("migration {}", migration.description);
        for part in parts {
            if let Some(index) = part.index {
                number += 1;
                tracing::info!("building index {number} of {of}: {index}");
            }
            let run = connection.run(part.text).await;
            run.map_err(|error| failed(MigrateError::ExecuteMigration(error, migration.version)))?;
        }
        connection.record(migration).await.map_err(failed)?;
    }
    Ok(())
}

/// A part of a migration's text.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// The index that it makes, with whatever else it does after that.
    index: Option<&'static str>,
    text: &'static str,
}

/// Cuts a migration before each line that makes an index. No other end of a statement is looked
/// for, because functions and triggers have such within them.
fn parts(text: &'static str) -> Vec<Part> {
    const CREATE_INDEX: &str = "\nCREATE INDEX ";
    let mut cuts: Vec<usize> = text.match_indices(CREATE_INDEX).map(|(place, _)| place).collect();
    cuts.insert(0, 0);
    cuts.push(text.len());
    let texts = cuts.array_windows().map(|[start, end]| &text[*start..*end]);
    let index = |text: &'static str| text.strip_prefix(CREATE_INDEX)?.split_whitespace().next();
    texts.map(|text| Part { index: index(text), text }).collect()
}

async fn check_schema<C: Seedable>(mut connection: C) -> anyhow::Result<()> {
    let mut transaction = connection.begin_with(C::READING).await?;
    let applied = transaction.applied().await.map_err(|error| {
        let error = anyhow::Error::from(error);
        // Each of the errors before it says the same again.
        anyhow!("The database has no Glimpse schema; `glimpse migrate` makes it: {}.", error.root_cause())
    })?;
    transaction.commit().await?;
    check_known(&applied)?;
    if let Some(step) = SCHEMA.iter().find(|step| applied.iter().all(|applied| applied.version != step.number)) {
        bail!("The database's schema is too old: it lacks {}; `glimpse migrate` brings it up to date.", step.name);
    }
    Ok(connection.close().await?)
}

fn check_known(applied: &[AppliedMigration]) -> anyhow::Result<()> {
    match applied.iter().find(|applied| SCHEMA.iter().all(|step| step.number != applied.version)) {
        Some(AppliedMigration { version, .. }) => {
            bail!("The database's schema is too new: this Glimpse does not know its migration {version}.")
        }
        None => Ok(()),
    }
}

/// Transactions for work that is more than a query.
pub(super) trait Alone: Connection<Database: Database<Connection = Self>> {
    /// Begins one that only reads, for as long as it takes.
    const READING: &str;

    /// Begins one that a single process at a time can have.
    async fn begin_alone(&mut self) -> sqlx::Result<Transaction<'_, Self::Database>>;
}

/// What the engines do differently. All of it happens inside such a transaction.
trait Seedable: Alone + Migrate + Sized {
    fn text(step: &Step) -> &'static str;

    /// The migrations that are recorded.
    async fn applied(&mut self) -> Result<Vec<AppliedMigration>, MigrateError> {
        self.list_applied_migrations(RECORDS).await
    }

    /// Records a migration.
    async fn record(&mut self, migration: &Migration) -> Result<(), MigrateError> {
        self.skip(RECORDS, migration).await
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()>;

    async fn recorded(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<Vec<Record>>;

    async fn apply_seed(transaction: &mut Transaction<'_, Self::Database>, seed: &Seed) -> anyhow::Result<()>;
}

const RECORDED: &str = "SELECT number, name, checksum FROM seed_migrations";
const RECORD: &str = "INSERT INTO seed_migrations (number, name, checksum) VALUES ($1, $2, $3)";

impl Alone for SqliteConnection {
    const READING: &str = "BEGIN";

    async fn begin_alone(&mut self) -> sqlx::Result<Transaction<'_, Self::Database>> {
        self.begin_with("BEGIN IMMEDIATE").await
    }
}

impl Alone for PgConnection {
    const READING: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL jit = off";

    async fn begin_alone(&mut self) -> sqlx::Result<Transaction<'_, Self::Database>> {
        // Each statement must see what was committed while it waited for the lock. It takes as long as
        // it takes, whatever time-outs the role has for queries.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0; \
            SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
        let mut transaction = self.begin_with(begin).await?;
        if can_look_for_the_client(&transaction) {
            // Else it would finish a seed, or an index, before it noticed that nobody waits. Some systems
            // cannot tell, and refuse it, which must not be the end of the transaction.
            let mut attempt = transaction.begin().await?;
            match sqlx::raw_sql(look_for_the_client!("SET LOCAL")).execute(&mut *attempt).await {
                Ok(_) => attempt.commit().await?,
                Err(_) => attempt.rollback().await?,
            }
        }
        let lock = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(ADVISORY_LOCK).persistent(false);
        if !lock.fetch_one(&mut *transaction).await? {
            tracing::info!("another process changes the PostgreSQL database; waiting for its end");
            let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ADVISORY_LOCK).persistent(false);
            lock.execute(&mut *transaction).await?;
        }
        Ok(transaction)
    }
}

impl Seedable for SqliteConnection {
    fn text(step: &Step) -> &'static str {
        step.sqlite
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(self).await.map(drop)
    }

    async fn recorded(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<Vec<Record>> {
        sqlx::query_as(RECORDED).fetch_all(&mut **transaction).await
    }

    async fn apply_seed(transaction: &mut Transaction<'_, Self::Database>, seed: &Seed) -> anyhow::Result<()> {
        let text = seed.read()?;
        // While the seed runs, nothing can be committed: a COMMIT of its own fails, and so does
        // every statement after a ROLLBACK of its own.
        let committed = Arc::new(AtomicBool::new(false));
        let rolled_back = Arc::new(AtomicBool::new(false));
        let (on_commit, on_rollback) = (Arc::clone(&committed), Arc::clone(&rolled_back));
        let mut handle = transaction.lock_handle().await?;
        handle.set_commit_hook(move || {
            on_commit.store(true, Ordering::Relaxed);
            false
        });
        handle.set_rollback_hook(move || on_rollback.store(true, Ordering::Relaxed));
        drop(handle);
        let run = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **transaction).await;
        let mut handle = transaction.lock_handle().await?;
        handle.remove_commit_hook();
        handle.remove_rollback_hook();
        drop(handle);
        // A failing statement may roll back by itself, and is then what to tell.
        let ended = committed.load(Ordering::Relaxed) || (run.is_ok() && rolled_back.load(Ordering::Relaxed));
        ensure!(!ended, seed.named(ENDS_TRANSACTION));
        run.map_err(|error| anyhow!(seed.named(&format!("fails: {}", said(&error)))))?;
        let record = sqlx::query(RECORD).bind(seed.number).bind(&seed.name).bind(&seed.checksum);
        let recorded = record.execute(&mut **transaction).await;
        recorded.map(drop).map_err(|error| anyhow!(seed.named(&format!("cannot be recorded: {}", said(&error)))))
    }
}

impl Seedable for PgConnection {
    fn text(step: &Step) -> &'static str {
        step.postgres
    }

    // As sqlx does both, but it names its statements, which behind a pooler may be those of others.
    async fn applied(&mut self) -> Result<Vec<AppliedMigration>, MigrateError> {
        let applied = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations ORDER BY version");
        let applied: Vec<(i64, Vec<u8>)> = applied.persistent(false).fetch_all(self).await?;
        Ok(applied
            .into_iter()
            .map(|(version, checksum)| AppliedMigration { version, checksum: checksum.into() })
            .collect())
    }

    async fn record(&mut self, migration: &Migration) -> Result<(), MigrateError> {
        let record = sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ($1, $2, TRUE, $3, -1)",
        );
        let record = record.bind(migration.version).bind(&*migration.description).bind(&*migration.checksum);
        record.persistent(false).execute(self).await?;
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(self).await.map(drop)
    }

    async fn recorded(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<Vec<Record>> {
        sqlx::query_as(RECORDED).persistent(false).fetch_all(&mut **transaction).await
    }

    async fn apply_seed(transaction: &mut Transaction<'_, Self::Database>, seed: &Seed) -> anyhow::Result<()> {
        let text = seed.read()?;
        let failed = |error: sqlx::Error| anyhow!(seed.named(&format!("fails: {}", said(&error))));
        let give = sqlx::query("SELECT set_config('glimpse.seed', $1, TRUE)").bind(text);
        give.persistent(false).execute(&mut **transaction).await.map_err(failed)?;
        // Inside EXECUTE no statement can begin or end a transaction.
        let run = sqlx::raw_sql("DO $$ BEGIN EXECUTE current_setting('glimpse.seed'); END $$")
            .execute(&mut **transaction)
            .await;
        run.map_err(|error| {
            let message = said(&error);
            // PostgreSQL's words depend on its language; the code is "feature not supported".
            let unsupported =
                error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "0A000");
            let hint = if unsupported { "; each seed runs in a transaction of its own, whole" } else { "" };
            let reason = format!("fails: {message}{hint}");
            anyhow!(seed.named(&reason))
        })?;
        // What the seed has set, such as a search path, is not for the next one.
        let reset = sqlx::raw_sql("SET SESSION AUTHORIZATION DEFAULT; RESET ALL").execute(&mut **transaction).await;
        reset.map_err(failed)?;
        let record = sqlx::query(RECORD).bind(seed.number).bind(&seed.name).bind(&seed.checksum);
        let recorded = record.persistent(false).execute(&mut **transaction).await;
        recorded.map(drop).map_err(|error| anyhow!(seed.named(&format!("cannot be recorded: {}", said(&error)))))
    }
}

/// A recorded seed: number, name and checksum.
type Record = (i64, String, String);

const ENDS_TRANSACTION: &str = "begins, ends or turns off a transaction; each seed runs in one of its own";

/// A file `NUMBER_name.sql` of the seeds' folder.
#[derive(Debug)]
struct Seed {
    number: i64,
    name: String,
    file: String,
    path: PathBuf,
    /// SHA-256 of the file, in hex.
    checksum: String,
}

impl Seed {
    /// The seeds of a folder in the order of their numbers. Files not ending in `.sql` are none.
    ///
    /// # Errors
    /// A `*.sql` file of another form of name, and a number used twice.
    fn list(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let read = || format!("The folder of seeds {} (SEEDS_DIR) cannot be read", folder.display());
        let mut seeds: Vec<Self> = Vec::new();
        for entry in fs::read_dir(folder).with_context(read)? {
            let path = entry.with_context(read)?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !file.to_ascii_lowercase().ends_with(".sql") {
                continue;
            }
            let Some((number, name)) = number_and_name(&file) else {
                bail!(
                    "The seed {file} in {} is not named NUMBER_name.sql in ASCII without blanks, such as 0001_demo.sql.",
                    folder.display()
                );
            };
            let bytes = fs::read(&path).with_context(|| format!("The seed {file} cannot be read"))?;
            seeds.push(Self { number, name, checksum: checksum(&bytes), file, path });
        }
        seeds.sort_by(|a, b| (a.number, &a.file).cmp(&(b.number, &b.file)));
        if let Some([first, second]) = seeds.array_windows().find(|[first, second]| first.number == second.number) {
            bail!("The seeds {} and {} have the same number, {}.", first.file, second.file, first.number);
        }
        Ok(seeds)
    }

    fn named(&self, reason: &str) -> String {
        format!("The seed {} {reason}.", self.file)
    }

    /// Whether the seed has been applied, just as its file is now.
    fn check_record(&self, recorded: &[Record]) -> anyhow::Result<bool> {
        let Some((_, name, checksum)) = recorded.iter().find(|(number, ..)| *number == self.number) else {
            return Ok(false);
        };
        ensure!(
            *name == self.name,
            self.named(&format!("has the number {}, which is recorded for a seed named {name}", self.number))
        );
        ensure!(
            *checksum == self.checksum,
            self.named("was changed after it was applied; put it back, and say what is new in a seed of its own")
        );
        Ok(true)
    }

    /// The statements of the seed.
    fn read(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.path).with_context(|| self.named("cannot be read"))?;
        ensure!(checksum(&bytes) == self.checksum, self.named("changed while it was being applied"));
        let text = String::from_utf8(bytes).map_err(|_| anyhow!(self.named("is not UTF-8")))?;
        ensure!(!text.contains('\0'), self.named("contains a NUL character"));
        let off = text.lines().any(|line| line.trim_start().starts_with("-- no-transaction"));
        ensure!(!off, self.named(ENDS_TRANSACTION));
        Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
    }
}

/// The two parts of `0001_demo.sql`.
fn number_and_name(file: &str) -> Option<(i64, String)> {
    let (number, name) = file.strip_suffix(".sql")?.split_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if is_number && is_name { Some((number.parse().ok()?, name.to_owned())) } else { None }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all that is written");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::{Part, SCHEMA, parts};

    #[test]
    fn every_migration_is_embedded() {
        for engine in ["sqlite", "postgres"] {
            let folder = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
            let files = fs::read_dir(folder).expect("a folder of migrations").map(|entry| entry.expect("an entry"));
            let files: BTreeSet<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
            assert_eq!(files, SCHEMA.iter().map(|step| format!("{}.sql", step.name)).collect(), "{engine}");
        }
    }

    #[test]
    fn a_migration_is_cut_where_it_makes_an_index_and_nowhere_else() {
        let trigger = "CREATE TRIGGER a AFTER INSERT ON b\nBEGIN\n    DELETE FROM c; DELETE FROM d;\nEND;";
        let function = "\nCREATE FUNCTION e() AS $$ BEGIN\n    CREATE INDEX f ON g (h);\nEND $$;";
        let text = [trigger, "\nCREATE INDEX i\n    ON b (j);", function, "\nCREATE INDEX k ON b (l);\n"].concat();
        let text: &'static str = text.leak();
        let (first, second) = (text.find("\nCREATE INDEX i").expect("i"), text.find("\nCREATE INDEX k").expect("k"));
        assert_eq!(
            parts(text),
            [
                Part { index: None, text: &text[..first] },
                Part { index: Some("i"), text: &text[first..second] },
                Part { index: Some("k"), text: &text[second..] },
            ]
        );
    }

    #[test]
    fn every_index_of_a_migration_begins_a_part() {
        for text in SCHEMA.iter().flat_map(|step| [step.sqlite, step.postgres]) {
            let statements = text.lines().filter(|line| line.trim_start().starts_with("CREATE"));
            let indexes = statements.filter(|line| line.contains(" INDEX")).count();
            assert_eq!(parts(text).iter().filter(|part| part.index.is_some()).count(), indexes, "{text}");
        }
    }
}
