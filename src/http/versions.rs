//! Version discovery: the versions that this server serves, which need no caller.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::{JSON, Service, target};

/// A version as discovery describes it, in the reference's order.
#[derive(Serialize)]
struct Version {
    status: &'static str,
    id: &'static str,
    links: [Link; 1],
}

#[derive(Serialize)]
struct Link {
    href: String,
    rel: &'static str,
}

#[derive(Serialize)]
struct All {
    versions: [Version; 2],
}

#[derive(Serialize)]
struct One {
    version: Version,
}

/// `GET /`: 300, choose one.
pub async fn choices(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    HttpResponse::MultipleChoices().insert_header(JSON).body(all(&request, &service))
}

/// `GET /versions` and below.
pub async fn list(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    HttpResponse::Ok().insert_header(JSON).body(all(&request, &service))
}

/// `GET /v1.1`: that version alone. `/v1` is a name of the newest.
pub async fn document(request: HttpRequest, service: Data<Service>) -> HttpResponse {
    let id = if request.path().starts_with("/v1.0") { "v1.0" } else { "v1.1" };
    let document = One { version: version(id, &base(&request, &service)) };
    HttpResponse::Ok().insert_header(JSON).body(json(&document))
}

fn all(request: &HttpRequest, service: &Service) -> String {
    let base = base(request, service);
    json(&All { versions: [version("v1.1", &base), version("v1.0", &base)] })
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("texts can be written as JSON")
}

/// As the reference describes it, link included: both versions are served at `/v1/`.
fn version(id: &'static str, base: &str) -> Version {
    Version { status: "DEPRECATED", id, links: [Link { href: format!("{base}/v1/"), rel: "self" }] }
}

/// Scheme and host: `PUBLIC_URL`, else those by which the client came.
fn base(request: &HttpRequest, service: &Service) -> String {
    service
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{}", target::host(request).unwrap_or_else(|| service.address.to_string())))
}
