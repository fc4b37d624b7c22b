//! What comes of a wire to PostgreSQL that breaks: an answer is whole and the right one, or a 503.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use serde_json::json;

use crate::indexes::{PUT_TOGETHER, fill};
use crate::reliability::wait;
use crate::support::{Answer, Clients, Database, Engine, Glimpse, Image, Start, Wire, get, image};

const LISTS: [&str; 6] = [
    "/v1.1/images/detail?limit=3",
    "/v1.1/images/detail?name=image-2",
    "/v1.1/images?size_min=0&sort_key=name",
    "/v1.1/images/detail?property-text=nothing",
    "/v1.1/images/detail?limit=2&marker=3c3d1d01-b48a-4639-8a88-000000000005",
    "/v1.1/shared-images/p",
];

/// A server on a wire, with one connection to the database.
fn serve(settings: &[(&str, &str)]) -> (Glimpse, Wire) {
    let properties = BTreeMap::from([("text".to_owned(), Some("x".repeat(240)))]);
    let sql: String =
        (1..=9).map(|number| Image { properties: properties.clone(), ..image(number) }.insert()).collect();
    let database = Database::new(Engine::Postgres);
    let wire = Wire::to(&database.url);
    let start = Start::on(database).seed("1_images.sql", sql).set("DATABASE_URL", wire.url.clone());
    let start = start.set("DATABASE_CONNECTIONS", "1").set("ACQUIRE_TIMEOUT", "1m").set("QUERY_TIMEOUT", "1m");
    let server = settings.iter().fold(start, |start, (name, value)| start.set(name, *value)).serve();
    (server, wire)
}

/// What the lists answer while nothing is broken.
fn truth(server: &Glimpse) -> Vec<(&'static str, String)> {
    LISTS.into_iter().map(|list| (list, expect_answered(server, list))).collect()
}

#[track_caller]
fn expect_answered(server: &Glimpse, target: &str) -> String {
    let answer = server.get(target);
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.body
}

