//! From a typed query to SQL text and binds. Text is only ever put together from constants;
//! whatever a client sent is bound.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::NaiveDateTime;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Database, Postgres, QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use crate::query::{Column, Direction, Filter, ImageQuery, Liveness, Markers, Scope, Test, Value, View};
use crate::timestamp::Timestamp;

/// What differs between the engines' SQL.
pub trait Dialect: Database {
    /// The rows that a statement gives.
    fn fetch(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;

    /// Gives each row of a statement, as it comes.
    async fn each(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
        take: impl FnMut(Self::Row) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// The text of a column; what is no UTF-8 in it, as SQLite may have it, is U+FFFD.
    fn text(row: &Self::Row, column: usize) -> sqlx::Result<Cow<'_, str>>;

    /// The joined documents of a row of [`push_page`].
    fn documents(row: &Self::Row) -> sqlx::Result<Option<&[u8]>>;

    /// How many images a row of [`push_page`] has, where it may lack some because a walk was cut short.
    fn cut(row: &Self::Row) -> sqlx::Result<Option<i64>>;

    /// Whether the marker of a row of [`push_page`] is an image that the caller may name.
    fn is_marked(row: &Self::Row) -> sqlx::Result<bool>;

    /// The columns of a row of whole numbers; null is 0.
    fn numbers(row: &Self::Row) -> sqlx::Result<Vec<i64>>;

    /// Binds a value in the form in which the engine stores it.
    fn push_bind(sql: &mut QueryBuilder<Self>, value: &Value);

    /// The JSON object of the six fields of the brief list.
    const BRIEF_DOCUMENT: &str;

    /// The JSON object of a member of an image.
    const MEMBER_DOCUMENT: &str;

    /// The JSON object of an image that is shared.
    const SHARED_DOCUMENT: &str;

    /// A column that leads to a row at once, and stays what it is while a statement runs.
    const ROW: &str;

    /// Ends the subquery of candidates, and joins each with the image that it has found, and never
    /// the other way round.
    const LOOKUP: &str;

    /// Whether a row that is likely to match is best read where an index leads to it, rather than
    /// looked up by [`Dialect::ROW`].
    const READS_ROWS_WHERE_MET: bool;

    /// Every column, and that one.
    const ALL: &str;

    /// That an image was changed long after it was created; as in the indexes of late changes.
    const CHANGED_LATE: &str;

    /// A subquery of the names and values of an image's properties.
    const PROPERTIES: &str;

    /// Put before a column, keeps the planner from choosing an index for it.
    const HIDE: &str;

    /// Put at the end of a subquery, keeps the planner from looking into it.
    const FENCE: &str;

    /// Whether a CROSS JOIN gives rows in the order of its left side.
    const JOINS_IN_ORDER: bool;

    /// Passes deleted images and others alike, as the beginning of an index.
    const DELETED_OR_NOT: &str;

    /// Opens and closes a subquery whose values a column may equal.
    const ANY: [&str; 2];

    /// About how many rows `images` has; a small price however many there are.
    const IMAGES: &str;

    /// Put before a statement, makes what [`Dialect::explain`] takes.
    const EXPLAIN: &str;

    /// The plan that the engine has for a statement, line by line; on PostgreSQL it is run for that.
    fn explain(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;

    /// What [`Dialect::work`] counts.
    const WORK: &str;

    /// Counts from now on what statements cost, where the engine's plan does not tell it.
    fn count_work(connection: &mut Self::Connection) -> impl Future<Output = sqlx::Result<Arc<AtomicI64>>> + Send;

    /// What a statement has cost, by its plan and by the counter.
    fn work(plan: &[String], counted: &AtomicI64) -> i64;
}

/// What reads the same on both engines, but for the types.
macro_rules! read_rows {
    () => {
        async fn fetch(connection: &mut Self::Connection, mut sql: Sql<Self>) -> sqlx::Result<Vec<Self::Row>> {
            sql.builder.build().fetch_all(connection).await
        }

        async fn each(
            connection: &mut Self::Connection,
            mut sql: Sql<Self>,
            mut take: impl FnMut(Self::Row) -> anyhow::Result<()>,
        ) -> anyhow::Result<()> {
            let mut rows = sql.builder.build().persistent(false).fetch(connection);
            while let Some(row) = rows.try_next().await? {
                take(row)?;
            }
            Ok(())
        }

        fn text(row: &Self::Row, column: usize) -> sqlx::Result<Cow<'_, str>> {
            Ok(String::from_utf8_lossy(row.try_get_unchecked(column)?))
        }

        fn documents(row: &Self::Row) -> sqlx::Result<Option<&[u8]>> {
            row.try_get_unchecked(0)
        }

        fn cut(row: &Self::Row) -> sqlx::Result<Option<i64>> {
            row.try_get_unchecked(1)
        }

        fn is_marked(row: &Self::Row) -> sqlx::Result<bool> {
            Ok(row.try_get_unchecked::<Option<bool>, _>(2)?.is_some())
        }

        fn numbers(row: &Self::Row) -> sqlx::Result<Vec<i64>> {
            let number = |index| Ok(row.try_get::<Option<i64>, _>(index)?.unwrap_or_default());
            (0..row.len()).map(number).collect()
        }
    };
}

impl Dialect for Sqlite {
    read_rows!();

    fn push_bind(sql: &mut QueryBuilder<Self>, value: &Value) {
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

    const MEMBER_DOCUMENT: &str =
        "json_object('can_share', json(iif(can_share, 'true', 'false')), 'member_id', member)";

    const SHARED_DOCUMENT: &str =
        "json_object('image_id', image_id, 'can_share', json(iif(can_share, 'true', 'false')))";

    const ROW: &str = "rowid";

    const LOOKUP: &str = ") AS candidate CROSS JOIN images WHERE images.rowid = found AND ";

    const READS_ROWS_WHERE_MET: bool = false;

    const ALL: &str = "rowid, *";

    const CHANGED_LATE: &str = "updated_at >= date(created_at, '+2 days')";

    const PROPERTIES: &str = "json_each(properties)";

    const HIDE: &str = "+";

    // A subquery without LIMIT becomes part of the query around it, where columns can be hidden.
    const FENCE: &str = "";

    const JOINS_IN_ORDER: bool = true;

    // Otherwise the planner takes it for nearly all rows, and reads the table instead.
    const DELETED_OR_NOT: &str = "unlikely(deleted IN (FALSE, TRUE))";

    const ANY: [&str; 2] = [" IN (", ")"];

    const IMAGES: &str = "SELECT max(rowid) FROM images";

    const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";

    async fn explain(connection: &mut Self::Connection, sql: Sql<Self>) -> sqlx::Result<Vec<String>> {
        Self::fetch(connection, sql).await?.iter().map(|row| row.try_get(3)).collect()
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
    read_rows!();

    fn push_bind(sql: &mut QueryBuilder<Self>, value: &Value) {
        match value {
            Value::Text(text) => sql.push_bind(text.clone()),
            Value::Whole(number) => sql.push_bind(*number),
            Value::Flag(flag) => sql.push_bind(*flag),
            Value::Time(time) => sql.push_bind(NaiveDateTime::from(*time)),
            Value::Id(id) => sql.push_bind(*id),
        };
    }

    const BRIEF_DOCUMENT: &str = "(SELECT row_to_json(brief) FROM (SELECT name, container_format, \
        disk_format, checksum, id, size) AS brief)::text";

    const MEMBER_DOCUMENT: &str = "(SELECT row_to_json(m) FROM (SELECT can_share, member AS member_id) AS m)::text";

    const SHARED_DOCUMENT: &str = "(SELECT row_to_json(s) FROM (SELECT image_id, can_share) AS s)::text";

    const ROW: &str = "id";

    const LOOKUP: &str =
        ") AS candidate CROSS JOIN LATERAL (SELECT * FROM images WHERE id = found OFFSET 0) AS images WHERE ";

    const READS_ROWS_WHERE_MET: bool = true;

    const ALL: &str = "*";

    const CHANGED_LATE: &str = "updated_at >= created_at + interval '2 days'";

    const PROPERTIES: &str = "json_each_text(properties) AS property";

    const HIDE: &str = "";

    const FENCE: &str = " OFFSET 0";

    const JOINS_IN_ORDER: bool = false;

    const DELETED_OR_NOT: &str = "deleted IN (FALSE, TRUE)";

    const ANY: [&str; 2] = [" = ANY (ARRAY(", "))"];

    // What the last ANALYZE or VACUUM found; -1 before the first.
    const IMAGES: &str = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'images'::regclass";

    const EXPLAIN: &str = "PREPARE explained AS ";

    /// Prepared, because a statement with its values in it might have another plan than the one for
    /// all values, by which pages are found.
    async fn explain(connection: &mut Self::Connection, sql: Sql<Self>) -> sqlx::Result<Vec<String>> {
        let literals: Vec<String> = sql.binds().iter().map(literal).collect();
        let arguments = if literals.is_empty() { String::new() } else { format!("({})", literals.join(", ")) };
        let text = format!(
            "{}; EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) EXECUTE explained{arguments}; DEALLOCATE explained",
            sql.text()
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
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
                // A scan of a subquery is no other look at its rows.
                is_scan = line.contains(" on image") && !line.contains("Subquery Scan");
                loops = number(line, " loops=");
                rows += if is_scan { number(line, "(actual rows=") * loops } else { 0 };
            } else if is_scan {
                rows += number(line, "Rows Removed by Filter: ") * loops;
            }
        }
        rows
    }
}

/// A value in PostgreSQL's own words; utility statements take no binds.
fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        Value::Whole(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Time(time) => format!("'{time}'"),
        Value::Id(id) => format!("'{id}'"),
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

/// How the rows of a page are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The walk that every page begins with. Most are filled by it after a few rows, so that these
    /// are read in whatever way is best for rows that match.
    FirstWalk(u32),
    /// In the order of the page, passing over what does not match: at most this many rows of each
    /// part of the order. Cheap where matches are dense.
    Walk(u32),
    /// All rows that one path leads to, put in order afterwards. Cheap where these are few.
    Scan(Path),
}

impl Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstWalk(bound) | Self::Walk(bound) => {
                write!(formatter, "walk in the order of the page, at most {bound} rows")
            }
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
            Self::Property(_) => "a property",
            Self::Visible => "what the caller sees",
        })
    }
}

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

