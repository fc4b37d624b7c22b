//! More clients than there are connections to the database, by far.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{duration, figure, promised, slow_down, slow_target};
use crate::indexes::fill;
use crate::support::{Clients, Engine, Glimpse, Start, on_both_engines};

/// Clients at once.
const CLIENTS: usize = 2000;

/// What the server may hold in memory for each client beside its answer, in KiB: actix-web's buffers
/// to read and to write take 32 each.
const PER_CLIENT: u64 = 96;

/// The middle of many requests, one after another.
fn alone(server: &Glimpse, target: &str) -> Duration {
    let mut times: Vec<Duration> = (0..51)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(server.get(target).status, 200);
            started.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// The longest wait for a page that needs no connection, asked for again and again meanwhile.
fn asked_meanwhile(server: &Glimpse, path: &str, is_over: &AtomicBool) -> (Duration, u32) {
    let (mut longest, mut count) = (Duration::ZERO, 0);
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        assert_eq!(server.get(path).status, 200, "{path}");
        longest = longest.max(started.elapsed());
        count += 1;
    }
    (longest, count)
}

/// The load on a server that has just answered one request; what was seen is printed.
fn load(server: &Glimpse, name: &str, target: &str) {
    let expected = server.get(target);
    assert_eq!(expected.status, 200, "{}", expected.body);
    let (before, base) = (alone(server, target), server.memory("VmRSS"));
    let clients = Clients::start(&server.address, CLIENTS, target, &expected.body);
    let is_over = AtomicBool::new(false);
    let (seen, [health, metrics]) = std::thread::scope(|scope| {
        let meanwhile =
            ["/healthcheck", "/metrics"].map(|path| scope.spawn(|| asked_meanwhile(server, path, &is_over)));
        std::thread::sleep(duration());
        is_over.store(true, Ordering::Relaxed);
        (clients.stop(), meanwhile.map(|thread| thread.join().expect("both answer")))
    });
    let after = alone(server, target);
    let peak = server.memory("VmHWM");
    figure(&format!(
        "{name}, {:?}, {CLIENTS} clients, {:?}: {} times 200, {} times 503, longest wait {:.2?}; /healthcheck {} times, at most {:.0?}, \
         /metrics {} times, at most {:.0?}; memory {} MiB before, {} at most; alone {before:.2?} before and {after:.2?} after",
        server.database().engine,
        duration(),
        seen.of(200),
        seen.of(503),
        seen.longest,
        health.1,
        health.0,
        metrics.1,
        metrics.0,
        base / 1024,
        peak / 1024,
    ));
    seen.expect_only_200_and_503();
    assert!(seen.of(200) > 0, "{seen:?}");
    // ACQUIRE_TIMEOUT is 2 s; the query, and two thousand clients on the same cores, take theirs.
    promised("an answer under load", 4, seen.longest);
    promised("/healthcheck under load", 2, health.0);
    promised("/metrics under load", 2, metrics.0);
    let body = expected.body.len() as u64 / 1024 + 1;
    assert!(peak < base + CLIENTS as u64 * (PER_CLIENT + 2 * body), "{base} KiB grew to {peak}, {body} a page");
    promised("a request after the load", 0, after.saturating_sub(2 * before));
    assert!(!server.log().contains("panicked"));
}

fn every_request_is_answered_under_overload(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    start.database.execute(fill(engine));
    start.database.execute(crate::support::image(1).insert());
    let server = Start::on(start.database).set("DATABASE_CONNECTIONS", "4").serve();
    load(&server, "a page of 25", "/v1.1/images/detail?limit=25");
    load(&server, "a page of 1000", "/v1.1/images/detail?limit=1000");
    slow_down(&server, 100_000);
    load(&server, "slow queries", &slow_target());
}
on_both_engines!(every_request_is_answered_under_overload);
