//! No query of the matrix does more work than its bound, counted and not timed, so that a lost
//! index or a bad plan fails.

use std::collections::BTreeSet;
use std::time::Duration;

use glimpse::query::{Limits, Markers, Scope, View, parse};
use glimpse::store::{Explained, Path, Patience, Plan, Store, Target};
use serde_json::Value;

use crate::indexes::fill;
use crate::matrix::{self, Asking, Case};
use crate::support::{Database, Engine, Start, on_both_engines, run};

const IMAGES: &str = "50000";

/// What the documented bounds, 20,000 rows and index entries with at most one range and 60,000 with
/// both at 1,000,000 images, are with a twentieth of the images: the work follows the square root
/// of the images with one range, and their power of two thirds with both.
const BY_RANGES: [i64; 3] = [4_472, 4_472, 8_143];

/// The first walk passes over 1,000 rows and the next over four times as many, however few images
/// there are.
const WALKS: i64 = 1_000 + 4_000;

/// A third walk is again four times as long.
const LONGEST_WALK: i64 = 4 * 4_000;

/// SQLite counts steps of its virtual machine. Over the queries of the matrix these are 15 times
/// PostgreSQL's rows at the median, and six to twenty-two times for nine in ten.
const STEPS_OF_A_ROW: i64 = 16;

/// The same where a long walk merges deleted images with the others, as for `changes-since`.
const STEPS_OF_A_MERGED_ROW: i64 = 22;

/// The rows and index entries that a query may cost; none where nothing is promised.
fn bound(case: &Case) -> Option<i64> {
    if case.properties > 1 {
        return None;
    }
    // No index holds properties beside a range, and some properties go with sizes.
    let is_uncovered = case.properties > 0 && case.ranges > 0;
    Some(WALKS + if is_uncovered { LONGEST_WALK } else { BY_RANGES[case.ranges] })
}

fn generated(engine: Engine) -> Database {
    let start = ["generate", "--count", IMAGES, "--seed", "5"]
        .iter()
        .fold(Start::new(engine), |start, argument| start.argument(argument));
    let output = start.output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    start.database
}

/// Changes a generated catalog, and lets the engine look at it anew.
fn change(database: &Database, sql: impl Into<String>) {
    database.execute(sql);
    if database.engine == Engine::Postgres {
        // What an update leaves behind keeps indexes from answering alone, that of the properties as well.
        database.execute("VACUUM");
    }
    database.execute("ANALYZE");
}

/// When the image in the middle was created.
fn middle(database: &Database) -> String {
    let middle = database.texts("SELECT CAST(created_at AS TEXT) FROM images ORDER BY created_at LIMIT 1 OFFSET 25000");
    middle.into_iter().flatten().next().expect("a time")
}

fn open(database: &Database) -> Store {
    let patience = Patience {
        connections: Some(1),
        acquire: Duration::from_secs(30),
        query: Duration::from_mins(1),
        pooled: false,
        walk: 200,
    };
    Target::parse(&database.url).expect("a target").open(patience)
}

async fn explain(store: &Store, query: &str, view: &View) -> Explained {
    let query = parse(query, Limits { default: matrix::PAGE, max: matrix::PAGE });
    store.explain(&query.expect("a query"), view).await.expect("a plan")
}

/// The statement of the page takes fewer steps on SQLite, or buffers on PostgreSQL, than that.
fn assert_page_is_cheap(explained: &Explained, engine: Engine, [steps, buffers]: [i64; 2], list: &str) {
    let found = explained.statements.last().expect("the statement of the page");
    let (cost, most) = match engine {
        Engine::Sqlite => (found.work, steps),
        Engine::Postgres => (matrix::buffers(found), buffers),
    };
    assert!(cost < most, "{cost} for {list}: {:#?}", found.steps);
}

