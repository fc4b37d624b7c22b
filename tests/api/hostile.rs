//! Clients that mean no good: requests that two readers may read differently, requests and answers
//! that never end, connections that are only held.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::{Engine, Glimpse, Image, Start, get, image, on_both_engines};

const LINE: &str = "GET /healthcheck HTTP/1.1\r\n";

fn server() -> Glimpse {
    Start::new(Engine::Sqlite).serve()
}

/// All that comes back on a connection of its own, up to its end.
fn sent(server: &Glimpse, bytes: &[u8]) -> String {
    let mut stream = server.connect();
    stream.write_all(bytes).expect("the request can be sent");
    read(&mut stream)
}

/// All that comes until the server ends the connection, however it does so.
fn read(stream: &mut TcpStream) -> String {
    let (mut bytes, mut part) = (Vec::new(), [0; 8192]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(bytes).expect("answers are UTF-8")
}

/// The statuses of the answers that came on a connection.
fn statuses(text: &str) -> Vec<u16> {
    let status = |rest: &str| rest.get(..3).and_then(|status| status.parse().ok()).expect("a status");
    text.split("HTTP/1.1 ").skip(1).map(status).collect()
}

/// Each is followed by another request, which nobody must take for one.
#[test]
fn requests_that_two_readers_may_read_differently_are_refused() {
    let server = server();
    let next = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        // Two lengths.
        "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Host: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        // Lengths that are none.
        "Host: x\r\nContent-Length: 1, 1\r\n\r\nx",
        "Host: x\r\nContent-Length: +1\r\n\r\nx",
        "Host: x\r\nContent-Length: -1\r\n\r\nx",
        "Host: x\r\nContent-Length: 0x1\r\n\r\nx",
        "Host: x\r\nContent-Length: 1 1\r\n\r\nx",
        "Host: x\r\nContent-Length:\r\n\r\n",
        "Host: x\r\nContent-Length: 18446744073709551616\r\n\r\nx",
        "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: identity\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        // No host, or more than one.
        "\r\n",
        "Host: x\r\nHost: x\r\n\r\n",
        "Host: x\r\nhost: y\r\n\r\n",
        // Lines that go on, or begin or end where they should not.
        "Host: x\r\nX-A: a\r\n b\r\n\r\n",
        "Host: x\r\nX-A: a\r\n\tb\r\n\r\n",
        "Host:\r\n x\r\n\r\n",
        "Host: x\r\nContent-Length:\r\n 1\r\n\r\nx",
        " X-A: a\r\nHost: x\r\n\r\n",
        "Host : x\r\n\r\n",
        "Host\t: x\r\n\r\n",
        "Host: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nContent-Length : 1\r\n\r\nx",
        "Host: x\r\n: a\r\n\r\n",
        "Host: x\r\nno colon\r\n\r\n",
        "Host: x\r\nX-A: a\rb\r\n\r\n",
        "Host: x\r\nX-A: a\rTransfer-Encoding: chunked\r\n\r\n",
        "Host: x\r\nX-A: a\r\rContent-Length: 1\r\n\r\nx",
        "Host: x\r\nX-A: a\0b\r\n\r\n",
        "Host: x\r\nX\0A: a\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n",
    ] {
        let text = sent(&server, format!("{LINE}{head}{next}").as_bytes());
        assert_eq!(statuses(&text), [400], "{head:?}: {text}");
    }
    for line in [
        "GET /healthcheck",
        "GET /healthcheck HTTP/0.9",
        "GET /healthcheck HTTP/1.2",
        "GET /healthcheck HTTP/2.0",
        "GET /healthcheck http/1.1",
        "GET  /healthcheck HTTP/1.1",
        "GET\t/healthcheck\tHTTP/1.1",
        "GET /healthcheck HTTP/1.1 ",
        "GET /health\0check HTTP/1.1",
        "GET /health\rcheck HTTP/1.1",
        "G\0T /healthcheck HTTP/1.1",
        " GET /healthcheck HTTP/1.1",
        "GET \\healthcheck HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        let text = sent(&server, format!("{line}\r\nHost: x\r\n\r\n{next}").as_bytes());
        assert_eq!(statuses(&text), [400], "{line:?}: {text}");
    }
    let coded = format!("{}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}", LINE.replace("1.1", "1.0"));
    assert_eq!(statuses(&sent(&server, coded.as_bytes())), [400], "{coded}");
    assert!(!server.log().contains("smuggled"), "{}", server.log());
}

