//! The rows that a walk meets, in the order of the page: which index holds them, and in how many shares.

use super::condition::{push_filter, push_scope};
use super::dialect::Dialect;
use super::order::{Part, Period, push_bounds, push_order, push_part};
use super::path::MEMBERSHIPS;
use super::plan::Plan;
use super::{Compiled, Sql};
use crate::image::checks::STATUSES;
use crate::query::{Column, Filter, ImageQuery, Liveness, Scope, Test, Value};

/// Whether there is a [`Plan::ShownWalk`], and it is another than [`Plan::Walk`].
pub fn has_shown_walk(page: &Compiled) -> bool {
    let Compiled { query, view } = page;
    let asks_for = |column| query.filters.iter().any(|filter| filter.column == column);
    // What changed is looked for in two periods, for which these have no index.
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
pub(super) struct Walked<'a> {
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
    pub(super) fn by(page: &Compiled<'a>, part: &Part, plan: Plan) -> Self {
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
    pub(super) fn is_covering(&self, query: &ImageQuery) -> bool {
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

    /// Whether all of them are images that the list's caller sees.
    pub(super) fn is_of_seen(&self) -> bool {
        matches!(self.by, By::Seen(_))
    }

    /// Whether the order merges them.
    pub(super) fn is_merged(&self) -> bool {
        self.shares.len() > 1
    }

    /// These columns of all rows, in the order of the page.
    pub(super) fn push<DB: Dialect>(
        &self,
        sql: &mut Sql<DB>,
        query: &ImageQuery,
        part: &Part,
        order: &str,
        push_columns: impl Fn(&mut Sql<DB>),
    ) {
        for (index, &share) in self.shares.iter().enumerate() {
            sql.push(if index > 0 { " UNION ALL " } else { "" });
            sql.push(if self.is_merged() { "SELECT * FROM (SELECT " } else { "SELECT " });
            push_columns(sql);
            self.push_share(sql, query, part, share);
            if self.is_merged() {
                // Only where each is in order by itself does PostgreSQL merge them.
                push_order(sql, query, order);
                sql.push(DB::FENCE).push(") AS share");
            }
        }
        push_order(sql, query, order);
    }

    /// All rows, to be counted.
    pub(super) fn push_passed<DB: Dialect>(&self, sql: &mut Sql<DB>, query: &ImageQuery, part: &Part) {
        for (index, &share) in self.shares.iter().enumerate() {
            if self.is_merged() {
                sql.push(if index == 0 { " FROM (SELECT TRUE" } else { " UNION ALL SELECT TRUE FROM (SELECT TRUE" });
            }
            self.push_share(sql, query, part, share);
            // The order counts for nothing, but keeps planners to the index of the walk.
            push_order(sql, query, "");
            if self.is_merged() {
                sql.push(DB::FENCE).push(") AS share");
            }
        }
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
                let [open, close] = DB::UNLIKELY;
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
