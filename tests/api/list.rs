//! The lists: the contract's example, filters, order, pages, and bad input.

use std::fs;

use crate::indexes::fill;
use crate::support::{Answer, Engine, Glimpse, Image, Start, get, id, image, on_both_engines};

/// A server on a catalog of these images, that asks for no token.
fn serve(engine: Engine, images: &[Image]) -> Glimpse {
    let seed: String = images.iter().map(Image::insert).collect();
    Start::new(engine).seed("0001_images.sql", seed).serve()
}

fn demo_seed() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/seeds/0001_demo.sql")).expect("the demo seed")
}

fn the_documented_example_is_answered_to_the_letter(engine: Engine) {
    let server = Start::new(engine).seed("0001_demo.sql", demo_seed()).serve();
    let answer = server.get(
        "/v1.1/images/detail?name=cirros&container_format=bare&disk_format=qcow2&status=active\
         &size_min=13167616&size_max=13167616&changes-since=2016-05-22T06:04:22.719791Z",
    );
    let expected = concat!(
        r#"{"images":[{"status":"active","deleted_at":null,"name":"cirros","deleted":false,"#,
        r#""container_format":"bare","created_at":"2016-05-22T06:04:20.425843","disk_format":"qcow2","#,
        r#""updated_at":"2016-05-22T06:04:22.719791","min_disk":0,"protected":false,"#,
        r#""id":"3c3d1d01-b48a-4639-8a88-08be3b9b5d78","min_ram":0,"#,
        r#""checksum":"64d7c1cd2b6f60c92c14662941cb7913","owner":"23f4cb75768d4febb39542ef6fe169f3","#,
        r#""is_public":true,"virtual_size":null,"properties":{},"size":13167616}]}"#
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    assert_eq!(answer.header("Content-Type"), Some("application/json; charset=UTF-8"));
    assert!(answer.header("Date").is_some());
    let request_id = answer.header("X-Openstack-Request-Id").expect("a request id");
    assert_eq!((&request_id[..4], request_id.len()), ("req-", 40));
    assert_eq!(answer.header("Link"), None);
    let readme = include_str!("../../README.md");
    let small = server.get("/v1.1/images/detail?disk_format=qcow2&size_max=20000000");
    assert!(readme.contains(&format!("\n{}\n", small.body)), "the README shows another answer than {}", small.body);
}
on_both_engines!(the_documented_example_is_answered_to_the_letter);

fn json_is_compact_and_escapes_only_what_it_must(engine: Engine) {
    let mut odd = image(1);
    odd.name = Some("\u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}\"\\/é镜😀\u{2028}<&>".to_owned());
    odd.size = Some(i64::MAX);
    let server = serve(engine, &[odd]);
    // Written by hand, with every escape that JSON knows and blanks that it does not need.
    let by_hand = r#"'{ "\u006bey\/" : "\u00e9\ud83d\ude00\\u0000 \u0001\b" , "null" :null }'"#;
    server.database().execute(format!("UPDATE images SET properties = {by_hand}"));
    server.database().execute(format!("INSERT INTO images (id, properties) VALUES ('{}', {by_hand})", id(2)));
    let inserted = server.get("/v1.1/images/detail?limit=1").body;
    assert!(inserted.contains(r#""properties":{"key/":"é😀\\u0000 \u0001\b","null":null},"size":null}"#), "{inserted}");
    let body = server.get("/v1.1/images/detail").body;
    let name = concat!(r#""name":"\u0001\b\t\n\f\r\u001f"#, "\u{7f}", r#"\"\\/é镜😀"#, "\u{2028}", r#"<&>","#);
    assert!(body.contains(name), "{body}");
    let properties = r#""properties":{"key/":"é😀\\u0000 \u0001\b","null":null},"size":9223372036854775807}"#;
    assert!(body.contains(properties), "{body}");
}
on_both_engines!(json_is_compact_and_escapes_only_what_it_must);

fn each_filter_keeps_what_it_names(engine: Engine) {
    let mut images: Vec<Image> = (1..=6).map(image).collect();
    images[0].name = Some("foo:bar".to_owned());
    images[0].size = None;
    images[1].container_format = Some("ovf".to_owned());
    images[1].properties.insert("os".to_owned(), Some("linux".to_owned()));
    images[1].properties.insert("a \"key\"".to_owned(), Some(String::new()));
    images[2].disk_format = Some("a,b".to_owned());
    images[2].size = Some(4096);
    images[3].status = "queued".to_owned();
    images[3].min_ram = 512;
    images[3].properties.insert("os".to_owned(), None);
    images[4].protected = true;
    images[4].min_disk = 20;
    images[5].is_public = false;
    images[5].updated_at = None;
    let server = serve(engine, &images);
    for (query, expected) in [
        ("", vec![6, 5, 4, 3, 2, 1]),
        ("name=foo:bar", vec![1]),
        ("name=eq:foo:bar", vec![1]),
        ("name=in:image-2,image-3", vec![3, 2]),
        ("name=Image-2", vec![]),
        ("container_format=ovf", vec![2]),
        ("disk_format=a,b", vec![3]),
        ("disk_format=in:%22a,b%22", vec![3]),
        ("disk_format=in:", vec![]),
        ("status=queued", vec![4]),
        ("size_min=1025", vec![3]),
        ("size_max=1024", vec![6, 5, 4, 2]),
        ("size_min=1024&size_max=4096", vec![6, 5, 4, 3, 2]),
        ("size_min=2&size_max=1", vec![]),
        ("size_max=99999999999999999999", vec![6, 5, 4, 3, 2]),
        ("size_min=99999999999999999999", vec![]),
        ("changes-since=2016-01-01T00:00:04Z", vec![5, 4]),
        ("changes-since=2016-01-01T01:00:04+01:00", vec![5, 4]),
        ("changes-since=2016-01-01T00:00:04.000001Z", vec![5]),
        ("min_ram=512", vec![4]),
        ("min_disk=20", vec![5]),
        ("protected=True", vec![5]),
        ("is_public=0", vec![6]),
        ("is_public=1", vec![5, 4, 3, 2, 1]),
        ("property-os=linux", vec![2]),
        ("property-os=", vec![]),
        ("property-a+%22key%22=", vec![2]),
        ("property-a+%22key%22=&property-os=linux", vec![2]),
        ("property-os=linux&name=image-3", vec![]),
    ] {
        let ids: Vec<String> = server
            .get(&format!("/v1.1/images/detail?{query}"))
            .images()
            .iter()
            .map(|image| image["id"].as_str().expect("an id").to_owned())
            .collect();
        let expected: Vec<String> = expected.into_iter().map(|number| id(number).to_string()).collect();
        assert_eq!(ids, expected, "{query}");
    }
}
on_both_engines!(each_filter_keeps_what_it_names);

/// The walk in the order of sizes is cut at once, so that the formats themselves lead to the page.
fn an_empty_format_is_not_a_missing_one(engine: Engine) {
    let with = |number, format: Option<&str>| Image {
        disk_format: format.map(str::to_owned),
        container_format: format.map(str::to_owned),
        ..image(number)
    };
    let mut images = vec![with(1, None), with(2, Some("")), with(3, None), with(4, Some("raw"))];
    images.extend((5..40).map(image));
    let seed: String = images.iter().map(Image::insert).collect();
    let server = Start::new(engine).seed("0001_images.sql", seed).set("WALK_LIMIT", "1").serve();
    for (query, numbers) in [
        ("disk_format=", &[2][..]),
        ("container_format=eq:", &[2]),
        ("disk_format=in:,", &[2]),
        ("disk_format=in:,raw&container_format=in:raw,,iso", &[4, 2]),
    ] {
        let answer = server.get(&format!("/v1.1/images/detail?{query}&sort_key=size&limit=2"));
        let found: Vec<_> = numbers.iter().map(|number| images[number - 1].document()).collect();
        assert_eq!(answer.images(), found, "{query}");
    }
}
on_both_engines!(an_empty_format_is_not_a_missing_one);

fn deleted_and_killed_images_are_shown_to_who_asks_for_them(engine: Engine) {
    let state = |number: u32, status: &str, deleted: bool| {
        let mut image = image(number);
        image.name = Some(format!("{status}{}", if deleted { "-flagged" } else { "" }));
        image.status = status.to_owned();
        image.deleted = deleted;
        image
    };
    let images = [
        state(1, "active", false),
        state(2, "active", true),
        state(3, "killed", false),
        state(4, "deleted", true),
        state(5, "pending_delete", false),
        state(6, "pending_delete", true),
    ];
    let server = serve(engine, &images);
    for (query, expected) in [
        ("", vec!["pending_delete", "active"]),
        (
            "changes-since=2016",
            vec!["pending_delete-flagged", "pending_delete", "deleted-flagged", "killed", "active-flagged", "active"],
        ),
        ("status=active", vec!["active"]),
        ("status=killed", vec!["killed"]),
        ("status=deleted", vec!["deleted-flagged"]),
        ("status=pending_delete", vec!["pending_delete-flagged", "pending_delete"]),
        ("status=in:killed,active", vec!["killed", "active"]),
        ("changes-since=2016&status=active", vec!["active-flagged", "active"]),
    ] {
        assert_eq!(server.get(&format!("/v1.1/images/detail?{query}")).names(), expected, "{query}");
    }
}
on_both_engines!(deleted_and_killed_images_are_shown_to_who_asks_for_them);

/// Follows the links from page to page.
fn walk(server: &Glimpse, first: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut target = first.to_owned();
    loop {
        let answer = server.get(&target);
        names.extend(answer.names());
        match next(&answer) {
            Some(next) => target = next,
            None => return names,
        }
    }
}

fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("Link")?;
    Some(link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link").to_owned())
}

fn pages_follow_each_other_over_nulls_and_ties(engine: Engine) {
    let mut images: Vec<Image> = (1..=7).map(image).collect();
    for (image, size) in images.iter_mut().zip([None, Some(5), Some(5), None, Some(9), Some(5), None]) {
        image.size = size;
    }
    images[1].created_at = images[2].created_at.clone();
    let server = serve(engine, &images);
    let named = |numbers: [u32; 7]| numbers.map(|number| format!("image-{number}")).to_vec();
    for limit in 1..=8 {
        for (order, expected) in [
            ("sort_key=size&sort_dir=asc", [1, 4, 7, 2, 3, 6, 5]),
            ("sort_key=size&sort_dir=desc", [5, 6, 3, 2, 7, 4, 1]),
            ("sort_key=created_at&sort_dir=asc", [1, 2, 3, 4, 5, 6, 7]),
            ("sort_key=id", [7, 6, 5, 4, 3, 2, 1]),
            ("", [7, 6, 5, 4, 3, 2, 1]),
        ] {
            let first = format!("/v1.1/images/detail?{order}&limit={limit}");
            assert_eq!(walk(&server, &first), named(expected), "{first}");
        }
    }
}
on_both_engines!(pages_follow_each_other_over_nulls_and_ties);

fn a_page_says_whether_more_follow(engine: Engine) {
    let seed: String = (1..=5).map(|number| image(number).insert()).collect();
    let server =
        Start::new(engine).seed("0001_images.sql", seed).set("DEFAULT_LIMIT", "2").set("MAX_LIMIT", "4").serve();
    let list = |query: &str| server.get(&format!("/v1/images/detail{query}"));
    let marker = |number: u32| format!("marker={}", id(number));
    assert_eq!(list("").names().len(), 2);
    assert_eq!(next(&list("")), Some(format!("/v1/images/detail?limit=2&{}", marker(4))));
    assert_eq!(list("?limit=1000").names().len(), 4);
    assert_eq!(next(&list("?limit=1000")), Some(format!("/v1/images/detail?limit=4&{}", marker(2))));
    let middle = list(&format!("?name=in:image-1,image-2,image-3&&{}&x=%22+%C3%A9&limit=1", marker(3)));
    let kept = "name=in:image-1,image-2,image-3&x=%22+%C3%A9&limit=1";
    assert_eq!(next(&middle), Some(format!("/v1/images/detail?{kept}&{}", marker(2))));
    assert_eq!(next(&list(&format!("?{}", marker(3)))), None, "the last page is just full");
    assert_eq!(list(&format!("?{}", marker(1))).images().len(), 0, "a page after the last image");
    assert_eq!((list("?limit=0").images().len(), next(&list("?limit=0"))), (0, None));
    list(&format!("?limit=0&{}", marker(9))).refusal(400);
    let sdk = get("/v1/images/detail").header("User-Agent", "openstacksdk/4.22.0 keystoneauth1/5.18.1");
    assert_eq!(next(&server.send(&sdk)), None, "openstacksdk fails on any link");
}
on_both_engines!(a_page_says_whether_more_follow);

fn a_link_leads_on_for_who_names_the_version_by_media_type(engine: Engine) {
    let server = serve(engine, &[image(1), image(2), image(3)]);
    let at = |target: &str| server.send(&get(target).header("Accept", "application/vnd.openstack.images-v1.1"));
    let first = at("/images/detail?limit=2");
    assert_eq!(first.names(), ["image-3", "image-2"]);
    assert_eq!(at(&next(&first).expect("a link")).names(), ["image-1"]);
}
on_both_engines!(a_link_leads_on_for_who_names_the_version_by_media_type);

fn text_that_is_no_utf_8_does_not_break_a_page(engine: Engine) {
    let server = serve(engine, &[image(1)]);
    if engine == Engine::Sqlite {
        server.database().execute("UPDATE images SET name = CAST(X'ff61' AS TEXT)");
        assert_eq!(server.get("/v1.1/images/detail").names(), ["\u{fffd}a"]);
    } else {
        assert!(server.database().try_execute("UPDATE images SET name = convert_from('\\xff61', 'UTF8')").is_err());
    }
}
on_both_engines!(text_that_is_no_utf_8_does_not_break_a_page);

fn all_versions_and_both_lists_are_one_api(engine: Engine) {
    let server = Start::new(engine).seed("0001_demo.sql", demo_seed()).serve();
    let detail = server.get("/v1.1/images/detail?limit=5").body;
    for path in ["/v1/images/detail", "/v1.0/images/detail", "//v1.1//images/detail", "/v1.1/images/%64etail"] {
        assert_eq!(server.get(&format!("{path}?limit=5")).body, detail, "{path}");
    }
    let brief = server.get("/v1.1/images?name=cirros");
    let expected = concat!(
        r#"{"images":[{"name":"cirros","container_format":"bare","disk_format":"qcow2","#,
        r#""checksum":"64d7c1cd2b6f60c92c14662941cb7913","id":"3c3d1d01-b48a-4639-8a88-08be3b9b5d78","size":13167616}]}"#
    );
    assert_eq!(brief.body, expected);
    assert_eq!(
        next(&server.get("/v1.1/images?limit=1")).map(|next| next.starts_with("/v1.1/images?limit=1&")),
        Some(true)
    );
}
on_both_engines!(all_versions_and_both_lists_are_one_api);

fn what_cannot_be_understood_is_refused_by_name(engine: Engine) {
    let server = serve(engine, &[image(1)]);
    let long = "x".repeat(150);
    for (query, parameter, value) in [
        ("size_min=abc", "size_min", "abc"),
        ("size_max=-1", "size_max", "-1"),
        ("min_ram=1.5", "min_ram", "1.5"),
        ("min_disk=", "min_disk", ""),
        ("protected=none", "protected", "none"),
        ("is_public=maybe", "is_public", "maybe"),
        ("changes-since=yesterday", "changes-since", "yesterday"),
        ("changes-since=9999-12-31T23:59:59-01:00", "changes-since", "9999-12-31T23:59:59-01:00"),
        ("sort_key=owner", "sort_key", "owner"),
        ("sort_dir=ASC", "sort_dir", "ASC"),
        ("limit=-1", "limit", "-1"),
        ("marker=foo", "marker", "foo"),
        ("marker=00000000-0000-0000-0000-000000000000", "marker", "00000000-0000-0000-0000-000000000000"),
        ("name=%00", "name", "\0"),
        ("name=in:%22a", "name", "in:\"a"),
        ("status=%ff", "status", "\u{fffd}"),
        ("property-%00=1", "property-\0", "1"),
        ("unknown=%ed%a0%80", "unknown", "\u{fffd}"),
        ("sort_key=%3Cscript%3E", "sort_key", "<script>"),
        ("sort_dir=a%0d%0aX-Injected:%201", "sort_dir", "a\r\nX-Injected: 1"),
        (&format!("limit={long}"), "limit", &format!("{}…", &long[..100])),
    ] {
        for path in ["/v1.1/images/detail", "/v1.1/images"] {
            let message = server.get(&format!("{path}?{query}")).refusal(400);
            assert!(message.starts_with(&format!("The value '{value}")), "{query}: {message}");
            assert!(message.contains(parameter), "{query}: {message}");
            assert!(!message.to_lowercase().contains("select"), "{query}: {message}");
        }
    }
}
on_both_engines!(what_cannot_be_understood_is_refused_by_name);

fn hostile_text_is_only_text(engine: Engine) {
    let server = serve(engine, &[image(1)]);
    for value in ["'%20OR%20'1'='1", "%27;DROP%20TABLE%20images;--", "%25", "_mage-1", "$1", "?", "%5C", "%F0%9F%98%80"]
    {
        for parameter in ["name", "status", "disk_format", "container_format", "property-x", "property-%27"] {
            let answer = server.get(&format!("/v1.1/images/detail?{parameter}={value}"));
            assert_eq!(answer.images().len(), 0, "{parameter}={value}");
        }
    }
    let many: Vec<String> = (0..900).map(|number| number.to_string()).collect();
    assert_eq!(server.get(&format!("/v1.1/images/detail?name=in:{},image-1", many.join(","))).images().len(), 1);
    assert_eq!(server.get("/v1.1/images/detail").images().len(), 1);
}
on_both_engines!(hostile_text_is_only_text);

/// A list of values is as long as a request line lets it be, and may let nothing through.
fn as_many_values_as_a_request_holds_can_be_asked_for(engine: Engine) {
    let server = Start::new(engine).seed("0001_images.sql", fill(engine)).serve();
    let listed = |filter: &str, limit: u32| {
        let answer = server.get(&format!("/v1.1/images/detail?{filter}&limit={limit}"));
        assert_eq!(answer.status, 200, "{filter}: {}", answer.body);
        answer.images().len()
    };
    for count in [1, 600, 1600] {
        let values: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let list = format!("in:{},raw", values.join(","));
        assert_eq!(listed(&format!("disk_format={list}"), 1000), 20, "{count}");
        assert_eq!(listed(&format!("disk_format={list}&name=image-2,in:image-2"), 1000), 0, "{count}");
        assert_eq!(listed(&format!("disk_format=raw&name={list},image-2"), 1000), 10, "{count}");
        assert_eq!(listed(&format!("status={list},saving"), 1000), 20, "{count}");
    }
    for nothing in ["status=in:nothing", "status=in:", "disk_format=in:", "container_format=in:,", "name=in:"] {
        for limit in [0, 25, 1000] {
            assert_eq!(listed(nothing, limit), 0, "{nothing}");
        }
    }
}
on_both_engines!(as_many_values_as_a_request_holds_can_be_asked_for);

/// Needs both engines at once, and so PostgreSQL.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn both_engines_answer_the_same_bytes() {
    let servers =
        [Engine::Sqlite, Engine::Postgres].map(|engine| Start::new(engine).seed("0001_demo.sql", demo_seed()).serve());
    for target in [
        "/v1.1/images/detail",
        "/v1.1/images/detail?changes-since=2015&sort_key=name&sort_dir=asc",
        "/v1.1/images/detail?sort_key=size&limit=4",
        "/v1.1/images?sort_key=disk_format",
        "/v1.1/images/detail?name=nothing",
        "/v1.1/images/detail?limit=x",
        "/v1.1/images/detail?marker=00000000-0000-0000-0000-000000000000",
    ] {
        let [sqlite, postgres] = servers.each_ref().map(|server| server.get(target));
        assert_eq!((sqlite.status, &sqlite.body), (postgres.status, &postgres.body), "{target}");
        assert_eq!(sqlite.header("Link"), postgres.header("Link"), "{target}");
    }
}
