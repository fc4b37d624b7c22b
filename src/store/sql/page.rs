//! One page of a list, by the plan that was chosen for it.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use uuid::Uuid;

use super::condition::{CANDIDATE, Conditions, HELD, push_filter, push_named, push_predicate, push_scope};
use super::dialect::Dialect;
use super::order::{Part, Period, order, parts, push_bounds, push_order, push_part};
use super::path::{MEMBERSHIPS, Path, push_path};
use super::{Compiled, Projection, Sql, push_limit, wanted};
use crate::image::checks::STATUSES;
use crate::query::{Column, Filter, ImageQuery, Liveness, Scope, Test, Value, View};

/// How the rows of a page are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The walk that every page begins with. Most are filled by it after a few rows, so that these
    /// are read in whatever way is best for rows that match.
    FirstWalk(u32),
    /// In the order of the page, passing over what does not match: at most this many rows of each
    /// part of the order. Cheap where matches are dense.
    Walk(u32),
    /// The same, through nothing but what the list would show without its filters. Cheap where matches
    /// are dense among that.
    ShownWalk(u32),
    /// All rows that one path leads to, of which the first ones are put in order afterwards: so many
    /// that most callers may see a page of them.
    FirstScan(Path),
    /// All rows that one path leads to, put in order afterwards. Cheap where these are few.
    Scan(Path),
}

/// What a first scan puts in order, in pages: without a path of its own every third image is public.
const ORDERED: u32 = 8;

impl Plan {
    /// How many rows of each part it takes in the order of the page, before it looks at what no index
    /// holds; where there are more, the page may be cut short.
    pub fn bound(self, page: &Compiled) -> Option<u32> {
        match self {
            Self::FirstWalk(bound) | Self::Walk(bound) | Self::ShownWalk(bound) => Some(bound),
            Self::FirstScan(path) if is_covered(page, path) => Some(wanted(page.query)),
            Self::FirstScan(_) => Some(wanted(page.query).saturating_mul(ORDERED)),
            Self::Scan(_) => None,
        }
    }
}

impl Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstWalk(bound) | Self::Walk(bound) => {
                write!(formatter, "walk in the order of the page, at most {bound} rows")
            }
            Self::ShownWalk(bound) => {
                write!(formatter, "walk in the order of the page through what may be shown, at most {bound} rows")
            }
            Self::FirstScan(path) => write!(formatter, "all rows by {path}, of which the first are put in order"),
            Self::Scan(path) => write!(formatter, "all rows by {path}, put in order"),
        }
    }
}

