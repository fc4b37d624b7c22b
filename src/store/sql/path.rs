//! The ways that lead to all matches of a query, and how long each is.

use std::fmt::{self, Display};
use std::slice;

use uuid::Uuid;

use super::condition::{
    Conditions, push_filter, push_filters_on, push_has_property, push_predicate, push_property_at, push_scope,
    push_test,
};
use super::dialect::Dialect;
use super::{Compiled, Sql, push_limit};
use crate::query::{Column, Filter, ImageQuery, Liveness, Scope, Test, Value};

/// A way to all rows that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// The equalities of name, formats and status, all together, among those that are public or not
    /// and, but for a query that shows them, not deleted.
    Equalities,
    /// The filters on a column that has an index of its own.
    Column(Column),
    /// One of the properties asked for, by its place among them.
    Property(usize),
    /// What both of these lead to, which may be few where neither is.
    EqualitiesAndProperty(usize),
    /// What a project may see: by the equalities what is public, and row by row its own images and
    /// those that are shared with it.
    Visible,
}

impl Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equalities => "the equalities",
            Self::Column(Column::Size) => "the sizes",
            Self::Column(Column::UpdatedAt) => "changes-since",
            Self::Column(column) => column.name(),
            Self::Property(_) => "a property",
            Self::EqualitiesAndProperty(_) => "the equalities and a property",
            Self::Visible => "what the caller sees",
        })
    }
}

/// The columns whose equalities the indexes `images_by_equalities` and `images_by_name_and_equalities`
/// hold, in their order.
pub(super) const EQUALITIES: [Column; 4] = [Column::Name, Column::DiskFormat, Column::ContainerFormat, Column::Status];

impl Path {
    /// The columns whose filters the path takes in.
    pub(super) fn columns(&self) -> &[Column] {
        match self {
            Self::Equalities | Self::EqualitiesAndProperty(_) => &EQUALITIES,
            Self::Column(column) => slice::from_ref(column),
            Self::Property(_) | Self::Visible => &[],
        }
    }

    /// The paths of which it has what both lead to; they come before it in [`Path::of`].
    pub fn joins(self) -> Option<[Self; 2]> {
        match self {
            Self::EqualitiesAndProperty(place) => Some([Self::Equalities, Self::Property(place)]),
            _ => None,
        }
    }

    /// Whether its index holds every documented column that the query asks for.
    pub fn is_covered(self, query: &ImageQuery) -> bool {
        match self {
            Self::Equalities if query.filters.iter().any(|filter| filter.column == Column::Name) => {
                // Which of the formats are null is not in SQLite's index of names; PostgreSQL's would tell.
                let is_format = |column| matches!(column, Column::DiskFormat | Column::ContainerFormat);
                let tells_null = |filter: &Filter| {
                    is_format(filter.column) && (filter.test.takes_empty_text() || filter.test == Test::IsNull)
                };
                !is_format(query.sort_key) && !query.filters.iter().any(tells_null)
            }
            Self::Equalities => query.sort_key != Column::Name,
            Self::Column(column) => matches!(column, Column::Size | Column::UpdatedAt),
            Self::Property(_) | Self::EqualitiesAndProperty(_) | Self::Visible => false,
        }
    }

    /// The paths that lead to all matches of a query; of two as long as each other the first is better.
    pub fn of(query: &ImageQuery, scope: &Scope) -> Vec<Self> {
        let mut columns: Vec<Column> =
            query.filters.iter().filter(|filter| leads(filter)).map(|filter| filter.column).collect();
        columns.dedup();
        let mut paths: Vec<Self> = columns.into_iter().map(Self::Column).collect();
        if matches!(scope, Scope::Public | Scope::NotPublic)
            || query.filters.iter().any(|filter| EQUALITIES.contains(&filter.column))
        {
            paths.push(Self::Equalities);
        }
        // To count more of them costs more than it saves.
        let properties = 0..query.properties.len().min(8);
        paths.extend(properties.clone().map(Self::Property));
        if paths.contains(&Self::Equalities) {
            paths.extend(properties.map(Self::EqualitiesAndProperty));
        }
        if paths.is_empty() && query.liveness == Liveness::Live {
            // Deleted images may be most of a catalog.
            paths.push(Self::Equalities);
        }
        if matches!(scope, Scope::Project(_)) {
            paths.push(Self::Visible);
        }
        paths
    }
}

/// Whether a column's own index leads to what a filter lets through.
fn leads(filter: &Filter) -> bool {
    match filter.column {
        Column::Size | Column::UpdatedAt => true,
        // What most images have is in no index.
        Column::MinRam | Column::MinDisk => filter.test != Test::Equal(Value::Whole(0)),
        Column::Protected => filter.test == Test::Equal(Value::Flag(true)),
        _ => false,
    }
}

