//! From a typed query to SQL text and binds. Text is only ever put together from constants;
//! whatever a client sent is bound.

use chrono::NaiveDateTime;
use sqlx::{Database, Postgres, QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use crate::query::{Column, ColumnKind, Direction, Filter, ImageQuery, Liveness, Markers, Scope, Test, Value, View};
use crate::timestamp::Timestamp;

/// What differs between the engines' SQL.
pub trait Dialect: Database {
    /// Binds a value in the form in which the engine stores it.
    fn push_value(sql: &mut QueryBuilder<Self>, value: &Value);

    /// Reads a row of [`push_marker`].
    fn position(row: &Self::Row, sort_key: Column, id: Uuid) -> sqlx::Result<Position>;

    /// The JSON object of the six fields of the brief list.
    const BRIEF_DOCUMENT: &str;

    /// The JSON object of a member of an image.
    const MEMBER_DOCUMENT: &str;

    /// The JSON object of an image that is shared.
    const SHARED_DOCUMENT: &str;

    /// A subquery of the names and values of an image's properties.
    const PROPERTIES: &str;

    /// Put before a query, asks for its plan.
    const EXPLAIN: &str;

    /// The column in which a plan's steps stand.
    const EXPLAINED: usize;
}

impl Dialect for Sqlite {
    fn push_value(sql: &mut QueryBuilder<Self>, value: &Value) {
        match value {
            Value::Text(text) => sql.push_bind(text.clone()),
            Value::Whole(number) => sql.push_bind(*number),
            Value::Flag(flag) => sql.push_bind(*flag),
            Value::Time(time) => sql.push_bind(time.to_string()),
            Value::Id(id) => sql.push_bind(id.to_string()),
        };
    }

    fn position(row: &Self::Row, sort_key: Column, id: Uuid) -> sqlx::Result<Position> {
        let time = |column: &str| -> sqlx::Result<Option<Value>> {
            let text: Option<&str> = row.try_get(column)?;
            Ok(text.and_then(Timestamp::parse).map(Value::Time))
        };
        let key = match sort_key.kind() {
            ColumnKind::Time => time("key")?,
            ColumnKind::Id => Some(Value::Id(id)),
            ColumnKind::Whole => row.try_get::<Option<i64>, _>("key")?.map(Value::Whole),
            ColumnKind::Flag => row.try_get::<Option<bool>, _>("key")?.map(Value::Flag),
            ColumnKind::Text => row.try_get::<Option<String>, _>("key")?.map(Value::Text),
        };
        Ok(Position { key, created_at: time("created_at")?.ok_or(sqlx::Error::RowNotFound)?, id: Value::Id(id) })
    }

    const BRIEF_DOCUMENT: &str = "json_object('name', name, 'container_format', container_format, \
        'disk_format', disk_format, 'checksum', checksum, 'id', id, 'size', size)";

    const MEMBER_DOCUMENT: &str =
        "json_object('can_share', json(iif(can_share, 'true', 'false')), 'member_id', member)";

    const SHARED_DOCUMENT: &str =
        "json_object('image_id', image_id, 'can_share', json(iif(can_share, 'true', 'false')))";

    const PROPERTIES: &str = "json_each(properties)";

    const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";

    const EXPLAINED: usize = 3;
}

impl Dialect for Postgres {
    fn push_value(sql: &mut QueryBuilder<Self>, value: &Value) {
        match value {
            Value::Text(text) => sql.push_bind(text.clone()),
            Value::Whole(number) => sql.push_bind(*number),
            Value::Flag(flag) => sql.push_bind(*flag),
            Value::Time(time) => sql.push_bind(NaiveDateTime::from(*time)),
            Value::Id(id) => sql.push_bind(*id),
        };
    }

    fn position(row: &Self::Row, sort_key: Column, id: Uuid) -> sqlx::Result<Position> {
        let time = |time: NaiveDateTime| Value::Time(time.into());
        let key = match sort_key.kind() {
            ColumnKind::Time => row.try_get::<Option<NaiveDateTime>, _>("key")?.map(time),
            ColumnKind::Id => Some(Value::Id(id)),
            ColumnKind::Whole => row.try_get::<Option<i64>, _>("key")?.map(Value::Whole),
            ColumnKind::Flag => row.try_get::<Option<bool>, _>("key")?.map(Value::Flag),
            ColumnKind::Text => row.try_get::<Option<String>, _>("key")?.map(Value::Text),
        };
        Ok(Position { key, created_at: time(row.try_get("created_at")?), id: Value::Id(id) })
    }

    const BRIEF_DOCUMENT: &str = "(SELECT row_to_json(brief) FROM (SELECT name, container_format, \
        disk_format, checksum, id, size) AS brief)::text";

    const MEMBER_DOCUMENT: &str = "(SELECT row_to_json(m) FROM (SELECT can_share, member AS member_id) AS m)::text";

    const SHARED_DOCUMENT: &str = "(SELECT row_to_json(s) FROM (SELECT image_id, can_share) AS s)::text";

    const PROPERTIES: &str = "json_each_text(properties) AS property";

    const EXPLAIN: &str = "EXPLAIN ";

    const EXPLAINED: usize = 0;
}

/// What a list shows of each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    Detail,
    Brief,
}

