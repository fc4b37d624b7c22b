//! Brings images into the catalog by their ids: new ones are inserted, present ones brought up to
//! date, all in one transaction.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use sqlx::error::DatabaseError;
use sqlx::{PgConnection, SqliteConnection, Transaction};
use uuid::Uuid;

use super::bulk::{
    Bulk, analyze, commit, drop_indexes, failed, leave_write_ahead, make_indexes, on_a_connection, tidy,
};
use super::error::said;
use super::sql::{self, Dialect, Sql};
use super::{Step, Target};
use crate::image::{Draft, Image, Said, document};
use crate::timestamp::Timestamp;

/// What becomes of a record whose image is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// The image gets what the record says.
    Update,
    /// The image stays as it is.
    Skip,
    /// The record is refused.
    Fail,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub on_conflict: OnConflict,
    /// Whether the rest is stored where some records are refused.
    pub keep_going: bool,
    /// Whether everything is done but stored.
    pub dry_run: bool,
    /// The time of what the records do not date.
    pub moment: Timestamp,
}

impl Rules {
    /// Whether the catalog stays as it is.
    fn keeps(self, counts: Counts) -> bool {
        self.dry_run || counts.refused > 0 && !self.keep_going
    }
}

/// What stands in one place of a source: an image, or why there is none.
#[derive(Clone, Debug)]
pub struct Record<P> {
    pub place: P,
    pub read: Result<Draft, String>,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub new: u64,
    pub changed: u64,
    pub same: u64,
    pub skipped: u64,
    pub refused: u64,
}

impl Counts {
    fn total(self) -> u64 {
        self.written() + self.same + self.skipped + self.refused
    }

    fn written(self) -> u64 {
        self.new + self.changed
    }
}

/// What is told meanwhile.
#[derive(Debug)]
pub enum Told<'a, P> {
    Step(Step<'a>),
    Refused { place: &'a P, reason: &'a str },
}

/// How it ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upserted {
    Stored(Counts),
    /// The catalog is unchanged, because some records are refused, or because nothing was to be stored.
    Kept(Counts),
    /// It was told to stop, and the catalog is unchanged.
    Stopped,
}

/// So many written images change what is known of the tables.
const MANY: u64 = 1000;

/// So many written images are worth it to build the indexes anew, unless many more were there: kept
/// up row by row, they take ever longer once they are larger than SQLite's cache.
const MANY_FOR_INDEXES: i64 = 10_000;