/// Explains every so many queries of the matrix, and holds each to its bound.
fn hold(database: &Database, every: usize) {
    let engine = database.engine;
    let (count, mut beyond) = run(async {
        let store = open(database);
        let mut asking = Asking::connect(&database.url).await;
        let (mut count, mut beyond) = (0, Vec::new());
        // Where values are common and rare at once, a query is there several times.
        let mut seen = BTreeSet::new();
        let mut cases = matrix::cases(&store, &mut asking).await;
        cases.retain(|case| seen.insert((case.query.clone(), format!("{:?}", case.view))));
        for case in cases.into_iter().step_by(every) {
            let Some(rows) = bound(&case) else { continue };
            let explained = explain(&store, &case.query, &case.view).await;
            let work = explained.work();
            count += 1;
            let is_merged = case.query.contains("changes-since") && matches!(explained.choice.plan, Plan::Walk(_));
            let unit = match engine {
                Engine::Sqlite if is_merged => STEPS_OF_A_MERGED_ROW,
                Engine::Sqlite => STEPS_OF_A_ROW,
                Engine::Postgres => 1,
            };
            if work > rows * unit {
                let plan = explained.choice.plan;
                beyond.push((work, format!("{work} of {} for {} ({}): {plan}", rows * unit, case.query, case.label)));
            }
        }
        store.close().await;
        (count, beyond)
    });
    assert!(count > 500, "{count} queries");
    beyond.sort_unstable_by(|a, b| b.cmp(a));
    let worst: Vec<&str> = beyond.iter().take(10).map(|(_, what)| what.as_str()).collect();
    assert!(worst.is_empty(), "{} of {count} queries do too much, such as\n{}", beyond.len(), worst.join("\n"));
}

fn no_query_does_more_work_than_its_bound(engine: Engine) {
    hold(&generated(engine), 4);
}
on_both_engines!(no_query_does_more_work_than_its_bound);

/// Nearly nothing has changed since it was created, one project owns half of everything, and one
/// image in a thousand is public.
fn nor_in_a_catalog_of_another_kind(engine: Engine) {
    let database = generated(engine);
    let owner = database.texts("SELECT owner FROM images ORDER BY id LIMIT 1").remove(0).expect("an owner");
    let sql = format!(
        "UPDATE images SET
             updated_at = CASE WHEN substr(CAST(id AS TEXT), 35, 2) = '00' THEN updated_at ELSE created_at END,
             owner = CASE WHEN substr(CAST(id AS TEXT), 34, 1) < '8' THEN '{owner}' ELSE owner END,
             is_public = substr(CAST(id AS TEXT), 31, 3) IN ('000', '444', '888', 'ccc')"
    );
    change(&database, sql);
    hold(&database, 7);
}
on_both_engines!(nor_in_a_catalog_of_another_kind);

/// The older half of the catalog has been deleted, and with it the largest images and all whose names
/// begin alike.
fn nor_where_deleted_images_lie_together(engine: Engine) {
    let database = generated(engine);
    let sql = format!(
        "UPDATE images SET deleted = TRUE, status = 'deleted', deleted_at = updated_at
         WHERE created_at < '{}' OR name LIKE 'u%' OR size > 4000000000",
        middle(&database)
    );
    change(&database, sql);
    hold(&database, 7);
}
on_both_engines!(nor_where_deleted_images_lie_together);

/// Where most names are rare and one is that of half the catalog, images of that name with formats
/// that none of them has are not looked for among all of them, whatever else the query leaves open.
fn no_entry_of_a_common_name_is_passed_over(engine: Engine) {
    let database = generated(engine);
    change(
        &database,
        "UPDATE images SET disk_format = 'raw', container_format = 'bare',
             name = CASE WHEN substr(CAST(id AS TEXT), 36, 1) < '8' THEN 'common' ELSE CAST(id AS TEXT) END
         WHERE disk_format <> 'vdi' OR disk_format IS NULL",
    );
    run(async {
        let store = open(&database);
        for scope in [Scope::All, Scope::Public, Scope::Project("nobody".to_owned())] {
            let view = View { listed: scope, markers: Markers::Listed };
            for query in [
                "disk_format=vdi",
                "disk_format=vdi&changes-since=2000",
                "container_format=ova&changes-since=2000",
                "disk_format=vdi&status=queued&size_min=1",
            ] {
                let explained = explain(&store, &format!("name=common&{query}"), &view).await;
                assert_eq!(explained.choice.plan, Plan::FirstScan(Path::Equalities), "{query}");
                assert_page_is_cheap(&explained, engine, [2_000, 200], &format!("{query} of {view:?}"));
            }
        }
        store.close().await;
    });
}
on_both_engines!(no_entry_of_a_common_name_is_passed_over);

