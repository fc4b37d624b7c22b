//! Databases, servers and requests for the tests; each test owns what it starts.

mod browser;
mod cluster;
mod fake_keystone;
mod image;
mod load;
mod server;
mod wire;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub use browser::Browser;
pub use cluster::{Cluster, Pooler};
pub use fake_keystone::FakeKeystone;
pub use image::{Image, Member, id, image};
pub use load::Clients;
pub use server::{Answer, Glimpse, Start, get, output_of};
pub use wire::Wire;

/// Names the PostgreSQL server of the tests.
pub const POSTGRES: &str = "TEST_POSTGRES_URL";

/// Names the pooler before that server, where Glimpse is to reach it through one.
pub const POOLER: &str = "TEST_POOLER_URL";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Makes a test of each engine out of a function that takes one; SQLite's is ignored too where
/// the function needs what only `tests/run` brings.
macro_rules! on_both_engines {
    ($test:ident $(, $needs:literal)?) => {
        mod $test {
            use crate::support::Engine;

            #[test]
            $(#[ignore = $needs])?
            fn sqlite() {
                super::$test(Engine::Sqlite);
            }

            #[test]
            #[ignore = "needs PostgreSQL: tests/run brings it"]
            fn postgres() {
                super::$test(Engine::Postgres);
            }
        }
    };
}
pub(crate) use on_both_engines;

/// A database of its own, gone with the test.
pub struct Database {
    pub engine: Engine,
    pub url: String,
    /// Holds the file of SQLite, and whatever a test puts beside it.
    pub folder: TempDir,
    /// Whether it lies in PostgreSQL's server of all tests.
    is_ours: bool,
}

impl Database {
    pub fn new(engine: Engine) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = match engine {
            Engine::Sqlite => format!("sqlite://{}", folder.path().join("catalog.db").display()),
            Engine::Postgres => {
                let name = format!("glimpse_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
                let server = postgres_server();
                run(execute_on_postgres(&server, format!("CREATE DATABASE {name}")));
                format!("{}/{name}", server.rsplit_once('/').expect("the URL names a database").0)
            }
        };
        Self { engine, url, folder, is_ours: engine == Engine::Postgres }
    }

    /// The database of a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { engine: Engine::Postgres, url: cluster.url("glimpse"), folder, is_ours: false }
    }

    /// The variables that lead Glimpse to it.
    fn variables(&self) -> Vec<(&'static str, String)> {
        match std::env::var(POOLER) {
            Ok(pooler) if self.is_ours => {
                let name = self.url.rsplit_once('/').expect("the URL names a database").1;
                vec![("DATABASE_URL", format!("{pooler}/{name}")), ("POOLER", "transaction".to_owned())]
            }
            _ => vec![("DATABASE_URL", self.url.clone())],
        }
    }

    /// Runs SQL that works on both engines, or that is meant for this one.
    pub fn execute(&self, sql: impl Into<String>) {
        if let Err(error) = self.try_execute(sql) {
            panic!("{error}");
        }
    }

    pub fn try_execute(&self, sql: impl Into<String>) -> Result<(), String> {
        let done = match self.engine {
            Engine::Sqlite => run(async {
                let mut connection = SqliteConnection::connect(&self.url).await?;
                sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut connection).await?;
                connection.close().await
            }),
            Engine::Postgres => run(try_on_postgres(&self.url, sql.into())),
        };
        done.map_err(|error: sqlx::Error| error.to_string())
    }

    /// The first column of every row, as text.
    pub fn texts(&self, sql: impl Into<String>) -> Vec<Option<String>> {
        let sql = AssertSqlSafe(sql.into());
        let rows = match self.engine {
            Engine::Sqlite => run(async {
                let mut connection = SqliteConnection::connect(&self.url).await?;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }),
            Engine::Postgres => run(async {
                let mut connection = PgConnection::connect(&self.url).await?;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }),
        };
        rows.unwrap_or_else(|error: sqlx::Error| panic!("{error}"))
    }

    /// Ends every connection to a database of PostgreSQL and lets nobody in, or lets them in again.
    pub fn forbid_connections(&self, forbidden: bool) {
        let name = self.url.rsplit_once('/').expect("the URL names a database").1;
        let allowed = !forbidden;
        let sql = format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed};
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';"
        );
        run(execute_on_postgres(&postgres_server(), sql));
    }

    /// Locks a table of PostgreSQL until the lock is released.
    pub fn lock(&self, table: &str) -> Lock {
        self.hold(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
    }

    /// Keeps every Glimpse from changing a database of PostgreSQL until the lock is released, as one does that
    /// changes it.
    pub fn lock_schema(&self) -> Lock {
        self.hold(&format!("SELECT pg_advisory_xact_lock({})", i64::from_be_bytes(*b"\0glimpse")))
    }

    fn hold(&self, lock: &str) -> Lock {
        let runtime = runtime();
        let connection = runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await?;
            let sql = AssertSqlSafe(format!("BEGIN; {lock}"));
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        });
        Lock { connection: connection.expect("a lock"), runtime }
    }

    /// How many rows a table has.
    pub fn count(&self, table: &str) -> usize {
        let counted = self.texts(format!("SELECT CAST(count(*) AS TEXT) FROM {table}"));
        counted[0].as_deref().and_then(|count| count.parse().ok()).expect("a number")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_ours {
            let name = self.url.rsplit_once('/').expect("the URL names a database").1;
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            let dropped = run(try_on_postgres(&postgres_server(), sql));
            // A second panic would end all tests, and hide which one failed, and why.
            assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
        }
    }
}

fn postgres_server() -> String {
    std::env::var(POSTGRES).unwrap_or_else(|_| panic!("{POSTGRES} is not set; run tests/run"))
}

async fn execute_on_postgres(url: &str, sql: String) {
    try_on_postgres(url, sql).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn try_on_postgres(url: &str, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

/// A lock that holds up every query on its table.
pub struct Lock {
    connection: PgConnection,
    runtime: Runtime,
}

impl Lock {
    /// Returns once somebody waits for the lock.
    pub fn wait_for_another(&mut self) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = \
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        while self
            .runtime
            .block_on(sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut self.connection))
            .expect("a count")
            == 0
        {}
    }

    pub fn release(self) {
        self.runtime.block_on(self.connection.close()).expect("the lock ends with its connection");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A number that a variable sets, such as how many times a test in its long form does something.
pub fn set_or(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// Runs what is asynchronous to its end.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}
