//! The table of properties, by which images are found: true whichever way they are written.

use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::support::{Database, Engine, Glimpse, Start, id, image, on_both_engines, run};

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn listed(server: &Glimpse, filters: &str) -> Vec<String> {
    let images = server.get(&format!("/v1.1/images/detail?sort_key=id&sort_dir=asc&{filters}")).images();
    images.iter().map(|image| image["id"].as_str().expect("an id").to_owned()).collect()
}

/// Whether just these images have a property, and whether the table has just what all images have.
#[track_caller]
fn assert_found(server: &Glimpse, after: &str, found: &[(&str, &str, &[u32])]) {
    for (name, value, numbers) in found {
        let expected: Vec<String> = numbers.iter().map(|number| id(*number).to_string()).collect();
        let ids = listed(server, &format!("property-{}={}", encoded(name), encoded(value)));
        assert_eq!(ids, expected, "{name} = {value} after {after}");
    }
    assert_eq!(untrue(server.database()), Vec::<Option<String>>::new(), "after {after}");
}

/// Rows that the table of properties should have and has not, or has and should not have.
fn untrue(database: &Database) -> Vec<Option<String>> {
    let (kept, should) = match database.engine {
        Engine::Sqlite => (
            "SELECT name || ' = ' || value || ' of ' || image_id FROM image_properties",
            "SELECT substr(key, 1, 255) || ' = ' || substr(value, 1, 255) || ' of ' || images.id
             FROM images, json_each(properties) WHERE value IS NOT NULL",
        ),
        Engine::Postgres => (
            "SELECT name || ' = ' || value || ' of ' || image_id FROM image_properties",
            "SELECT left(key, 255) || ' = ' || left(value, 255) || ' of ' || images.id
             FROM images, json_each_text(properties) WHERE value IS NOT NULL",
        ),
    };
    database.texts(format!(
        "SELECT * FROM (SELECT * FROM ({should}) AS a EXCEPT SELECT * FROM ({kept}) AS b) AS missing
         UNION ALL SELECT * FROM (SELECT * FROM ({kept}) AS a EXCEPT SELECT * FROM ({should}) AS b) AS too_many"
    ))
}

/// A statement that stores images with these properties.
fn insert(verb: &str, images: &[(u32, &str)]) -> String {
    let rows: Vec<String> =
        images.iter().map(|(number, properties)| format!("('{}', '{properties}')", id(*number))).collect();
    format!("{verb} INTO images (id, properties) VALUES {}", rows.join(", "))
}