/// The answer does not depend on a body, and where it needs no database it is under way before the body is
/// looked at.
#[test]
fn a_body_in_broken_chunks_ends_its_connection() {
    let server = server();
    for chunks in [
        "+1\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        "10000000000000001\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1;a\rb\r\nx\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
    ] {
        let next = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        let text =
            sent(&server, format!("{LINE}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{next}").as_bytes());
        assert_eq!(statuses(&text), [200], "{chunks:?}: {text}");
    }
    assert!(!server.log().contains("smuggled"), "{}", server.log());
    // Nothing is taken for a request that a proxy in front might take for part of a body: it is told
    // to use the connection for no other.
    let whole = format!("{LINE}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nX: a\r\n\r\n");
    let text = sent(&server, whole.as_bytes());
    assert!(statuses(&text) == [200] && text.contains("\r\nConnection: close\r\n"), "{text}");
}

#[test]
fn what_came_before_a_refused_request_is_answered() {
    let server = server();
    let list = "GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n";
    for refused in [
        "BAD\r\n\r\n",
        "GET /healthcheck HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /healthcheck HTTP/1.1\r\n\r\n",
        "GET /healthcheck HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        for before in [1, 2, 40] {
            let text = sent(&server, format!("{}{refused}", format!("{list}\r\n").repeat(before)).as_bytes());
            let mut expected = vec![200; before];
            expected.push(400);
            assert_eq!(statuses(&text), expected, "{refused:?} behind {before}: {text}");
        }
    }
}