/// Put before a column of a walk's candidate.
const CANDIDATE: &str = "candidate_";

/// Larger than any table. SQLite may ignore the order of a subquery that has no limit.
const UNLIMITED: &str = " LIMIT 9223372036854775807";

/// Which images are taken together, in one answer of any size.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All of them, deleted and killed ones too.
    All,
    /// Those that a list shows, and their order. Its limit holds, a marker does not.
    Listed(&'a ImageQuery, &'a View),
}

/// What a page is compiled from.
#[derive(Clone, Copy, Debug)]
pub struct Compiled<'a> {
    pub query: &'a ImageQuery,
    pub view: &'a View,
}

/// One row: the documents of the page and of one image more as one text, separated by line feeds,
/// which JSON text cannot hold, null where nothing matches; where a walk was cut short, so that
/// images may be missing, how many there are, else null; and, with a marker, true where the caller
/// may name it.
///
/// The engine joins the documents because the cost of a page follows its cells and round trips.
/// Both engines feed an aggregate in the order of its subquery, and a UNION ALL in that of its
/// parts.
pub fn push_page<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, plan: Plan, projection: Projection) {
    let Compiled { query, view } = page;
    if let Some(marker) = query.marker {
        push_mark(sql, query, view, marker);
    }
    let parts = parts(query, plan);
    sql.push("SELECT string_agg(document, '\n'), ");
    if let Plan::FirstWalk(bound) | Plan::Walk(bound) = plan {
        // Looked at only where the walk has found too little.
        sql.push(format_args!("CASE WHEN count(*) < {} AND coalesce(", wanted(query)));
        for part in &parts {
            push_cut(sql, page, part, bound);
            sql.push(", ");
        }
        sql.push("FALSE) THEN count(*) END");
    } else {
        sql.push("NULL");
    }
    if query.marker.is_some() {
        sql.push(", (SELECT TRUE FROM mark)");
    }
    sql.push(" FROM (");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(" UNION ALL ");
        }
        if parts.len() > 1 {
            sql.push("SELECT document FROM (");
        }
        if part.gate.is_some() {
            sql.push("SELECT document FROM (");
        }
        push_rows(sql, page, &parts[..index], part, plan, projection);
        if let Some(gate) = part.gate {
            // As a condition it would be looked at row by row.
            sql.push(") AS gated");
            push_limit(sql, format_args!("CASE WHEN {gate} THEN {} ELSE 0 END", wanted(query)));
        }
        if parts.len() > 1 {
            sql.push(") AS part");
        }
    }
    if parts.len() > 1 {
        push_limit(sql, wanted(query));
    }
    sql.push(") AS page");
}

