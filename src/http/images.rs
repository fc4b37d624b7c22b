//! The lists of images.

use actix_web::http::header;
use actix_web::web::{Data, ReqData};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

use super::{ApiError, ClientTarget, JSON, Service};
use crate::auth::Caller;
use crate::query;
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
    let mut response = HttpResponse::Ok();
    response.insert_header(JSON);
    if let Some(marker) = page.next {
        response.insert_header((header::LINK, next_link(request, query.limit, marker)));
    }
    Ok(response.body(page.json))
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
