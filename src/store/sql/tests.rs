//! The text of what is compiled.

use sqlx::{Postgres, Sqlite};
use uuid::Uuid;

use super::condition::{Conditions, push_predicate};
use super::order::{parts, push_part};
use super::page::push_mark;
use super::path::push_path;
use super::*;
use crate::query::{Column, Limits, Markers, Scope, parse};

fn query(query: &str) -> ImageQuery {
    parse(query, Limits { default: 25, max: 1000 }).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// What `push` writes, on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($push:expr) => {{
        fn text<DB: Dialect>(push: impl Fn(&mut Sql<DB>)) -> String {
            let mut sql = Sql::new("");
            push(&mut sql);
            sql.text()
        }
        [text::<Sqlite>($push), text::<Postgres>($push)]
    }};
}

/// Both dialects write the same text but for the form of a bind, `?` or `$1`.
#[track_caller]
fn assert_sql([sqlite, postgres]: [String; 2], expected: &str) {
    assert_eq!(postgres, expected);
    let mut parts = expected.split('$');
    let first = parts.next().map(str::to_owned);
    let rest = parts.map(|part| format!("?{}", part.trim_start_matches(|digit: char| digit.is_ascii_digit())));
    assert_eq!(sqlite, first.into_iter().chain(rest).collect::<String>());
}

const LIVE: &str = "TRUE AND NOT deleted AND status <> 'killed'";

#[test]
fn filters_become_conditions_in_a_fixed_order() {
    for (text, expected) in [
        ("", LIVE.to_owned()),
        ("limit=3", LIVE.to_owned()),
        ("name=a", format!("{LIVE} AND name = $1")),
        ("name=in:a,b", format!("{LIVE} AND name IN ($1, $2)")),
        ("name=in:", format!("{LIVE} AND name IN (NULL)")),
        (
            "status=active&disk_format=raw&container_format=bare",
            format!("{LIVE} AND container_format = $1 AND disk_format = $2 AND status = $3"),
        ),
        ("size_max=2&size_min=1", format!("{LIVE} AND size >= $1 AND size <= $2")),
        ("size_min=99999999999999999999", format!("{LIVE} AND FALSE")),
        ("min_ram=1&min_disk=2", format!("{LIVE} AND min_ram = $1 AND min_disk = $2")),
        ("protected=1", format!("{LIVE} AND protected = $1")),
        ("changes-since=2016", "TRUE AND updated_at >= $1".to_owned()),
        (
            "status=in:killed,active",
            "TRUE AND (NOT deleted AND status <> 'killed' OR status IN ($1)) AND status IN ($2, $3)".to_owned(),
        ),
        ("is_public=none", LIVE.to_owned()),
    ] {
        let query = query(text);
        assert_sql(on_both!(|sql| push_predicate(sql, &query, &Scope::All, "", Conditions::All)), &expected);
    }
}

#[test]
fn properties_are_looked_up_in_their_table() {
    let property = |name: u32| {
        format!(
            "AND (SELECT TRUE FROM image_properties WHERE image_id = images.id AND name = ${name} AND value = ${})",
            name + 1
        )
    };
    let (first, second) = (property(1), property(2));
    let two = query("property-b=2&property-a=1");
    let condition = |wanted| on_both!(|sql| push_predicate(sql, &two, &Scope::All, "", wanted));
    assert_sql(condition(Conditions::All), &format!("{LIVE} {first} {}", property(3)));
    assert_sql(condition(Conditions::Covered(&[])), &format!("{LIVE} {first} {}", property(3)));
    assert_sql(condition(Conditions::NotCovered), "TRUE");

    // What the table may not hold to its end is looked for in the image too.
    let long = query(&format!("name=n&property-a=1&property-b={}", "é".repeat(255)));
    let [sqlite, postgres] = on_both!(|sql| push_predicate(sql, &long, &Scope::All, "", Conditions::NotCovered));
    assert_eq!(
        sqlite,
        "TRUE AND (SELECT count(*) FROM json_each(properties) WHERE (key, value) IN (VALUES (?, ?))) = ?"
    );
    assert_eq!(
        postgres,
        "TRUE AND (SELECT count(*) FROM json_each_text(properties) AS property \
        WHERE (key, value) IN (VALUES ($1, $2))) = $3"
    );
    let covered = on_both!(|sql| push_predicate(sql, &long, &Scope::All, "", Conditions::Covered(&[])));
    assert_sql(covered, &format!("{LIVE} AND name = $1 {second} {}", property(4)));
}

