//! One page of a list, by the plan that was chosen for it.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::condition::{CANDIDATE, Conditions, HELD, push_named, push_predicate};
use super::dialect::Dialect;
use super::order::{Part, order, parts, push_order, push_part};
use super::path::{Path, push_path};
use super::plan::Plan;
use super::walk::Walked;
use super::{Compiled, Projection, Sql, push_limit, wanted};
use crate::query::{Column, ImageQuery, Liveness, Scope, View};

/// Put before a column of the order, where candidates are merged by it.
const FOUND: &str = "found_";

/// Larger than any table. SQLite may ignore the order of a subquery that has no limit.
const UNLIMITED: &str = " LIMIT 9223372036854775807";

/// One row: the documents of the page and of one image more as one text, separated by line feeds,
/// which JSON text cannot hold, null where nothing matches; where a walk was cut short, so that
/// images may be missing, how many there are, else null; and, with a marker, true where the caller
/// may name it.
///
/// The engine joins the documents because the cost of a page follows its cells and round trips.
/// Both engines feed an aggregate in the order of its subquery, and a UNION ALL in that of its
/// parts; [`Dialect::LOOKUP`] keeps the order of what it looks up.
pub fn push_page<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, plan: Plan, projection: Projection) {
    let Compiled { query, view } = page;
    if let Some(marker) = query.marker {
        push_mark(sql, query, view, marker);
    }
    let legs = Leg::all::<DB>(page, plan);
    let mut is_first = query.marker.is_none();
    for leg in legs.iter().filter(|leg| leg.is_kept) {
        sql.push(if is_first { "WITH " } else { ", " });
        is_first = false;
        sql.push(format_args!("candidates_{} AS MATERIALIZED (", leg.place));
        leg.push_candidates(sql);
        sql.push(") ");
    }
    sql.push("SELECT string_agg(document, '\n'), ");
    if plan.bound(page).is_some() {
        // Looked at only where too little was found.
        sql.push(format_args!("CASE WHEN count(*) < {} AND coalesce(", wanted(query)));
        for leg in &legs {
            leg.push_cut(sql);
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
    for leg in &legs {
        if leg.place > 0 {
            sql.push(" UNION ALL ");
        }
        if legs.len() > 1 {
            sql.push("SELECT document FROM (");
        }
        // What a leg before this one leaves behind would have to come first.
        let before = if plan.bound(page).is_some() { &legs[..leg.place] } else { &[] };
        let is_gated = leg.part.gate.is_some() || !before.is_empty();
        sql.push(if is_gated { "SELECT document FROM (" } else { "" });
        leg.push_rows(sql, projection);
        if is_gated {
            // As a condition it would be looked at row by row.
            sql.push(") AS gated LIMIT CASE WHEN ").push(leg.part.gate.unwrap_or("TRUE"));
            for leg in before {
                sql.push(" AND ");
                leg.push_cut(sql);
                sql.push(" IS NULL");
            }
            sql.push(format_args!(" THEN {} ELSE 0 END", wanted(query)));
        }
        if legs.len() > 1 {
            sql.push(") AS part");
        }
    }
    if legs.len() > 1 {
        push_limit(sql, wanted(query));
    }
    sql.push(") AS page");
}

/// The sort key and creation of the query's marker, if the view lets the caller name it.
pub(super) fn push_mark<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, view: &View, marker: Uuid) {
    sql.push("WITH mark AS (SELECT id, created_at, ").push(query.sort_key.name()).push(" AS key FROM images WHERE ");
    push_named(sql, marker, view, &query.liveness);
    sql.push(") ");
}

/// The sort key of the query's marker; no row where the view does not let the caller name it.
pub fn push_mark_key<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, marker: Uuid) {
    push_mark(sql, page.query, page.view, marker);
    sql.push("SELECT key FROM mark");
}

/// So many candidates of a walk are kept at most: about what PostgreSQL has room for in memory, 4 MiB
/// unless `work_mem` says otherwise.
pub const KEPT: u32 = 1 << 15;

