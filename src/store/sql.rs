//! From a typed query to SQL text and binds. Text is only ever put together from constants;
//! whatever a client sent is bound.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::NaiveDateTime;
use sqlx::{Database, Postgres, QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use crate::query::{Column, ColumnKind, Direction, Filter, ImageQuery, Liveness, Markers, Scope, Test, Value, View};
use crate::timestamp::Timestamp;

/// What differs between the engines' SQL.
pub trait Dialect: Database {
    /// The rows that a statement gives.
    fn fetch(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;

    /// The joined documents of a row of [`push_page`].
    fn documents(row: &Self::Row) -> sqlx::Result<Option<&[u8]>>;

    /// Whether a row of [`push_page`] may lack images.
    fn is_cut(row: &Self::Row) -> sqlx::Result<bool>;

    /// The columns of a row of whole numbers; null is 0.
    fn numbers(row: &Self::Row) -> sqlx::Result<Vec<i64>>;

    /// Binds a value in the form in which the engine stores it.
    fn push_bind(sql: &mut QueryBuilder<Self>, value: &Value);

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

    /// Put before a column, keeps the planner from choosing an index for it.
    const HIDE: &str;

    /// Put at the end of a subquery, keeps the planner from looking into it.
    const FENCE: &str;

    /// Whether a CROSS JOIN gives rows in the order of its left side.
    const JOINS_IN_ORDER: bool;

    /// Opens and closes a subquery whose values a column may equal.
    const ANY: [&str; 2];

    /// About how many rows `images` has; a small price however many there are.
    const IMAGES: &str;

    /// Put before a statement, asks for its plan; on PostgreSQL runs it too.
    const EXPLAIN: &str;

    /// A row of a plan.
    fn step(row: &Self::Row) -> sqlx::Result<String>;

    /// What [`Dialect::work`] counts.
    const WORK: &str;

    /// Counts from now on what statements cost, where the engine's plan does not tell it.
    fn count_work(connection: &mut Self::Connection) -> impl Future<Output = sqlx::Result<Arc<AtomicI64>>> + Send;

    /// What a statement has cost, by its plan and by the counter.
    fn work(plan: &[String], counted: &AtomicI64) -> i64;
}

impl Dialect for Sqlite {
    async fn fetch(connection: &mut Self::Connection, mut sql: Sql<Self>) -> sqlx::Result<Vec<Self::Row>> {
        sql.builder.build().fetch_all(connection).await
    }

    fn documents(row: &Self::Row) -> sqlx::Result<Option<&[u8]>> {
        row.try_get_unchecked(0)
    }

    fn is_cut(row: &Self::Row) -> sqlx::Result<bool> {
        row.try_get_unchecked(1)
    }

    fn numbers(row: &Self::Row) -> sqlx::Result<Vec<i64>> {
        let number = |index| Ok(row.try_get::<Option<i64>, _>(index)?.unwrap_or_default());
        (0..row.len()).map(number).collect()
    }

    fn push_bind(sql: &mut QueryBuilder<Self>, value: &Value) {
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

    const HIDE: &str = "+";

    // A subquery without LIMIT becomes part of the query around it, where columns can be hidden.
    const FENCE: &str = "";

    const JOINS_IN_ORDER: bool = true;

    const ANY: [&str; 2] = [" IN (", ")"];

    const IMAGES: &str = "SELECT max(rowid) FROM images";

    const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";

    fn step(row: &Self::Row) -> sqlx::Result<String> {
        row.try_get(3)
    }

    const WORK: &str = "virtual-machine steps";

    async fn count_work(connection: &mut Self::Connection) -> sqlx::Result<Arc<AtomicI64>> {
        let counter = Arc::new(AtomicI64::new(0));
        let counting = Arc::clone(&counter);
        connection.lock_handle().await?.set_progress_handler(1, move || {
            counting.fetch_add(1, Ordering::Relaxed);
            true
        });
        Ok(counter)
    }

    fn work(_plan: &[String], counted: &AtomicI64) -> i64 {
        counted.load(Ordering::Relaxed)
    }
}

impl Dialect for Postgres {
    async fn fetch(connection: &mut Self::Connection, mut sql: Sql<Self>) -> sqlx::Result<Vec<Self::Row>> {
        sql.builder.build().fetch_all(connection).await
    }

    fn documents(row: &Self::Row) -> sqlx::Result<Option<&[u8]>> {
        row.try_get_unchecked(0)
    }

    fn is_cut(row: &Self::Row) -> sqlx::Result<bool> {
        row.try_get_unchecked(1)
    }

    fn numbers(row: &Self::Row) -> sqlx::Result<Vec<i64>> {
        let number = |index| Ok(row.try_get::<Option<i64>, _>(index)?.unwrap_or_default());
        (0..row.len()).map(number).collect()
    }

    fn push_bind(sql: &mut QueryBuilder<Self>, value: &Value) {
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

    const HIDE: &str = "";

    const FENCE: &str = " OFFSET 0";

    const JOINS_IN_ORDER: bool = false;

    const ANY: [&str; 2] = [" = ANY (ARRAY(", "))"];

    // What the last ANALYZE or VACUUM found; -1 before the first.
    const IMAGES: &str = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'images'::regclass";

    const EXPLAIN: &str = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) ";

    fn step(row: &Self::Row) -> sqlx::Result<String> {
        row.try_get(0)
    }

    const WORK: &str = "rows and index entries";

    async fn count_work(_connection: &mut Self::Connection) -> sqlx::Result<Arc<AtomicI64>> {
        Ok(Arc::default())
    }

    /// The rows that its scans gave, or looked at and removed.
    fn work(plan: &[String], _counted: &AtomicI64) -> i64 {
        let number = |line: &str, before: &str| -> i64 {
            let digits = line.split_once(before).map_or("", |(_, rest)| rest);
            let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().unwrap_or_default()
        };
        let mut rows = 0;
        let (mut is_scan, mut loops) = (false, 1);
        for line in plan {
            if line.contains(" loops=") {
                is_scan = line.contains(" on image");
                loops = number(line, " loops=");
                rows += if is_scan { number(line, "(actual rows=") * loops } else { 0 };
            } else if is_scan {
                rows += number(line, "Rows Removed by Filter: ") * loops;
            }
        }
        rows
    }
}

/// A statement in the making.
pub struct Sql<DB: Dialect> {
    builder: QueryBuilder<DB>,
    binds: Vec<Value>,
}

impl<DB: Dialect> Sql<DB> {
    /// A statement that begins with `text`.
    pub fn new(text: &'static str) -> Self {
        Self { builder: QueryBuilder::new(text), binds: Vec::new() }
    }

    fn push(&mut self, text: impl Display) -> &mut Self {
        self.builder.push(text);
        self
    }

    fn bind(&mut self, value: &Value) {
        DB::push_bind(&mut self.builder, value);
        self.binds.push(value.clone());
    }

    /// The text, with `?` or `$1` where the binds go.
    pub fn text(&self) -> String {
        self.builder.sql().as_str().to_owned()
    }

    pub fn binds(&self) -> &[Value] {
        &self.binds
    }
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

/// How the rows of a page are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// In the order of the page, passing over what does not match: at most this many rows. Cheap
    /// where matches are dense.
    Walk(u32),
    /// All rows that one path leads to, put in order afterwards. Cheap where these are few.
    Scan(Path),
}

impl Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Walk(bound) => write!(formatter, "walk in the order of the page, at most {bound} rows"),
            Self::Scan(Path::Order) => write!(formatter, "walk in the order of the page to its end"),
            Self::Scan(path) => write!(formatter, "all rows by {path}, put in order"),
        }
    }
}

