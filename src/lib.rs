//! Glimpse serves the OpenStack Image API v1.1 from a SQL database.
//!
//! One request goes one way, and each module knows only those before it in this list:
//!
//! ```text
//! request -> caller (auth) -> ImageQuery (query) -> SQL text and binds (store) -> rows -> JSON (http)
//! ```
//!
//! * [`timestamp`]: the times of the API, and every form in which a client may write one.
//! * [`image`]: an image as it is written, and what a record says of one.
//! * [`query`]: the query string as a typed [`query::ImageQuery`], pure; the table of parameters.
//! * [`auth`]: who asks, and what that lets them see.
//! * [`store`]: the only module that knows SQL: schema, seeds, and the pages of a query.
//! * [`faults`]: which requests of a test environment fail on purpose.
//! * [`http`]: routes, answers and error bodies.
//! * [`config`], [`telemetry`], [`server`], [`version`]: the settings, the log, the process around it all, and its build.
//! * [`explain`]: how a list is found, for people.
//! * [`generate`]: a synthetic catalog of any size.
//! * [`import`], [`export`]: images from files and to them.
//! * [`health`]: whether the server lives, for a container's health check.
//! * [`shell`]: completions and manual pages.
//! * [`outgoing`]: the requests that Glimpse sends itself, to Keystone and for its own health.
//! * [`duration`], [`random`]: durations as they are written, and numbers that a seed means for ever.
//! * [`progress`], [`stop`]: how far long work is, and what ends it early.
//! * [`runtime`]: where connections live that all workers share.
//! * `process`: what Linux tells of the process, for the metrics.

pub mod auth;
pub mod config;
pub mod duration;
pub mod explain;
pub mod export;
pub mod faults;
pub mod files;
pub mod generate;
pub mod health;
pub mod http;
pub mod image;
pub mod import;
pub mod outgoing;
#[cfg(target_os = "linux")]
pub mod process;
pub mod progress;
pub mod query;
pub mod random;
pub mod runtime;
pub mod server;
pub mod shell;
pub mod stop;
pub mod store;
pub mod telemetry;
pub mod timestamp;
pub mod version;