/// Selects `columns` of the rows of a path, to which an index leads, and of no others.
pub(super) fn push_path<DB: Dialect>(
    sql: &mut Sql<DB>,
    query: &ImageQuery,
    scope: &Scope,
    path: Path,
    columns: impl Display,
) {
    sql.push("SELECT ").push(columns).push(" FROM ");
    match (path, scope) {
        (Path::Equalities, _) => push_equalities(sql, query, scope),
        (Path::Column(column), _) => {
            sql.push("images WHERE ");
            match column {
                Column::MinRam | Column::MinDisk => {
                    sql.push(column.name()).push(" <> 0");
                }
                Column::Protected => {
                    sql.push(column.name());
                }
                _ => push_liveness(sql, query),
            }
            push_filters_on(sql, query, path.columns(), "");
        }
        (Path::Property(place), _) => {
            let [open, close] = DB::ANY;
            sql.push("images WHERE id").push(open).push("SELECT image_id FROM image_properties WHERE TRUE");
            push_property_at(sql, query, place);
            sql.push(close);
        }
        (Path::EqualitiesAndProperty(place), scope) => {
            let ([open, close], [first, second, end]) = (DB::ANY, DB::BOTH);
            sql.push("images WHERE id").push(open).push(first).push("SELECT images.id FROM ");
            push_equalities(sql, query, scope);
            sql.push(second).push("SELECT image_id FROM image_properties WHERE TRUE");
            push_property_at(sql, query, place);
            sql.push(end).push(close);
        }
        (Path::Visible, Scope::Project(project)) => {
            let [open, close] = DB::ANY;
            sql.push("images WHERE id").push(open);
            for (index, reason) in Reason::ALL.into_iter().enumerate() {
                sql.push(if index == 0 { "" } else { " UNION " });
                push_seen(sql, query, project, reason);
            }
            sql.push(close);
        }
        (Path::Visible, scope) => {
            sql.push("images WHERE ");
            push_scope(sql, scope);
        }
    }
}

/// Why a project may see an image.
#[derive(Clone, Copy)]
enum Reason {
    Public,
    Own,
    Member,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Public, Self::Own, Self::Member];
}

/// The ids of the images that a project may see for one reason.
fn push_seen<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, project: &str, reason: Reason) {
    match reason {
        Reason::Public => return push_path(sql, query, &Scope::Public, Path::Equalities, "images.id"),
        Reason::Own => {
            sql.push("SELECT id FROM images WHERE NOT is_public AND ");
            push_liveness(sql, query);
            sql.push(" AND owner = ")
        }
        Reason::Member => sql.push(MEMBERSHIPS),
    };
    sql.bind(&Value::Text(project.to_owned()));
}

/// The ids of the images that this project is a member of.
pub(super) const MEMBERSHIPS: &str = "SELECT image_id FROM image_members WHERE member = ";

/// The values of `deleted` that a list may show, as an index that begins with it needs them.
fn push_liveness<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
    if query.liveness == Liveness::Live {
        sql.push("deleted = FALSE");
    } else {
        let [open, close] = DB::UNLIKELY;
        sql.push(open).push("deleted IN (FALSE, TRUE)").push(close);
    }
}

/// A column of the indexes of equalities that may have several values, in front of others or last.
#[derive(Clone, Copy)]
enum Gap<'a> {
    Flag(&'static str),
    /// One that has no filter.
    Column(Column),
    /// One that has a list of values.
    List(Column, &'a [String]),
}

impl<'a> Gap<'a> {
    /// The gaps of a query, in the order of the indexes.
    fn of(query: &'a ImageQuery, scope: &Scope) -> Vec<Self> {
        let asked = |column: &Column| query.filters.iter().find(|filter| filter.column == *column);
        let last = EQUALITIES.iter().rposition(|column| asked(column).is_some()).unwrap_or_default();
        let deleted = (query.liveness != Liveness::Live).then_some(Self::Flag("deleted"));
        let public = matches!(scope, Scope::All | Scope::Project(_)).then_some(Self::Flag("is_public"));
        let columns = EQUALITIES[1..=last].iter().filter_map(|column| match asked(column).map(|filter| &filter.test) {
            None => Some(Self::Column(*column)),
            Some(test) => list(test).map(|items| Self::List(*column, items)),
        });
        deleted.into_iter().chain(public).chain(columns).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Flag(name) => name,
            Self::Column(column) | Self::List(column, _) => column.name(),
        }
    }

    /// All values that the indexes hold of it, or that the query asks for.
    fn push_values<DB: Dialect>(self, sql: &mut Sql<DB>, query: &ImageQuery) {
        match self {
            Self::Flag(_) => {
                sql.push("SELECT FALSE AS value UNION ALL SELECT TRUE");
            }
            Self::Column(column) => {
                push_leaps(sql, query, column);
                sql.push("SELECT DISTINCT coalesce(value, '') AS value FROM leap");
            }
            Self::List(_, items) => {
                sql.push("SELECT DISTINCT column1 AS value FROM (VALUES ");
                for (index, item) in items.iter().enumerate() {
                    sql.push(if index == 0 { "(" } else { ", (" });
                    sql.bind(&Value::Text(item.clone()));
                    sql.push(")");
                }
                sql.push(") AS list");
            }
        }
    }

    /// How many values there are, at most; not counted beyond `few`.
    fn push_size<DB: Dialect>(self, sql: &mut Sql<DB>, query: &ImageQuery, few: i64) {
        match self {
            Self::Flag(_) => sql.push(2),
            Self::Column(column) => {
                sql.push("(SELECT count(*) FROM (");
                push_leaps(sql, query, column);
                sql.push("SELECT 1 FROM leap");
                push_limit(sql, few);
                sql.push(") AS met)")
            }
            Self::List(_, items) => sql.push(items.len()),
        };
    }
}

