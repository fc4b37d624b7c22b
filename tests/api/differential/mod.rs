//! Seeded random lists of random catalogs, walked to their ends on both engines, are byte by byte
//! what the model says; and they are so without any index that only speed depends on.
//!
//! `DIFFERENTIAL_LISTS` and `DIFFERENTIAL_SEED` ask for more of them and for others.

mod catalog;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use glimpse::auth::{Caller, Identity};
use glimpse::query::{Limits, parse};
use glimpse::random::Random;
use glimpse::store::{Filled, Patience, Present, Projection, Store, StoreError, Target};
use glimpse::timestamp::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::Value;
use uuid::Uuid;

use crate::model::{Asked, Model, Role, Who};
use crate::support::{Database, Engine, Image, Start, on_both_engines, run, set_or};

/// Lists of each catalog.
const OF_A_CATALOG: u64 = 250;

/// From walks that are cut at once, so that every plan is taken, to the one that is set by default.
const WALKS: [u32; 4] = [1, 4, 20, 200];

/// The fields of an image in the order of the API.
const FIELDS: [&str; 18] = [
    "status",
    "deleted_at",
    "name",
    "deleted",
    "container_format",
    "created_at",
    "disk_format",
    "updated_at",
    "min_disk",
    "protected",
    "id",
    "min_ram",
    "checksum",
    "owner",
    "is_public",
    "virtual_size",
    "properties",
    "size",
];

const BRIEF_FIELDS: [&str; 6] = ["name", "container_format", "disk_format", "checksum", "id", "size"];

fn random_lists_are_what_the_model_says(engine: Engine) {
    let (lists, seed) = (set_or("DIFFERENTIAL_LISTS", 10_000), set_or("DIFFERENTIAL_SEED", 1));
    let started = Instant::now();
    let mut databases = [Catalog::new(engine, true), Catalog::new(engine, false)];
    let mut done = Done::default();
    run(async {
        databases.iter_mut().for_each(Catalog::open);
        for number in 0..lists.div_ceil(OF_A_CATALOG) {
            let mut random = Random::new(seed, number);
            let model = Model::new(catalog::images(&mut random));
            let documents = Documents::of(model.images());
            for database in &databases {
                database.fill(model.images()).await;
            }
            for _ in 0..OF_A_CATALOG.min(lists - done.lists) {
                let list = List::any(&mut random, &model);
                let failed = |what: String| panic!("seed {seed}, catalog {number} on {engine:?}, {list:?}: {what}");
                let [indexed, bare] = &databases;
                let (first, second) = tokio::join!(
                    list.walk(&indexed.stores, &model, &documents),
                    list.walk(&bare.stores, &model, &documents)
                );
                done.pages += first.unwrap_or_else(&failed);
                done.pages += second.unwrap_or_else(|what| failed(format!("without indexes {what}")));
                done.lists += 1;
            }
        }
    });
    let plans = databases.map(Catalog::close);
    let line = format!(
        "note: {engine:?}: {} lists, {} pages, seed {seed}, {:.0?}; with indexes {:?}, without {:?}\n",
        done.lists,
        done.pages,
        started.elapsed(),
        plans[0],
        plans[1]
    );
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    for plans in plans {
        for plan in [
            "walk",
            "longer_walk",
            "shown_walk",
            "by_keys",
            "scan_equalities",
            "scan_size",
            "scan_updated_at",
            "scan_property",
            "scan_visible",
        ] {
            assert!(lists < 10_000 || plans[plan] > lists / 1000, "{plan} is hardly tried: {plans:?}");
        }
        let joined = plans["scan_equalities_and_property"];
        assert!(lists < 10_000 || joined > 0, "equalities and properties are never joined: {plans:?}");
        assert_eq!(plans["unfinished"], 0);
    }
}
on_both_engines!(random_lists_are_what_the_model_says);

#[derive(Default)]
struct Done {
    lists: u64,
    pages: u64,
}

