//! What stands around the lists: discovery, health, unknown paths and methods, ids, the end.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::support::{Answer, Engine, Start, get, image, on_both_engines};

#[test]
fn discovery_lists_the_served_versions() {
    let server = Start::new(Engine::Sqlite).serve();
    let version = |id: &str, base: &str| json!({ "status": "DEPRECATED", "id": id, "links": [{ "href": format!("{base}/v1/"), "rel": "self" }] });
    let base = "http://images.test:81";
    let at = |path: &str| server.send(&get(path).header("Host", "images.test:81"));
    let all = json!({ "versions": [version("v1.1", base), version("v1.0", base)] });
    for (path, status) in [("/", 300), ("//", 300), ("/versions", 200), ("/versions/", 200)] {
        let answer = at(path);
        assert_eq!((answer.status, answer.json()), (status, all.clone()), "{path}");
        assert_eq!(answer.header("Content-Type"), Some("application/json; charset=UTF-8"));
    }
    for (path, id) in [
        ("/v1", "v1.1"),
        ("/v1/", "v1.1"),
        ("/v1.0", "v1.0"),
        ("/v1.0/", "v1.0"),
        ("/v1.1", "v1.1"),
        ("/v1.1/", "v1.1"),
    ] {
        assert_eq!((at(path).status, at(path).json()), (200, json!({ "version": version(id, base) })), "{path}");
    }
    let proxied = server.stop().set("PUBLIC_URL", "https://images.example.org/").serve();
    assert_eq!(proxied.get("/v1").json(), json!({ "version": version("v1.1", "https://images.example.org") }));
}

#[test]
fn unknown_paths_are_not_found() {
    let server = Start::new(Engine::Sqlite).serve();
    for path in [
        "/v2/images/detail",
        "/v1.2",
        "/V1/images/detail",
        "/images/detail",
        "/nope",
        "/%ff",
        "/v1.1/images/detail/",
        "/v1.1/images/detail%00",
        "/v1.1/images/d%ffetail",
        "/v1.1/images%2Fdetail",
        "/v1.1/images/Detail",
        "/v1.1/images/detail.json",
        "/v1.1/images/../images/detail",
    ] {
        server.get(path).refusal(404);
    }
}

#[test]
fn the_media_type_may_name_the_version() {
    let server = Start::new(Engine::Sqlite).serve();
    let at = |path: &str, version: &str| {
        server.send(&get(path).header("Accept", &format!("application/vnd.openstack.images-{version}")))
    };
    assert_eq!(at("/images/detail?limit=1", "v1.1").images().len(), 0);
    at("/images/detail?limit=x", "v1").refusal(400);
    at("/v1.1/images/detail", "v1").refusal(404);
    at("/images/detail", "v9").refusal(404);
    for (path, status) in [
        ("/", 300),
        ("/versions", 200),
        ("/healthcheck", 200),
        ("/ready", 200),
        ("/console/", 308),
        ("/openapi.json", 200),
        ("/docs", 200),
        ("/docs/docs.js", 200),
    ] {
        assert_eq!(at(path, "v1").status, status, "{path}");
    }
}

/// python-glanceclient reads a refusal only from inside an object.
#[test]
fn glanceclient_is_refused_in_a_form_that_it_can_read() {
    let server = Start::new(Engine::Sqlite).tokens(&json!({})).set("ANONYMOUS_PUBLIC", "true").serve();
    let refused = get("/v1/images/detail").token("bad").header("User-Agent", "python-glanceclient");
    assert_eq!(server.send(&refused).json()["error"]["code"], "401 Unauthorized");
    for (path, status) in [("/v1/images/detail?limit=x", 400), ("/nope", 404)] {
        let plain = server.get(path);
        let wrapped = server.send(&get(path).header("User-Agent", "python-glanceclient"));
        assert_eq!((wrapped.status, wrapped.json()), (status, json!({ "error": plain.json() })));
    }
}

#[test]
fn only_reading_is_allowed() {
    let server = Start::new(Engine::Sqlite).serve();
    let paths = ["/", "/versions", "/v1.1", "/v1.1/images", "/v1.1/images/detail?limit=abc", "/healthcheck", "/ready"];
    for path in paths.into_iter().chain(["/console", "/console/", "/console/console.js"]) {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "FROBNICATE"] {
            let answer = server.send(&get(path).method(method));
            answer.refusal(405);
            assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"), "{method} {path}");
        }
        let options = server.send(&get(path).method("OPTIONS"));
        assert_eq!((options.status, options.body.as_str()), (200, ""));
        assert_eq!(options.header("Allow"), Some("GET, HEAD, OPTIONS"));
        let (get_, head) = (server.get(path), server.send(&get(path).method("HEAD")));
        assert_eq!(head.status, get_.status, "{path}");
        assert_eq!(head.header("Content-Length"), get_.header("Content-Length"), "{path}");
        assert_eq!(head.header("Content-Type"), get_.header("Content-Type"), "{path}");
    }
}

