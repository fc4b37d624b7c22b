//! What the store tells of its own work in numbers: the time of the database by what it was asked
//! for, the wait for a connection, and the state of the pool.
//!
//! A store always counts; [`super::Store::register`] shows it to whoever keeps a registry.

use std::fmt;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _, LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::plan::Choice;
use super::pool::Status;
use super::sql::{Path, Plan};
use crate::query::Column;

/// The bounds of the histograms in seconds: a first walk takes a tenth of a millisecond, and
/// `QUERY_TIMEOUT` is 5 seconds unless set.
const BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What a connection was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A page that the first walk has filled, in one statement.
    Walk,
    /// A page that took longer walks.
    LongerWalk,
    /// A page that took a walk through nothing but what a list may show.
    ShownWalk,
    /// A page that was put together by the values of its sort key.
    ByKeys,
    /// A page that took a scan by the equalities.
    ScanEqualities,
    /// The same by the sizes.
    ScanSize,
    /// The same by `changes-since`.
    ScanUpdatedAt,
    /// The same by another column, such as `min_ram`.
    ScanColumn,
    /// The same by a property.
    ScanProperty,
    /// The same by what both the equalities and a property lead to.
    ScanEqualitiesAndProperty,
    /// The same by what the caller sees.
    ScanVisible,
    /// A single image.
    Image,
    /// The members of an image.
    Members,
    /// The images shared with a project.
    Shared,
    /// A sign of life.
    Ready,
    /// A page that was never found: the query failed, took too long, or nobody waited any more.
    Unfinished,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Walk,
        Self::LongerWalk,
        Self::ShownWalk,
        Self::ByKeys,
        Self::ScanEqualities,
        Self::ScanSize,
        Self::ScanUpdatedAt,
        Self::ScanColumn,
        Self::ScanProperty,
        Self::ScanEqualitiesAndProperty,
        Self::ScanVisible,
        Self::Image,
        Self::Members,
        Self::Shared,
        Self::Ready,
        Self::Unfinished,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::LongerWalk => "longer_walk",
            Self::ShownWalk => "shown_walk",
            Self::ByKeys => "by_keys",
            Self::ScanEqualities => "scan_equalities",
            Self::ScanSize => "scan_size",
            Self::ScanUpdatedAt => "scan_updated_at",
            Self::ScanColumn => "scan_column",
            Self::ScanProperty => "scan_property",
            Self::ScanEqualitiesAndProperty => "scan_equalities_and_property",
            Self::ScanVisible => "scan_visible",
            Self::Image => "image",
            Self::Members => "members",
            Self::Shared => "shared",
            Self::Ready => "ready",
            Self::Unfinished => "unfinished",
        }
    }
}

impl From<&Choice> for Kind {
    fn from(choice: &Choice) -> Self {
        match choice.plan {
            _ if choice.by_keys => Self::ByKeys,
            Plan::FirstWalk(_) => Self::Walk,
            Plan::Walk(_) => Self::LongerWalk,
            Plan::ShownWalk(_) => Self::ShownWalk,
            Plan::FirstScan(path) | Plan::Scan(path) => match path {
                Path::Equalities => Self::ScanEqualities,
                Path::Column(Column::Size) => Self::ScanSize,
                Path::Column(Column::UpdatedAt) => Self::ScanUpdatedAt,
                Path::Column(_) => Self::ScanColumn,
                Path::Property(_) => Self::ScanProperty,
                Path::EqualitiesAndProperty(_) => Self::ScanEqualitiesAndProperty,
                Path::Visible => Self::ScanVisible,
            },
        }
    }
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        self.label().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    plan: Kind,
}

/// The store's own numbers.
pub struct Measures {
    queries: Family<Labels, Histogram, fn() -> Histogram>,
    waits: Histogram,
}

impl Measures {
    pub fn new() -> Self {
        let queries = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        for plan in Kind::ALL {
            // There from the start with 0, so that the first of a kind is seen as a growth.
            drop(queries.get_or_create(&Labels { plan }));
        }
        Self { queries, waits: Histogram::new(BUCKETS) }
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "query_duration",
            "Time that the database took, by the plan that found a page, or by what else was asked",
            Unit::Seconds,
            self.queries.clone(),
        );
        registry.register_with_unit(
            "pool_wait_duration",
            "Wait for a connection of the pool, whether or not one was had in the end",
            Unit::Seconds,
            self.waits.clone(),
        );
    }

    /// Takes a wait for a connection that is over.
    pub fn waited(&self, started: Instant) {
        self.waits.observe(started.elapsed().as_secs_f64());
    }

    /// Begins to take the time of a query.
    pub fn query(&self) -> Timed<'_> {
        Timed { measures: self, kind: Kind::Unfinished, started: Instant::now() }
    }
}

/// A query that runs. Its time is taken at its end, in whatever way that comes: a query that takes
/// too long, and one that nobody waits for any more, are dropped.
pub struct Timed<'a> {
    measures: &'a Measures,
    kind: Kind,
    started: Instant,
}

impl Timed<'_> {
    /// Says what it is.
    pub fn is(&mut self, kind: impl Into<Kind>) {
        self.kind = kind.into();
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.measures.queries.get_or_create(&Labels { plan: self.kind }).observe(seconds);
    }
}

/// The state of a pool, as it is when somebody asks.
pub struct Watched<F>(pub F);

impl<F> fmt::Debug for Watched<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watched")
    }
}

impl<F: Fn() -> Status + Send + Sync + 'static> Collector for Watched<F> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Status { max, open, idle, waiting } = (self.0)();
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));

        let help = "Open connections to the database.";
        let mut connections = encoder.encode_descriptor("pool_connections", help, None, MetricType::Gauge)?;
        for (state, count) in [("idle", idle), ("used", open.saturating_sub(idle))] {
            gauge(count).encode(connections.encode_family(&[("state", state)])?)?;
        }
        let help = "Connections that the pool may open.";
        gauge(max).encode(encoder.encode_descriptor("pool_connections_max", help, None, MetricType::Gauge)?)?;
        let help = "Requests that wait for a connection, or for one to be opened.";
        gauge(waiting).encode(encoder.encode_descriptor("pool_waiting", help, None, MetricType::Gauge)?)
    }
}