/// Where in the order a marker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The value of the sort key; `None` for null.
    pub key: Option<Value>,
    pub created_at: Value,
    pub id: Value,
}

/// One row with one text: the documents of the page and of one image more, separated by line
/// feeds, which JSON text cannot hold; null where nothing matches.
///
/// The engine joins them because the cost of a page follows its cells and round trips. Both
/// engines feed an aggregate in the order of its subquery, and a UNION ALL in that of its parts.
pub fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    query: &ImageQuery,
    view: &View,
    after: Option<&Position>,
    projection: Projection,
) {
    sql.push("SELECT string_agg(document, '\n') FROM (");
    match parts(query, after).as_slice() {
        [part] => push_part(sql, query, view, part, projection),
        parts => {
            for (index, part) in parts.iter().enumerate() {
                sql.push(if index > 0 { " UNION ALL SELECT document FROM (" } else { "SELECT document FROM (" });
                push_part(sql, query, view, part, projection);
                sql.push(") AS part");
            }
            sql.push(" LIMIT ");
            DB::push_value(sql, &Value::Whole(i64::from(query.limit) + 1));
        }
    }
    sql.push(") AS page");
}

/// The rows of a page that one range of an index holds, in order.
fn push_part<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    query: &ImageQuery,
    view: &View,
    part: &Part,
    projection: Projection,
) {
    sql.push("SELECT ");
    sql.push(match projection {
        Projection::Detail => "document",
        Projection::Brief => DB::BRIEF_DOCUMENT,
    });
    sql.push(" AS document FROM images WHERE ");
    push_predicate(sql, query, &view.listed);
    match part.key {
        Key::Any => {}
        Key::Null => {
            sql.push(" AND ").push(query.sort_key.name()).push(" IS NULL");
        }
        Key::NotNull => {
            sql.push(" AND ").push(query.sort_key.name()).push(" IS NOT NULL");
        }
    }
    push_beyond(sql, query.sort_dir, &part.beyond);
    push_order(sql, query);
    sql.push(" LIMIT ");
    DB::push_value(sql, &Value::Whole(i64::from(query.limit) + 1));
}

/// The sort key and creation of the query's marker, if the view lets the caller name it.
pub fn push_marker<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery, view: &View, marker: Uuid) {
    sql.push("SELECT created_at, ").push(query.sort_key.name()).push(" AS key FROM images WHERE ");
    push_named(sql, marker, view, &query.liveness());
}

/// The document of one image, if the view lets the caller name it.
pub fn push_image<DB: Dialect>(sql: &mut QueryBuilder<DB>, id: Uuid, view: &View) {
    sql.push("SELECT document FROM images WHERE ");
    push_named(sql, id, view, &Liveness::Live);
}

