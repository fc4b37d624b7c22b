//! Faults on purpose: what each does to a request, which requests meet them, and that nobody meets
//! one unawares.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Answer, Database, Engine, Glimpse, Image, Start, get, image};

/// A server of three images that is about to be started with a file of faults.
fn start(file: &Value) -> Start {
    let sql: String = (1..=3).map(|number| image(number).insert()).collect();
    let start = Start::new(Engine::Sqlite).seed("1_few.sql", sql);
    let path = start.database.folder.path().join("faults.json");
    std::fs::write(&path, file.to_string()).expect("a file can be written");
    start.argument("serve").argument("--faults").argument(&path.display().to_string())
}

fn serve(rules: &Value) -> Glimpse {
    start(&json!({ "rules": rules })).serve()
}

const LIST: &str = "/v1.1/images/detail";

/// All bytes that come before the connection ends.
fn bytes(server: &Glimpse, method: &str, target: &str) -> String {
    let mut stream = server.connect();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the connection ends in order");
    String::from_utf8(bytes).expect("answers are UTF-8")
}

/// The statuses of as many requests, one after the other; 0 where there is no answer.
fn statuses(server: &Glimpse, target: &str, count: usize) -> Vec<u16> {
    let status = |text: String| text.split(' ').nth(1).map_or(0, |status| status.parse().expect("a status"));
    let target = format!("{target} HTTP/1.1\r\nConnection: close\r\nX-Rest:");
    (0..count).map(|_| status(bytes(server, "GET", &target))).collect()
}

#[track_caller]
fn expect_metric(server: &Glimpse, line: &str) {
    let text = server.get("/metrics").body;
    assert!(text.lines().any(|own| own == line), "{line}: {text}");
}

#[test]
fn a_refusal_has_the_status_and_the_form_of_the_api() {
    let effect = json!({ "status": 503, "retry_after": 7, "message": "Come back later." });
    let server = serve(&json!([{ "name": "an outage", "first": 2, "effect": effect }]));
    let answer = server.get(LIST);
    assert_eq!(answer.refusal(503), "Come back later.");
    assert_eq!(answer.header("Retry-After"), Some("7"));
    let wrapped = server.send(&get(LIST).header("User-Agent", "python-glanceclient"));
    assert_eq!(wrapped.json()["error"]["code"], "503 Service Unavailable");
    assert_eq!(server.get(LIST).images().len(), 3);
    let labels = |status| format!("route=\"{LIST}\",method=\"GET\",status=\"{status}\"");
    expect_metric(&server, &format!("glimpse_http_requests_total{{{}}} 2", labels(503)));
    expect_metric(&server, &format!("glimpse_http_requests_total{{{}}} 1", labels(200)));
    expect_metric(&server, "glimpse_faults_injected_total{effect=\"status\"} 2");
    expect_metric(&server, "glimpse_http_requests_in_flight 1");
}

#[test]
fn a_refusal_of_401_tells_how_to_be_let_in() {
    let server = serve(&json!([{ "effect": { "status": 401 } }]));
    let answer = server.get(LIST);
    assert_eq!(answer.refusal(401), "This fault is on purpose, to try clients.");
    assert_eq!(answer.header("WWW-Authenticate"), Some("Token realm=\"glimpse\""));
    assert_eq!(answer.header("Retry-After"), None);
}

#[test]
fn a_cut_connection_ends_before_the_answer() {
    let server = serve(&json!([{ "match": { "path": LIST }, "effect": { "cut": true } }]));
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(bytes(&server, method, LIST), "", "{method}");
    }
    assert_eq!(server.get("/v1.1/images").images().len(), 3);
    expect_metric(&server, "glimpse_faults_injected_total{effect=\"cut\"} 3");
    expect_metric(&server, "glimpse_http_requests_in_flight 1");
    let text = server.get("/metrics").body;
    assert!(!text.contains("/v1.1/images/detail"), "nobody has had an answer: {text}");
}

