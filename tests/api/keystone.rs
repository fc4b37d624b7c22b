//! Tokens of Keystone: a fake one for what a real one will not do on demand, and a real one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::restart::is_served_though_another_worker_ends;
use crate::support::{Answer, Engine, FakeKeystone, Glimpse, Start, get, image};

/// A server that asks `url`, on one public image and one of project p.
fn start(url: &str) -> Start {
    let mut own = image(1);
    own.is_public = false;
    own.owner = Some("p".to_owned());
    Start::new(Engine::Sqlite)
        .seed("1_a.sql", own.insert() + &image(2).insert())
        .set("AUTH", "keystone")
        .set("KEYSTONE_URL", url)
        .set("KEYSTONE_USERNAME", "glance")
        .set("KEYSTONE_PASSWORD", "glance-pass")
        .set("KEYSTONE_PROJECT", "service")
        .set("RUST_LOG", "trace")
}

fn status(server: &Glimpse, token: &str) -> u16 {
    server.send(&get("/v1.1/images/detail").token(token)).status
}

#[test]
fn a_token_is_asked_of_once_and_remembered() {
    let keystone = FakeKeystone::start();
    keystone.know("token-p", "p", "member", 3600);
    keystone.know("token-q", "q", "member", 3600);
    let server = start(&keystone.url).serve();
    let names = |token: &str| server.send(&get("/v1.1/images/detail").token(token)).names();
    for _ in 0..3 {
        assert_eq!(names("token-p"), ["image-2", "image-1"]);
        assert_eq!(names(" token-q\t"), ["image-2"]);
        let refused = server.send(&get("/v1.1/images/detail?limit=x").token("token-unknown"));
        refused.refusal(401);
        let challenge = format!("Keystone uri=\"{}\"", keystone.url);
        assert_eq!(refused.header("WWW-Authenticate"), Some(challenge.as_str()));
    }
    server.get("/v1.1/images/detail").refusal(401);
    assert_eq!(keystone.state().validated, ["token-p", "token-q", "token-unknown"]);
    assert_eq!(keystone.state().logins, 1);
    let log = server.log();
    assert!(!log.contains("token-p") && !log.contains("service-token") && !log.contains("glance-pass"), "{log}");
}

#[test]
fn keystone_is_asked_without_a_proxy() {
    let keystone = FakeKeystone::start();
    keystone.know("a", "p", "member", 3600);
    let server = start(&keystone.url).set("HTTP_PROXY", "http://127.0.0.1:9").set("ALL_PROXY", "http://127.0.0.1:9");
    assert_eq!(status(&server.serve(), "a"), 200);
}

/// A worker of the server ends with its last client; the connection to Keystone that it has opened
/// serves the others.
#[test]
fn a_worker_that_ends_takes_no_connection_to_keystone_with_it() {
    let keystone = FakeKeystone::start();
    keystone.know("first", "p", "member", 3600);
    keystone.know("second", "q", "member", 3600);
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "1m").set("SHUTDOWN_TIMEOUT", "1m").serve();
    // Clients go to the workers in turn: another one uses the connection next.
    assert_eq!(status(&server, "first"), 200);
    keystone.state().held = true;
    let mut stream = server.connect();
    let request = b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\nX-Auth-Token: second\r\n\r\n";
    stream.write_all(request).expect("the request can be sent");
    keystone.wait_for_validations(2);
    is_served_though_another_worker_ends(server, stream, || keystone.release());
}

#[test]
fn equal_tokens_in_flight_ask_once() {
    let keystone = FakeKeystone::start();
    keystone.know("token-p", "p", "member", 3600);
    keystone.state().held = true;
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "20s").serve();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| status(&server, "token-p"))).collect();
        keystone.wait_for_validations(1);
        keystone.release();
        for answer in asked {
            assert_eq!(answer.join().expect("an answer"), 200);
        }
    });
    assert_eq!(keystone.state().validated.len(), 1);
}

#[test]
fn a_token_is_never_remembered_past_its_end() {
    let keystone = FakeKeystone::start();
    keystone.know("short", "p", "member", 1);
    keystone.know("ended", "p", "member", -1);
    let server = start(&keystone.url).serve();
    assert_eq!(status(&server, "ended"), 401);
    assert_eq!(status(&server, "short"), 200);
    // Keystone knows it for one second more at each asking: it must be asked again and again.
    let started = Instant::now();
    while keystone.state().validated.iter().filter(|token| *token == "short").count() < 3 {
        assert!(started.elapsed() < Duration::from_secs(20), "it is remembered past its end");
        assert_eq!(status(&server, "short"), 200);
    }
}

