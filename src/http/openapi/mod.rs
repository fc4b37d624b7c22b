//! The description of the API (OpenAPI 3.1) at `/openapi.json`, made of the routes that are served
//! and of the table of parameters.

mod operations;
mod schemas;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use serde_json::{Map, Value, json};

pub use operations::*;

use super::{ALLOW, JSON, Route, Service, VERSIONS};
use crate::auth::Need;
use crate::version;

/// The document as it is sent.
pub struct Document(Bytes);

/// `GET /openapi.json`.
pub async fn show(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().insert_header(JSON).body(document.0.clone())
}

/// What stands before all, in paragraphs.
const INTRODUCTION: &str = "The images of a catalog, as OpenStack's Image API v1.1 lists them. It can only be read.

The versions `v1.1`, `v1.0` and `v1` are one and the same API. A client may leave the version out of the path and name \
    it by `Accept: application/vnd.openstack.images-v1.1` instead.

Sizes are bytes, `min_ram` is MB, `min_disk` is GB, times are UTC. The newest image comes first, by `created_at`, then \
    `id`. A parameter that is not listed is ignored; of a repeated one only the last counts.

Every answer of the API has an `X-Openstack-Request-Id`, under which the log tells of it. Every error of it is JSON of \
    one form; for python-glanceclient, told by its User-Agent, it stands inside an object, as `error`.

Every path takes GET, HEAD and OPTIONS; any other method is a 405, and any other path a 404.";

impl Document {
    /// Of the routes without a version, and of those under one.
    pub fn new(service: &Service, unversioned: &[Route], versioned: &[Route]) -> Self {
        let mut paths = Map::new();
        for route in unversioned {
            paths.insert(path_of(route), item(&route.operation, &[], service.access.need()));
        }
        for route in versioned {
            let path = format!("/{{version}}{}", path_of(route));
            paths.insert(path, item(&route.operation, &[version_parameter()], service.access.need()));
        }
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Glimpse",
                "summary": "The OpenStack Image API v1.1",
                "description": INTRODUCTION,
                "version": version::VERSION,
                "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
            "paths": paths,
            "components": schemas::components(service.limits),
        });
        Self(document.to_string().into())
    }
}

/// The path without what only the pattern needs.
fn path_of(route: &Route) -> String {
    route.path.replace(":.*}", "}")
}

fn version_parameter() -> Value {
    let names = VERSIONS.map(|version| version.trim_start_matches('/'));
    json!({
        "name": "version",
        "in": "path",
        "required": true,
        "description": "The version; all are one and the same API.",
        "schema": { "type": "string", "enum": names },
        "example": "v1.1",
    })
}

/// The three methods of a path.
fn item(operation: &Operation, more: &[Value], need: Need) -> Value {
    let mut parameters = more.to_vec();
    parameters.extend(operation.path.iter().cloned());
    parameters.push(json!({ "$ref": "#/components/parameters/X-Openstack-Request-Id" }));
    let need = if operation.needs_caller { need } else { Need::Never };
    let security = match need {
        Need::Never => json!([]),
        Need::Optional => json!([{}, { "token": [] }]),
        Need::Always => json!([{ "token": [] }]),
    };
    let described = |name: &str, summary: &str, description: &str, responses: &Map<String, Value>| {
        json!({
            "operationId": name,
            "summary": summary,
            "description": description,
            "tags": [operation.tag],
            "parameters": operation.query,
            "security": security,
            "responses": responses,
        })
    };
    let id = operation.id.as_str();
    let get = described(id, operation.summary, operation.description, &operation.answers);
    let without_body = operation.head.clone().unwrap_or_else(|| {
        operation.answers.iter().map(|(status, answer)| (status.clone(), headers_of(answer))).collect()
    });
    let head = described(
        &format!("{id}Head"),
        &format!("{}: the headers alone", operation.summary),
        operation.head_description,
        &without_body,
    );
    let is_versioned = !more.is_empty();
    let mut options = options(operation, is_versioned);
    options["security"] = json!([]);
    json!({ "parameters": parameters, "get": get, "head": head, "options": options })
}

/// An answer as HEAD has it.
fn headers_of(answer: &Value) -> Value {
    let mut answer = match answer["$ref"].as_str().and_then(|name| name.rsplit_once('/')) {
        Some((_, name)) => schemas::response(name),
        None => answer.clone(),
    };
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("content");
    }
    answer
}

fn options(operation: &Operation, is_versioned: bool) -> Value {
    let mut responses = library_answers();
    let mut headers = json!({ "Allow": { "schema": { "type": "string", "const": ALLOW.1 }, "required": true } });
    if operation.needs_caller {
        let (name, no_store) = schemas::no_store_header();
        headers[name] = no_store;
    }
    let allowed = schemas::answer_with("The methods that are allowed.", Value::Null, headers);
    responses.insert("200".to_owned(), allowed);
    responses.insert("414".to_owned(), json!({ "$ref": "#/components/responses/UriTooLong" }));
    if is_versioned {
        responses.insert("404".to_owned(), json!({ "$ref": "#/components/responses/NotFound" }));
    }
    json!({
        "operationId": format!("{}Options", operation.id),
        "summary": "The methods that are allowed",
        "tags": [operation.tag],
        "responses": responses,
    })
}
