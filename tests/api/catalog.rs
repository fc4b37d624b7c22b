//! The tables: the same on both engines, and proof against what the API could not serve.

use std::collections::BTreeSet;

use crate::support::{Database, Engine, Start, id, image, on_both_engines};

/// A database with the schema and nothing in it.
fn empty(engine: Engine) -> Database {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    start.database
}

fn what_is_left_out_takes_its_default(engine: Engine) {
    let server = Start::on(empty(engine)).serve();
    let before = chrono::Utc::now().naive_utc();
    server.database().execute(format!("INSERT INTO images (id) VALUES ('{}')", id(1)));
    let after = chrono::Utc::now().naive_utc();
    let shown = server.get("/v1.1/images/detail").images().remove(0);
    let created = shown["created_at"].as_str().expect("a time").to_owned();
    let mut expected = image(1);
    expected.name = None;
    expected.disk_format = None;
    expected.container_format = None;
    expected.size = None;
    expected.owner = None;
    expected.is_public = false;
    expected.created_at = created.clone();
    expected.updated_at = Some(created.clone());
    assert_eq!(shown, expected.document());
    // SQLite's clock has milliseconds, which may be rounded up.
    let created = chrono::NaiveDateTime::parse_from_str(&created, "%Y-%m-%dT%H:%M:%S%.6f").expect("a time in UTC");
    let slack = chrono::TimeDelta::milliseconds(1);
    assert!(before - slack <= created && created <= after + slack, "{before} {created} {after}");
}
on_both_engines!(what_is_left_out_takes_its_default);

fn what_is_changed_by_hand_is_shown(engine: Engine) {
    let server = Start::new(engine).seed("1_a.sql", image(1).insert()).serve();
    let mut changed = image(1);
    changed.name = Some("O'Brien \"quoted\"".to_owned());
    changed.size = None;
    changed.protected = true;
    changed.properties.insert("a".to_owned(), None);
    server.database().execute(
        r#"UPDATE images SET name = 'O''Brien "quoted"', size = NULL, protected = TRUE, properties = '{"a": null}'"#,
    );
    let shown = server.get("/v1.1/images/detail").images();
    // An UPDATE does not move updated_at by itself.
    assert_eq!(shown, [changed.document()]);
    server.database().execute("DELETE FROM images");
    assert_eq!(server.get("/v1.1/images/detail").images().len(), 0);
}
on_both_engines!(what_is_changed_by_hand_is_shown);

fn times_and_ids_are_kept_as_written(engine: Engine) {
    let times = [
        "0001-01-01T00:00:00.000000",
        "0999-12-31T23:59:59.999999",
        "1969-12-31T23:59:59.000001",
        "2016-02-29T23:59:59.999999",
        "9999-12-31T23:59:59.999999",
    ];
    let seed: String = times
        .into_iter()
        .zip(1..)
        .map(|(time, number)| {
            let mut image = image(number);
            time.clone_into(&mut image.created_at);
            image.updated_at = Some(time.to_owned());
            image.deleted_at = Some(time.to_owned());
            image.insert()
        })
        .collect();
    let server = Start::new(engine).seed("1_times.sql", seed).serve();
    let shown = server.get("/v1.1/images/detail?sort_key=updated_at&sort_dir=asc").images();
    for field in ["created_at", "updated_at", "deleted_at"] {
        let shown: Vec<&str> = shown.iter().map(|image| image[field].as_str().expect("a time")).collect();
        assert_eq!(shown, times, "{field}");
    }
}
on_both_engines!(times_and_ids_are_kept_as_written);