#[test]
fn a_plain_request_id_is_kept_and_any_other_replaced() {
    let server = Start::new(Engine::Sqlite).serve();
    let sent = |id: &str| {
        let answer = server.send(&get("/v1.1/images/detail?limit=x").header("X-Openstack-Request-Id", id));
        answer.header("X-Openstack-Request-Id").expect("every answer has an id").to_owned()
    };
    let longest = format!("req-{}", "a".repeat(60));
    for kept in ["req-1", "req-3c3d1d01-B48A-4639-8a88-08be3b9b5d78", &longest] {
        assert_eq!(sent(kept), kept);
    }
    for replaced in ["", "client-1", "REQ-1", "req-a b", "req-\u{e9}", "req-<x>", &format!("{longest}a")] {
        let id = sent(replaced);
        assert_ne!(id, replaced);
        assert!(id.starts_with("req-") && id.len() == 40, "{id}");
    }
    for path in ["/", "/nope", "/healthcheck", "/v1.1"] {
        assert!(server.get(path).header("X-Openstack-Request-Id").is_some(), "{path}");
    }
}

#[test]
fn what_clients_send_beside_the_query_changes_nothing() {
    let server = Start::new(Engine::Sqlite).seed("1_a.sql", image(1).insert()).serve();
    let plain = server.get("/v1/images/detail").body;
    for (name, value) in [
        ("Content-Type", "application/octet-stream"),
        ("Accept", "image/png"),
        ("Accept-Encoding", "gzip"),
        ("If-None-Match", "*"),
        ("Range", "bytes=0-10"),
    ] {
        let answer = server.send(&get("/v1/images/detail?page_size=1&owner=x").header(name, value));
        assert_eq!((answer.status, &answer.body), (200, &plain), "{name}: {value}");
    }
}

#[test]
fn bodies_are_ignored_and_long_request_lines_refused() {
    let server = Start::new(Engine::Sqlite).serve();
    let mut request = get("/v1.1/images/detail?limit=2");
    request.body = "not json".to_owned();
    assert_eq!(server.send(&request).status, 200);
    // The request line counts whole: method, blanks, target, version and line end.
    let line = |length: usize| {
        let padding = length - "GET /v1.1/images/detail?x= HTTP/1.1\r\n".len();
        server.get(&format!("/v1.1/images/detail?x={}", "y".repeat(padding)))
    };
    assert_eq!(line(8191).status, 200);
    line(8192).refusal(414);
    line(60_000).refusal(414);
}

#[test]
fn what_the_http_library_refuses_has_no_body() {
    let server = Start::new(Engine::Sqlite).serve();
    let bad = server.send(&get("/v1.1/images/detail?name=\u{7f}"));
    assert_eq!((bad.status, bad.body.as_str()), (400, ""));
    assert_eq!(bad.header("X-Openstack-Request-Id"), None);
}

/// On PostgreSQL the query waits for a lock; on SQLite it has two million properties to look at,
/// because their table holds only the beginning of a long one.
fn a_slow_query_is_ended_and_leaves_its_connection_usable(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    start.database.execute(crate::indexes::fill(engine));
    let start = Start::on(start.database).set("QUERY_TIMEOUT", "200ms").set("DATABASE_CONNECTIONS", "1");
    let server = start.set("ACQUIRE_TIMEOUT", "20s").serve();
    let long = "x".repeat(255);
    let lock = if engine == Engine::Postgres {
        Some(server.database().lock("images"))
    } else {
        let mut many: BTreeMap<String, Option<String>> = (0..200).map(|number| (number.to_string(), None)).collect();
        many.insert("a".to_owned(), Some(long.clone() + "a"));
        server.database().execute(format!("UPDATE images SET properties = '{}'", json!(many)));
        None
    };
    server.get(&format!("/v1.1/images/detail?property-a={long}b")).refusal(503);
    if let Some(lock) = lock {
        lock.release();
    }
    assert_eq!(server.get("/v1.1/images/detail?limit=1").images().len(), 1);
}
on_both_engines!(a_slow_query_is_ended_and_leaves_its_connection_usable);