#[test]
fn the_services_own_token_is_renewed() {
    let keystone = FakeKeystone::start();
    let server = start(&keystone.url).serve();
    keystone.know("a", "p", "member", 3600);
    assert_eq!(status(&server, "a"), 200);
    // Revoked in between: one more login, and the caller notices nothing.
    keystone.state().valid_login = 77;
    keystone.know("b", "p", "member", 3600);
    assert_eq!(status(&server, "b"), 200);
    assert_eq!(keystone.state().logins, 2);
    // One that lives for no time is renewed for every asking.
    keystone.state().login_life = 0;
    keystone.state().valid_login = 88;
    for token in ["c", "d"] {
        keystone.know(token, "p", "member", 3600);
        assert_eq!(status(&server, token), 200);
    }
    assert_eq!(keystone.state().logins, 4);
}

/// A kept connection may end just as it is used again, as HTTP leaves it to clients to know.
#[test]
fn what_gets_no_answer_but_the_end_of_its_connection_is_asked_once_more() {
    let keystone = FakeKeystone::start();
    let server = start(&keystone.url).serve();
    // The first needs a login as well.
    for (token, hung_up, expected) in [("a", 1, 200), ("b", 1, 200), ("c", 2, 503), ("c", 0, 200)] {
        keystone.know(token, "p", "member", 3600);
        keystone.state().hung_up = hung_up;
        assert_eq!(status(&server, token), expected, "{hung_up} ends");
    }
}

#[test]
fn a_keystone_that_fails_is_a_503_and_heals() {
    let keystone = FakeKeystone::start();
    keystone.know("known", "p", "member", 3600);
    let server = start(&keystone.url).serve();
    assert_eq!(status(&server, "known"), 200);
    let refused = |token: &str, said: &str| {
        let answer = server.send(&get("/v1.1/images/detail").token(token));
        answer.refusal(503);
        assert_eq!(answer.header("Retry-After"), Some("1"));
        let id = answer.header("X-Openstack-Request-Id").expect("a request id");
        let log = server.log();
        let causes: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") && line.contains(id)).collect();
        assert!(causes.len() == 1 && causes[0].contains(said), "{said}: {causes:?}");
        assert_eq!(status(&server, "known"), 200, "callers that are remembered go on");
    };
    let answers = |status: u16, body: &str| keystone.state().answer = Some((status, body.to_owned()));
    answers(403, "");
    refused("a", "give it the role admin or service in KEYSTONE_PROJECT");
    answers(500, "");
    refused("a", "500");
    answers(200, "not json");
    refused("a", "is no token at line 1, column 2; is KEYSTONE_URL its v3 endpoint?");
    answers(200, "{\"token\": {}}");
    refused("a", "is no token at line 1, column 12");
    keystone.state().answer = None;
    for (token, project) in [("nul", "a\0b"), ("empty", "")] {
        keystone.know(token, project, "member", 3600);
        refused(token, "names a project without a usable id");
    }
    for (login, said) in [
        (404, "KEYSTONE_URL is not the v3 endpoint"),
        (405, "KEYSTONE_URL is not the v3 endpoint"),
        (300, "KEYSTONE_URL is not the v3 endpoint"),
        (302, "KEYSTONE_URL is not the v3 endpoint"),
        (200, "KEYSTONE_URL is not the v3 endpoint"),
        (201, "to a login has no X-Subject-Token"),
        (500, "Keystone answers 500"),
        (401, "mend KEYSTONE_USERNAME"),
    ] {
        keystone.state().login = Some(login);
        keystone.state().valid_login = 99;
        refused("a", said);
    }
    // Keystone may lock an account that is refused again and again.
    let logins = keystone.state().logins;
    for number in 0..20 {
        assert_eq!(status(&server, &format!("another-{number}")), 503);
    }
    assert!(keystone.state().logins <= logins + 1, "{} logins", keystone.state().logins - logins);
    keystone.state().login = None;
    keystone.know("a", "p", "member", 3600);
    let (started, patience) = (Instant::now(), Duration::from_secs(10));
    while status(&server, "a") == 503 {
        assert!(started.elapsed() < patience, "callers are let in again");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(status(&server, "a"), 200);
    assert_eq!(status(&server, "unknown"), 401);
    let log = server.log();
    assert!(!log.contains("service-token") && !log.contains("glance-pass"), "{log}");
}

#[test]
fn a_keystone_that_dawdles_is_a_503_in_bounded_time() {
    let keystone = FakeKeystone::start();
    keystone.know("a", "p", "member", 3600);
    keystone.state().held = true;
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "300ms").serve();
    server.send(&get("/v1.1/images/detail").token("a")).refusal(503);
    assert!(server.log().contains("no answer within 300ms (KEYSTONE_TIMEOUT)"), "{}", server.log());
}