/// A database whose images come and go, and the stores that ask it, one for each of [`WALKS`].
struct Catalog {
    database: Database,
    target: Target,
    stores: Vec<Store>,
    registry: Vec<Registry>,
}

impl Catalog {
    fn new(engine: Engine, has_indexes: bool) -> Self {
        let start = Start::new(engine).argument("migrate");
        assert!(start.output().status.success());
        let database = start.database;
        if !has_indexes {
            drop_indexes(&database);
        }
        let target = Target::parse(&database.url).expect("a target");
        Self { database, target, stores: Vec::new(), registry: Vec::new() }
    }

    /// Opens the stores, on the runtime that asks them.
    fn open(&mut self) {
        let patience = |walk| Patience {
            connections: Some(1),
            acquire: Duration::from_secs(30),
            query: Duration::from_secs(30),
            pooled: false,
            walk,
        };
        for walk in WALKS {
            let store = self.target.clone().open(patience(walk));
            let mut registry = Registry::default();
            store.register(&mut registry);
            self.registry.push(registry);
            self.stores.push(store);
        }
    }

    async fn fill(&self, images: &[Image]) {
        let written = images.iter().map(written);
        let count = written.len() as u64;
        let filled = self.target.fill(Present::Deleted, count, written, |_| {}, std::future::pending()).await;
        assert_eq!(filled.expect("the catalog can be filled"), Filled::Done);
    }

    /// Closes the stores, and tells how many pages each plan has found.
    fn close(self) -> BTreeMap<String, u64> {
        let mut plans = BTreeMap::new();
        for registry in &self.registry {
            let mut text = String::new();
            encode(&mut text, registry).expect("a String takes all that is written");
            let counts = text.lines().filter_map(|line| line.strip_prefix("query_duration_seconds_count{plan=\""));
            for (plan, count) in counts.filter_map(|line| line.split_once("\"} ")) {
                *plans.entry(plan.to_owned()).or_default() += count.parse::<u64>().expect("a count");
            }
        }
        run(async {
            for store in &self.stores {
                store.close().await;
            }
        });
        drop(self.database);
        plans
    }
}

/// Drops every index that does not keep values apart.
fn drop_indexes(database: &Database) {
    let drops = match database.engine {
        Engine::Sqlite => "SELECT 'DROP INDEX ' || name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        Engine::Postgres => {
            "SELECT 'DROP INDEX ' || indexrelid::regclass FROM pg_index
             JOIN pg_class ON pg_class.oid = indrelid AND relname LIKE 'image%' WHERE NOT indisunique"
        }
    };
    let drops: Vec<String> = database.texts(drops).into_iter().flatten().collect();
    assert!(drops.len() > 10, "{drops:?}");
    database.execute(drops.join("; "));
}

/// The image as the store takes it.
fn written(image: &Image) -> glimpse::image::Image {
    let time = |text: &str| Timestamp::parse(text).expect("a time");
    glimpse::image::Image {
        id: image.id,
        name: image.name.clone(),
        status: image.status.clone().into(),
        disk_format: image.disk_format.clone().map(Into::into),
        container_format: image.container_format.clone().map(Into::into),
        size: image.size,
        virtual_size: image.virtual_size,
        checksum: image.checksum.clone(),
        owner: image.owner.clone(),
        is_public: image.is_public,
        protected: image.protected,
        deleted: image.deleted,
        min_ram: image.min_ram,
        min_disk: image.min_disk,
        created_at: time(&image.created_at),
        updated_at: image.updated_at.as_deref().map(time),
        deleted_at: image.deleted_at.as_deref().map(time),
        properties: serde_json::to_string(&image.properties).expect("texts and nulls are JSON"),
        members: image
            .members
            .iter()
            .map(|member| glimpse::image::Member { member: member.member.clone(), can_share: member.can_share })
            .collect(),
    }
}

/// The JSON of each image, to the byte.
struct Documents {
    detail: Vec<String>,
    brief: Vec<String>,
}

