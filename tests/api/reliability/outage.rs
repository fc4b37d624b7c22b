//! PostgreSQL goes away, under load, and comes back.

use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::{duration, figure, promised, wait};
use crate::indexes::{PUT_TOGETHER, fill};
use crate::support::{Answer, Clients, Cluster, Database, Engine, Glimpse, Pooler, Start, run};

const TARGET: &str = "/v1.1/images/detail?limit=25";

/// A role of PostgreSQL without privileges, whose connections have no places of their own.
const ROLE: &str = "app";

/// A server on a cluster of its own, as a role that is no superuser.
fn served(cluster: &Cluster, pooler: Option<&Pooler>, connections: &str) -> Glimpse {
    let database = Database::of(cluster);
    database.execute(format!("CREATE ROLE {ROLE} LOGIN; GRANT ALL ON SCHEMA public TO {ROLE}"));
    let start = match pooler {
        Some(pooler) => Start::on(database).set("DATABASE_URL", pooler.url(ROLE)).set("POOLER", "transaction"),
        None => Start::on(database).set("DATABASE_URL", cluster.url(ROLE)),
    };
    let start = start.set("DATABASE_CONNECTIONS", connections).set("CONNECT_TIMEOUT", "20s");
    let server = start.serve();
    server.database().execute(fill(Engine::Postgres));
    server
}

fn is_ready(server: &Glimpse) -> bool {
    server.get("/ready").status == 200
}

/// Returns once the clients have had nothing but 200 for a second: when the last 503 came.
fn until_all_is_well(clients: &Clients) -> Instant {
    let (mut last, mut seen) = (Instant::now(), clients.counts());
    let patience = Instant::now() + Duration::from_secs(30);
    while last.elapsed() < Duration::from_secs(1) || clients.counts().0 == seen.0 {
        assert!(Instant::now() < patience, "full service does not come back");
        let now = clients.counts();
        if now.1 != seen.1 {
            (last, seen) = (Instant::now(), now);
        }
        thread::yield_now();
    }
    last
}

