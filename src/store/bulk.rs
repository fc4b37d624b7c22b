//! Fills the catalog with many images at once, whole or not at all.
//!
//! Everything happens in one transaction: whatever ends it early, the catalog is as it was. Where
//! there are more new images than a fraction of those present, it is faster to drop the indexes
//! and to build them anew than to keep them up row by row.

use std::fmt::{Display, Write as _};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use sqlx::{
    AssertSqlSafe, Connection as _, Database, PgConnection, Postgres, QueryBuilder, Sqlite, SqliteConnection,
    Transaction,
};
use uuid::Uuid;

use super::Target;
use super::error::{Failed, said};
use super::migrate::{Alone, write_ahead};
use crate::image::{Image, Member};

/// What becomes of the images that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// There must be none.
    Refused,
    Kept,
    Deleted,
}

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Deleting,
    /// So many images have been given to the database.
    Rows(u64),
    Index {
        number: usize,
        of: usize,
        name: &'a str,
    },
    Analyzing,
    /// All is stored; what is left makes the database smaller or faster.
    Tidying,
}

/// How a filling ended without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    Done,
    /// It was told to stop, and the catalog is unchanged.
    Stopped,
    /// So many images are there, and the catalog is unchanged.
    Occupied(i64),
    /// A new image's id is that of another, as the database says, and the catalog is unchanged.
    Taken(String),
}

impl Target {
    /// Stores `count` images with their members, or nothing at all; `stop` ends it early.
    ///
    /// # Errors
    /// What the database said, in a sentence; the catalog is unchanged then.
    pub async fn fill(
        &self,
        present: Present,
        count: u64,
        images: impl Iterator<Item = Image>,
        report: impl FnMut(Step<'_>),
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Filled> {
        let is_stopped = |filled: &Filled| *filled == Filled::Stopped;
        match self {
            Self::Sqlite(options) => {
                let fill = async |connection: &mut SqliteConnection| {
                    leave_write_ahead(connection).await;
                    fill(connection, present, count, images, report, stop).await
                };
                self.naming_failed(on_a_connection(options, fill, is_stopped).await)
            }
            Self::Postgres(options) => {
                let fill =
                    async |connection: &mut PgConnection| fill(connection, present, count, images, report, stop).await;
                on_a_connection(options, fill, is_stopped).await
            }
        }
    }
}

/// Turns the write-ahead log off where nobody else has the database open. With it, whatever is
/// written is written twice, and each page that is read of a transaction is looked for in a log as
/// long as the transaction, so that ten times as many images take a hundred times as long.
pub(super) async fn leave_write_ahead(connection: &mut SqliteConnection) {
    // Locked at once where somebody has it open.
    let _ = sqlx::query("PRAGMA journal_mode = DELETE").execute(connection).await;
}

/// Does work on a connection for it alone, and ends what still runs there where the work was stopped.
pub(super) async fn on_a_connection<C: Bulk, T>(
    options: &C::Options,
    work: impl AsyncFnOnce(&mut C) -> anyhow::Result<T>,
    is_stopped: impl FnOnce(&T) -> bool,
) -> anyhow::Result<T> {
    let (mut connection, brake) = C::open(options).await.map_err(|error| failed(&error))?;
    let done = work(&mut connection).await;
    let was_stopped = done.as_ref().is_ok_and(is_stopped);
    // An error of closing changes nothing of what has happened.
    let _ = connection.end(brake, was_stopped).await;
    done
}

async fn fill<C: Bulk>(
    connection: &mut C,
    present: Present,
    count: u64,
    images: impl Iterator<Item = Image>,
    mut report: impl FnMut(Step<'_>),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Filled> {
    let mut stop = pin!(stop);
    let transaction = tokio::select! {
        biased;
        written = write(connection, present, count, images, &mut report) => match written {
            Ok(Written::Whole(transaction)) => transaction,
            Ok(Written::Occupied(there)) => return Ok(Filled::Occupied(there)),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Ok(Filled::Taken(said(&sqlx::Error::Database(error))));
            }
            Err(error) => return Err(failed(&error)),
        },
        () = &mut stop => return Ok(Filled::Stopped),
    };
    commit(transaction).await?;
    report(Step::Tidying);
    tidy(connection, stop).await;
    Ok(Filled::Done)
}

pub(super) async fn commit(transaction: Transaction<'_, impl Database>) -> anyhow::Result<()> {
    transaction.commit().await.map_err(|error| {
        let unknown = matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed);
        let then = if unknown { "whether it is stored is not known" } else { "the catalog is unchanged" };
        anyhow!(Failed(format!("The catalog could not be committed: {}; {then}.", said(&error))))
    })
}

/// Makes the database smaller or faster, unless that is stopped: all is stored in any case.
pub(super) async fn tidy(connection: &mut impl Bulk, stop: impl Future<Output = ()>) {
    tokio::select! {
        tidied = connection.tidy() => if let Err(error) = tidied {
            tracing::warn!(reason = said(&error), "the database could not be tidied");
        },
        () = stop => {}
    }
}

pub(super) fn failed(error: &sqlx::Error) -> anyhow::Error {
    let reason = said(error);
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            anyhow!(Failed(format!("The connection to the database was lost: {reason}; the catalog is unchanged.")))
        }
        _ => anyhow!(Failed(format!("The database failed: {reason}; the catalog is unchanged."))),
    }
}

