//! How the page of a query is found: the one place where plans are chosen.
//!
//! Every page begins as a short walk in its own order, which most queries fill after a few rows. A walk
//! that is cut short tells that matches are sparse, and how sparse they are there. Then a sample of all
//! images tells which of the paths that lead to all matches may be short, and these are counted, each
//! only up to `sqrt(images * page)` rows. Where all have more, matches cannot be so sparse that a walk
//! of that length does not meet a page of them, as long as the filters do not depend on each other.
//! Where they do, what the equalities and a property lead to may be joined, which is priced but not
//! counted. Where that is not short either, or two ranges together are that sparse, walks grow until
//! the shortest path is the cheaper way: that in the order of the page, and where there is one, that
//! through nothing but what the list may show, whichever is expected to cost less. Where the order is
//! one of few values, such as that of statuses, the page is put together of the list of each, if that
//! is expected to cost less, and until it has come to cost more.
//!
//! A plan decides what a page costs, never what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, iter, mem};

use sqlx::Connection as _;

use super::error::StoreError;
use super::sql::{self, Compiled, Dialect, Path, Plan, Projection, Sample, Sql};
use crate::query::{Column, Direction, ImageQuery, Liveness, Value};

/// A page as the database gave it, and how it was found.
pub struct Found<DB: Dialect> {
    /// They follow each other.
    pub rows: Vec<DB::Row>,
    pub choice: Choice,
}

/// A plan and the findings that led to it.
#[derive(Debug)]
pub struct Choice {
    pub plan: Plan,
    /// Whether the page was put together by the values of its sort key; the plan is that of the last.
    pub by_keys: bool,
    pub findings: Vec<Finding>,
}

/// What was learned about a query before its plan was chosen.
#[derive(Debug)]
pub enum Finding {
    /// A plan left off after this many rows with too few matches.
    Cut { plan: Plan, rows: u32, matches: i64 },
    /// A path has this many rows; counting stopped at the bound.
    Counted { path: Path, rows: i64, bound: i64 },
    /// A path is likely to have this many rows.
    Expected { path: Path, rows: i64 },
    /// What each plan that could come next is likely to cost, in rows that an index covers; the first
    /// of the least was taken, unless the page was put together.
    Weighed(Vec<(Plan, i64)>),
    /// What it is likely to cost to put the page together of so many values of its sort key.
    Apart { pieces: usize, cost: i64 },
    /// What follows is about the images with this value of the sort key, up to the next of these.
    Key { column: Column, value: Option<String> },
    /// To put the page together has come to cost more than the shortest path; what follows is about the
    /// whole list again.
    TooDear,
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_keys = if self.by_keys { "put together by the values of the sort key, the last of which: " } else { "" };
        write!(formatter, "{by_keys}{}", self.plan)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { plan: Plan::FirstScan(path), rows, matches } => {
                write!(formatter, "by {path} the first {rows} rows were put in order, of which {matches} match")
            }
            Self::Cut { plan: Plan::ShownWalk(_), rows, matches } => {
                write!(
                    formatter,
                    "the walk through what may be shown was cut after {rows} rows, of which {matches} match"
                )
            }
            Self::Cut { rows, matches, .. } => {
                write!(formatter, "the walk in order was cut after {rows} rows, of which {matches} match")
            }
            Self::Counted { path, rows, bound } if rows >= bound => {
                write!(formatter, "by {path} there are {bound} rows or more")
            }
            Self::Counted { path, rows, .. } => write!(formatter, "by {path} there are {rows} rows"),
            Self::Expected { path, rows } => write!(formatter, "by {path} about {rows} rows are expected"),
            Self::Weighed(plans) => {
                let prices: Vec<String> = plans.iter().map(|(plan, cost)| format!("{cost} for {plan}")).collect();
                write!(formatter, "next costs about {}", prices.join("; "))
            }
            Self::Apart { pieces, cost } => {
                write!(formatter, "to put the page together of {pieces} values of the sort key costs about {cost}")
            }
            Self::Key { column, value: Some(value) } => {
                write!(formatter, "among those of {} {value:?}:", column.name())
            }
            Self::Key { column, value: None } => write!(formatter, "among those without {}:", column.name()),
            Self::TooDear => {
                formatter.write_str("to put the page together has come to cost too much; of the whole list again:")
            }
        }
    }
}

/// The fewest images of a sample; it grows with the root of the catalog, as what it may save does.
const SAMPLE: i64 = 250;

/// A path of which so many times too many rows are expected is counted all the same: samples err.
const MAYBE_FEW: i64 = 2;

/// A row that has to be looked up costs as much as this many that an index covers.
const LOOKUP: i64 = 8;