#[test]
fn a_property_leads_through_its_table() {
    let two = query("property-b=2&property-a=1");
    let ids = "SELECT image_id FROM image_properties WHERE TRUE AND name = ";
    let [sqlite, postgres] = on_both!(|sql| push_path(sql, &two, &Scope::All, Path::Property(0), 1));
    assert_eq!(sqlite, format!("SELECT 1 FROM images WHERE id IN ({ids}? AND value = ?)"));
    assert_eq!(postgres, format!("SELECT 1 FROM images WHERE id = ANY (ARRAY({ids}$1 AND value = $2))"));
    let named = query("name=n&property-a=1");
    let joined = Path::EqualitiesAndProperty(0);
    assert_eq!(Path::of(&named, &Scope::Public), [Path::Equalities, Path::Property(0), joined]);
    let [sqlite, postgres] = on_both!(|sql| push_path(sql, &named, &Scope::Public, joined, 1));
    let equalities = "SELECT images.id FROM images WHERE TRUE AND name = ";
    let public = "AND deleted = FALSE AND is_public = TRUE";
    let other = format!("AND +images.id IN ({ids}? AND value = ?)");
    assert_eq!(sqlite, format!("SELECT 1 FROM images WHERE id IN ({equalities}? {public} {other})"));
    let both = format!("({equalities}$1 {public} UNION ALL {ids}$2 AND value = $3) AS met");
    let both = format!("SELECT id FROM {both} GROUP BY id HAVING count(*) = 2");
    assert_eq!(postgres, format!("SELECT 1 FROM images WHERE id = ANY (ARRAY({both}))"));
    let view = View { listed: Scope::All, markers: Markers::Any };
    let page = Compiled { query: &two, view: &view };
    assert_sql(
        on_both!(|sql| push_count(sql, &page, Path::Property(1), 7)),
        "SELECT count(*) FROM (SELECT 1 FROM image_properties WHERE TRUE AND name = $1 AND value = $2 LIMIT 7) AS met",
    );
}

#[test]
fn a_scope_comes_first() {
    for (scope, expected) in [
        (Scope::Public, "is_public"),
        (Scope::NotPublic, "NOT is_public"),
        (
            Scope::Project("p".to_owned()),
            "(is_public OR owner = $1 OR (SELECT TRUE FROM image_members WHERE image_id = images.id AND member = $2))",
        ),
    ] {
        let query = query("");
        let live = "AND NOT deleted AND status <> 'killed'";
        let found = on_both!(|sql| push_predicate(sql, &query, &scope, "", Conditions::All));
        assert_sql(found, &format!("{expected} {live}"));
    }
}

fn page<DB: Dialect>(text: &str, scope: Scope, plan: Plan) -> String {
    page_of::<DB>(&query(text), scope, plan)
}

fn page_of<DB: Dialect>(query: &ImageQuery, scope: Scope, plan: Plan) -> String {
    let view = View { listed: scope, markers: Markers::Any };
    let mut sql = Sql::<DB>::new("");
    push_page(&mut sql, &Compiled { query, view: &view }, plan, Projection::Detail);
    sql.text()
}

#[test]
fn the_images_of_one_value_of_the_sort_key_are_a_list_of_their_own() {
    let marker = Uuid::nil();
    let list = query(&format!("status=in:active,killed&sort_key=status&sort_dir=asc&name=a&marker={marker}"));
    for (marker, begins) in [(list.marker, format!("&marker={marker}")), (None, String::new())] {
        // What the whole list shows of deleted images does not change.
        let expected = query(&format!("name=a&status=active&sort_dir=asc{begins}"));
        let expected = ImageQuery { liveness: list.liveness.clone(), ..expected };
        assert_eq!(list.with_key(Some("active"), marker), expected);
    }

    let list = query(&format!("container_format=bare&sort_key=disk_format&marker={marker}"));
    let without = list.with_key(None, list.marker);
    let walk = page_of::<Sqlite>(&without, Scope::All, Plan::Walk(1000));
    let rest = "WHERE deleted = FALSE AND disk_format IS NULL AND (created_at, id) < ((SELECT +created_at FROM mark), (SELECT +id FROM mark)) \
        ORDER BY disk_format DESC NULLS LAST, created_at DESC, id DESC LIMIT 1000";
    assert!(walk.contains(rest) && !walk.contains("UNION ALL"), "{walk}");
    let scan = page_of::<Sqlite>(&without, Scope::Public, Plan::FirstScan(Path::Equalities));
    let lead = "AND coalesce(disk_format, '') = '' AND +disk_format IS NULL AND coalesce(container_format, '') = ?";
    assert!(scan.contains(lead), "{scan}");

    let mut keys = Sql::<Sqlite>::new("");
    push_keys(&mut keys, &list, 128);
    assert!(keys.text().ends_with("SELECT value FROM leap WHERE value IS NOT NULL LIMIT 128"), "{}", keys.text());
}

