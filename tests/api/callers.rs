//! Who is let in, and who sees what.

use serde_json::json;

use crate::support::{Engine, Glimpse, Image, Start, get, id, image, on_both_engines};

const A: &str = "23f4cb75768d4febb39542ef6fe169f3";
const B: &str = "b0b1b2b3b4b54b6b8b7b8b9babbbcbdb";

fn owned(number: u32, name: &str, owner: Option<&str>, is_public: bool) -> Image {
    let mut image = image(number);
    image.name = Some(name.to_owned());
    image.owner = owner.map(str::to_owned);
    image.is_public = is_public;
    image
}

/// Images of A and B, public and not, one of B's shared with A, and ones of nobody.
fn start(engine: Engine) -> Start {
    let mut shared = owned(4, "b-shared-with-a", Some(B), false);
    shared.members.push(serde_json::from_value(json!({ "member": A, "can_share": false })).expect("a member"));
    let images = [
        owned(1, "a-public", Some(A), true),
        owned(2, "a-private", Some(A), false),
        owned(3, "b-private", Some(B), false),
        shared,
        owned(5, "nobodys-private", None, false),
        owned(6, "empty-private", Some(""), false),
        owned(7, "nobodys-public", None, true),
    ];
    Start::new(engine).seed("0001_images.sql", images.iter().map(Image::insert).collect::<String>())
}

fn tokens(start: Start) -> Start {
    start.tokens(&json!({
        "a": { "user": "alice", "project": A, "roles": ["member"] },
        "b": { "user": "bob", "project": B, "roles": ["reader"] },
        "nowhere": { "user": "nina", "project": null, "roles": ["member"] },
        "admin": { "user": "root", "project": A, "roles": ["Admin"] },
    }))
}

fn names(server: &Glimpse, token: &str, query: &str) -> Vec<String> {
    server.send(&get(&format!("/v1.1/images/detail?sort_key=name&sort_dir=asc&{query}")).token(token)).names()
}

fn each_caller_sees_its_part(engine: Engine) {
    let server = tokens(start(engine)).serve();
    let public = ["a-public", "nobodys-public"];
    let a = ["a-private", "a-public", "b-shared-with-a", "nobodys-public"];
    let b = ["a-public", "b-private", "b-shared-with-a", "nobodys-public"];
    for query in ["", "is_public=none", "is_public=False", "is_public=1"] {
        assert_eq!(names(&server, "a", query), a, "{query}");
        assert_eq!(names(&server, " b ", query), b, "{query}");
        assert_eq!(names(&server, "nowhere", query), public, "{query}");
    }
    assert_eq!(names(&server, "admin", ""), a);
    assert_eq!(names(&server, "admin", "is_public=true"), a);
    assert_eq!(names(&server, "admin", "is_public=None").len(), 7);
    let hidden = ["a-private", "b-private", "b-shared-with-a", "empty-private", "nobodys-private"];
    assert_eq!(names(&server, "admin", "is_public=0"), hidden);
}
on_both_engines!(each_caller_sees_its_part);

fn a_marker_must_be_an_image_that_the_caller_may_see(engine: Engine) {
    let mut deleted = owned(8, "a-deleted", Some(A), true);
    deleted.deleted = true;
    deleted.status = "deleted".to_owned();
    let mut killed = owned(9, "a-killed", Some(A), true);
    killed.status = "killed".to_owned();
    let seed = deleted.insert() + &killed.insert();
    let server = tokens(start(engine)).seed("0002_more.sql", seed).serve();
    let status = |token: &str, number: u32, query: &str| {
        server.send(&get(&format!("/v1.1/images/detail?{query}&marker={}", id(number))).token(token)).status
    };
    assert_eq!(status("a", 4, ""), 200);
    assert_eq!(status("a", 3, ""), 400);
    assert_eq!(status("a", 5, ""), 400);
    assert_eq!(status("nowhere", 6, ""), 400);
    assert_eq!(status("admin", 3, ""), 200);
    assert_eq!(status("a", 8, ""), 400);
    assert_eq!(status("a", 8, "status=active"), 400);
    assert_eq!(status("a", 8, "changes-since=2016"), 200);
    assert_eq!(status("a", 8, "status=deleted"), 200);
    assert_eq!(status("admin", 8, ""), 200);
    assert_eq!(status("b", 9, ""), 200);
}
on_both_engines!(a_marker_must_be_an_image_that_the_caller_may_see);

fn without_a_token_nothing_else_is_looked_at(engine: Engine) {
    let server = tokens(start(engine)).serve();
    for target in
        ["/v1.1/images/detail", "/v1.1/images/detail?limit=abc", "/v1/images?name=%ff", "/v1.0/nope", "/v1.1/images/x"]
    {
        for (method, token) in
            [("GET", None), ("GET", Some("unknown")), ("GET", Some("")), ("GET", Some("é")), ("POST", None)]
        {
            let mut request = get(target).method(method);
            if let Some(token) = token {
                request = request.token(token);
            }
            let answer = server.send(&request);
            answer.refusal(401);
            assert_eq!(answer.header("WWW-Authenticate"), Some("Token realm=\"glimpse\""), "{target}");
        }
    }
    assert_eq!(server.send(&get("/v1.1/images/detail").method("HEAD")).status, 401);
    assert_eq!(server.send(&get("/v1.1/images/detail").method("OPTIONS")).status, 200);
    server.send(&get("/v1.1/nope").method("OPTIONS")).refusal(401);
    for open in ["/", "/versions", "/v1", "/v1.1/", "/healthcheck", "/ready"] {
        assert!(matches!(server.get(open).status, 200 | 300), "{open}");
    }
    assert_eq!(server.get("/v3/images/detail").status, 404);
}
on_both_engines!(without_a_token_nothing_else_is_looked_at);

fn a_caller_needs_an_allowed_role(engine: Engine) {
    let server = tokens(start(engine)).set("ALLOWED_ROLES", "READER, admin").serve();
    assert_eq!(names(&server, "b", "").len(), 4);
    assert_eq!(names(&server, "admin", "").len(), 4);
    for target in ["/v1.1/images/detail?limit=abc", "/v1.1/nope"] {
        server.send(&get(target).token("a")).refusal(403);
    }
    server.get("/v1.1/images/detail").refusal(401);
}
on_both_engines!(a_caller_needs_an_allowed_role);

fn anonymous_callers_see_public_images_where_they_may(engine: Engine) {
    let server = tokens(start(engine)).set("ANONYMOUS_PUBLIC", "true").set("ALLOWED_ROLES", "member").serve();
    for query in ["", "?is_public=False", "?is_public=none"] {
        assert_eq!(
            server.get(&format!("/v1.1/images/detail{query}")).names(),
            ["nobodys-public", "a-public"],
            "{query}"
        );
    }
    server.send(&get("/v1.1/images/detail").token("unknown")).refusal(401);
    assert_eq!(names(&server, "a", "").len(), 4);
    server.get(&format!("/v1.1/images/detail?marker={}", id(2))).refusal(400);
}
on_both_engines!(anonymous_callers_see_public_images_where_they_may);

fn without_authentication_there_is_nobody_to_hide_from(engine: Engine) {
    let server = start(engine).serve();
    let count = |query: &str| server.get(&format!("/v1.1/images/detail?{query}")).images().len();
    assert_eq!((count(""), count("is_public=None"), count("is_public=true"), count("is_public=false")), (7, 7, 2, 5));
    assert_eq!(server.send(&get("/v1.1/images/detail").token("whatever")).images().len(), 7);
}
on_both_engines!(without_authentication_there_is_nobody_to_hide_from);
