//! `glimpse generate`: fills the database with a synthetic catalog.

mod catalog;

use std::cell::Cell;
use std::io::{Write as _, stderr, stdout};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;

use crate::config::{Generate, Settings};
use crate::progress::{Ahead, Progress};
use crate::stop::signalled;
use crate::store::{Filled, Present};
use catalog::Catalog;

/// Fills the database with the catalog of a seed, whole or not at all; tells how far it is on
/// standard error. The status is that of a signal where one has stopped it.
///
/// # Errors
/// A database that cannot be reached, that fails, or that holds images already, unless it was said
/// what becomes of them; it is unchanged then.
pub async fn generate(asked: Generate, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Generate { count, seed, until, append, replace } = asked;
    let present = match (append, replace) {
        (true, _) => Present::Kept,
        (_, true) => Present::Deleted,
        _ => Present::Refused,
    };
    let target = settings.target()?;
    let signal = signalled()?;
    let status = Cell::new(None);
    let mut stop = pin!(async { status.set(Some(signal.await)) });
    let stopped = || {
        let _ = writeln!(stderr(), "glimpse: Stopped; the catalog is unchanged.");
        Ok(status.get().map_or(ExitCode::FAILURE, ExitCode::from))
    };
    let connect = settings.connect_timeout;
    let ready = async {
        target.reach(true, connect).await?;
        target.while_it_answers(connect, target.migrate(None)).await
    };
    tokio::select! {
        ready = ready => ready?,
        () = &mut stop => return stopped(),
    }
    let mut progress = Progress::new(Ahead::Rows(count));
    let catalog = Catalog::new(seed, count, until);
    let filled = target.fill(present, count, catalog.images(), |step| progress.tell(step), stop);
    let filled = target.while_it_answers(connect, filled).await;
    progress.clear();
    match filled? {
        Filled::Done => {
            // Stored they are, whether or not anybody reads it.
            let _ = writeln!(stdout(), "{count} images of seed {seed} stored");
            Ok(ExitCode::SUCCESS)
        }
        Filled::Stopped => stopped(),
        Filled::Occupied(there) => {
            bail!("The database holds images already ({there}); --append keeps them, --replace deletes them first.")
        }
        Filled::Taken(reason) => bail!(
            "Some of these images are there already ({reason}); another --seed gives others. The catalog is unchanged."
        ),
    }
}
