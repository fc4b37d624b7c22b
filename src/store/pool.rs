//! The connections that queries run on, kept open between them.
//!
//! sqlx's own pool asks a connection for a sign of life whenever it comes back, which costs as
//! much as a small query does. Here only the end of a query tells whether another may follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::Status;
use deadpool::managed::{self, Manager, Metrics, Object, PoolError, RecycleError, RecycleResult};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{StoreError, said};

/// What differs between the engines' connections.
pub trait Kept: Connection {
    /// How long one may rest before it is asked whether it still lives; `None` where nothing but
    /// this process can end it.
    const RESTS: Option<Duration>;

    /// Lets the engine itself end what runs past the deadline.
    fn obey(&mut self, deadline: Arc<Deadline>) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Kept for SqliteConnection {
    const RESTS: Option<Duration> = None;

    async fn obey(&mut self, deadline: Arc<Deadline>) -> sqlx::Result<()> {
        // Asked for every thousand steps of its machine, some ten microseconds of work.
        self.lock_handle().await?.set_progress_handler(1000, move || deadline.is_ahead());
        Ok(())
    }
}

impl Kept for PgConnection {
    // One that has rested may have been ended meanwhile, as by a restart of the database; one in
    // constant use is not worth the round trip.
    const RESTS: Option<Duration> = Some(Duration::from_secs(1));

    /// `statement_timeout` does it, without being told each time.
    async fn obey(&mut self, _deadline: Arc<Deadline>) -> sqlx::Result<()> {
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

/// A connection of the pool.
pub struct Held<C> {
    connection: C,
    deadline: Arc<Deadline>,
    /// Whether its last query came to its end. One that was left in the middle of a query, or
    /// that failed, is not used again.
    is_sound: bool,
}

impl<C> Held<C> {
    /// The connection for one query, which may run for `longest`; [`Held::ended`] gives it free.
    pub fn begin(&mut self, longest: Duration) -> &mut C {
        self.is_sound = false;
        self.deadline.set(longest);
        &mut self.connection
    }

    /// Tells how the query has ended.
    pub fn ended<T>(&mut self, outcome: &Result<T, StoreError>) {
        self.is_sound = matches!(outcome, Ok(_) | Err(StoreError::MarkerNotFound(_)));
    }
}

/// Opens connections.
pub struct Opener<C: Connection>(C::Options);

impl<C: Kept> Manager for Opener<C> {
    type Type = Held<C>;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Held<C>> {
        let mut connection = C::connect_with(&self.0).await?;
        let deadline = Arc::new(Deadline::new());
        connection.obey(Arc::clone(&deadline)).await?;
        Ok(Held { connection, deadline, is_sound: true })
    }

    async fn recycle(&self, held: &mut Held<C>, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if !held.is_sound {
            return Err(RecycleError::message("it was left in the middle of a query"));
        }
        if C::RESTS.is_some_and(|rests| metrics.last_used() > rests) {
            held.connection.ping().await?;
        }
        Ok(())
    }
}

/// The connections to one database.
pub struct Pool<C: Kept> {
    connections: managed::Pool<Opener<C>>,
    /// The longest wait for one of them.
    acquire: Duration,
}

impl<C: Kept + 'static> Pool<C> {
    /// A pool of up to `size` connections, which are opened when they are needed.
    pub fn new(options: C::Options, size: u32, acquire: Duration) -> Self {
        let size = usize::try_from(size).expect("a pool fits in memory");
        let pool = managed::Pool::builder(Opener(options)).max_size(size);
        Self { connections: pool.build().expect("a pool without time-outs needs no runtime"), acquire }
    }

    /// Tells how many connections there are, whenever it is called.
    pub fn status(&self) -> impl Fn() -> Status + Send + Sync + 'static {
        let connections = self.connections.clone();
        move || connections.status()
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], whatever the cause: a later try may have one.
    pub async fn acquire(&self) -> Result<Object<Opener<C>>, StoreError> {
        let taken = tokio::time::timeout(self.acquire, self.connections.get()).await;
        let reason = match taken {
            Ok(Ok(held)) => return Ok(held),
            Ok(Err(PoolError::Backend(error))) => said(&error),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {:?} (ACQUIRE_TIMEOUT)", self.acquire),
        };
        Err(StoreError::Unavailable(reason))
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
