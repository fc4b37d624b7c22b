//! The metrics: what they count, that clients cannot make them grow, and what reads them.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::clients::{python, said};
use crate::indexes::{PUT_TOGETHER, fill};
use crate::support::{Answer, Engine, Glimpse, Start, get, image, on_both_engines};

fn metrics(server: &Glimpse) -> String {
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.body
}

/// The count of a series, by its name with all labels.
fn value(text: &str, series: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a count"))
}

#[track_caller]
fn expect(text: &str, series: &str, expected: u64) {
    assert_eq!(value(text, series), Some(expected), "{series}: {text}");
}

#[test]
fn the_process_shows_what_it_takes_of_the_machine() {
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_secs_f64();
    let server = Start::new(Engine::Sqlite).serve();
    let shown = || {
        let text = metrics(&server);
        move |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name}: {text}")).parse::<f64>().expect("a number")
        }
    };
    let first = shown();
    assert!(first("process_start_time_seconds") >= before - 1.0);
    let resident = first("process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < 1e9, "{resident}");
    // A connection that is open is a descriptor of the server's.
    let connections: Vec<_> = (0..5)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            assert_eq!(stream.read(&mut [0; 8]).expect("an answer"), 8);
            stream
        })
        .collect();
    let second = shown();
    let (few, more) = (first("process_open_fds"), second("process_open_fds"));
    assert!(more >= few + 5.0 && more < first("process_max_fds"), "{few} {more}");
    drop(connections);
    // It counts on while it works.
    let cpu = "process_cpu_seconds_total";
    while shown()(cpu) <= first(cpu) {
        server.get("/openapi.json");
    }
}

fn prepared(engine: Engine) -> Start {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    start.database.execute(fill(engine));
    Start::on(start.database)
}

fn requests_are_counted_by_route_method_and_status(engine: Engine) {
    let start = Start::new(engine).seed("1_a.sql", image(1).insert() + &image(2).insert());
    let server = start.tokens(&json!({ "t": { "user": "u", "project": null, "roles": [] } })).serve();
    for target in ["/v1.1/images/detail", "/v1.1/images/detail?limit=1", "/v1.1/images/detail?limit=x"] {
        server.send(&get(target).token("t"));
    }
    server.get("/v1.1/images/detail").refusal(401);
    server.send(&get("/images").token("t").header("Accept", "application/vnd.openstack.images-v1.0"));
    server.send(&get(&format!("/v1/images/{}", crate::support::id(1))).method("HEAD").token("t"));
    server.send(&get(&format!("/v1/images/{}", crate::support::id(7))).method("HEAD").token("t"));
    server.send(&get("/v1/images").method("DELETE").token("t")).refusal(405);
    server.get(&format!("/versions?{}", "x".repeat(9000))).refusal(414);
    let text = metrics(&server);
    for (route, method, status, count) in [
        ("/v1.1/images/detail", "GET", 200, 2),
        ("/v1.1/images/detail", "GET", 400, 1),
        ("/v1.1/images/detail", "GET", 401, 1),
        ("/v1/images", "GET", 200, 1),
        ("/v1/images/{id}", "HEAD", 200, 1),
        ("/v1/images/{id}", "HEAD", 404, 1),
        ("/v1/images", "DELETE", 405, 1),
        ("/versions", "GET", 414, 1),
    ] {
        let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
        expect(&text, &format!("glimpse_http_requests_total{{{labels}}}"), count);
    }
    let all = "route=\"/v1.1/images/detail\",method=\"GET\"";
    expect(&text, &format!("glimpse_http_request_duration_seconds_count{{{all}}}"), 4);
    expect(&text, "glimpse_images_returned_total", 5);
    expect(&text, "glimpse_http_requests_in_flight", 1);
    expect(&text, "glimpse_query_duration_seconds_count{plan=\"image\"}", 2);
    assert!(value(&text, "glimpse_pool_wait_duration_seconds_count").is_some_and(|waits| waits >= 5), "{text}");
    let build = text.lines().find(|line| line.starts_with("glimpse_build_info{")).expect("the build");
    assert!(build.contains(&format!("version=\"{}\"", glimpse::version::VERSION)), "{build}");
    assert!(build.contains(&format!("commit=\"{}\"", glimpse::version::COMMIT)), "{build}");
}
on_both_engines!(requests_are_counted_by_route_method_and_status);

