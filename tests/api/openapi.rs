//! The description of the API: it tells of all that is served, nothing else is in it, and what it
//! shows is so.
//!
//! `TEST_OPENAPI` names the folder of a virtual environment with `tests/openapi/requirements.txt`;
//! `tests/run` brings it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use glimpse::query::PARAMETERS;
use serde_json::{Value, json};

use crate::clients::said;
use crate::support::{Answer, Browser, Engine, Glimpse, Start, get, on_both_engines, set_or};

const DEMO: &str = include_str!("../../migrations/seeds/0001_demo.sql");

fn start() -> Start {
    Start::new(Engine::Sqlite).seed("0001_demo.sql", DEMO)
}

fn document(server: &Glimpse) -> Value {
    let answer = server.get("/openapi.json");
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json; charset=UTF-8")));
    answer.json()
}

/// What a reference stands for.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().map_or(value, |reference| {
        document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} is nowhere"))
    })
}

/// The members of an object, or of none.
fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn list<'a>(document: &'a Value, values: &'a Value) -> impl Iterator<Item = &'a Value> {
    values.as_array().expect("an array").iter().map(|value| resolve(document, value))
}

/// The paths with the versions in place, as patterns.
fn patterns(document: &Value) -> BTreeSet<String> {
    object(&document["paths"])
        .flat_map(|(path, item)| {
            let version = list(document, &item["parameters"]).find(|parameter| parameter["name"] == "version");
            let names = version.map_or_else(Vec::new, |version| list(document, &version["schema"]["enum"]).collect());
            let with = |name: &Value| path.replace("{version}", name.as_str().expect("a version"));
            let versioned: Vec<String> = names.into_iter().map(with).collect();
            if versioned.is_empty() { vec![path.to_owned()] } else { versioned }
        })
        .collect()
}

/// A path with the examples of its parameters in place.
fn target(document: &Value, path: &str, item: &Value) -> String {
    list(document, &item["parameters"]).filter(|parameter| parameter["in"] == "path").fold(
        path.to_owned(),
        |path, parameter| {
            let name = parameter["name"].as_str().expect("a name");
            path.replace(&format!("{{{name}}}"), parameter["example"].as_str().expect("an example"))
        },
    )
}

/// The patterns of the routes that have been asked, as the server itself counts them.
fn routes(server: &Glimpse) -> BTreeSet<String> {
    let text = server.get("/metrics").body;
    let labels =
        text.lines().filter_map(|line| line.strip_prefix("glimpse_http_requests_total{route=\"")?.split_once('"'));
    labels.map(|(route, _)| route.replace(":.*}", "}")).filter(|route| route != "other").collect()
}

#[test]
fn every_path_of_the_document_is_a_route_of_the_server() {
    let server = start().serve();
    let document = document(&server);
    let described = patterns(&document);
    assert!(described.len() >= 35, "{described:?}");
    for (path, item) in object(&document["paths"]) {
        for version in ["v1", "v1.0", "v1.1"] {
            server.get(&target(&document, &path.replace("{version}", version), item));
        }
    }
    server.get("/metrics");
    assert_eq!(routes(&server), described);
}

/// Every path that the source spells is asked for, with and without a version before it.
#[test]
fn every_route_of_the_server_is_in_the_document() {
    fn paths(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                paths(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).expect("source is text");
                found.extend(
                    text.split('"')
                        .filter(|part| part.starts_with('/') && !part.contains([' ', '\n']))
                        .map(|part| part.replace('{', "").replace(":.*}", "").replace('}', "")),
                );
            }
        }
    }
    let server = start().serve();
    let mut found = BTreeSet::new();
    paths(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    for known in ["/images/detail", "/healthcheck", "/openapi.json", "/docs", "/console/query.js", "/"] {
        assert!(found.contains(known), "{known}");
    }
    for path in &found {
        for version in ["", "/v1", "/v1.0", "/v1.1"] {
            server.get(&format!("{version}{path}"));
        }
    }
    let described = patterns(&document(&server));
    let undescribed: Vec<String> = routes(&server).difference(&described).cloned().collect();
    assert!(undescribed.is_empty(), "{undescribed:?} are served");
}