/// docs/RELIABILITY.md names these.
#[test]
fn what_the_library_lets_through_is_known() {
    let server = server();
    for request in [
        // RFC 9112 (2.2) leaves the first two to the server.
        "GET /healthcheck HTTP/1.1\nHost: x\nConnection: close\n\n".to_owned(),
        format!("\r\n\r\n{LINE}Host: x\r\nConnection: close\r\n\r\n"),
        // What is behind a # is cut off.
        format!("{}Host: x\r\nConnection: close\r\n\r\n", LINE.replace("check", "check#a")),
        // The body is nobody's business, nor is a protocol that is not spoken.
        format!("{LINE}Host: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{LINE}Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nabc"),
    ] {
        assert_eq!(statuses(&sent(&server, request.as_bytes())), [200], "{request:?}");
    }
    // A request behind the one that closes the connection is answered all the same.
    let closing = format!("{LINE}Host: x\r\nConnection: close\r\n\r\n");
    assert_eq!(statuses(&sent(&server, format!("{closing}{closing}").as_bytes())), [200, 200]);
    // A body that is waited for, though nobody reads it.
    let waited = format!("{LINE}Host: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(statuses(&sent(&server, waited.as_bytes())), [100, 200]);
}

#[test]
fn a_target_or_host_without_a_proper_form_is_refused() {
    let server = server();
    for (method, target) in [
        ("GET", "*"),
        ("GET", "healthcheck"),
        ("GET", "x:80"),
        ("GET", "ftp://x/healthcheck"),
        ("GET", "http://u:p@x/healthcheck"),
        ("GET", "http://x:99999/healthcheck"),
        ("OPTIONS", "x"),
    ] {
        let answer = server.send(&get(target).method(method));
        assert!(answer.refusal(400).contains("target"), "{method} {target}");
        assert!(answer.header("X-Openstack-Request-Id").is_some());
    }
    let of_host = |host: &str| server.send(&get("/healthcheck").header("Host", host));
    for host in ["a b", "a, b", "a/b", "u@a", "u:p@a", "a:80x", "a:99999", "a:+1", ":80", "[::1", "a?b", "a#b"] {
        let message = of_host(host).refusal(400);
        assert!(message.contains("Host") && !message.contains(host), "{host}: {message}");
    }
    let text = sent(&server, format!("{LINE}Host: a, b\r\n\r\n").as_bytes());
    assert!(statuses(&text) == [400] && text.contains("\r\nConnection: close\r\n"), "{text}");
    for host in ["", "a", "a.b-c", "a:80", "a:", "127.0.0.1:9292", "[::1]:80", "a_b"] {
        assert_eq!(of_host(host).status, 200, "{host}");
    }
    // A whole URL goes before the header (RFC 9112, 3.2.2).
    let answer = server.send(&get("http://images.test:81/versions").header("Host", "other.test"));
    assert_eq!(answer.json()["versions"][0]["links"][0]["href"], "http://images.test:81/v1/");
    // Without a host the address serves: one that is empty, and HTTP/1.0.
    let own = format!("http://{}/v1/", server.address);
    assert_eq!(server.send(&get("/versions").header("Host", "")).json()["versions"][0]["links"][0]["href"], own);
    assert!(sent(&server, b"GET /versions HTTP/1.0\r\n\r\n").contains(&own));
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let server = server();
    let with = |count: usize| {
        (1..count).fold(get("/healthcheck"), |request, number| request.header(&format!("X-{number}"), "a"))
    };
    // Connection and Host are among them.
    assert_eq!(server.send(&with(95)).status, 200);
    assert_eq!(server.send(&with(96)).status, 431);
    assert_eq!(server.send(&get("/healthcheck").header("X-A", &"a".repeat(100_000))).status, 200);
    let begun = format!("{LINE}Host: x\r\nX-A: ");
    let full = format!("{begun}{}", "a".repeat(131_072 - begun.len()));
    assert_eq!(statuses(&sent(&server, full.as_bytes())), [431]);
    let long = |line: String| statuses(&sent(&server, format!("{line}\r\n\r\n").as_bytes()));
    assert_eq!(long(format!("GET /{} HTTP/1.1\r\nHost: x", "a".repeat(65_600))), [400]);
    assert_eq!(long(format!("{} / HTTP/1.1\r\nHost: x\r\nConnection: close", "A".repeat(9000))), [414]);
}

#[test]
fn every_answer_is_what_its_type_says_and_private_where_a_token_is_needed() {
    let tokens = json!({ "t": { "user": "u", "project": null, "roles": [] } });
    let open = server();
    let closed = Start::new(Engine::Sqlite).tokens(&tokens).serve();
    let optional = Start::new(Engine::Sqlite).tokens(&tokens).set("ANONYMOUS_PUBLIC", "true").serve();
    let long = format!("/{}", "x".repeat(9000));
    for path in
        ["/", "/v1", "/nope", "/healthcheck", "/ready", "/metrics", "/console", "/docs/", "/openapi.json", &long]
    {
        for server in [&open, &closed] {
            let answer = server.get(path);
            assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
            assert_ne!(answer.header("Cache-Control"), Some("no-store"), "{path}");
        }
    }
    for path in ["/v1.1/images/detail", "/v1.1/images/detail?limit=x", "/v1/images/x", "/v1.1/nope"] {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
            let plain = get(path).method(method);
            for (server, request, private) in [
                (&open, plain.clone(), false),
                (&open, plain.clone().token("t"), false),
                (&closed, plain.clone(), true),
                (&closed, plain.clone().token("wrong"), true),
                (&closed, plain.clone().token("t"), true),
                (&optional, plain.clone(), true),
            ] {
                let answer = server.send(&request);
                assert_eq!(answer.header("Cache-Control"), private.then_some("no-store"), "{request:?}: {answer:?}");
                assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{request:?}");
            }
        }
    }
}