/// Whether indexes hold all that a query and its caller ask of the images on a path.
fn is_covered(page: &Compiled, path: Path) -> bool {
    let Compiled { query, view } = page;
    let is_seen = match view.listed {
        Scope::All => true,
        Scope::Public | Scope::NotPublic => path == Path::Equalities,
        Scope::Project(_) => false,
    };
    is_seen && query.properties.is_empty() && query.filters.iter().all(|filter| HELD.contains(&filter.column))
}

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
    let parts = parts(query, plan);
    let mut is_first = query.marker.is_none();
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| is_kept::<DB>(page, part, plan)) {
        sql.push(if is_first { "WITH " } else { ", " });
        is_first = false;
        sql.push(format_args!("candidates_{index} AS MATERIALIZED ("));
        push_candidates(sql, page, part, plan);
        sql.push(") ");
    }
    sql.push("SELECT string_agg(document, '\n'), ");
    if plan.bound(page).is_some() {
        // Looked at only where too little was found.
        sql.push(format_args!("CASE WHEN count(*) < {} AND coalesce(", wanted(query)));
        for (index, part) in parts.iter().enumerate() {
            push_cut(sql, page, index, part, plan);
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

/// Whether the candidates of a part are kept while the statement runs, so that they can be counted.
/// Both engines give them again in the order in which they came.
fn is_kept<DB: Dialect>(page: &Compiled, part: &Part, plan: Plan) -> bool {
    match plan {
        Plan::FirstWalk(_) | Plan::Scan(_) => false,
        Plan::Walk(bound) | Plan::ShownWalk(bound) => {
            DB::KEEPS_WHAT_IS_READ && bound <= KEPT && Walked::by(page, part, plan).is_covering(page.query)
        }
        Plan::FirstScan(_) => true,
    }
}

/// The images of a part: those of its candidates against which nothing speaks that no index holds.
fn push_rows<DB: Dialect>(
    sql: &mut Sql<DB>,
    page: &Compiled,
    before: &[Part],
    part: &Part,
    plan: Plan,
    projection: Projection,
) {
    let Compiled { query, view } = page;
    sql.push("SELECT ").push(document::<DB>(projection)).push(" AS document FROM (");
    if is_kept::<DB>(page, part, plan) {
        sql.push(format_args!("SELECT * FROM candidates_{}", before.len()));
    } else {
        push_candidates(sql, page, part, plan);
    }
    if let Plan::FirstScan(_) | Plan::Scan(_) = plan {
        sql.push(DB::LOOKUP);
        push_uncut(sql, page, before, plan);
        push_predicate(sql, query, &view.listed, "", Conditions::NotCovered);
    } else {
        let walked = Walked::by(page, part, plan);
        let meets = Meets::of::<DB>(page, &walked, plan);
        sql.push(if meets == Meets::Rows { ") AS images WHERE " } else { DB::LOOKUP });
        push_uncut(sql, page, before, plan);
        if meets == Meets::Entries {
            push_predicate(sql, query, &Scope::All, CANDIDATE, Conditions::Covered(&[]));
            sql.push(" AND ");
            push_predicate(sql, query, &view.listed, "", Conditions::NotCovered);
        } else {
            let scope = if matches!(walked.by, By::Seen(_)) { &Scope::All } else { &view.listed };
            push_predicate(sql, query, scope, "", Conditions::All);
        }
    }
    push_limit(sql, wanted(query));
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

impl Meets {
    fn of<DB: Dialect>(page: &Compiled, walked: &Walked, plan: Plan) -> Self {
        let looks_at_entries = !DB::READS_ROWS_WHERE_MET || !matches!(plan, Plan::FirstWalk(_));
        match looks_at_entries && walked.is_covering(page.query) {
            true => Self::Entries,
            false if DB::READS_ROWS_WHERE_MET => Self::Rows,
            false => Self::Places,
        }
    }
}

/// The images that a part may have, in the order of the page.
fn push_candidates<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part, plan: Plan) {
    let query = page.query;
    if let Plan::FirstScan(path) | Plan::Scan(path) = plan {
        push_scanned(sql, page, part, path);
        push_order(sql, query, DB::HIDE);
    } else {
        let walked = Walked::by(page, part, plan);
        let meets = Meets::of::<DB>(page, &walked, plan);
        // All columns are there where rows are met.
        let order = if walked.shares.len() > 1 && meets != Meets::Rows { FOUND } else { "" };
        walked.push(sql, query, part, order, |sql| {
            if meets == Meets::Rows {
                sql.push(DB::ALL);
                return;
            }
            sql.push(DB::ROW).push(" AS found");
            if meets == Meets::Entries {
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
    match plan.bound(page) {
        Some(bound) => push_limit(sql, bound),
        None => {
            sql.push(UNLIMITED);
        }
    }
}

/// What the path's index holds is looked at there, and only rows of which all that holds are looked
/// up. Where it does not hold all that is asked for, all its rows are: an engine would rather read
/// another index whole.
fn push_scanned<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, part: &Part, path: Path) {
    let Compiled { query, view } = page;
    sql.push("SELECT ").push(DB::ROW).push(" AS found FROM (");
    if path == Path::Equalities && !path.is_covered(query) {
        push_path(sql, query, &view.listed, path, format_args!("{} AS found", DB::ROW));
        sql.push(DB::FENCE).push(DB::LOOKUP);
    } else {
        push_path(sql, query, &view.listed, path, DB::ALL);
        sql.push(DB::FENCE).push(") AS images WHERE ");
    }
    push_predicate(sql, query, &Scope::All, DB::HIDE, Conditions::Covered(path.columns()));
    push_part(sql, query, part, DB::HIDE);
}

/// That none of these parts leaves rows behind, which would have to come first.
fn push_uncut<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, before: &[Part], plan: Plan) {
    if plan.bound(page).is_some() {
        for (index, part) in before.iter().enumerate() {
            push_cut(sql, page, index, part, plan);
            sql.push(" IS NULL AND ");
        }
    }
}

/// True where the plan's bound may leave rows of the part of that place behind, else null.
fn push_cut<DB: Dialect>(sql: &mut Sql<DB>, page: &Compiled, place: usize, part: &Part, plan: Plan) {
    if let Some(gate) = part.gate {
        sql.push(format_args!("CASE WHEN {gate} THEN "));
    }
    sql.push("(SELECT TRUE");
    let mut bound = plan.bound(page);
    if is_kept::<DB>(page, part, plan) {
        // Where they are as many as the bound, some may be left behind; nothing is gone along twice to know.
        sql.push(format_args!(" FROM candidates_{place}"));
        bound = bound.map(|bound| bound.saturating_sub(1));
    } else {
        let walked = Walked::by(page, part, plan);
        let is_merged = walked.shares.len() > 1;
        for (index, &share) in walked.shares.iter().enumerate() {
            if is_merged {
                sql.push(if index == 0 { " FROM (SELECT TRUE" } else { " UNION ALL SELECT TRUE FROM (SELECT TRUE" });
            }
            walked.push_share(sql, page.query, part, share);
            // The order counts for nothing, but keeps planners to the index of the walk.
            push_order(sql, page.query, "");
            if is_merged {
                sql.push(DB::FENCE).push(") AS share");
            }
        }
    }
    push_limit(sql, 1);
    if let Some(bound) = bound {
        sql.push(format_args!(" OFFSET {bound}"));
    }
    sql.push(")");
    if part.gate.is_some() {
        sql.push(" END");
    }
}

/// Whether there is a [`Plan::ShownWalk`], and it is another than [`Plan::Walk`].
pub fn has_shown_walk(page: &Compiled) -> bool {
    let Compiled { query, view } = page;
    let asks_for = |column| query.filters.iter().any(|filter| filter.column == column);
    query.sort_key == Column::CreatedAt
        && !asks_for(Column::UpdatedAt)
        && match (&view.listed, rarest_equality(query)) {
            (Scope::Project(_), _) => true,
            (Scope::Public, _) => !query.filters.is_empty(),
            (Scope::All | Scope::NotPublic, equality) => {
                !asks_for(Column::Name)
                    && equality.is_none_or(|filter| filter.column != Column::Status)
                    && shown_statuses(query).next().is_some()
            }
        }
}

/// The rows of a part that an index, or several, hold side by side in the order of the page.
struct Walked<'a> {
    /// The order merges all of them.
    shares: Vec<Share<'a>>,
    /// Whether they are those that changed long after they were created.
    changed_late: bool,
    by: By<'a>,
}

#[derive(Clone, Copy)]
enum By<'a> {
    /// Those with the value of an equality.
    Equal(&'a Filter),
    /// The public ones.
    Public,
    /// What this project sees.
    Seen(&'a str),
    /// Those of each status that the list may show.
    Statuses,
    /// Those between the bounds that filters on the sort key itself set.
    Order,
}

/// Rows of a walk that lie apart from its others.
#[derive(Clone, Copy)]
struct Share<'a> {
    /// Those that are deleted lie apart in every index of a walk.
    liveness: &'static str,
    of: Of<'a>,
}

#[derive(Clone, Copy)]
enum Of<'a> {
    All,
    Public,
    /// Private ones of this project.
    Own(&'a str),
    /// Those that this project is a member of, and that it sees for no other reason.
    Member(&'a str),
    Status(&'static str),
}

impl<'a> Walked<'a> {
    fn by(page: &Compiled<'a>, part: &Part, plan: Plan) -> Self {
        let Compiled { query, view } = page;
        let changed_late = matches!(part.period, Period::Before(_));
        let by = match (plan, rarest_equality(query), &view.listed) {
            _ if query.sort_key != Column::CreatedAt => By::Order,
            (Plan::ShownWalk(_), _, Scope::Public) => By::Public,
            (Plan::ShownWalk(_), _, Scope::Project(project)) => By::Seen(project),
            (Plan::ShownWalk(_), ..) => By::Statuses,
            // Late changes have an index in the order of names and one in that of creation.
            (_, Some(filter), _) if filter.column == Column::Name || !changed_late => By::Equal(filter),
            (_, None, Scope::Public) if query.filters.is_empty() => By::Public,
            _ => By::Order,
        };
        let liveness: &[&str] = match &query.liveness {
            // The order of ids is that of chance.
            _ if query.sort_key == Column::Id => &["TRUE"],
            Liveness::Live => &["deleted = FALSE"],
            Liveness::Any | Liveness::LiveOr(_) => &["deleted = FALSE", "deleted = TRUE"],
        };
        let apart = match by {
            By::Seen(project) => vec![Of::Public, Of::Own(project), Of::Member(project)],
            By::Public => vec![Of::Public],
            By::Statuses => shown_statuses(query).map(Of::Status).collect(),
            By::Equal(_) | By::Order => vec![Of::All],
        };
        let shares = liveness.iter().flat_map(|&liveness| apart.iter().map(move |&of| Share { liveness, of }));
        Self { shares: shares.collect(), changed_late, by }
    }

    /// Whether the index holds every documented column that the query asks for.
    fn is_covering(&self, query: &ImageQuery) -> bool {
        let leads = match self.by {
            By::Equal(filter) => filter.column,
            By::Public | By::Seen(_) => return false,
            By::Statuses => Column::Status,
            By::Order => query.sort_key,
        };
        match leads {
            Column::Name | Column::Size | Column::UpdatedAt => true,
            Column::CreatedAt if self.changed_late => true,
            Column::CreatedAt | Column::Status | Column::ContainerFormat | Column::DiskFormat => {
                query.filters.iter().all(|filter| filter.column != Column::Name)
            }
            _ => false,
        }
    }

    /// These columns of all rows, in the order of the page.
    fn push<DB: Dialect>(
        &self,
        sql: &mut Sql<DB>,
        query: &ImageQuery,
        part: &Part,
        order: &str,
        push_columns: impl Fn(&mut Sql<DB>),
    ) {
        let is_merged = self.shares.len() > 1;
        for (index, &share) in self.shares.iter().enumerate() {
            sql.push(if index > 0 { " UNION ALL " } else { "" });
            sql.push(if is_merged { "SELECT * FROM (SELECT " } else { "SELECT " });
            push_columns(sql);
            self.push_share(sql, query, part, share);
            if is_merged {
                // Only where each is in order by itself does PostgreSQL merge them.
                push_order(sql, query, order);
                sql.push(DB::FENCE).push(") AS share");
            }
        }
        push_order(sql, query, order);
    }

    /// The rows of a share.
    fn push_share<DB: Dialect>(&self, sql: &mut Sql<DB>, query: &ImageQuery, part: &Part, share: Share) {
        // There are few of these: their order is not looked for in an index.
        let hide = if let Of::Member(project) = share.of {
            push_of_member(sql, project);
            DB::HIDE
        } else {
            sql.push(" FROM images WHERE ");
            ""
        };
        sql.push(hide).push(share.liveness);
        match share.of {
            Of::All | Of::Member(_) => {}
            Of::Public => {
                sql.push(" AND ");
                push_scope(sql, &Scope::Public);
            }
            Of::Own(project) => {
                let [open, close] = DB::RARE;
                sql.push(" AND NOT is_public AND ").push(open).push("owner = ");
                sql.bind(&Value::Text(project.to_owned()));
                sql.push(close);
            }
            Of::Status(status) => {
                sql.push(format_args!(" AND status = '{status}'"));
            }
        }
        if self.changed_late {
            sql.push(" AND ").push(DB::CHANGED_LATE);
        }
        match self.by {
            By::Equal(filter) => {
                sql.push(" AND ");
                push_filter(sql, filter, "");
            }
            By::Order => push_bounds(sql, query, part),
            By::Public | By::Seen(_) | By::Statuses => {}
        }
        push_part(sql, query, part, hide);
    }
}

/// The images that a project is a member of, and that it sees for no other reason.
fn push_of_member<DB: Dialect>(sql: &mut Sql<DB>, project: &str) {
    let project = Value::Text(project.to_owned());
    let [open, close] = DB::ANY;
    sql.push(" FROM (SELECT ").push(DB::ALL).push(" FROM images WHERE id").push(open).push(MEMBERSHIPS);
    sql.bind(&project);
    sql.push(close).push(DB::FENCE).push(") AS images WHERE NOT is_public AND (owner IS NULL OR ");
    sql.push(DB::HIDE).push("owner <> ");
    sql.bind(&project);
    sql.push(") AND ");
}

/// The statuses of images that a list may show, but for those that are deleted.
fn shown_statuses(query: &ImageQuery) -> impl Iterator<Item = &'static str> {
    let asked: Vec<&Filter> = query.filters.iter().filter(|filter| filter.column == Column::Status).collect();
    STATUSES.into_iter().filter(move |status| match asked.as_slice() {
        // Killed ones are shown where they are named.
        [] => *status != "killed",
        asked => asked.iter().all(|filter| filter.test.passes(Some(status))),
    })
}

/// What a walk that is cut costs for each row of its bound, in rows that an index covers; where it
/// has to look a row up, that is `lookup` of them.
pub fn price<DB: Dialect>(page: &Compiled, plan: Plan, lookup: i64) -> i64 {
    let row = |part| if Walked::by(page, part, plan).is_covering(page.query) { 1 } else { lookup };
    // Where nothing is kept, it passes over its index once more to see that it is cut.
    let again = |part| i64::from(!is_kept::<DB>(page, part, plan));
    parts(page.query, plan).iter().map(|part| row(part) + again(part)).sum()
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