fn every_way_to_write_an_image_is_followed(engine: Engine) {
    let server = Start::new(engine).serve();
    let (one, two, three, four) = (id(1), id(2), id(3), id(4));
    let after = |sql: String, found: &[(&str, &str, &[u32])]| {
        server.database().execute(sql.clone());
        assert_found(&server, &sql, found);
    };
    after(
        insert("INSERT", &[(1, r#"{"os": "linux", "none": null}"#), (2, r#"{"os": "linux", "": ""}"#), (3, "{}")]),
        &[
            ("os", "linux", &[1, 2]),
            ("os", "Linux", &[]),
            ("os", "", &[]),
            ("OS", "linux", &[]),
            ("none", "", &[]),
            ("none", "null", &[]),
            ("", "", &[2]),
        ],
    );
    after(
        format!(r#"UPDATE images SET properties = '{{"os": "bsd", "none": "some"}}' WHERE id = '{one}'"#),
        &[("os", "linux", &[2]), ("os", "bsd", &[1]), ("none", "some", &[1])],
    );
    after(
        format!(r#"UPDATE images SET properties = '{{"os": null, "none": "some"}}' WHERE id = '{one}'"#),
        &[("os", "bsd", &[]), ("none", "some", &[1])],
    );
    // The same values in another place, and another column beside them.
    after(
        r#"UPDATE images SET properties = '{"none": "some", "os": "linux"}', name = 'same'"#.to_owned(),
        &[("os", "linux", &[1, 2, 3]), ("none", "some", &[1, 2, 3]), ("", "", &[])],
    );
    after(format!("UPDATE images SET name = 'other', size = 1 WHERE id = '{one}'"), &[("os", "linux", &[1, 2, 3])]);
    after(format!("UPDATE images SET id = '{four}' WHERE id = '{one}'"), &[("os", "linux", &[2, 3, 4])]);
    after(
        format!(r#"UPDATE images SET id = '{one}', properties = '{{"os": "bsd"}}' WHERE id = '{four}'"#),
        &[("os", "linux", &[2, 3]), ("os", "bsd", &[1]), ("none", "some", &[2, 3])],
    );
    // Escapes are rewritten by a trigger of their own.
    let escaped = r#"{"\u006f\u0073": "\u00e9\ud83d\ude00\\ \"\n", "镜": "像"}"#;
    after(
        format!("UPDATE images SET properties = '{escaped}' WHERE id = '{three}'"),
        &[("os", "é😀\\ \"\n", &[3]), ("镜", "像", &[3]), ("os", "linux", &[2]), ("none", "some", &[2])],
    );
    after(insert("INSERT", &[(5, escaped)]), &[("os", "é😀\\ \"\n", &[3, 5]), ("镜", "像", &[3, 5])]);
    after(format!("DELETE FROM images WHERE id IN ('{two}', '{three}')"), &[("os", "linux", &[]), ("镜", "像", &[5])]);

    // What is there already: left alone, or changed.
    let other = r#"{"os": "other"}"#;
    after(
        insert("INSERT", &[(1, other), (6, other)]) + " ON CONFLICT DO NOTHING",
        &[("os", "bsd", &[1]), ("os", "other", &[6])],
    );
    let upsert = insert("INSERT", &[(1, other), (7, other)]) + " ON CONFLICT (id) DO UPDATE SET ";
    after(upsert.clone() + "name = 'kept'", &[("os", "bsd", &[1]), ("os", "other", &[6, 7])]);
    after(upsert + "properties = excluded.properties", &[("os", "bsd", &[]), ("os", "other", &[1, 6, 7])]);

    let refused = insert("INSERT", &[(8, other), (1, other)]);
    assert!(server.database().try_execute(refused.clone()).is_err());
    assert_found(&server, &refused, &[("os", "other", &[1, 6, 7])]);
    after(
        format!("BEGIN; {}; DELETE FROM images; ROLLBACK", insert("INSERT", &[(8, other)])),
        &[("os", "other", &[1, 6, 7])],
    );
    after("DELETE FROM images".to_owned(), &[("os", "other", &[])]);
    assert_eq!(server.database().count("image_properties"), 0);

    if engine == Engine::Postgres {
        after(insert("INSERT", &[(1, other)]), &[("os", "other", &[1])]);
        after("TRUNCATE images CASCADE".to_owned(), &[("os", "other", &[])]);
    }
}
on_both_engines!(every_way_to_write_an_image_is_followed);

/// SQLite's own ways, whose deletions no trigger sees.
#[test]
fn what_sqlite_replaces_is_followed() {
    let server = Start::new(Engine::Sqlite).serve();
    let after = |sql: String, found: &[(&str, &str, &[u32])]| {
        server.database().execute(sql.clone());
        assert_found(&server, &sql, found);
    };
    let (a, b) = (r#"{"os": "a", "both": "1"}"#, r#"{"os": "b", "both": "1", "\u0062": "\\"}"#);
    for pragma in ["", "PRAGMA recursive_triggers = ON; ", "PRAGMA foreign_keys = OFF; "] {
        let on = |sql: String| format!("{pragma}{sql}");
        after(
            on(insert("INSERT OR ABORT", &[(1, a), (2, b)])),
            &[("os", "a", &[1]), ("os", "b", &[2]), ("b", "\\", &[2])],
        );
        after(on(insert("INSERT OR IGNORE", &[(1, b), (3, b)])), &[("os", "a", &[1]), ("os", "b", &[2, 3])]);
        // What was noted of the first is out of date by now.
        after(
            on(format!(r#"UPDATE images SET properties = '{{"os": "c"}}' WHERE id = '{}'"#, id(1))),
            &[("os", "a", &[])],
        );
        after(on(insert("REPLACE", &[(1, b), (2, a), (2, b)])), &[("os", "b", &[1, 2, 3]), ("both", "1", &[1, 2, 3])]);
        after(on(insert("INSERT OR REPLACE", &[(2, a), (3, "{}")])), &[("os", "b", &[1]), ("both", "1", &[1, 2])]);
        after(
            on(format!("UPDATE OR REPLACE images SET id = '{}' WHERE id = '{}'", id(1), id(2))),
            &[("os", "a", &[1]), ("os", "b", &[]), ("both", "1", &[1]), ("b", "\\", &[])],
        );
        after(on(insert("INSERT OR FAIL", &[(2, b)])), &[("os", "b", &[2])]);
        after(
            on(format!("UPDATE OR ROLLBACK images SET properties = '{b}' WHERE id = '{}'", id(1))),
            &[("os", "b", &[1, 2]), ("os", "a", &[])],
        );
        after(on("DELETE FROM images".to_owned()), &[("both", "1", &[])]);
    }
}

fn long_names_and_values_are_told_apart_to_their_ends(engine: Engine) {
    let mut server = Start::new(engine).serve();
    let long = |length: usize, end: &str| "镜".repeat(length) + end;
    let pairs = [
        (long(254, ""), long(254, "")),
        (long(254, ""), long(255, "")),
        (long(254, ""), long(255, "a")),
        (long(254, ""), long(255, "b")),
        (long(255, "a"), long(255, "b")),
        (long(255, "b"), "v".to_owned()),
        ("short".to_owned(), "é😀".repeat(5000)),
        ("é😀".repeat(5000), "short".to_owned()),
    ];
    for (number, (name, value)) in (1..).zip(&pairs) {
        let mut one = image(number);
        one.properties.insert(name.clone(), Some(value.clone()));
        // Names that begin alike, all in one image.
        one.properties.insert(long(255, "c"), Some("v".to_owned()));
        one.properties.insert(long(255, "d"), Some("v".to_owned()));
        server.database().execute(one.insert());
    }
    let all: Vec<String> = (1..=8).map(|number| id(number).to_string()).collect();
    for walk in ["1000", "1"] {
        server = server.stop().set("WALK_LIMIT", walk).serve();
        let target = |name: &str, value: &str| format!("property-{}={}", encoded(name), encoded(value));
        for (number, (name, value)) in (1..).zip(&pairs[..6]) {
            assert_eq!(listed(&server, &target(name, value)), [id(number).to_string()], "{number}");
        }
        assert_eq!(listed(&server, &target(&long(255, "d"), "v")), all);
        for (name, value) in [(long(255, ""), "v"), (long(256, ""), "v"), (long(255, "e"), "v")] {
            assert_eq!(listed(&server, &target(&name, value)), Vec::<String>::new(), "{name}");
        }
        for length in [253, 256] {
            assert_eq!(listed(&server, &target(&long(254, ""), &long(length, ""))), Vec::<String>::new(), "{length}");
        }
        assert_eq!(listed(&server, &target("short", &"é😀".repeat(128))), Vec::<String>::new());
        let both = format!("{}&{}", target(&long(255, "c"), "v"), target(&long(255, "a"), &long(255, "b")));
        assert_eq!(listed(&server, &both), [id(5).to_string()]);
    }
    assert_eq!(untrue(server.database()), []);
    server.database().execute(format!("UPDATE images SET properties = '{{}}' WHERE id <> '{}'", id(8)));
    assert_eq!(untrue(server.database()), []);
    server.database().execute("DELETE FROM images");
    assert_eq!(server.database().count("image_properties"), 0);
}
on_both_engines!(long_names_and_values_are_told_apart_to_their_ends);

fn as_many_properties_as_a_request_holds_can_be_asked_for(engine: Engine) {
    let server = Start::new(engine).serve();
    let names: Vec<String> = (100..590).map(|number| number.to_string()).collect();
    for (number, last) in [(1, "589"), (2, "600")] {
        let mut one = image(number);
        one.properties = names[..names.len() - 1].iter().map(|name| (name.clone(), Some(String::new()))).collect();
        one.properties.insert(last.to_owned(), Some(String::new()));
        server.database().execute(one.insert());
    }
    let filters = names.iter().map(|name| format!("property-{name}=")).collect::<Vec<_>>().join("&");
    assert!(filters.len() > 6800, "{}", filters.len());
    assert_eq!(listed(&server, &filters), [id(1).to_string()]);
}
on_both_engines!(as_many_properties_as_a_request_holds_can_be_asked_for);

fn a_generated_catalog_has_its_properties(engine: Engine) {
    let generate = |database: Database, arguments: &[&str]| {
        let start = arguments.iter().fold(Start::on(database).argument("generate"), |start, one| start.argument(one));
        assert!(start.output().status.success(), "{arguments:?}");
        let properties = start.database.count("image_properties");
        assert_eq!(untrue(&start.database), [], "{arguments:?}");
        (start.database, properties)
    };
    let (database, first) = generate(Database::new(engine), &["--count", "200"]);
    let (database, more) = generate(database, &["--count", "300", "--seed", "2", "--append"]);
    // So few that they are stored one by one.
    let (database, few) = generate(database, &["--count", "20", "--seed", "3", "--append"]);
    assert!(0 < first && first < more && more < few, "{first} {more} {few}");
    let (database, again) = generate(database, &["--count", "200", "--replace"]);
    assert_eq!(again, first);
    // The triggers are there again.
    database.execute("DELETE FROM images");
    assert_eq!(database.count("image_properties"), 0);
    database.execute(insert("INSERT", &[(1, r#"{"os": "linux"}"#)]));
    assert_eq!(database.count("image_properties"), 1);
}
on_both_engines!(a_generated_catalog_has_its_properties);

fn images_of_an_older_schema_are_found_by_their_properties(engine: Engine) {
    let database = Database::new(engine);
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let (folder, older) = match engine {
        Engine::Sqlite => ("sqlite", tempfile::tempdir().expect("a temporary folder")),
        Engine::Postgres => ("postgres", tempfile::tempdir().expect("a temporary folder")),
    };
    for name in ["0001_images.sql", "0002_indexes.sql"] {
        std::fs::copy(schema.join(folder).join(name), older.path().join(name)).expect("a migration can be copied");
    }
    run(async {
        let migrator = Migrator::new(older.path()).await?;
        match engine {
            Engine::Sqlite => {
                migrator.run(&mut SqliteConnection::connect(&format!("{}?mode=rwc", database.url)).await?).await
            }
            Engine::Postgres => migrator.run(&mut PgConnection::connect(&database.url).await?).await,
        }
    })
    .expect("the older schema");
    let properties = json!({"os": "linux", "none": null, "long": "x".repeat(10_000)}).to_string();
    database.execute(insert("INSERT", &[(1, &properties), (2, r#"{"os": "bsd"}"#), (3, "{}")]));

    let served = Start::on(database).serve();
    assert_found(&served, "the migration", &[("os", "linux", &[1]), ("os", "bsd", &[2]), ("none", "", &[])]);
    assert_eq!(served.database().count("image_properties"), 3);
}
on_both_engines!(images_of_an_older_schema_are_found_by_their_properties);