/// Asks for all that needs the database, which is broken.
fn expect_nothing_told(server: &Glimpse) {
    let id = image(1).id;
    let mut failed = 0;
    for target in [
        "/ready".to_owned(),
        "/v1.1/images".to_owned(),
        "/v1.1/images/detail".to_owned(),
        "/v1.1/images/detail?name=image-1&property-a=b&sort_key=name".to_owned(),
        format!("/v1.1/images/detail?marker={id}"),
        format!("/v1.1/images/{id}"),
        format!("/v1.1/images/{id}/members"),
        "/v1.1/shared-images/p".to_owned(),
    ] {
        let answer = server.get(&target);
        if answer.status < 500 {
            continue;
        }
        failed += 1;
        let own = [
            "Server",
            "Date",
            "Content-Length",
            "Content-Type",
            "X-Openstack-Request-Id",
            "X-Content-Type-Options",
            "Connection",
            "Retry-After",
        ];
        let other = answer.headers.iter().find(|(name, _)| !own.contains(&name.as_str()));
        assert!(other.is_none(), "{target}: {other:?}");
        let message = answer.refusal(answer.status);
        let known = ["The server has failed; its log says why.", "The database does not answer at the moment."];
        assert!(known.contains(&message.as_str()), "{target}: {message}");
    }
    assert!(failed >= 5, "{failed} have failed: {}", server.log());
    assert_eq!(server.get("/healthcheck").status, 200);
    server.get("/v1.1/images/detail?limit=x").refusal(400);
}

fn errors_tell_nothing_of_the_database(engine: Engine) {
    let server = Start::new(engine).seed("0001_images.sql", image(1).insert()).serve();
    server.database().execute("DROP TABLE image_members; DROP TABLE images");
    server.get("/ready").refusal(500);
    expect_nothing_told(&server);
}
on_both_engines!(errors_tell_nothing_of_the_database);

#[test]
fn errors_tell_nothing_of_a_file_that_has_been_spoilt() {
    let start = Start::new(Engine::Sqlite).seed("0001_images.sql", image(1).insert()).set("DATABASE_CONNECTIONS", "1");
    let database = start.serve().stop().database;
    let path = database.folder.path().join("catalog.db");
    let server = Start::on(database).serve();
    let length = std::fs::metadata(&path).expect("a file").len();
    let mut file = std::fs::File::options().write(true).open(&path).expect("a file");
    file.write_all(&vec![0xa5; usize::try_from(length).expect("a small file")]).expect("it can be written");
    expect_nothing_told(&server);
}

/// A server that waits for its clients for a third of a second, on which a page is larger than what
/// sockets hold.
fn impatient() -> Glimpse {
    let properties = [("text".to_owned(), Some("x".repeat(4000)))].into_iter().collect();
    let large = Image { properties, ..image(1) };
    let sql: String = (1..=1000).map(|number| Image { id: image(number).id, ..large.clone() }.insert()).collect();
    let rules = json!({ "rules": [{ "match": { "path": "/versions" }, "effect": { "delay": "1s" } }] });
    let start = Start::new(Engine::Sqlite).seed("1_large.sql", sql).set("CLIENT_TIMEOUT", "300ms");
    let file = start.database.folder.path().join("faults.json");
    std::fs::write(&file, rules.to_string()).expect("a file can be written");
    start.set("FAULTS_FILE", file.display().to_string()).serve()
}

/// Sends one byte after another until the server has ended the connection; what it has said.
fn dribbled(server: &Glimpse, first: &str, byte: &str) -> String {
    let mut stream = server.connect();
    stream.write_all(first.as_bytes()).expect("the first part can be sent");
    let mut other = stream.try_clone().expect("a socket");
    let heard = std::thread::spawn(move || read(&mut other));
    while !heard.is_finished() {
        // It may be closed already.
        let _ = stream.write_all(byte.as_bytes());
        std::thread::yield_now();
    }
    heard.join().expect("the answer can be read")
}

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let server = impatient();
    let request = format!("{LINE}Host: x\r\n\r\n");
    let get = |path: &str| server.get(path).status;
    // The first head: silence, one that stops, one that goes on for ever.
    assert_eq!(statuses(&sent(&server, b"")), [408]);
    assert_eq!(statuses(&sent(&server, b"GET /healthcheck HT")), [408]);
    assert_eq!(statuses(&sent(&server, format!("{LINE}Host: x\r\nX-A: ").as_bytes())), [408]);
    // Another head behind an answer.
    assert_eq!(statuses(&sent(&server, request.as_bytes())), [200]);
    assert_eq!(statuses(&sent(&server, format!("{request}GET /healthcheck HT").as_bytes())), [200]);
    // Bodies, of which nothing more comes.
    assert_eq!(statuses(&sent(&server, format!("{LINE}Host: x\r\nContent-Length: 9\r\n\r\nx").as_bytes())), [200]);
    let chunked = format!("{LINE}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(statuses(&sent(&server, chunked.as_bytes())), [200]);
    assert_eq!(statuses(&sent(&server, format!("{chunked}5\r\nab").as_bytes())), [200]);
    assert_eq!(get("/healthcheck"), 200);
}

