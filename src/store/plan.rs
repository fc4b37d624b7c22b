//! How the page of a query is found: the one place where plans are chosen.
//!
//! Every page begins as a walk in its own order, which most queries fill after a few rows. A walk
//! that is cut short tells that matches are sparse; then the paths that lead to them are counted,
//! each only up to about `sqrt(images * page)` rows. A path with fewer rows is gone whole. Where
//! all have more, matches cannot be so sparse that the walk in order, without a bound, is dearer
//! than that, as long as the filters do not depend on each other. Where two paths together may be
//! that sparse, a sample of each tells what either would cost.
//!
//! A plan decides what a page costs, never what it holds.

use std::fmt;

use super::StoreError;
use super::sql::{self, Compiled, Dialect, Path, Plan, Position, Projection, Sql};
use crate::query::{Column, ImageQuery, Value, View};

/// A page as the database gave it, and how it was found.
pub struct Found<DB: Dialect> {
    pub row: DB::Row,
    pub choice: Choice,
}

/// A plan and the findings that led to it.
#[derive(Debug)]
pub struct Choice {
    pub plan: Plan,
    pub findings: Vec<Finding>,
}

/// What was learned about a query before its plan was chosen.
#[derive(Debug)]
pub enum Finding {
    /// The walk left off after this many rows with too few matches.
    Cut(u32),
    /// A path has this many rows; counting stopped at the bound.
    Counted { path: Path, rows: i64, bound: i64 },
    /// What a plan is likely to cost, in rows.
    Expected { path: Path, rows: i64 },
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(bound) => write!(formatter, "the walk in order was cut after {bound} rows"),
            Self::Counted { path, rows, bound } if rows >= bound => {
                write!(formatter, "by {path} there are {bound} rows or more")
            }
            Self::Counted { path, rows, .. } => write!(formatter, "by {path} there are {rows} rows"),
            Self::Expected { path, rows } => write!(formatter, "by {path} about {rows} rows are expected"),
        }
    }
}

/// The rows of a path that a sample looks at.
const SAMPLE: i64 = 500;

/// A row that has to be looked up costs as much as this many that an index covers.
const LOOKUP: i64 = 8;