/// The sort key and creation of the query's marker, if the view lets the caller name it.
fn push_mark<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, view: &View, marker: Uuid) {
    sql.push("WITH mark AS (SELECT id, created_at, ").push(query.sort_key.name()).push(" AS key FROM images WHERE ");
    push_named(sql, marker, view, &query.liveness());
    sql.push(") ");
}

/// The images of a part.
fn push_rows<DB: Dialect>(
    sql: &mut Sql<DB>,
    page: &Compiled,
    before: &[Part],
    part: &Part,
    plan: Plan,
    projection: Projection,
) {
    sql.push("SELECT ").push(document::<DB>(projection)).push(" AS document FROM (SELECT ");
    match plan {
        Plan::FirstWalk(bound) => push_walk(sql, page, before, part, bound, !DB::READS_ROWS_WHERE_MET),
        Plan::Walk(bound) => push_walk(sql, page, before, part, bound, true),
        Plan::Scan(path) => push_scan(sql, page, part, path),
    }
    push_limit(sql, wanted(page.query));
}

/// Where `looks_at_entries`, what an index holds is looked at in the index: first come candidates,
/// and a row is looked up only once nothing there speaks against it.
fn push_walk<DB: Dialect>(
    sql: &mut Sql<DB>,
    page: &Compiled,
    before: &[Part],
    part: &Part,
    bound: u32,
    looks_at_entries: bool,
) {
    let Compiled { query, view } = page;
    let walked = Walked::by(page, part);
    let is_covering = looks_at_entries && walked.is_covering(query);
    let is_looked_up = is_covering || !DB::READS_ROWS_WHERE_MET;
    if is_looked_up {
        push_found(sql, query);
    } else {
        sql.push(DB::ALL);
    }
    if is_covering {
        for column in covered_columns(query) {
            sql.push(format_args!(", {column} AS {CANDIDATE}{column}"));
        }
    }
    sql.push(" FROM images WHERE ");
    walked.push(sql, query, part);
    push_order(sql, query, "");
    push_limit(sql, bound);
    sql.push(if is_looked_up { DB::LOOKUP } else { ") AS images WHERE " });
    for part in before {
        push_cut(sql, page, part, bound);
        sql.push(" IS NULL AND ");
    }
    if is_covering {
        push_predicate(sql, query, &Scope::All, CANDIDATE, Conditions::Covered(&[]));
        sql.push(" AND ");
        push_predicate(sql, query, &view.listed, "", Conditions::NotCovered);
    } else {
        push_predicate(sql, query, &view.listed, "", Conditions::All);
    }
    if is_looked_up {
        push_found_order(sql, query);
    }
}

