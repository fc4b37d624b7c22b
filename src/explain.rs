//! `glimpse explain`: how a list is found, for people.

use std::io::{self, Write};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::{Explain, Settings};
use crate::query::{Value, parse};
use crate::store::{Explained, Patience};

/// How long the query may take here, whatever `QUERY_TIMEOUT` is for servers.
const PATIENCE: Duration = Duration::from_hours(1);

/// Prints on standard output how the list of a query is found, and runs it to do so.
///
/// # Errors
/// A query that the API would refuse, in the API's words; and a database that does not answer.
pub async fn explain(asked: &Explain, settings: &Settings) -> anyhow::Result<()> {
    let query = parse(query_of(&asked.query), settings.limits()?)?;
    let target = settings.target()?;
    target.reach(false, settings.connect_timeout).await?;
    target.check_schema(settings.connect_timeout).await?;
    // A query that a server gives up is the one whose plan is asked for.
    let store = target.open(Patience { query: PATIENCE, ..settings.patience() });
    let explained = store.explain(&query, &asked.caller().view(query.is_public)).await;
    store.close().await;
    match print(&explained?, io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The query of what may be a whole URL, or the end of one.
fn query_of(asked: &str) -> &str {
    match asked.split_once('?') {
        Some((before, query)) if !before.contains(['=', '&']) => query,
        _ => asked,
    }
}

fn print(explained: &Explained, mut out: impl Write) -> io::Result<()> {
    let Explained { choice, page, statements, unit } = explained;
    writeln!(out, "Plan: {choice}")?;
    for finding in &choice.findings {
        writeln!(out, "  {finding}")?;
    }
    let work = explained.work();
    let Answer { images } = serde_json::from_str(&page.json)?;
    let next = if page.next.is_some() { ", and more follow" } else { "" };
    writeln!(out, "Answer: {}{next}", counted(images.len(), "image"))?;
    writeln!(out, "Work: {work} {unit} in {}", counted(statements.len(), "statement"))?;
    for (number, statement) in statements.iter().enumerate() {
        writeln!(out, "\nStatement {}: {} {unit}\n  {}", number + 1, statement.work, statement.sql)?;
        for (place, bind) in statement.binds.iter().enumerate() {
            writeln!(out, "  {} = {}", place + 1, shown(bind))?;
        }
        for step in &statement.steps {
            writeln!(out, "    {step}")?;
        }
    }
    Ok(())
}

/// The body of a list, of which only the number of images is told.
#[derive(Deserialize)]
struct Answer {
    images: Vec<IgnoredAny>,
}

fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Whole(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Time(time) => time.to_string(),
        Value::Id(id) => id.to_string(),
    }
}