impl Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equalities => "the equalities",
            Self::Size => "the sizes",
            Self::UpdatedAt => "changes-since",
            Self::Visible => "what the caller sees",
            Self::Order => "the order",
        })
    }
}

/// A way to rows by an index that also holds every documented column, so that
/// only rows that match are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// The equalities of name, formats and status, all together.
    Equalities,
    /// The range of sizes.
    Size,
    /// `changes-since`.
    UpdatedAt,
    /// What the caller may see, row by row.
    Visible,
    /// The order of the page; met in it.
    Order,
}

/// Larger than any table. SQLite may ignore the order of a subquery that has no limit.
const UNLIMITED: &str = " LIMIT 9223372036854775807";

/// One row: the documents of the page and of one image more as one text, separated by line feeds,
/// which JSON text cannot hold, null where nothing matches; and whether a walk was cut short, so
/// that images may be missing.
///
/// The engine joins the documents because the cost of a page follows its cells and round trips.
/// Both engines feed an aggregate in the order of its subquery, and a UNION ALL in that of its
/// parts.
pub fn push_page<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, plan: Plan, projection: Projection) {
    let parts = parts(page.query, page.after);
    sql.push("SELECT string_agg(document, '\n'), ");
    match plan {
        Plan::Walk(bound) => {
            // Looked at only where the walk has found too little.
            sql.push("CASE WHEN count(*) <= ");
            sql.bind(&Value::Whole(i64::from(page.query.limit)));
            sql.push(" THEN coalesce(");
            for part in &parts {
                push_cut(sql, page, part, bound);
                sql.push(", ");
            }
            sql.push("FALSE) ELSE FALSE END FROM (");
        }
        Plan::Scan(_) => {
            sql.push("FALSE FROM (");
        }
    }
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(" UNION ALL ");
        }
        if parts.len() > 1 {
            sql.push("SELECT document FROM (");
        }
        match plan {
            Plan::Walk(bound) => push_walk(sql, page, &parts[..index], part, bound, projection),
            Plan::Scan(path) => push_scan(sql, page, part, path, projection),
        }
        if parts.len() > 1 {
            sql.push(") AS part");
        }
    }
    if parts.len() > 1 {
        push_limit(sql, page.query);
    }
    sql.push(") AS page");
}

