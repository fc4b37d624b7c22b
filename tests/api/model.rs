//! Random queries over random catalogs, answered as a plain filter in memory answers them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use uuid::Uuid;

use crate::support::{Engine, Glimpse, Image, Member, Start, get, id, image, on_both_engines};

const PROJECTS: [&str; 3] = ["p", "q", ""];
const NAMES: [&str; 5] = ["a", "A", "b:c", "é", ""];
/// The empty one is not the missing one.
const FORMATS: [&str; 4] = ["raw", "qcow2", "RAW", ""];
const STATUSES: [&str; 6] = ["active", "queued", "killed", "deleted", "pending_delete", "saving"];
const SIZES: [i64; 4] = [0, 1, 1024, i64::MAX];
/// Some of them whole days apart, to the microsecond.
const TIMES: [&str; 7] = [
    "0001-01-01T00:00:00.000000",
    "2016-05-20T06:04:22.719791",
    "2016-05-20T23:59:59.000000",
    "2016-05-21T06:04:22.719792",
    "2016-05-22T06:04:22.719791",
    "2016-05-22T06:04:22.719792",
    "9999-12-31T23:59:59.999999",
];
const KEYS: [&str; 2] = ["os", "k\"e'y"];
const SORT_KEYS: [&str; 8] =
    ["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"];

/// One of few values, so that ties are many, or null.
fn nullable<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = Option<T>> {
    prop_oneof![3 => select(values).prop_map(Some), 1 => Just(None)]
}

fn text(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    nullable(values).prop_map(|text| text.map(str::to_owned))
}

/// The value of a property; among them two that differ in their 256th character only, of which the
/// table of properties holds the first 255.
fn any_property() -> impl Strategy<Value = String> {
    let long = (0..2_usize).prop_map(|more| "é".repeat(255) + &"x".repeat(more));
    prop_oneof![3 => select(&NAMES[..]).prop_map(str::to_owned), 1 => long]
}

fn any_image() -> impl Strategy<Value = Image> {
    let columns = (
        (text(&NAMES), select(&STATUSES[..]), text(&FORMATS), text(&FORMATS), nullable(&SIZES)),
        (text(&PROJECTS), any::<bool>(), any::<bool>(), any::<bool>(), select(&TIMES[..]), text(&TIMES)),
        (0..2_i64, 0..2_i64),
        proptest::collection::btree_map(
            select(&KEYS[..]).prop_map(str::to_owned),
            option::weighted(0.75, any_property()),
            0..3,
        ),
        subsequence(&["p", "q"][..], 0..=2),
    );
    columns.prop_map(|(texts, flags, (min_ram, min_disk), properties, members)| {
        let (name, status, disk_format, container_format, size) = texts;
        let (owner, is_public, protected, deleted, created_at, updated_at) = flags;
        Image {
            name,
            status: status.to_owned(),
            disk_format,
            container_format,
            size,
            owner,
            is_public,
            protected,
            deleted,
            created_at: created_at.to_owned(),
            updated_at,
            min_ram,
            min_disk,
            properties,
            members: members.into_iter().map(|member| Member { member: member.to_owned(), can_share: false }).collect(),
            ..image(0)
        }
    })
}

fn any_catalog() -> impl Strategy<Value = Vec<Image>> {
    proptest::collection::vec(any_image(), 0..25).prop_map(|mut images| {
        // Ids in another order than the images, so that ties show it.
        for (image, number) in images.iter_mut().zip(1..) {
            image.id = id(number * 7919 % 1000);
        }
        if let [first, second, ..] = images.as_mut_slice() {
            (first.id, second.id) = (Uuid::max(), Uuid::nil());
        }
        images
    })
}

/// Parameters with their plain values, before they are written into a query string.
type Parameters = BTreeMap<String, String>;

/// A filter on text: one value, or a list.
fn text_filter(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let list = proptest::collection::vec(select(values), 0..4).prop_map(|items| {
        let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
        format!("in:{}", quoted.join(","))
    });
    prop_oneof![3 => select(values).prop_map(str::to_owned), 1 => list]
}