/// A list is followed to its end, and each page costs what the first one does, also where a filter is
/// on the key that it is ordered by: the marker is where the index is entered.
fn pages_far_into_an_order_cost_no_more_where_its_key_is_filtered(engine: Engine) {
    let database = generated(engine);
    let shown = "NOT deleted AND status <> 'killed'";
    let mut queries = Vec::new();
    for (filter, condition, key) in [
        ("changes-since=2000", "TRUE", "updated_at"),
        ("size_min=1000000", "size >= 1000000", "size"),
        ("size_max=90000000000", "size <= 90000000000", "size"),
        ("name=ubuntu-22.04", "name = 'ubuntu-22.04'", "name"),
        ("status=active", "status = 'active'", "status"),
        ("status=in:queued,active", "status IN ('queued', 'active')", "status"),
        ("disk_format=in:vhdx,vmdk", "disk_format IN ('vhdx', 'vmdk')", "disk_format"),
        ("container_format=bare", "container_format = 'bare'", "container_format"),
    ] {
        for direction in ["asc", "desc"] {
            let order = format!("{key} {direction}, created_at {direction}, id {direction}");
            let far = format!("(SELECT count(*) * 4 / 5 FROM images WHERE {shown} AND {condition})");
            let marker = database.texts(format!(
                "SELECT CAST(id AS TEXT) FROM images WHERE {shown} AND {condition} ORDER BY {order} LIMIT 1 OFFSET {far}"
            ));
            let marker = marker.into_iter().flatten().next().expect("an image");
            let first = format!("{filter}&sort_key={key}&sort_dir={direction}");
            queries.extend([format!("{first}&marker={marker}"), first]);
        }
    }
    run(async {
        let store = open(&database);
        let view = View { listed: Scope::All, markers: Markers::Any };
        for query in queries {
            let explained = explain(&store, &query, &view).await;
            assert_page_is_cheap(&explained, engine, [4_000, 200], &query);
            assert!(matches!(explained.choice.plan, Plan::FirstWalk(_)), "{query}");
        }
        store.close().await;
    });
}
on_both_engines!(pages_far_into_an_order_cost_no_more_where_its_key_is_filtered);

/// Catalogs in which what a list asks for goes with something else, as the age of an image does with
/// who may see it.
fn nor_where_one_thing_goes_with_another(engine: Engine) {
    let database = generated(engine);
    let middle = middle(&database);
    let owner = database.texts("SELECT owner FROM images ORDER BY id LIMIT 1").remove(0).expect("an owner");
    let few = "SELECT owner FROM images GROUP BY owner ORDER BY count(*), owner LIMIT 1";
    let few = database.texts(few).remove(0).expect("an owner");
    let lists =
        ["", "sort_dir=asc", "status=active", "disk_format=qcow2", "status=active&disk_format=qcow2&size_min=1"];
    let callers = [Scope::Public, Scope::Project(owner.clone()), Scope::Project(few)];

    change(&database, format!("UPDATE images SET is_public = created_at < '{middle}'"));
    let mut beyond = beyond(LIST, &database, "public images are old", &lists, &callers);
    change(&database, format!("UPDATE images SET is_public = created_at >= '{middle}'"));
    beyond.extend(self::beyond(LIST, &database, "public images are young", &lists, &callers));
    change(
        &database,
        format!(
            "UPDATE images SET is_public = FALSE, owner = CASE WHEN created_at < '{middle}' THEN '{owner}' ELSE 'other' END"
        ),
    );
    beyond.extend(self::beyond(LIST, &database, "own images are old", &lists, &callers[1..]));
    change(&database, format!("UPDATE images SET status = 'killed' WHERE created_at > '{middle}' AND NOT deleted"));
    beyond.extend(self::beyond(LIST, &database, "killed images are young", &lists, &[Scope::All]));
    change(&database, "UPDATE images SET status = 'active'");
    let lists =
        ["status=killed", "disk_format=vdi&status=deleted", "status=in:queued,saving", "disk_format=vdi&status=queued"];
    beyond.extend(self::beyond(LIST, &database, "all have one status", &lists, &[Scope::All, Scope::Public]));
    change(
        &database,
        "UPDATE images SET disk_format = substr(CAST(id AS TEXT), 1, 3), container_format = substr(CAST(id AS TEXT), 34, 2)",
    );
    let lists =
        ["status=queued", "name=nothing&status=active", "name=ubuntu-22.04&status=saving", "container_format=00"];
    beyond.extend(self::beyond(LIST, &database, "there are many formats", &lists, &callers));
    change(
        &database,
        "UPDATE images SET container_format = 'aki', disk_format = 'aki' WHERE substr(CAST(id AS TEXT), 36, 1) < '8';
         UPDATE images SET container_format = 'ovf', disk_format = 'qcow2' WHERE container_format <> 'aki';
         UPDATE images SET disk_format = 'qcow2' WHERE substr(CAST(id AS TEXT), 34, 3) = '001';
         UPDATE images SET disk_format = 'ami', size = 7 WHERE substr(CAST(id AS TEXT), 33, 4) = 'fff7'",
    );
    let lists = [
        "sort_key=container_format&sort_dir=asc&disk_format=qcow2",
        "sort_key=container_format&sort_dir=desc&disk_format=aki&status=active",
        "sort_key=disk_format&sort_dir=desc&container_format=aki&size_min=1",
        "sort_key=disk_format&sort_dir=asc&container_format=ovf",
        "sort_key=disk_format&sort_dir=asc&disk_format=in:aki,qcow2&container_format=ovf&min_ram=0",
    ];
    beyond.extend(self::beyond(LIST, &database, "formats go together", &lists, &callers));
    assert!(beyond.is_empty(), "{}", beyond.join("\n"));
}
on_both_engines!(nor_where_one_thing_goes_with_another);

