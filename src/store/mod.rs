//! The catalog in SQLite or PostgreSQL. Only this module knows SQL.
//!
//! `sql` compiles queries, `migrate` brings schema and seeds in, `bulk` many images at once,
//! `measure` counts, `file` minds SQLite's file; this one runs what they make.
//! The page of a query is one row with one text: the documents that the database itself keeps
//! ready, joined.

mod bulk;
mod export;
mod file;
mod measure;
mod migrate;
mod plan;
mod pool;
mod sql;
mod upsert;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::future::Future;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgErrorPosition};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection};
use thiserror::Error;
use tokio::sync::watch;
use uuid::Uuid;

pub use bulk::{Filled, Present, Step};
pub use export::{Exported, portable_sql};
pub use file::Hold;
use file::{Known, lengths, patient};
use measure::{Kind, Measures, Watched};
use plan::Search;
pub use plan::{Choice, Finding, Traced};
use pool::{Pool, look_for_the_client};
use sql::{Compiled, Dialect, Sql};
pub use sql::{Path, Plan, Projection, Selection};
pub use upsert::{Counts, OnConflict, Record, Rules, Told, Upserted};

use crate::query::{ImageQuery, View};

/// Why the catalog gave no answer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No image with the marker's id is there for this caller to name.
    #[error("The value '{0}' of marker is not accepted: no image that you can see has this id.")]
    MarkerNotFound(Uuid),
    /// The database cannot be reached, is overloaded, or took too long; a later try may succeed.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// The query took too long, or somebody had the database end it; its connection can be used again.
    #[error("the database ended the query: {0}")]
    Interrupted(String),
    /// Anything else, which a later try would meet again.
    #[error("the database failed: {0}")]
    Internal(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Self::Unavailable(said(&error)),
            sqlx::Error::Database(database) => match database.code() {
                Some(code) if is_interrupt(&code) => Self::Interrupted(said(&error)),
                Some(code) if is_passing(&code) || is_of_the_file(&code) => Self::Unavailable(said(&error)),
                _ => Self::Internal(error),
            },
            _ => Self::Internal(error),
        }
    }
}

/// A statement that was cancelled (57014), or interrupted (9).
fn is_interrupt(code: &str) -> bool {
    ["57014", "9"].contains(&code)
}

/// PostgreSQL: lost connections (08), conflicts such as with the recovery of a standby (40), out
/// of resources (53), operator intervention such as a shutdown (57), files that cannot be read (58) or
/// are broken (XX001, XX002), which somebody has to mend. SQLite: interrupted (9) or locked,
/// its extended codes keeping the plain ones in the lowest byte.
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "40", "53", "57", "58", "XX001", "XX002"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 9) || is_locked(code)
}

/// Another process has locked SQLite's file, or has so often that its turn never came (15).
fn is_locked(code: &str) -> bool {
    code.len() != 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 15))
}

/// What SQLite says where something is the matter with its file: it may not be written (8), cannot be
/// read (10), is broken (11), has no room (13), cannot be opened (14), is no database (26). Somebody has
/// to mend it, and then queries are answered again.
fn is_of_the_file(code: &str) -> bool {
    code.len() != 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 8 | 10 | 11 | 13 | 14 | 26))
}

/// What the database did to long work, in a sentence.
#[derive(Debug, Error)]
#[error("{0}")]
struct Failed(String);

/// A page of a list, as the API sends it.
#[derive(Debug)]
pub struct Page {
    /// `{"images":[...]}`, compact UTF-8 JSON.
    pub json: String,
    /// How many images that are.
    pub images: u64,
    /// The last image of the page, if more follow it.
    pub next: Option<Uuid>,
}

impl Page {
    /// Takes the first `limit` of the documents that `joined` holds, one a line.
    ///
    /// Bytes, because SQLite stores any as text that an SQL cast says are text; those that are no
    /// UTF-8 are shown as U+FFFD.
    fn new(joined: Option<&[u8]>, limit: u32) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Identified {
            id: Uuid,
        }

        let limit = usize::try_from(limit).expect("a page fits in memory");
        let joined = joined.unwrap_or_default();
        // Nearly always valid, which is told faster than it is mended.
        let joined = str::from_utf8(joined).map_or_else(|_| String::from_utf8_lossy(joined), Cow::Borrowed);
        let mut json = String::with_capacity(joined.len() + 16);
        json.push_str("{\"images\":[");
        let mut documents = joined.lines();
        let (mut last, mut images) = ("", 0);
        for document in documents.by_ref().take(limit) {
            if images > 0 {
                json.push(',');
            }
            json.push_str(document);
            last = document;
            images += 1;
        }
        json.push_str("]}");
        let next = match documents.next() {
            Some(_) if limit > 0 => {
                let last: Identified = serde_json::from_str(last)
                    .map_err(|error| StoreError::Internal(sqlx::Error::Decode(Box::new(error))))?;
                Some(last.id)
            }
            _ => None,
        };
        Ok(Self { json, images, next })
    }
}

