//! The end of a server that still has clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::rt::time::sleep;

/// For so long no request must begin before nobody is thought to be on the way with one: clients on a
/// busy machine make pauses.
const QUIET: Duration = Duration::from_millis(250);

/// Whether the server is about to end, and what still comes.
#[derive(Default)]
pub struct Drain {
    is_on: AtomicBool,
    begun: AtomicU64,
}

impl Drain {
    /// Counts a request.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an answer is to be the last on its connection.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// From now on lets each connection end with its next answer; returns when no request has begun
    /// for a moment, but no later than after `longest`.
    pub async fn run(&self, longest: Duration) {
        self.is_on.store(true, Ordering::Relaxed);
        let quiet = async {
            let mut before = None;
            loop {
                let begun = self.begun.load(Ordering::Relaxed);
                if before.replace(begun) == Some(begun) {
                    return;
                }
                sleep(QUIET).await;
            }
        };
        // Where they never cease, those that come now are lost whenever it ends.
        let _ = actix_web::rt::time::timeout(longest, quiet).await;
    }
}