#[test]
fn a_walk_goes_along_one_index_and_tells_where_it_left_off() {
    for (text, scope, met) in [
        ("", Scope::All, ""),
        ("", Scope::Public, " AND is_public"),
        ("disk_format=raw&status=active", Scope::All, " AND disk_format = ?"),
        ("disk_format=raw&status=queued", Scope::All, " AND status = ?"),
        ("disk_format=raw&size_min=1", Scope::All, " AND disk_format = ?"),
        ("name=a&status=queued&size_min=1", Scope::All, " AND name = ?"),
    ] {
        let sql = page::<Sqlite>(text, scope, Plan::Walk(1000));
        let cut = format!(
            "AND coalesce((SELECT TRUE FROM images WHERE deleted = FALSE{met} \
             ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET 1000), FALSE)"
        );
        assert!(sql.contains(&cut), "{sql}");
    }
    assert_eq!(
        page::<Sqlite>("sort_key=size&size_min=7&status=active", Scope::Public, Plan::Walk(1000)),
        "SELECT string_agg(document, '\n'), CASE WHEN count(*) < 26 AND coalesce((SELECT TRUE FROM images \
         WHERE deleted = FALSE AND size >= ? ORDER BY size DESC NULLS LAST, created_at DESC, id DESC LIMIT 1 OFFSET 1000), FALSE) \
         THEN count(*) END FROM (SELECT document AS document FROM (SELECT rowid AS found, deleted AS candidate_deleted, \
         size AS candidate_size, status AS candidate_status FROM images WHERE deleted = FALSE AND size >= ? ORDER BY size DESC NULLS LAST, created_at DESC, id DESC LIMIT 1000) \
         AS candidate CROSS JOIN images WHERE images.rowid = found AND TRUE AND NOT candidate_deleted AND candidate_status <> 'killed' \
         AND candidate_status = ? AND candidate_size >= ? AND is_public LIMIT 26) AS page"
    );
}

#[test]
fn a_walk_through_what_may_be_shown_merges_what_lies_apart() {
    let of_project = page::<Postgres>("disk_format=raw", Scope::Project("p".to_owned()), Plan::ShownWalk(1000));
    let shares: Vec<&str> = of_project.split("(SELECT images.* FROM images WHERE ").skip(1).collect();
    for (share, expected) in shares.iter().rev().take(3).rev().zip([
        "deleted = FALSE AND is_public ORDER BY created_at DESC, id DESC OFFSET 0) AS share UNION ALL",
        "deleted = FALSE AND NOT is_public AND owner = $",
        "id = ANY (ARRAY(SELECT image_id FROM image_members WHERE member = $",
    ]) {
        assert!(share.starts_with(expected), "{share}");
    }
    for (text, scope, merged) in [
        ("", Scope::All, Some("queued, saving, uploading, importing, active, deactivated, pending_delete, deleted")),
        (
            "disk_format=raw",
            Scope::NotPublic,
            Some("queued, saving, uploading, importing, active, deactivated, pending_delete, deleted"),
        ),
        ("status=active", Scope::All, Some("active")),
        ("status=in:killed,queued,unknown", Scope::All, Some("queued, killed, queued, killed")),
        ("status=in:unknown", Scope::All, None),
        ("status=in:", Scope::All, None),
        ("status=queued", Scope::All, None),
        ("name=a", Scope::All, None),
        ("changes-since=2016", Scope::Public, None),
        ("sort_key=size", Scope::Public, None),
        ("property-a=1", Scope::Public, None),
        ("status=in:", Scope::Public, Some("")),
    ] {
        let query = query(text);
        let view = View { listed: scope.clone(), markers: Markers::Any };
        assert_eq!(has_shown_walk(&Compiled { query: &query, view: &view }), merged.is_some(), "{text} {scope:?}");
        let Some(merged) = merged else { continue };
        let sql = page::<Sqlite>(text, scope, Plan::ShownWalk(1000));
        let (_, walk) = sql.split_once(" FROM (SELECT document").expect("a page");
        let statuses: Vec<&str> =
            walk.split(" AND status = '").skip(1).map(|rest| rest.split('\'').next().expect("a status")).collect();
        assert_eq!(statuses.join(", "), merged, "{text}");
    }
}