fn any_parameters() -> impl Strategy<Value = Parameters> {
    let number = select(&["0", "1", "2", "1024", "9223372036854775807", "9223372036854775808"][..]);
    let maybe = |name: &'static str, value: BoxedStrategy<String>| prop_oneof![3 => Just(None), 1 => value.prop_map(move |value| Some((name.to_owned(), value)))];
    let owned = |values: &'static [&'static str]| select(values).prop_map(str::to_owned).boxed();
    let parameters = vec![
        maybe("name", text_filter(&NAMES).boxed()).boxed(),
        maybe("status", text_filter(&STATUSES).boxed()).boxed(),
        maybe("disk_format", text_filter(&FORMATS).boxed()).boxed(),
        maybe("container_format", text_filter(&FORMATS).boxed()).boxed(),
        maybe("size_min", number.clone().prop_map(str::to_owned).boxed()).boxed(),
        maybe("size_max", number.clone().prop_map(str::to_owned).boxed()).boxed(),
        maybe("min_ram", number.clone().prop_map(str::to_owned).boxed()).boxed(),
        maybe("min_disk", number.prop_map(str::to_owned).boxed()).boxed(),
        maybe("changes-since", owned(&TIMES)).boxed(),
        maybe("protected", owned(&["true", "False", "1", "0"])).boxed(),
        maybe("is_public", owned(&["true", "False", "none"])).boxed(),
        maybe("property-os", any_property().boxed()).boxed(),
        maybe("property-k\"e'y", any_property().boxed()).boxed(),
        maybe("sort_key", owned(&SORT_KEYS)).boxed(),
        maybe("sort_dir", owned(&["asc", "desc"])).boxed(),
        (1..30_u32).prop_map(|limit| Some(("limit".to_owned(), limit.to_string()))).boxed(),
    ];
    parameters.prop_map(|parameters| parameters.into_iter().flatten().collect())
}

/// Everybody who may ask: no token, members of projects, one of none, admins.
const CALLERS: [(&str, Option<&str>, bool); 6] = [
    ("", None, false),
    ("member-p", Some("p"), false),
    ("member-q", Some("q"), false),
    ("nowhere", None, false),
    ("admin-p", Some("p"), true),
    ("admin-nowhere", None, true),
];

fn tokens() -> Value {
    let known = CALLERS.iter().filter(|(token, ..)| !token.is_empty());
    let identities = known.map(|(token, project, is_admin)| {
        let role = if *is_admin { "admin" } else { "member" };
        ((*token).to_owned(), json!({ "user": token, "project": project, "roles": [role] }))
    });
    Value::Object(identities.collect())
}