/// The image of an id. Killed ones may be named, though no list shows them.
fn push_named<DB: Dialect>(sql: &mut QueryBuilder<DB>, id: Uuid, view: &View, liveness: &Liveness) {
    sql.push("id = ");
    DB::push_value(sql, &Value::Id(id));
    if view.markers == Markers::Any {
        return;
    }
    sql.push(" AND ");
    push_scope(sql, &view.listed);
    match liveness {
        Liveness::Any => {}
        Liveness::Live => {
            sql.push(" AND NOT deleted");
        }
        Liveness::LiveOr(statuses) => {
            sql.push(" AND (NOT deleted OR status");
            push_one_of(sql, statuses);
            sql.push(")");
        }
    }
}

/// The members of an image, as JSON lines: all of them for its owner and for who may name any
/// image, else the caller's own membership.
pub fn push_members<DB: Dialect>(sql: &mut QueryBuilder<DB>, id: Uuid, view: &View) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ").push(DB::MEMBER_DOCUMENT);
    sql.push(" AS document FROM image_members JOIN images ON id = image_id WHERE id = ");
    DB::push_value(sql, &Value::Id(id));
    push_membership(sql, view);
    sql.push(" ORDER BY member) AS members");
}

/// The images shared with a project, as JSON lines, by the same rule.
pub fn push_shared<DB: Dialect>(sql: &mut QueryBuilder<DB>, project: &str, view: &View) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ").push(DB::SHARED_DOCUMENT);
    sql.push(" AS document FROM image_members JOIN images ON id = image_id WHERE NOT deleted AND member = ");
    DB::push_value(sql, &Value::Text(project.to_owned()));
    push_membership(sql, view);
    sql.push(" ORDER BY image_id) AS shared");
}

/// The memberships that a caller may know of.
fn push_membership<DB: Dialect>(sql: &mut QueryBuilder<DB>, view: &View) {
    match (&view.listed, view.markers) {
        (_, Markers::Any) => {}
        (Scope::Project(project), Markers::Listed) => {
            let project = Value::Text(project.clone());
            sql.push(" AND (owner = ");
            DB::push_value(sql, &project);
            sql.push(" OR member = ");
            DB::push_value(sql, &project);
            sql.push(")");
        }
        (_, Markers::Listed) => {
            sql.push(" AND FALSE");
        }
    }
}

/// The one place that compiles what a query asks for, in a fixed order: like queries give like
/// text, so that prepared statements are used again.
fn push_predicate<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery, scope: &Scope) {
    // Taken apart whole, so that a new field does not compile until it is thought of here.
    let ImageQuery { filters, properties, is_public: _, sort_key: _, sort_dir: _, limit: _, marker: _ } = query;
    push_scope(sql, scope);
    match query.liveness() {
        Liveness::Any => {}
        Liveness::Live => {
            sql.push(" AND NOT deleted AND status <> 'killed'");
        }
        Liveness::LiveOr(statuses) => {
            sql.push(" AND (NOT deleted AND status <> 'killed' OR status");
            push_one_of(sql, &statuses);
            sql.push(")");
        }
    }
    for filter in filters {
        sql.push(" AND ");
        push_filter(sql, filter);
    }
    // One look at the object for all: names are unique, so that the matches can be counted.
    for (index, (name, value)) in properties.iter().enumerate() {
        if index == 0 {
            sql.push(" AND (SELECT count(*) FROM ").push(DB::PROPERTIES).push(" WHERE (key, value) IN (VALUES (");
        } else {
            sql.push("), (");
        }
        DB::push_value(sql, &Value::Text(name.clone()));
        sql.push(", ");
        DB::push_value(sql, &Value::Text(value.clone()));
    }
    if let Some(count) = i64::try_from(properties.len()).ok().filter(|count| *count > 0) {
        sql.push("))) = ");
        DB::push_value(sql, &Value::Whole(count));
    }
}