#[test]
fn what_was_created_long_before_changes_since_is_looked_for_among_late_changes() {
    let since = "changes-since=2016-05-03T01:02:03Z";
    let sql = page::<Postgres>(since, Scope::All, Plan::Walk(1000));
    let between = ", candidates_1 AS MATERIALIZED (";
    let (recent, late) = sql.split_once(between).expect("two parts");
    assert!(recent.contains("FROM images WHERE deleted = FALSE AND created_at >= $"), "{recent}");
    let before = "FROM images WHERE deleted = TRUE AND updated_at >= created_at + interval '2 days' AND created_at < $";
    assert!(late.contains(before), "{late}");
    // PostgreSQL counts what it has read, and goes along no index again.
    assert_eq!(late.matches(before).count(), 1, "{late}");
    let gated = "AS gated LIMIT CASE WHEN TRUE AND (SELECT TRUE FROM candidates_0 LIMIT 1 OFFSET 999) IS NULL THEN 26";
    assert!(late.contains(gated), "{late}");
    let ascending = page::<Postgres>(&format!("{since}&sort_dir=asc"), Scope::All, Plan::Walk(1000));
    assert!(ascending.split_once(between).expect("two parts").0.contains(before), "{ascending}");
    for plan in [Plan::Scan(Path::Column(Column::UpdatedAt)), Plan::Walk(1000)] {
        let other = page::<Postgres>(&format!("{since}&sort_key=id"), Scope::All, plan);
        assert!(!other.contains("interval"), "{other}");
    }
    let marked = page::<Sqlite>(&format!("{since}&marker={}", Uuid::nil()), Scope::All, Plan::Walk(1000));
    let clamped = "date(created_at, '+2 days') AND (created_at, id) < \
        ((SELECT CASE WHEN created_at < ? THEN key ELSE ? END FROM mark), \
        (SELECT CASE WHEN created_at < ? THEN id ELSE ? END FROM mark))";
    assert!(marked.contains(clamped), "{marked}");
}

#[test]
fn a_scan_leads_through_its_own_index_only() {
    let sqlite = page::<Sqlite>("size_min=7&status=active", Scope::Public, Plan::Scan(Path::Column(Column::Size)));
    assert_eq!(
        sqlite,
        "SELECT string_agg(document, '\n'), NULL FROM (SELECT document AS document FROM (SELECT rowid AS found FROM \
         (SELECT images.rowid, images.* FROM images WHERE deleted = FALSE AND size >= ?) AS images \
         WHERE TRUE AND NOT +deleted AND +status <> 'killed' AND +status = ? \
         ORDER BY +created_at DESC, +id DESC LIMIT 9223372036854775807) AS candidate \
         CROSS JOIN images WHERE images.rowid = found AND is_public LIMIT 26) AS page"
    );
    let postgres = page::<Postgres>("size_min=7", Scope::All, Plan::Scan(Path::Column(Column::Size)));
    assert!(postgres.contains("FROM images WHERE deleted = FALSE AND size >= $1 OFFSET 0) AS images"), "{postgres}");
}

#[test]
fn a_walk_merges_what_is_deleted_where_that_is_listed_too() {
    let walk = page::<Postgres>("status=deleted&sort_key=id", Scope::All, Plan::Walk(1000));
    assert!(!walk.contains("UNION ALL"), "ids are in the order of chance: {walk}");
    for text in ["status=deleted", "sort_key=updated_at&changes-since=2016"] {
        let walk = page::<Postgres>(text, Scope::All, Plan::Walk(1000));
        let (live, deleted) = walk.split_once(" OFFSET 0) AS share UNION ALL SELECT * FROM (").expect("two shares");
        assert!(live.contains(" WHERE deleted = FALSE AND "), "{live}");
        assert!(deleted.contains(" WHERE deleted = TRUE AND "), "{deleted}");
    }
}