/// What the query must list, in order, by a plain reading of the rules.
fn expected<'a>(
    images: &'a [Image],
    parameters: &Parameters,
    (_, project, is_admin): (&str, Option<&str>, bool),
) -> Vec<&'a Image> {
    let asked = |name: &str| parameters.get(name).map(String::as_str);
    let accepts = |filter: Option<&str>, value: Option<&str>| match filter {
        None => true,
        Some(filter) => match filter.strip_prefix("in:") {
            Some(list) => value.is_some_and(|value| list.split(',').any(|item| item == format!("\"{value}\""))),
            None => value == Some(filter),
        },
    };
    let number = |name: &str| asked(name).map(|number| number.parse::<i128>().expect("a number"));
    let names_hidden = |status: &str| {
        ["killed", "deleted", "pending_delete"].contains(&status)
            && asked("status").is_some_and(|filter| accepts(Some(filter), Some(status)))
    };
    let visible = |image: &Image| {
        let own = project.is_some_and(|project| {
            image.owner.as_deref() == Some(project) || image.members.iter().any(|member| member.member == project)
        });
        match (is_admin, asked("is_public")) {
            (true, Some("none")) => true,
            (true, Some("False")) => !image.is_public,
            _ => image.is_public || own,
        }
    };
    let alive = |image: &Image| {
        asked("changes-since").is_some() || !image.deleted && image.status != "killed" || names_hidden(&image.status)
    };
    let passes = |image: &Image| {
        accepts(asked("name"), image.name.as_deref())
            && accepts(asked("status"), Some(&image.status))
            && accepts(asked("disk_format"), image.disk_format.as_deref())
            && accepts(asked("container_format"), image.container_format.as_deref())
            && number("size_min").is_none_or(|least| image.size.is_some_and(|size| i128::from(size) >= least))
            && number("size_max").is_none_or(|most| image.size.is_some_and(|size| i128::from(size) <= most))
            && number("min_ram").is_none_or(|ram| i128::from(image.min_ram) == ram)
            && number("min_disk").is_none_or(|disk| i128::from(image.min_disk) == disk)
            && asked("changes-since").is_none_or(|since| image.updated_at.as_deref().is_some_and(|time| time >= since))
            && asked("protected").is_none_or(|flag| image.protected == ["true", "1"].contains(&flag))
            && KEYS.iter().all(|key| {
                asked(&format!("property-{key}"))
                    .is_none_or(|value| image.properties.get(*key).is_some_and(|own| own.as_deref() == Some(value)))
            })
    };
    let mut listed: Vec<&Image> =
        images.iter().filter(|image| visible(image) && alive(image) && passes(image)).collect();
    let key = asked("sort_key").unwrap_or("created_at");
    listed.sort_by(|a, b| {
        let first = match key {
            "name" => a.name.cmp(&b.name),
            "status" => a.status.cmp(&b.status),
            "disk_format" => a.disk_format.cmp(&b.disk_format),
            "container_format" => a.container_format.cmp(&b.container_format),
            "size" => a.size.cmp(&b.size),
            "updated_at" => a.updated_at.cmp(&b.updated_at),
            "id" => a.id.cmp(&b.id),
            _ => Ordering::Equal,
        };
        first.then_with(|| a.created_at.cmp(&b.created_at)).then_with(|| a.id.cmp(&b.id))
    });
    if asked("sort_dir") != Some("asc") {
        listed.reverse();
    }
    listed
}

fn query_string(parameters: &Parameters) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    // The dashes and underscores of names are left as they are.
    let pairs = parameters.iter().map(|(name, value)| {
        let name = name.replace('"', "%22").replace('\'', "%27");
        format!("{name}={}", encode(value))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// All pages of a list, by following its links.
fn walk(server: &Glimpse, target: &str, token: &str, limit: usize) -> Vec<Value> {
    let mut listed = Vec::new();
    let mut target = target.to_owned();
    loop {
        let request = get(&target);
        let answer = server.send(&if token.is_empty() { request } else { request.token(token) });
        let page = answer.images();
        assert!(page.len() <= limit, "{target}");
        listed.extend(page);
        match answer.header("Link") {
            Some(link) => {
                assert_eq!(answer.images().len(), limit, "only a full page has one after it: {target}");
                target = link.trim_start_matches('<').split('>').next().expect("a target").to_owned();
            }
            None => return listed,
        }
    }
}

fn random_queries_list_what_a_plain_filter_lists(engine: Engine) {
    answers_are_the_models(Start::new(engine));
}
on_both_engines!(random_queries_list_what_a_plain_filter_lists);

/// Where every walk is cut at once, the other plans give the pages.
fn every_plan_lists_the_same(engine: Engine) {
    answers_are_the_models(Start::new(engine).set("WALK_LIMIT", "1"));
}
on_both_engines!(every_plan_lists_the_same);

fn answers_are_the_models(start: Start) {
    let server = start.tokens(&tokens()).set("ANONYMOUS_PUBLIC", "true").serve();
    let queries = proptest::collection::vec((any_parameters(), select(&CALLERS[..])), 12);
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(any_catalog(), queries), |(images, queries)| {
        let inserts: String = images.iter().map(Image::insert).collect();
        server.database().execute(format!("DELETE FROM images; {inserts}"));
        for (parameters, caller) in queries {
            let target = format!("/v1.1/images/detail?{}", query_string(&parameters));
            let limit = parameters["limit"].parse().expect("a number");
            let listed = walk(&server, &target, caller.0, limit);
            let expected: Vec<Value> =
                expected(&images, &parameters, caller).into_iter().map(Image::document).collect();
            prop_assert_eq!(listed, expected, "{:?} {}", caller, target);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