fn queries_are_timed_by_the_plan_that_found_the_page(engine: Engine) {
    let server = prepared(engine).serve();
    let count = |plan: &str| {
        let series = format!("glimpse_query_duration_seconds_count{{plan=\"{plan}\"}}");
        value(&metrics(&server), &series).expect("every plan is there from the start")
    };
    assert_eq!(count("walk"), 0);
    let marker = format!("/v1.1/images/detail?marker={}", crate::support::id(77_777));
    for (target, plan) in [
        ("/v1.1/images/detail?limit=3", "walk"),
        ("/v1.1/images/detail?size_max=20000&limit=25", "scan_size"),
        (
            "/v1.1/images/detail?disk_format=in:vdi,vhd&name=in:windows-server-2022,fedora-36&limit=25",
            "scan_equalities",
        ),
        ("/v1.1/images/detail?size_max=9500000&limit=5", "shown_walk"),
        ("/v1.1/images/detail?size_max=9500000&sort_key=updated_at&limit=5", "longer_walk"),
        (PUT_TOGETHER, "by_keys"),
        (&marker, "walk"),
        ("/v1.1/images/00000000-0000-4000-8000-000000000002/members", "members"),
        ("/v1.1/shared-images/p", "shared"),
        ("/ready", "ready"),
    ] {
        let before = count(plan);
        server.get(target);
        assert_eq!(count(plan), before + 1, "{target}");
    }
    server.database().execute("DROP TABLE image_members; DROP TABLE images");
    server.get("/v1.1/images/detail").refusal(500);
    assert_eq!(count("unfinished"), 1);
}
on_both_engines!(queries_are_timed_by_the_plan_that_found_the_page);

#[test]
fn what_clients_make_up_is_no_label() {
    let server = Start::new(Engine::Sqlite).serve();
    let series = || {
        let text = metrics(&server);
        let labels = text
            .lines()
            .filter(|line| !line.contains("le="))
            .filter_map(|line| Some(line.rsplit_once("} ")?.0.to_owned()));
        labels.collect::<BTreeSet<_>>()
    };
    let ask = |number: u32| {
        let made_up = format!("made-up-{number}");
        for version in ["", "/v1.1", "/v1.1/images", "/v1.1/shared-images", "/versions", "/v2"] {
            server.get(&format!("{version}/{made_up}?{made_up}={made_up}"));
        }
        server.send(&get("/v1.1/images").method(&made_up.to_uppercase()));
        server.send(&get("/nowhere").header("Accept", &format!("application/vnd.openstack.images-{made_up}")));
    };
    series();
    ask(0);
    let before = series();
    for number in 1..20 {
        ask(number);
    }
    assert_eq!(series(), before);
    assert!(before.iter().any(|series| series.contains("route=\"other\",method=\"GET\",status=\"404\"")));
    assert!(before.iter().any(|series| series.contains("route=\"/v1.1/images\",method=\"other\",status=\"405\"")));
    assert!(!before.iter().any(|series| series.to_lowercase().contains("made-up")), "{before:?}");
}

#[test]
fn metrics_need_no_token_and_take_only_what_reads() {
    let tokens = json!({ "t": { "user": "u", "project": null, "roles": [] } });
    let server = Start::new(Engine::Sqlite).tokens(&tokens).serve();
    server.get("/v1.1/images").refusal(401);
    assert_eq!(server.send(&get("/metrics").method("HEAD")).status, 200);
    let accept = "application/vnd.openstack.images-v1.1";
    assert_eq!(server.send(&get("/metrics").header("Accept", accept)).status, 200);
    server.send(&get("/metrics").method("POST")).refusal(405);
    server.get("/v1.1/metrics").refusal(401);
}

