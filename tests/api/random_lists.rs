//! Random queries over random catalogs, answered as a plain filter in memory answers them.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use uuid::Uuid;

use crate::model::{Asked, IsPublic, Model, Role, SORT_KEYS, Text, Who};
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

/// A filter on text: one value, or a list.
fn text_filter(values: &'static [&'static str]) -> impl Strategy<Value = Text> {
    let one = || select(values).prop_map(str::to_owned);
    prop_oneof![3 => one().prop_map(Text::Is), 1 => proptest::collection::vec(one(), 0..4).prop_map(Text::OneOf)]
}

/// Asked for once in four times.
fn maybe<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>>
where
    S::Value: Clone,
{
    option::weighted(0.25, strategy)
}

fn any_asked() -> impl Strategy<Value = Asked> {
    let texts = [
        ("name", &NAMES[..]),
        ("status", &STATUSES[..]),
        ("disk_format", &FORMATS[..]),
        ("container_format", &FORMATS[..]),
    ]
    .map(|(name, values)| maybe(text_filter(values)).prop_map(move |text| Some((name, text?))).boxed());
    let number = || maybe(select(&[0, 1, 2, 1024, (1 << 63) - 1, 1 << 63][..]));
    let properties =
        KEYS.map(|key| maybe(any_property()).prop_map(move |value| Some((key.to_owned(), value?))).boxed());
    (
        (texts.to_vec(), number(), number(), number(), number(), maybe(select(&TIMES[..]))),
        (maybe(any::<bool>()), maybe(select(&[IsPublic::True, IsPublic::False, IsPublic::None][..]))),
        (properties.to_vec(), maybe(select(&SORT_KEYS[..])), maybe(any::<bool>()), 1..30_u32),
    )
        .prop_map(|(filters, flags, (properties, sort_key, is_ascending, limit))| {
            let (texts, size_min, size_max, min_ram, min_disk, changes_since) = filters;
            let (protected, is_public) = flags;
            Asked {
                texts: texts.into_iter().flatten().collect(),
                size_min,
                size_max,
                min_ram,
                min_disk,
                changes_since: changes_since.map(str::to_owned),
                protected,
                is_public,
                properties: properties.into_iter().flatten().collect(),
                sort_key,
                is_ascending,
                limit,
            }
        })
}

/// Everybody who may ask: no token, members of projects, one of none, admins.
const CALLERS: [Who; 6] = [
    Who { token: "", project: None, role: Role::Anonymous },
    Who { token: "member-p", project: Some("p"), role: Role::Member },
    Who { token: "member-q", project: Some("q"), role: Role::Member },
    Who { token: "nowhere", project: None, role: Role::Member },
    Who { token: "admin-p", project: Some("p"), role: Role::Admin },
    Who { token: "admin-nowhere", project: None, role: Role::Admin },
];

fn tokens() -> Value {
    let known = CALLERS.iter().filter(|who| !who.token.is_empty());
    let identities = known.map(|Who { token, project, role }| {
        let role = if *role == Role::Admin { "admin" } else { "member" };
        ((*token).to_owned(), json!({ "user": token, "project": project, "roles": [role] }))
    });
    Value::Object(identities.collect())
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
    let queries = proptest::collection::vec((any_asked(), select(&CALLERS[..])), 12);
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(any_catalog(), queries), |(images, queries)| {
        let inserts: String = images.iter().map(Image::insert).collect();
        server.database().execute(format!("DELETE FROM images; {inserts}"));
        let model = Model::new(images);
        for (asked, who) in queries {
            let target = format!("/v1.1/images/detail?{}", asked.query_string());
            let limit = usize::try_from(asked.limit).expect("a small number");
            let listed = walk(&server, &target, who.token, limit);
            let expected = model.listed(&asked, who, None).expect("no marker");
            let expected: Vec<Value> = expected.into_iter().map(|place| model.images()[place].document()).collect();
            prop_assert_eq!(listed, expected, "{:?} {}", who, target);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