#[test]
fn the_log_tells_why_keystone_is_not_reached() {
    // A name with a label this long is looked up nowhere.
    let unknown = format!("http://{}.invalid/v3", "x".repeat(64));
    for (url, said) in [("http://127.0.0.1:9/v3", "Connection refused"), (&unknown, "failed to lookup address")] {
        let server = start(url).set("RUST_LOG", "info").serve();
        server.send(&get("/v1.1/images/detail").token("a")).refusal(503);
        assert!(server.log().contains(said), "{said}: {}", server.log());
        server.get("/v1.1/images/detail").refusal(401);
    }
}

/// The next begins anew, but waits no longer than it would have for the one that has gone.
#[test]
fn nobody_waits_longer_because_another_has_gone() {
    let keystone = FakeKeystone::start();
    keystone.state().held = true;
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "2s").serve();
    let ask = |before: &str| {
        let mut stream = server.connect();
        let request = "GET /v1/images HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: a\r\n\r\n";
        stream.write_all((before.to_owned() + request).as_bytes()).expect("the request can be sent");
        stream
    };
    // Closed with an answer that was not read, a connection is reset, which cuts the request off.
    let first = ask("GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n");
    first.peek(&mut [0]).expect("an answer");
    keystone.wait_for_validations(1);
    let (waiting, started) = (ask(""), Instant::now());
    thread::sleep(Duration::from_millis(1500));
    drop(first);
    Answer::read(waiting, "GET").refusal(503);
    let waited = started.elapsed();
    assert_eq!(keystone.state().validated, ["a", "a"]);
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

#[test]
fn no_more_of_an_answer_is_read_than_a_token_takes() {
    let keystone = FakeKeystone::start();
    keystone.know("a", "p", "member", 3600);
    keystone.state().blanks = 64 << 20;
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "20s").set("RUST_LOG", "info").serve();
    assert_eq!(status(&server, "a"), 503);
    assert!(server.log().contains("longer than 1048576 bytes"), "{}", server.log());
    // What the sockets hold is taken too.
    let taken = keystone.state().taken;
    assert!(taken < 32 << 20, "{taken} bytes are taken");
    keystone.state().blanks = 0;
    assert_eq!(status(&server, "a"), 200);
}

/// Where every answer takes long, a login that begins with a refusal each time would never end.
#[test]
fn a_login_that_took_too_long_is_the_next_callers_first_step() {
    let keystone = FakeKeystone::start();
    keystone.know("a", "p", "member", 3600);
    keystone.know("b", "p", "member", 3600);
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "300ms").serve();
    assert_eq!(status(&server, "a"), 200);
    keystone.state().valid_login += 1;
    keystone.state().logins_held = true;
    assert_eq!(status(&server, "b"), 503);
    keystone.release();
    assert_eq!(status(&server, "b"), 200);
    assert_eq!(keystone.state().validated, ["a", "b", "b"]);
}

/// Keystone would work on their tokens when they have long gone.
#[test]
fn who_waits_too_long_for_its_turn_is_never_asked_for() {
    let keystone = FakeKeystone::start();
    keystone.state().held = true;
    let server = start(&keystone.url).set("KEYSTONE_TIMEOUT", "2s").serve();
    thread::scope(|scope| {
        for number in 0..40 {
            let server = &server;
            scope.spawn(move || assert_eq!(status(server, &format!("token-{number}")), 503));
        }
    });
    let asked = keystone.state().validated.len();
    assert!((1..40).contains(&asked), "{asked} are asked for");
    assert!(server.log().contains("Keystone is too busy"), "{}", server.log());
    keystone.release();
    keystone.know("token-p", "p", "member", 3600);
    assert_eq!(status(&server, "token-p"), 200);
}