/// What the path's index holds is looked at there, and only rows of which all that holds are looked
/// up. Where it does not hold all that is asked for, all its rows are: an engine would rather read
/// another index whole.
fn push_scan<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part, path: Path) {
    let Compiled { query, view } = page;
    push_found(sql, query);
    sql.push(" FROM (SELECT ");
    if path == Path::Equalities && !path.is_covered(query) {
        sql.push(DB::ROW).push(" AS found FROM images WHERE ");
        push_path(sql, query, &view.listed, path);
        sql.push(DB::FENCE).push(DB::LOOKUP);
    } else {
        sql.push(DB::ALL).push(" FROM images WHERE ");
        push_path(sql, query, &view.listed, path);
        sql.push(DB::FENCE).push(") AS images WHERE ");
    }
    push_predicate(sql, query, &Scope::All, DB::HIDE, Conditions::Covered(path.columns()));
    push_part(sql, query, part, DB::HIDE);
    push_order(sql, query, DB::HIDE);
    sql.push(UNLIMITED).push(DB::LOOKUP);
    push_predicate(sql, query, &view.listed, "", Conditions::NotCovered);
    push_found_order(sql, query);
}

/// What leads from a candidate to its row, and its place in the order.
fn push_found<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
    sql.push(DB::ROW).push(" AS found");
    if !DB::JOINS_IN_ORDER {
        for column in order(query.sort_key) {
            sql.push(format_args!(", {0} AS found_{0}", column.name()));
        }
    }
}

/// The candidates have this order already, so that nothing is sorted for it.
fn push_found_order<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
    if !DB::JOINS_IN_ORDER {
        push_order(sql, query, "found_");
    }
}

