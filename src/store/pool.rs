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
                self.pool.open_if_lacking(self.pool.openings());
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
    connections: unmanaged::Pool<Held<C>>,
    options: C::Options,
    runtime: MainRuntime,
    /// The longest time that one may take to be opened.
    longest: Duration,
    /// The longest wait for a sign of life of one that has rested.
    sign: Duration,
    openings: Mutex<Openings>,
    /// Tells all who wait that none can be had.
    refused: Notify,
    /// How many requests look for one, or wait.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Openings {
    underway: usize,
    /// When the last one failed and why, until one does not.
    failed: Option<(Instant, String)>,
}

/// A request that looks for a connection.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
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

    /// Begins to open another connection where there may be more. That goes on whoever gives up
    /// meanwhile: else many who wait for slow logins would have them begin again and again, and none
    /// would ever end.
    fn open_another(self: &Arc<Self>, mut openings: MutexGuard<'_, Openings>) {
        let unmanaged::Status { max_size, size, .. } = self.connections.status();
        let taken_up = size + openings.underway;
        let has_just_failed = openings.failed.as_ref().is_some_and(|(at, _)| at.elapsed() < PAUSE);
        if taken_up >= max_size || (has_just_failed && taken_up > 0) {
            return;
        }
        openings.underway += 1;
        let pool = Arc::clone(self);
        self.runtime.spawn(async move {
            let opener = Arc::clone(&pool);
            let opening = async move { tokio::time::timeout(opener.longest, Held::open(&opener.options)).await };
            // A panic of the library's is a failure like any other.
            let outcome = match tokio::spawn(opening).await {
                Ok(Ok(Ok(held))) => Ok(held),
                Ok(Ok(Err(error))) => Err(said(&error)),
                Ok(Err(_)) => Err(format!("a new connection is not open within {:?}", pool.longest)),
                Err(error) => Err(error.to_string()),
            };
            if pool.settle(outcome) {
                tokio::time::sleep(PAUSE).await;
                pool.open_if_lacking(pool.openings());
            }
        });
    }

    /// What becomes of an opening: its connection is there for who waits, or for nobody where the pool
    /// was closed meanwhile. Tells whether another is to be tried after a pause.
    fn settle(self: &Arc<Self>, outcome: Result<Held<C>, String>) -> bool {
        let mut openings = self.openings();
        openings.underway -= 1;
        match outcome {
            Ok(held) => {
                let _ = self.connections.try_add(held);
                openings.failed = None;
                // Those who came within the pause after a failure have not begun to open one.
                self.open_if_lacking(openings);
                false
            }
            Err(reason) => {
                openings.failed = Some((Instant::now(), reason));
                let is_last = openings.underway == 0;
                let is_any_open = self.connections.status().size > 0;
                if is_last && !is_any_open {
                    self.refused.notify_waiters();
                }
                is_last && is_any_open
            }
        }
    }

    /// Opens another connection where more wait than there are connections at rest or on their way.
    fn open_if_lacking(self: &Arc<Self>, openings: MutexGuard<'_, Openings>) {
        if self.waiting.load(Ordering::Relaxed) > self.connections.status().available + openings.underway {
            self.open_another(openings);
        }
    }

    /// Takes a connection however long that takes.
    ///
    /// # Errors
    /// Why there is none.
    async fn take(self: &Arc<Self>) -> Result<Taken<C>, String> {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let object = match self.connections.try_get() {
                Ok(object) => object,
                Err(_) => self.wait().await?,
            };
            let is_doubtful = object.is_doubtful();
            let pool = Arc::clone(self);
            let mut taken = Taken { object: Some(object), pool, begin: None, least: Duration::ZERO };
            taken.state = State::Left;
            if !is_doubtful || self.lives(&mut taken).await {
                return Ok(taken);
            }
            taken.state = State::Failed;
            drop(taken);
            // Others that have rested may be gone as well.
            let openings = self.openings();
            if openings.underway == 0 {
                self.open_another(openings);
            }
        }
    }

    /// Whether a connection gives a sign of life.
    async fn lives(&self, held: &mut Held<C>) -> bool {
        let answers = async { held.connection.ping().await.is_ok() };
        if C::OUTLIVES_QUERIES {
            // Its last query ends by the deadline.
            answers.await
        } else {
            tokio::time::timeout(self.sign, answers).await.unwrap_or(false)
        }
    }

    /// Waits in line for the first connection that is free.
    async fn wait(self: &Arc<Self>) -> Result<Object<Held<C>>, String> {
        loop {
            let refused = self.refused.notified();
            self.open_another(self.openings());
            tokio::select! {
                biased;
                got = self.connections.get() => return got.map_err(|error| error.to_string()),
                () = refused => {
                    // By now another may have been opened.
                    if let Some(reason) = self.reason() {
                        return Err(reason);
                    }
                }
            }
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
            connections: unmanaged::Pool::new(usize::try_from(size).expect("a pool fits in memory")),
            options,
            runtime: MainRuntime::this(),
            longest: OPENING.max(2 * acquire),
            sign: acquire / 4,
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
            let unmanaged::Status { max_size, size, available, .. } = inner.connections.status();
            let waiting = inner.waiting.load(Ordering::Relaxed);
            Status { max: max_size, open: size, idle: available, waiting }
        }
    }

    /// How many connections there may be.
    pub fn most(&self) -> usize {
        self.inner.connections.status().max_size
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
        while let Ok(held) = self.inner.connections.try_remove() {
            // It is gone in any case.
            let _ = held.connection.close().await;
        }
        self.inner.connections.close();
    }
}
