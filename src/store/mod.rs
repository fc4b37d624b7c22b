//! The catalog in SQLite or PostgreSQL. Only this module knows SQL.
//!
//! `target` says where the catalog lies, `sql` compiles queries, `migrate` brings schema and seeds
//! in, `bulk` many images at once, `measure` counts, `file` minds SQLite's file, `error` tells what
//! went wrong; this one runs what they make.
//! A page is a row with one text, or several: the documents that the database itself keeps ready, joined.

mod bulk;
mod error;
mod export;
mod file;
mod measure;
mod migrate;
mod plan;
mod pool;
mod sql;
mod target;
mod upsert;

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use sqlx::{PgConnection, Postgres, Row as _, Sqlite, SqliteConnection};
use tokio::sync::watch;
use uuid::Uuid;

pub use bulk::{Filled, Present, Step};
pub use error::StoreError;
pub use export::{Exported, portable_sql};
pub use file::Hold;
use file::Known;
use measure::{Kind, Measures, Watched};
use plan::Search;
pub use plan::{Choice, Finding, Traced};
use pool::Pool;
use sql::{Compiled, Dialect, Sql};
pub use sql::{Path, Plan, Projection, Selection};
pub use target::{Patience, Target};
pub use upsert::{Counts, OnConflict, Record, Rules, Told, Upserted};

use crate::query::{ImageQuery, View};

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
    /// Takes the first `limit` of the documents that `joined` holds, one a line, in texts that follow
    /// each other.
    ///
    /// Bytes, because SQLite stores any as text that an SQL cast says are text; those that are no
    /// UTF-8 are shown as U+FFFD.
    fn new<'a>(joined: impl Iterator<Item = sqlx::Result<Option<&'a [u8]>>>, limit: u32) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Identified {
            id: Uuid,
        }

        let limit = usize::try_from(limit).expect("a page fits in memory");
        // Nearly always valid, which is told faster than it is mended.
        let text = |bytes| str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        let joined =
            joined.map(|bytes| Ok(text(bytes?.unwrap_or_default()))).collect::<sqlx::Result<Vec<Cow<str>>>>()?;
        let mut json = String::with_capacity(joined.iter().map(|text| text.len()).sum::<usize>() + 16);
        json.push_str("{\"images\":[");
        let mut documents = joined.iter().flat_map(|text| text.lines());
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
                let last: Identified =
                    serde_json::from_str(last).map_err(|error| StoreError::Internal(error.to_string()))?;
                Some(last.id)
            }
            _ => None,
        };
        Ok(Self { json, images, next })
    }
}

/// How the page of a query is found.
#[derive(Debug)]
pub struct Explained {
    pub choice: Choice,
    pub page: Page,
    /// What was run, the page's own statement, or the last of them, at the end.
    pub statements: Vec<Traced>,
    /// What the statements' work is counted in.
    pub unit: &'static str,
}

impl Explained {
    /// What all statements cost.
    #[must_use]
    pub fn work(&self) -> i64 {
        self.statements.iter().map(|statement| statement.work).sum()
    }
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
                $store.attempt(work).await
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
                Ok(found) => time.is(&found.choice),
                // Its first statement tells.
                Err(StoreError::MarkerNotFound(_)) => time.is(Kind::Walk),
                Err(_) => {}
            }
            let found = found?;
            Page::new(found.rows.iter().map(Engine::bytes), query.limit)
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
            let joined = rows.first().map(Engine::bytes).transpose()?.flatten();
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
            let joined = rows.first().map(Engine::bytes).transpose()?.flatten();
            Ok(String::from_utf8_lossy(joined.unwrap_or_default()).replace('\n', ","))
        })
    }

    /// Whether the database answers, and would answer for the catalog: its tables are there, and may be read.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        with_connection!(self, |connection: Engine, time| {
            time.is(Kind::Ready);
            let sql = "SELECT 1 FROM images, image_members, image_properties WHERE FALSE";
            Engine::fetch(connection, Sql::new(sql)).await?;
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
            time.is(&found.choice);
            let page = Page::new(found.rows.iter().map(Engine::bytes), query.limit)?;
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

    /// Looks whether SQLite's file is whole, and the one that it was at the first look.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn check_file(&self) -> Result<(), StoreError> {
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

    /// Does work, unless the store is closing. What panics has its connection closed, or left to end its query,
    /// as where nobody waits any more.
    async fn attempt<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            done = AssertUnwindSafe(work).catch_unwind() => {
                done.unwrap_or_else(|panic| Err(self.naming(StoreError::of_panic(&*panic))))
            }
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