/// A part of what a page is looked for in, and how the plan meets its images.
struct Leg<'a> {
    page: &'a Compiled<'a>,
    plan: Plan,
    /// Which of the legs it is; they follow each other.
    place: usize,
    part: Part,
    met: Met<'a>,
    /// Whether its candidates are kept while the statement runs, so that they can be counted. Both
    /// engines give them again in the order in which they came.
    is_kept: bool,
}

/// How the images of a leg are met.
enum Met<'a> {
    Scanned(Path),
    Walked(Walked<'a>, Meets),
}

/// What a walk meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// Entries of an index that hold what filters look at: a row is looked up only once nothing there
    /// speaks against it.
    Entries,
    /// Entries of which each row is looked up.
    Places,
    /// Rows, read where the index leads to them.
    Rows,
}

impl<'a> Leg<'a> {
    fn all<DB: Dialect>(page: &'a Compiled<'a>, plan: Plan) -> Vec<Self> {
        let parts = parts(page.query, plan).into_iter().enumerate();
        parts.map(|(place, part)| Self::of::<DB>(page, plan, place, part)).collect()
    }

    fn of<DB: Dialect>(page: &'a Compiled<'a>, plan: Plan, place: usize, part: Part) -> Self {
        let (met, is_kept) = match plan {
            Plan::Scan(path) => (Met::Scanned(path), false),
            Plan::FirstScan(path) => (Met::Scanned(path), true),
            Plan::FirstWalk(bound) | Plan::Walk(bound) | Plan::ShownWalk(bound) => {
                let walked = Walked::by(page, &part, plan);
                let is_first = matches!(plan, Plan::FirstWalk(_));
                let looks_at_entries = !DB::READS_ROWS_WHERE_MET || !is_first;
                let is_covering = walked.is_covering(page.query);
                let meets = match looks_at_entries && is_covering {
                    true => Meets::Entries,
                    false if DB::READS_ROWS_WHERE_MET => Meets::Rows,
                    false => Meets::Places,
                };
                let is_kept = DB::KEEPS_WHAT_IS_READ && !is_first && is_covering && bound <= KEPT;
                (Met::Walked(walked, meets), is_kept)
            }
        };
        Self { page, plan, place, part, met, is_kept }
    }

    /// Its images: those of its candidates against which nothing speaks that no index holds.
    fn push_rows<DB: Dialect>(&self, sql: &mut Sql<DB>, projection: Projection) {
        let Compiled { query, view } = self.page;
        sql.push("SELECT ").push(document::<DB>(projection)).push(" AS document FROM (");
        if self.is_kept {
            sql.push(format_args!("SELECT * FROM candidates_{}", self.place));
        } else {
            self.push_candidates(sql);
        }
        sql.push(if matches!(self.met, Met::Walked(_, Meets::Rows)) { ") AS images WHERE " } else { DB::LOOKUP });
        match &self.met {
            Met::Scanned(_) => push_predicate(sql, query, &view.listed, "", Conditions::NotCovered),
            Met::Walked(_, Meets::Entries) => {
                push_predicate(sql, query, &Scope::All, CANDIDATE, Conditions::Covered(&[]));
                sql.push(" AND ");
                push_predicate(sql, query, &view.listed, "", Conditions::NotCovered);
            }
            Met::Walked(walked, _) => {
                let scope = if walked.is_of_seen() { &Scope::All } else { &view.listed };
                push_predicate(sql, query, scope, "", Conditions::All);
            }
        }
        push_limit(sql, wanted(query));
    }

