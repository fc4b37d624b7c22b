//! The ways that lead to all matches of a query, and how long each is.

use std::fmt::{self, Display};

use uuid::Uuid;

use super::condition::{push_filter, push_has_property, push_property_at, push_scope, push_test};
use super::dialect::Dialect;
use super::{Compiled, Sql, push_limit};
use crate::query::{Column, ImageQuery, Liveness, Scope, Value};

/// A way to all rows that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// The equalities of name, formats and status, all together; or that an image is not deleted.
    Equalities,
    /// The range of sizes.
    Size,
    /// `changes-since`.
    UpdatedAt,
    /// One of the properties asked for, by its place among them.
    Property(usize),
    /// What the caller may see, row by row.
    Visible,
}

impl Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equalities => "the equalities",
            Self::Size => "the sizes",
            Self::UpdatedAt => "changes-since",
            Self::Property(_) => "a property",
            Self::Visible => "what the caller sees",
        })
    }
}

/// The columns whose equalities the indexes `images_by_equalities` and `images_by_name_and_equalities`
/// hold, in their order.
pub(super) const EQUALITIES: [Column; 4] = [Column::Name, Column::DiskFormat, Column::ContainerFormat, Column::Status];

impl Path {
    /// The columns whose filters the path takes in.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Equalities => &EQUALITIES,
            Self::Size => &[Column::Size],
            Self::UpdatedAt => &[Column::UpdatedAt],
            Self::Property(_) | Self::Visible => &[],
        }
    }

    /// Whether its index holds every documented column that the query asks for.
    pub fn is_covered(self, query: &ImageQuery) -> bool {
        match self {
            Self::Equalities => {
                query.sort_key != Column::Name || query.filters.iter().any(|filter| filter.column == Column::Name)
            }
            Self::Size | Self::UpdatedAt => true,
            Self::Property(_) | Self::Visible => false,
        }
    }

    /// The paths that lead to all matches of a query.
    pub fn of(query: &ImageQuery, scope: &Scope) -> Vec<Self> {
        let filtered = [Self::Equalities, Self::Size, Self::UpdatedAt].into_iter();
        let mut paths: Vec<Self> = filtered
            .filter(|path| query.filters.iter().any(|filter| path.columns().contains(&filter.column)))
            .collect();
        // To count more of them costs more than it saves.
        paths.extend((0..query.properties.len().min(8)).map(Self::Property));
        if paths.is_empty() && query.liveness() == Liveness::Live {
            // Deleted images may be most of a catalog.
            paths.push(Self::Equalities);
        }
        if matches!(scope, Scope::Public | Scope::Project(_)) {
            paths.push(Self::Visible);
        }
        paths
    }
}

/// The conditions by which an index leads to the rows of a path, and no others.
pub(super) fn push_path<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, scope: &Scope, path: Path) {
    match (path, scope) {
        (Path::Equalities, _) => push_equalities(sql, query),
        (Path::Size | Path::UpdatedAt, _) => {
            sql.push("TRUE");
            for filter in query.filters.iter().filter(|filter| path.columns().contains(&filter.column)) {
                sql.push(" AND ");
                push_filter(sql, filter, "");
            }
        }
        (Path::Property(place), _) => {
            let [open, close] = DB::ANY;
            sql.push("id").push(open).push("SELECT image_id FROM image_properties WHERE TRUE");
            push_property_at(sql, query, place);
            sql.push(close);
        }
        (Path::Visible, Scope::Project(project)) => {
            let project = Value::Text(project.clone());
            sql.push("id IN (SELECT id FROM images WHERE is_public UNION SELECT id FROM images WHERE owner = ");
            sql.bind(&project);
            sql.push(" UNION SELECT image_id FROM image_members WHERE member = ");
            sql.bind(&project);
            sql.push(")");
        }
        (Path::Visible, scope) => push_scope(sql, scope),
    }
}

