//! The order of a list, and what comes after a marker in it.

use uuid::Uuid;

use super::Sql;
use super::dialect::Dialect;
use super::plan::Plan;
use crate::query::{Column, Direction, ImageQuery, Test, Value};
use crate::timestamp::Timestamp;

/// Nulls are the smallest values, on both engines.
pub(super) fn push_order<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, hide: &str) {
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
pub(super) fn order(sort_key: Column) -> Vec<Column> {
    match sort_key {
        Column::Id => vec![Column::Id],
        Column::CreatedAt => vec![Column::CreatedAt, Column::Id],
        key => vec![key, Column::CreatedAt, Column::Id],
    }
}

/// A part of what comes after a marker that an index finds without passing over other rows.
#[derive(Clone)]
pub(super) struct Part {
    /// On what it depends whether there is such a part.
    pub(super) gate: Option<&'static str>,
    key: Key,
    /// Columns in which the rows are strictly beyond the marker, in the direction of the order.
    beyond: Vec<Column>,
    pub(super) period: Period,
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
pub(super) enum Period {
    Any,
    From(Timestamp),
    Before(Timestamp),
}

/// After how many days a change is late; see [`Dialect::CHANGED_LATE`].
const LATE: u64 = 2;

/// The rows strictly after the marker, in parts that follow each other.
///
/// No comparison with a value finds nulls, which are the smallest values, so that they are a part
/// of their own.
///
/// Few images change long after they are created, so that most of what `changes-since` lets through
/// was created then, too; what was created long before is looked for only among those that changed
/// late.
pub(super) fn parts(query: &ImageQuery, plan: Plan) -> Vec<Part> {
    let part = |gate, key, beyond| Part { gate, key, beyond, period: Period::Any };
    let ties = vec![Column::CreatedAt, Column::Id];
    let beyond = match query.marker {
        None => Vec::new(),
        Some(_) if query.is_without_key() => ties.clone(),
        Some(_) => order(query.sort_key),
    };
    if !query.sort_key.is_nullable() || query.marker.is_none() || query.is_without_key() {
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
    let [mark_is_null, mark_is_not_null] = ["(SELECT key FROM mark) IS NULL", "(SELECT key FROM mark) IS NOT NULL"];
    let is_filtered = query.filters.iter().any(|filter| filter.column == query.sort_key);
    match query.sort_dir {
        // No other filter lets null through.
        Direction::Asc if is_filtered => {
            vec![part(Some(mark_is_null), Key::Any, Vec::new()), part(None, Key::Any, beyond)]
        }
        Direction::Desc if is_filtered => vec![part(None, Key::Any, beyond)],
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

/// What filters let through of the sort key, as far as it bounds a walk in its order; the filters
/// themselves are looked at again for each row. An index is entered at one end only: where that is
/// the marker, the filters bound the other end. What lies between several values is passed over, as
/// lists of values are no bounds to PostgreSQL.
pub(super) fn push_bounds<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, part: &Part) {
    let key = query.sort_key.name();
    let is_entered = part.beyond.first() == Some(&query.sort_key);
    let is_desc = query.sort_dir == Direction::Desc;
    for filter in query.filters.iter().filter(|filter| filter.column == query.sort_key) {
        let text = |text: &String| Value::Text(text.clone());
        let (least, most) = match &filter.test {
            Test::Equal(value) if !is_entered => {
                sql.push(format_args!(" AND {key} = "));
                sql.bind(value);
                continue;
            }
            Test::Equal(value) => (Some(value.clone()), Some(value.clone())),
            Test::AtLeast(value) => (Some(value.clone()), None),
            Test::AtMost(value) => (None, Some(value.clone())),
            Test::OneOf(items) => (items.iter().min().map(text), items.iter().max().map(text)),
            Test::IsNull => {
                sql.push(format_args!(" AND {key} IS NULL"));
                continue;
            }
            Test::Never => (None, None),
        };
        if least.is_none() && most.is_none() {
            sql.push(" AND FALSE");
        }
        let (least, most) = (least.filter(|_| !is_entered || is_desc), most.filter(|_| !is_entered || !is_desc));
        for (operator, bound) in [(" >= ", least), (" <= ", most)] {
            if let Some(bound) = bound {
                sql.push(format_args!(" AND {key}{operator}"));
                sql.bind(&bound);
            }
        }
    }
}

/// The conditions of a part: a row comparison, which an index on these columns answers.
pub(super) fn push_part<DB: Dialect>(sql: &mut Sql<DB>, query: &ImageQuery, part: &Part, hide: &str) {
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
