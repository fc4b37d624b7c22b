//! Queries that take too long, and those that nobody waits for any more.

use std::io::Write as _;
use std::time::Duration;

use socket2::SockRef;

use super::{slow_down, slow_target, speed_up, wait};
use crate::support::{Engine, Glimpse, Start, image, on_both_engines};

/// So many rows take hours.
const ENDLESS: u64 = 1_000_000_000_000;

fn slow(engine: Engine) -> Start {
    Start::new(engine).seed("1_a.sql", image(1).insert()).set("DATABASE_CONNECTIONS", "1")
}

/// The processes of PostgreSQL that work for Glimpse on a query of these tests.
fn working(server: &Glimpse) -> usize {
    let sql = "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'glimpse' AND state = 'active'
         AND datname = current_database()";
    server.database().texts(sql).len()
}

fn processes(server: &Glimpse) -> Vec<Option<String>> {
    server.database().texts(
        "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'glimpse' AND datname = current_database()",
    )
}

fn a_query_that_takes_too_long_is_ended_by_the_engine(engine: Engine) {
    let server = slow(engine).set("QUERY_TIMEOUT", "300ms").set("ACQUIRE_TIMEOUT", "20s").serve();
    let target = slow_target();
    let whole = server.get(&target);
    assert_eq!(whole.status, 200);
    slow_down(&server, ENDLESS);
    let before = if engine == Engine::Postgres { processes(&server) } else { Vec::new() };
    for _ in 0..3 {
        let answer = server.get(&target);
        answer.refusal(503);
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    // The connection is usable: it is the same, without a transaction or the rest of an answer.
    if engine == Engine::Postgres {
        assert_eq!(working(&server), 0);
        assert_eq!(processes(&server), before);
        assert!(server.log().contains("statement timeout"), "{}", server.log());
    }
    speed_up(&server);
    for _ in 0..3 {
        assert_eq!(server.get("/ready").status, 200);
        assert_eq!(server.get(&target).body, whole.body);
    }
}
on_both_engines!(a_query_that_takes_too_long_is_ended_by_the_engine);

/// Nobody waits for its end any more, and what it has locked is needed.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_seed_ends_with_the_process_that_applies_it() {
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    for signal in ["TERM", "KILL"] {
        let start = Start::new(Engine::Postgres).seed("1_endless.sql", endless).argument("migrate");
        let running = || {
            let sql = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                 AND query LIKE '%EXECUTE%' AND pid <> pg_backend_pid()";
            start.database.texts(sql).len()
        };
        let mut process = start.spawn();
        wait("the seed to run", || running() == 1);
        crate::restart::kill(&process, signal);
        assert!(!process.wait().expect("it ends").success());
        wait("PostgreSQL to stop", || running() == 0);
    }
}

/// Whose end, or reset, is there together with its request where the server is late to look.
fn the_query_of_a_client_that_has_gone_never_runs(engine: Engine) {
    let server = slow(engine).set("QUERY_TIMEOUT", "1h").set("ACQUIRE_TIMEOUT", "20s").serve();
    slow_down(&server, ENDLESS);
    for linger in [None, Some(Duration::ZERO)] {
        for _ in 0..4 {
            server.pause();
            for _ in 0..4 {
                let mut client = server.connect();
                let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", slow_target());
                client.write_all(request.as_bytes()).expect("the request can be sent");
                SockRef::from(&client).set_linger(linger).expect("a socket");
            }
            server.signal("CONT");
            // The one connection would be taken.
            assert_eq!(server.get("/ready").status, 200);
        }
    }
}
on_both_engines!(the_query_of_a_client_that_has_gone_never_runs);

fn the_query_of_a_client_that_goes_is_ended(engine: Engine) {
    let server = slow(engine).set("QUERY_TIMEOUT", "1h").set("ACQUIRE_TIMEOUT", "20s").serve();
    slow_down(&server, ENDLESS);
    for _ in 0..3 {
        let mut client = server.connect();
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", slow_target());
        client.write_all(request.as_bytes()).expect("the request can be sent");
        wait("the query to run", || server.get("/metrics").body.contains("pool_connections{state=\"used\"} 1"));
        if engine == Engine::Postgres {
            wait("PostgreSQL to work on it", || working(&server) == 1);
        }
        drop(client);
        // There is one connection: another query can only run once that one has ended, or its
        // connection is closed.
        assert_eq!(server.get("/ready").status, 200);
        if engine == Engine::Postgres {
            wait("PostgreSQL to stop", || working(&server) == 0);
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
on_both_engines!(the_query_of_a_client_that_goes_is_ended);