/// The filters of [`EQUALITIES`] as a prefix of an index: a column without a filter in front of
/// one that has one may be any of its values, which are found by leaps through its own index.
pub(super) fn push_equalities<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
    let filters = |column: Column| query.filters.iter().filter(move |filter| filter.column == column);
    for filter in filters(Column::Name) {
        push_filter(sql, filter, "");
        sql.push(" AND ");
    }
    sql.push(if query.liveness() == Liveness::Live { "deleted = FALSE" } else { DB::DELETED_OR_NOT });
    let last = EQUALITIES.iter().rposition(|column| filters(*column).next().is_some()).unwrap_or_default();
    for &column in &EQUALITIES[1..=last] {
        let name = column.name();
        let mut filters = filters(column).peekable();
        if filters.peek().is_none() {
            let [open, close] = DB::ANY;
            sql.push(format_args!(
                " AND coalesce({name}, ''){open}WITH RECURSIVE leap(value) AS (SELECT min({name}) FROM images \
                 UNION ALL SELECT (SELECT min({name}) FROM images WHERE {name} > value) FROM leap \
                 WHERE value IS NOT NULL) SELECT coalesce(value, '') FROM leap{close}"
            ));
        }
        for filter in filters {
            sql.push(" AND ");
            if column.is_nullable() {
                sql.push("coalesce(").push(name).push(", '')");
            } else {
                sql.push(name);
            }
            push_test(sql, &filter.test);
            if column.is_nullable() && filter.test.takes_empty_text() {
                // Which null is in the index, but never for a filter.
                sql.push(format_args!(" AND {}{name} IS NOT NULL", DB::HIDE));
            }
        }
    }
}

/// About how many rows `images` has.
pub fn push_images<DB: Dialect>(sql: &mut Sql<DB>) {
    sql.push(DB::IMAGES);
}

/// How many rows a path leads to; `bound` or more mean that there may be more of them.
pub fn push_count<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, path: Path, bound: i64) {
    let limit = |sql: &mut Sql<DB>| {
        push_limit(sql, bound);
        sql.push(") AS met)");
    };
    sql.push("SELECT (SELECT count(*) FROM (SELECT 1 FROM ");
    if let Path::Property(place) = path {
        sql.push("image_properties WHERE TRUE");
        push_property_at(sql, page.query, place);
        return limit(sql);
    }
    sql.push("images WHERE ");
    if let (Path::Visible, Scope::Project(project)) = (path, &page.view.listed) {
        let project = Value::Text(project.clone());
        sql.push("is_public");
        limit(sql);
        sql.push(" + (SELECT count(*) FROM (SELECT 1 FROM images WHERE owner = ");
        sql.bind(&project);
        limit(sql);
        sql.push(" + (SELECT count(*) FROM (SELECT 1 FROM image_members WHERE member = ");
        sql.bind(&project);
    } else {
        push_path(sql, page.query, &page.view.listed, path);
    }
    limit(sql);
}

/// Of a sample of `size` images: how many there are, and how many of them lie on each path. Ids are
/// random, so that those that follow each other are a sample of all.
pub fn push_sample<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, paths: &[Path], size: i64) {
    sql.push("SELECT count(*)");
    for path in paths {
        sql.push(", count(CASE WHEN ");
        match (path, &page.view.listed) {
            (Path::Visible, Scope::Project(project)) => {
                // Few images are visible by membership alone.
                sql.push("is_public OR owner = ");
                sql.bind(&Value::Text(project.clone()));
            }
            (Path::Visible, scope) => push_scope(sql, scope),
            (Path::Equalities, _) if page.query.liveness() == Liveness::Live => {
                sql.push("NOT deleted");
            }
            _ => {
                sql.push("TRUE");
            }
        }
        for filter in page.query.filters.iter().filter(|filter| path.columns().contains(&filter.column)) {
            sql.push(" AND ");
            push_filter(sql, filter, DB::HIDE);
        }
        if let &Path::Property(place) = path {
            push_has_property(sql, page.query, place, "images.");
        }
        sql.push(" THEN 1 END)");
    }
    sql.push(" FROM (SELECT id, deleted, is_public, owner, size, updated_at, ");
    sql.push(EQUALITIES.map(Column::name).join(", ")).push(" FROM images WHERE id >= ");
    sql.bind(&Value::Id(Uuid::from_u128(1 << 127)));
    sql.push(" ORDER BY id");
    push_limit(sql, size);
    sql.push(") AS images");
}