#[test]
fn columns_with_an_index_of_their_own_lead_through_it() {
    for (text, path, expected) in [
        ("size_min=7", Column::Size, "deleted = FALSE AND size >= $1"),
        ("changes-since=2016", Column::UpdatedAt, "deleted IN (FALSE, TRUE) AND updated_at >= $1"),
        ("min_ram=7", Column::MinRam, "min_ram <> 0 AND min_ram = $1"),
        ("protected=true", Column::Protected, "protected AND protected = $1"),
    ] {
        let query = query(text);
        assert_eq!(Path::of(&query, &Scope::All), [Path::Column(path)], "{text}");
        let led = on_both!(|sql| push_path(sql, &query, &Scope::All, Path::Column(path), 1));
        let expected = format!("SELECT 1 FROM images WHERE {expected}");
        assert_sql(
            led.map(|text| text.replace("unlikely(deleted IN (FALSE, TRUE))", "deleted IN (FALSE, TRUE)")),
            &expected,
        );
    }
    for text in ["min_ram=0", "protected=false"] {
        assert_eq!(Path::of(&query(text), &Scope::All), [Path::Equalities], "{text}");
    }
}

#[test]
fn equalities_are_a_prefix_of_their_index() {
    for (text, scope, expected) in [
        ("name=a", Scope::Public, "TRUE AND name = $1 AND deleted = FALSE AND is_public = TRUE"),
        ("", Scope::NotPublic, "TRUE AND deleted = FALSE AND is_public = FALSE"),
        (
            "disk_format=&container_format=bare&status=queued",
            Scope::NotPublic,
            "TRUE AND deleted = FALSE AND is_public = FALSE \
             AND coalesce(disk_format, '') = $1 AND disk_format IS NOT NULL \
             AND coalesce(container_format, '') = $2 AND status = $3",
        ),
    ] {
        let query = query(text);
        let led = on_both!(|sql| push_path(sql, &query, &scope, Path::Equalities, "images.id"));
        let expected = format!("SELECT images.id FROM images WHERE {expected}");
        assert_sql(led.map(|text| text.replace('+', "")), &expected);
    }
}

#[test]
fn a_column_may_have_any_value_that_is_there_or_asked_for() {
    let flag = "SELECT FALSE AS value UNION ALL SELECT TRUE";
    let formats = |others: &str| {
        format!(
            "WITH RECURSIVE leap(share, value) AS (\
             SELECT share, (SELECT min(disk_format) FROM images WHERE deleted = share) \
             FROM (SELECT FALSE AS share{others}) AS shares UNION ALL \
             SELECT share, (SELECT min(disk_format) FROM images WHERE deleted = share AND disk_format > value) \
             FROM leap WHERE value IS NOT NULL) SELECT DISTINCT coalesce(value, '') AS value FROM leap"
        )
    };
    let live = formats("");
    let all = formats(" UNION ALL SELECT TRUE");
    for (text, scope, gaps, conditions) in [
        (
            "container_format=bare",
            Scope::Public,
            format!("({live}) AS any_disk_format"),
            "TRUE AND deleted = FALSE AND is_public = TRUE AND coalesce(disk_format, '') = any_disk_format.value \
             AND coalesce(container_format, '') = $1",
        ),
        (
            "name=a&container_format=bare&changes-since=2016",
            Scope::Project("p".to_owned()),
            format!(
                "({flag}) AS any_deleted CROSS JOIN ({flag}) AS any_is_public CROSS JOIN ({all}) AS any_disk_format"
            ),
            "TRUE AND name = $1 AND deleted = any_deleted.value AND is_public = any_is_public.value \
             AND coalesce(disk_format, '') = any_disk_format.value AND coalesce(container_format, '') = $2",
        ),
        (
            "name=a&disk_format=in:raw,iso&container_format=bare",
            Scope::Public,
            "(SELECT DISTINCT column1 AS value FROM (VALUES ($1), ($2)) AS list) AS any_disk_format".to_owned(),
            "TRUE AND name = $3 AND deleted = FALSE AND is_public = TRUE \
             AND coalesce(disk_format, '') = any_disk_format.value AND coalesce(container_format, '') = $4",
        ),
        (
            "container_format=in:,bare&status=queued&disk_format=raw",
            Scope::Public,
            "(SELECT DISTINCT column1 AS value FROM (VALUES ($1), ($2)) AS list) AS any_container_format".to_owned(),
            "TRUE AND deleted = FALSE AND is_public = TRUE \
             AND coalesce(container_format, '') = any_container_format.value \
             AND coalesce(disk_format, '') = $3 AND container_format IS NOT NULL AND status = $4",
        ),
    ] {
        let query = query(text);
        let led = on_both!(|sql| push_path(sql, &query, &scope, Path::Equalities, 1));
        let expected = format!("SELECT 1 FROM {gaps} CROSS JOIN images WHERE {conditions}");
        let lateral =
            |text: String| text.replace("LATERAL (SELECT * FROM images", "images").replace(" OFFSET 0) AS images", "");
        assert_sql(led.map(lateral).map(|text| text.replace('+', "")), &expected);
    }
}