/// What a page is compiled from.
#[derive(Clone, Copy, Debug)]
pub struct Compiled<'a> {
    pub query: &'a ImageQuery,
    pub view: &'a View,
    /// Where the page begins.
    pub after: Option<&'a Position>,
}

/// The rows of a part that are met first, and of them those that match.
fn push_walk<DB: Dialect>(
    sql: &mut Sql<DB>,
    page: &Compiled,
    before: &[Part],
    part: &Part,
    bound: u32,
    projection: Projection,
) {
    sql.push("SELECT ").push(document::<DB>(projection)).push(" AS document FROM (SELECT * FROM images WHERE ");
    push_met(sql, page, part);
    push_order(sql, page.query, "");
    sql.push(" LIMIT ");
    sql.bind(&Value::Whole(bound.into()));
    sql.push(") AS images WHERE ");
    for part in before {
        push_cut(sql, page, part, bound);
        sql.push(" IS NULL AND ");
    }
    push_predicate(sql, page.query, &page.view.listed, "", Conditions::All);
    push_limit(sql, page.query);
}

/// True where a walk of the part leaves rows behind, else null.
fn push_cut<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part, bound: u32) {
    sql.push("(SELECT TRUE FROM images WHERE ");
    push_met(sql, page, part);
    push_order(sql, page.query, "");
    sql.push(" LIMIT 1 OFFSET ");
    sql.bind(&Value::Whole(bound.into()));
    sql.push(")");
}

/// The rows of a part that one index holds side by side in the order of the page.
fn push_met<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part) {
    let Compiled { query, view, .. } = page;
    sql.push("TRUE");
    if query.sort_key != Column::CreatedAt {
        for filter in query.filters.iter().filter(|filter| filter.column == query.sort_key) {
            sql.push(" AND ");
            push_filter(sql, filter, "");
        }
    } else if let Some(filter) = rarest_equality(query) {
        sql.push(" AND ");
        push_filter(sql, filter, "");
    } else if view.listed == Scope::Public {
        sql.push(" AND is_public");
    } else if query.liveness() == Liveness::Live {
        sql.push(" AND NOT deleted AND status <> 'killed'");
    }
    push_part(sql, query, part, "");
}