#[test]
fn heads_and_bodies_that_never_end_are_cut_off() {
    let server = impatient();
    let chunked = format!("{LINE}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(statuses(&dribbled(&server, &chunked, "1\r\nx\r\n")), [200]);
    let length = format!("{LINE}Host: x\r\nContent-Length: 999999999999\r\n\r\n");
    assert_eq!(statuses(&dribbled(&server, &length, "x")), [200]);
    // A head is full some time.
    let head = statuses(&dribbled(&server, &format!("{LINE}Host: x\r\nX-A: "), "a"));
    assert!(head == [408] || head == [431], "{head:?}");
    let second = statuses(&dribbled(&server, &format!("{LINE}Host: x\r\n\r\n{LINE}Host: x\r\nX-A: "), "a"));
    assert!(second == [200] || second == [200, 431], "{second:?}");
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let server = impatient();
    let page = "GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n";
    let whole = server.get("/v1.1/images/detail").body.len();
    let mut stream = server.connect();
    stream.write_all(page.repeat(8).as_bytes()).expect("the requests can be sent");
    assert_eq!(stream.peek(&mut [0]).expect("an answer begins"), 1);
    while server.connections() > 0 {
        std::thread::yield_now();
    }
    let taken = read(&mut stream).len();
    assert!(taken < 8 * whole, "{taken} of eight times {whole}");
}

/// The library would parse all of them first, into a hundred times their length.
#[test]
fn requests_that_come_before_answers_are_taken_wait_unread_and_are_answered_in_turn() {
    const CLIENTS: usize = 10;
    let server = Start::new(Engine::Sqlite).seed("1_a.sql", image(1).insert()).serve();
    assert_eq!(server.get("/v1/images").status, 200);
    let ids: Vec<String> = (0..800).map(|number| format!("req-{number}")).collect();
    let request = |id| format!("GET /v1/images HTTP/1.1\r\nHost: x\r\nX-Openstack-Request-Id: {id}\r\n\r\n");
    let requests: String = ids.iter().map(request).collect();
    let before = server.memory("VmHWM");
    server.pause();
    let sent = |_| {
        let mut stream = server.connect();
        stream.write_all(requests.as_bytes()).expect("the kernel takes them");
        stream
    };
    let clients: Vec<TcpStream> = (0..CLIENTS).map(sent).collect();
    server.signal("CONT");
    for mut client in clients {
        let text = read(&mut client);
        assert_eq!(statuses(&text), vec![200; ids.len()]);
        let answered = text.lines().filter_map(|line| line.strip_prefix("X-Openstack-Request-Id: "));
        assert!(answered.eq(ids.iter()), "{text}");
    }
    let grown = server.memory("VmHWM") - before;
    assert!(grown < CLIENTS as u64 * 1024, "by {grown} KiB");
}

/// The library parses no more while sixteen wait, and has to be asked again once they are answered; else
/// the rest is when the connection has been unused for its time, and ends.
#[test]
fn many_requests_behind_one_that_waits_for_the_database_are_answered_with_it() {
    let server = server();
    let mut stream = server.connect();
    for count in [10, 18, 24, 30, 36, 50] {
        let requests =
            format!("HEAD /v1/images HTTP/1.1\r\nHost:\r\n\r\n{}", "HEAD / HTTP/1.1\r\nHost:\r\n\r\n".repeat(count));
        stream.write_all(requests.as_bytes()).expect("the requests can be sent");
        let mut text = String::new();
        while text.matches("\r\n\r\n").count() <= count {
            let mut part = [0; 8192];
            let length = stream.read(&mut part).expect("answers");
            assert_ne!(length, 0, "{count}: the connection has ended after {text}");
            text.push_str(std::str::from_utf8(&part[..length]).expect("answers are UTF-8"));
        }
        assert_eq!(statuses(&text).len(), count + 1);
    }
}

/// To close a connection with something unread would take the answer from the client.
#[test]
fn a_refusal_reaches_a_client_that_has_sent_much_behind_its_request() {
    let server = server();
    for bad in ["GET /healthcheck HTTP/1.1\r\nHost : x\r\n\r\n", "nothing\r\n\r\n"] {
        server.pause();
        let mut stream = server.connect();
        stream.write_all(format!("{bad}{}", "x".repeat(100_000)).as_bytes()).expect("the kernel takes it");
        server.signal("CONT");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the connection ends as it should");
        assert_eq!(statuses(&text), [400], "{bad:?}");
    }
}

/// A client that waits for its answer, which takes longer here than the server waits for clients, is no idle one.
#[test]
fn a_client_that_waits_for_its_answer_is_not_cut_off() {
    let server = impatient();
    let mut stream = server.connect();
    stream.write_all(b"GET /versions HTTP/1.1\r\nHost: x\r\n\r\n").expect("the request can be sent");
    assert_eq!(statuses(&read(&mut stream)), [200]);
}

/// As under overload: by the time the server looks, a connection without a request would have ended.
#[test]
fn a_request_that_is_there_is_answered_however_late_the_server_looks() {
    let server = Start::new(Engine::Sqlite).serve();
    let mut stream = server.connect();
    let request = format!("{LINE}Host: x\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    assert_ne!(stream.read(&mut [0; 1000]).expect("an answer"), 0);
    server.pause();
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    // Longer than a connection is kept for its next request.
    std::thread::sleep(Duration::from_secs(6));
    server.signal("CONT");
    assert_eq!(statuses(&read(&mut stream)), [200]);
}

/// tests/hostile/idle does the same with 10,000.
#[test]
fn connections_that_are_only_held_keep_nobody_from_service() {
    let server = Start::new(Engine::Sqlite).seed("1_a.sql", image(1).insert()).serve();
    let held: Vec<TcpStream> = (0..500).map(|_| server.connect()).collect();
    let half: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(LINE.as_bytes()).expect("the request can be sent");
            stream
        })
        .collect();
    assert_eq!(server.get("/v1.1/images/detail").images().len(), 1);
    drop((held, half));
}