impl Documents {
    fn of(images: &[Image]) -> Self {
        let document = |document: &Value, fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|field| format!("\"{field}\":{}", document[*field])).collect();
            format!("{{{}}}", fields.join(","))
        };
        let values: Vec<Value> = images.iter().map(Image::document).collect();
        Self {
            detail: values.iter().map(|value| document(value, &FIELDS)).collect(),
            brief: values.iter().map(|value| document(value, &BRIEF_FIELDS)).collect(),
        }
    }

    fn page(&self, projection: Projection, places: &[usize]) -> String {
        let documents = match projection {
            Projection::Detail => &self.detail,
            Projection::Brief => &self.brief,
        };
        let documents: Vec<&str> = places.iter().map(|&place| documents[place].as_str()).collect();
        format!("{{\"images\":[{}]}}", documents.join(","))
    }
}

/// A list as somebody walks it.
#[derive(Debug)]
struct List {
    asked: Asked,
    who: Who,
    marker: Option<Uuid>,
    projection: Projection,
    /// The place of the store among [`WALKS`].
    walk: usize,
    /// What it must hold; `None` where the marker must be refused.
    expected: Option<Vec<usize>>,
}

impl List {
    fn any(random: &mut Random, model: &Model) -> Self {
        let mut asked = catalog::asked(random, model.images());
        let who = *random.pick(&catalog::CALLERS);
        let marker = random.one_in(3, 1).then(|| match random.below(20) {
            0 => random.uuid(),
            _ => random.pick(model.images()).id,
        });
        let projection = if random.one_in(5, 1) { Projection::Brief } else { Projection::Detail };
        let walk = usize::try_from(random.below(WALKS.len() as u64)).expect("a small number");
        let expected = model.listed(&asked, who, marker);
        // No list has more than a dozen pages.
        let least = expected.as_ref().map_or(0, Vec::len).div_ceil(12);
        asked.limit = asked.limit.max(u32::try_from(least).expect("a small number"));
        if random.one_in(100, 1) {
            asked.limit = 0;
        }
        Self { asked, who, marker, projection, walk, expected }
    }

    /// Asks for page after page, and tells how many there were, or what is wrong with one.
    async fn walk(&self, stores: &[Store], model: &Model, documents: &Documents) -> Result<u64, String> {
        let caller = caller(self.who);
        let limit = usize::try_from(self.asked.limit).expect("a small number");
        let (mut begun, mut pages, mut marker) = (0, 0, self.marker);
        loop {
            let text = self.asked.query_string() + &marker.map(|id| format!("&marker={id}")).unwrap_or_default();
            let query = parse(&text, Limits { default: 25, max: 1000 }).map_err(|error| error.to_string())?;
            let found = stores[self.walk].page(&query, &caller.view(query.is_public), self.projection).await;
            pages += 1;
            let Some(expected) = &self.expected else {
                return match found {
                    Err(StoreError::MarkerNotFound(id)) if Some(id) == marker => Ok(pages),
                    other => Err(format!("the marker is not refused: {other:?}")),
                };
            };
            let found = found.map_err(|error| format!("{error} for {text}"))?;
            let end = expected.len().min(begun + limit);
            let next = (limit > 0 && end < expected.len()).then(|| model.images()[expected[end - 1]].id);
            let json = documents.page(self.projection, &expected[begun..end]);
            if (found.json.as_str(), found.next, found.images) != (&json, next, (end - begun) as u64) {
                return Err(format!("{text}\nmust give\n{json}, then {next:?}\nand gives\n{found:?}"));
            }
            match next {
                Some(_) => (begun, marker) = (end, next),
                None => return Ok(pages),
            }
        }
    }
}

fn caller(Who { project, role, .. }: Who) -> Caller {
    let role = match role {
        Role::Unrestricted => return Caller::Unrestricted,
        Role::Anonymous => return Caller::Anonymous,
        Role::Member => "member",
        Role::Admin => "admin",
    };
    let (user, project, roles) = ("somebody".to_owned(), project.map(str::to_owned), vec![role.to_owned()]);
    Caller::Authenticated(Identity { user, project, roles })
}
