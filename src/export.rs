//! `glimpse export`: images on standard output, one by one as the database gives them.

use std::io::{self, BufWriter, Write};

use anyhow::{Context as _, ensure};

use crate::auth::Caller;
use crate::config::{Export, Settings, Written};
use crate::image::Image;
use crate::query::{Limits, parse};
use crate::store::{self, Exported, Selection};

/// Writes all images, or those that a query lists. Who reads them may stop at any time.
///
/// # Errors
/// A query that makes no sense here or that the API would refuse, a database that does not answer,
/// and an output that cannot be written.
pub async fn export(asked: &Export, settings: &Settings) -> anyhow::Result<()> {
    let without_pages = Limits { default: u32::MAX, max: u32::MAX };
    let query = asked.query.as_deref().map(|query| parse(query, without_pages)).transpose()?;
    let has_marker = query.as_ref().is_some_and(|query| query.marker.is_some());
    ensure!(!has_marker, "An export has no pages, so that its query takes no marker.");
    let view = query.as_ref().map(|query| Caller::Unrestricted.view(query.is_public));
    let selection = match (&query, &view) {
        (Some(query), Some(view)) => Selection::Listed(query, view),
        _ => Selection::All,
    };
    let target = settings.target()?;
    target.reach(false, settings.connect_timeout).await?;
    target.check_schema(settings.connect_timeout).await?;

    let mut writer =
        Writer { out: BufWriter::new(io::stdout().lock()), form: asked.format, count: 0, images: Vec::new() };
    let written = async {
        writer.begin()?;
        let exported = target.export(selection, |image| writer.image(image));
        target.while_it_answers(settings.connect_timeout, exported).await?;
        writer.end()
    };
    match written.await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => written,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The images of one statement of SQL.
const ROWS: usize = 1000;

struct Writer<W> {
    out: W,
    form: Written,
    /// The images that have been written.
    count: u64,
    /// Those that wait for their statement.
    images: Vec<Image>,
}

impl<W: Write> Writer<W> {
    fn begin(&mut self) -> anyhow::Result<()> {
        match self.form {
            Written::Json => self.put("{\"images\":["),
            Written::Ndjson => Ok(()),
            Written::Sql => self.put(
                "-- Images, as `glimpse export` wrote them: for SQLite and PostgreSQL, as a seed or by hand.\n\
                 -- Those that are there already stay as they are.\n",
            ),
        }
    }

    fn image(&mut self, image: Exported<'_>) -> anyhow::Result<()> {
        match self.form {
            Written::Json => {
                if self.count > 0 {
                    self.put(",")?;
                }
                self.put(image.document)?;
            }
            Written::Ndjson => {
                let object = image.document.strip_suffix('}').context("a document is no object")?;
                self.put(object)?;
                self.put(",\"members\":")?;
                self.put(image.members)?;
                self.put("}\n")?;
            }
            Written::Sql => {
                self.images.push(image.image()?);
                if self.images.len() == ROWS {
                    self.put_statements()?;
                }
            }
        }
        self.count += 1;
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        match self.form {
            Written::Json => self.put("]}\n")?,
            Written::Ndjson => {}
            Written::Sql => self.put_statements()?,
        }
        self.out.flush().map_err(failed)
    }

    fn put_statements(&mut self) -> anyhow::Result<()> {
        let sql = store::portable_sql(&self.images);
        self.images.clear();
        self.put(&sql)
    }

    fn put(&mut self, text: &str) -> anyhow::Result<()> {
        self.out.write_all(text.as_bytes()).map_err(failed)
    }
}

fn failed(error: io::Error) -> anyhow::Error {
    anyhow::Error::from(error).context("Standard output cannot be written")
}