/// How much of a SQLite file is mapped into memory, in bytes: all of any file. The library's own
/// limit may be lower.
const MAPPED: &str = "1099511627776";

/// The statements that a connection keeps compiled: about one for every set of filters in
/// use, with and without a marker.
const STATEMENTS: usize = 400;

/// What may follow the `?` in a URL of PostgreSQL.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Where the catalog lies: `DATABASE_URL`, understood.
#[derive(Clone, Debug)]
pub enum Target {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

/// How many connections a store holds, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The size of the pool; chosen by engine where `None`.
    pub connections: Option<u32>,
    /// The longest wait for a connection of the pool.
    pub acquire: Duration,
    /// The longest time that one query may run.
    pub query: Duration,
    /// Whether a pooler stands before PostgreSQL that may give each transaction another connection.
    pub pooled: bool,
    /// The rows, times the square root of the size of the page, that a walk in the order of the
    /// page passes over before another plan is looked for.
    pub walk: u32,
}

impl Target {
    /// Reads `sqlite://PATH` or `postgres://...`.
    ///
    /// # Errors
    /// A sentence that names `DATABASE_URL` and what it takes; nothing that could be a secret.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        const ACCEPTED: &str = "it takes sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url)
                    .map_err(|_| anyhow!("The path in DATABASE_URL cannot be read; {ACCEPTED}."))?;
                let path = url.trim_start_matches("sqlite://").split('?').next().unwrap_or_default();
                if path.is_empty() || path == ":memory:" || url.contains("mode=memory") {
                    bail!(
                        "DATABASE_URL names no file, and in memory each connection would have a database of its own; \
                         {ACCEPTED}."
                    );
                }
                // Nothing here makes SQLite look into the file, which another process may have locked.
                Ok(Self::Sqlite(
                    options
                        .create_if_missing(false)
                        .busy_timeout(Duration::from_secs(5))
                        .foreign_keys(true)
                        .pragma("mmap_size", MAPPED)
                        .statement_cache_capacity(STATEMENTS)
                        .disable_statement_logging(),
                ))
            }
            "postgres" | "postgresql" => {
                // A password with an unescaped / ? or # ends too early, and its rest is taken for something
                // else: a name that must not be shown.
                let (path, parameters) = url.split_once('?').unwrap_or((url, ""));
                let after_host = path.splitn(4, '/').nth(3).unwrap_or_default();
                let is_unknown = |pair: &str| !PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
                ensure!(
                    !after_host.contains('@')
                        && !parameters.split('&').any(|pair| pair.contains('@') && is_unknown(pair)),
                    "The value of DATABASE_URL, '{scheme}://...', cannot be read: in a user and a password / ? # and @ \
                     are written as %2F %3F %23 and %40."
                );
                // The library ignores what it does not know, and logs it with its value.
                let names = parameters.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
                if let Some(unknown) = names.into_iter().find(|name| !name.is_empty() && !PARAMETERS.contains(name)) {
                    bail!("DATABASE_URL has the parameter {unknown}; it takes {}.", PARAMETERS.join(", "));
                }
                let options = PgConnectOptions::from_str(url)
                    .map_err(|_| anyhow!("The value of DATABASE_URL, '{scheme}://...', cannot be read; {ACCEPTED}."))?;
                // A pooler knows nothing of digits; no number here has any after its point.
                let options = options.application_name("glimpse").disable_statement_logging().extra_float_digits(None);
                // Behind a pooler another transaction may have another server, which knows no
                // statement of this one. A single piece of work has little use for it anyway.
                Ok(Self::Postgres(options.statement_cache_capacity(0)))
            }
            _ => bail!("The value of DATABASE_URL is not accepted; {ACCEPTED}."),
        }
    }

    /// Waits until the database answers. A file is created only where `create` says so.
    ///
    /// # Errors
    /// What the database said last, when it does not answer in time or never will.
    pub async fn reach(&self, create: bool, connect: Duration) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(options) => {
                let path = options.get_filename();
                if !create && !path.exists() {
                    bail!("The SQLite database {} is not there; `glimpse migrate` makes it.", path.display());
                }
                let options = options.clone().create_if_missing(create).busy_timeout(Duration::from_secs(1));
                loop {
                    let error = match lengths(&options).await {
                        Ok((length, whole)) => {
                            let path = path.display();
                            ensure!(
                                length >= whole,
                                "The SQLite database {path} is cut off: it has {length} bytes, and should have {whole}."
                            );
                            return Ok(());
                        }
                        Err(error) => error,
                    };
                    let reason = said(&error);
                    if !error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| is_locked(&code)) {
                        bail!("The SQLite database {} cannot be opened: {reason}.", path.display());
                    }
                    tracing::warn!(path = %path.display(), %reason, "waiting for another process that has locked SQLite's file");
                }
            }
            Self::Postgres(options) => {
                let deadline = Instant::now() + connect;
                let place = format!("{}:{}", options.get_host(), options.get_port());
                loop {
                    let until = deadline.min(Instant::now() + ATTEMPT);
                    let reason = match tokio::time::timeout_at(until.into(), encoding(options)).await {
                        Ok(Ok(encoding)) => {
                            ensure!(encoding == "UTF8", "The database's encoding is {encoding}; it must be UTF8.");
                            return Ok(());
                        }
                        Ok(Err(error)) => {
                            let reason = said(&error);
                            if !matches!(StoreError::from(error), StoreError::Unavailable(_)) {
                                bail!("PostgreSQL at {place} refuses the connection: {reason}");
                            }
                            reason
                        }
                        Err(_) => "no answer".to_owned(),
                    };
                    let pause = Duration::from_millis(500);
                    if Instant::now() + pause >= deadline {
                        bail!("PostgreSQL at {place} did not answer within {connect:?} (CONNECT_TIMEOUT): {reason}");
                    }
                    tracing::warn!(%place, %reason, "waiting for PostgreSQL");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Names the file in what has gone wrong with it; PostgreSQL tells by itself what it is.
    fn naming<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        match self {
            Self::Sqlite(options) => outcome
                .with_context(|| format!("The SQLite database {} cannot be used", options.get_filename().display())),
            Self::Postgres(_) => outcome,
        }
    }

    /// The same where it is the database that has failed, and not what it was given.
    fn naming_failed<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if outcome.as_ref().is_err_and(anyhow::Error::is::<Failed>) { self.naming(outcome) } else { outcome }
    }

    /// Opens the pool of connections that queries run on.
    pub fn open(self, patience: Patience) -> Store {
        let mut file = None;
        let pool = match self {
            Self::Sqlite(options) => {
                // A lock delays a query, which may take this long in any case.
                let options = options.busy_timeout(patience.query);
                file = Some(Known::new(options.clone()));
                let connections = patience.connections.unwrap_or_else(|| {
                    let cores = std::thread::available_parallelism().map_or(2, usize::from);
                    u32::try_from(cores * 2).unwrap_or(8).clamp(4, 16)
                });
                Connections::Sqlite(Pool::new(options, connections, patience.acquire, None))
            }
            Self::Postgres(options) => {
                let settings = [
                    ("statement_timeout", patience.query.as_millis().to_string()),
                    // JIT compiles for seconds what then runs for milliseconds.
                    ("jit", "off".to_owned()),
                    // A statement says itself how its rows are met; to plan it costs more than to run it.
                    ("plan_cache_mode", "force_generic_plan".to_owned()),
                    // Plans for all values take few rows for many and many for few. These two ways
                    // meet all rows before the first one is shown.
                    ("enable_seqscan", "off".to_owned()),
                    ("enable_bitmapscan", "off".to_owned()),
                ];
                let connections = patience.connections.unwrap_or(10);
                let (options, begin) = if patience.pooled {
                    let local = settings.map(|(name, value)| format!("; SET LOCAL {name} = {value}")).concat();
                    (options, Some(format!("BEGIN READ ONLY; {}{local}", look_for_the_client!("SET LOCAL"))))
                } else {
                    (options.statement_cache_capacity(STATEMENTS).options(settings), None)
                };
                Connections::Postgres(Pool::new(options, connections, patience.acquire, begin))
            }
        };
        Store { pool, file, patience, measures: Measures::new(), closing: watch::Sender::new(false) }
    }
}

