//! With whom images are shared.

use uuid::Uuid;

use super::Sql;
use super::dialect::Dialect;
use crate::query::{Markers, Scope, Value, View};

/// The members of the image of a row as a JSON array.
pub(super) fn push_all_members<DB: Dialect>(sql: &mut Sql<DB>) {
    sql.push("(SELECT '[' || coalesce(string_agg(document, ','), '') || ']' FROM (SELECT ").push(DB::MEMBER_DOCUMENT);
    sql.push(" AS document FROM image_members WHERE image_id = images.id ORDER BY member) AS members)");
}

/// The members of an image, as JSON lines: all of them for its owner and for who may name any
/// image, else the caller's own membership.
pub fn push_members<DB: Dialect>(sql: &mut Sql<DB>, id: Uuid, view: &View) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ").push(DB::MEMBER_DOCUMENT);
    sql.push(" AS document FROM image_members JOIN images ON id = image_id WHERE id = ");
    sql.bind(&Value::Id(id));
    push_membership(sql, view);
    sql.push(" ORDER BY member) AS members");
}

/// The images shared with a project, as JSON lines, by the same rule.
pub fn push_shared<DB: Dialect>(sql: &mut Sql<DB>, project: &str, view: &View) {
    sql.push("SELECT string_agg(document, '\n') FROM (SELECT ").push(DB::SHARED_DOCUMENT);
    sql.push(" AS document FROM image_members JOIN images ON id = image_id WHERE NOT deleted AND member = ");
    sql.bind(&Value::Text(project.to_owned()));
    push_membership(sql, view);
    sql.push(" ORDER BY image_id) AS shared");
}

/// The memberships that a caller may know of.
fn push_membership<DB: Dialect>(sql: &mut Sql<DB>, view: &View) {
    match (&view.listed, view.markers) {
        (_, Markers::Any) => {}
        (Scope::Project(project), Markers::Listed) => {
            let project = Value::Text(project.clone());
            sql.push(" AND (owner = ");
            sql.bind(&project);
            sql.push(" OR member = ");
            sql.bind(&project);
            sql.push(")");
        }
        (_, Markers::Listed) => {
            sql.push(" AND FALSE");
        }
    }
}