/// The equality that most likely leads to the fewest images: nearly all of them are active, so
/// that any other status is rare.
fn rarest_equality(query: &ImageQuery) -> Option<&Filter> {
    let active = Value::Text("active".to_owned());
    let rank = |filter: &&Filter| match (filter.column, &filter.test) {
        (Column::Name, Test::Equal(_)) => Some(0),
        (Column::Status, Test::Equal(status)) => Some(if *status == active { 4 } else { 1 }),
        (Column::DiskFormat, Test::Equal(_)) => Some(2),
        (Column::ContainerFormat, Test::Equal(_)) => Some(3),
        _ => None,
    };
    query.filters.iter().filter(|filter| rank(filter).is_some()).min_by_key(rank)
}

/// The rows of a part that a path leads to; what its index holds is looked at before the row is.
fn push_scan<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part, path: Path, projection: Projection) {
    let Compiled { query, view, .. } = page;
    sql.push("SELECT ").push(document::<DB>(projection));
    sql.push(" AS document FROM (SELECT id AS found");
    if !DB::JOINS_IN_ORDER {
        for column in order(query.sort_key) {
            sql.push(format_args!(", {0} AS found_{0}", column.name()));
        }
    }
    sql.push(" FROM (SELECT * FROM images WHERE ");
    if path == Path::Order {
        push_met(sql, page, part);
        push_order(sql, query, "");
        sql.push(DB::FENCE).push(") AS images WHERE ");
        push_predicate(sql, query, &Scope::All, DB::HIDE, Conditions::Covered);
    } else {
        push_path(sql, query, &view.listed, path);
        sql.push(DB::FENCE).push(") AS images WHERE ");
        push_predicate(sql, query, &Scope::All, DB::HIDE, Conditions::Covered);
        push_part(sql, query, part, DB::HIDE);
        push_order(sql, query, DB::HIDE);
    }
    sql.push(UNLIMITED).push(") AS candidate CROSS JOIN images WHERE images.id = found AND ");
    push_predicate(sql, query, &view.listed, DB::HIDE, Conditions::NotCovered);
    if !DB::JOINS_IN_ORDER {
        // The candidates have this order already, so that nothing is sorted for it.
        push_order(sql, query, "found_");
    }
    push_limit(sql, query);
}

/// About how many rows `images` has.
pub fn push_images<DB: Dialect>(sql: &mut Sql<DB>) {
    sql.push(DB::IMAGES);
}

/// How many rows a path leads to; `bound` or more mean that there may be more of them.
pub fn push_count<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, path: Path, bound: i64) {
    let limit = |sql: &mut Sql<DB>| {
        sql.push(" LIMIT ");
        sql.bind(&Value::Whole(bound));
        sql.push(") AS met)");
    };
    sql.push("SELECT (SELECT count(*) FROM (SELECT 1 FROM images WHERE ");
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

/// Of the first `bound` rows of a path: how many there are, how many match the filters, and how
/// many lie on each of the other paths.
pub fn push_sample<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, path: Path, others: &[Path], bound: i64) {
    sql.push("SELECT count(*), count(CASE WHEN ");
    push_predicate(sql, page.query, &Scope::All, DB::HIDE, Conditions::Covered);
    sql.push(" THEN 1 END)");
    for other in others {
        sql.push(", count(CASE WHEN TRUE");
        for filter in page.query.filters.iter().filter(|filter| other.columns().contains(&filter.column)) {
            sql.push(" AND ");
            push_filter(sql, filter, DB::HIDE);
        }
        sql.push(" THEN 1 END)");
    }
    sql.push(" FROM (SELECT * FROM images WHERE ");
    push_path(sql, page.query, &page.view.listed, path);
    sql.push(" LIMIT ");
    sql.bind(&Value::Whole(bound));
    sql.push(") AS images");
}

/// The columns whose equalities the indexes `images_by_equalities` and `images_by_name_and_equalities`
/// hold, in their order.
const EQUALITIES: [Column; 4] = [Column::Name, Column::DiskFormat, Column::ContainerFormat, Column::Status];