    /// The images that it may have, in the order of the page.
    fn push_candidates<DB: Dialect>(&self, sql: &mut Sql<DB>) {
        let query = self.page.query;
        match &self.met {
            Met::Scanned(path) => {
                self.push_scanned(sql, *path);
                push_order(sql, query, DB::HIDE);
            }
            Met::Walked(walked, Meets::Rows) => walked.push(sql, query, &self.part, "", |sql| {
                sql.push(DB::ALL);
            }),
            Met::Walked(walked, meets) => {
                let order = if walked.is_merged() { FOUND } else { "" };
                walked.push(sql, query, &self.part, order, |sql| {
                    sql.push(DB::ROW).push(" AS found");
                    if *meets == Meets::Entries {
                        for column in covered_columns(query) {
                            sql.push(format_args!(", {column} AS {CANDIDATE}{column}"));
                        }
                    }
                    if order == FOUND {
                        for column in self::order(query.sort_key) {
                            sql.push(format_args!(", {0} AS {FOUND}{0}", column.name()));
                        }
                    }
                });
            }
        }
        match self.plan.bound(self.page) {
            Some(bound) => push_limit(sql, bound),
            None => {
                sql.push(UNLIMITED);
            }
        }
    }

    /// What the path's index holds is looked at there, and only rows of which all that holds are looked
    /// up. Where it does not hold all that is asked for, all its rows are: an engine would rather read
    /// another index whole.
    fn push_scanned<DB: Dialect>(&self, sql: &mut Sql<DB>, path: Path) {
        let Compiled { query, view } = self.page;
        sql.push("SELECT ").push(DB::ROW).push(" AS found FROM (");
        if path == Path::Equalities && !path.is_covered(query) {
            push_path(sql, query, &view.listed, path, format_args!("{} AS found", DB::ROW));
            sql.push(DB::FENCE).push(DB::LOOKUP);
        } else {
            push_path(sql, query, &view.listed, path, DB::ALL);
            sql.push(DB::FENCE).push(") AS images WHERE ");
        }
        push_predicate(sql, query, &Scope::All, DB::HIDE, Conditions::Covered(path.columns()));
        push_part(sql, query, &self.part, DB::HIDE);
    }

    /// True where the plan's bound may leave rows of it behind, else null.
    fn push_cut<DB: Dialect>(&self, sql: &mut Sql<DB>) {
        if let Some(gate) = self.part.gate {
            sql.push(format_args!("CASE WHEN {gate} THEN "));
        }
        sql.push("(SELECT TRUE");
        let mut bound = self.plan.bound(self.page);
        match &self.met {
            Met::Walked(walked, _) if !self.is_kept => walked.push_passed(sql, self.page.query, &self.part),
            _ => {
                // Where they are as many as the bound, some may be left behind; nothing is gone along twice to know.
                sql.push(format_args!(" FROM candidates_{}", self.place));
                bound = bound.map(|bound| bound.saturating_sub(1));
            }
        }
        push_limit(sql, 1);
        if let Some(bound) = bound {
            sql.push(format_args!(" OFFSET {bound}"));
        }
        sql.push(")");
        if self.part.gate.is_some() {
            sql.push(" END");
        }
    }

    /// What it costs for each row of the plan's bound where a walk is cut, in rows that an index covers.
    fn price(&self, lookup: i64) -> i64 {
        let row = match &self.met {
            Met::Walked(walked, _) if walked.is_covering(self.page.query) => 1,
            _ => lookup,
        };
        // Where nothing is kept, it passes over its index once more to see that it is cut.
        row + i64::from(!self.is_kept)
    }
}

/// What a walk that is cut costs for each row of its bound, in rows that an index covers; where it
/// has to look a row up, that is `lookup` of them.
pub fn price<DB: Dialect>(page: &Compiled, plan: Plan, lookup: i64) -> i64 {
    Leg::all::<DB>(page, plan).iter().map(|leg| leg.price(lookup)).sum()
}

/// The columns that [`Conditions::Covered`] looks at.
fn covered_columns(query: &ImageQuery) -> BTreeSet<&'static str> {
    let filtered = query.filters.iter().map(|filter| filter.column).filter(|column| HELD.contains(column));
    let liveness = if query.liveness == Liveness::Any { [].as_slice() } else { &["deleted", "status"] };
    let properties = (!query.properties.is_empty()).then_some("id");
    filtered.map(Column::name).chain(liveness.iter().copied()).chain(properties).collect()
}

pub(super) fn document<DB: Dialect>(projection: Projection) -> &'static str {
    match projection {
        Projection::Detail => "document",
        Projection::Brief => DB::BRIEF_DOCUMENT,
    }
}