impl Target {
    /// Stores the images of records, which `next` gives in parts up to an empty one; `stop` ends it
    /// early.
    ///
    /// # Errors
    /// What `next` or the database said; the catalog is unchanged then.
    pub async fn upsert<P>(
        &self,
        rules: Rules,
        next: impl AsyncFnMut() -> anyhow::Result<Vec<Record<P>>>,
        report: impl FnMut(Told<'_, P>),
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Upserted> {
        let is_stopped = |upserted: &Upserted| *upserted == Upserted::Stopped;
        match self {
            Self::Sqlite(options) => {
                let upsert = async |connection: &mut SqliteConnection| {
                    leave_write_ahead(connection).await;
                    upsert(connection, rules, next, report, stop).await
                };
                self.naming_failed(on_a_connection(options, upsert, is_stopped).await)
            }
            Self::Postgres(options) => {
                let upsert = async |connection: &mut PgConnection| upsert(connection, rules, next, report, stop).await;
                on_a_connection(options, upsert, is_stopped).await
            }
        }
    }
}

async fn upsert<C: Bulk<Database: Dialect>, P>(
    connection: &mut C,
    rules: Rules,
    next: impl AsyncFnMut() -> anyhow::Result<Vec<Record<P>>>,
    mut report: impl FnMut(Told<'_, P>),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Upserted> {
    let mut stop = pin!(stop);
    let (transaction, counts) = tokio::select! {
        biased;
        written = write(connection, rules, next, &mut report) => written?,
        () = &mut stop => return Ok(Upserted::Stopped),
    };
    if rules.keeps(counts) {
        transaction.rollback().await.map_err(|error| failed(&error))?;
        return Ok(Upserted::Kept(counts));
    }
    commit(transaction).await?;
    if counts.written() >= MANY {
        report(Told::Step(Step::Tidying));
        tidy(connection, stop).await;
    }
    Ok(Upserted::Stored(counts))
}

async fn write<'c, C: Bulk<Database: Dialect>, P>(
    connection: &'c mut C,
    rules: Rules,
    mut next: impl AsyncFnMut() -> anyhow::Result<Vec<Record<P>>>,
    report: &mut impl FnMut(Told<'_, P>),
) -> anyhow::Result<(Transaction<'c, C::Database>, Counts)> {
    // Nobody else has to wait until a source says its first word.
    let mut records = next().await?;
    let mut transaction = connection.begin_alone().await.map_err(|error| failed(&error))?;
    C::prepare(&mut transaction).await.map_err(|error| failed(&error))?;
    C::prepare_updates(&mut transaction).await.map_err(|error| failed(&error))?;
    let there = C::count(&mut transaction).await.map_err(|error| failed(&error))?;
    let many = u64::try_from(MANY_FOR_INDEXES.max(there / C::PRESENT_PER_NEW)).unwrap_or(u64::MAX);
    let mut dropped = Vec::new();
    let mut part = Part { rules, counts: Counts::default(), seen: HashSet::new(), report };
    (part.report)(Told::Step(Step::Rows(0)));
    while !records.is_empty() {
        // How many come is not known. Dropped this late, building them takes about as long as it
        // took to keep them up until now: the worst case is twice the best one.
        if C::REBUILDS_UNSEEN && dropped.is_empty() && part.counts.written() >= many {
            dropped = drop_indexes::<C>(&mut transaction).await.map_err(|error| failed(&error))?;
        }
        part.take::<C, P>(&mut transaction, records).await.map_err(|error| failed(&error))?;
        (part.report)(Told::Step(Step::Rows(part.counts.total())));
        records = next().await?;
    }
    let counts = part.counts;
    if counts.written() >= MANY && !rules.keeps(counts) {
        let mut step = |step: Step<'_>| report(Told::Step(step));
        make_indexes::<C>(&mut transaction, &dropped, &mut step).await.map_err(|error| failed(&error))?;
        step(Step::Analyzing);
        analyze::<C>(&mut transaction).await.map_err(|error| failed(&error))?;
    }
    Ok((transaction, counts))
}

/// What goes on from one part of the records to the next.
struct Part<'a, R> {
    rules: Rules,
    counts: Counts,
    seen: HashSet<Uuid>,
    report: &'a mut R,
}

/// Images with their places.
type Placed<P> = (Vec<P>, Vec<Image>);

impl<R> Part<'_, R> {
    async fn take<C: Bulk<Database: Dialect>, P>(
        &mut self,
        transaction: &mut Transaction<'_, C::Database>,
        records: Vec<Record<P>>,
    ) -> sqlx::Result<()>
    where
        R: FnMut(Told<'_, P>),
    {
        let drafts = records.iter().filter_map(|record| record.read.as_ref().ok());
        let mut present = present::<C>(transaction, &drafts.map(|draft| draft.id).collect::<Vec<Uuid>>()).await?;
        let (mut new, mut changed): (Placed<P>, Placed<P>) = Default::default();
        for Record { place, read } in records {
            let draft = match read {
                Ok(draft) => draft,
                Err(reason) => {
                    self.refuse(&place, &reason);
                    continue;
                }
            };
            if !self.seen.insert(draft.id) {
                self.refuse(&place, &format!("the id {} stands in an earlier record, too", draft.id));
                continue;
            }
            match (present.remove(&draft.id), self.rules.on_conflict) {
                (None, _) => {
                    new.0.push(place);
                    new.1.push(draft.onto(None, self.rules.moment));
                }
                (Some(_), OnConflict::Skip) => self.counts.skipped += 1,
                (Some(_), OnConflict::Fail) => {
                    self.refuse(&place, &format!("an image with the id {} is there already", draft.id));
                }
                (Some(there), OnConflict::Update) => {
                    let image = draft.onto(Some(&there), self.rules.moment);
                    if image.is_like(&there) {
                        self.counts.same += 1;
                    } else {
                        changed.0.push(place);
                        changed.1.push(image);
                    }
                }
            }
        }
        self.counts.new += self.store::<C, P>(transaction, new, Way::Insert).await?;
        self.counts.changed += self.store::<C, P>(transaction, changed, Way::Update).await?;
        Ok(())
    }

    /// Stores images, all together if the database takes them, else those that it takes; how many.
    async fn store<C: Bulk<Database: Dialect>, P>(
        &mut self,
        transaction: &mut Transaction<'_, C::Database>,
        images: Placed<P>,
        way: Way,
    ) -> sqlx::Result<u64>
    where
        R: FnMut(Told<'_, P>),
    {
        let mut stored = 0;
        let mut parts = vec![images];
        while let Some((mut places, mut images)) = parts.pop() {
            if images.is_empty() {
                continue;
            }
            let mut attempt = transaction.begin().await?;
            let written = match way {
                Way::Insert => C::insert(&mut attempt, &images, false).await,
                Way::Update => C::update(&mut attempt, &images).await,
            };
            match written {
                Ok(()) => {
                    attempt.commit().await?;
                    stored += images.len() as u64;
                }
                Err(sqlx::Error::Database(error)) if is_of_a_row(&*error) => {
                    attempt.rollback().await?;
                    if let [place] = places.as_slice() {
                        self.refuse(place, &said(&sqlx::Error::Database(error)));
                    } else {
                        let middle = images.len() / 2;
                        parts.push((places.split_off(middle), images.split_off(middle)));
                        parts.push((places, images));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(stored)
    }

    fn refuse<P>(&mut self, place: &P, reason: &str)
    where
        R: FnMut(Told<'_, P>),
    {
        self.counts.refused += 1;
        (self.report)(Told::Refused { place, reason });
    }
}

#[derive(Clone, Copy)]
enum Way {
    Insert,
    Update,
}

/// Whether a row is at fault, not the database. PostgreSQL: data (22), constraints (23), sizes such
/// as that of an index's entry (54). SQLite: too big (18), a constraint (19), a mismatch (20).
fn is_of_a_row(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if code.len() == 5 {
        return ["22", "23", "54"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
}

/// The ids of one statement.
const IDS: usize = 1000;

/// Those images of these ids that are there.
async fn present<C: Bulk<Database: Dialect>>(
    transaction: &mut Transaction<'_, C::Database>,
    ids: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Image>> {
    let mut present = HashMap::new();
    for ids in ids.chunks(IDS) {
        let mut sql = Sql::new("");
        sql::push_present(&mut sql, ids);
        for row in C::Database::fetch(&mut *transaction, sql).await? {
            let (document, members) = (C::Database::text(&row, 0)?, C::Database::text(&row, 1)?);
            let image = image(&document, &members).map_err(|reason| sqlx::Error::Decode(reason.into()))?;
            present.insert(image.id, image);
        }
    }
    Ok(present)
}

/// The image that a document shows whole, with its members.
pub(super) fn image(document: &str, members: &str) -> Result<Image, String> {
    let draft = document::read(document)?;
    let Said::This(created_at) = draft.created_at else { return Err("a document has no created_at".to_owned()) };
    let mut image = draft.onto(None, created_at);
    image.members = document::read_members(members)?;
    Ok(image)
}