/// A connection on which a page is looked for.
pub struct Search<'c, DB: Dialect> {
    connection: &'c mut DB::Connection,
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
        Self { connection, trace: None }
    }

    /// A search that keeps what it does; it takes longer.
    pub fn traced(connection: &'c mut DB::Connection) -> Self {
        Self { connection, trace: Some(Vec::new()) }
    }

    /// What has been run, in order.
    pub fn into_trace(self) -> Vec<Traced> {
        self.trace.unwrap_or_default()
    }

    async fn fetch(&mut self, push: impl Fn(&mut Sql<DB>)) -> sqlx::Result<Vec<DB::Row>> {
        let mut sql = Sql::new("");
        push(&mut sql);
        let Some(trace) = &mut self.trace else { return DB::fetch(self.connection, sql).await };

        let (text, binds) = (sql.text(), sql.binds().to_vec());
        let mut explained = Sql::new(DB::EXPLAIN);
        push(&mut explained);
        let plan = DB::fetch(self.connection, explained).await?;
        let steps = plan.iter().map(DB::step).collect::<sqlx::Result<Vec<String>>>()?;
        let counter = DB::count_work(self.connection).await?;
        let rows = DB::fetch(self.connection, sql).await?;
        let work = DB::work(&steps, &counter);
        trace.push(Traced { sql: text, binds, steps, work });
        Ok(rows)
    }

    async fn numbers(&mut self, push: impl Fn(&mut Sql<DB>)) -> Result<Vec<i64>, StoreError> {
        let rows = self.fetch(push).await?;
        Ok(DB::numbers(rows.first().ok_or(sqlx::Error::RowNotFound)?)?)
    }

    /// Where the query's marker stands in its order.
    ///
    /// # Errors
    /// [`StoreError::MarkerNotFound`] where the view does not let the caller name it.
    pub async fn position(&mut self, query: &ImageQuery, view: &View) -> Result<Option<Position>, StoreError> {
        let Some(id) = query.marker else { return Ok(None) };
        let rows = self.fetch(|sql| sql::push_marker(sql, query, view, id)).await?;
        let row = rows.first().ok_or(StoreError::MarkerNotFound(id))?;
        Ok(Some(DB::position(row, query.sort_key, id)?))
    }

    /// Finds a page. The walk passes over `walk` rows, times the root of the size of the page.
    ///
    /// # Errors
    /// What the database says.
    pub async fn page(
        &mut self,
        page: &Compiled<'_>,
        projection: Projection,
        walk: u32,
    ) -> Result<Found<DB>, StoreError> {
        let bound = walk.saturating_mul(wanted(page).isqrt());
        let plan = Plan::Walk(bound);
        let row = self.run(page, plan, projection).await?;
        if !DB::is_cut(&row)? {
            return Ok(Found { row, choice: Choice { plan, findings: Vec::new() } });
        }
        let mut choice = self.choose(page, bound).await?;
        choice.findings.insert(0, Finding::Cut(bound));
        let row = self.run(page, choice.plan, projection).await?;
        Ok(Found { row, choice })
    }

    async fn run(&mut self, page: &Compiled<'_>, plan: Plan, projection: Projection) -> Result<DB::Row, StoreError> {
        let mut rows = self.fetch(|sql| sql::push_page(sql, page, plan, projection)).await?;
        Ok(rows.pop().ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Chooses the plan of a page whose matches are too sparse for a walk.
    async fn choose(&mut self, page: &Compiled<'_>, walked: u32) -> Result<Choice, StoreError> {
        let images = self.numbers(|sql| sql::push_images(sql)).await?[0].max(0);
        let few = images.saturating_mul(wanted(page).into()).isqrt().max(walked.into());

        let mut findings = Vec::new();
        let mut best = None;
        let mut bound = few;
        let paths = Path::of(page.query, &page.view.listed);
        for &path in &paths {
            let rows = self.numbers(|sql| sql::push_count(sql, page, path, bound)).await?[0];
            findings.push(Finding::Counted { path, rows, bound });
            if rows < bound {
                best = Some(path);
                bound = rows;
            }
            if bound == 0 {
                break;
            }
        }
        if best.is_none() {
            best = self.expect(page, &paths, images, &mut findings).await?;
        }
        Ok(Choice { plan: Plan::Scan(best.unwrap_or(Path::Order)), findings })
    }

    /// Which of several long paths, or the order, is likely to be the shortest; none where there are
    /// not two to compare.
    async fn expect(
        &mut self,
        page: &Compiled<'_>,
        paths: &[Path],
        images: i64,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Path>, StoreError> {
        let paths: Vec<Path> = paths.iter().copied().filter(|path| *path != Path::Visible).collect();
        if paths.len() < 2 {
            return Ok(None);
        }
        // Of each path: the samples of the others, and how many of them lie on it.
        let mut on_it = vec![(0, 0); paths.len()];
        // Of each path: how many of its own sample match all filters.
        let mut matching = Vec::new();
        for (index, &path) in paths.iter().enumerate() {
            let found = self.numbers(|sql| sql::push_sample(sql, page, path, &paths, SAMPLE)).await?;
            let [met, matched, lying @ ..] = found.as_slice() else { continue };
            matching.push((*matched, *met));
            for (other, lying) in lying.iter().enumerate().filter(|(other, _)| *other != index) {
                on_it[other].0 += lying;
                on_it[other].1 += met;
            }
        }
        let lookup = if page.query.sort_key == Column::CreatedAt { 1 } else { LOOKUP };
        let mut in_order = 0;
        for ((&path, &(lying, met)), &(matched, own)) in paths.iter().zip(&on_it).zip(&matching) {
            let rows = scaled(images, lying, met);
            findings.push(Finding::Expected { path, rows });
            let matches = scaled(rows, matched, own).max(1);
            in_order = in_order.max(images.saturating_mul(wanted(page).into()) / matches);
        }
        findings.push(Finding::Expected { path: Path::Order, rows: in_order });
        let cost = |finding: &Finding| match *finding {
            Finding::Expected { path: Path::Order, rows } => Some((rows.saturating_mul(lookup), Path::Order)),
            Finding::Expected { path, rows } => Some((rows, path)),
            _ => None,
        };
        Ok(findings.iter().filter_map(cost).min().map(|(_, path)| path))
    }
}

/// The images that a page is filled with: one more than it has.
fn wanted(page: &Compiled<'_>) -> u32 {
    page.query.limit.saturating_add(1)
}

/// `total` times `part / whole` of a sample, in which a part of none stands for half a row.
fn scaled(total: i64, part: i64, whole: i64) -> i64 {
    total.saturating_mul(2 * part + 1) / (2 * whole + 1)
}