/// The longest that one attempt to reach PostgreSQL waits for its answer.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Asks PostgreSQL for the encoding of its database, as a sign of life.
async fn encoding(options: &PgConnectOptions) -> sqlx::Result<String> {
    let mut connection = PgConnection::connect_with(options).await?;
    let row = sqlx::raw_sql("SHOW server_encoding").fetch_one(&mut connection).await?;
    connection.close().await?;
    row.try_get(0)
}

/// How the page of a query is found.
#[derive(Debug)]
pub struct Explained {
    pub choice: Choice,
    pub page: Page,
    /// What was run, the page's own statement last.
    pub statements: Vec<Traced>,
    /// What the statements' work is counted in.
    pub unit: &'static str,
}

enum Connections {
    Sqlite(Pool<SqliteConnection>),
    Postgres(Pool<PgConnection>),
}

/// Runs one body on a connection of either engine; in the body the type named after the
/// connection is the engine, and `time` takes the time of what the body says that it is. Gives up
/// when the query's time is over or the store is closing.
macro_rules! with_connection {
    ($store:ident, |$connection:ident: $engine:ident, $time:ident| $body:expr) => {{
        macro_rules! run {
            ($pool:ident, $database:ty) => {{
                type $engine = $database;
                let work = async {
                    let started = Instant::now();
                    let taken = $pool.acquire().await;
                    $store.measures.waited(started);
                    let mut taken = taken.map_err(|error| $store.naming(error))?;
                    let mut $time = $store.measures.query();
                    let query = async {
                        if let Err(error) = $store.check_file().await {
                            // It has not been asked for anything.
                            taken.ended(true);
                            return Err(error);
                        }
                        let mut running = taken.begin($store.patience.query).await?;
                        let $connection = &mut *running;
                        let outcome = async { $body }.await;
                        let is_sound = running.end(&outcome).await;
                        taken.ended(is_sound);
                        outcome
                    };
                    within($store.patience.query, query).await.map_err(|error| $store.naming(error))
                };
                $store.unless_closing(work).await
            }};
        }
        match &$store.pool {
            Connections::Sqlite(pool) => run!(pool, Sqlite),
            Connections::Postgres(pool) => run!(pool, Postgres),
        }
    }};
}

