//! `glimpse import`: the images of a file into the catalog, by their ids.
//!
//! Records of every form become a [`Draft`](crate::image::Draft), typed and checked, before the
//! database is asked; the store makes images of them.

pub mod form;
mod openstack;
pub mod records;
mod v2;

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};

use crate::config::{Conflict, Import, Settings};
use crate::image::Said;
use crate::progress::{Ahead, Progress};
use crate::stop::signalled;
use crate::store::{Counts, OnConflict, Rules, Told, Upserted};
use crate::timestamp::Timestamp;
use records::Place;

/// Stores the images of a file, all or none unless it is told to keep going; tells on standard
/// error how far it is and which records are refused, and on standard output what became of them.
/// The status is that of a signal where one has stopped it.
///
/// # Errors
/// A file that cannot be read to its end or is not of one form, and a database that cannot be
/// reached or fails; it is unchanged then.
pub async fn import(asked: &Import, settings: &Settings) -> anyhow::Result<ExitCode> {
    let target = settings.target()?;
    let signal = signalled()?;
    let status = Cell::new(None);
    let mut stop = pin!(async { status.set(Some(signal.await)) });
    let stopped = || {
        let _ = writeln!(io::stderr(), "glimpse: Stopped; the catalog is unchanged.");
        Ok(status.get().map_or(ExitCode::FAILURE, ExitCode::from))
    };

    let (input, ahead) = open(&asked.file)?;
    let mut parts = records::read(input, asked.format);
    // What cannot be read at all is told before there is a database.
    let mut first = tokio::select! {
        first = parts.recv() => first.transpose()?,
        () = &mut stop => return stopped(),
    };
    let connect = settings.connect_timeout;
    let ready = async {
        target.reach(!asked.dry_run, connect).await?;
        if asked.dry_run {
            target.check_schema(connect).await
        } else {
            target.while_it_answers(connect, target.migrate(None)).await
        }
    };
    tokio::select! {
        ready = ready => ready?,
        () = &mut stop => return stopped(),
    }

    let rules = Rules {
        on_conflict: match asked.on_conflict {
            Conflict::Update => OnConflict::Update,
            Conflict::Skip => OnConflict::Skip,
            Conflict::Fail => OnConflict::Fail,
        },
        keep_going: asked.keep_going,
        dry_run: asked.dry_run,
        moment: Timestamp::now(),
    };
    let next = async || match first.take() {
        Some(part) => Ok(part),
        None => Ok(parts.recv().await.transpose()?.unwrap_or_default()),
    };
    let mut progress = Progress::new(ahead);
    let report = |told: Told<'_, Place>| match told {
        Told::Step(done) => progress.tell(done),
        Told::Refused { place, reason } => progress.say(&format!("{place}: {}", in_one_line(reason))),
    };
    let upserted = target.while_it_answers(connect, target.upsert(rules, next, report, stop)).await;
    progress.clear();
    let counts = match upserted? {
        Upserted::Stopped => return stopped(),
        Upserted::Stored(counts) | Upserted::Kept(counts) => counts,
    };
    // Stored they are, whether or not anybody reads it.
    let _ = writeln!(io::stdout(), "{}", summary(counts, asked));
    match counts.refused {
        0 => Ok(ExitCode::SUCCESS),
        refused if asked.keep_going => bail!("{}.", were_refused(refused)),
        refused => bail!("{}; the catalog is unchanged. With --keep-going the rest is stored.", were_refused(refused)),
    }
}

fn were_refused(refused: u64) -> String {
    if refused == 1 { "1 record was refused".to_owned() } else { format!("{refused} records were refused") }
}

/// The input, and what is known of its length.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read + Send>, Ahead)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), Ahead::Unknown));
    }
    let cannot = || format!("The file {} cannot be read", path.display());
    let file = File::open(path).with_context(cannot)?;
    let metadata = file.metadata().with_context(cannot)?;
    if metadata.is_dir() {
        bail!("{}: it is a folder.", cannot());
    }
    if !metadata.is_file() {
        return Ok((Box::new(file), Ahead::Unknown));
    }
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read: Arc::clone(&read) };
    Ok((Box::new(counted), Ahead::File { bytes: metadata.len(), read }))
}

/// A file that tells how much of it has been read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

fn summary(counts: Counts, asked: &Import) -> String {
    let Counts { new, changed, same, skipped, refused } = counts;
    let skipped = if asked.on_conflict == Conflict::Skip { format!("{skipped} skipped, ") } else { String::new() };
    let is_kept = asked.dry_run || refused > 0 && !asked.keep_going;
    let would_be = if is_kept { "nothing stored; it would be: " } else { "" };
    format!("{would_be}{new} new, {changed} changed, {same} same, {skipped}{refused} refused")
}

fn in_one_line(reason: &str) -> Cow<'_, str> {
    if reason.contains('\n') { Cow::Owned(reason.replace('\n', " ")) } else { Cow::Borrowed(reason) }
}

/// Whether an image is public, by its visibility in later APIs: those that are shared, or found by
/// who looks for them, are not.
fn is_public(field: &str, visibility: &str) -> Result<bool, String> {
    match visibility {
        "public" => Ok(true),
        "private" | "shared" | "community" => Ok(false),
        other => Err(format!("{field} is {other:?}; accepted are public, private, shared, community")),
    }
}

/// Whether an image is flagged deleted, and when it was deleted, by its status where nothing else
/// tells.
fn life(status: &Said<Cow<'static, str>>) -> (Said<bool>, Said<Option<Timestamp>>) {
    match status {
        Said::Nothing => (Said::Nothing, Said::Nothing),
        Said::This(status) if matches!(&**status, "deleted" | "pending_delete") => (Said::This(true), Said::Nothing),
        Said::This(_) => (Said::This(false), Said::This(None)),
    }
}