impl Path {
    /// The columns whose filters the path takes in.
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Equalities => &EQUALITIES,
            Self::Size => &[Column::Size],
            Self::UpdatedAt => &[Column::UpdatedAt],
            Self::Visible | Self::Order => &[],
        }
    }

    /// The paths that lead to all matches of a query, but for that of the order.
    pub fn of(query: &ImageQuery, scope: &Scope) -> Vec<Self> {
        let filtered = [Self::Equalities, Self::Size, Self::UpdatedAt].into_iter();
        let mut paths: Vec<Self> = filtered
            .filter(|path| query.filters.iter().any(|filter| path.columns().contains(&filter.column)))
            .collect();
        if matches!(scope, Scope::Public | Scope::Project(_)) {
            paths.push(Self::Visible);
        }
        paths
    }
}

/// The conditions by which an index leads to the rows of a path, and no others.
fn push_path<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, scope: &Scope, path: Path) {
    match (path, scope) {
        (Path::Equalities, _) => push_equalities(sql, query),
        (Path::Size | Path::UpdatedAt, _) => {
            sql.push("TRUE");
            for filter in query.filters.iter().filter(|filter| path.columns().contains(&filter.column)) {
                sql.push(" AND ");
                push_filter(sql, filter, "");
            }
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
        (Path::Order, _) => {
            sql.push("TRUE");
        }
    }
}

/// The filters of [`EQUALITIES`] as a prefix of an index: a column without a filter in front of
/// one that has one may be any of its values, which are found by leaps through its own index.
fn push_equalities<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
    let filters = |column: Column| query.filters.iter().filter(move |filter| filter.column == column);
    for filter in filters(Column::Name) {
        push_filter(sql, filter, "");
        sql.push(" AND ");
    }
    sql.push(if query.liveness() == Liveness::Live { "deleted = FALSE" } else { "deleted IN (FALSE, TRUE)" });
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
        }
    }
}

/// Which of a query's own conditions are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conditions {
    All,
    /// Those on columns that the index of every path holds: no row need be looked up for them.
    Covered,
    NotCovered,
}

impl Conditions {
    fn take(self, column: Column) -> bool {
        let is_covered = EQUALITIES.contains(&column) || matches!(column, Column::Size | Column::UpdatedAt);
        match self {
            Self::All => true,
            Self::Covered => is_covered,
            Self::NotCovered => !is_covered,
        }
    }
}

fn document<DB: Dialect>(projection: Projection) -> &'static str {
    match projection {
        Projection::Detail => "document",
        Projection::Brief => DB::BRIEF_DOCUMENT,
    }
}

/// One image more than the page has, which tells whether there is another page.
fn push_limit<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
    sql.push(" LIMIT ");
    sql.bind(&Value::Whole(i64::from(query.limit) + 1));
}

/// The sort key and creation of the query's marker, if the view lets the caller name it.
pub fn push_marker<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, view: &View, marker: Uuid) {
    sql.push("SELECT created_at, ").push(query.sort_key.name()).push(" AS key FROM images WHERE ");
    push_named(sql, marker, view, &query.liveness());
}

/// The document of one image, if the view lets the caller name it.
pub fn push_image<DB: Dialect>(sql: &mut Sql<DB>, id: Uuid, view: &View) {
    sql.push("SELECT document FROM images WHERE ");
    push_named(sql, id, view, &Liveness::Live);
}

/// The image of an id. Killed ones may be named, though no list shows them.
fn push_named<DB: Dialect>(sql: &mut Sql<DB>, id: Uuid, view: &View, liveness: &Liveness) {
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

/// The members of an image, as JSON lines: all of them for its owner and for who may name any
/// image, else the caller's own membership.
pub fn push_members<DB: Dialect>(sql: &mut Sql<DB>, id: Uuid, view: &View) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ").push(DB::MEMBER_DOCUMENT);
    sql.push(" AS document FROM image_members JOIN images ON id = image_id WHERE id = ");
    sql.bind(&Value::Id(id));
    push_membership(sql, view);
    sql.push(" ORDER BY member) AS members");
}