#[test]
fn the_parameters_of_the_lists_are_those_of_the_server() {
    let server = start().serve();
    let document = document(&server);
    for path in ["/{version}/images/detail", "/{version}/images"] {
        for method in ["get", "head"] {
            let parameters: BTreeMap<&str, &Value> = list(&document, &document["paths"][path][method]["parameters"])
                .map(|parameter| (parameter["name"].as_str().expect("a name"), parameter))
                .collect();
            assert_eq!(
                parameters.keys().copied().collect::<BTreeSet<_>>(),
                PARAMETERS.iter().map(|parameter| parameter.name).collect(),
                "{method} {path}"
            );
            for (name, parameter) in parameters {
                let known = PARAMETERS.iter().find(|known| known.name == name).expect("a parameter");
                let told = parameter["description"].as_str().expect("a description");
                assert!(told.contains(known.description) && told.contains(&known.kind.accepted()), "{told}");
                let ask = |name: &str, value: &str| server.get(&format!("/v1.1/images/detail?{name}={value}"));
                // Nothing takes a NUL, so that a name that is ignored shows.
                ask(name, "%00").refusal(400);
                ask(&format!("x{name}"), "%00").images();
                let example = &parameter["example"];
                let (name, value) = example.as_object().and_then(|pairs| pairs.iter().next()).map_or_else(
                    || (name, example.as_str().map_or_else(|| example.to_string(), str::to_owned)),
                    |(name, value)| (name.as_str(), value.as_str().expect("text").to_owned()),
                );
                ask(name, &value).images();
                for value in parameter["schema"]["enum"].as_array().into_iter().flatten() {
                    ask(name, value.as_str().expect("text")).images();
                }
            }
        }
    }
    let limit = |server: &Glimpse| {
        let document = self::document(server);
        document["components"]["parameters"]["limit"]["schema"]["default"].clone()
    };
    assert_eq!(limit(&server), 1000);
    assert_eq!(limit(&server.stop().set("DEFAULT_LIMIT", "7").serve()), 7);
}

/// Whether an answer is one of those that are described for it.
#[track_caller]
fn check_answer(document: &Value, name: &str, operation: &Value, answer: &Answer) {
    let described = resolve(document, &operation["responses"][answer.status.to_string()]);
    assert!(described.is_object(), "{name}: {} is not described", answer.status);
    let media_type = answer.header("Content-Type").and_then(|value| value.split(';').next());
    if !answer.body.is_empty() {
        let content = &described["content"][media_type.unwrap_or_else(|| panic!("{name} has no type"))];
        assert!(content.is_object(), "{name}: {media_type:?}");
    }
    let plain = ["content-length", "content-type", "date", "connection"];
    let is_plain = |name: &str| plain.contains(&name.to_ascii_lowercase().as_str());
    for (header, _) in answer.headers.iter().filter(|(header, _)| !is_plain(header)) {
        let is_described = object(&described["headers"]).any(|(known, _)| known.eq_ignore_ascii_case(header));
        assert!(is_described, "{name}: {header} is not described");
    }
    for (header, described) in object(&described["headers"]).filter(|(_, header)| header["required"] == true) {
        let value = answer.header(header).unwrap_or_else(|| panic!("{name}: no {header}"));
        if let Some(expected) = described["schema"]["const"].as_str() {
            assert_eq!(value, expected, "{name}: {header}");
        }
    }
}

#[test]
fn every_answer_is_one_that_is_described() {
    let tokens = json!({ "t": { "user": "u", "project": null, "roles": ["member"] } });
    let open = start().serve();
    let closed = start().tokens(&tokens).serve();
    let shut = start().tokens(&tokens).set("ALLOWED_ROLES", "operator").serve();
    let document = document(&open);
    let mut seen = BTreeSet::new();
    for (path, item) in object(&document["paths"]) {
        let path = target(&document, path, item);
        for method in ["get", "head", "options"] {
            let operation = &item[method];
            let request = get(&path).method(&method.to_uppercase());
            let mut requests =
                vec![(&open, request.clone()), (&closed, request.clone()), (&shut, request.clone().token("t"))];
            if method == "head" {
                requests.push((&open, request.clone().header("If-None-Match", "*")));
            }
            requests.push((&open, get(&format!("{path}?{}", "x".repeat(9000))).method(&request.method)));
            requests.push((&open, get(&format!("{path}?limit=x")).method(&request.method)));
            let many = (0..200).fold(request.clone(), |request, number| request.header(&format!("X-{number}"), ""));
            requests.push((&open, many));
            requests.push((&open, get(&path.replace("v1.1", "v9")).method(&request.method)));
            for (server, request) in requests {
                let answer = server.send(&request);
                let name = format!("{} {}", request.method, request.target);
                check_answer(&document, &name, operation, &answer);
                seen.insert(answer.status);
            }
        }
    }
    assert_eq!(seen, BTreeSet::from([200, 300, 304, 308, 400, 401, 403, 404, 414, 431]));
}

