//! The connections that queries run on, kept open between them.
//!
//! sqlx's own pool asks a connection for a sign of life whenever it comes back, which costs as
//! much as a small query does. Here only the end of a query tells whether another may follow.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::unmanaged::{self, Object};
use sqlx::{AssertSqlSafe, Connection, Database, PgConnection, Row as _, SqliteConnection, Transaction};
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
    fn obey(
        &mut self,
        deadline: Arc<Deadline>,
        options: &Self::Options,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Kept for SqliteConnection {
    const RESTS: Option<Duration> = None;

    const OUTLIVES_QUERIES: bool = true;

    async fn obey(&mut self, deadline: Arc<Deadline>, _: &Self::Options) -> sqlx::Result<()> {
        // Asked for every thousand steps of its machine, some ten microseconds of work.
        self.lock_handle().await?.set_progress_handler(1000, move || deadline.is_ahead());
        Ok(())
    }
}

/// The setting by which a connection sees whether it got those that it asked for. Where a pooler drops them,
/// it may also run one client's statement for another.
pub(super) const PLANS: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

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
    async fn obey(&mut self, _: Arc<Deadline>, options: &Self::Options) -> sqlx::Result<()> {
        if options.get_options().is_some_and(|settings| settings.contains(PLANS.0)) {
            let plans = sqlx::raw_sql("SHOW plan_cache_mode").fetch_one(&mut *self).await?;
            if plans.try_get::<&str, _>(0)? != PLANS.1 {
                let reason =
                    "what lies before PostgreSQL drops the settings of connections; a pooler needs POOLER=transaction";
                return Err(sqlx::Error::Configuration(reason.into()));
            }
        }
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
    /// When it was used last.
    used: Instant,
}

impl<C: Kept> Held<C> {
    async fn open(options: &C::Options) -> sqlx::Result<Self> {
        let mut connection = C::connect_with(options).await?;
        let deadline = Arc::new(Deadline::new());
        connection.obey(Arc::clone(&deadline), options).await?;
        Ok(Self { connection, deadline, state: State::Sound, used: Instant::now() })
    }

    /// Whether it is asked for a sign of life before the next query.
    fn is_doubtful(&self) -> bool {
        self.state == State::Left || C::RESTS.is_some_and(|rests| self.used.elapsed() > rests)
    }
}

/// A connection of the pool, taken for one query.
pub struct Taken<C: Kept> {
    /// There until it goes back.
    object: Option<Object<Held<C>>>,
    pool: Arc<Inner<C>>,
    /// What begins the transaction of the query, and how long a pooler may take for that.
    begin: Option<(Arc<str>, Instant)>,
    /// With less time than this left, a pooler is not asked.
    least: Duration,
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
        let mut object = self.object.take().expect("it is there until the end");
        object.used = Instant::now();
        match object.state {
            State::Left if C::OUTLIVES_QUERIES => object.deadline.set(Duration::ZERO),
            State::Sound => {}
            State::Left | State::Failed => {
                drop(Object::take(object));
                self.pool.replace();
            }
        }
    }
}

/// The least time in which a pooler may be asked to begin a transaction, unless the wait for a
/// connection is hardly longer.
const LEAST: Duration = Duration::from_millis(100);

/// A new connection has at least this long to be opened, though its request waits no longer: else
/// none would ever be there where a login takes longer than requests wait.
const OPENING: Duration = Duration::from_secs(4);