/// Where all matches are of one of many formats, and it is no short way to them, pages are put
/// together in vain; that is given up, and costs once or twice what the way does that is taken then.
fn what_is_tried_in_vain_is_given_up(engine: Engine) {
    let database = generated(engine);
    change(
        &database,
        "UPDATE images SET disk_format = substr(CAST(id AS TEXT), 36, 1), status = 'active',
             container_format = CASE WHEN substr(CAST(id AS TEXT), 35, 1) < '8' THEN 'bare' ELSE 'ovf' END,
             size = CASE WHEN substr(CAST(id AS TEXT), 33, 2) < '16' THEN 1 ELSE 2 END;
         UPDATE images SET container_format = 'bare' WHERE size = 1 AND disk_format <> 'f'",
    );
    let lists = [
        "sort_key=disk_format&sort_dir=asc&size_max=1&container_format=ovf",
        "sort_key=disk_format&sort_dir=desc&size_max=1&container_format=ovf",
        "sort_key=disk_format&sort_dir=asc&size_max=1&container_format=aki",
    ];
    let callers = [Scope::All, Scope::Public, Scope::Project("nobody".to_owned())];
    let beyond = beyond(LIST + 2 * BY_RANGES[0], &database, "one of many formats has all matches", &lists, &callers);
    assert!(beyond.is_empty(), "{}", beyond.join("\n"));
}
on_both_engines!(what_is_tried_in_vain_is_given_up);

/// What a list without a range may cost.
const LIST: i64 = WALKS + BY_RANGES[0];

/// The lists that cost more than so many rows of a catalog.
fn beyond(rows: i64, database: &Database, catalog: &str, lists: &[&str], callers: &[Scope]) -> Vec<String> {
    if database.engine == Engine::Postgres {
        // No catalog has had each of its images changed six times since its indexes were made.
        database.execute("VACUUM FULL images");
        database.execute("VACUUM ANALYZE images");
    }
    let bound = if database.engine == Engine::Sqlite { rows * STEPS_OF_A_ROW } else { rows };
    run(async {
        let store = open(database);
        let mut beyond = Vec::new();
        for listed in callers {
            let view = View { listed: listed.clone(), markers: Markers::Listed };
            for list in lists {
                let explained = explain(&store, list, &view).await;
                let work = explained.work();
                if work > bound {
                    beyond.push(format!(
                        "{work} of {bound} for {list:?} of {listed:?} where {catalog}: {}",
                        explained.choice.plan
                    ));
                }
            }
        }
        store.close().await;
        beyond
    })
}