/// True where a walk of the part leaves rows behind, else null.
fn push_cut<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part, bound: u32) {
    if let Some(gate) = part.gate {
        sql.push(format_args!("CASE WHEN {gate} THEN "));
    }
    sql.push("(SELECT TRUE FROM images WHERE ");
    Walked::by(page, part).push(sql, page.query, part);
    push_order(sql, page.query, "");
    push_limit(sql, 1);
    sql.push(format_args!(" OFFSET {bound})"));
    if part.gate.is_some() {
        sql.push(" END");
    }
}

/// The rows of a part that one index holds side by side in the order of the page.
struct Walked<'a> {
    /// Whether they are those that changed long after they were created.
    changed_late: bool,
    by: By<'a>,
}

enum By<'a> {
    /// Those with the value of an equality.
    Equal(&'a Filter),
    /// The public ones.
    Public,
    /// Those that the filters on the sort key itself let through.
    Order,
}

impl<'a> Walked<'a> {
    fn by(page: &Compiled<'a>, part: &Part) -> Self {
        let Compiled { query, view } = page;
        let changed_late = matches!(part.period, Period::Before(_));
        let by = match rarest_equality(query) {
            _ if query.sort_key != Column::CreatedAt => By::Order,
            // Late changes have an index in the order of names and one in that of creation.
            Some(filter) if filter.column == Column::Name || !changed_late => By::Equal(filter),
            None if view.listed == Scope::Public && query.filters.is_empty() => By::Public,
            _ => By::Order,
        };
        Self { changed_late, by }
    }

    /// Whether the index holds every documented column that the query asks for.
    fn is_covering(&self, query: &ImageQuery) -> bool {
        let leads = match self.by {
            By::Equal(filter) => filter.column,
            By::Public => return false,
            By::Order => query.sort_key,
        };
        match leads {
            Column::CreatedAt | Column::Name | Column::Size | Column::UpdatedAt => true,
            Column::Status | Column::ContainerFormat | Column::DiskFormat => {
                query.filters.iter().all(|filter| filter.column != Column::Name)
            }
            _ => false,
        }
    }

    fn push<DB: Dialect>(&self, sql: &mut Sql<DB>, query: &ImageQuery, part: &Part) {
        sql.push(if self.changed_late { DB::CHANGED_LATE } else { "TRUE" });
        match self.by {
            By::Equal(filter) => {
                sql.push(" AND ");
                push_filter(sql, filter, "");
            }
            By::Public => {
                sql.push(" AND ");
                push_scope(sql, &Scope::Public);
            }
            By::Order => {
                for filter in query.filters.iter().filter(|filter| filter.column == query.sort_key) {
                    sql.push(" AND ");
                    push_filter(sql, filter, "");
                }
            }
        }
        push_part(sql, query, part, "");
    }
}

/// Whether a walk looks at what an index holds, before it looks a row up.
pub fn walks_covered(page: &Compiled) -> bool {
    parts(page.query, Plan::Walk(0)).iter().all(|part| Walked::by(page, part).is_covering(page.query))
}

/// The equality that most likely leads to the fewest images; nearly all of them are active.
fn rarest_equality(query: &ImageQuery) -> Option<&Filter> {
    let active = Value::Text("active".to_owned());
    let rank = |filter: &&Filter| match (filter.column, &filter.test) {
        (Column::Name, Test::Equal(_)) => Some(0),
        (Column::Status, Test::Equal(status)) if *status != active => Some(1),
        (Column::DiskFormat, Test::Equal(_)) => Some(2),
        (Column::ContainerFormat, Test::Equal(_)) => Some(3),
        _ => None,
    };
    query.filters.iter().filter(|filter| rank(filter).is_some()).min_by_key(rank)
}