/// How long after a connection could not be opened no other is tried where some are open, and one at
/// a time where none is.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections to one database, and what opens them.
///
/// Whoever finds none at rest sees to it that another is opened, where there may be more, and then
/// waits in line for the first that is free, whether that was opened or has come back. Where none is
/// open, and none is being opened any more, all who wait are told why.
struct Inner<C: Kept> {
    /// Those that are open.
    open: unmanaged::Pool<Held<C>>,
    options: C::Options,
    runtime: MainRuntime,
    /// The longest time that one may take to be opened.
    longest: Duration,
    openings: Mutex<Openings>,
    refused: Notify,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Openings {
    underway: usize,
    /// When the last one failed and why, until one does not.
    failed: Option<(Instant, String)>,
}

/// A request that waits for a connection.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C: Kept> Inner<C> {
    fn openings(&self) -> MutexGuard<'_, Openings> {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens another connection in the place of one that is gone, if somebody waits.
    fn replace(self: &Arc<Self>) {
        let openings = self.openings();
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.open_another(openings);
        }
    }

    /// Begins to open another connection where there may be more. That goes on whoever gives up
    /// meanwhile: else many who wait for slow logins would have them begin again and again, and none
    /// would ever end.
    fn open_another(self: &Arc<Self>, mut openings: MutexGuard<'_, Openings>) {
        let size = self.open.status().size + openings.underway;
        let has_just_failed = openings.failed.as_ref().is_some_and(|(at, _)| at.elapsed() < PAUSE);
        if size >= self.open.status().max_size || (has_just_failed && size > 0) {
            return;
        }
        openings.underway += 1;
        let pool = Arc::clone(self);
        self.runtime.spawn(async move {
            let opened = tokio::time::timeout(pool.longest, Held::open(&pool.options)).await;
            let mut openings = pool.openings();
            openings.underway -= 1;
            openings.failed = match opened {
                Ok(Ok(held)) => {
                    // A pool that is closed meanwhile has no use for it.
                    let _ = pool.open.try_add(held);
                    None
                }
                Ok(Err(error)) => Some((Instant::now(), said(&error))),
                Err(_) => Some((Instant::now(), format!("a new connection is not open within {:?}", pool.longest))),
            };
            if openings.failed.is_some() && openings.underway == 0 && pool.open.status().size == 0 {
                pool.refused.notify_waiters();
            }
        });
    }

    /// Takes a connection however long that takes.
    ///
    /// # Errors
    /// Why there is none.
    async fn take(self: &Arc<Self>) -> Result<Taken<C>, String> {
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            let object = match self.open.try_get() {
                Ok(object) => object,
                Err(_) => self.wait().await?,
            };
            let is_doubtful = object.is_doubtful();
            let pool = Arc::clone(self);
            let mut taken = Taken { object: Some(object), pool, begin: None, least: Duration::ZERO };
            taken.state = State::Left;
            if !is_doubtful || taken.connection.ping().await.is_ok() {
                return Ok(taken);
            }
            taken.state = State::Failed;
        }
    }

    async fn wait(self: &Arc<Self>) -> Result<Object<Held<C>>, String> {
        let refused = self.refused.notified();
        self.open_another(self.openings());
        tokio::select! {
            biased;
            got = self.open.get() => got.map_err(|error| error.to_string()),
            () = refused => Err(self.reason().unwrap_or_default()),
        }
    }

    /// Why the last connection could not be opened.
    fn reason(&self) -> Option<String> {
        self.openings().failed.as_ref().map(|(_, reason)| reason.clone())
    }
}

/// How many connections there are.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    pub max: usize,
    pub open: usize,
    /// Those of the open ones that no query runs on.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// The connections to one database.
pub struct Pool<C: Kept> {
    inner: Arc<Inner<C>>,
    /// The longest wait for one of them.
    acquire: Duration,
    /// What begins the transaction of each query, where it needs one.
    begin: Option<Arc<str>>,
}

impl<C: Kept> Pool<C> {
    /// A pool of up to `size` connections, which are opened when they are needed, on the runtime that
    /// this is called on. Each query runs in a transaction of its own where `begin` tells how that begins.
    pub fn new(options: C::Options, size: u32, acquire: Duration, begin: Option<String>) -> Self {
        let inner = Inner {
            open: unmanaged::Pool::new(usize::try_from(size).expect("a pool fits in memory")),
            options,
            runtime: MainRuntime::this(),
            longest: OPENING.max(2 * acquire),
            openings: Mutex::default(),
            refused: Notify::new(),
            waiting: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner), acquire, begin: begin.map(Arc::from) }
    }

    /// Tells how many connections there are, whenever it is called.
    pub fn status(&self) -> impl Fn() -> Status + Send + Sync + 'static {
        let inner = Arc::clone(&self.inner);
        move || {
            let unmanaged::Status { max_size, size, available, .. } = inner.open.status();
            let waiting = inner.waiting.load(Ordering::Relaxed);
            Status { max: max_size, open: size, idle: available, waiting }
        }
    }

    /// How many connections there may be.
    pub fn most(&self) -> usize {
        self.inner.open.status().max_size
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], whatever the cause: a later try may have one.
    pub async fn acquire(&self) -> Result<Taken<C>, StoreError> {
        let until = Instant::now() + self.acquire;
        match tokio::time::timeout_at(until.into(), self.inner.take()).await {
            Ok(Ok(mut taken)) => {
                taken.begin = self.begin.as_ref().map(|begin| (Arc::clone(begin), until));
                taken.least = LEAST.min(self.acquire / 4);
                Ok(taken)
            }
            Ok(Err(reason)) => Err(StoreError::Unavailable(reason)),
            Err(_) => {
                let Status { max, open, waiting, .. } = self.status()();
                let refused = self.inner.reason().map(|reason| format!("; another is refused: {reason}"));
                Err(StoreError::Unavailable(format!(
                    "no connection within {:?} (ACQUIRE_TIMEOUT): {open} of {max} are open, {waiting} requests wait{}",
                    self.acquire,
                    refused.unwrap_or_default()
                )))
            }
        }
    }

    /// Closes the connections that are not in use; there will be no others.
    pub async fn close(&self) {
        while let Ok(held) = self.inner.open.try_remove() {
            // It is gone in any case.
            let _ = held.connection.close().await;
        }
        self.inner.open.close();
    }
}
