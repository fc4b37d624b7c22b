//! Single images as headers, and who they are shared with.

use serde_json::json;

use crate::support::{Answer, Engine, Glimpse, Image, Member, Start, get, id, image, on_both_engines};

/// An image of project a with everything set, shared with b and c; and one of nobody.
fn serve(engine: Engine) -> Glimpse {
    let mut full = image(1);
    full.name = Some("镜像 one".to_owned());
    full.owner = Some("a".to_owned());
    full.is_public = false;
    full.checksum = Some("64d7c1cd2b6f60c92c14662941cb7913".to_owned());
    full.status = "killed".to_owned();
    full.properties.insert("Hw_Disk_Bus".to_owned(), Some("virtio".to_owned()));
    full.properties.insert("null".to_owned(), None);
    full.properties.insert("ключ 100%".to_owned(), Some("значение".to_owned()));
    full.properties.insert("p%41".to_owned(), Some("no letter".to_owned()));
    full.properties.insert("19\"".to_owned(), Some("yes".to_owned()));
    full.properties.insert("lines".to_owned(), Some("a\r\nX-Injected: 1".to_owned()));
    let member = |member: &str, can_share| Member { member: member.to_owned(), can_share };
    full.members = vec![member("c", false), member("b", true)];
    let mut nobodys = image(2);
    nobodys.owner = None;
    nobodys.is_public = false;
    let mut deleted = image(3);
    deleted.deleted = true;
    deleted.owner = Some("a".to_owned());
    deleted.members = vec![member("b", false)];
    let seed: String = [full, nobodys, deleted, image(4)].iter().map(Image::insert).collect();
    let tokens = ["a", "b", "c", "d", "admin"].map(|token| {
        let role = if token == "admin" { "admin" } else { "member" };
        (token.to_owned(), json!({ "user": token, "project": token, "roles": [role] }))
    });
    let start = Start::new(engine).seed("1_a.sql", seed).tokens(&json!(std::collections::BTreeMap::from(tokens)));
    start.set("ANONYMOUS_PUBLIC", "true").serve()
}

fn at(server: &Glimpse, method: &str, path: &str, token: &str) -> Answer {
    server.send(&get(path).method(method).token(token))
}

fn an_image_is_shown_as_headers(engine: Engine) {
    let server = serve(engine);
    for version in ["v1", "v1.0", "v1.1"] {
        let path = format!("/{version}/images/{}", id(1));
        let head = at(&server, "HEAD", &path, "a");
        assert_eq!((head.status, head.header("Content-Length")), (200, Some("0")));
        let body = at(&server, "GET", &path, "a");
        let message = body.refusal(404);
        assert!(message.contains("no image data"), "{message}");
        for answer in [&head, &body] {
            for (name, value) in [
                ("X-Image-Meta-Id", Some(id(1).to_string().as_str())),
                ("X-Image-Meta-Name", Some("镜像 one")),
                ("X-Image-Meta-Status", Some("killed")),
                ("X-Image-Meta-Size", Some("1024")),
                ("X-Image-Meta-Is_public", Some("False")),
                ("X-Image-Meta-Deleted", Some("False")),
                ("X-Image-Meta-Created_at", Some("2016-01-01T00:00:01.000000")),
                ("X-Image-Meta-Virtual_size", None),
                ("X-Image-Meta-Deleted_at", None),
                ("X-Image-Meta-Property-Hw_disk_bus", Some("virtio")),
                ("X-Image-Meta-Property-Null", None),
                ("X-Image-Meta-Property-%D0%BA%D0%BB%D1%8E%D1%87%20100%25", Some("значение")),
                ("X-Image-Meta-Property-P%2541", Some("no letter")),
                ("X-Image-Meta-Property-P%41", None),
                ("X-Image-Meta-Property-19%22", Some("yes")),
                ("X-Image-Meta-Property-Lines", None),
                ("X-Injected", None),
                ("ETag", Some("64d7c1cd2b6f60c92c14662941cb7913")),
            ] {
                assert_eq!(answer.header(name), value, "{name}");
            }
        }
    }
}
on_both_engines!(an_image_is_shown_as_headers);

