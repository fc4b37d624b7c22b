//! The recorded answers of the reference, replayed.
//!
//! `images.json` is the catalog that they were recorded on, with visibility as D16 reads it;
//! `cases.json` holds the requests with status and images of their answers (an image by the
//! first eight digits of its id; bodies of refusals are ours, D3); `differences.json` names each
//! case in which we differ on purpose, the difference's number in the README, and our answer.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Answer, Engine, Glimpse, Image, Start, get, on_both_engines};

#[derive(Deserialize)]
struct Case {
    id: String,
    configuration: String,
    identity: Option<Value>,
    method: String,
    target: String,
    #[serde(default)]
    request_headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    request_body: String,
    #[serde(flatten)]
    answer: Expected,
}

/// Status, and the images where the answer lists some.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Expected {
    status: u16,
    images: Option<String>,
    brief: Option<String>,
    /// The `X-Image-Meta-*` headers and the `ETag` of a single image, names in lower case.
    headers: Option<BTreeMap<String, String>>,
    /// A body that lists no images.
    members: Option<Value>,
}

#[derive(Deserialize)]
struct Difference {
    /// `D1` to `D20`.
    difference: String,
    #[serde(flatten)]
    answer: Expected,
}

fn recorded<T: for<'de> Deserialize<'de>>(text: &str) -> T {
    serde_json::from_str(text).expect("the recorded data can be read")
}

fn the_recorded_answers_are_given(engine: Engine) {
    let images: Vec<Image> = recorded(include_str!("../conformance/images.json"));
    let cases: Vec<Case> = recorded(include_str!("../conformance/cases.json"));
    let mut differences: HashMap<String, Difference> = recorded(include_str!("../conformance/differences.json"));

    for (id, difference) in &differences {
        let number = difference.difference.strip_prefix('D').and_then(|number| number.parse().ok());
        assert!(number.is_some_and(|number: u32| (1..=20).contains(&number)), "{id}");
    }
    let seed: String = images.iter().map(Image::insert).collect();
    let identities = cases.iter().filter_map(|case| case.identity.as_ref());
    let tokens: serde_json::Map<String, Value> =
        identities.map(|identity| (token(identity).to_owned(), identity.clone())).collect();
    let tokens = Value::Object(tokens);
    let start = Start::new(engine).seed("0001_images.sql", seed).tokens(&tokens).set("DEFAULT_LIMIT", "25");
    let mut failures = Vec::new();
    let main = start.serve();
    let mut replayed = replay(&main, "main", &cases, &images, &mut differences, &mut failures);
    let anonymous = main.stop().set("ANONYMOUS_PUBLIC", "true").serve();
    replayed += replay(&anonymous, "anonymous-allowed", &cases, &images, &mut differences, &mut failures);
    let mut keystone = anonymous.stop().set("ANONYMOUS_PUBLIC", "false").set("AUTH", "keystone");
    // No case of this configuration has a token, so that nobody is asked.
    for (variable, value) in [("URL", "http://127.0.0.1:5000"), ("USERNAME", "u"), ("PASSWORD", "p"), ("PROJECT", "p")]
    {
        keystone = keystone.set(&format!("KEYSTONE_{variable}"), value);
    }
    replayed += replay(&keystone.serve(), "keystone", &cases, &images, &mut differences, &mut failures);

    failures.extend(differences.keys().map(|id| format!("{id} is listed as a difference, but there is no such case")));
    assert!(failures.is_empty(), "{} of {replayed} fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(replayed, cases.len());
}
on_both_engines!(the_recorded_answers_are_given);

fn token(identity: &Value) -> &str {
    identity["user"].as_str().expect("an identity has a user")
}

fn replay(
    server: &Glimpse,
    configuration: &str,
    cases: &[Case],
    images: &[Image],
    differences: &mut HashMap<String, Difference>,
    failures: &mut Vec<String>,
) -> usize {
    let cases = cases.iter().filter(|case| case.configuration == configuration);
    let mut replayed = 0;
    for case in cases {
        replayed += 1;
        let answer = send(server, case);
        let given = summary(&answer);
        let expected = match differences.remove(&case.id) {
            Some(ours) if ours.answer == case.answer => {
                failures.push(format!("{} is listed under {} but does not differ", case.id, ours.difference));
                continue;
            }
            Some(ours) => ours.answer,
            None => case.answer.clone(),
        };
        if given != expected {
            failures.push(format!("{} {}: {given:?} instead of {expected:?}", case.id, case.target));
        } else if let Some(wrong) = wrong_image(&answer, images, expected.brief.is_some()) {
            failures.push(format!("{}: {wrong}", case.id));
        }
    }
    replayed
}

fn send(server: &Glimpse, case: &Case) -> Answer {
    let mut headers: BTreeMap<&str, Option<&str>> =
        BTreeMap::from([("Host", Some("glance.test:9292")), ("Accept", Some("*/*"))]);
    if let Some(identity) = &case.identity {
        headers.insert("X-Auth-Token", Some(token(identity)));
    }
    headers.extend(case.request_headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    let mut request = get(&case.target).method(&case.method);
    for (name, value) in headers {
        if let Some(value) = value.filter(|_| name != "Content-Length") {
            request = request.header(name, value);
        }
    }
    request.body.clone_from(&case.request_body);
    server.send(&request)
}

/// The answer as the recorded cases tell it.
fn summary(answer: &Answer) -> Expected {
    let images = serde_json::from_str::<Value>(&answer.body).ok().and_then(|body| body["images"].as_array().cloned());
    let is_brief = images.as_ref().and_then(|images| images.first()).is_some_and(|image| image.get("status").is_none());
    let ids = images.map(|images| {
        let ids = images.iter().map(|image| image["id"].as_str().map_or("", |id| &id[..8]));
        ids.collect::<Vec<_>>().join(" ")
    });
    let (images, brief) = if is_brief { (None, ids) } else { (ids, None) };
    let headers: BTreeMap<String, String> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .filter(|(name, _)| name.starts_with("x-image-meta-") || name == "etag")
        .collect();
    let headers = (answer.status == 200 && !headers.is_empty()).then_some(headers);
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    let members = body.filter(|body| body.get("members").is_some());
    Expected { status: answer.status, images, brief, headers, members }
}

/// The first image that is not shown as it is stored, if there is one.
fn wrong_image(answer: &Answer, images: &[Image], brief: bool) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    for shown in body["images"].as_array()? {
        let stored = images.iter().find(|image| shown["id"] == image.id.to_string())?.document();
        let expected = if brief {
            let fields = ["name", "container_format", "disk_format", "checksum", "id", "size"];
            json!(fields.map(|field| (field, stored[field].clone())).into_iter().collect::<BTreeMap<_, _>>())
        } else {
            stored
        };
        if *shown != expected {
            return Some(format!("{shown} instead of {expected}"));
        }
    }
    None
}
