//! What differs between the engines: their SQL, how their rows are read, and what a plan costs.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::NaiveDateTime;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Database, Postgres, QueryBuilder, Row as _, Sqlite};

use super::Sql;
use crate::query::Value;

/// What differs between the engines' SQL.
pub trait Dialect: Database {
    /// The rows that a statement gives.
    fn fetch(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;

    /// The same; whether the statement stays prepared for the next like it.
    fn fetch_as(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
        is_prepared: bool,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;

    /// Gives each row of a statement, as it comes.
    async fn each(
        connection: &mut Self::Connection,
        sql: Sql<Self>,
        take: impl FnMut(Self::Row) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// The text of a column; what is no UTF-8 in it, as SQLite may have it, is U+FFFD.
    fn text(row: &Self::Row, column: usize) -> sqlx::Result<Cow<'_, str>>;

    /// The text in the first column of a row, such as the joined documents of [`push_page`], as it is stored.
    fn bytes(row: &Self::Row) -> sqlx::Result<Option<&[u8]>>;

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

    /// Begins a transaction whose statements all see the catalog of one moment.
    const SNAPSHOT: &str;

    /// A column that leads to a row at once, and stays what it is while a statement runs.
    const ROW: &str;

    /// Ends the subquery of candidates, and joins each with the image that it has found, and never
    /// the other way round: the images come in the order of the candidates.
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

    /// Whether what is kept while a statement runs is made row by row, as far as it is read.
    const KEEPS_WHAT_IS_READ: bool;

    /// Opens and closes a condition of which the planner is told that few rows pass it, so that an index
    /// is read for it even where most do.
    const UNLIKELY: [&str; 2];

    /// Opens and closes the conditions of `images`, looked for once for each row of what it is
    /// joined to.
    const JOINED_IMAGES: [&str; 2];

    /// Opens and closes a subquery whose values a column may equal.
    const ANY: [&str; 2];

    /// Opens a subquery of ids of images that ends with its conditions, goes on to another, and closes it: the
    /// ids of both. Each is read once, whatever the planner takes for few, and may be larger than memory.
    const BOTH: [&str; 3];

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
        async fn fetch(connection: &mut Self::Connection, sql: Sql<Self>) -> sqlx::Result<Vec<Self::Row>> {
            // A transaction is one of many images at once, or one behind a pooler, after which
            // another server may be asked, which knows no statement by its name. That of a page that is
            // put together is told apart by who asks.
            let is_prepared = !connection.is_in_transaction();
            Self::fetch_as(connection, sql, is_prepared).await
        }

        async fn fetch_as(
            connection: &mut Self::Connection,
            mut sql: Sql<Self>,
            is_prepared: bool,
        ) -> sqlx::Result<Vec<Self::Row>> {
            sql.builder.build().persistent(is_prepared).fetch_all(connection).await
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

        fn bytes(row: &Self::Row) -> sqlx::Result<Option<&[u8]>> {
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

    const SNAPSHOT: &str = "BEGIN";

    const ROW: &str = "rowid";

    const LOOKUP: &str = ") AS candidate CROSS JOIN images WHERE images.rowid = found AND ";

    const READS_ROWS_WHERE_MET: bool = false;

    const ALL: &str = "images.rowid, images.*";

    const CHANGED_LATE: &str = "updated_at >= date(created_at, '+2 days')";

    const PROPERTIES: &str = "json_each(properties)";

    const HIDE: &str = "+";

    // A subquery without LIMIT becomes part of the query around it, where columns can be hidden.
    const FENCE: &str = "";

    const KEEPS_WHAT_IS_READ: bool = false;

    const UNLIKELY: [&str; 2] = ["unlikely(", ")"];

    const JOINED_IMAGES: [&str; 2] = ["images WHERE ", ""];

    const ANY: [&str; 2] = [" IN (", ")"];

    const BOTH: [&str; 3] = ["", " AND +images.id IN (", ")"];

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

    const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

    const ROW: &str = "id";

    const LOOKUP: &str =
        ") AS candidate CROSS JOIN LATERAL (SELECT * FROM images WHERE id = found OFFSET 0) AS images WHERE ";

    const READS_ROWS_WHERE_MET: bool = true;

    const ALL: &str = "images.*";

    const CHANGED_LATE: &str = "updated_at >= created_at + interval '2 days'";

    const PROPERTIES: &str = "json_each_text(properties) AS property";

    const HIDE: &str = "";

    const FENCE: &str = " OFFSET 0";

    const KEEPS_WHAT_IS_READ: bool = true;

    const UNLIKELY: [&str; 2] = ["", ""];

    const JOINED_IMAGES: [&str; 2] = ["LATERAL (SELECT * FROM images WHERE ", " OFFSET 0) AS images"];

    const ANY: [&str; 2] = [" = ANY (ARRAY(", "))"];

    // INTERSECT would hold one of them in memory, however large it is.
    const BOTH: [&str; 3] = ["SELECT id FROM (", " UNION ALL ", ") AS met GROUP BY id HAVING count(*) = 2"];

    // What the last ANALYZE or VACUUM found; before the first, as after a restore, as many as the table has
    // kilobytes, which is about what a row takes.
    const IMAGES: &str = "SELECT CASE WHEN reltuples < 0 THEN pg_relation_size(oid) / 1024 ELSE reltuples::bigint END \
        FROM pg_class WHERE oid = 'images'::regclass";

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
