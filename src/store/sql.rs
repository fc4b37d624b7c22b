//! From a typed query to SQL text and binds. Text is only ever put together from constants;
//! whatever a client sent is bound.

use sqlx::{Database, Postgres, QueryBuilder, Sqlite};

use crate::query::{Column, Direction, Filter, ImageQuery, Liveness, Markers, Scope, Test, Value, View};
use crate::timestamp::Timestamp;

/// What differs between the engines' SQL.
pub trait Dialect: Database {
    /// Binds a value in the form in which the engine stores it.
    fn push_value(sql: &mut QueryBuilder<Self>, value: &Value);

    /// The JSON object of the six fields of the brief list.
    const BRIEF_DOCUMENT: &str;

    /// A subquery of the names and values of an image's properties.
    const PROPERTIES: &str;
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

    const BRIEF_DOCUMENT: &str = "json_object('name', name, 'container_format', container_format, \
        'disk_format', disk_format, 'checksum', checksum, 'id', id, 'size', size)";

    const PROPERTIES: &str = "json_each(properties)";
}

impl Dialect for Postgres {
    fn push_value(sql: &mut QueryBuilder<Self>, value: &Value) {
        match value {
            Value::Text(text) => sql.push_bind(text.clone()),
            Value::Whole(number) => sql.push_bind(*number),
            Value::Flag(flag) => sql.push_bind(*flag),
            Value::Time(time) => sql.push_bind(chrono::NaiveDateTime::from(*time)),
            Value::Id(id) => sql.push_bind(*id),
        };
    }

    const BRIEF_DOCUMENT: &str = "(SELECT row_to_json(brief) FROM (SELECT name, container_format, \
        disk_format, checksum, id, size) AS brief)::text";

    const PROPERTIES: &str = "json_each_text(properties)";
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
    pub created_at: Timestamp,
    pub id: uuid::Uuid,
}

/// One row with one text: the documents of the page and of one image more, separated by line
/// feeds, which JSON text cannot hold; null where nothing matches.
///
/// The engine joins them because the cost of a page follows its cells and round trips.
pub fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    query: &ImageQuery,
    view: &View,
    after: Option<&Position>,
    projection: Projection,
) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ");
    sql.push(match projection {
        Projection::Detail => "document",
        Projection::Brief => DB::BRIEF_DOCUMENT,
    });
    sql.push(" AS document FROM images WHERE ");
    push_predicate(sql, query, &view.listed);
    if let Some(position) = after {
        push_after(sql, query, position);
    }
    push_order(sql, query);
    sql.push(" LIMIT ");
    DB::push_value(sql, &Value::Whole(i64::from(query.limit) + 1));
    sql.push(") AS page");
}

/// The sort key, creation and id of the query's marker, if the view lets the caller name it.
pub fn push_marker<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery, view: &View, marker: uuid::Uuid) {
    sql.push("SELECT created_at, ").push(query.sort_key.name()).push(" AS key FROM images WHERE id = ");
    DB::push_value(sql, &Value::Id(marker));
    match view.markers {
        Markers::Any => {}
        Markers::Listed => {
            sql.push(" AND ");
            push_scope(sql, &view.listed);
            match query.liveness() {
                Liveness::Any => {}
                Liveness::Live => {
                    sql.push(" AND NOT deleted");
                }
                Liveness::LiveOr(statuses) => {
                    sql.push(" AND (NOT deleted OR status");
                    push_one_of(sql, &statuses);
                    sql.push(")");
                }
            }
        }
    }
}

/// The one place that compiles what a query asks for, in a fixed order: like queries give like
/// text, so that prepared statements are used again.
fn push_predicate<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery, scope: &Scope) {
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
    for filter in &query.filters {
        sql.push(" AND ");
        push_filter(sql, filter);
    }
    for (name, value) in &query.properties {
        sql.push(" AND EXISTS (SELECT 1 FROM ").push(DB::PROPERTIES).push(" AS property WHERE key = ");
        DB::push_value(sql, &Value::Text(name.clone()));
        sql.push(" AND value = ");
        DB::push_value(sql, &Value::Text(value.clone()));
        sql.push(")");
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

/// The rows strictly after a position in the query's order.
fn push_after<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery, position: &Position) {
    let key = query.sort_key;
    match (&position.key, query.sort_dir) {
        (Some(_), Direction::Desc) if key.is_nullable() => {
            sql.push(" AND (");
            push_beyond(sql, query, &order(key), position);
            sql.push(" OR ").push(key.name()).push(" IS NULL)");
        }
        (Some(_), _) => {
            sql.push(" AND ");
            push_beyond(sql, query, &order(key), position);
        }
        (None, Direction::Asc) => {
            sql.push(" AND (").push(key.name()).push(" IS NOT NULL OR ");
            push_beyond(sql, query, &[Column::CreatedAt, Column::Id], position);
            sql.push(")");
        }
        (None, Direction::Desc) => {
            sql.push(" AND ").push(key.name()).push(" IS NULL AND ");
            push_beyond(sql, query, &[Column::CreatedAt, Column::Id], position);
        }
    }
}

/// A row comparison of `columns` with the position, in the query's direction.
fn push_beyond<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &ImageQuery, columns: &[Column], position: &Position) {
    sql.push("(").push(columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ")).push(")");
    sql.push(match query.sort_dir {
        Direction::Asc => " > (",
        Direction::Desc => " < (",
    });
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        match (column, &position.key) {
            (Column::Id, _) => DB::push_value(sql, &Value::Id(position.id)),
            (Column::CreatedAt, _) => DB::push_value(sql, &Value::Time(position.created_at)),
            (_, Some(key)) => DB::push_value(sql, key),
            (_, None) => unreachable!("a null key is not compared"),
        }
    }
    sql.push(")");
}