/// Where half of the catalog has a name and the other half a property, the few images that have both are
/// found by reading what each leads to, and not by looking half of the catalog up.
fn a_common_name_and_a_common_property_are_joined(engine: Engine) {
    let database = generated(engine);
    let both = "substr(CAST(id AS TEXT), 34, 3) IN ('001', '002')";
    change(
        &database,
        format!(
            "UPDATE images SET properties = '{{}}', is_public = substr(CAST(id AS TEXT), 32, 1) < '8',
                 name = CASE WHEN substr(CAST(id AS TEXT), 36, 1) < '8' THEN 'common' ELSE 'another' END;
             UPDATE images SET properties = '{{\"kind\": \"common\"}}' WHERE name = 'another' OR {both}"
        ),
    );
    let mut asked = Vec::new();
    let all = (Scope::All, "TRUE");
    let project = (Scope::Project("nobody".to_owned()), "is_public");
    let [public, private] = [(Scope::Public, "is_public"), (Scope::NotPublic, "NOT is_public")];
    let everybody = vec![all.clone(), project.clone(), public, private];
    for (list, passes, callers) in [
        ("", "NOT deleted AND status <> 'killed'", everybody.clone()),
        ("&changes-since=2000", "TRUE", everybody),
        (
            "&disk_format=in:qcow2,raw",
            "NOT deleted AND status <> 'killed' AND disk_format IN ('qcow2', 'raw')",
            vec![all, project],
        ),
    ] {
        for (listed, sees) in callers {
            let expected = database.texts(format!(
                "SELECT CAST(id AS TEXT) FROM images WHERE name = 'common' AND {both} AND {passes} AND {sees}
                 ORDER BY created_at DESC, id DESC LIMIT {}",
                matrix::PAGE
            ));
            assert!(!expected.is_empty(), "{list} by {listed:?}");
            let query = format!("name=common&property-kind=common{list}");
            asked.push((query, View { listed, markers: Markers::Listed }, expected));
        }
    }
    run(async {
        let store = open(&database);
        for (query, view, expected) in asked {
            let explained = explain(&store, &query, &view).await;
            let plan = explained.choice.plan;
            let choice = &explained.choice;
            assert_eq!(plan, Plan::FirstScan(Path::EqualitiesAndProperty(0)), "{query} of {view:?}: {choice:#?}");
            assert_eq!(ids(&explained), expected.into_iter().flatten().collect::<Vec<_>>(), "{query} of {view:?}");
            assert_page_is_cheap(&explained, engine, [400_000, 4_000], &format!("{query} of {view:?}"));
        }
        store.close().await;
    });
}
on_both_engines!(a_common_name_and_a_common_property_are_joined);

/// The ids of the images that were found, in their order.
fn ids(explained: &Explained) -> Vec<String> {
    let page: Value = serde_json::from_str(&explained.page.json).expect("a list");
    let images = page["images"].as_array().expect("images");
    images.iter().map(|image| image["id"].as_str().expect("an id").to_owned()).collect()
}

/// Younger images than all that a project sees are passed over; what it sees for two reasons, as its
/// own and as a member, is listed once and in its place.
fn what_is_seen_for_several_reasons_is_listed_once(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    let database = start.database;
    database.execute(fill(engine));
    // Ids that are met by a sample.
    let id = match engine {
        Engine::Sqlite => "'ff' || substr(id, 3)",
        Engine::Postgres => "CAST('ff' || substr(CAST(id AS text), 3) AS uuid)",
    };
    database.execute(format!("UPDATE images SET id = {id}"));
    // The sizes number the images from the oldest on.
    database.execute(
        "UPDATE images SET is_public = FALSE, owner = 'other' WHERE size > 5000000;
         UPDATE images SET is_public = FALSE, owner = 'p' WHERE size <= 5000000 AND size % 2000 = 0;
         UPDATE images SET owner = 'p' WHERE size <= 5000000 AND size % 20000 = 5000;
         UPDATE images SET owner = NULL WHERE size <= 5000000 AND size % 20000 = 4000;
         UPDATE images SET owner = 'other' WHERE size <= 5000000 AND size % 20000 = 6000;
         INSERT INTO image_members (image_id, member) SELECT id, 'p' FROM images
         WHERE size BETWEEN 4900000 AND 5000000 AND size % 20000 IN (2000, 3000, 4000, 6000);
         ANALYZE",
    );
    let ids = |more: &str| -> Vec<String> {
        let seen = "is_public OR owner = 'p' OR id IN (SELECT image_id FROM image_members WHERE member = 'p')";
        let sql = format!(
            "SELECT CAST(id AS TEXT) FROM images WHERE ({seen}) {more} ORDER BY created_at DESC, id DESC LIMIT {}",
            matrix::PAGE
        );
        database.texts(sql).into_iter().flatten().collect()
    };
    let lists = [("", ids("")), ("status=active&min_ram=0", ids("AND status = 'active'"))];
    run(async {
        let store = open(&database);
        let view = View { listed: Scope::Project("p".to_owned()), markers: Markers::Listed };
        for (query, expected) in lists {
            let explained = explain(&store, query, &view).await;
            assert!(matches!(explained.choice.plan, Plan::ShownWalk(_)), "{query}: {:#?}", explained.choice);
            assert_eq!(self::ids(&explained), expected, "{query}");
        }
        store.close().await;
    });
}
on_both_engines!(what_is_seen_for_several_reasons_is_listed_once);