/// Examples whose summary is a request.
#[test]
fn every_example_is_what_the_server_answers() {
    let tokens = json!({ "t": { "user": "u", "project": null, "roles": ["member"] } });
    let open = start().serve();
    let closed = start().tokens(&tokens).serve();
    let shut = start().tokens(&tokens).set("ALLOWED_ROLES", "operator").serve();
    let document = document(&open);
    let count = Cell::new(0);
    let check = |status: &str, response: &Value| {
        let contents = response["content"].as_object().into_iter().flat_map(|content| content.values());
        for example in
            contents.flat_map(|content| content["examples"].as_object().into_iter().flat_map(|named| named.values()))
        {
            let summary = example["summary"].as_str().expect("a summary");
            let Some((method, target)) = summary.split_once(" /") else {
                assert!(["414", "500", "503"].contains(&status), "{summary} is no request");
                continue;
            };
            let request = get(&format!("/{target}")).method(method);
            let answer = match status {
                "401" => closed.send(&request),
                "403" => shut.send(&request.token("t")),
                _ => open.send(&request),
            };
            assert_eq!((answer.status.to_string().as_str(), &answer.json()), (status, &example["value"]), "{summary}");
            count.set(count.get() + 1);
        }
    };
    for (path, item) in object(&document["paths"]) {
        for (status, response) in object(&item["get"]["responses"]) {
            check(status, resolve(&document, response));
        }
        let get_ = resolve(&document, &item["get"]["responses"]["200"]);
        if let Some(link) = get_["headers"]["Link"]["example"].as_str() {
            let before = link.trim_start_matches('<').split("&marker=").next().expect("a target");
            assert_eq!(open.get(before).header("Link"), Some(link));
            count.set(count.get() + 1);
        }
        if let Some(text) = get_["content"]["text/plain"]["example"].as_str() {
            assert_eq!(open.get(path).body, text);
        }
    }
    check("405", &document["components"]["responses"]["MethodNotAllowed"]);
    assert!(count.get() >= 30, "{count:?}");

    let (path, item) = object(&document["paths"]).find(|(path, _)| *path == "/{version}/images/{id}").expect("a path");
    let head = open.send(&get(&target(&document, path, item)).method("HEAD"));
    let mut headers = 0;
    for (name, header) in object(&item["head"]["responses"]["200"]["headers"]) {
        if let Some(example) = header["example"].as_str() {
            assert_eq!(head.header(name), Some(example), "{name}");
            headers += 1;
        }
    }
    assert_eq!(headers, 16);
}

#[test]
fn the_document_tells_whether_a_token_is_needed() {
    let security = |start: Start| {
        let server = start.serve();
        let document = document(&server);
        let paths = &document["paths"];
        assert_eq!(paths["/healthcheck"]["get"]["security"], json!([]));
        assert_eq!(paths["/{version}/images"]["options"]["security"], json!([]));
        paths["/{version}/images"]["get"]["security"].clone()
    };
    assert_eq!(security(start()), json!([]));
    assert_eq!(security(start().tokens(&json!({}))), json!([{ "token": [] }]));
    let optional = start().tokens(&json!({})).set("ANONYMOUS_PUBLIC", "true");
    assert_eq!(security(optional), json!([{}, { "token": [] }]));
}

#[test]
fn metrics_at_an_address_of_their_own_are_not_in_the_document() {
    let server = start().set("METRICS_LISTEN", "127.0.0.1:0").serve();
    assert_eq!(document(&server)["paths"]["/metrics"], Value::Null);
    server.get("/metrics").refusal(404);
}