/// The columns that [`Conditions::Covered`] look at, and the order does not begin with.
fn covered_columns(query: &ImageQuery) -> BTreeSet<&'static str> {
    let filtered =
        query.filters.iter().map(|filter| filter.column).filter(|column| Conditions::Covered(&[]).take(*column));
    let liveness = if query.liveness() == Liveness::Any { [].as_slice() } else { &["deleted", "status"] };
    let properties = (!query.properties.is_empty()).then_some("id");
    filtered.map(Column::name).chain(liveness.iter().copied()).chain(properties).collect()
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
fn push_equalities<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery) {
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

/// Which of a query's own conditions are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conditions {
    All,
    /// Those on columns that the index of every path holds, so that no row need be looked up for
    /// them; but for those on columns that are seen to already.
    Covered(&'static [Column]),
    NotCovered,
}

impl Conditions {
    fn take(self, column: Column) -> bool {
        let is_covered = EQUALITIES.contains(&column) || matches!(column, Column::Size | Column::UpdatedAt);
        match self {
            Self::All => true,
            Self::Covered(done) => is_covered && !done.contains(&column),
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

/// At most so many rows. Not bound: a plan that is kept for any value would be made for a tenth of
/// the table.
fn push_limit<DB: Dialect>(sql: &mut Sql<DB>, rows: impl Display) {
    sql.push(" LIMIT ").push(rows);
}

/// The images that a page is filled with: one more than it has, which tells whether there is
/// another page.
pub fn wanted(query: &ImageQuery) -> u32 {
    query.limit.saturating_add(1)
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

/// The members of the image of a row as a JSON array.
fn push_all_members<DB: Dialect>(sql: &mut Sql<DB>) {
    sql.push("(SELECT '[' || coalesce(string_agg(document, ','), '') || ']' FROM (SELECT ").push(DB::MEMBER_DOCUMENT);
    sql.push(" AS document FROM image_members WHERE image_id = images.id ORDER BY member) AS members)");
}

/// The documents of the images of these ids that are there, each with its members.
pub fn push_present<DB: Dialect>(sql: &mut Sql<DB>, ids: &[Uuid]) {
    sql.push("SELECT document, ");
    push_all_members(sql);
    sql.push(" FROM images WHERE id IN (NULL");
    for id in ids {
        sql.push(", ");
        sql.bind(&Value::Id(*id));
    }
    sql.push(")");
}

/// The documents of many images, each with its members: of all that there are, or of those that a
/// query lists, in the order of the query.
pub fn push_many<DB: Dialect>(sql: &mut Sql<DB>, selection: &Selection) {
    sql.push("SELECT document, ");
    push_all_members(sql);
    sql.push(" FROM images");
    let Selection::Listed(query, view) = selection else {
        sql.push(" ORDER BY created_at DESC, id DESC");
        return;
    };
    sql.push(" WHERE ");
    push_predicate(sql, query, &view.listed, "", Conditions::All);
    push_order(sql, query, "");
    push_limit(sql, query.limit);
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

/// The table of properties holds so many characters of a name and of a value. Where there are
/// fewer, they are all of it.
const PROPERTY_KEY: usize = 255;

fn property_key(text: &str) -> Value {
    Value::Text(text.chars().take(PROPERTY_KEY).collect())
}

/// The property of a place among those asked for: a row of `image_properties`.
fn push_property_at<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, place: usize) {
    for (name, value) in query.properties.iter().skip(place).take(1) {
        sql.push(" AND name = ");
        sql.bind(&property_key(name));
        sql.push(" AND value = ");
        sql.bind(&property_key(value));
    }
}

/// Whether an image has that property. A value, not EXISTS or IN, which a planner may start from.
fn push_has_property<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, place: usize, table: &str) {
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
#[derive(Clone)]
struct Part {
    /// On what it depends whether there is such a part.
    gate: Option<&'static str>,
    key: Key,
    /// Columns in which the rows are strictly beyond the marker, in the direction of the order.
    beyond: Vec<Column>,
    period: Period,
}

/// Which values of the sort key a part holds.
#[derive(Clone, Copy)]
enum Key {
    Any,
    Null,
    NotNull,
}

/// When the images of a part were created.
#[derive(Clone, Copy)]
enum Period {
    Any,
    From(Timestamp),
    Before(Timestamp),
}

/// The rows strictly after the marker, in parts that follow each other.
///
/// No comparison with a value finds nulls, which are the smallest values, so that they are a part
/// of their own.
///
/// Few images change long after they are created, so that most of what `changes-since` lets through
/// was created then, too; what was created long before is looked for only among those that changed
/// late.
fn parts(query: &ImageQuery, plan: Plan) -> Vec<Part> {
    let part = |gate, key, beyond| Part { gate, key, beyond, period: Period::Any };
    let beyond = if query.marker.is_some() { order(query.sort_key) } else { Vec::new() };
    if !query.sort_key.is_nullable() || query.marker.is_none() {
        let whole = part(None, Key::Any, beyond);
        let since = query.filters.iter().find_map(|filter| match (filter.column, &filter.test) {
            (Column::UpdatedAt, Test::AtLeast(Value::Time(since))) => since.days_before(LATE),
            _ => None,
        });
        return match (since, plan, query.sort_key) {
            (Some(since), Plan::FirstWalk(_) | Plan::Walk(_), Column::CreatedAt) => {
                let mut periods = [Period::From(since), Period::Before(since)];
                if query.sort_dir == Direction::Asc {
                    periods.reverse();
                }
                periods.map(|period| Part { period, ..whole.clone() }).to_vec()
            }
            _ => vec![whole],
        };
    }
    let ties = vec![Column::CreatedAt, Column::Id];
    let [mark_is_null, mark_is_not_null] = ["(SELECT key FROM mark) IS NULL", "(SELECT key FROM mark) IS NOT NULL"];
    match query.sort_dir {
        Direction::Asc => vec![
            part(Some(mark_is_null), Key::Null, ties),
            part(Some(mark_is_null), Key::NotNull, Vec::new()),
            part(None, Key::Any, beyond),
        ],
        Direction::Desc => vec![
            part(None, Key::Any, beyond),
            part(Some(mark_is_null), Key::Null, ties),
            part(Some(mark_is_not_null), Key::Null, Vec::new()),
        ],
    }
}

/// After how many days a change is late; see [`Dialect::CHANGED_LATE`].
const LATE: u64 = 2;

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
    let is_desc = query.sort_dir == Direction::Desc;
    // An index is entered at one end of a part only, where a period and the marker may both be.
    let clamp = match part.period {
        Period::Before(time) if is_desc => Some((time, Uuid::nil())),
        Period::From(time) if !is_desc => Some((time.microsecond_before(), Uuid::max())),
        _ => None,
    };
    let is_clamped = clamp.is_some() && !part.beyond.is_empty();
    if !is_clamped {
        let period = match part.period {
            Period::Any => None,
            Period::From(time) => Some((" >= ", time)),
            Period::Before(time) => Some((" < ", time)),
        };
        if let Some((operator, time)) = period {
            sql.push(format_args!(" AND {hide}created_at{operator}"));
            sql.bind(&Value::Time(time));
        }
    }
    if part.beyond.is_empty() {
        return;
    }
    let columns: Vec<String> = part.beyond.iter().map(|column| format!("{hide}{}", column.name())).collect();
    let operator = if is_desc { " < " } else { " > " };
    sql.push(format_args!(" AND ({}){operator}(", columns.join(", ")));
    for (index, &column) in part.beyond.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        let name = if column == query.sort_key { "key" } else { column.name() };
        let Some((time, id)) = clamp else {
            // SQLite would compare no more than the first column with a subquery's column.
            sql.push(format_args!("(SELECT {}{name} FROM mark)", DB::HIDE));
            continue;
        };
        sql.push(format_args!("(SELECT CASE WHEN created_at{operator}"));
        sql.bind(&Value::Time(time));
        sql.push(format_args!(" THEN {name} ELSE "));
        sql.bind(&if column == Column::Id { Value::Id(id) } else { Value::Time(time) });
        sql.push(" END FROM mark)");
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
        let [sqlite, postgres] = on_both!(|sql| push_path(sql, &two, &Scope::All, Path::Property(0)));
        assert_eq!(sqlite, format!("id IN ({ids}? AND value = ?)"));
        assert_eq!(postgres, format!("id = ANY (ARRAY({ids}$1 AND value = $2))"));
        let view = View { listed: Scope::All, markers: Markers::Any };
        let page = Compiled { query: &two, view: &view };
        assert_sql(
            on_both!(|sql| push_count(sql, &page, Path::Property(1), 7)),
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM image_properties WHERE TRUE AND name = $1 AND value = $2 \
             LIMIT 7) AS met)",
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
        let view = View { listed: scope, markers: Markers::Any };
        let query = query(text);
        let mut sql = Sql::<DB>::new("");
        push_page(&mut sql, &Compiled { query: &query, view: &view }, plan, Projection::Detail);
        sql.text()
    }

    #[test]
    fn a_walk_goes_along_one_index_and_tells_where_it_left_off() {
        for (text, scope, met) in [
            ("", Scope::All, "TRUE"),
            ("", Scope::Public, "TRUE AND is_public"),
            ("disk_format=raw&status=active", Scope::All, "TRUE AND disk_format = ?"),
            ("disk_format=raw&status=queued", Scope::All, "TRUE AND status = ?"),
            ("disk_format=raw&size_min=1", Scope::All, "TRUE AND disk_format = ?"),
            ("name=a&status=queued&size_min=1", Scope::All, "TRUE AND name = ?"),
        ] {
            let sql = page::<Sqlite>(text, scope, Plan::Walk(1000));
            let cut = format!(
                "AND coalesce((SELECT TRUE FROM images WHERE {met} ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET 1000), FALSE)"
            );
            assert!(sql.contains(&cut), "{sql}");
        }
        assert_eq!(
            page::<Sqlite>("sort_key=size&size_min=7&status=active", Scope::Public, Plan::Walk(1000)),
            "SELECT string_agg(document, '\n'), CASE WHEN count(*) < 26 AND coalesce((SELECT TRUE FROM images \
             WHERE TRUE AND size >= ? ORDER BY size DESC NULLS LAST, created_at DESC, id DESC LIMIT 1 OFFSET 1000), FALSE) \
             THEN count(*) END FROM (SELECT document AS document FROM (SELECT rowid AS found, deleted AS candidate_deleted, \
             size AS candidate_size, status AS candidate_status FROM images WHERE TRUE AND size >= ? ORDER BY size DESC NULLS LAST, created_at DESC, id DESC LIMIT 1000) \
             AS candidate CROSS JOIN images WHERE images.rowid = found AND TRUE AND NOT candidate_deleted AND candidate_status <> 'killed' \
             AND candidate_status = ? AND candidate_size >= ? AND is_public LIMIT 26) AS page"
        );
    }

    #[test]
    fn what_was_created_long_before_changes_since_is_looked_for_among_late_changes() {
        let since = "changes-since=2016-05-03T01:02:03Z";
        let sql = page::<Postgres>(since, Scope::All, Plan::Walk(1000));
        let (recent, late) = sql.split_once(" UNION ALL ").expect("two parts");
        assert!(recent.contains("FROM images WHERE TRUE AND created_at >= $"), "{recent}");
        let before = "FROM images WHERE updated_at >= created_at + interval '2 days' AND created_at < $";
        assert!(late.contains(before), "{late}");
        let ascending = page::<Postgres>(&format!("{since}&sort_dir=asc"), Scope::All, Plan::Walk(1000));
        assert!(ascending.split_once(" UNION ALL ").expect("two parts").0.contains(before), "{ascending}");
        for plan in [Plan::Scan(Path::UpdatedAt), Plan::Walk(1000)] {
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
        let sqlite = page::<Sqlite>("size_min=7&status=active", Scope::Public, Plan::Scan(Path::Size));
        assert_eq!(
            sqlite,
            "SELECT string_agg(document, '\n'), NULL FROM (SELECT document AS document FROM (SELECT rowid AS found FROM \
             (SELECT rowid, * FROM images WHERE TRUE AND size >= ?) AS images \
             WHERE TRUE AND NOT +deleted AND +status <> 'killed' AND +status = ? \
             ORDER BY +created_at DESC, +id DESC LIMIT 9223372036854775807) AS candidate \
             CROSS JOIN images WHERE images.rowid = found AND is_public LIMIT 26) AS page"
        );
        let postgres = page::<Postgres>("size_min=7", Scope::All, Plan::Scan(Path::Size));
        assert!(postgres.contains("FROM images WHERE TRUE AND size >= $1 OFFSET 0) AS images"), "{postgres}");
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
            (
                "disk_format=&container_format=in:,bare",
                "deleted = FALSE AND coalesce(disk_format, '') = $1 AND disk_format IS NOT NULL \
                 AND coalesce(container_format, '') IN ($2, $3) AND container_format IS NOT NULL",
            ),
        ] {
            let query = query(text);
            let prefix = on_both!(|sql| push_equalities(sql, &query));
            let alike = |text: String| text.replace(Sqlite::DELETED_OR_NOT, Postgres::DELETED_OR_NOT).replace('+', "");
            assert_sql(prefix.map(alike), expected);
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
                let part =
                    on_both!(|sql| push_part(sql, &query, part, "")).map(|text| text.replace("SELECT +", "SELECT "));
                assert_sql(part, &format!(" AND {expected}"));
            }
        }
        let sql = page::<Sqlite>(&format!("sort_key=name&marker={}", Uuid::nil()), Scope::All, Plan::Walk(1000));
        let gated = "AS gated LIMIT CASE WHEN (SELECT key FROM mark) IS NOT NULL THEN 26 ELSE 0 END";
        assert!(sql.contains(gated), "{sql}");
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
}