fn push_scope<DB: Dialect>(sql: &mut QueryBuilder<DB>, scope: &Scope) {
    match scope {
        Scope::All => {
            sql.push("TRUE");
        }
        Scope::Public => {
            sql.push("is_public");
        }
        Scope::NotPublic => {
            sql.push("NOT is_public");
        }
        Scope::Project(project) => {
            let project = Value::Text(project.clone());
            sql.push("(is_public OR owner = ");
            DB::push_value(sql, &project);
            sql.push(" OR id IN (SELECT image_id FROM image_members WHERE member = ");
            DB::push_value(sql, &project);
            sql.push("))");
        }
    }
}

fn push_filter<DB: Dialect>(sql: &mut QueryBuilder<DB>, filter: &Filter) {
    let column = filter.column.name();
    let (operator, value) = match &filter.test {
        Test::Never => {
            sql.push("FALSE");
            return;
        }
        Test::OneOf(items) => {
            sql.push(column);
            push_one_of(sql, items);
            return;
        }
        Test::Equal(value) => (" = ", value),
        Test::AtLeast(value) => (" >= ", value),
        Test::AtMost(value) => (" <= ", value),
    };
    sql.push(column).push(operator);
    DB::push_value(sql, value);
}

/// ` IN (...)`; an empty list, which SQL does not know, is a list of null and passes nothing.
fn push_one_of<DB: Dialect>(sql: &mut QueryBuilder<DB>, items: &[String]) {
    sql.push(" IN (");
    if items.is_empty() {
        sql.push("NULL");
    }
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        DB::push_value(sql, &Value::Text(item.clone()));
    }
    sql.push(")");
}

/// Nulls are the smallest values, on both engines.
fn push_order<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery) {
    let (direction, nulls) = match query.sort_dir {
        Direction::Asc => (" ASC", " NULLS FIRST"),
        Direction::Desc => (" DESC", " NULLS LAST"),
    };
    sql.push(" ORDER BY ");
    for (index, column) in order(query.sort_key).iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        sql.push(column.name()).push(direction);
        if column.is_nullable() {
            sql.push(nulls);
        }
    }
}

/// The columns of the order: the sort key, then `created_at` and `id` for its ties.
fn order(sort_key: Column) -> Vec<Column> {
    match sort_key {
        Column::Id => vec![Column::Id],
        Column::CreatedAt => vec![Column::CreatedAt, Column::Id],
        key => vec![key, Column::CreatedAt, Column::Id],
    }
}

/// A part of what comes after a marker that an index finds without passing over other rows.
struct Part<'a> {
    key: Key,
    /// Columns and values that the rows are strictly beyond, in the direction of the order.
    beyond: Vec<(Column, &'a Value)>,
}

/// Which values of the sort key a part holds.
enum Key {
    Any,
    Null,
    NotNull,
}

/// The rows strictly after a position, in parts that follow each other. No comparison with a
/// value finds nulls, which are the smallest values, so that they are a part of their own.
fn parts<'a>(query: &ImageQuery, after: Option<&'a Position>) -> Vec<Part<'a>> {
    let Some(position) = after else { return vec![Part { key: Key::Any, beyond: Vec::new() }] };
    let ties = vec![(Column::CreatedAt, &position.created_at), (Column::Id, &position.id)];
    let Some(key) = &position.key else {
        let nulls = Part { key: Key::Null, beyond: ties };
        return match query.sort_dir {
            Direction::Asc => vec![nulls, Part { key: Key::NotNull, beyond: Vec::new() }],
            Direction::Desc => vec![nulls],
        };
    };
    let beyond = match query.sort_key {
        Column::Id => vec![(Column::Id, &position.id)],
        Column::CreatedAt => ties,
        column => [(column, key)].into_iter().chain(ties).collect(),
    };
    let values = Part { key: Key::Any, beyond };
    match query.sort_dir {
        Direction::Desc if query.sort_key.is_nullable() => vec![values, Part { key: Key::Null, beyond: Vec::new() }],
        Direction::Asc | Direction::Desc => vec![values],
    }
}

