//! Requests that nobody would send: each is answered, never by a 5xx, and by both engines alike.
//!
//! `REQUESTS` asks for more of them, `REQUESTS_SEED` for others.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use glimpse::query::{Kind, PARAMETERS};
use glimpse::random::Random;
use serde_json::json;

use crate::support::{Engine, Glimpse, Start, set_or};

const PATHS: [&str; 8] = [
    "/v1.1/images/detail",
    "/v1.1/images/detail",
    "/v1.1/images/detail",
    "/v1.0/images/detail",
    "/v1.1/images",
    "/v1/images",
    "/v1/images/detail/",
    "/images/detail",
];

const ODD_PATHS: [&str; 18] = [
    "/",
    "/v1.1",
    "/v1.1/images/00000000-0000-0000-0000-000000000000",
    "/v1.1/images/%00",
    "/v1.1/images/%ff",
    "/v1.1/images/..%2fdetail",
    "/v1.1/images/../detail",
    "//v1.1//images//detail",
    "/v1.1/images/detail/x",
    "/v1.1/images/x/members",
    "/v1.1/shared-images/project",
    "/v1.1/shared-images/%F0%9F%98%80",
    "/v1.1/shared-images/a%00b",
    "/v1.1/shared-images/%c3%28",
    "/v2/images",
    "/v1.1/images/%7B%7D",
    "*",
    "v1.1/images/detail",
];

/// Most are GET; these are the rest.
const METHODS: [&str; 6] = ["HEAD", "OPTIONS", "POST", "DELETE", "get", "\u{e9}"];

/// Values that fit some parameter, and such that fit none.
const VALUES: [&str; 56] = [
    "",
    "0",
    "1",
    "-0",
    "-1",
    "+7",
    " 5 ",
    "00000000000000000001",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e3",
    "0x10",
    "1.5",
    "NaN",
    "٣",
    "true",
    "False",
    "TRUE",
    "none",
    "None",
    "null",
    "yes",
    "asc",
    "desc",
    "ASC",
    "name",
    "size",
    "id",
    "created_at",
    "created_at,id",
    "active",
    "killed",
    "deleted",
    "pending_delete",
    "qcow2",
    "bare",
    "in:active,killed",
    "in:",
    "in:,",
    "in:\"a,b\",c",
    "in:\"",
    "in:a\\\"b",
    "eq:in:a",
    "2016",
    "2016-05-22T06:04:22Z",
    "2016-05-22T06:04:22+08:00",
    "2016-05-22 06:04:22 08:00",
    "9999-12-31T23:59:59.999999",
    "0001-01-01",
    "0000-00-00",
    "' OR 1=1 --",
    "\"; DROP TABLE images; --",
    "%",
    "\u{202e}\u{feff}",
    "\u{10ffff}",
];

/// Bytes that are no UTF-8, or no percent-encoding, or that stand for others.
const BROKEN: [&str; 16] = [
    "%",
    "%%",
    "%z",
    "%f",
    "%00",
    "%ff",
    "%c0%af",
    "%ed%a0%80",
    "%f4%90%80%80",
    "%u0041",
    "%0a",
    "%0d%0a",
    "%1f",
    "%7f",
    "%25%30%30",
    "+",
];

/// Between parameters and within them.
const SEPARATORS: [&str; 6] = ["&", "&", "&", "&&", ";", "?"];

struct Attack {
    bytes: Vec<u8>,
    /// Whether all that it is made of is fit for HTTP.
    is_http: bool,
}

fn value(random: &mut Random, kind: Option<&Kind>) -> String {
    let fitting: &[&str] = match kind {
        Some(Kind::Text(_)) => &["active", "qcow2", "bare", "in:active,queued", "in:raw,\"iso\"", "killed", ""],
        Some(Kind::Whole(..)) => &["0", "1", "512", "1073741824", "20"],
        Some(Kind::Flag(_) | Kind::IsPublic) => &["true", "false", "none"],
        Some(Kind::Since(_)) => &["2016-05-22", "2025-12-31T00:00:00Z", "2020-02-02T02:02:02.5-03:30"],
        Some(Kind::SortKey) => &["name", "status", "size", "id", "created_at", "updated_at", "disk_format"],
        Some(Kind::SortDir) => &["asc", "desc"],
        Some(Kind::Limit) => &["0", "1", "2", "50", "1001"],
        Some(Kind::Marker) => &["00000000-0000-0000-0000-000000000000", "x"],
        Some(Kind::Property) | None => &["debian", "x86_64", "1"],
    };
    match random.below(20) {
        0 => (*random.pick(&VALUES)).repeat(usize::from(random.one_in(20, 1)) * 400 + 1),
        1..=3 => (*random.pick(&VALUES)).to_owned(),
        _ => (*random.pick(fitting)).to_owned(),
    }
}

/// Encodes what must be, and of the rest whatever it likes.
fn encode(random: &mut Random, text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() && !random.one_in(30, 1) || byte.is_ascii_graphic() && random.one_in(10, 1) {
            encoded.push(char::from(byte));
        } else {
            let hex = if random.one_in(2, 1) { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
            encoded.push_str(&hex);
        }
    }
    encoded
}

