//! Images by their ids, and many at once.

use uuid::Uuid;

use super::condition::{Conditions, push_named, push_predicate};
use super::dialect::Dialect;
use super::members::push_all_members;
use super::order::push_order;
use super::{Sql, push_limit};
use crate::query::{ImageQuery, Liveness, Value, View};

/// Which images are taken together, in one answer of any size.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All of them, deleted and killed ones too.
    All,
    /// Those that a list shows, and their order. Its limit holds, a marker does not.
    Listed(&'a ImageQuery, &'a View),
}

/// The document of one image, if the view lets the caller name it.
pub fn push_image<DB: Dialect>(sql: &mut Sql<DB>, id: Uuid, view: &View) {
    sql.push("SELECT document FROM images WHERE ");
    push_named(sql, id, view, &Liveness::Live);
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
