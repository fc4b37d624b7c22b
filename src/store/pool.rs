//! The connections that queries run on, kept open between them.
//!
//! sqlx's own pool asks a connection for a sign of life whenever it comes back, which costs as
//! much as a small query does. Here only the end of a query tells whether another may follow.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::Status;
use deadpool::managed::{self, Manager, Metrics, Object, PoolError, RecycleError, RecycleResult, TimeoutType};
use sqlx::{AssertSqlSafe, Connection, Database, PgConnection, SqliteConnection, Transaction};
use tokio::sync::Notify;

use super::error::{StoreError, said};
use crate::runtime::MainRuntime;

/// What differs between the engines' connections.
pub trait Kept: Connection<Database: Database<Connection = Self>> + 'static {
    /// How long one may rest before it is asked whether it still lives; `None` where nothing but
    /// this process can end it.
    const RESTS: Option<Duration>;

    /// Whether one that was left in the middle of a query is kept: its query ends by the deadline,
    /// and the next one waits for that. Else it is closed, by which the database learns of it.
    const OUTLIVES_QUERIES: bool;

    /// Lets the engine itself end what runs past the deadline, and what nobody waits for any more.
    fn obey(&mut self, deadline: Arc<Deadline>) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Kept for SqliteConnection {
    const RESTS: Option<Duration> = None;

    const OUTLIVES_QUERIES: bool = true;

    async fn obey(&mut self, deadline: Arc<Deadline>) -> sqlx::Result<()> {
        // Asked for every thousand steps of its machine, some ten microseconds of work.
        self.lock_handle().await?.set_progress_handler(1000, move || deadline.is_ahead());
        Ok(())
    }
}

/// The statement that has a process of PostgreSQL look, while it works, whether its client is still
/// there; else it would work to the end.
macro_rules! look_for_the_client {
    ($set:literal) => {
        concat!($set, " client_connection_check_interval = '250ms'")
    };
}
pub(super) use look_for_the_client;

/// Whether a server knows that statement, as those of PostgreSQL 14 and later do.
pub(super) fn can_look_for_the_client(connection: &PgConnection) -> bool {
    connection.server_version_num().is_some_and(|version| version >= 14_00_00)
}

impl Kept for PgConnection {
    // One that has rested may have been ended meanwhile, as by a restart of the database; one in
    // constant use is not worth the round trip.
    const RESTS: Option<Duration> = Some(Duration::from_secs(1));

    const OUTLIVES_QUERIES: bool = false;

    /// `statement_timeout` ends what takes too long, without being told each time.
    async fn obey(&mut self, _deadline: Arc<Deadline>) -> sqlx::Result<()> {
        if can_look_for_the_client(self) {
            let set = sqlx::raw_sql(look_for_the_client!("SET")).execute(self).await;
            match set {
                Ok(_) => {}
                // Some systems cannot tell.
                Err(sqlx::Error::Database(error)) => {
                    tracing::debug!(reason = error.message(), "queries of clients that go run to their end");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// When the query that runs on a connection has to end.
pub struct Deadline {
    epoch: Instant,
    /// Microseconds after the epoch.
    at: AtomicU64,
}

impl Deadline {
    fn new() -> Self {
        Self { epoch: Instant::now(), at: AtomicU64::new(u64::MAX) }
    }

    fn set(&self, from_now: Duration) {
        let at = (self.epoch.elapsed() + from_now).as_micros();
        self.at.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_ahead(&self) -> bool {
        self.epoch.elapsed().as_micros() < self.at.load(Ordering::Relaxed).into()
    }
}

/// What the last query has left of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It came to its end, if only by the database's own time-out: another may follow.
    Sound,
    /// It still runs, or nobody has taken all of its answer.
    Left,
    /// It failed, and the connection is not used again.
    Failed,
}

/// A connection and what is known of it.
pub struct Held<C> {
    connection: C,
    deadline: Arc<Deadline>,
    state: State,
}

/// A connection of the pool, taken for one query.
pub struct Taken<C: Kept> {
    /// There until it goes back.
    object: Option<Object<Opener<C>>>,
    /// What begins the transaction of the query, and how long a pooler may take for that.
    begin: Option<(Arc<str>, Instant)>,
    /// With less time than this left, a pooler is not asked.
    least: Duration,
    returned: Arc<Notify>,
}

/// A query that runs on a connection.
pub enum Running<'c, C: Kept> {
    Alone(&'c mut C),
    InTransaction(Transaction<'c, C::Database>),
}

impl<C: Kept> Taken<C> {
    /// Begins its query, which may run for `longest`. What has become of the connection is known
    /// once [`Taken::ended`] is told.
    ///
    /// # Errors
    /// Where a pooler has no connection for it.
    pub async fn begin(&mut self, longest: Duration) -> Result<Running<'_, C>, StoreError> {
        let transaction = self.begin.take();
        self.deadline.set(longest);
        let Some((begin, until)) = transaction else { return Ok(Running::Alone(&mut self.connection)) };
        if until <= Instant::now() + self.least {
            // It has not been asked for anything, and is better kept.
            self.state = State::Sound;
            return Err(StoreError::Unavailable("a connection came too late (ACQUIRE_TIMEOUT)".to_owned()));
        }
        match tokio::time::timeout_at(until.into(), self.connection.begin_with(AssertSqlSafe(begin))).await {
            Ok(Ok(transaction)) => Ok(Running::InTransaction(transaction)),
            Ok(Err(error)) => Err(StoreError::Unavailable(said(&error))),
            Err(_) => {
                Err(StoreError::Unavailable("the pooler gives no connection in time (ACQUIRE_TIMEOUT)".to_owned()))
            }
        }
    }

    /// Tells whether the connection can be used again.
    pub fn ended(&mut self, is_sound: bool) {
        self.state = if is_sound { State::Sound } else { State::Failed };
    }
}

impl<C: Kept> Running<'_, C> {
    /// Ends the query, and tells whether its connection can be used again.
    pub async fn end<T>(self, outcome: &Result<T, StoreError>) -> bool {
        let is_whole = matches!(outcome, Ok(_) | Err(StoreError::MarkerNotFound(_) | StoreError::Interrupted(_)));
        match self {
            Self::InTransaction(transaction) if is_whole => transaction.commit().await.is_ok(),
            _ => is_whole,
        }
    }
}

impl<C: Kept> Deref for Running<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        match self {
            Self::Alone(connection) => connection,
            Self::InTransaction(transaction) => transaction,
        }
    }
}

impl<C: Kept> DerefMut for Running<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        match self {
            Self::Alone(connection) => connection,
            Self::InTransaction(transaction) => transaction,
        }
    }
}