/// The values of a list that has some.
fn list(test: &Test) -> Option<&[String]> {
    match test {
        Test::OneOf(items) if !items.is_empty() => Some(items),
        _ => None,
    }
}

/// A table `leap` of the values of a column, found by leaps through an index of its own.
fn push_leaps<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, column: Column) {
    let name = column.name();
    let shares = if query.liveness == Liveness::Live { "" } else { " UNION ALL SELECT TRUE" };
    sql.push(format_args!(
        "WITH RECURSIVE leap(share, value) AS (\
         SELECT share, (SELECT min({name}) FROM images WHERE deleted = share) \
         FROM (SELECT FALSE AS share{shares}) AS shares UNION ALL \
         SELECT share, (SELECT min({name}) FROM images WHERE deleted = share AND {name} > value) \
         FROM leap WHERE value IS NOT NULL) "
    ));
}

/// The values of the sort key that images of the list may have, but for null, by leaps through its
/// index: each once or twice, and at most `most` of them.
pub fn push_keys<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, most: usize) {
    push_leaps(sql, query, query.sort_key);
    sql.push("SELECT value FROM leap WHERE value IS NOT NULL");
    push_limit(sql, most);
}

/// A column as the indexes of equalities hold it.
fn push_key<DB: Dialect>(sql: &mut Sql<DB>, column: Column) -> &mut Sql<DB> {
    let name = column.name();
    if column.is_nullable() { sql.push(format_args!("coalesce({name}, '')")) } else { sql.push(name) }
}

/// The images that the filters of [`EQUALITIES`] let through, found by a prefix of an index: once for
/// each value of the gaps, as planners take every name for a rare one and the most common value of
/// another column for any, and would rather read all entries than leap over a list of values.
fn push_equalities<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, scope: &Scope) {
    let gaps = Gap::of(query, scope);
    for gap in &gaps {
        sql.push("(");
        gap.push_values(sql, query);
        sql.push(format_args!(") AS any_{} CROSS JOIN ", gap.name()));
    }
    let [open, close] = if gaps.is_empty() { ["images WHERE ", ""] } else { DB::JOINED_IMAGES };
    sql.push(open).push("TRUE");
    for filter in query.filters.iter().filter(|filter| filter.column == Column::Name) {
        sql.push(" AND ");
        push_filter(sql, filter, "");
    }
    if query.liveness == Liveness::Live {
        sql.push(" AND deleted = FALSE");
    }
    match scope {
        Scope::Public => sql.push(" AND is_public = TRUE"),
        Scope::NotPublic => sql.push(" AND is_public = FALSE"),
        Scope::All | Scope::Project(_) => sql,
    };
    for gap in &gaps {
        sql.push(" AND ");
        match gap {
            Gap::Flag(name) => sql.push(name),
            Gap::Column(column) | Gap::List(column, _) => push_key(sql, *column),
        };
        sql.push(format_args!(" = any_{}.value", gap.name()));
    }
    for &column in &EQUALITIES[1..] {
        for filter in query.filters.iter().filter(|filter| filter.column == column) {
            // In the index null is an empty text.
            if filter.test == Test::IsNull {
                sql.push(" AND ");
                push_key(sql, column).push(format_args!(" = '' AND {}{} IS NULL", DB::HIDE, column.name()));
                continue;
            }
            if list(&filter.test).is_none() {
                sql.push(" AND ");
                push_key(sql, column);
                push_test(sql, &filter.test);
            }
            if column.is_nullable() && filter.test.takes_empty_text() {
                sql.push(format_args!(" AND {}{} IS NOT NULL", DB::HIDE, column.name()));
            }
        }
    }
    sql.push(close);
}

/// About how many rows `images` has.
pub fn push_images<DB: Dialect>(sql: &mut Sql<DB>) {
    sql.push(DB::IMAGES);
}

