//! Where the catalog lies, and how its connections are set up.

use std::io;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Postgres, Row as _};
use tokio::runtime;
use tokio::sync::{oneshot, watch};

use super::error::{Failed, StoreError, is_locked, said};
use super::file::{Known, lengths, text_encoding};
use super::measure::Measures;
use super::pool::{PLANS, Pool, look_for_the_client};
use super::sql::Dialect as _;
use super::{Connections, Store};

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
                if let Some(unknown) = parameters.split('&').find(|pair| !pair.is_empty() && is_unknown(pair)) {
                    // Without a value it may be the rest of a password.
                    let named = unknown
                        .split_once('=')
                        .map_or("a parameter without a value".to_owned(), |(name, _)| format!("the parameter {name}"));
                    bail!("DATABASE_URL has {named}; it takes {}.", PARAMETERS.join(", "));
                }
                let options = PgConnectOptions::from_str(url)
                    .map_err(|_| anyhow!("The value of DATABASE_URL, '{scheme}://...', cannot be read; {ACCEPTED}."))?;
                // The library looks up what stands between [ and ] with them.
                let address = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                let options = match address.map(str::to_owned) {
                    Some(address) => options.host(&address),
                    None => options,
                };
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
                    let read = async { Ok((lengths(&options).await?, text_encoding(&options).await?)) };
                    let error = match read.await {
                        Ok(((length, whole), encoding)) => {
                            let path = path.display();
                            ensure!(
                                encoding == "UTF-8",
                                "The SQLite database {path} has the encoding {encoding}; it must be UTF-8."
                            );
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
                let place = place(options);
                loop {
                    let reason = match encoding(options, deadline.min(Instant::now() + ATTEMPT)).await {
                        Ok(encoding) => {
                            ensure!(encoding == "UTF8", "The database's encoding is {encoding}; it must be UTF8.");
                            return Ok(());
                        }
                        Err(error) => {
                            let reason = said(&error);
                            // A server without TLS, or with another certificate, will not have it in a moment.
                            let is_final = matches!(error, sqlx::Error::Tls(_));
                            if is_final || !matches!(StoreError::from(error), StoreError::Unavailable(_)) {
                                bail!("PostgreSQL at {place} refuses the connection: {reason}");
                            }
                            reason
                        }
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

    /// Does work that takes as long as it takes, unless PostgreSQL gives no sign of life for several times
    /// `silence`: an answer that a network has lost would be waited for without end.
    ///
    /// # Errors
    /// Those of the work, and the silence.
    pub async fn while_it_answers<T>(
        &self,
        silence: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Self::Postgres(options) = self else { return work.await };
        let (mut tell, lost) = oneshot::channel();
        let asked = options.clone();
        // This thread stands still while nobody takes what is exported, or what is told of the progress.
        let listener = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    () = silent(&asked, silence) => {}
                    () = tell.closed() => return,
                }
                // The work may be over by now.
                let _ = tell.send(());
            });
            Ok::<_, io::Error>(())
        };
        thread::Builder::new().spawn(listener).context("PostgreSQL cannot be listened for")?;
        tokio::select! {
            done = work => done,
            // Where there is no listener, the work goes on all the same.
            Ok(()) = lost => bail!(
                "PostgreSQL at {} does not answer any more, within {silence:?} (CONNECT_TIMEOUT) each time",
                place(options)
            ),
        }
    }

    /// Names the file in what has gone wrong with it; PostgreSQL tells by itself what it is.
    pub(super) fn naming<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        match self {
            Self::Sqlite(options) => outcome
                .with_context(|| format!("The SQLite database {} cannot be used", options.get_filename().display())),
            Self::Postgres(_) => outcome,
        }
    }

    /// The same where it is the database that has failed, and not what it was given.
    pub(super) fn naming_failed<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if outcome.as_ref().is_err_and(anyhow::Error::is::<Failed>) { self.naming(outcome) } else { outcome }
    }

    /// Opens the pool of connections that queries run on. They live on the runtime that this is called
    /// on, which has to outlive all queries.
    ///
    /// # Panics
    /// Outside of a runtime.
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
                    (PLANS.0, PLANS.1.to_owned()),
                    // Workers cost milliseconds to start, and make the planner take a sort for cheap.
                    ("max_parallel_workers_per_gather", "0".to_owned()),
                    // Plans for all values take few rows for many and many for few. These two ways
                    // meet all rows before the first one is shown.
                    ("enable_seqscan", "off".to_owned()),
                    ("enable_bitmapscan", "off".to_owned()),
                ];
                let connections = patience.connections.unwrap_or(10);
                let (options, begin) = if patience.pooled {
                    let local = settings.map(|(name, value)| format!("; SET LOCAL {name} = {value}")).concat();
                    (options, Some(format!("{}; {}{local}", Postgres::SNAPSHOT, look_for_the_client!("SET LOCAL"))))
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

fn place(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}

/// Returns once PostgreSQL has given no sign of life several times in a row, each of them for so long.
async fn silent(options: &PgConnectOptions, silence: Duration) {
    let mut missed = 0;
    while missed < 3 {
        tokio::time::sleep(silence / 2).await;
        // A pooler lets a client in though all its connections are in use, and a query would wait.
        let greet = async { PgConnection::connect_with(options).await?.close().await };
        missed = match tokio::time::timeout(silence, greet).await {
            Err(_) => missed + 1,
            Ok(Err(sqlx::Error::Io(error))) if is_unheard(error.kind()) => missed + 1,
            // A refusal, by whomever, is a sign of life.
            Ok(_) => 0,
        };
    }
}

/// What the system says where nobody has answered.
fn is_unheard(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(kind, HostUnreachable | NetworkUnreachable | TimedOut)
}

/// Asks PostgreSQL for the encoding of its database, as a sign of life.
async fn encoding(options: &PgConnectOptions, deadline: Instant) -> sqlx::Result<String> {
    let asked = async {
        let mut connection = PgConnection::connect_with(options).await?;
        let row = sqlx::raw_sql("SHOW server_encoding").fetch_one(&mut connection).await?;
        connection.close().await?;
        row.try_get(0)
    };
    let late = |_| Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer")));
    tokio::time::timeout_at(deadline.into(), asked).await.unwrap_or_else(late)
}