impl<C: Kept> Deref for Taken<C> {
    type Target = Held<C>;

    fn deref(&self) -> &Held<C> {
        self.object.as_ref().expect("it is there until the end")
    }
}

impl<C: Kept> DerefMut for Taken<C> {
    fn deref_mut(&mut self) -> &mut Held<C> {
        self.object.as_mut().expect("it is there until the end")
    }
}

impl<C: Kept> Drop for Taken<C> {
    fn drop(&mut self) {
        let object = self.object.take().expect("it is there until the end");
        match object.state {
            State::Left if C::OUTLIVES_QUERIES => object.deadline.set(Duration::ZERO),
            State::Sound => {}
            // At once, not when somebody needs the next one.
            State::Left | State::Failed => return drop(Object::take(object)),
        }
        drop(object);
        self.returned.notify_one();
    }
}

/// The least time in which a pooler may be asked to begin a transaction, unless the wait for a
/// connection is hardly longer.
const LEAST: Duration = Duration::from_millis(100);

/// A new connection has at least this long to be opened, though its request waits no longer: else
/// none would ever be there where a login takes longer than requests wait.
const OPENING: Duration = Duration::from_secs(4);

/// How long one at a time tries after a connection could not be opened.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens connections.
pub struct Opener<C: Connection> {
    options: C::Options,
    runtime: MainRuntime,
    /// When a connection could not be opened last, and why.
    failed: Mutex<Option<(Instant, String)>>,
    /// How many are being opened.
    opening: AtomicUsize,
}