enum Written<'c, DB: Database> {
    /// All that is left is to commit.
    Whole(Transaction<'c, DB>),
    /// Nothing is written, because so many images are there.
    Occupied(i64),
}

async fn write<'c, C: Bulk>(
    connection: &'c mut C,
    present: Present,
    count: u64,
    mut images: impl Iterator<Item = Image>,
    report: &mut impl FnMut(Step<'_>),
) -> sqlx::Result<Written<'c, C::Database>> {
    let mut transaction = connection.begin_alone().await?;
    C::prepare(&mut transaction).await?;
    let there = C::count(&mut transaction).await?;
    if there > 0 && present == Present::Refused {
        return Ok(Written::Occupied(there));
    }
    let fresh = there == 0 || present == Present::Deleted;
    let new = i64::try_from(count).unwrap_or(i64::MAX);
    let dropped = if fresh || there / C::PRESENT_PER_NEW <= new {
        drop_indexes::<C>(&mut transaction).await?
    } else {
        Vec::new()
    };
    if fresh {
        if there > 0 {
            report(Step::Deleting);
        }
        C::empty(&mut transaction).await?;
    }

    let mut batch = next_batch(&mut images);
    let mut rows = 0;
    report(Step::Rows(rows));
    while !batch.is_empty() {
        // The next images are made while the database takes these.
        let (inserted, next) =
            tokio::join!(biased; C::insert(&mut transaction, &batch, fresh), async { next_batch(&mut images) });
        inserted?;
        rows += batch.len() as u64;
        report(Step::Rows(rows));
        batch = next;
    }
    make_indexes::<C>(&mut transaction, &dropped, report).await?;
    report(Step::Analyzing);
    analyze::<C>(&mut transaction).await?;
    Ok(Written::Whole(transaction))
}

/// Drops the indexes that nothing but speed depends on; those that are to be made again.
pub(super) async fn drop_indexes<C: Bulk>(transaction: &mut Transaction<'_, C::Database>) -> sqlx::Result<Vec<Index>> {
    let indexes = C::indexes(transaction).await?;
    for (_, drop, _) in &indexes {
        C::run(transaction, drop).await?;
    }
    Ok(indexes)
}