/// The images shared with a project, as JSON lines, by the same rule.
pub fn push_shared<DB: Dialect>(sql: &mut Sql<DB>, project: &str, view: &View) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ").push(DB::SHARED_DOCUMENT);
    sql.push(" AS document FROM image_members JOIN images ON id = image_id WHERE NOT deleted AND member = ");
    sql.bind(&Value::Text(project.to_owned()));
    push_membership(sql, view);
    sql.push(" ORDER BY image_id) AS shared");
}

/// The memberships that a caller may know of.
fn push_membership<DB: Dialect>(sql: &mut Sql<DB>, view: &View) {
    match (&view.listed, view.markers) {
        (_, Markers::Any) => {}
        (Scope::Project(project), Markers::Listed) => {
            let project = Value::Text(project.clone());
            sql.push(" AND (owner = ");
            sql.bind(&project);
            sql.push(" OR member = ");
            sql.bind(&project);
            sql.push(")");
        }
        (_, Markers::Listed) => {
            sql.push(" AND FALSE");
        }
    }
}

/// The one place that compiles what a query asks for, in a fixed order: like queries give like
/// text, so that prepared statements are used again.
fn push_predicate<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, scope: &Scope, hide: &str, wanted: Conditions) {
    // Taken apart whole, so that a new field does not compile until it is thought of here.
    let ImageQuery { filters, properties, is_public: _, sort_key: _, sort_dir: _, limit: _, marker: _ } = query;
    push_scope(sql, scope);
    if wanted != Conditions::NotCovered {
        match query.liveness() {
            Liveness::Any => {}
            Liveness::Live => {
                sql.push(format_args!(" AND NOT {hide}deleted AND {hide}status <> 'killed'"));
            }
            Liveness::LiveOr(statuses) => {
                sql.push(format_args!(" AND (NOT {hide}deleted AND {hide}status <> 'killed' OR {hide}status"));
                push_one_of(sql, &statuses);
                sql.push(")");
            }
        }
    }
    for filter in filters.iter().filter(|filter| wanted.take(filter.column)) {
        sql.push(" AND ");
        push_filter(sql, filter, hide);
    }
    if wanted == Conditions::Covered {
        return;
    }
    // One look at the object for all: names are unique, so that the matches can be counted.
    for (index, (name, value)) in properties.iter().enumerate() {
        if index == 0 {
            sql.push(" AND (SELECT count(*) FROM ").push(DB::PROPERTIES).push(" WHERE (key, value) IN (VALUES (");
        } else {
            sql.push("), (");
        }
        sql.bind(&Value::Text(name.clone()));
        sql.push(", ");
        sql.bind(&Value::Text(value.clone()));
    }
    if let Some(count) = i64::try_from(properties.len()).ok().filter(|count| *count > 0) {
        sql.push("))) = ");
        sql.bind(&Value::Whole(count));
    }
}