#[test]
fn a_truncated_body_is_shorter_than_its_length() {
    let file = json!([
        { "match": { "path": LIST }, "effect": { "truncate_to": 25 } },
        { "match": { "path": "/v1.1/images" }, "effect": { "truncate_to": 1_000_000 } },
        { "match": { "path": "/v1.1/nowhere" }, "effect": { "truncate_to": 0 } },
    ]);
    let server = serve(&file);
    let whole = |target: &str| server.get(&target.replace("/v1.1", "/v1")).body;
    for (target, kept) in [(LIST, 25), ("/v1.1/images", usize::MAX), ("/v1.1/nowhere", 0)] {
        let whole = whole(target).replace("/v1/", "/v1.1/");
        let text = bytes(&server, "GET", target);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", whole.len())), "{target}: {head}");
        assert!(head.contains("\r\nContent-Type: application/json; charset=UTF-8"), "{head}");
        assert!(!head.contains("Transfer-Encoding"), "{head}");
        assert_eq!(body, &whole[..kept.min(whole.len() - 1)], "{target}");
    }
    expect_metric(&server, "glimpse_faults_injected_total{effect=\"truncate_to\"} 3");
    let head = bytes(&server, "HEAD", LIST);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", whole(LIST).len())), "{head}");
    let labels = format!("route=\"{LIST}\",method=\"GET\",status=\"200\"");
    expect_metric(&server, &format!("glimpse_http_requests_total{{{labels}}} 1"));
}

/// The page is larger than what a socket takes at once.
#[test]
fn a_large_body_is_cut_off_at_the_byte() {
    let file = json!({ "rules": [{ "match": { "path": LIST }, "effect": { "truncate_to": 3_000_000 } }] });
    let properties = BTreeMap::from([("text".to_owned(), Some("x".repeat(4000)))]);
    let sql: String =
        (11..=1010).map(|number| Image { properties: properties.clone(), ..image(number) }.insert()).collect();
    let server = start(&file).seed("2_large.sql", sql).serve();
    let whole = server.get("/v1/images/detail").body;
    assert!(whole.len() > 4_000_000);
    let text = bytes(&server, "GET", LIST);
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(body == &whole[..3_000_000], "{}", body.len());
}