/// Whether an answer is the true one; else it must be a 503.
#[track_caller]
fn is_true(answer: &Answer, body: &str, what: &str) -> bool {
    if answer.status == 200 {
        assert_eq!(answer.body, body, "{what}");
        return true;
    }
    assert_eq!(answer.refusal(503), "The database does not answer at the moment.", "{what}");
    assert_eq!(answer.header("Retry-After"), Some("1"), "{what}");
    false
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn an_answer_that_is_cut_after_any_byte_is_a_503() {
    let (server, wire) = serve(&[]);
    let truth = truth(&server);
    for (list, body) in &truth {
        wire.passed();
        expect_answered(&server, list);
        let whole = wire.passed();
        assert!(whole > 20, "{list} took {whole} bytes");
        // Each byte near the ends, and some in between.
        let places = (0..whole + 2).filter(|byte| *byte < 80 || byte % 41 == 0 || byte + 30 > whole);
        for byte in places {
            wire.cut_after(byte);
            let answered = is_true(&server.get(list), body, &format!("{list} cut after {byte} of {whole}"));
            // Of what comes behind the page nothing is lost.
            assert!(!answered || byte > 0, "{list} cut after {byte} of {whole}");
            wire.heal();
            // The connection was lost, and nothing else.
            assert_eq!(&expect_answered(&server, list), body);
        }
    }
}

/// Its queries are in one transaction, which must not outlive what has broken.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_page_put_together_of_several_answers_is_whole_or_a_503() {
    let (server, wire) = serve(&[]);
    server.database().execute(fill(Engine::Postgres));
    let body = expect_answered(&server, PUT_TOGETHER);
    assert!(server.get("/metrics").body.contains("query_duration_seconds_count{plan=\"by_keys\"} 1\n"));
    wire.passed();
    assert_eq!(expect_answered(&server, PUT_TOGETHER), body);
    let whole = wire.passed();
    for byte in (0..whole + 2).step_by(37) {
        wire.cut_after(byte);
        is_true(&server.get(PUT_TOGETHER), &body, &format!("cut after {byte} of {whole}"));
        wire.heal();
        assert_eq!(expect_answered(&server, PUT_TOGETHER), body);
    }
    let server = server.stop().set("QUERY_TIMEOUT", "400ms").serve();
    let mut refused = 0;
    for byte in (0..whole).step_by(whole / 5) {
        assert_eq!(expect_answered(&server, PUT_TOGETHER), body);
        wire.silence_after(byte + 1);
        refused += u32::from(!is_true(&server.get(PUT_TOGETHER), &body, &format!("silent after {byte} of {whole}")));
        wire.heal();
    }
    assert!(refused > 1, "{refused}");
    let left = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    while !server.database().texts(left).is_empty() {
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn an_answer_that_cannot_be_understood_is_a_503() {
    let (server, wire) = serve(&[]);
    for (list, body) in &truth(&server) {
        // It tells what the answer is.
        wire.garble(0, 0xff);
        assert!(!is_true(&server.get(list), body, list));
        // The connection was given up, and nothing else.
        assert_eq!(&expect_answered(&server, list), body);
    }
}

/// Among what is changed are lengths; what lies in a document may be changed unseen.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn an_answer_that_is_changed_anywhere_is_an_answer() {
    let (server, wire) = serve(&[("QUERY_TIMEOUT", "200ms")]);
    let (list, body) = truth(&server).swap_remove(0);
    for place in 0..32 {
        for byte in [0, 1, 0x7f, 0xff] {
            wire.garble(place, byte);
            let answer = server.get(list);
            assert!([200, 503].contains(&answer.status), "{byte} at {place}: {answer:?}");
            wait("service", || server.get(list).body == body);
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_connection_that_is_cut_while_it_is_made_is_a_503() {
    let (server, wire) = serve(&[]);
    let (list, body) = truth(&server).swap_remove(0);
    // The server notices that its connection is gone as it uses it.
    let lose = || {
        wire.cut();
        while server.get(list).status == 200 {}
    };
    lose();
    wire.passed();
    assert_eq!(expect_answered(&server, list), body);
    let whole = wire.passed();
    for byte in (0..whole).filter(|byte| *byte < 40 || byte % 23 == 0 || byte + 10 > whole) {
        lose();
        wire.cut_after(byte);
        assert!(!is_true(&server.get(list), &body, &format!("cut after {byte} of {whole}")), "{byte} of {whole}");
        wire.heal();
        assert_eq!(expect_answered(&server, list), body);
    }
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn answers_that_come_byte_by_byte_are_whole() {
    let (server, wire) = serve(&[]);
    let truth = truth(&server);
    wire.slow();
    for (list, body) in &truth {
        assert_eq!(&expect_answered(&server, list), body);
    }
}

/// A list that waits for its answer.
fn ask(server: &Glimpse, target: &str) -> TcpStream {
    let mut stream = server.connect();
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the request can be sent");
    stream
}

/// Returns once a metric has a value.
fn wait_for(server: &Glimpse, metric: &str) {
    while !server.get("/metrics").body.lines().any(|line| line == metric) {
        std::thread::yield_now();
    }
}

/// The late answer of one query is not taken for that of the next.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn an_answer_that_comes_too_late_is_nobody_elses() {
    let (server, wire) = serve(&[("QUERY_TIMEOUT", "400ms")]);
    let truth = truth(&server);
    for (late, next) in truth.iter().zip(truth.iter().skip(1)) {
        // Too late for its time-out.
        wire.silence();
        assert!(!is_true(&server.get(late.0), &late.1, late.0));
        wire.heal();
        assert_eq!(expect_answered(&server, next.0), next.1);
        // Too late for its client, which has gone.
        wire.silence();
        let gone = ask(&server, late.0);
        wait_for(&server, "glimpse_pool_connections{state=\"used\"} 1");
        drop(gone);
        wire.heal();
        assert_eq!(expect_answered(&server, next.0), next.1);
    }
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_silent_database_is_a_503_and_heals() {
    let (server, wire) = serve(&[("QUERY_TIMEOUT", "300ms"), ("ACQUIRE_TIMEOUT", "300ms")]);
    let (list, body) = truth(&server).swap_remove(0);
    for _ in 0..3 {
        wire.silence();
        // The first waits for its answer, those behind it for a connection.
        for target in [list, "/ready", list] {
            assert!(!is_true(&server.get(target), "OK", target));
        }
        assert_eq!(server.get("/healthcheck").status, 200);
        wire.heal();
        assert_eq!(expect_answered(&server, list), body);
        assert_eq!(server.get("/ready").status, 200);
    }
}

/// As where a firewall drops what would open a connection.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn while_no_other_connection_can_be_opened_the_open_one_serves_all() {
    let (server, wire) = serve(&[("DATABASE_CONNECTIONS", "4"), ("ACQUIRE_TIMEOUT", "2s")]);
    let (list, body) = truth(&server).swap_remove(0);
    wire.silence_new();
    let clients = Clients::start(&server.address, 8, list, &body);
    while clients.counts().0 < 1000 && clients.counts().1 == 0 {
        thread::yield_now();
    }
    // Some of them began to open another.
    let seen = clients.stop();
    seen.expect_only_200_and_503();
    assert_eq!(seen.of(503), 0);
}

/// As where a router has forgotten connections that nothing has passed on for long.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_connection_that_has_died_while_it_rested_costs_no_answer() {
    let (server, wire) = serve(&[("ACQUIRE_TIMEOUT", "4s")]);
    let (list, body) = truth(&server).swap_remove(0);
    for _ in 0..2 {
        wait("the connection to have rested", || {
            let rested = "SELECT 'x' FROM pg_stat_activity WHERE application_name = 'glimpse'
                AND datname = current_database() AND state_change > now() - interval '1.5 s'";
            server.database().texts(rested).is_empty()
        });
        wire.silence_old();
        assert_eq!(expect_answered(&server, list), body);
    }
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_database_that_talks_nonsense_is_a_503_and_heals() {
    let (server, wire) = serve(&[("ACQUIRE_TIMEOUT", "300ms")]);
    let (list, body) = truth(&server).swap_remove(0);
    wire.go_mad();
    wire.cut();
    for _ in 0..4 {
        assert!(!is_true(&server.get(list), "", "nonsense"));
    }
    wire.heal();
    wait("service", || server.get(list).body == body);
}

/// What is wrong with these is told without the database.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn while_every_connection_is_blocked_all_that_needs_none_is_answered() {
    let (server, wire) = serve(&[("DATABASE_CONNECTIONS", "2")]);
    let server = server.stop();
    let tokens = json!({ "t": { "user": "u", "project": "p", "roles": ["reader"] }, "x": { "user": "u", "project": "p", "roles": [] } });
    let server = server.tokens(&tokens).set("ALLOWED_ROLES", "reader").serve();
    let list = "/v1.1/images/detail";
    let authorised = |target: &str| get(target).token("t");
    assert_eq!(server.send(&authorised(list)).status, 200);
    wire.silence();
    let blocked: Vec<TcpStream> = (0..6)
        .map(|_| {
            let mut stream = server.connect();
            let head = format!("GET {list} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: t\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("the request can be sent");
            stream
        })
        .collect();
    // One waits for its answer, one for a new connection, the others for either; and this one asks.
    wait_for(&server, "glimpse_http_requests_in_flight 7");
    let long = format!("{list}?x={}", "y".repeat(9000));
    let mut asked = 0;
    for query in [
        "limit=x",
        "limit=-1",
        "marker=x",
        "sort_key=x",
        "sort_dir=x",
        "size_min=x",
        "size_max=-1",
        "min_ram=x",
        "min_disk=x",
        "changes-since=x",
        "changes-since=9999-99-99",
        "is_public=x",
        "protected=x",
        "name=%00",
        "name=in:%22a",
        "status=%ff",
        "property-a=%00",
        "property-%00=a",
        "owner=%00&name=%ff",
    ] {
        for path in [list, "/v1/images"] {
            server.send(&authorised(&format!("{path}?{query}"))).refusal(400);
            asked += 1;
        }
    }
    for (request, status) in [
        (get(list), 401),
        (get(list).token("nobody"), 401),
        (get("/v1/images/x/members"), 401),
        (get(list).token("x"), 403),
        (authorised("/nope"), 404),
        (authorised("/v1.1/nope"), 404),
        (authorised("/v1.1/images/no-uuid"), 404),
        (authorised("/v1.1/images/no-uuid/members"), 404),
        (authorised(list).method("DELETE"), 405),
        (authorised(list).method("POST"), 405),
        (authorised(&long), 414),
        (authorised(list).header("Host", "a b"), 400),
    ] {
        server.send(&request).refusal(status);
        asked += 1;
    }
    for path in ["/", "/versions", "/v1.1", "/healthcheck", "/metrics", "/openapi.json", "/docs", "/console"] {
        assert!(server.get(path).status < 400, "{path}");
        asked += 1;
    }
    assert_eq!(server.send(&authorised(list).method("OPTIONS")).status, 200);
    assert!(asked > 50, "{asked}");
    // All that time nobody else had an answer.
    for mut stream in &blocked {
        stream.set_nonblocking(true).expect("a socket");
        assert!(stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        stream.set_nonblocking(false).expect("a socket");
    }
    wire.heal();
    for stream in blocked {
        assert_eq!(Answer::read(stream, "GET").status, 200);
    }
}

/// Several clients, several connections, cut at any moment.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn answers_on_wires_that_are_cut_again_and_again_are_never_mixed() {
    let (server, wire) = serve(&[("DATABASE_CONNECTIONS", "4")]);
    let truth = truth(&server);
    let (server, truth, wire) = (&server, &truth, &wire);
    let (answered, refused) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|client| {
                scope.spawn(move || {
                    let (mut answered, mut refused) = (0, 0);
                    for number in 0..60 {
                        let (list, body) = &truth[(client + number) % truth.len()];
                        if is_true(&server.get(list), body, list) {
                            answered += 1;
                        } else {
                            refused += 1;
                        }
                        // Lengths that have nothing to do with those of answers.
                        if (client + number) % 3 == 0 {
                            wire.cut_after((client * 977 + number * 613) % 4000);
                        } else {
                            wire.heal();
                        }
                    }
                    (answered, refused)
                })
            })
            .collect();
        let outcomes = clients.into_iter().map(|client| client.join().expect("no answer was wrong"));
        outcomes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    assert!(answered > 20 && refused > 20, "{answered} answered, {refused} refused");
    wire.heal();
    for (list, body) in truth {
        // One is lost for each connection that has broken while it rested.
        while !is_true(&server.get(list), body, list) {}
    }
}

/// Nothing tells that a network has lost what was sent: without a limit they would wait for ever.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn what_hears_nothing_more_of_the_database_ends_and_says_so() {
    let mut database = Database::new(Engine::Postgres);
    let wire = Wire::to(&database.url);
    for command in ["migrate", "serve --migrate false", "export", "generate --count 1000 --append"] {
        let start = command.split(' ').fold(Start::on(database), Start::argument);
        let start = start.set("DATABASE_URL", wire.url.clone()).set("CONNECT_TIMEOUT", "1s");
        // At once, while the first connection is made, and behind that.
        for bytes in [1, 700, 1200] {
            wire.silence_after(bytes);
            let message = start.refusal();
            assert!(message.contains("CONNECT_TIMEOUT") && message.contains("PostgreSQL"), "{command}: {message}");
            wire.heal();
        }
        let start = Start::on(start.database).argument("migrate");
        assert!(start.output().status.success());
        database = start.database;
    }
}