/// So many rows that are only read, because two paths are joined, cost as much as one on a path whose
/// properties are looked up.
const JOINED: i64 = 4;

/// A list whose sort key has fewer values than this may be put together by them; those of deleted
/// images count apart.
const FEW_KEYS: usize = 128;

/// The first walk through the images of one value of the sort key is so many times shorter: walks
/// that are much longer have not filled the page.
const SHORTER: u32 = 8;

/// A page to look for, of a list or of a piece of one.
#[derive(Clone, Copy)]
struct Request<'a> {
    page: Compiled<'a>,
    projection: Projection,
    /// The first walk passes over so many rows, times the root of the size of the page.
    walk: u32,
    /// The list has about one of so many parts of the catalog.
    parts: i64,
}

/// A connection on which a page is looked for.
pub struct Search<'c, DB: Dialect> {
    connection: &'c mut DB::Connection,
    /// Whether its statements stay prepared for the next like them.
    is_prepared: bool,
    /// What has been run, where that is to be told.
    trace: Option<Vec<Traced>>,
}

/// A statement that was run in search of a page.
#[derive(Debug)]
pub struct Traced {
    pub sql: String,
    /// What stands in the statement's places, in order.
    pub binds: Vec<Value>,
    /// The engine's plan, in its own words.
    pub steps: Vec<String>,
    /// What it cost, in the unit that [`super::Explained`] names.
    pub work: i64,
}

impl<'c, DB: Dialect> Search<'c, DB> {
    pub fn new(connection: &'c mut DB::Connection) -> Self {
        Self { is_prepared: !connection.is_in_transaction(), connection, trace: None }
    }

    /// A search that keeps what it does; it takes longer.
    pub fn traced(connection: &'c mut DB::Connection) -> Self {
        Self { trace: Some(Vec::new()), ..Self::new(connection) }
    }

    /// What has been run, in order.
    pub fn into_trace(self) -> Vec<Traced> {
        self.trace.unwrap_or_default()
    }

    async fn fetch(&mut self, push: impl Fn(&mut Sql<DB>)) -> sqlx::Result<Vec<DB::Row>> {
        let mut sql = Sql::new("");
        push(&mut sql);
        let Some(trace) = &mut self.trace else {
            return DB::fetch_as(self.connection, sql, self.is_prepared).await;
        };

        let (text, binds) = (sql.text(), sql.binds().to_vec());
        let mut explained = Sql::new(DB::EXPLAIN);
        push(&mut explained);
        let steps = DB::explain(self.connection, explained).await?;
        let counter = DB::count_work(self.connection).await?;
        let rows = DB::fetch_as(self.connection, sql, self.is_prepared).await?;
        let work = DB::work(&steps, &counter);
        trace.push(Traced { sql: text, binds, steps, work });
        Ok(rows)
    }

    async fn numbers(&mut self, push: impl Fn(&mut Sql<DB>)) -> Result<Vec<i64>, StoreError> {
        let rows = self.fetch(push).await?;
        Ok(DB::numbers(rows.first().ok_or(sqlx::Error::RowNotFound)?)?)
    }

    /// Finds a page, first by a walk over `walk` rows, times the root of the size of the page.
    ///
    /// # Errors
    /// [`StoreError::MarkerNotFound`] where the view does not let the caller name the query's marker,
    /// and what the database says.
    pub async fn page(
        &mut self,
        page: &Compiled<'_>,
        projection: Projection,
        walk: u32,
    ) -> Result<Found<DB>, StoreError> {
        self.find(Request { page: *page, projection, walk, parts: 1 }, &mut 0).await
    }