/// A connection that is being opened.
struct Opening<'a>(&'a AtomicUsize);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C: Connection> Opener<C> {
    /// Why a connection could not be opened a moment ago.
    fn refused(&self) -> Option<String> {
        self.failed().as_ref().filter(|(at, _)| at.elapsed() < PAUSE).map(|(_, reason)| reason.clone())
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<(Instant, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Kept> Manager for Opener<C> {
    type Type = Held<C>;
    /// What the database said, in words.
    type Error = String;

    async fn create(&self) -> Result<Held<C>, String> {
        let is_alone = self.opening.fetch_add(1, Ordering::Relaxed) == 0;
        let _opening = Opening(&self.opening);
        if let Some(reason) = self.refused().filter(|_| !is_alone) {
            return Err(reason);
        }
        let options = self.options.clone();
        let opened = self.runtime.run(async move {
            let mut connection = C::connect_with(&options).await?;
            let deadline = Arc::new(Deadline::new());
            connection.obey(Arc::clone(&deadline)).await?;
            Ok(Held { connection, deadline, state: State::Sound })
        });
        let opened = opened.await.map_err(|error: sqlx::Error| said(&error));
        *self.failed() = opened.as_ref().err().map(|reason| (Instant::now(), reason.clone()));
        opened
    }

    async fn recycle(&self, held: &mut Held<C>, metrics: &Metrics) -> RecycleResult<String> {
        let has_rested = C::RESTS.is_some_and(|rests| metrics.last_used() > rests);
        if held.state == State::Left || has_rested {
            held.connection.ping().await.map_err(|error| RecycleError::Backend(said(&error)))?;
        }
        Ok(())
    }
}

/// The connections to one database.
pub struct Pool<C: Kept> {
    connections: managed::Pool<Opener<C>>,
    /// The longest wait for one of them.
    acquire: Duration,
    /// What begins the transaction of each query, where it needs one.
    begin: Option<Arc<str>>,
    /// Tells of each connection that comes back.
    returned: Arc<Notify>,
    /// Whose turn it is to take it, where no other can be opened.
    turn: tokio::sync::Mutex<()>,
}

impl<C: Kept> Pool<C> {
    /// A pool of up to `size` connections, which are opened when they are needed, on the runtime that
    /// this is called on. Each query runs in a transaction of its own where `begin` tells how that begins.
    pub fn new(options: C::Options, size: u32, acquire: Duration, begin: Option<String>) -> Self {
        let size = usize::try_from(size).expect("a pool fits in memory");
        let (failed, opening) = (Mutex::new(None), AtomicUsize::new(0));
        let opener = Opener { options, runtime: MainRuntime::this(), failed, opening };
        let connections =
            managed::Pool::builder(opener).max_size(size).build().expect("a pool without time-outs needs no runtime");
        Self {
            connections,
            acquire,
            begin: begin.map(Arc::from),
            returned: Arc::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Tells how many connections there are, whenever it is called.
    pub fn status(&self) -> impl Fn() -> Status + Send + Sync + 'static {
        let connections = self.connections.clone();
        move || connections.status()
    }

    /// How many connections there may be.
    pub fn most(&self) -> usize {
        self.connections.status().max_size
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], whatever the cause: a later try may have one.
    pub async fn acquire(&self) -> Result<Taken<C>, StoreError> {
        let until = Instant::now() + self.acquire;
        let mut refused = None;
        let reason = match tokio::time::timeout_at(until.into(), self.take(&mut refused)).await {
            Ok(Ok(object)) => {
                let begin = self.begin.as_ref().map(|begin| (Arc::clone(begin), until));
                let least = LEAST.min(self.acquire / 4);
                let mut taken = Taken { object: Some(object), begin, least, returned: Arc::clone(&self.returned) };
                taken.state = State::Left;
                return Ok(taken);
            }
            Ok(Err(reason)) => reason,
            Err(_) => {
                let Status { max_size, size, waiting, .. } = self.connections.status();
                let refused = refused.map(|reason| format!("; another is refused: {reason}")).unwrap_or_default();
                format!(
                    "no connection within {:?} (ACQUIRE_TIMEOUT): {size} of {max_size} are open, {waiting} requests wait{refused}",
                    self.acquire
                )
            }
        };
        Err(StoreError::Unavailable(reason))
    }

    /// Takes a connection however long that takes. Where no other can be opened, one that is open
    /// already is waited for; `refused` is then told why.
    async fn take(&self, refused: &mut Option<String>) -> Result<Object<Opener<C>>, String> {
        let mut turn = None;
        loop {
            if turn.is_none() && self.connections.manager().refused().is_some() && self.connections.status().size > 0 {
                turn = Some(self.turn.lock().await);
            }
            match self.get().await {
                Ok(object) => return Ok(object),
                Err(PoolError::Backend(reason)) if self.connections.status().size == 0 => return Err(reason),
                Err(PoolError::Backend(reason)) => *refused = Some(reason),
                Err(error) => return Err(error.to_string()),
            }
            // The end of the pause is what there is left to wait for.
            let _ = tokio::time::timeout(PAUSE, self.returned.notified()).await;
        }
    }

    /// As the pool gives it. Where another connection may have to be opened, that goes on though
    /// the request gives up meanwhile: else many who wait for slow logins would have them begin
    /// again and again, and none would ever end.
    async fn get(&self) -> Result<Object<Opener<C>>, PoolError<String>> {
        let Status { max_size, size, .. } = self.connections.status();
        if size >= max_size {
            return self.connections.get().await;
        }
        let (connections, longest) = (self.connections.clone(), OPENING.max(2 * self.acquire));
        let opening = tokio::spawn(async move { tokio::time::timeout(longest, connections.get()).await });
        match opening.await {
            Ok(Ok(got)) => got,
            Ok(Err(_)) => Err(PoolError::Timeout(TimeoutType::Create)),
            Err(_) => Err(PoolError::Closed),
        }
    }

    /// Closes the connections that are not in use; there will be no others.
    pub async fn close(&self) {
        for held in self.connections.retain(|_, _| false).removed {
            // It is gone in any case.
            let _ = held.connection.close().await;
        }
        self.connections.close();
    }
}