/// PostgreSQL alone lets a test hold a query up: here by a lock on the table.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn requests_that_outlast_the_shutdown_are_answered_before_it_ends() {
    let start = Start::new(Engine::Postgres).seed("0001_images.sql", image(1).insert());
    let mut server = start.set("SHUTDOWN_TIMEOUT", "600ms").serve();
    let mut lock = server.database().lock("images");
    let mut stream = server.connect();
    stream.write_all(b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n").expect("the request can be sent");
    lock.wait_for_another();
    server.signal("TERM");
    Answer::read(stream, "GET").refusal(503);
    assert!(server.wait().success());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    lock.release();
}

fn readiness_follows_the_database(engine: Engine) {
    let server = Start::new(engine).seed("0001_images.sql", image(1).insert()).serve();
    assert_eq!(server.get("/ready").status, 200);
    assert_eq!((server.get("/healthcheck").status, server.get("/healthcheck").body.as_str()), (200, "OK"));
    assert_eq!(server.get("/healthcheck").header("Content-Type"), Some("text/plain; charset=UTF-8"));
}
on_both_engines!(readiness_follows_the_database);

/// PostgreSQL alone can go away under a server: here its database is taken from it.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_database_that_does_not_answer_is_a_503() {
    let server =
        Start::new(Engine::Postgres).seed("0001_images.sql", image(1).insert()).set("ACQUIRE_TIMEOUT", "200ms").serve();
    server.database().forbid_connections(true);
    for path in ["/ready", "/v1.1/images/detail"] {
        let answer = server.get(path);
        let message = answer.refusal(503);
        assert_eq!(answer.header("Retry-After"), Some("1"));
        assert!(!message.to_lowercase().contains("postgres"), "{message}");
    }
    assert_eq!(server.get("/healthcheck").status, 200);
    server.get("/v1.1/images/detail?limit=x").refusal(400);
    server.database().forbid_connections(false);
    assert_eq!(server.get("/ready").status, 200);
    assert_eq!(server.get("/v1.1/images/detail").images().len(), 1);
}

fn a_failing_database_is_a_500_that_says_nothing_of_the_cause(engine: Engine) {
    let server = Start::new(engine).seed("0001_images.sql", image(1).insert()).serve();
    server.database().execute("DROP TABLE image_members; DROP TABLE images");
    let answer = server.get("/v1.1/images/detail");
    let message = answer.refusal(500);
    assert!(!message.contains("images") && !message.contains("table"), "{message}");
    let id = answer.header("X-Openstack-Request-Id").expect("a request id");
    let log = server.log();
    let cause = log.lines().find(|line| line.contains("ERROR")).expect("the cause is logged");
    assert!(cause.contains("images") && cause.contains(id), "{log}");
}
on_both_engines!(a_failing_database_is_a_500_that_says_nothing_of_the_cause);

fn a_signal_ends_the_process_with_success(engine: Engine) {
    for signal in ["TERM", "INT"] {
        let mut server = Start::new(engine).seed("0001_images.sql", image(1).insert()).serve();
        assert_eq!(server.get("/v1.1/images/detail").images().len(), 1);
        let mut idle = server.connect();
        server.signal(signal);
        let status = server.wait();
        assert!(status.success(), "{signal}: {status}");
        assert!(server.log().contains(&format!("SIG{signal}")));
        assert_eq!(idle.read(&mut [0; 1]).expect("a connection that is not in use is closed"), 0);
    }
}
on_both_engines!(a_signal_ends_the_process_with_success);

/// PostgreSQL alone lets a test hold a query up: here by a lock on the table.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_signal_lets_the_requests_in_flight_finish() {
    for signal in ["TERM", "INT"] {
        let mut server = Start::new(Engine::Postgres).seed("0001_images.sql", image(1).insert()).serve();
        let mut lock = server.database().lock("images");
        let mut stream = server.connect();
        stream.write_all(b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n").expect("the request can be sent");
        lock.wait_for_another();
        server.signal(signal);
        server.wait_for_log(&format!("SIG{signal}"));
        lock.release();
        let answer = Answer::read(stream, "GET");
        assert_eq!(answer.images().len(), 1);
        assert!(server.wait().success());
    }
}

#[test]
fn each_request_is_a_line_in_the_log() {
    let start = Start::new(Engine::Sqlite)
        .tokens(&json!({ "secret-token": { "user": "u", "project": "p-1", "roles": [] } }))
        .set("LOG_FORMAT", "json");
    let server = start.serve();
    let request = get("/v1.1/images/detail?name=private").token("secret-token");
    let answer = server.send(&request.header("X-Openstack-Request-Id", "req-7"));
    assert_eq!(answer.status, 200);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("req-7")).expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], "/v1.1/images/detail");
    assert_eq!(line["status"], 200);
    assert_eq!(line["request_id"], "req-7");
    assert_eq!(line["project"], "p-1");
    assert!(line["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0));
    assert!(!log.contains("secret-token"));
}