/// How long the slowest of all was.
#[derive(Default)]
struct Times {
    count: u32,
    unready: Duration,
    ready: Duration,
    whole: Duration,
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn an_outage_of_postgresql_is_a_503_and_then_over() {
    let cluster = Cluster::new(30);
    let server = served(&cluster, None, "8");
    outages("", &cluster, &server);
    assert!(server.log().contains("Connection refused"));
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn an_outage_behind_a_pooler_is_a_503_and_then_over() {
    let cluster = Cluster::new(30);
    let pooler = cluster.pooler();
    let server = served(&cluster, Some(&pooler), "8");
    outages("behind a pooler, ", &cluster, &server);
}

fn outages(name: &str, cluster: &Cluster, server: &Glimpse) {
    let [clients, others] = [(TARGET, 48), (PUT_TOGETHER, 16)]
        .map(|(target, count)| Clients::start(&server.address, count, target, &server.get(target).body));
    let (started, mut times) = (Instant::now(), Times::default());
    while started.elapsed() < duration() || times.count < 3 {
        match times.count % 3 {
            0 => {
                cluster.stop("immediate");
                let unready = wait("/ready to follow", || !is_ready(server));
                times.unready = times.unready.max(unready);
                cluster.start();
            }
            1 => cluster.restart(),
            _ => server
                .database()
                .execute(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")),
        }
        let back = Instant::now();
        times.ready = times.ready.max(wait("/ready to follow", || is_ready(server)));
        times.whole = times.whole.max(until_all_is_well(&clients).saturating_duration_since(back));
        times.count += 1;
    }
    let mut seen = clients.stop();
    seen.add(others.stop());
    figure(&format!(
        "{name}{} outages in {:.0?}: {} times 200, {} times 503, longest wait {:.2?}; /ready followed the end within {:.0?} and the \
         return within {:.0?}; the last 503 came {:.0?} after the return",
        times.count,
        started.elapsed(),
        seen.of(200),
        seen.of(503),
        seen.longest,
        times.unready,
        times.ready,
        times.whole
    ));
    seen.expect_only_200_and_503();
    assert!(seen.of(503) > 0, "nothing was broken");
    // A pooler lets requests wait for the return as long as they may, and itself tries once a second.
    let [unready, ready, whole] = if name.is_empty() { [1, 1, 2] } else { [2, 3, 3] };
    promised("/ready after the end", unready, times.unready);
    promised("/ready after the return", ready, times.ready);
    promised("full service after the return", whole, times.whole);
    assert!(!server.log().contains("panicked"));
}

/// Takes places in PostgreSQL's table of connections until there is none left.
fn take_all(url: &str) -> Vec<PgConnection> {
    let mut taken = Vec::new();
    run(async {
        while let Ok(connection) = PgConnection::connect(url).await {
            taken.push(connection);
        }
    });
    taken
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_full_connection_table_takes_nothing_but_what_is_not_there() {
    let cluster = Cluster::new(20);
    let server = served(&cluster, None, "8");
    let expected = server.get(TARGET);
    // One connection is open now; all others are taken.
    let taken = take_all(&cluster.url(ROLE));
    assert!(!taken.is_empty());
    let clients = Clients::start(&server.address, 32, TARGET, &expected.body);
    wait("the clients to be served", || clients.counts().0 > 500);
    assert!(is_ready(&server));
    let seen = clients.stop();
    seen.expect_only_200_and_503();
    assert_eq!(seen.of(503), 0, "the connection that is open serves them all");

    let clients = Clients::start(&server.address, 32, TARGET, &expected.body);
    let mut more = Vec::new();
    while is_ready(&server) {
        // Whoever comes first gets the place that this leaves.
        server
            .database()
            .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'glimpse'");
        more.extend(take_all(&cluster.url(ROLE)));
    }
    assert_eq!(server.get("/healthcheck").status, 200);
    assert!(server.log().contains("remaining connection slots"), "{}", server.log());
    drop((taken, more));
    let back = Instant::now();
    wait("/ready to follow", || is_ready(&server));
    let whole = until_all_is_well(&clients).saturating_duration_since(back);
    let seen = clients.stop();
    figure(&format!(
        "a full connection table: {} times 200, {} times 503; the last 503 came {whole:.0?} after there were places",
        seen.of(200),
        seen.of(503)
    ));
    seen.expect_only_200_and_503();
    promised("full service after there were places", 2, whole);
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_server_that_is_started_before_its_database_waits_for_it() {
    let cluster = Cluster::new(10);
    started_before(&cluster, Start::on(Database::of(&cluster)), "refused");
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_server_that_is_started_before_the_database_of_its_pooler_waits_for_it() {
    let cluster = Cluster::new(10);
    let pooler = cluster.pooler();
    let start = Start::on(Database::of(&cluster)).set("DATABASE_URL", pooler.url("glimpse"));
    started_before(&cluster, start.set("POOLER", "transaction"), "no answer");
}

fn started_before(cluster: &Cluster, start: Start, reason: &str) {
    cluster.stop("fast");
    let (start, reason) = (start.set("CONNECT_TIMEOUT", "1m"), reason.to_owned());
    let log = start.database.folder.path().join("log");
    let (tell, told) = mpsc::channel();
    let serving = thread::spawn(move || {
        let server = start.serve();
        tell.send(()).expect("the test waits");
        server
    });
    wait("it to say that it waits", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("waiting for PostgreSQL") && log.contains(&reason))
    });
    assert!(told.try_recv().is_err(), "it serves without a database");
    cluster.start();
    let server = serving.join().expect("it serves");
    assert!(is_ready(&server));
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_database_that_hangs_holds_up_only_what_needs_it() {
    let cluster = Cluster::new(30);
    let start = Start::on(Database::of(&cluster)).set("QUERY_TIMEOUT", "1s").set("ACQUIRE_TIMEOUT", "500ms");
    let mut server = start.serve();
    server.database().execute(fill(Engine::Postgres));
    let expected = server.get(TARGET);
    let clients = Clients::start(&server.address, 64, TARGET, &expected.body);
    wait("the clients to be served", || clients.counts().0 > 100);
    cluster.pause();
    let before = clients.counts().1;
    wait("the clients to be refused", || clients.counts().1 > before + 200);
    for (target, status) in [("/healthcheck", 200), ("/metrics", 200), ("/v1.1/images?limit=x", 400), ("/v1.1/x", 404)]
    {
        assert_eq!(server.get(target).status, status, "{target}");
    }
    assert!(!is_ready(&server));
    cluster.resume();
    let back = Instant::now();
    let ready = wait("/ready to follow", || is_ready(&server));
    let whole = until_all_is_well(&clients).saturating_duration_since(back);
    let seen = clients.stop();
    figure(&format!(
        "a database that hangs: {} times 200, {} times 503, longest wait {:.2?}; /ready followed its return within {ready:.0?}, \
         the last 503 came {whole:.0?} after it",
        seen.of(200),
        seen.of(503),
        seen.longest
    ));
    seen.expect_only_200_and_503();
    promised("/ready after the return", 1, ready);
    promised("full service after the return", 2, whole);

    // Nor does it keep the server from its end.
    cluster.pause();
    let mut asking = server.connect();
    asking.write_all(format!("GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("it can be sent");
    server.signal("TERM");
    Answer::read(asking, "GET").refusal(503);
    assert!(server.wait().success());
    cluster.resume();
}

/// As where a disk fails: somebody mends it, and then queries are answered again.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_table_that_cannot_be_read_is_a_503() {
    let cluster = Cluster::new(20);
    let server = served(&cluster, None, "4");
    let whole = server.get(TARGET);
    let path = server.database().texts("SELECT pg_relation_filepath('images')").remove(0).expect("a path");
    let file = format!("{}/{path}", cluster.data());
    let away = format!("{file}.away");
    let rename = |from: &str, to: &str| {
        cluster.stop("fast");
        std::fs::rename(from, to).expect("the file can be renamed");
        cluster.start();
    };
    rename(&file, &away);
    wait("the connections of before to be gone", || server.get(TARGET).status == 503 && server.log().contains(&path));
    server.get(TARGET).refusal(503);
    server.get("/ready").refusal(503);
    rename(&away, &file);
    wait("/ready to follow", || is_ready(&server));
    assert_eq!(server.get(TARGET).body, whole.body);
}

/// Else a load balancer would send requests to a server that can answer none.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_server_that_may_not_read_its_tables_is_not_ready() {
    let cluster = Cluster::new(20);
    let server = served(&cluster, None, "4");
    for table in ["images", "image_members", "image_properties"] {
        assert!(is_ready(&server), "{}", server.log());
        server
            .database()
            .execute(format!("ALTER TABLE {table} OWNER TO CURRENT_USER; REVOKE ALL ON {table} FROM {ROLE}"));
        server.get("/ready").refusal(500);
        server.database().execute(format!("GRANT SELECT ON {table} TO {ROLE}"));
    }
}

/// Nobody else comes meanwhile, by whose asking another connection would be opened.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn whoever_waits_gets_a_place_that_becomes_free() {
    let cluster = Cluster::new(20);
    let server = served(&cluster, None, "2");
    let server = server.stop().set("QUERY_TIMEOUT", "1m").set("ACQUIRE_TIMEOUT", "1m").serve();
    assert_eq!(server.get(TARGET).status, 200);
    server.database().execute(format!("ALTER ROLE {ROLE} CONNECTION LIMIT 1"));
    let lock = run(async {
        let mut connection = PgConnection::connect(&server.database().url).await.expect("a connection");
        sqlx::raw_sql("BEGIN; LOCK TABLE images").execute(&mut connection).await.expect("the table can be locked");
        connection
    });
    let used = |count: usize| {
        let line = format!("pool_connections{{state=\"used\"}} {count}");
        wait("connections to be used", || server.get("/metrics").body.contains(&line));
    };
    let ask = || {
        let mut client = server.connect();
        let request = format!("GET {TARGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).expect("the request can be sent");
        client
    };
    let first = ask();
    used(1);
    let second = ask();
    wait("another connection to be refused", || cluster.log().contains("too many connections for role"));
    server.database().execute(format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1"));
    used(2);
    run(async move { lock.close().await.expect("it can be closed") });
    for client in [first, second] {
        assert_eq!(Answer::read(client, "GET").status, 200);
    }
}

/// What was prepared before must be prepared anew, on each connection.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_table_that_changes_is_a_503_at_most() {
    let server = Start::new(Engine::Postgres).set("DATABASE_CONNECTIONS", "1").serve();
    server.database().execute(fill(Engine::Postgres));
    let whole = server.get(TARGET);
    server.database().execute("ALTER TABLE images ALTER COLUMN document TYPE varchar");
    server.get(TARGET).refusal(503);
    assert_eq!(server.get(TARGET).body, whole.body);
    assert!(server.log().contains("cached plan must not change result type"), "{}", server.log());
}

/// To wait does not help.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_database_without_the_tls_that_is_asked_for_is_refused_at_once() {
    let cluster = Cluster::new(20);
    let url = format!("{}?sslmode=require", cluster.url("glimpse"));
    let message = Start::on(Database::of(&cluster)).set("DATABASE_URL", url).set("CONNECT_TIMEOUT", "1h").refusal();
    assert!(message.contains("refuses the connection") && message.contains("TLS"), "{message}");
}

/// Some drop what they do not know, the time-outs of queries among it, and run one client's prepared
/// statement for another.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_pooler_that_drops_settings_is_told_from_postgresql() {
    let cluster = Cluster::new(20);
    let pooler = cluster.pooler_with("ignore_startup_parameters = extra_float_digits,options");
    let server = Start::on(Database::of(&cluster)).set("DATABASE_URL", pooler.url("glimpse")).serve();
    server.get(TARGET).refusal(503);
    assert!(server.log().contains("needs POOLER=transaction"), "{}", server.log());
    let database = Database::of(&cluster);
    let server = Start::on(database).set("DATABASE_URL", pooler.url("glimpse")).set("POOLER", "transaction").serve();
    assert_eq!(server.get(TARGET).status, 200);
}

/// Whoever asks has long been told to come again, and then finds a connection.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn logins_that_take_longer_than_requests_wait_are_made_all_the_same() {
    let database = Database::new(Engine::Postgres);
    let url = format!("{}?options=-c%20post_auth_delay=1", database.url);
    let server = Start::on(database).set("DATABASE_URL", url).set("ACQUIRE_TIMEOUT", "200ms").serve();
    wait("a connection", || is_ready(&server));
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_pooler_is_asked_however_short_requests_wait() {
    let start = Start::new(Engine::Postgres).set("POOLER", "transaction").set("ACQUIRE_TIMEOUT", "100ms");
    let server = start.serve();
    wait("a connection", || is_ready(&server));
}