#[test]
fn a_delay_holds_its_request_up_and_no_other() {
    let server = serve(&json!([{ "match": { "query": { "limit": "1" } }, "effect": { "delay": "1day" } }]));
    let mut stream = server.connect();
    stream.write_all(format!("GET {LIST}?limit=1 HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
    while !server.get("/metrics").body.contains("glimpse_faults_injected_total{effect=\"delay\"} 1") {}
    assert_eq!(server.get(LIST).images().len(), 3);
    expect_metric(&server, "glimpse_http_requests_in_flight 2");
    stream.set_nonblocking(true).expect("a socket");
    assert!(stream.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_connection_lives_on_after_a_delay_and_after_a_refusal() {
    let server = serve(&json!([
        { "match": { "query": { "limit": "1" } }, "effect": { "delay": "1ms", "status": 500 } },
        { "match": { "query": { "limit": "2" } }, "effect": { "delay": "1ms" } },
    ]));
    let mut stream = server.connect();
    for (limit, status) in [(1, 500), (2, 200), (3, 200), (1, 500)] {
        stream.write_all(format!("GET {LIST}?limit={limit} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
        let mut reader = BufReader::new(&stream);
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).expect("a status line");
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{limit}: {line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a head");
            length = line.strip_prefix("Content-Length: ").map_or(length, |own| own.trim().parse().expect("a length"));
        }
        reader.read_exact(&mut vec![0; length]).expect("a whole body");
    }
}

#[test]
fn a_seed_picks_the_same_share_for_ever() {
    let picked = |seed: u64, share: f64| {
        let rule = json!({ "match": { "path": "/versions" }, "share": share, "effect": { "status": 500 } });
        let server = start(&json!({ "seed": seed, "rules": [rule] })).serve();
        let statuses = statuses(&server, "/versions", 40);
        statuses.iter().map(|status| if *status == 500 { 'x' } else { '.' }).collect::<String>()
    };
    assert_eq!(picked(7, 0.25), ".........xx.....xx.x........x.x..x..x...");
    assert_eq!(picked(7, 0.25), picked(7, 0.25));
    assert_ne!(picked(7, 0.25), picked(8, 0.25));
    assert_eq!(picked(7, 0.0), ".".repeat(40));
    assert_eq!(picked(7, 1.0), "x".repeat(40));
}

#[test]
fn the_first_rule_that_strikes_decides_and_the_rest_do_not_count() {
    let server = serve(&json!([
        { "match": { "path": "/v*/images*", "query": { "limit": "1" } }, "first": 2, "effect": { "status": 500 } },
        { "match": { "path": "/v1*/images/detail" }, "first": 3, "effect": { "status": 502 } },
        { "match": { "path": "/v1.1/*" }, "first": 1, "effect": { "cut": true } },
    ]));
    assert_eq!(server.get(LIST).status, 502);
    let limited = format!("{LIST}?limit=1");
    assert_eq!(statuses(&server, &limited, 6), [500, 500, 502, 502, 0, 200]);
    assert_eq!(statuses(&server, LIST, 2), [200, 200]);
}

#[test]
fn a_rule_may_be_for_one_method() {
    let server = serve(&json!([
        { "match": { "method": "HEAD", "path": "/v*" }, "effect": { "status": 500 } },
        { "match": { "method": "OPTIONS" }, "effect": { "status": 502 } },
        { "match": { "method": "PURGE" }, "effect": { "status": 503 } },
    ]));
    for (method, target, status) in [
        ("GET", LIST, 200),
        ("HEAD", LIST, 500),
        ("HEAD", "/versions", 500),
        ("HEAD", "/", 300),
        ("OPTIONS", LIST, 502),
        ("PURGE", LIST, 503),
        ("POST", LIST, 405),
    ] {
        assert_eq!(server.send(&get(target).method(method)).status, status, "{method} {target}");
    }
    assert!(server.log().contains("rules[0]: status 500 for a share of 1 of the HEAD requests for /v*"));
}

#[test]
fn only_what_matches_in_everything_meets_a_rule() {
    let tokens = json!({
        "alice": { "user": "alice", "project": "p", "roles": [] },
        "bob": { "user": "bob", "project": "p", "roles": [] },
        "carol": { "user": "carol", "project": null, "roles": [] },
    });
    let server = start(&json!({ "rules": [
        { "match": { "user": "alice", "path": "/v1.1/images" }, "effect": { "status": 500 } },
        { "match": { "project": "p", "query": { "name": "cirros*", "status": "?????e" } }, "effect": { "status": 501 } },
        { "match": { "user": "carol", "query": { "property-a b": "*" } }, "effect": { "status": 502 } },
        { "match": { "project": "q" }, "effect": { "status": 503 } },
    ]}));
    let server = server.tokens(&tokens).serve();
    for (token, target, status) in [
        ("alice", "/v1.1/images", 500),
        ("bob", "/v1.1/images", 200),
        ("alice", "/v1.1/images/", 404),
        ("alice", "/v1.0/images", 200),
        ("alice", "/v1.1/images/detail?name=cirros-1&status=active", 501),
        ("bob", "/v1.1/images/detail?status=x&name=c%69rros&status=active", 501),
        ("bob", "/v1.1/images/detail?status=active&name=cirros&status=queued", 200),
        ("bob", "/v1.1/images/detail?name=cirros", 200),
        ("carol", "/v1.1/images/detail?name=cirros&status=active", 200),
        ("carol", "/v1.1/images/detail?property-a+b=", 502),
        ("carol", "/v1.1/images/detail?property-a+b=%FF", 400),
    ] {
        assert_eq!(server.send(&get(target).token(token)).status, status, "{token} {target}");
    }
}

#[test]
fn who_has_no_caller_is_refused_first_unless_the_rule_says_otherwise() {
    let tokens = json!({ "t": { "user": "u", "project": null, "roles": [] } });
    let server = start(&json!({ "rules": [
        { "effect": { "status": 500 } },
        { "match": { "path": "/v1.1/images" }, "before_authentication": true, "first": 2, "effect": { "status": 503 } },
    ]}));
    let server = server.tokens(&tokens).serve();
    server.get(LIST).refusal(401);
    server.get("/v1.1/nowhere").refusal(401);
    assert_eq!(server.send(&get(LIST).method("OPTIONS")).status, 200);
    server.send(&get(LIST).token("t")).refusal(500);
    server.get("/v1.1/images").refusal(503);
    server.send(&get("/v1.1/images").token("t")).refusal(503);
    server.get("/v1.1/images").refusal(401);
    server.send(&get("/v1.1/images").token("t")).refusal(500);
    // No token is asked for here.
    for open in ["/", "/versions", "/v1.1", "/v1.1/", "/console", "/nowhere"] {
        server.get(open).refusal(500);
    }
    let by_media_type = get("/images").header("Accept", "application/vnd.openstack.images-v1.1");
    server.send(&by_media_type).refusal(401);
    server.send(&by_media_type.token("t")).refusal(500);
}

#[test]
fn what_watches_the_service_meets_only_a_rule_that_names_its_path() {
    let watched = ["/healthcheck", "/ready", "/metrics"];
    let server = serve(&json!([
        { "effect": { "status": 500 } },
        { "match": { "path": "*" }, "effect": { "status": 500 } },
        { "match": { "path": "/??????*" }, "effect": { "status": 500 } },
    ]));
    for path in watched {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    server.get("/versions").refusal(500);
    let rule = |path: &str| json!({ "match": { "path": path }, "effect": { "status": 502 } });
    let server = serve(&json!(watched.map(rule)));
    for path in watched {
        server.get(path).refusal(502);
    }
    let apart = start(&json!({ "rules": [rule("/metrics")] })).set("METRICS_LISTEN", "127.0.0.1:0").serve();
    let log = apart.log();
    let address =
        log.split_once("metrics on http://").and_then(|(_, rest)| rest.split_once('/')).expect("an address").0;
    let mut stream = std::net::TcpStream::connect(address).expect("the metrics have an address");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    Answer::read(stream, "GET").refusal(502);
}

#[test]
fn the_log_warns_of_every_rule_and_every_fault() {
    let server = start(&json!({ "rules": [
        { "name": "an outage", "first": 1, "effect": { "delay": "2ms", "status": 503 } },
        { "match": { "path": "/versions", "query": { "a": "b*" } }, "share": 0.5, "effect": { "truncate_to": 9 } },
        { "match": { "path": "/versions" }, "before_authentication": true, "effect": { "cut": true } },
    ]}));
    let server = server.set("LOG_FORMAT", "json").set("RUST_LOG", "warn,actix_http=off").serve();
    server.get(LIST);
    server.get(LIST);
    assert_eq!(bytes(&server, "GET", "/versions"), "");
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let said: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["message"].as_str().expect("a message"), line["fault"].as_str().unwrap_or_default()))
        .collect();
    let start = "requests will fail on purpose (FAULTS_FILE), by rules";
    assert_eq!(
        said,
        [
            (
                &*format!(
                    "{start}[0] (an outage): a delay of 2ms and status 503 for the first 1, a share of 1 of the requests"
                ),
                ""
            ),
            (
                &*format!(
                    "{start}[1]: a body of at most 9 bytes for a share of 0.5 of the requests for /versions with a=b*"
                ),
                ""
            ),
            (
                &*format!(
                    "{start}[2]: a cut connection for a share of 1 of the requests for /versions, before authentication"
                ),
                ""
            ),
            ("GET /v1.1/images/detail 503 by a fault on purpose", "rules[0] (an outage)"),
            ("GET /versions cut on purpose", "rules[2]"),
        ],
        "{log}"
    );
    assert_eq!((&lines[3]["level"], &lines[3]["status"]), (&json!("WARN"), &json!(503)));
    assert_eq!(lines[4]["status"], Value::Null);
}

#[test]
fn a_wrong_file_refuses_the_start_with_one_line() {
    let effect = json!({ "status": 500 });
    for (file, place, reason) in [
        (json!([]), "", "expected an object with rules"),
        (json!({}), "", "missing field `rules`"),
        (json!({ "rules": [] }), "rules: ", "at least one rule is needed"),
        (json!({ "rules": [{}] }), "rules[0]: ", "missing field `effect`"),
        (json!({ "rule": [], "rules": [] }), "rule: ", "unknown field `rule`, expected `seed` or `rules`"),
        (
            json!({ "rules": [{ "effect": effect }, { "effect": {} }] }),
            "rules[1].effect: ",
            "one of delay, status, cut",
        ),
        (json!({ "rules": [{ "effect": { "status": 500, "cut": true } }] }), "rules[0].effect: ", "only one of status"),
        (json!({ "rules": [{ "effect": { "cut": true, "message": "m" } }] }), "rules[0].effect: ", "go with a status"),
        (json!({ "rules": [{ "effect": { "status": 200 } }] }), "rules[0].effect.status: ", "the value 200"),
        (json!({ "rules": [{ "effect": { "status": 599 } }] }), "rules[0].effect.status: ", "the value 599"),
        (json!({ "rules": [{ "effect": { "delay": "2" } }] }), "rules[0].effect.delay: ", "a duration from 1ms"),
        (json!({ "rules": [{ "effect": { "delay": 2 } }] }), "rules[0].effect.delay: ", "expected a string"),
        (json!({ "rules": [{ "effect": { "truncate_to": -1 } }] }), "rules[0].effect.truncate_to: ", "invalid value"),
        (json!({ "rules": [{ "share": 1.5, "effect": effect }] }), "rules[0].share: ", "the value 1.5"),
        (json!({ "rules": [{ "first": 0, "effect": effect }] }), "rules[0].first: ", "the value 0"),
        (
            json!({ "rules": [{ "match": { "host": "h" }, "effect": effect }] }),
            "rules[0].match.host: ",
            "unknown field",
        ),
        (json!({ "rules": [{ "match": { "path": "v1" }, "effect": effect }] }), "rules[0].match.path: ", "'v1'"),
        (json!({ "rules": [{ "match": { "method": "get" }, "effect": effect }] }), "rules[0].match.method: ", "'get'"),
        (
            json!({ "rules": [{ "match": { "user": "u" }, "before_authentication": true, "effect": effect }] }),
            "rules[0]: ",
            "nobody knows project or user",
        ),
        (
            json!({ "rules": [{ "match": { "user": "u" }, "effect": effect }] }),
            "rules[0] ",
            "nobody has with AUTH=none",
        ),
    ] {
        let start = start(&file);
        let message = start.refusal();
        let path = start.database.folder.path().join("faults.json");
        let expected = format!("glimpse: The file {} (FAULTS_FILE) is refused: {place}", path.display());
        assert!(message.starts_with(&expected) && message.contains(reason), "{file}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(!start.database.folder.path().join("catalog.db").exists(), "the database was touched");
    }
}

#[test]
fn a_file_that_is_no_json_or_missing_refuses_the_start() {
    for (text, reason) in [
        (Some("{"), "is refused: EOF"),
        (Some(r#"{"rules": [{"effect": {"cut": true}}]} x"#), "is refused: trailing characters at line 1"),
        (None, "cannot be read: "),
    ] {
        let start = Start::new(Engine::Sqlite).set("FAULTS_FILE", "faults.json");
        if let Some(text) = text {
            std::fs::write(start.database.folder.path().join("faults.json"), text).expect("a file can be written");
        }
        let message = start.refusal();
        assert!(message.starts_with(&format!("glimpse: The file faults.json (FAULTS_FILE) {reason}")), "{message}");
    }
}

#[test]
fn faults_and_keystone_refuse_each_other() {
    let rules = json!({ "rules": [{ "effect": { "cut": true } }] });
    for arguments in [&[][..], &["config"]] {
        let start = start(&rules);
        let path = start.database.folder.path().join("faults.json").display().to_string();
        let start = Start::on(start.database).set("FAULTS_FILE", &path).set("AUTH", "keystone");
        let start = arguments.iter().fold(start, |start, argument| start.argument(argument));
        let output = start.output();
        let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
        let expected = format!(
            "glimpse: FAULTS_FILE is {path}, and AUTH is keystone: faults on purpose are for test environments alone."
        );
        assert!(!output.status.success() && message.starts_with(&expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

/// The example as it stands there, started by its own command, asked by its own command.
#[test]
#[ignore = "needs curl: tests/run brings it"]
fn the_document_on_faults_can_be_followed() {
    let text = include_str!("../../docs/faults.md");
    let block = |start: &str| text.split_once(start).and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    let database = Database::new(Engine::Sqlite);
    std::fs::write(database.folder.path().join("faults.json"), block("```json\n")).expect("a file can be written");
    let command = crate::program::words(block("```sh\n"));
    assert_eq!(command[0], "glimpse");
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/seeds");
    let arguments = command[1..].iter().map(|word| if word == "migrations/seeds" { seeds } else { word });
    let server = arguments.fold(Start::on(database), Start::argument).serve();

    let (asked, shown) = block("```console\n$ ").split_once('\n').expect("a command and its answer");
    let asked = asked.replace("127.0.0.1:9292", &server.address);
    let curl = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    for _ in 0..2 {
        let (status, told) = curl(&format!("{asked} -s"));
        assert_eq!(status, Some(0));
        let told: Vec<&str> = told.lines().collect();
        for line in shown.lines().filter(|line| *line != "...") {
            assert!(told.contains(&line), "{line}: {told:?}");
        }
    }
    assert!(curl(&format!("{asked} -s")).1.contains("HTTP/1.1 200 OK"));
    let list = format!("http://{}{LIST}", server.address);
    let (status, told) = curl(&format!("curl -s '{list}?limit=2'"));
    assert_eq!((status, told.len()), (Some(18), 100), "{told}");
    let brief = statuses(&server, "/v1.1/images", 40);
    assert!(brief.contains(&0) && brief.contains(&200), "{brief:?}");
    let (status, _) =
        curl(&format!("for _ in $(seq 40); do curl -s http://{}/v1.1/images >/dev/null || exit; done", server.address));
    assert_eq!(status, Some(52));
    let text = server.get("/metrics").body;
    for effect in ["delay", "status", "cut", "truncate_to"] {
        assert!(text.contains(&format!("glimpse_faults_injected_total{{effect=\"{effect}\"}}")), "{effect}: {text}");
    }
}
