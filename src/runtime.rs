//! The runtime that outlives those of the workers.
//!
//! Each worker of the server has a runtime of its own, which ends with the worker's last client. A
//! connection that was opened there ends with it, though another worker may be in the middle of a
//! query on it. So what all workers share is opened on the runtime of the process.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

/// The runtime of the process.
pub struct MainRuntime(Handle);

impl MainRuntime {
    /// The runtime that this is called on.
    ///
    /// # Panics
    /// Where there is none.
    pub fn this() -> Self {
        Self(Handle::current())
    }

    /// Begins work there that goes on whoever waits for its outcome.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }

    /// Begins work there. It ends early where nobody waits for its outcome any more.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> {
        let mut works = JoinSet::new();
        works.spawn_on(work, &self.0);
        async move {
            match works.join_next().await.expect("there is one").map_err(JoinError::try_into_panic) {
                Ok(done) => done,
                Err(Ok(panic)) => resume_unwind(panic),
                // The process is ending.
                Err(Err(_)) => pending().await,
            }
        }
    }
}