/// What PostgreSQL's types convert or refuse before a constraint could see it.
fn refused_by_sqlite() -> Vec<(&'static str, String, &'static str)> {
    let mut cases = Vec::new();
    for time in [
        "2016-05-22",
        "2016-05-22T06:04:22",
        "2016-05-22T06:04:22.71979",
        "2016-05-22 06:04:22.719791",
        "2016-05-22T06:04:22.719791Z",
        "2016-05-22T06:04:22.719791+00:00",
        "2015-02-29T00:00:00.000000",
        "2016-04-31T00:00:00.000000",
        "2016-13-01T00:00:00.000000",
        "2016-00-01T00:00:00.000000",
        "2016-01-00T00:00:00.000000",
        "2016-05-22T24:00:00.000000",
        "2016-05-22T23:59:60.000000",
        "2016-05-22T23:60:00.000000",
        "",
    ] {
        for (column, said) in [
            ("created_at", "images_created_at_is_a_utc_time_in_years_1_to_9999"),
            ("updated_at", "images_updated_at_is_a_utc_time_in_years_1_to_9999"),
            ("deleted_at", "images_deleted_at_is_a_utc_time_in_years_1_to_9999"),
        ] {
            cases.push((column, format!("'{time}'"), said));
        }
    }
    for (column, said) in [
        ("is_public", "images_is_public_is_true_or_false"),
        ("protected", "images_protected_is_true_or_false"),
        ("deleted", "images_deleted_is_true_or_false"),
    ] {
        cases.push((column, "2".to_owned(), said));
    }
    for column in ["name", "owner", "disk_format", "container_format", "checksum"] {
        cases.push((column, "'a' || char(0)".to_owned(), "_has_no_nul"));
    }
    cases
}