/// All that people read of the document, by whatever they read it with.
#[test]
#[ignore = "needs Chromium and axe-core: tests/run brings them"]
fn the_page_for_people_shows_all_of_the_document() {
    let server = start().serve();
    let document = document(&server);
    let browser = Browser::start();
    for scheme in ["light", "dark"] {
        browser.prefer("prefers-color-scheme", scheme);
        for (width, height, is_mobile) in [(1280, 900, false), (320, 640, true)] {
            browser.resize(width, height, is_mobile);
            browser.open(&format!("http://{}/docs", server.address));
            let state = "return document.getElementById('main').getAttribute('aria-busy')";
            browser.wait("the description", |browser| browser.script(state) == "false");
            let found = browser.barriers();
            assert_eq!(found["found"], json!([]), "{scheme}, {width} wide");
            let scrolls = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(browser.script(scrolls), json!(false), "{width} wide");
        }
    }
    let section = |id: &str| {
        let text = browser.script(&format!("return document.getElementById({}).textContent", json!(id)));
        text.as_str().expect("a text").to_owned()
    };
    for (path, item) in object(&document["paths"]) {
        let operation = &item["get"];
        let shown = section(operation["operationId"].as_str().expect("an id"));
        assert!(shown.starts_with(&format!("GET, HEAD {path} ")), "{shown}");
        let parameters = list(&document, &item["parameters"]).chain(list(&document, &operation["parameters"]));
        for told in parameters.flat_map(|parameter| [&parameter["name"], &parameter["description"]]) {
            let told = told.as_str().expect("a text").replace('`', "");
            assert!(shown.contains(&told), "{path} does not show {told:?}");
        }
        for (status, answer) in object(&operation["responses"]).chain(object(&item["head"]["responses"])) {
            let answer = resolve(&document, answer);
            assert!(
                shown.contains(status) && shown.contains(answer["description"].as_str().expect("a text")),
                "{status}"
            );
            for (header, _) in object(&answer["headers"]) {
                assert!(shown.contains(header), "{path} does not show {header}");
            }
            let contents = object(&answer["content"]);
            for (_, example) in contents.flat_map(|(_, content)| object(&content["examples"])) {
                assert!(shown.contains(example["summary"].as_str().expect("a text")), "{example}");
            }
        }
    }
    for (name, schema) in object(&document["components"]["schemas"]) {
        let shown = section(&format!("schema-{name}"));
        assert!(object(&schema["properties"]).all(|(field, _)| shown.contains(field)), "{name}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn program(name: &str) -> Command {
    let folder = std::env::var("TEST_OPENAPI").expect("TEST_OPENAPI is not set; run tests/run");
    let mut command = Command::new(Path::new(&folder).join("bin").join(name));
    command.env_clear().env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
    command
}

#[test]
#[ignore = "needs a validator: tests/run brings it"]
fn a_validator_accepts_the_document() {
    let server = start().serve();
    let file = server.database().folder.path().join("openapi.json");
    fs::write(&file, server.get("/openapi.json").body).expect("a file can be written");
    let output = program("openapi-spec-validator").args(["--schema", "3.1"]).arg(file).output();
    let said = said(&output.expect("the validator can be run"));
    assert!(said.ends_with("OK"), "{said}");
}

/// Schemathesis makes requests of the document, right and wrong ones, and compares the answers with
/// it; the same seed makes the same requests. `SCHEMATHESIS_EXAMPLES` asks for more of them,
/// `SCHEMATHESIS_SEED` for others.
fn schemathesis_finds_nothing_to_complain_of(engine: Engine) {
    let tokens = json!({ "t": { "user": "u", "project": "23f4cb75768d4febb39542ef6fe169f3", "roles": ["admin"] } });
    let server = Start::new(engine).seed("0001_demo.sql", DEMO).tokens(&tokens).serve();
    let output = program("schemathesis")
        .current_dir(server.database().folder.path())
        .arg("--config-file")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", server.address))
        .args(["--header", "X-Auth-Token: t", "--phases", "examples,coverage,fuzzing"])
        .arg(format!("--seed={}", set_or("SCHEMATHESIS_SEED", 1)))
        .arg(format!("--max-examples={}", set_or("SCHEMATHESIS_EXAMPLES", 10)))
        .arg("--no-color")
        .output();
    let said = said(&output.expect("Schemathesis can be run"));
    let paths = object(&document(&server)["paths"]).count();
    // GET, HEAD and OPTIONS of each, but GET of the document, which it has read already.
    assert!(said.contains(&format!("Tested: {}", 3 * paths - 1)), "{said}");
    let made = said.lines().find(|line| line.contains("generated")).unwrap_or_default();
    let line = format!("note: Schemathesis on {engine:?}: {}\n", made.trim());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}
on_both_engines!(schemathesis_finds_nothing_to_complain_of, "needs Schemathesis: tests/run brings it");