#[test]
fn what_cannot_be_a_token_is_never_sent_on() {
    let keystone = FakeKeystone::start();
    let server = start(&keystone.url).serve();
    let raw = |token: &[u8]| {
        let before = b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: ";
        let mut stream = server.connect();
        stream.write_all(&[before, token, b"\r\n\r\n"].concat()).expect("the request can be sent");
        Answer::read(stream, "GET")
    };
    for token in [b"a\tb".as_slice(), b"a b", "é".as_bytes(), b"a\x80", b"\xff", &[b'x'; 8192]] {
        raw(token).refusal(401);
    }
    // The HTTP library refuses the request before it is one.
    for token in [b"a\0b".as_slice(), b"\x01", b"a\x1b", b"a\x7f"] {
        assert_eq!(raw(token).status, 400, "{token:?}");
    }
    assert_eq!(keystone.state().validated.len(), 0);
    assert_eq!(keystone.state().logins, 0);
    assert_eq!(status(&server, &"x".repeat(8191)), 401);
    assert_eq!(keystone.state().validated.len(), 1);
    for refused in [400, 414, 431] {
        keystone.state().answer = Some((refused, String::new()));
        assert_eq!(status(&server, &format!("token-{refused}")), 401, "Keystone cannot read it");
    }
}

#[test]
fn anonymous_callers_and_roles_are_as_with_other_tokens() {
    let keystone = FakeKeystone::start();
    keystone.know("member", "p", "Member", 3600);
    keystone.know("reader", "p", "reader", 3600);
    let server = start(&keystone.url).set("ANONYMOUS_PUBLIC", "true").set("ALLOWED_ROLES", "member").serve();
    assert_eq!(server.get("/v1.1/images/detail").names(), ["image-2"]);
    assert_eq!((status(&server, "member"), status(&server, "reader"), status(&server, "other")), (200, 403, 401));
}

#[test]
fn an_unusable_configuration_is_refused_by_name() {
    for (variable, value) in [
        ("KEYSTONE_URL", ""),
        ("KEYSTONE_URL", "keystone:5000"),
        ("KEYSTONE_URL", "ftp://keystone/v3"),
        ("KEYSTONE_URL", "http://user:secret@keystone/v3"),
        ("KEYSTONE_USERNAME", ""),
        ("KEYSTONE_PASSWORD", ""),
        ("KEYSTONE_PROJECT", ""),
        ("KEYSTONE_DOMAIN", ""),
        ("KEYSTONE_URL", " "),
        ("KEYSTONE_USERNAME", " "),
        ("KEYSTONE_PASSWORD", "\t"),
        ("KEYSTONE_PROJECT", "  "),
        ("KEYSTONE_DOMAIN", " "),
        ("KEYSTONE_CA_FILE", "/nowhere.pem"),
        ("KEYSTONE_CA_FILE", "/etc/hostname"),
        ("KEYSTONE_TIMEOUT", "soon"),
        ("TOKEN_CACHE", "-1s"),
    ] {
        let message = start("http://127.0.0.1:5000/v3").set(variable, value).refusal();
        assert!(message.contains(variable), "{variable}={value}: {message}");
        assert!(!message.contains("glance-pass") && !message.contains("secret"), "{message}");
    }
}

/// Makes an authority and a certificate of it for 127.0.0.1 in a folder.
fn certificates(folder: &Path) {
    let script = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
            -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=keystone -keyout key.pem -out request.pem
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > extensions
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem
    ";
    let made = Command::new("sh").args(["-ec", script]).current_dir(folder).output().expect("a shell");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
#[ignore = "needs Python and openssl: tests/run brings them"]
fn an_https_keystone_is_trusted_by_its_authority() {
    let keystone = FakeKeystone::start();
    keystone.know("token-p", "p", "member", 3600);
    let folder = tempfile::tempdir().expect("a temporary folder");
    certificates(folder.path());
    let plain = keystone.url.trim_start_matches("http://").trim_end_matches("/v3");
    let (host, port) = plain.split_once(':').expect("a host and a port");
    let mut proxy = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keystone/tls.py"))
        .args(["cert.pem", "key.pem", host, port])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python can be run");
    let mut port = String::new();
    BufReader::new(proxy.stdout.take().expect("its output")).read_line(&mut port).expect("a port");
    let url = format!("https://127.0.0.1:{}/v3", port.trim());
    let trusting = start(&url).set("KEYSTONE_CA_FILE", folder.path().join("ca.pem").display().to_string()).serve();
    assert_eq!(status(&trusting, "token-p"), 200);
    let distrusting = start(&url).set("RUST_LOG", "info").serve();
    assert_eq!(status(&distrusting, "token-p"), 503, "nobody else vouches for it");
    let log = distrusting.log();
    assert!(log.contains("KEYSTONE_CA_FILE") && log.contains("UnknownIssuer"), "{log}");
    drop(proxy.stdin.take());
    assert!(proxy.wait().expect("it ends").success());
}
