//! Gives many images one by one, as they come from the database, and writes them as portable SQL.

use std::fmt::{Display, Write as _};

use anyhow::anyhow;
use sqlx::{PgConnection, SqliteConnection};

use super::Target;
use super::bulk::columns;
use super::error::{Failed, said};
use super::file::patient;
use super::migrate::Alone;
use super::sql::{self, Dialect, Selection, Sql};
use super::upsert;
use crate::image::{Image, Member};

/// An image with its members, as the database keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The JSON object of the image.
    pub document: &'a str,
    /// The JSON array of its members.
    pub members: &'a str,
}

impl Exported<'_> {
    /// The image that it shows.
    ///
    /// # Errors
    /// What is not as the database keeps it.
    pub fn image(&self) -> anyhow::Result<Image> {
        upsert::image(self.document, self.members)
            .map_err(|reason| anyhow!("The database has a document that it cannot have: {reason}."))
    }
}

impl Target {
    /// Gives each image of a selection, all as they are at one moment.
    ///
    /// # Errors
    /// What the database said, or `take`.
    pub async fn export(
        &self,
        selection: Selection<'_>,
        take: impl FnMut(Exported<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(options) => {
                // A mapped file, read through, would seem to be memory in use.
                let unmapped = patient(options).pragma("mmap_size", "0");
                self.naming_failed(export::<SqliteConnection>(&unmapped, selection, take).await)
            }
            Self::Postgres(options) => export::<PgConnection>(options, selection, take).await,
        }
    }
}

/// One statement, which sees one state of the catalog.
async fn export<C: Alone<Database: Dialect>>(
    options: &C::Options,
    selection: Selection<'_>,
    mut take: impl FnMut(Exported<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut connection = C::connect_with(options).await.map_err(|error| failed(&error))?;
    let mut transaction = connection.begin_with(C::READING).await.map_err(|error| failed(&error))?;
    let mut sql = Sql::new("");
    sql::push_many(&mut sql, &selection);
    let exported = C::Database::each(&mut transaction, sql, |row| {
        let (document, members) = (C::Database::text(&row, 0)?, C::Database::text(&row, 1)?);
        take(Exported { document: &document, members: &members })
    });
    exported.await.map_err(|error| match error.downcast_ref() {
        Some(error) => failed(error),
        None => error,
    })?;
    // All is read.
    drop(transaction);
    let _ = connection.close().await;
    Ok(())
}

fn failed(error: &sqlx::Error) -> anyhow::Error {
    anyhow!(Failed(format!("The database failed: {}.", said(error))))
}

/// Statements that store images with their members on either engine, and leave those alone that are
/// there already.
pub fn portable_sql(images: &[Image]) -> String {
    let mut sql = String::new();
    push_rows(&mut sql, concat!("INSERT INTO images (", columns!(), ")"), images.iter().map(row));
    let members = images.iter().flat_map(|image| {
        image
            .members
            .iter()
            .map(|Member { member, can_share }| format!("'{}', {}, {}", image.id, literal(member), flag(*can_share)))
    });
    push_rows(&mut sql, "INSERT INTO image_members (image_id, member, can_share)", members);
    sql
}

fn push_rows(sql: &mut String, insert: &str, rows: impl Iterator<Item = String>) {
    let rows: Vec<String> = rows.collect();
    if !rows.is_empty() {
        let rows = rows.join("),\n    (");
        write!(sql, "{insert} VALUES\n    ({rows})\nON CONFLICT DO NOTHING;\n")
            .expect("a String takes all that is written");
    }
}

/// The values of an image, in the order of the columns.
fn row(image: &Image) -> String {
    let time = |time: Option<_>| optional(time.map(|time| format!("'{time}'")));
    let values = [
        format!("'{}'", image.id),
        optional(image.name.as_deref().map(literal)),
        literal(&image.status),
        optional(image.disk_format.as_deref().map(literal)),
        optional(image.container_format.as_deref().map(literal)),
        optional(image.size),
        optional(image.virtual_size),
        optional(image.checksum.as_deref().map(literal)),
        optional(image.owner.as_deref().map(literal)),
        flag(image.is_public).to_owned(),
        flag(image.protected).to_owned(),
        flag(image.deleted).to_owned(),
        image.min_ram.to_string(),
        image.min_disk.to_string(),
        time(Some(image.created_at)),
        time(image.updated_at),
        time(image.deleted_at),
        quoted(&image.properties),
    ];
    values.join(", ")
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

fn flag(flag: bool) -> &'static str {
    if flag { "TRUE" } else { "FALSE" }
}

/// A text as SQL of either engine.
///
/// A line of a seed may not begin with what turns transactions off elsewhere, even within a text.
/// Properties hold no line feed, and PostgreSQL would take no sum of texts for them.
fn literal(text: &str) -> String {
    quoted(text).replace("-- no-transaction", "-- ' || 'no-transaction")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
