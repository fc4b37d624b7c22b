//! The metrics: what the server counts of its requests, and what the store does of its work.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::Service;
use crate::faults::{Effect, End};
use crate::store::Store;
use crate::version;

/// The bounds of the histogram in seconds: a page of 25 takes less than a millisecond, and a
/// request that waits for a connection and then for its query 7 seconds at most, unless set.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The methods that are told apart: clients may send any.
const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];

/// Stands for the methods and the paths of which clients could send ever new ones.
const OTHER: &str = "other";

/// The pattern of a route, never a path, so that there are only so many.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    #[prometheus(flatten)]
    route: Route,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fault {
    effect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    commit: &'static str,
}

/// The numbers of one server.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    images: Counter,
    faults: Family<Fault, Counter>,
}

impl Metrics {
    /// Starts at 0. What `store` measures is shown, too.
    pub fn new(store: &Store) -> Self {
        let mut all = Registry::default();
        // The names of these are the same for programs of every kind.
        #[cfg(target_os = "linux")]
        all.register_collector(Box::new(crate::process::Own::starting_now()));
        let registry = all.sub_registry_with_prefix("glimpse");
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (in_flight, images) = (Gauge::default(), Counter::default());
        let faults = Family::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let help = "Time from a request's head to its answer";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations.clone());
        registry.register("http_requests_in_flight", "Requests that wait for their answer", in_flight.clone());
        registry.register("images_returned", "Images in the lists that were answered", images.clone());
        registry.register("faults_injected", "Faults on purpose that requests have met", faults.clone());
        let build = Build { version: version::VERSION, commit: version::COMMIT };
        registry.register(
            "build",
            "The version of the program, and the commit that it is built from",
            Info::new(build),
        );
        store.register(registry);
        Self { registry: all, requests, durations, in_flight, images, faults }
    }

    /// Counts the images of a list.
    pub fn returned(&self, images: u64) {
        self.images.inc_by(images);
    }

    /// Counts a fault on purpose.
    pub fn injected(&self, fault: &Effect) {
        let effect = match fault.end {
            End::Answer => "delay",
            End::Refusal { .. } => "status",
            End::Cut => "cut",
            End::Truncated(_) => "truncate_to",
        };
        self.faults.get_or_create(&Fault { effect }).inc();
    }

    /// Counts a request as in flight.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight { metrics: self }
    }
}

/// A request in flight, until it is answered or its client has gone.
pub struct InFlight<'a> {
    metrics: &'a Metrics,
}

impl InFlight<'_> {
    /// Counts its answer.
    pub fn answered(self, request: &HttpRequest, status: u16, elapsed: Duration) {
        let method = METHODS.into_iter().find(|method| *method == request.method().as_str()).unwrap_or(OTHER);
        let route = Route { route: request.match_pattern().unwrap_or_else(|| OTHER.to_owned()), method };
        self.metrics.durations.get_or_create(&route).observe(elapsed.as_secs_f64());
        self.metrics.requests.get_or_create(&Answer { route, status }).inc();
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

/// `GET /metrics`, in Prometheus's text form. It neither takes a connection nor needs a caller.
pub async fn show(service: Data<Service>) -> HttpResponse {
    let mut text = String::new();
    prometheus_text::encode(&mut text, &service.metrics.registry).expect("a String takes all that is written");
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)).body(text)
}