/// How many rows a path leads to; `bound` or more mean that there may be more of them. What is seen for
/// two reasons counts twice.
pub fn push_count<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, path: Path, bound: i64) {
    let Compiled { query, view } = page;
    sql.push("SELECT count(*) FROM (");
    match (path, &view.listed) {
        (Path::Visible, Scope::Project(project)) => {
            for (index, reason) in Reason::ALL.into_iter().enumerate() {
                sql.push(if index == 0 { "" } else { " UNION ALL " });
                push_seen(sql, query, project, reason);
            }
        }
        (Path::Property(place), _) => {
            sql.push("SELECT 1 FROM image_properties WHERE TRUE");
            push_property_at(sql, query, place);
        }
        (path, scope) => push_path(sql, query, scope, path, 1),
    }
    push_limit(sql, bound);
    sql.push(") AS met");
}

/// What a look at a catalog tells of a page. Ids are random, so that images whose ids follow each
/// other are a sample of all.
pub struct Sample {
    /// How often [`Path::Equalities`] enters its index.
    pub entries: i64,
    /// Of how many images the caller is a member.
    pub memberships: i64,
    /// How many images the sample has.
    pub images: i64,
    /// How many of them a list without filters may show, whoever sees them; of those that are not public
    /// only they.
    pub shown: i64,
    /// How many of them pass the filters, whoever sees them.
    pub matches: i64,
    /// How many of them lie on each path.
    pub on_paths: Vec<i64>,
}

impl Sample {
    /// From the columns of [`push_sample`]; none, where these are not all there.
    pub fn of(columns: &[i64]) -> Option<Self> {
        let &[entries, memberships, images, shown, matches, ref on_paths @ ..] = columns else { return None };
        Some(Self { entries, memberships, images, shown, matches, on_paths: on_paths.to_vec() })
    }
}

/// The columns of a [`Sample`] of `size` images. What is not of the sample is not counted beyond `few`.
pub fn push_sample<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, paths: &[Path], size: i64, few: i64) {
    let Compiled { query, view } = page;
    let live = if query.liveness == Liveness::Live { "NOT deleted" } else { "TRUE" };
    sql.push("SELECT CAST(1 AS bigint)");
    if paths.contains(&Path::Equalities) {
        for gap in Gap::of(query, &view.listed) {
            sql.push(" * ");
            gap.push_size(sql, query, few);
        }
    }
    if let Scope::Project(project) = &view.listed {
        sql.push(", (SELECT count(*) FROM (").push(MEMBERSHIPS);
        sql.bind(&Value::Text(project.clone()));
        push_limit(sql, few);
        sql.push(") AS met)");
    } else {
        sql.push(", NULL");
    }
    sql.push(", count(*), count(CASE WHEN ").push(live);
    sql.push(if query.liveness == Liveness::Live { " AND status <> 'killed'" } else { "" });
    let scope = if view.listed == Scope::NotPublic { &Scope::NotPublic } else { &Scope::All };
    sql.push(" AND ");
    push_scope(sql, scope);
    sql.push(" THEN 1 END), count(CASE WHEN ");
    push_predicate(sql, query, scope, DB::HIDE, Conditions::Covered(&[]));
    push_filters_on(sql, query, &[Column::MinRam, Column::MinDisk, Column::Protected], "");
    sql.push(" THEN 1 END)");
    for path in paths {
        sql.push(", count(CASE WHEN ").push(live);
        push_filters_on(sql, query, path.columns(), DB::HIDE);
        if let (Path::Equalities | Path::EqualitiesAndProperty(_), scope @ (Scope::Public | Scope::NotPublic)) =
            (path, &view.listed)
        {
            sql.push(" AND ");
            push_scope(sql, scope);
        }
        match (path, &view.listed) {
            (Path::Visible, Scope::Project(project)) => {
                // Few images are visible by membership alone.
                sql.push(" AND (owner = ");
                sql.bind(&Value::Text(project.clone()));
                sql.push(" OR is_public");
                push_filters_on(sql, query, &EQUALITIES, DB::HIDE);
                sql.push(")");
            }
            (&(Path::Property(place) | Path::EqualitiesAndProperty(place)), _) => {
                push_has_property(sql, query, place, "images.");
            }
            _ => {}
        }
        sql.push(" THEN 1 END)");
    }
    sql.push(" FROM (SELECT id, deleted, is_public, owner, protected, min_ram, min_disk, size, updated_at, ");
    sql.push(EQUALITIES.map(Column::name).join(", ")).push(" FROM images WHERE id >= ");
    sql.bind(&Value::Id(Uuid::from_u128(1 << 127)));
    sql.push(" ORDER BY id");
    push_limit(sql, size);
    sql.push(") AS images");
}