/// Columns with bad values, and the constraint that refuses them, for both engines.
fn what_the_api_could_not_serve_is_refused(engine: Engine) {
    let database = empty(engine);
    let long = "'".to_owned() + &"é".repeat(256) + "'";
    let mut cases: Vec<(&str, String, &str)> = vec![
        ("status", "'Active'".to_owned(), "images_status_is_known"),
        ("status", "NULL".to_owned(), "status"),
        ("size", "-1".to_owned(), "images_size_is_not_negative"),
        ("virtual_size", "-1".to_owned(), "images_virtual_size_is_not_negative"),
        ("min_ram", "-1".to_owned(), "images_min_ram_is_not_negative"),
        ("min_disk", "-1".to_owned(), "images_min_disk_is_not_negative"),
        ("size", "9223372036854775808".to_owned(), ""),
        ("size", "'big'".to_owned(), ""),
        ("name", long.clone(), "images_name_has_at_most_255_characters"),
        ("owner", long.clone(), "images_owner_has_at_most_255_characters"),
        ("disk_format", long.clone(), "images_disk_format_has_at_most_255_characters"),
        ("container_format", long, "images_container_format_has_at_most_255_characters"),
        ("created_at", "NULL".to_owned(), "created_at"),
        ("is_public", "NULL".to_owned(), "is_public"),
        ("properties", "NULL".to_owned(), "properties"),
    ];
    for (properties, said) in [
        ("[]", "images_properties_is_a_json_object"),
        ("null", "images_properties_is_a_json_object"),
        (r#""text""#, "images_properties_is_a_json_object"),
        (r#"{"a": 1}"#, "images_properties_values_are_text_or_null"),
        (r#"{"a": true}"#, "images_properties_values_are_text_or_null"),
        (r#"{"a": {"b": "c"}}"#, "images_properties_values_are_text_or_null"),
        (r#"{"a": ["b"]}"#, "images_properties_values_are_text_or_null"),
        (r#"{"a": "1", "a": "2"}"#, "images_properties_keys_are_unique"),
        (r#"{"a": "1", "\u0061": "2"}"#, "images_properties_keys_are_unique"),
        (r#"{"a": "\u0000"}"#, "images_properties_have_no_nul"),
        (r#"{"\u0000": "a"}"#, "images_properties_have_no_nul"),
        (r#"{"a": "\\\u0000"}"#, "images_properties_have_no_nul"),
        (r#"{"a": "\ud800"}"#, "images_properties_have_no_lone_surrogate"),
        (r#"{"a": "\uDC00\uD800"}"#, "images_properties_have_no_lone_surrogate"),
        (r#"{"a": "#, "json"),
        ("{'a': 'b'}", "json"),
        ("{a: 1}", "json"),
        ("", "json"),
    ] {
        cases.push(("properties", format!("'{}'", properties.replace('\'', "''")), said));
    }
    let out_of_range = ["'infinity'", "'10000-01-01T00:00:00.000000'", "'0000-01-01T00:00:00.000000'"];
    cases.extend(out_of_range.map(|time| ("created_at", time.to_owned(), "")));
    if engine == Engine::Sqlite {
        cases.extend(refused_by_sqlite());
    }
    for (column, value, said) in &cases {
        let insert = format!("INSERT INTO images (id, {column}) VALUES ('{}', {value})", id(1));
        let message = database.try_execute(insert).expect_err(&format!("{column} = {value} was stored"));
        assert!(message.contains(said), "{column} = {value}: {message}");
    }
    assert_eq!(database.count("images"), 0);

    // And the same values by UPDATE.
    database.execute(format!("INSERT INTO images (id) VALUES ('{}')", id(1)));
    for (column, value, said) in &cases {
        let message = database.try_execute(format!("UPDATE images SET {column} = {value}")).expect_err(value);
        assert!(message.contains(said), "{column} = {value}: {message}");
    }

    let mut ids = vec!["'x'", "''", "NULL", "'3c3d1d01-b48a-4639-8a88-08be3b9b5d7'"];
    if engine == Engine::Sqlite {
        ids.extend([
            "'3C3D1D01-B48A-4639-8A88-08BE3B9B5D78'",
            "'3c3d1d01b48a46398a8808be3b9b5d78'",
            "'3c3d1d01-b48a-4639-8a88-08be3b9b5d7g'",
        ]);
    }
    for id in ids {
        assert!(database.try_execute(format!("INSERT INTO images (id) VALUES ({id})")).is_err(), "{id}");
    }
}
on_both_engines!(what_the_api_could_not_serve_is_refused);

fn members_belong_to_an_image(engine: Engine) {
    let database = empty(engine);
    database.execute(format!("INSERT INTO images (id) VALUES ('{}')", id(1)));
    let insert = |number: u32, member: &str| {
        database
            .try_execute(format!("INSERT INTO image_members (image_id, member) VALUES ('{}', {member})", id(number)))
    };
    assert_eq!(insert(1, "'p'"), Ok(()));
    assert!(insert(1, "'p'").is_err(), "twice the same");
    assert!(insert(2, "'p'").is_err(), "of no image");
    assert!(insert(1, "NULL").is_err());
    assert!(insert(1, &format!("'{}'", "x".repeat(256))).is_err());
    database.execute("DELETE FROM images");
    assert_eq!(database.count("image_members"), 0);
}
on_both_engines!(members_belong_to_an_image);

/// Column names with nullability, and the names of constraints, of a database.
fn description(database: &Database) -> (BTreeSet<String>, BTreeSet<String>) {
    let texts = |sql: &str| database.texts(sql).into_iter().flatten().collect::<BTreeSet<_>>();
    match database.engine {
        Engine::Sqlite => {
            let columns = texts(
                "SELECT m.name || '.' || c.name || CASE WHEN c.\"notnull\" THEN ' NOT NULL' ELSE '' END
                 FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS c
                 WHERE m.name IN ('images', 'image_members', 'image_properties', 'seed_migrations')",
            );
            let statements =
                texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").into_iter().collect::<String>();
            let words: Vec<&str> = statements.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
            let named = words.windows(2).filter(|pair| pair[0] == "CONSTRAINT").map(|pair| pair[1].to_owned());
            (columns, named.collect())
        }
        Engine::Postgres => {
            let columns = texts(
                "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END
                 FROM information_schema.columns WHERE table_name IN ('images', 'image_members', 'image_properties', 'seed_migrations')",
            );
            let constraints = texts(
                "SELECT conname::text FROM pg_constraint WHERE conrelid::regclass::text IN ('images', 'image_members', 'image_properties')
                 AND conname NOT LIKE '%_pkey'",
            );
            (columns, constraints)
        }
    }
}

/// Needs both engines at once, and so PostgreSQL.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn both_engines_have_the_same_tables() {
    let (sqlite, postgres) = (description(&empty(Engine::Sqlite)), description(&empty(Engine::Postgres)));
    assert_eq!(sqlite.0, postgres.0);
    // What PostgreSQL's types see to: uuid, boolean, and text that holds no NUL.
    let (by_type, others): (BTreeSet<_>, BTreeSet<_>) = sqlite.1.into_iter().partition(|name| {
        name.ends_with("_canonical_lower_case_uuid")
            || name.ends_with("_is_true_or_false")
            || name.ends_with("_has_no_nul")
    });
    assert_eq!(others, postgres.1);
    assert_eq!(by_type.len(), 11, "{by_type:?}");
}
