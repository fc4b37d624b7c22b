//! What a query asks of each image, and what a caller may see.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Sql;
use super::dialect::Dialect;
use crate::query::{Column, Filter, ImageQuery, Liveness, Markers, Scope, Test, Value, View};

/// Put before a column of a walk's candidate.
pub(super) const CANDIDATE: &str = "candidate_";

/// The columns that the index of every path holds, so that no row need be looked up for a filter on
/// them.
pub(super) const HELD: [Column; 6] =
    [Column::Name, Column::DiskFormat, Column::ContainerFormat, Column::Status, Column::Size, Column::UpdatedAt];

/// Which of a query's own conditions are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Conditions<'a> {
    All,
    /// Those on columns of [`HELD`], but for those that are seen to already.
    Covered(&'a [Column]),
    NotCovered,
}

impl Conditions<'_> {
    pub(super) fn take(self, column: Column) -> bool {
        match self {
            Self::All => true,
            Self::Covered(done) => HELD.contains(&column) && !done.contains(&column),
            Self::NotCovered => !HELD.contains(&column),
        }
    }
}

/// The one place that compiles what a query asks for, in a fixed order: like queries give like
/// text, so that prepared statements are used again.
pub(super) fn push_predicate<DB: Dialect>(
    sql: &mut Sql<DB>,
    query: &ImageQuery,
    scope: &Scope,
    hide: &str,
    wanted: Conditions,
) {
    // Taken apart whole, so that a new field does not compile until it is thought of here.
    let ImageQuery { filters, liveness, properties, is_public: _, sort_key: _, sort_dir: _, limit: _, marker: _ } =
        query;
    push_scope(sql, scope);
    if wanted != Conditions::NotCovered {
        match liveness {
            Liveness::Any => {}
            Liveness::Live => {
                sql.push(format_args!(" AND NOT {hide}deleted AND {hide}status <> 'killed'"));
            }
            Liveness::LiveOr(statuses) => {
                sql.push(format_args!(" AND (NOT {hide}deleted AND {hide}status <> 'killed' OR {hide}status"));
                push_one_of(sql, statuses);
                sql.push(")");
            }
        }
    }
    for filter in filters.iter().filter(|filter| wanted.take(filter.column)) {
        sql.push(" AND ");
        push_filter(sql, filter, hide);
    }
    if wanted != Conditions::NotCovered {
        let table = if hide == CANDIDATE { CANDIDATE } else { "images." };
        for place in 0..properties.len() {
            push_has_property(sql, query, place, table);
        }
    }
    if !matches!(wanted, Conditions::Covered(_)) {
        push_long_properties(sql, properties);
    }
}

pub(super) fn push_scope<DB: Dialect>(sql: &mut Sql<DB>, scope: &Scope) {
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
            sql.bind(&project);
            // Looked up image by image: a project may be a member of very many.
            sql.push(" OR (SELECT TRUE FROM image_members WHERE image_id = images.id AND member = ");
            sql.bind(&project);
            sql.push("))");
        }
    }
}

/// The filters on these columns, each after AND.
pub(super) fn push_filters_on<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, columns: &[Column], hide: &str) {
    for filter in query.filters.iter().filter(|filter| columns.contains(&filter.column)) {
        sql.push(" AND ");
        push_filter(sql, filter, hide);
    }
}

pub(super) fn push_filter<DB: Dialect>(sql: &mut Sql<DB>, filter: &Filter, hide: &str) {
    if filter.test == Test::Never {
        sql.push("FALSE");
    } else {
        sql.push(hide).push(filter.column.name());
        push_test(sql, &filter.test);
    }
}

/// An operator and what it compares with.
pub(super) fn push_test<DB: Dialect>(sql: &mut Sql<DB>, test: &Test) {
    let (operator, value) = match test {
        Test::Never => {
            sql.push(" IS NULL AND FALSE");
            return;
        }
        Test::IsNull => {
            sql.push(" IS NULL");
            return;
        }
        Test::OneOf(items) => return push_one_of(sql, items),
        Test::Equal(value) => (" = ", value),
        Test::AtLeast(value) => (" >= ", value),
        Test::AtMost(value) => (" <= ", value),
    };
    sql.push(operator);
    sql.bind(value);
}

/// ` IN (...)`; an empty list, which SQL does not know, is a list of null and passes nothing.
fn push_one_of<DB: Dialect>(sql: &mut Sql<DB>, items: &[String]) {
    sql.push(" IN (");
    if items.is_empty() {
        sql.push("NULL");
    }
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        sql.bind(&Value::Text(item.clone()));
    }
    sql.push(")");
}

/// The image of an id. Killed ones may be named, though no list shows them.
pub(super) fn push_named<DB: Dialect>(sql: &mut Sql<DB>, id: Uuid, view: &View, liveness: &Liveness) {
    sql.push("id = ");
    sql.bind(&Value::Id(id));
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

/// The table of properties holds so many characters of a name and of a value. Where there are
/// fewer, they are all of it.
const PROPERTY_KEY: usize = 255;

fn property_key(text: &str) -> Value {
    Value::Text(text.chars().take(PROPERTY_KEY).collect())
}

/// The property of a place among those asked for: a row of `image_properties`.
pub(super) fn push_property_at<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, place: usize) {
    for (name, value) in query.properties.iter().skip(place).take(1) {
        sql.push(" AND name = ");
        sql.bind(&property_key(name));
        sql.push(" AND value = ");
        sql.bind(&property_key(value));
    }
}

/// Whether an image has that property. A value, not EXISTS or IN, which a planner may start from.
pub(super) fn push_has_property<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, place: usize, table: &str) {
    sql.push(" AND (SELECT TRUE FROM image_properties WHERE image_id = ").push(table).push("id");
    push_property_at(sql, query, place);
    sql.push(")");
}

/// The properties that are too long for their table, by one look at the object for all: names are
/// unique, so that the matches can be counted.
fn push_long_properties<DB: Dialect>(sql: &mut Sql<DB>, properties: &BTreeMap<String, String>) {
    let is_long = |text: &str| text.chars().nth(PROPERTY_KEY - 1).is_some();
    let mut count = 0;
    for (name, value) in properties.iter().filter(|(name, value)| is_long(name) || is_long(value)) {
        if count == 0 {
            sql.push(" AND (SELECT count(*) FROM ").push(DB::PROPERTIES).push(" WHERE (key, value) IN (VALUES (");
        } else {
            sql.push("), (");
        }
        sql.bind(&Value::Text(name.clone()));
        sql.push(", ");
        sql.bind(&Value::Text(value.clone()));
        count += 1;
    }
    if count > 0 {
        sql.push("))) = ");
        sql.bind(&Value::Whole(count));
    }
}