#[test]
fn metrics_move_to_an_address_of_their_own() {
    let server = Start::new(Engine::Sqlite).set("METRICS_LISTEN", "127.0.0.1:0").serve();
    server.get("/metrics").refusal(404);
    let log = server.log();
    let (_, rest) = log.split_once("serving the metrics on http://").expect("the log tells the address");
    let address = rest.split_once("/metrics").expect("and the path").0.to_owned();
    assert_ne!(address, server.address);
    let apart = |target: &str| {
        let mut stream = std::net::TcpStream::connect(&address).expect("the metrics have an address");
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the request can be sent");
        Answer::read(stream, "GET")
    };
    let text = apart("/metrics");
    assert_eq!(text.status, 200);
    expect(&text.body, "glimpse_http_requests_total{route=\"other\",method=\"GET\",status=\"404\"}", 1);
    for target in ["/v1.1/images/detail", "/", "/ready"] {
        apart(target).refusal(404);
    }

    let message = Start::new(Engine::Sqlite).set("METRICS_LISTEN", &server.address).refusal();
    assert!(message.contains("METRICS_LISTEN") && message.contains(&server.address), "{message}");
}

/// PostgreSQL alone lets a test hold a query up: here by a lock on the table.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn metrics_answer_while_every_connection_is_taken() {
    let start = Start::new(Engine::Postgres).seed("1_a.sql", image(1).insert());
    let server =
        start.set("DATABASE_CONNECTIONS", "1").set("ACQUIRE_TIMEOUT", "60s").set("QUERY_TIMEOUT", "60s").serve();
    let mut lock = server.database().lock("images");
    let ask = || {
        let mut stream = server.connect();
        stream.write_all(b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        stream
    };
    let first = ask();
    lock.wait_for_another();
    let second = ask();
    while value(&metrics(&server), "glimpse_pool_waiting") != Some(1) {}
    // What was read of the requests before that may be of the moment before the second came.
    let text = metrics(&server);
    expect(&text, "glimpse_pool_connections{state=\"used\"}", 1);
    expect(&text, "glimpse_pool_connections{state=\"idle\"}", 0);
    expect(&text, "glimpse_pool_connections_max", 1);
    expect(&text, "glimpse_http_requests_in_flight", 3);
    lock.release();
    for stream in [first, second] {
        assert_eq!(Answer::read(stream, "GET").images().len(), 1);
    }
    let text = metrics(&server);
    expect(&text, "glimpse_pool_connections{state=\"idle\"}", 1);
    expect(&text, "glimpse_pool_waiting", 0);
    expect(&text, "glimpse_http_requests_in_flight", 1);
}

/// A client that leaves before its answer is in flight no more, and so is its query.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_client_that_has_gone_is_not_in_flight() {
    let server = Start::new(Engine::Postgres).seed("1_a.sql", image(1).insert()).serve();
    let mut lock = server.database().lock("images");
    let mut stream = server.connect();
    stream.write_all(b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    lock.wait_for_another();
    expect(&metrics(&server), "glimpse_http_requests_in_flight", 2);
    drop(stream);
    let unfinished = "glimpse_query_duration_seconds_count{plan=\"unfinished\"}";
    let text = loop {
        let text = metrics(&server);
        if value(&text, "glimpse_http_requests_in_flight") == Some(1) {
            break text;
        }
    };
    expect(&text, unfinished, 1);
    lock.release();
}

/// The form is read by the reader of Prometheus's own library, the queries by a parser of PromQL.
/// After traffic that ends in every way, each query of the dashboard must find a series.
fn the_dashboard_asks_for_what_is_exported(engine: Engine) {
    let server = prepared(engine).serve();
    for target in ["limit=3", "size_max=20000", "status=saving", "limit=x"] {
        server.get(&format!("/v1.1/images/detail?{target}"));
    }
    server.database().execute("DROP TABLE image_members; DROP TABLE images");
    server.get("/v1.1/images/detail").refusal(500);
    let mut command = python("clients/metrics.py");
    command.arg(format!("http://{}/metrics", server.address));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana.json"));
    let said = said(&command.output().expect("Python can be run"));
    assert!(said.ends_with("queries of the dashboard find what is exported"), "{said}");
}
on_both_engines!(the_dashboard_asks_for_what_is_exported, "needs Python's packages: tests/run brings them");