fn what_the_caller_may_not_see_is_not_found(engine: Engine) {
    let server = serve(engine);
    let status = |number: u32, token: &str| at(&server, "HEAD", &format!("/v1/images/{}", id(number)), token).status;
    let seen = |number: u32| ["a", "b", "d", "", "admin"].map(|token| status(number, token));
    assert_eq!(seen(1), [200, 200, 404, 404, 200]);
    assert_eq!(seen(2), [404, 404, 404, 404, 200]);
    assert_eq!(seen(3), [404, 404, 404, 404, 200]);
    assert_eq!(seen(4), [200; 5]);
    for name in
        ["not-a-uuid", "cirros", "%00", "3C3D1D01-B48A-4639-8A88-08BE3B9B5D78", "00000000-0000-0000-0000-000000000000"]
    {
        at(&server, "GET", &format!("/v1.1/images/{name}"), "admin").refusal(404);
        at(&server, "GET", &format!("/v1.1/images/{name}/members"), "admin").refusal(404);
    }
    at(&server, "GET", &format!("/v1.1/images/{}", id(1)), "nobody").refusal(401);
}
on_both_engines!(what_the_caller_may_not_see_is_not_found);

fn members_are_told_to_the_owner_and_each_of_itself(engine: Engine) {
    let server = serve(engine);
    let members = |token: &str| at(&server, "GET", &format!("/v1.1/images/{}/members", id(1)), token);
    let both = r#"{"members":[{"can_share":true,"member_id":"b"},{"can_share":false,"member_id":"c"}]}"#;
    assert_eq!(members("a").body, both);
    assert_eq!(members("admin").body, both);
    assert_eq!(members("b").body, r#"{"members":[{"can_share":true,"member_id":"b"}]}"#);
    members("d").refusal(404);
    let public = format!("/v1.1/images/{}/members", id(4));
    assert_eq!(at(&server, "GET", &public, "d").body, r#"{"members":[]}"#);

    let shared = |project: &str, token: &str| at(&server, "GET", &format!("/v1/shared-images/{project}"), token).body;
    let one = format!(r#"{{"shared_images":[{{"image_id":"{}","can_share":true}}]}}"#, id(1));
    let none = r#"{"shared_images":[]}"#;
    assert_eq!(["a", "b", "admin"].map(|token| shared("b", token)), [one.clone(), one.clone(), one]);
    assert_eq!(["c", "d", ""].map(|token| shared("b", token)), [none; 3]);
    assert_eq!(shared("nobody", "admin"), none);
    assert_eq!(shared("%00", "admin"), none);
}
on_both_engines!(members_are_told_to_the_owner_and_each_of_itself);

/// Only SQLite stores such bytes as text.
#[test]
fn bytes_that_are_no_text_are_shown_as_in_a_list() {
    let member = Member { member: "m".to_owned(), can_share: false };
    let own = Image { members: vec![member], ..image(1) }.insert();
    let own = own.replace("'image-1'", "CAST(x'61ff62' AS TEXT)").replace("'m'", "CAST(x'62ff63' AS TEXT)");
    let server = Start::new(Engine::Sqlite).seed("1_a.sql", own).serve();
    assert_eq!(server.get("/v1.1/images/detail").names(), ["a\u{fffd}b"]);
    let head = at(&server, "HEAD", &format!("/v1.1/images/{}", id(1)), "");
    assert_eq!((head.status, head.header("X-Image-Meta-Name")), (200, Some("a\u{fffd}b")));
    let members = server.get(&format!("/v1.1/images/{}/members", id(1))).json();
    assert_eq!(members, json!({ "members": [{ "member_id": "b\u{fffd}c", "can_share": false }] }));
}
