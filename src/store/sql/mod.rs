//! From a typed query to SQL text and binds. Text is only ever put together from constants;
//! whatever a client sent is bound.

mod condition;
mod dialect;
mod images;
mod members;
mod order;
mod page;
mod path;
mod plan;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt::Display;

use sqlx::QueryBuilder;

pub use dialect::Dialect;
pub use images::{Selection, push_image, push_many, push_present};
pub use members::{push_members, push_shared};
pub use page::{KEPT, price, push_mark_key, push_page};
pub use path::{Path, Sample, push_count, push_images, push_keys, push_sample};
pub use plan::Plan;
pub use walk::has_shown_walk;

use crate::query::{ImageQuery, Value, View};

/// A statement in the making.
pub struct Sql<DB: Dialect> {
    builder: QueryBuilder<DB>,
    binds: Vec<Value>,
}

impl<DB: Dialect> Sql<DB> {
    /// A statement that begins with `text`.
    pub fn new(text: &'static str) -> Self {
        Self { builder: QueryBuilder::new(text), binds: Vec::new() }
    }

    fn push(&mut self, text: impl Display) -> &mut Self {
        self.builder.push(text);
        self
    }

    fn bind(&mut self, value: &Value) {
        DB::push_bind(&mut self.builder, value);
        self.binds.push(value.clone());
    }

    /// The text, with `?` or `$1` where the binds go.
    pub fn text(&self) -> String {
        self.builder.sql().as_str().to_owned()
    }

    pub fn binds(&self) -> &[Value] {
        &self.binds
    }
}

/// What a list shows of each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    Detail,
    Brief,
}

/// What a page is compiled from.
#[derive(Clone, Copy, Debug)]
pub struct Compiled<'a> {
    pub query: &'a ImageQuery,
    pub view: &'a View,
}

/// The images that a page is filled with: one more than it has, which tells whether there is
/// another page.
pub fn wanted(query: &ImageQuery) -> u32 {
    query.limit.saturating_add(1)
}

/// At most so many rows. Not bound: a plan that is kept for any value would be made for a tenth of
/// the table.
fn push_limit<DB: Dialect>(sql: &mut Sql<DB>, rows: impl Display) {
    sql.push(" LIMIT ").push(rows);
}