    /// Finds a page, and adds what that was expected to cost to what has been spent.
    async fn find(&mut self, request: Request<'_>, spent: &mut i64) -> Result<Found<DB>, StoreError> {
        let page = &request.page;
        let mut findings = Vec::new();
        let mut prospect = None;
        let mut plan = Plan::FirstWalk(request.walk.saturating_mul(sql::wanted(page.query).isqrt()));
        loop {
            let row = self.run(page, plan, request.projection).await?;
            if let Some(marker) = page.query.marker
                && !DB::is_marked(&row)?
            {
                return Err(StoreError::MarkerNotFound(marker));
            }
            let Some(matches) = DB::cut(&row)? else {
                return Ok(Found { rows: vec![row], choice: Choice { plan, by_keys: false, findings } });
            };
            let rows = plan.bound(page).expect("what has no bound is not cut");
            findings.push(Finding::Cut { plan, rows, matches });
            let prospect = if let Some(prospect) = &mut prospect {
                prospect
            } else {
                let learned = self.prospect(request, rows, matches, &mut findings).await?;
                *spent += i64::from(rows) + learned.cost;
                prospect.insert(learned)
            };
            let plans = prospect.after(plan, rows, matches);
            let &(next, cost) = plans.iter().min_by_key(|(_, cost)| cost).expect("every page can be walked to");
            findings.push(Finding::Weighed(plans));
            // Nobody asks how many pieces there are where not even one would cost less.
            if prospect.pieces.is_none() && prospect.cost_of_pieces(1) < cost {
                prospect.pieces = Some(self.pieces(page).await?.list.len());
            }
            let pieces = prospect.pieces.unwrap_or_default();
            let by_keys = prospect.cost_of_pieces(pieces);
            if pieces > 0 && by_keys < cost {
                findings.push(Finding::Apart { pieces, cost: by_keys });
                prospect.pieces = Some(0);
                // Another walk may be cut, too, but the shortest path surely comes to an end.
                if let Some(found) = self.by_keys(request, prospect.scan.cost, &mut findings).await? {
                    return Ok(found);
                }
            }
            *spent += cost;
            plan = next;
        }
    }

