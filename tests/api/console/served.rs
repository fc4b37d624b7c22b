//! The parts of the console and of the documentation, as they are served.

use glimpse::query::{Kind, PARAMETERS};
use serde_json::json;

use super::start;
use crate::support::{Image, get, image};

const PARTS: [(&str, &str); 9] = [
    ("/console", "text/html; charset=UTF-8"),
    ("/console/console.css", "text/css; charset=UTF-8"),
    ("/console/console.js", "text/javascript; charset=UTF-8"),
    ("/console/query.js", "text/javascript; charset=UTF-8"),
    ("/console/values.js", "text/javascript; charset=UTF-8"),
    ("/console/icon.svg", "image/svg+xml"),
    ("/docs", "text/html; charset=UTF-8"),
    ("/docs/docs.css", "text/css; charset=UTF-8"),
    ("/docs/docs.js", "text/javascript; charset=UTF-8"),
];

#[test]
fn the_pages_are_served_without_a_token_and_shut_off_from_all_else() {
    let server = start(&[]).tokens(&json!({})).serve();
    for (path, media_type) in PARTS {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(media_type)), "{path}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
        let policy = answer.header("Content-Security-Policy").expect("a policy");
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let foreign = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{path} names another site");
        // A version in Accept is for the API, as at the documents of discovery.
        let versioned = get(path).header("Accept", "application/vnd.openstack.images-v1");
        assert_eq!(server.send(&versioned).status, 200, "{path}");
    }
    for path in ["/console/nope", "/console/index.html", "/docs/nope", "/Console", "/console/../v1.1/images"] {
        server.get(path).refusal(404);
    }
    server.get("/v1.1/images/detail").refusal(401);
}

#[test]
fn a_page_is_sent_again_only_when_it_has_changed() {
    let server = start(&[]).serve();
    for (path, _) in PARTS {
        let tag = server.get(path).header("ETag").expect("a tag").to_owned();
        assert_eq!(server.get(path).header("Cache-Control"), Some("no-cache"));
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let answer = server.send(&get(path).method("HEAD").header("If-None-Match", &known));
            assert_eq!((answer.status, answer.header("ETag")), (304, Some(tag.as_str())), "{known}");
        }
        assert_eq!(server.send(&get(path).header("If-None-Match", "\"other\"")).status, 200);
    }
}

#[test]
fn a_slash_behind_a_page_leads_to_it() {
    let server = start(&[]).serve();
    for (target, location) in
        [("/console/", "../console"), ("/console/?name=a%20b", "../console?name=a%20b"), ("/docs/", "../docs")]
    {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.header("Location")), (308, Some(location)), "{target}");
    }
}

#[test]
fn the_form_has_a_control_for_every_parameter() {
    let page = start(&[]).serve().get("/console").body;
    for parameter in &PARAMETERS {
        match parameter.kind {
            Kind::Property => {
                assert!(page.contains("data-property=\"name\"") && page.contains("data-property=\"value\""));
            }
            // The buttons that turn pages take its place.
            Kind::Marker => {}
            _ => assert!(page.contains(&format!(" name=\"{}\"", parameter.name)), "no control for {}", parameter.name),
        }
    }
    let sort_key = PARAMETERS.iter().find(|parameter| parameter.kind == Kind::SortKey).expect("a parameter");
    for key in sort_key.kind.accepted().replace(" or ", ", ").split(", ") {
        assert!(page.contains(&format!("<option>{key}</option>")), "{key} is not offered");
        assert!(page.contains(&format!("data-sort=\"{key}\"")), "no column sorts by {key}");
    }
}

/// The statuses that the form offers are those that the catalog takes.
#[test]
fn the_form_offers_the_statuses_of_the_catalog() {
    let server = start(&[]).serve();
    let page = server.get("/console").body;
    let list = page.split_once("<datalist id=\"statuses\">").and_then(|(_, rest)| rest.split_once("</datalist>"));
    let offered =
        list.expect("a list").0.split("<option>").skip(1).map(|option| option.split_once('<').expect("an end").0);
    let offered: Vec<&str> = offered.filter(|status| !status.starts_with("in:")).collect();
    assert_eq!(offered.len(), 9, "{offered:?}");
    for (number, status) in (1..).zip(offered) {
        server.database().execute(Image { status: status.to_owned(), ..image(number) }.insert());
    }
}