/// The catalog, ready to be asked.
pub struct Store {
    pool: Connections,
    /// SQLite's.
    file: Option<Known>,
    patience: Patience,
    measures: Measures,
    closing: watch::Sender<bool>,
}

impl Store {
    /// The page of `query` that `view` lets the caller see.
    ///
    /// # Errors
    /// [`StoreError::MarkerNotFound`] for a marker that the caller may not name, and what the
    /// database says.
    pub async fn page(&self, query: &ImageQuery, view: &View, projection: Projection) -> Result<Page, StoreError> {
        with_connection!(self, |connection: Engine, time| {
            let mut search = Search::<Engine>::new(connection);
            let found = search.page(&Compiled { query, view }, projection, self.patience.walk).await;
            match &found {
                Ok(found) => time.is(found.choice.plan),
                // Its first statement tells.
                Err(StoreError::MarkerNotFound(_)) => time.is(Kind::Walk),
                Err(_) => {}
            }
            let found = found?;
            Page::new(Engine::documents(&found.row)?, query.limit)
        })
    }

    /// The JSON document of one image, if the view lets the caller name it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn image(&self, id: Uuid, view: &View) -> Result<Option<String>, StoreError> {
        with_connection!(self, |connection: Engine, time| {
            time.is(Kind::Image);
            let mut sql = Sql::<Engine>::new("");
            sql::push_image(&mut sql, id, view);
            let rows = Engine::fetch(connection, sql).await?;
            let document = rows.first().map(|row| row.try_get_unchecked::<&[u8], _>(0)).transpose()?;
            Ok(document.map(|document| String::from_utf8_lossy(document).into_owned()))
        })
    }

    /// The members of an image, if the view lets the caller name it, as far as the caller may know of
    /// them: JSON objects with commas between.
    ///
    /// # Errors
    /// What the database says.
    pub async fn members(&self, id: Uuid, view: &View) -> Result<Option<String>, StoreError> {
        with_connection!(self, |connection: Engine, time| {
            time.is(Kind::Members);
            let mut sql = Sql::<Engine>::new("");
            sql::push_image(&mut sql, id, view);
            if Engine::fetch(connection, sql).await?.is_empty() {
                return Ok(None);
            }
            let mut sql = Sql::<Engine>::new("");
            sql::push_members(&mut sql, id, view);
            let rows = Engine::fetch(connection, sql).await?;
            let joined = rows.first().map(Engine::documents).transpose()?.flatten();
            Ok(Some(String::from_utf8_lossy(joined.unwrap_or_default()).replace('\n', ",")))
        })
    }

    /// The images shared with a project that the caller may know of, as [`Store::members`].
    ///
    /// # Errors
    /// What the database says.
    pub async fn shared(&self, project: &str, view: &View) -> Result<String, StoreError> {
        with_connection!(self, |connection: Engine, time| {
            time.is(Kind::Shared);
            let mut sql = Sql::<Engine>::new("");
            sql::push_shared(&mut sql, project, view);
            let rows = Engine::fetch(connection, sql).await?;
            let joined = rows.first().map(Engine::documents).transpose()?.flatten();
            Ok(String::from_utf8_lossy(joined.unwrap_or_default()).replace('\n', ","))
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        with_connection!(self, |connection: Engine, time| {
            time.is(Kind::Ready);
            Engine::fetch(connection, Sql::new("SELECT 1")).await?;
            Ok(())
        })
    }

    /// How the page of a query is found: what the choice of its plan rests on, and every statement
    /// with its cost.
    ///
    /// # Errors
    /// As [`Store::page`].
    pub async fn explain(&self, query: &ImageQuery, view: &View) -> Result<Explained, StoreError> {
        with_connection!(self, |connection: Engine, time| {
            let mut search = Search::<Engine>::traced(connection);
            let found = search.page(&Compiled { query, view }, Projection::Detail, self.patience.walk).await?;
            time.is(found.choice.plan);
            let page = Page::new(Engine::documents(&found.row)?, query.limit)?;
            Ok(Explained { choice: found.choice, page, statements: search.into_trace(), unit: Engine::WORK })
        })
    }

    /// Shows in `registry` what the store measures of itself.
    pub fn register(&self, registry: &mut Registry) {
        self.measures.register(registry);
        match &self.pool {
            Connections::Sqlite(pool) => registry.register_collector(Box::new(Watched(pool.status()))),
            Connections::Postgres(pool) => registry.register_collector(Box::new(Watched(pool.status()))),
        }
    }

    /// How many files its connections have open when all of them are.
    pub fn files(&self) -> usize {
        match &self.pool {
            // The catalog, its log, and what is sorted.
            Connections::Sqlite(pool) => 4 * pool.most(),
            Connections::Postgres(pool) => pool.most(),
        }
    }

    /// Ends all work that still runs, each with [`StoreError::Unavailable`].
    pub fn give_up(&self) {
        self.closing.send_replace(true);
    }

    /// Closes the connections that are not in use.
    pub async fn close(&self) {
        match &self.pool {
            Connections::Sqlite(pool) => pool.close().await,
            Connections::Postgres(pool) => pool.close().await,
        }
    }

    async fn check_file(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(file) => file.check().await,
            None => Ok(()),
        }
    }

    /// Names SQLite's file in why it does not answer.
    fn naming(&self, error: StoreError) -> StoreError {
        match (error, &self.file) {
            (StoreError::Unavailable(reason), Some(file)) => {
                StoreError::Unavailable(format!("{}: {reason}", file.path().display()))
            }
            (error, _) => error,
        }
    }

    async fn unless_closing<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            done = work => done,
            _ = closing.wait_for(|closing| *closing) => Err(StoreError::Unavailable("the server is stopping".to_owned())),
        }
    }
}