    /// Puts a page together of the pieces of its list, all as they are at one moment. Each is found for
    /// itself, so that what is true of a list in the order of creation is true of each piece. None
    /// where it has come to cost more than `dear`.
    async fn by_keys(
        &mut self,
        request: Request<'_>,
        dear: i64,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Found<DB>>, StoreError> {
        if self.connection.is_in_transaction() {
            return self.put_together(request, dear, findings).await;
        }
        let mut snapshot = self.connection.begin_with(DB::SNAPSHOT).await?;
        let mut search = Search { connection: &mut *snapshot, is_prepared: self.is_prepared, trace: self.trace.take() };
        let found = search.put_together(request, dear, findings).await;
        self.trace = search.trace;
        // However it came out: a transaction that is left open would hold up the database's own work.
        let ended = snapshot.commit().await;
        let found = found?;
        ended?;
        Ok(found)
    }

    /// The same, all of one moment where its transaction is.
    async fn put_together(
        &mut self,
        request: Request<'_>,
        dear: i64,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Found<DB>>, StoreError> {
        let page = &request.page;
        let Pieces { parts, list } = self.pieces(page).await?;
        if list.is_empty() {
            return Ok(None);
        }
        let wanted = usize::try_from(sql::wanted(page.query)).expect("a page fits in memory");
        let walk = (request.walk / SHORTER).max(1);
        let (mut rows, mut documents, mut spent, mut plan) = (Vec::new(), 0, 0, Plan::FirstWalk(0));
        for Piece { value, query } in list {
            if spent > dear {
                findings.push(Finding::TooDear);
                return Ok(None);
            }
            findings.push(Finding::Key { column: page.query.sort_key, value });
            let piece = Compiled { query: &query, view: page.view };
            let found = Box::pin(self.find(Request { page: piece, walk, parts, ..request }, &mut spent)).await?;
            findings.extend(found.choice.findings);
            plan = found.choice.plan;
            for row in found.rows {
                documents += DB::bytes(&row)?.map_or(0, |documents| documents.split(|&byte| byte == b'\n').count());
                rows.push(row);
            }
            if documents >= wanted {
                break;
            }
        }
        let choice = Choice { plan, by_keys: true, findings: mem::take(findings) };
        Ok(Some(Found { rows, choice }))
    }

    /// The pieces of a list that may be put together by the values of its sort key, from the marker's
    /// on; none where the key has many.
    async fn pieces(&mut self, page: &Compiled<'_>) -> Result<Pieces, StoreError> {
        let query = page.query;
        let key = query.sort_key;
        let on_key = || query.filters.iter().filter(|filter| filter.column == key);
        if query.is_without_key() || !matches!(key, Column::ContainerFormat | Column::DiskFormat | Column::Status) {
            return Ok(Pieces::default());
        }
        // What is no UTF-8, as SQLite may have it, no filter would find again.
        let value = |row| Ok(DB::bytes(row)?.map(|bytes| String::from_utf8(bytes.to_vec())).transpose().ok());
        let rows = self.fetch(|sql| sql::push_keys(sql, query, FEW_KEYS)).await?;
        let values: Option<BTreeSet<Option<String>>> = rows.iter().map(value).collect::<sqlx::Result<_>>()?;
        let Some(mut values) = values.filter(|_| rows.len() < FEW_KEYS) else { return Ok(Pieces::default()) };
        if key.is_nullable() {
            values.insert(None);
        }
        let parts = i64::try_from(values.len()).expect("there are few");
        values.retain(|value| on_key().all(|filter| filter.test.passes(value.as_deref())));
        if key == Column::Status && query.liveness == Liveness::Live {
            values.remove(&Some("killed".to_owned()));
        }
        let mut mark = None;
        if let Some(marker) = query.marker {
            let rows = self.fetch(|sql| sql::push_mark_key(sql, page, marker)).await?;
            let row = rows.first().ok_or(StoreError::MarkerNotFound(marker))?;
            let Some(key) = value(row)? else { return Ok(Pieces::default()) };
            values.retain(|value| match query.sort_dir {
                Direction::Asc => *value >= key,
                Direction::Desc => *value <= key,
            });
            mark = Some(key);
        }
        let mut values: Vec<Option<String>> = values.into_iter().collect();
        if query.sort_dir == Direction::Desc {
            values.reverse();
        }
        let piece = |value: Option<String>| {
            let marker = query.marker.filter(|_| mark.as_ref() == Some(&value));
            Piece { query: query.with_key(value.as_deref(), marker), value }
        };
        Ok(Pieces { parts, list: values.into_iter().map(piece).collect() })
    }

    async fn run(&mut self, page: &Compiled<'_>, plan: Plan, projection: Projection) -> Result<DB::Row, StoreError> {
        let mut rows = self.fetch(|sql| sql::push_page(sql, page, plan, projection)).await?;
        Ok(rows.pop().ok_or(sqlx::Error::RowNotFound)?)
    }

    /// What the ways to the matches of a page are like, after a walk of so many rows and matches.
    async fn prospect(
        &mut self,
        request: Request<'_>,
        walked: u32,
        matches: i64,
        findings: &mut Vec<Finding>,
    ) -> Result<Prospect, StoreError> {
        let page = &request.page;
        // Engines know about how many there are; there are at least those that the walk met.
        let images = self.numbers(|sql| sql::push_images(sql)).await?[0].max(walked.max(1).into());
        let few = (images / request.parts).saturating_mul(sql::wanted(page.query).into()).isqrt();
        let paths = Path::of(page.query, &page.view.listed);
        let size = SAMPLE.max(few / 10);
        let columns = self.numbers(|sql| sql::push_sample(sql, page, &paths, size, few)).await?;
        let sample = Sample::of(&columns).ok_or(sqlx::Error::RowNotFound)?;
        let mut cost = sample.images;
        let mut scan: Option<Scan> = None;
        let mut lengths = BTreeMap::new();
        for (&path, lying) in paths.iter().zip(&sample.on_paths) {
            let row = if path.is_covered(page.query) { 1 } else { LOOKUP };
            let entries = match path {
                Path::Equalities | Path::EqualitiesAndProperty(_) | Path::Visible => sample.entries,
                Path::Column(_) | Path::Property(_) => 1,
            };
            let joined: Option<[i64; 2]> = path.joins().map(|both| both.map(|path| lengths[&path]));
            // In a sample a part of none stands for half a row.
            let mut rows = images.saturating_mul(2 * lying + 1) / (2 * sample.images + 1);
            findings.push(Finding::Expected { path, rows });
            // Of a path with none in it the sample tells little, and where ids are not random, it may
            // be empty.
            let is_maybe_few = *lying == 0 || sample.images < size || rows <= MAYBE_FEW * few;
            if let Some([first, second]) = joined {
                // To count them would be to join them.
                rows = rows.min(first).min(second);
            } else if entries < few && is_maybe_few {
                // With more than that it would cost more than the shortest; rounded, so that there are few
                // statements to plan.
                let enough = scan.as_ref().map_or(few, |shortest| few.min(shortest.cost / row + 1));
                let bound = few.min(enough.unsigned_abs().next_power_of_two().cast_signed());
                let counted = self.numbers(|sql| sql::push_count(sql, page, path, bound)).await?[0];
                findings.push(Finding::Counted { path, rows: counted, bound });
                cost += counted;
                rows = if counted < bound { counted } else { rows.max(bound) };
            }
            lengths.insert(path, rows);
            let read = joined.map_or(0, |both| both.iter().sum::<i64>() / JOINED);
            let price = read.saturating_add(entries.saturating_mul(LOOKUP)).saturating_add(rows.saturating_mul(row));
            if scan.as_ref().is_none_or(|shortest| price < shortest.cost) {
                scan = Some(Scan { plan: Plan::FirstScan(path), rows, cost: price });
            }
        }
        let mut walks = vec![Walk::new::<DB>(page, Plan::Walk, walked.into(), matches)];
        if sql::has_shown_walk(page) && sample.memberships < few {
            // As if as many had been looked at as the next walk has to be longer than.
            let matches = sample.matches.saturating_mul(few) / sample.shown.max(1);
            // They are put in order for the walk, and once more to see that it is cut.
            let extra = 2 * LOOKUP * sample.memberships;
            walks.push(Walk { extra, ..Walk::new::<DB>(page, Plan::ShownWalk, few, matches) });
        }
        // Where nothing of a whole sample matches, no piece is likely to fill the page.
        let is_hopeless = sample.matches == 0 && sample.images >= size;
        let pieces = is_hopeless.then_some(0);
        let scan = scan.expect("a path leads to every list");
        Ok(Prospect { few, wanted: sql::wanted(page.query).into(), cost, scan, walks, pieces })
    }
}

/// What is known of the ways to the matches of a page. Costs are in rows that an index covers.
struct Prospect {
    /// So few rows that a path of them is surely a good one.
    few: i64,
    wanted: i64,
    /// What it cost to learn this.
    cost: i64,
    /// The scan by the shortest path.
    scan: Scan,
    walks: Vec<Walk>,
    /// Of how many pieces the page may be put together, if that costs less; none where nobody has asked.
    pieces: Option<usize>,
}

/// What a list may be put together of.
#[derive(Default)]
struct Pieces {
    /// How many values its sort key has in all the catalog.
    parts: i64,
    list: Vec<Piece>,
}

/// What a list has of one value of its sort key.
struct Piece {
    value: Option<String>,
    query: ImageQuery,
}

struct Scan {
    plan: Plan,
    /// About how many rows the path has.
    rows: i64,
    cost: i64,
}

/// A walk that starts anew when it is cut, longer each time.
struct Walk {
    plan: fn(u32) -> Plan,
    /// What each of its rows costs, where they are kept if that can be, and where they are too many.
    prices: [i64; 2],
    /// What comes to all of them.
    extra: i64,
    /// How many rows were looked at last, and how many of them match.
    walked: i64,
    matches: i64,
}

impl Walk {
    fn new<DB: Dialect>(page: &Compiled<'_>, plan: fn(u32) -> Plan, walked: i64, matches: i64) -> Self {
        Self {
            plan,
            prices: [0, u32::MAX].map(|bound| sql::price::<DB>(page, plan(bound), LOOKUP)),
            extra: 0,
            walked,
            matches,
        }
    }

    /// The bound of the next one.
    fn bound(&self, few: i64) -> i64 {
        let [short, long] = self.prices.map(|price| few * 4 / price);
        (self.walked * 4).max(if short <= sql::KEPT.into() { short } else { long.max(sql::KEPT.into()) })
    }

    fn next(&self, few: i64) -> Plan {
        (self.plan)(u32::try_from(self.bound(few)).unwrap_or(u32::MAX))
    }

    /// What the next one costs, if matches go on as they did.
    fn cost(&self, few: i64, wanted: i64) -> i64 {
        let bound = self.bound(few);
        let [short, long] = self.prices;
        let price = if bound <= sql::KEPT.into() { short } else { long };
        price * enough(self.walked, self.matches, wanted).min(bound) + self.extra
    }
}

/// How many rows hold the wanted matches, if all are like those that were looked at.
fn enough(rows: i64, matches: i64, wanted: i64) -> i64 {
    rows * 2 * wanted / (2 * matches + 1)
}

impl Prospect {
    /// What it costs to put the page together of so many pieces: most have nothing, as a sample and a path
    /// of theirs tell, which shorten as the pieces do.
    fn cost_of_pieces(&self, pieces: usize) -> i64 {
        self.few.saturating_mul(pieces.isqrt().try_into().unwrap_or(i64::MAX)) / 2
    }

    /// What may follow a plan that was cut after so many rows, and what each is likely to cost, the
    /// shortest path in front and the walk that passes over most at the end. A walk that was chosen
    /// wrongly costs little, as it is cut; a scan is as good as what is known of its path.
    fn after(&mut self, cut: Plan, rows: u32, matches: i64) -> Vec<(Plan, i64)> {
        let scan = &mut self.scan;
        if let Plan::FirstScan(path) = cut {
            scan.plan = Plan::Scan(path);
            scan.cost += LOOKUP * scan.rows.min(enough(rows.into(), matches, self.wanted));
        }
        for walk in self.walks.iter_mut().filter(|walk| (walk.plan)(rows) == cut) {
            (walk.walked, walk.matches) = (rows.into(), matches);
        }
        let walks = self.walks.iter().rev().map(|walk| (walk.next(self.few), walk.cost(self.few, self.wanted)));
        iter::once((self.scan.plan, self.scan.cost)).chain(walks).collect()
    }
}