fn push_scope<DB: Dialect>(sql: &mut Sql<DB>, scope: &Scope) {
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

fn push_filter<DB: Dialect>(sql: &mut Sql<DB>, filter: &Filter, hide: &str) {
    if filter.test == Test::Never {
        sql.push("FALSE");
    } else {
        sql.push(hide).push(filter.column.name());
        push_test(sql, &filter.test);
    }
}

/// An operator and what it compares with.
fn push_test<DB: Dialect>(sql: &mut Sql<DB>, test: &Test) {
    let (operator, value) = match test {
        Test::Never => {
            sql.push(" IS NULL AND FALSE");
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

/// Nulls are the smallest values, on both engines.
fn push_order<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, hide: &str) {
    let (direction, nulls) = match query.sort_dir {
        Direction::Asc => (" ASC", " NULLS FIRST"),
        Direction::Desc => (" DESC", " NULLS LAST"),
    };
    sql.push(" ORDER BY ");
    for (index, column) in order(query.sort_key).iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        sql.push(hide).push(column.name()).push(direction);
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

/// The conditions of a part: a row comparison, which an index on these columns answers.
fn push_part<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, part: &Part, hide: &str) {
    let key = query.sort_key.name();
    match part.key {
        Key::Any => {}
        Key::Null => {
            sql.push(format_args!(" AND {hide}{key} IS NULL"));
        }
        Key::NotNull => {
            sql.push(format_args!(" AND {hide}{key} IS NOT NULL"));
        }
    }
    if part.beyond.is_empty() {
        return;
    }
    let columns: Vec<String> = part.beyond.iter().map(|(column, _)| format!("{hide}{}", column.name())).collect();
    sql.push(" AND (").push(columns.join(", "));
    sql.push(match query.sort_dir {
        Direction::Asc => ") > (",
        Direction::Desc => ") < (",
    });
    for (index, (_, value)) in part.beyond.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        sql.bind(value);
    }
    sql.push(")");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Limits, parse};

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
    fn properties_are_looked_up_by_name_and_value() {
        let query = query("property-b=2&property-a=1");
        let [sqlite, postgres] = on_both!(|sql| push_predicate(sql, &query, &Scope::All, "", Conditions::All));
        let count = |properties: &str| format!("{LIVE} AND (SELECT count(*) FROM {properties} WHERE (key, value) IN ");
        assert_eq!(sqlite, count("json_each(properties)") + "(VALUES (?, ?), (?, ?))) = ?");
        let expected = count("json_each_text(properties) AS property") + "(VALUES ($1, $2), ($3, $4))) = $5";
        assert_eq!(postgres, expected);
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

    fn page<DB: Dialect>(text: &str, scope: Scope, after: Option<&Position>, plan: Plan) -> String {
        let view = View { listed: scope, markers: Markers::Any };
        let query = query(text);
        let mut sql = Sql::<DB>::new("");
        push_page(&mut sql, &Compiled { query: &query, view: &view, after }, plan, Projection::Detail);
        sql.text()
    }

    #[test]
    fn a_walk_goes_along_one_index_and_tells_where_it_left_off() {
        for (text, scope, met) in [
            ("", Scope::All, "NOT deleted AND status <> 'killed'"),
            ("", Scope::Public, "is_public"),
            ("disk_format=raw&status=active", Scope::All, "disk_format = $1"),
            ("disk_format=raw&status=queued", Scope::All, "status = $1"),
            ("name=a&status=queued", Scope::All, "name = $1"),
        ] {
            let sql = page::<Postgres>(text, scope, None, Plan::Walk(1000));
            let met = met.replace("$1", "$2");
            let cut = format!(
                "THEN coalesce((SELECT TRUE FROM images WHERE TRUE AND {met} ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET "
            );
            assert!(sql.contains(&cut), "{sql}");
        }
        let sql = page::<Sqlite>("sort_key=size&size_min=7&status=active", Scope::All, None, Plan::Walk(1000));
        let met = "(SELECT * FROM images WHERE TRUE AND size >= ? ORDER BY size DESC NULLS LAST, created_at DESC, id DESC LIMIT ?) AS images";
        assert!(sql.contains(met), "{sql}");
    }

    #[test]
    fn a_scan_leads_through_its_own_index_only() {
        let sqlite = page::<Sqlite>("size_min=7&status=active", Scope::Public, None, Plan::Scan(Path::Size));
        assert_eq!(
            sqlite,
            "SELECT string_agg(document, '\n'), FALSE FROM (SELECT document AS document FROM (SELECT id AS found FROM \
             (SELECT * FROM images WHERE TRUE AND size >= ?) AS images \
             WHERE TRUE AND NOT +deleted AND +status <> 'killed' AND +status = ? AND +size >= ? \
             ORDER BY +created_at DESC, +id DESC LIMIT 9223372036854775807) AS candidate \
             CROSS JOIN images WHERE images.id = found AND is_public LIMIT ?) AS page"
        );
        let postgres = page::<Postgres>("size_min=7", Scope::All, None, Plan::Scan(Path::Size));
        assert!(postgres.contains("(SELECT * FROM images WHERE TRUE AND size >= $1 OFFSET 0) AS images"), "{postgres}");
    }

    #[test]
    fn equalities_are_a_prefix_of_their_index() {
        for (text, expected) in [
            ("disk_format=raw", "deleted = FALSE AND coalesce(disk_format, '') = $1"),
            ("name=a", "name = $1 AND deleted = FALSE"),
            (
                "name=a&disk_format=in:raw,iso&container_format=bare&changes-since=2016",
                "name = $1 AND deleted IN (FALSE, TRUE) AND coalesce(disk_format, '') IN ($2, $3) \
                 AND coalesce(container_format, '') = $4",
            ),
        ] {
            let query = query(text);
            assert_sql(on_both!(|sql| push_equalities(sql, &query)), expected);
        }
        let query = query("container_format=bare");
        let [sqlite, postgres] = on_both!(|sql| push_equalities(sql, &query));
        let leap = "WITH RECURSIVE leap(value) AS (SELECT min(disk_format) FROM images UNION ALL \
            SELECT (SELECT min(disk_format) FROM images WHERE disk_format > value) FROM leap WHERE value IS NOT NULL) \
            SELECT coalesce(value, '') FROM leap";
        let before = "deleted = FALSE AND coalesce(disk_format, '')";
        assert_eq!(sqlite, format!("{before} IN ({leap}) AND coalesce(container_format, '') = ?"));
        assert_eq!(postgres, format!("{before} = ANY (ARRAY({leap})) AND coalesce(container_format, '') = $1"));
    }

    #[test]
    fn a_page_goes_on_after_its_marker_over_ties_and_nulls() {
        let name = |text: &str| Some(Value::Text(text.to_owned()));
        let position = |key: Option<Value>| Position {
            key,
            created_at: Value::Time(Timestamp::parse("2016").expect("a time")),
            id: Value::Id(Uuid::nil()),
        };
        for (text, key, expected) in [
            ("", Some(Value::Whole(0)), [" AND (created_at, id) < ($1, $2)"].as_slice()),
            ("sort_key=id&sort_dir=asc", Some(Value::Id(Uuid::nil())), &[" AND (id) > ($1)"]),
            ("sort_key=name&sort_dir=asc", name("a"), &[" AND (name, created_at, id) > ($1, $2, $3)"]),
            ("sort_key=name", name("a"), &[" AND (name, created_at, id) < ($1, $2, $3)", " AND name IS NULL"]),
            (
                "sort_key=name&sort_dir=asc",
                None,
                &[" AND name IS NULL AND (created_at, id) > ($1, $2)", " AND name IS NOT NULL"],
            ),
            ("sort_key=name", None, &[" AND name IS NULL AND (created_at, id) < ($1, $2)"]),
            ("sort_key=status", name("active"), &[" AND (status, created_at, id) < ($1, $2, $3)"]),
        ] {
            let (query, position) = (query(text), position(key));
            let parts = parts(&query, Some(&position));
            assert_eq!(parts.len(), expected.len(), "{text}");
            for (part, expected) in parts.iter().zip(expected) {
                assert_sql(on_both!(|sql| push_part(sql, &query, part, "")), expected);
            }
        }
        let sql = page::<Sqlite>("sort_key=name", Scope::All, Some(&position(name("a"))), Plan::Walk(1000));
        let second = "UNION ALL SELECT document FROM (SELECT document AS document FROM (SELECT * FROM images \
            WHERE TRUE AND name IS NULL ORDER BY name DESC NULLS LAST, created_at DESC, id DESC LIMIT ?) AS images \
            WHERE (SELECT TRUE FROM images WHERE TRUE AND (name, created_at, id) < (?, ?, ?) \
            ORDER BY name DESC NULLS LAST, created_at DESC, id DESC LIMIT 1 OFFSET ?) IS NULL AND ";
        assert!(sql.contains(second), "{sql}");
    }

    #[test]
    fn a_marker_is_looked_up_in_what_the_caller_may_see() {
        let sql = |text: &str, view: &View| {
            let mut sql = Sql::<Postgres>::new("");
            push_marker(&mut sql, &query(text), view, Uuid::nil());
            sql.text()
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
}