/// What the database gets to end a query by itself and to say so, before nobody waits for that any more.
const GRACE: Duration = Duration::from_millis(500);

/// Gives up soon after `longest`. Mostly the database has ended the query by then, but its own
/// time-out is for one statement, and it may be out of reach.
async fn within<T>(longest: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::Unavailable(format!("no answer within {longest:?} (QUERY_TIMEOUT)")));
    tokio::time::timeout(longest + GRACE, work).await.unwrap_or_else(late)
}

/// What the database says of an error, once; on PostgreSQL with details, and the line of a seed.
fn said(error: &sqlx::Error) -> String {
    let sqlx::Error::Database(error) = error else { return error.to_string() };
    let mut message = error.message().to_owned();
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        if let Some(detail) = error.detail() {
            write!(message, " ({detail})").expect("a String takes all that is written");
        }
        if let Some(PgErrorPosition::Internal { position, query }) = error.position() {
            let line = query.chars().take(position).filter(|&character| character == '\n').count() + 1;
            write!(message, " at line {line}").expect("a String takes all that is written");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::{is_of_the_file, is_passing};

    #[test]
    fn what_is_the_matter_with_a_file_is_told_by_its_code() {
        for code in ["8", "1032", "10", "778", "11", "13", "14", "1038", "26"] {
            assert!(is_of_the_file(code), "{code}");
        }
        for code in ["1", "5", "9", "19", "20", "42P01", "00010", "00026"] {
            assert!(!is_of_the_file(code), "{code}");
        }
    }

    #[test]
    fn what_may_pass_is_told_by_its_code() {
        for code in ["08006", "40001", "53300", "57014", "57P01", "58030", "XX001", "5", "261", "6", "9"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["42P01", "22021", "XX000", "55000", "1", "11", "26"] {
            assert!(!is_passing(code), "{code}");
        }
    }
}