#[test]
fn a_page_goes_on_after_its_marker_over_ties_and_nulls() {
    let marked = |columns: &[&str]| {
        let values: Vec<String> = columns.iter().map(|column| format!("(SELECT {column} FROM mark)")).collect();
        values.join(", ")
    };
    let (key, ties) = (marked(&["key", "created_at", "id"]), marked(&["created_at", "id"]));
    for (text, expected) in [
        ("", vec![format!("(created_at, id) < ({})", marked(&["key", "id"]))]),
        ("sort_key=id&sort_dir=asc", vec!["(id) > ((SELECT key FROM mark))".to_owned()]),
        ("sort_key=status", vec![format!("(status, created_at, id) < ({key})")]),
        (
            "sort_key=name&sort_dir=asc",
            vec![
                format!("name IS NULL AND (created_at, id) > ({ties})"),
                "name IS NOT NULL".to_owned(),
                format!("(name, created_at, id) > ({key})"),
            ],
        ),
        (
            "sort_key=name",
            vec![
                format!("(name, created_at, id) < ({key})"),
                format!("name IS NULL AND (created_at, id) < ({ties})"),
                "name IS NULL".to_owned(),
            ],
        ),
    ] {
        let query = query(&format!("{text}&marker={}", Uuid::nil()));
        let parts = parts(&query, Plan::Walk(1000));
        assert_eq!(parts.len(), expected.len(), "{text}");
        for (part, expected) in parts.iter().zip(expected) {
            let part = on_both!(|sql| push_part(sql, &query, part, "")).map(|text| text.replace("SELECT +", "SELECT "));
            assert_sql(part, &format!(" AND {expected}"));
        }
    }
    let sql = page::<Sqlite>(&format!("sort_key=name&marker={}", Uuid::nil()), Scope::All, Plan::Walk(1000));
    let (_, gate) = sql
        .split_once("AS gated LIMIT CASE WHEN (SELECT key FROM mark) IS NOT NULL AND (SELECT TRUE FROM ")
        .expect("a part that is there only after a name");
    assert!(gate.contains(" IS NULL THEN 26 ELSE 0 END"), "{sql}");
}

#[test]
fn a_marker_is_looked_up_in_what_the_caller_may_see() {
    let sql = |text: &str, view: &View| {
        let mut sql = Sql::<Postgres>::new("");
        push_mark(&mut sql, &query(text), view, Uuid::nil());
        sql.text()
    };
    let public = View { listed: Scope::Public, markers: Markers::Listed };
    let any = View { listed: Scope::Public, markers: Markers::Any };
    let select = "WITH mark AS (SELECT id, created_at, size AS key FROM images WHERE id = $1";
    assert_eq!(sql("sort_key=size", &any), format!("{select}) "));
    for (text, expected) in [
        ("", " AND is_public AND NOT deleted"),
        ("status=active", " AND is_public AND NOT deleted"),
        ("status=deleted", " AND is_public AND (NOT deleted OR status IN ($2))"),
        ("changes-since=2016", " AND is_public"),
    ] {
        assert_eq!(sql(&format!("sort_key=size&{text}"), &public), format!("{select}{expected}) "));
    }
}
