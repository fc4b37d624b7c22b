//! SQLite's file: others may lock it, cut it off, or change how it is written.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use anyhow::anyhow;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::Target;
use super::error::{StoreError, said};

impl Target {
    /// Has SQLite's file open until it is released. `glimpse generate` turns the write-ahead log off
    /// where nobody has, and whoever comes later waits until it is done.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub async fn hold(&self) -> anyhow::Result<Hold> {
        let Self::Sqlite(options) = self else { return Ok(Hold(None)) };
        let held = async {
            let mut connection = SqliteConnection::connect_with(&patient(options)).await?;
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
            // It has the file open only once it has read.
            sqlx::query("SELECT 1 FROM sqlite_schema").execute(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, mode))
        };
        let (connection, mode) = self.naming(held.await.map_err(|error| anyhow!("{}.", said(&error))))?;
        if mode != "wal" {
            tracing::warn!(
                path = %options.get_filename().display(),
                "whoever writes to SQLite's file holds up all queries; `glimpse migrate` turns its write-ahead log on"
            );
        }
        Ok(Hold(Some(connection)))
    }
}

/// SQLite's file, held open.
pub struct Hold(Option<SqliteConnection>);

impl Hold {
    /// Lets go of it.
    pub async fn release(self) {
        if let Some(connection) = self.0 {
            // It is gone in any case.
            let _ = connection.close().await;
        }
    }
}

/// For what waits for another process as long as it takes.
pub(super) fn patient(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options.clone().busy_timeout(Duration::from_hours(1))
}

/// Reads a file of SQLite: how many bytes it has, and how many it says that it has. SQLite itself
/// notices only where whole pages are missing.
pub(super) async fn lengths(options: &SqliteConnectOptions) -> sqlx::Result<(u64, u64)> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    let mut reading = connection.begin().await?;
    sqlx::query("SELECT 1 FROM sqlite_schema").execute(&mut *reading).await?;
    let whole = sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
    let whole: i64 = whole.fetch_one(&mut *reading).await?;
    let path = options.get_filename();
    let length = fs::metadata(path)?.len();
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // What is in the write-ahead log need not be in the file yet.
    let is_behind = fs::metadata(log).is_ok_and(|log| log.len() > 0);
    reading.commit().await?;
    connection.close().await?;
    let whole = if is_behind { length } else { u64::try_from(whole).unwrap_or(length) };
    Ok((length, whole))
}

/// Reads in what a file of SQLite writes texts; one without anything takes what it is made with.
pub(super) async fn text_encoding(options: &SqliteConnectOptions) -> sqlx::Result<String> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    let encoding: String = sqlx::query_scalar("PRAGMA encoding").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(encoding)
}

/// A file that is being served.
pub struct Known {
    options: SqliteConnectOptions,
    /// The device and the number by which the system knows it.
    identity: OnceLock<(u64, u64)>,
    /// Whether another file was there at any time: connections may have it open.
    is_replaced: AtomicBool,
    /// The bytes that it had last.
    length: AtomicU64,
    /// Called where it is not in its folder.
    unseen: Once,
}

impl Known {
    pub fn new(options: SqliteConnectOptions) -> Self {
        let (identity, is_replaced) = (OnceLock::new(), AtomicBool::new(false));
        Self { options, identity, is_replaced, length: AtomicU64::new(0), unseen: Once::new() }
    }

    pub fn path(&self) -> &Path {
        self.options.get_filename()
    }

    /// Looks whether somebody has cut the file off, or put another in its place. SQLite reads it through
    /// memory, and to read there what the file has no more would end the process; and of two files one
    /// connection would show the one, the next the other.
    ///
    /// # Errors
    /// Where it is another, or shorter than it was, and not because SQLite made it so, as a VACUUM does.
    pub async fn check(&self) -> Result<(), StoreError> {
        // The kernel knows by heart what a file of the machine's own is like; to ask on another thread would
        // cost 7 of 100 pages.
        let file = match fs::metadata(self.path()) {
            Ok(file) => file,
            Err(error) => {
                // What has gone from its folder can still be read.
                self.unseen.call_once(|| {
                    let path = self.path().display();
                    tracing::warn!(%path, %error, "SQLite's file is gone from its folder; connections that have it open still serve it");
                });
                return Ok(());
            }
        };
        let (length, identity) = (file.len(), (file.dev(), file.ino()));
        if *self.identity.get_or_init(|| identity) != identity {
            self.is_replaced.store(true, Ordering::Relaxed);
        }
        if self.is_replaced.load(Ordering::Relaxed) {
            let reason = "another file has taken the place of the one that is served; stop the server, delete the files \
                -wal and -shm beside it, which belong to the one before, and start it anew";
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        let known = self.length.load(Ordering::Relaxed);
        if length < known {
            // SQLite takes a file of no bytes for a database, and deletes its write-ahead log.
            let (length, whole) = if length == 0 { (0, known) } else { lengths(&self.options).await? };
            if length < whole {
                let reason = format!("the file is cut off: it has {length} bytes, and should have {whole}");
                return Err(StoreError::Unavailable(reason));
            }
        }
        if length != known {
            self.length.store(length, Ordering::Relaxed);
        }
        Ok(())
    }
}