pub(super) async fn make_indexes<C: Bulk>(
    transaction: &mut Transaction<'_, C::Database>,
    dropped: &[Index],
    report: &mut impl FnMut(Step<'_>),
) -> sqlx::Result<()> {
    for (place, (name, _, create)) in dropped.iter().enumerate() {
        report(Step::Index { number: place + 1, of: dropped.len(), name });
        C::run(transaction, create).await?;
    }
    Ok(())
}

pub(super) async fn analyze<C: Bulk>(transaction: &mut Transaction<'_, C::Database>) -> sqlx::Result<()> {
    C::run(transaction, "ANALYZE images").await?;
    C::run(transaction, "ANALYZE image_members").await?;
    C::run(transaction, "ANALYZE image_properties").await
}

/// Enough that a pause after each, which TCP may cause, does not count.
const BATCH: usize = 20_000;

fn next_batch(images: &mut impl Iterator<Item = Image>) -> Vec<Image> {
    images.take(BATCH).collect()
}

/// An index: its name, and the statements that drop and make it, as the database itself words them.
/// The table of properties is one too, with the triggers that keep it.
pub(super) type Index = (String, String, String);

/// What the engines do differently.
pub(super) trait Bulk: Alone + Sized {
    /// What ends a statement that still runs.
    type Brake;

    /// Opens a connection that is set for many rows.
    async fn open(options: &Self::Options) -> sqlx::Result<(Self, Self::Brake)>;

    /// Closes it; where the work was stopped, what still runs ends at once, and is rolled back.
    async fn end(self, brake: Self::Brake, was_stopped: bool) -> sqlx::Result<()>;

    /// The indexes are built anew where there are no more present images than this for each new
    /// one: about where that takes as long as keeping them up.
    const PRESENT_PER_NEW: i64;

    /// Whether readers go on while a transaction builds the indexes anew, and whether no index ever
    /// refuses an image.
    const REBUILDS_UNSEEN: bool;

    /// Sets what is good for many rows, up to the end of the transaction.
    async fn prepare(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()>;

    /// Makes others who write images wait up to the end of the transaction, while readers go on, and
    /// finds images by their ids whatever is known of the table.
    async fn prepare_updates(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()>;

    async fn count(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<i64>;

    /// The indexes that nothing but speed depends on.
    async fn indexes(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<Vec<Index>>;

    async fn run(transaction: &mut Transaction<'_, Self::Database>, sql: &str) -> sqlx::Result<()>;

    /// Deletes all images and members.
    async fn empty(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()>;

    /// Stores images, into tables that have been emptied before if they are `fresh`.
    async fn insert(
        transaction: &mut Transaction<'_, Self::Database>,
        images: &[Image],
        fresh: bool,
    ) -> sqlx::Result<()>;

    /// Gives images that are there the values of these, and stores the members of these.
    async fn update(transaction: &mut Transaction<'_, Self::Database>, images: &[Image]) -> sqlx::Result<()>;

    /// After the commit: what makes the database smaller or faster.
    async fn tidy(&mut self) -> sqlx::Result<()>;
}

/// The columns of an image in the order in which they are written, each after what names its table.
macro_rules! columns {
    () => {
        columns!("")
    };
    ($table:literal) => {
        columns!(
            $table,
            "name", "status", "disk_format", "container_format", "size", "virtual_size", "checksum", "owner",
            "is_public", "protected", "deleted", "min_ram", "min_disk", "created_at", "updated_at", "deleted_at",
            "properties"
        )
    };
    ($table:literal, $($column:literal),+) => {
        concat!($table, "id", $(", ", $table, $column),+)
    };
}
pub(super) use columns;

const COUNT: &str = "SELECT count(*) FROM images";

/// The images of one statement on SQLite, which takes at most 32,766 values.
const ROWS: usize = 1000;

impl Bulk for SqliteConnection {
    type Brake = Arc<AtomicBool>;

    async fn open(options: &Self::Options) -> sqlx::Result<(Self, Self::Brake)> {
        let options = options
            .clone()
            // Members are written with their images, so that there is nothing to look up.
            .foreign_keys(false)
            .pragma("cache_size", "-400000")
            .pragma("threads", "2")
            .pragma("wal_autocheckpoint", "0");
        let mut connection = Self::connect_with(&options).await?;
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(1000, move || !seen.load(Ordering::Relaxed));
        drop(handle);
        Ok((connection, stopped))
    }

    async fn end(mut self, stopped: Self::Brake, _: bool) -> sqlx::Result<()> {
        stopped.store(true, Ordering::Relaxed);
        // What was stopped is rolled back before this.
        self.lock_handle().await?.remove_progress_handler();
        if let Err(error) = write_ahead(&mut self).await {
            tracing::warn!(%error, "the write-ahead log stays off until the next start");
        }
        self.close().await
    }

    const PRESENT_PER_NEW: i64 = 8;

    const REBUILDS_UNSEEN: bool = true;

    async fn prepare(_: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()> {
        Ok(())
    }

    /// There is one writer at a time in any case.
    async fn prepare_updates(_: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()> {
        Ok(())
    }

    async fn count(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<i64> {
        sqlx::query_scalar(COUNT).fetch_one(&mut **transaction).await
    }

    async fn indexes(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<Vec<Index>> {
        let indexes = sqlx::query_as(
            "SELECT name, format('DROP INDEX \"%w\"', name), sql FROM sqlite_schema
             WHERE type = 'index' AND tbl_name IN ('images', 'image_members') AND sql NOT LIKE 'CREATE UNIQUE %'
             ORDER BY rowid",
        );
        let mut indexes: Vec<Index> = indexes.fetch_all(&mut **transaction).await?;
        let triggers = sqlx::query_as(
            "SELECT coalesce(group_concat(format('DROP TRIGGER \"%w\"; ', name), ''), ''),
                 coalesce(group_concat(sql || '; ', ''), '')
             FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'images' AND name GLOB 'image_properties_*'",
        );
        let (drop, create): (String, String) = triggers.fetch_one(&mut **transaction).await?;
        indexes.push((
            "image_properties".to_owned(),
            drop + "DELETE FROM image_properties",
            create
                + "INSERT INTO image_properties (name, value, image_id)
                   SELECT substr(key, 1, 255), substr(value, 1, 255), images.id
                   FROM images, json_each(images.properties) WHERE type = 'text' ORDER BY 1, 2, 3
                   ON CONFLICT DO NOTHING",
        ));
        Ok(indexes)
    }

    async fn run(transaction: &mut Transaction<'_, Self::Database>, sql: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **transaction).await.map(drop)
    }

    async fn empty(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()> {
        sqlx::raw_sql("DELETE FROM image_members; DELETE FROM images").execute(&mut **transaction).await.map(drop)
    }

    async fn insert(transaction: &mut Transaction<'_, Self::Database>, images: &[Image], _: bool) -> sqlx::Result<()> {
        write_to_sqlite(transaction, images, "").await
    }

    async fn update(transaction: &mut Transaction<'_, Self::Database>, images: &[Image]) -> sqlx::Result<()> {
        let update = concat!(" ON CONFLICT (id) DO UPDATE SET (", columns!(), ") = (", columns!("excluded."), ")");
        for images in images.chunks(ROWS) {
            let mut sql = QueryBuilder::<Sqlite>::new("DELETE FROM image_members WHERE image_id IN (");
            let mut ids = sql.separated(", ");
            for image in images {
                ids.push_bind(image.id.to_string());
            }
            sql.push(")");
            sql.build().persistent(false).execute(&mut **transaction).await?;
        }
        write_to_sqlite(transaction, images, update).await
    }

    async fn tidy(&mut self) -> sqlx::Result<()> {
        // Empties the log, which is as large as all that was written, unless a reader still needs it.
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(self).await.map(drop)
    }
}

/// Inserts images with their members; `conflict` says what becomes of those that are there.
async fn write_to_sqlite(
    transaction: &mut Transaction<'_, Sqlite>,
    images: &[Image],
    conflict: &'static str,
) -> sqlx::Result<()> {
    for images in images.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new(concat!("INSERT INTO images (", columns!(), ") "));
        sql.push_values(images, |mut row, image| {
            row.push_bind(image.id.to_string())
                .push_bind(image.name.as_deref())
                .push_bind(&*image.status)
                .push_bind(image.disk_format.as_deref())
                .push_bind(image.container_format.as_deref())
                .push_bind(image.size)
                .push_bind(image.virtual_size)
                .push_bind(image.checksum.as_deref())
                .push_bind(image.owner.as_deref())
                .push_bind(image.is_public)
                .push_bind(image.protected)
                .push_bind(image.deleted)
                .push_bind(image.min_ram)
                .push_bind(image.min_disk)
                .push_bind(image.created_at.to_string())
                .push_bind(image.updated_at.map(|time| time.to_string()))
                .push_bind(image.deleted_at.map(|time| time.to_string()))
                .push_bind(&image.properties);
        });
        sql.push(conflict);
        sql.build().execute(&mut **transaction).await?;
    }
    let members: Vec<(Uuid, &Member)> = members(images).collect();
    for members in members.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO image_members (image_id, member, can_share) ");
        sql.push_values(members, |mut row, (id, Member { member, can_share })| {
            row.push_bind(id.to_string()).push_bind(member).push_bind(can_share);
        });
        sql.build().persistent(false).execute(&mut **transaction).await?;
    }
    Ok(())
}

impl Bulk for PgConnection {
    /// The server looks by itself whether somebody still waits.
    type Brake = ();

    async fn open(options: &Self::Options) -> sqlx::Result<(Self, Self::Brake)> {
        Ok((Self::connect_with(options).await?, ()))
    }

    async fn end(self, (): Self::Brake, was_stopped: bool) -> sqlx::Result<()> {
        if was_stopped { Ok(()) } else { self.close().await }
    }

    const PRESENT_PER_NEW: i64 = 4;

    const REBUILDS_UNSEEN: bool = false;

    async fn prepare(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()> {
        let settings = "SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL work_mem = '256MB'";
        sqlx::raw_sql(settings).execute(&mut **transaction).await.map(drop)
    }

    async fn prepare_updates(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()> {
        // Plans that were made while the table was small, those of foreign keys too, are kept until
        // it is large.
        let lock = "LOCK TABLE images, image_members IN SHARE ROW EXCLUSIVE MODE; SET LOCAL enable_seqscan = off; \
            SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
        sqlx::raw_sql(lock).execute(&mut **transaction).await.map(drop)
    }

    async fn count(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<i64> {
        sqlx::query_scalar(COUNT).persistent(false).fetch_one(&mut **transaction).await
    }

    async fn indexes(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<Vec<Index>> {
        // Those that say more than their definition does are left where they are.
        let indexes = sqlx::query_as(
            "SELECT relname::text, format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
             FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
             WHERE indrelid IN ('images'::regclass, 'image_members'::regclass)
                 AND NOT indisunique AND NOT indisexclusion AND NOT indisclustered AND NOT indisreplident
                 AND indisvalid AND reltablespace = 0 AND obj_description(indexrelid, 'pg_class') IS NULL
             ORDER BY indexrelid",
        );
        let mut indexes: Vec<Index> = indexes.persistent(false).fetch_all(&mut **transaction).await?;
        indexes.push((
            "image_properties".to_owned(),
            "ALTER TABLE images DISABLE TRIGGER image_properties_follow_insert; TRUNCATE image_properties".to_owned(),
            "INSERT INTO image_properties (name, value, image_id)
             SELECT left(property.key, 255), left(property.value, 255), images.id
             FROM images, json_each_text(images.properties) AS property
             WHERE property.value IS NOT NULL ORDER BY 1, 2, 3
             ON CONFLICT DO NOTHING;
             ALTER TABLE images ENABLE TRIGGER image_properties_follow_insert"
                .to_owned(),
        ));
        Ok(indexes)
    }

    async fn run(transaction: &mut Transaction<'_, Self::Database>, sql: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **transaction).await.map(drop)
    }

    async fn empty(transaction: &mut Transaction<'_, Self::Database>) -> sqlx::Result<()> {
        sqlx::raw_sql("TRUNCATE images, image_members").execute(&mut **transaction).await.map(drop)
    }

    async fn insert(
        transaction: &mut Transaction<'_, Self::Database>,
        images: &[Image],
        fresh: bool,
    ) -> sqlx::Result<()> {
        // Rows of a table that was emptied in this very transaction need no second write that
        // marks them as visible to all.
        let freeze = if fresh { " WITH (FREEZE)" } else { "" };
        let copy = concat!("COPY images (", columns!(), ") FROM STDIN").to_owned() + freeze;
        copy_images(transaction, &copy, images).await?;
        copy_members(transaction, freeze, images).await
    }

    async fn update(transaction: &mut Transaction<'_, Self::Database>, images: &[Image]) -> sqlx::Result<()> {
        let make = concat!(
            "CREATE TEMPORARY TABLE updated ON COMMIT DROP AS SELECT ",
            columns!(),
            " FROM images WITH NO DATA"
        );
        sqlx::raw_sql(make).execute(&mut **transaction).await?;
        copy_images(transaction, concat!("COPY updated (", columns!(), ") FROM STDIN"), images).await?;
        let update = concat!(
            "UPDATE images SET (",
            columns!(),
            ") = (",
            columns!("updated."),
            ") FROM updated WHERE updated.id = images.id; \
             DELETE FROM image_members USING updated WHERE image_id = updated.id; \
             DROP TABLE updated"
        );
        sqlx::raw_sql(update).execute(&mut **transaction).await?;
        copy_members(transaction, "", images).await
    }

    async fn tidy(&mut self) -> sqlx::Result<()> {
        // It marks the pages all of whose rows everybody sees, so that indexes answer alone.
        sqlx::raw_sql("VACUUM images, image_members, image_properties").execute(self).await.map(drop)
    }
}

async fn copy_images(transaction: &mut Transaction<'_, Postgres>, copy: &str, images: &[Image]) -> sqlx::Result<()> {
    let mut text = String::new();
    for image in images {
        push_image(&mut text, image);
    }
    let mut rows = transaction.copy_in_raw(copy).await?;
    rows.send(text.as_bytes()).await?;
    rows.finish().await.map(drop)
}

async fn copy_members(transaction: &mut Transaction<'_, Postgres>, freeze: &str, images: &[Image]) -> sqlx::Result<()> {
    let mut text = String::new();
    for (id, Member { member, can_share }) in members(images) {
        write!(text, "{id}\t").expect("a String takes all that is written");
        push_text(&mut text, member);
        text.push_str(if *can_share { "\tt\n" } else { "\tf\n" });
    }
    if text.is_empty() {
        return Ok(());
    }
    let copy = format!("COPY image_members (image_id, member, can_share) FROM STDIN{freeze}");
    let mut rows = transaction.copy_in_raw(&copy).await?;
    rows.send(text.as_bytes()).await?;
    rows.finish().await.map(drop)
}

fn members(images: &[Image]) -> impl Iterator<Item = (Uuid, &Member)> {
    images.iter().flat_map(|image| image.members.iter().map(|member| (image.id, member)))
}

/// Appends a line of COPY's text format.
fn push_image(line: &mut String, image: &Image) {
    let flag = |flag| if flag { "t" } else { "f" };
    push_value(line, image.id);
    push_optional_text(line, image.name.as_deref());
    push_optional_text(line, Some(&image.status));
    push_optional_text(line, image.disk_format.as_deref());
    push_optional_text(line, image.container_format.as_deref());
    push_optional(line, image.size);
    push_optional(line, image.virtual_size);
    push_optional_text(line, image.checksum.as_deref());
    push_optional_text(line, image.owner.as_deref());
    push_value(line, flag(image.is_public));
    push_value(line, flag(image.protected));
    push_value(line, flag(image.deleted));
    push_value(line, image.min_ram);
    push_value(line, image.min_disk);
    push_value(line, image.created_at);
    push_optional(line, image.updated_at);
    push_optional(line, image.deleted_at);
    push_text(line, &image.properties);
    line.push('\n');
}

fn push_value(line: &mut String, value: impl Display) {
    write!(line, "{value}\t").expect("a String takes all that is written");
}

fn push_optional(line: &mut String, value: Option<impl Display>) {
    match value {
        Some(value) => push_value(line, value),
        None => line.push_str("\\N\t"),
    }
}

fn push_optional_text(line: &mut String, text: Option<&str>) {
    match text {
        Some(text) => push_text(line, text),
        None => line.push_str("\\N"),
    }
    line.push('\t');
}

fn push_text(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other => line.push(other),
        }
    }
}