/// A client that is served, and keeps its connection.
fn kept(server: &Glimpse) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(format!("{LINE}Host: x\r\n\r\n").as_bytes()).expect("the request can be sent");
    assert_ne!(stream.read(&mut [0; 1000]).expect("an answer"), 0, "{}", server.log());
    stream
}

/// As shells and container engines give it.
#[test]
fn more_clients_are_served_at_once_than_files_may_be_open_at_first() {
    let server = Start::new(Engine::Sqlite).after("ulimit -Sn 300").serve();
    let clients: Vec<TcpStream> = (0..400).map(|_| kept(&server)).collect();
    assert_eq!(server.get("/v1.1/images/detail").status, 200);
    assert!(!server.log().contains("os error 24"), "{}", server.log());
    drop(clients);
}

#[test]
fn a_process_that_may_open_too_few_files_says_so() {
    let message = Start::new(Engine::Sqlite).after("ulimit -n 50").refusal();
    assert!(message.contains("50 files may be open (ulimit -n)"), "{message}");
}

#[test]
fn clients_leave_files_for_the_database_where_no_more_may_be_open() {
    let start = Start::new(Engine::Sqlite).set("DATABASE_CONNECTIONS", "4").set("CLIENT_TIMEOUT", "300ms");
    let server = start.after("ulimit -n 300").serve();
    assert!(server.log().contains("300 files may be open"), "{}", server.log());
    let silent: Vec<TcpStream> = (0..400).map(|_| server.connect()).collect();
    // It is let in once those before it have been cut off.
    assert_eq!(server.get("/v1.1/images/detail").status, 200);
    assert!(!server.log().contains("os error 24"), "{}", server.log());
    drop(silent);
}
