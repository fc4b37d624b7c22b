//! The lists of images, single images, and who they are shared with.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Path, ReqData};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{ApiError, ClientTarget, JSON, Service};
use crate::auth::Caller;
use crate::query::{self, IsPublic};
use crate::store::Projection;

/// `GET /v1.1/images/detail`: all eighteen fields of each image.
pub async fn detail(
    request: HttpRequest,
    service: Data<Service>,
    caller: ReqData<Caller>,
) -> Result<HttpResponse, ApiError> {
    list(&request, &service, &caller, Projection::Detail).await
}

/// `GET /v1.1/images`: six fields of each image, by the same query.
pub async fn brief(
    request: HttpRequest,
    service: Data<Service>,
    caller: ReqData<Caller>,
) -> Result<HttpResponse, ApiError> {
    list(&request, &service, &caller, Projection::Brief).await
}

async fn list(
    request: &HttpRequest,
    service: &Service,
    caller: &Caller,
    projection: Projection,
) -> Result<HttpResponse, ApiError> {
    let query = query::parse(request.query_string(), service.limits)?;
    let page = service.store.page(&query, &caller.view(query.is_public), projection).await?;
    service.metrics.returned(page.images);
    let mut response = HttpResponse::Ok();
    response.insert_header(JSON);
    if let Some(marker) = page.next.filter(|_| !fails_on_links(request)) {
        response.insert_header((header::LINK, next_link(request, query.limit, marker)));
    }
    Ok(response.body(page.json))
}

/// `HEAD /v1.1/images/{id}`: the image as headers, with their names and values as in the
/// reference: `X-Image-Meta-Name`, `X-Image-Meta-Property-NAME`, `True` and `False`, nulls left
/// out, text as UTF-8. `GET` has them too, but is 404: no image data is kept.
///
/// A property whose name is no token of HTTP (RFC 9110), such as one beyond ASCII, or has a percent
/// sign is named percent-encoded: the reference sends such names as they are, at which clients drop
/// the rest of the headers or the whole answer. One whose value has control characters is left out.
pub async fn one(
    request: HttpRequest,
    id: Path<String>,
    service: Data<Service>,
    caller: ReqData<Caller>,
) -> Result<HttpResponse, ApiError> {
    let (uuid, view) = (named(&id)?, caller.view(IsPublic::Absent));
    let document = service.store.image(uuid, &view).await?.ok_or_else(|| no_image(&id))?;
    let document = serde_json::from_str(&document).expect("the database keeps documents as JSON objects");
    let mut response = if request.method() == Method::HEAD {
        HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/html; charset=UTF-8")).finish()
    } else {
        HttpResponse::from_error(no_data(&id))
    };
    for (name, value) in headers(&document) {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// `GET /v1.1/images/{id}/members`: the projects that the image is shared with. Who is not its
/// owner is only told of its own membership.
pub async fn members(
    id: Path<String>,
    service: Data<Service>,
    caller: ReqData<Caller>,
) -> Result<HttpResponse, ApiError> {
    let (uuid, view) = (named(&id)?, caller.view(IsPublic::Absent));
    let members = service.store.members(uuid, &view).await?.ok_or_else(|| no_image(&id))?;
    Ok(HttpResponse::Ok().insert_header(JSON).body(format!("{{\"members\":[{members}]}}")))
}

/// `GET /v1.1/shared-images/{project}`: the images shared with a project, as far as the caller
/// owns them or is that project.
pub async fn shared(
    project: Path<String>,
    service: Data<Service>,
    caller: ReqData<Caller>,
) -> Result<HttpResponse, ApiError> {
    // No project has a NUL in its id, and PostgreSQL could not compare one.
    if project.contains('\0') {
        return Ok(HttpResponse::Ok().insert_header(JSON).body("{\"shared_images\":[]}"));
    }
    let shared = service.store.shared(&project, &caller.view(IsPublic::Absent)).await?;
    Ok(HttpResponse::Ok().insert_header(JSON).body(format!("{{\"shared_images\":[{shared}]}}")))
}

/// The id that a path names.
fn named(id: &str) -> Result<Uuid, ApiError> {
    query::canonical_uuid(id).ok_or_else(|| no_image(id))
}

/// The refusal of a single image's data.
pub fn no_data(id: &str) -> ApiError {
    ApiError::NotFound(format!("Glimpse keeps no image data, so there is none of the image {id}."))
}

/// The refusal where there is no image, or none that the caller may see.
pub fn no_image(id: &str) -> ApiError {
    ApiError::NotFound(format!("No image that you can see has the id {id}."))
}

/// What the name of a header may not hold (RFC 9110), and the percent sign of the encoding itself.
const NOT_IN_A_TOKEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'(')
    .add(b')')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'{')
    .add(b'}');

/// The headers of an image's document.
fn headers(document: &Map<String, Value>) -> Vec<(HeaderName, HeaderValue)> {
    let fields = document.iter().filter(|(name, _)| *name != "properties").map(|(name, value)| (name.clone(), value));
    let properties = document["properties"].as_object().into_iter().flatten();
    let properties = properties.map(|(name, value)| (format!("property-{name}"), value));
    let header = |(name, value): (String, &Value)| {
        let text = match value {
            Value::Null => return None,
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // HeaderName alone would let a quotation mark through, and a percent sign would read as encoded.
        let token = HeaderName::try_from(format!("x-image-meta-{name}")).ok().filter(|_| !name.contains(['"', '%']));
        let encoded = || format!("x-image-meta-{}", utf8_percent_encode(&name, NOT_IN_A_TOKEN)).try_into().ok();
        let name = token.or_else(encoded)?;
        Some((name, HeaderValue::from_bytes(text.as_bytes()).ok()?))
    };
    let etag = document["checksum"].as_str().and_then(|checksum| HeaderValue::from_str(checksum).ok());
    fields.chain(properties).filter_map(header).chain(etag.map(|etag| (header::ETAG, etag))).collect()
}

/// openstacksdk, known also by its keystoneauth1, fails on any `Link` to a next page, as it looks
/// for the target under another name; without one it pages by `marker` where it has a limit.
fn fails_on_links(request: &HttpRequest) -> bool {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.contains("openstacksdk") || agent.contains("keystoneauth1"))
}

/// What a URI may not hold (RFC 3986), and would break the header.
const NOT_IN_A_URI: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// The same request for the page after `marker` (RFC 8288): path and query only, as a proxy may
/// stand in front.
fn next_link(request: &HttpRequest, limit: u32, marker: Uuid) -> String {
    let extensions = request.extensions();
    // The path as it came: where `Accept` names the version, it must not be named twice.
    let path = extensions.get::<ClientTarget>().map_or_else(|| request.path(), |ClientTarget(target)| target.path());
    let kept = request.query_string().split('&').filter(|pair| {
        // The query has been read before, so that the name of each pair can be.
        let names = query::pairs(pair).unwrap_or_default();
        names.iter().any(|(name, _)| name != "limit" && name != "marker")
    });
    let query = kept.fold(String::new(), |query, pair| query + pair + "&");
    let target = format!("{path}?{query}limit={limit}&marker={marker}");
    format!("<{}>; rel=\"next\"", utf8_percent_encode(&target, NOT_IN_A_URI))
}