/// A row comparison, which an index on these columns answers.
fn push_beyond<DB: Dialect>(sql: &mut QueryBuilder<DB>, direction: Direction, beyond: &[(Column, &Value)]) {
    if beyond.is_empty() {
        return;
    }
    let columns: Vec<&str> = beyond.iter().map(|(column, _)| column.name()).collect();
    sql.push(" AND (").push(columns.join(", "));
    sql.push(match direction {
        Direction::Asc => ") > (",
        Direction::Desc => ") < (",
    });
    for (index, (_, value)) in beyond.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        DB::push_value(sql, value);
    }
    sql.push(")");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{IsPublic, Limits, parse};

    fn query(query: &str) -> ImageQuery {
        parse(query, Limits { default: 25, max: 1000 }).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// The predicate and order of a page, on SQLite and on PostgreSQL; its parts follow each other.
    fn compiled(text: &str, scope: Scope, after: Option<&Position>) -> [String; 2] {
        fn page<DB: Dialect>(query: &ImageQuery, view: &View, after: Option<&Position>) -> String {
            let mut sql = QueryBuilder::<DB>::default();
            push_page(&mut sql, query, view, after, Projection::Detail);
            let sql = sql.sql().as_str().replace("SELECT document AS document FROM images WHERE ", "");
            let body = sql.strip_prefix("SELECT string_agg(document, '\n') FROM (");
            let body = body.and_then(|body| body.strip_suffix(") AS page")).expect("every page has this frame");
            body.to_owned()
        }
        let view = View { listed: scope, markers: Markers::Any };
        let query = query(text);
        [page::<Sqlite>(&query, &view, after), page::<Postgres>(&query, &view, after)]
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
    const NEWEST: &str = "ORDER BY created_at DESC, id DESC LIMIT";

    #[test]
    fn filters_become_conditions_in_a_fixed_order() {
        for (text, expected) in [
            ("", format!("{LIVE} {NEWEST} $1")),
            ("limit=3", format!("{LIVE} {NEWEST} $1")),
            ("name=a", format!("{LIVE} AND name = $1 {NEWEST} $2")),
            ("name=in:a,b", format!("{LIVE} AND name IN ($1, $2) {NEWEST} $3")),
            ("name=in:", format!("{LIVE} AND name IN (NULL) {NEWEST} $1")),
            (
                "status=active&disk_format=raw&container_format=bare",
                format!("{LIVE} AND container_format = $1 AND disk_format = $2 AND status = $3 {NEWEST} $4"),
            ),
            ("size_max=2&size_min=1", format!("{LIVE} AND size >= $1 AND size <= $2 {NEWEST} $3")),
            ("size_min=99999999999999999999", format!("{LIVE} AND FALSE {NEWEST} $1")),
            ("min_ram=1&min_disk=2", format!("{LIVE} AND min_ram = $1 AND min_disk = $2 {NEWEST} $3")),
            ("protected=1", format!("{LIVE} AND protected = $1 {NEWEST} $2")),
            ("changes-since=2016", format!("TRUE AND updated_at >= $1 {NEWEST} $2")),
            (
                "status=in:killed,active",
                format!(
                    "TRUE AND (NOT deleted AND status <> 'killed' OR status IN ($1)) AND status IN ($2, $3) {NEWEST} $4"
                ),
            ),
        ] {
            assert_sql(compiled(text, Scope::All, None), &expected);
        }
    }

    #[test]
    fn properties_are_looked_up_by_name_and_value() {
        let [sqlite, postgres] = compiled("property-b=2&property-a=1", Scope::All, None);
        let count = |properties: &str| format!("{LIVE} AND (SELECT count(*) FROM {properties} WHERE (key, value) IN ");
        let expected =
            count("json_each(properties)") + "(VALUES (?, ?), (?, ?))) = ? ORDER BY created_at DESC, id DESC LIMIT ?";
        assert_eq!(sqlite, expected);
        let expected = count("json_each_text(properties) AS property") + "(VALUES ($1, $2), ($3, $4))) = $5";
        assert_eq!(postgres, format!("{expected} {NEWEST} $6"));
    }

    #[test]
    fn a_scope_comes_first() {
        for (scope, expected) in [
            (Scope::Public, "is_public"),
            (Scope::NotPublic, "NOT is_public"),
            (
                Scope::Project("p".to_owned()),
                "(is_public OR owner = $1 OR id IN (SELECT image_id FROM image_members WHERE member = $2))",
            ),
        ] {
            let bind = if expected.contains("$2") { "$3" } else { "$1" };
            let live = "AND NOT deleted AND status <> 'killed'";
            assert_sql(compiled("", scope, None), &format!("{expected} {live} {NEWEST} {bind}"));
        }
    }

    #[test]
    fn a_page_goes_on_after_its_marker_over_ties_and_nulls() {
        let name = |text: &str| Some(Value::Text(text.to_owned()));
        let after = |key: Option<Value>| Position {
            key,
            created_at: Value::Time(Timestamp::parse("2016").expect("a time")),
            id: Value::Id(Uuid::nil()),
        };
        let ascending = "ORDER BY name ASC NULLS FIRST, created_at ASC, id ASC LIMIT";
        let descending = "ORDER BY name DESC NULLS LAST, created_at DESC, id DESC LIMIT";
        for (text, key, expected) in [
            ("", Some(Value::Whole(0)), format!("(created_at, id) < ($1, $2) {NEWEST} $3")),
            (
                "sort_key=id&sort_dir=asc",
                Some(Value::Id(Uuid::nil())),
                "(id) > ($1) ORDER BY id ASC LIMIT $2".to_owned(),
            ),
            ("sort_key=name&sort_dir=asc", name("a"), format!("(name, created_at, id) > ($1, $2, $3) {ascending} $4")),
            (
                "sort_key=name",
                name("a"),
                format!(
                    "SELECT document FROM ({LIVE} AND (name, created_at, id) < ($1, $2, $3) {descending} $4) AS part \
                     UNION ALL SELECT document FROM ({LIVE} AND name IS NULL {descending} $5) AS part LIMIT $6"
                ),
            ),
            (
                "sort_key=name&sort_dir=asc",
                None,
                format!(
                    "SELECT document FROM ({LIVE} AND name IS NULL AND (created_at, id) > ($1, $2) {ascending} $3) AS part \
                     UNION ALL SELECT document FROM ({LIVE} AND name IS NOT NULL {ascending} $4) AS part LIMIT $5"
                ),
            ),
            ("sort_key=name", None, format!("name IS NULL AND (created_at, id) < ($1, $2) {descending} $3")),
            (
                "sort_key=status",
                name("active"),
                "(status, created_at, id) < ($1, $2, $3) ORDER BY status DESC, created_at DESC, id DESC LIMIT $4"
                    .to_owned(),
            ),
        ] {
            let expected = if expected.starts_with("SELECT") { expected } else { format!("{LIVE} AND {expected}") };
            assert_sql(compiled(text, Scope::All, Some(&after(key))), &expected);
        }
    }

    #[test]
    fn a_marker_is_looked_up_in_what_the_caller_may_see() {
        let sql = |text: &str, view: &View| {
            let mut sql = QueryBuilder::<Postgres>::default();
            push_marker(&mut sql, &query(text), view, Uuid::nil());
            sql.sql().as_str().to_owned()
        };
        let public = View { listed: Scope::Public, markers: Markers::Listed };
        let any = View { listed: Scope::Public, markers: Markers::Any };
        let select = "SELECT created_at, size AS key FROM images WHERE id = $1";
        assert_eq!(sql("sort_key=size", &any), select);
        for (text, expected) in [
            ("", " AND is_public AND NOT deleted"),
            ("status=active", " AND is_public AND NOT deleted"),
            ("status=deleted", " AND is_public AND (NOT deleted OR status IN ($2))"),
            ("changes-since=2016", " AND is_public"),
        ] {
            assert_eq!(sql(&format!("sort_key=size&{text}"), &public), format!("{select}{expected}"));
        }
    }

    #[test]
    fn what_is_public_is_not_the_compilers_business() {
        assert_eq!(query("is_public=none").is_public, IsPublic::None);
        assert_eq!(compiled("is_public=none", Scope::All, None), compiled("", Scope::All, None));
    }
}