fn parameter(random: &mut Random) -> String {
    let parameter = random.pick(&PARAMETERS);
    let (name, kind) = match random.below(24) {
        0 => ((*random.pick(&VALUES)).to_owned(), None),
        1 => (parameter.name.to_uppercase(), None),
        2 => (format!("{}-", parameter.name), None),
        3 => ("unknown".to_owned(), None),
        _ if parameter.kind == Kind::Property => (
            format!("property-{}", random.pick(&["os", "arch", "", "é", "k\"e'y", "os_distro"])),
            Some(&parameter.kind),
        ),
        _ => (parameter.name.to_owned(), Some(&parameter.kind)),
    };
    let value = value(random, kind);
    let mut text = encode(random, &value);
    if random.one_in(25, 1) {
        let broken: &&str = random.pick(&BROKEN);
        text.push_str(broken);
    }
    let name = if random.one_in(10, 1) { encode(random, &name) } else { name.replace([' ', '"'], "%20") };
    let equals = if random.one_in(40, 1) { *random.pick(&["", "==", "=="]) } else { "=" };
    format!("{name}{equals}{text}")
}

fn attack(random: &mut Random) -> Attack {
    let mut is_http = true;
    let method = if random.one_in(8, 1) { *random.pick(&METHODS) } else { "GET" };
    let path = if random.one_in(12, 1) { *random.pick(&ODD_PATHS) } else { *random.pick(&PATHS) };
    let mut target = path.to_owned();
    let parameters = if random.one_in(100, 1) { 60 } else { random.below(6) };
    for place in 0..parameters {
        let separator: &&str = random.pick(&SEPARATORS);
        target.push_str(if place == 0 { "?" } else { separator });
        target.push_str(&parameter(random));
    }
    if random.one_in(60, 1) {
        is_http = false;
        target.push(*random.pick(&[
            '\0',
            '\u{1}',
            '\t',
            ' ',
            '\u{7f}',
            '\u{e9}',
            '\u{1f600}',
            '\\',
            '^',
            '`',
            '|',
            '<',
        ]));
        target.push_str("x=1");
    }
    is_http &= target.is_ascii() && path.starts_with('/') && method.is_ascii();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let tokens = ["member", "admin", "member", "admin", "member", "admin", "wrong", "", "\u{7f}", "é"];
    if random.one_in(2, 1) {
        head.extend(["X-Auth-Token: ", *random.pick(&tokens), "\r\n"]);
    }
    let headers = [
        "Accept: application/vnd.openstack.images-v1.1",
        "Accept: application/vnd.openstack.images-v9",
        "Accept: */*",
        "User-Agent: python-glanceclient",
        "X-Openstack-Request-Id: req-\u{1f600}",
        "X-Openstack-Request-Id: req-0",
        "Range: bytes=0-1",
        "If-None-Match: *",
        "Cookie: a",
    ];
    if random.one_in(5, 1) {
        head.extend([*random.pick(&headers), "\r\n"]);
    }
    Attack { bytes: (head + "\r\n").into_bytes(), is_http }
}

/// The answer without what is its own each time.
fn answer(server: &Glimpse, attack: &Attack) -> String {
    let mut stream = server.connect();
    stream.write_all(&attack.bytes).expect("the request can be sent");
    let mut answer = Vec::new();
    // What is no HTTP may be cut off.
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_ok() || !attack.is_http, "{read:?}");
    let answer = String::from_utf8(answer).expect("answers are UTF-8");
    // Headers have no order.
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines: Vec<&str> = head.split("\r\n").filter(|line| !is_own(line)).collect();
    lines.sort_unstable();
    lines.join("\n") + "\n\n" + body
}

/// The time, and the request's id.
fn is_own(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with("date: ") || line.starts_with("x-openstack-request-id: ")
}

fn serve(engine: Engine) -> Glimpse {
    let generate = ["generate", "--count", "300", "--seed", "7"];
    let start = generate.iter().fold(Start::new(engine), |start, argument| start.argument(argument));
    assert!(start.output().status.success());
    let owner = "SELECT owner FROM images WHERE owner IS NOT NULL GROUP BY owner ORDER BY count(*) DESC, owner LIMIT 1";
    let owner = start.database.texts(owner).remove(0);
    let tokens = json!({
        "member": { "user": "m", "project": owner, "roles": ["member"] },
        "admin": { "user": "a", "project": null, "roles": ["admin"] },
    });
    let start = Start::on(start.database).tokens(&tokens).set("ANONYMOUS_PUBLIC", "true");
    start.set("QUERY_TIMEOUT", "1m").set("ACQUIRE_TIMEOUT", "1m").set("RUST_LOG", "error,actix_http=off").serve()
}

#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn whatever_is_asked_is_answered_and_by_both_engines_alike() {
    let (requests, seed) = (set_or("REQUESTS", 3000), set_or("REQUESTS_SEED", 1));
    let servers = [serve(Engine::Sqlite), serve(Engine::Postgres)];
    let started = Instant::now();
    let mut statuses = BTreeMap::<String, u64>::new();
    for number in 0..requests {
        let attack = attack(&mut Random::new(seed, number));
        let [sqlite, postgres] = servers.each_ref().map(|server| answer(server, &attack));
        let asked = || format!("seed {seed}, request {number}: {}", String::from_utf8_lossy(&attack.bytes));
        assert_eq!(sqlite, postgres, "{}", asked());
        let status = sqlite
            .lines()
            .find(|line| line.starts_with("HTTP/"))
            .unwrap_or_default()
            .get(..12)
            .unwrap_or("none")
            .to_owned();
        assert!(!status.starts_with("HTTP/1.1 5"), "{sqlite}, {}", asked());
        assert!(status.starts_with("HTTP/1.1 ") || !attack.is_http, "{sqlite:?}, {}", asked());
        *statuses.entry(status).or_default() += 1;
    }
    for server in &servers {
        assert_eq!(server.log(), "", "errors and panics would be logged");
        assert_eq!(server.get("/ready").status, 200);
    }
    let line = format!("note: {requests} requests, seed {seed}, {:.0?}: {statuses:?}\n", started.elapsed());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    assert!(statuses["HTTP/1.1 200"] * 4 > requests, "most are refused: {statuses:?}");
}
