//! The API over HTTP: routes, and what is common to all answers.

mod assets;
mod connection;
mod console;
mod docs;
mod drain;
mod error;
mod faults;
mod images;
mod metrics;
mod openapi;
mod target;
mod versions;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{ConnectionType, Method, Uri, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{
    Error, FromRequest, Handler, HttpMessage as _, HttpRequest, HttpResponse, Resource, Responder, guard, web,
};
use uuid::Uuid;

pub use connection::serve;
pub use drain::Drain;
pub use error::ApiError;
pub use faults::faults_at_the_door;
pub use metrics::Metrics;

use self::connection::{Answering, Progress};
use self::openapi::Operation;
use crate::auth::{Access, AuthError, Caller, Need};
use crate::faults::{End, Faults};
use crate::query::Limits;
use crate::store::Store;

/// What the handlers share.
pub struct Service {
    pub access: Access,
    pub limits: Limits,
    /// What fails on purpose, in a test environment.
    pub faults: Option<Faults>,
    /// Scheme and host of links, where they are not those of the request.
    pub public_url: Option<String>,
    /// Where it is served, for clients that name no host.
    pub address: SocketAddr,
    pub store: Store,
    pub metrics: Metrics,
    pub drain: Drain,
}

/// Content type of every JSON body.
const JSON: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/json; charset=UTF-8");

/// The versions of the API, which are one and the same.
const VERSIONS: [&str; 3] = ["/v1", "/v1.0", "/v1.1"];

/// What is served without a version, and without a caller.
const UNVERSIONED: [&str; 8] =
    ["/", "/versions", "/healthcheck", "/ready", "/openapi.json", "/docs", "/console", METRICS];

/// Before what else is served so.
const UNVERSIONED_FOLDERS: [&str; 3] = ["/versions/", "/docs/", "/console/"];

/// Where the metrics are.
const METRICS: &str = "/metrics";

/// What is served at a path, and what the documentation tells of it: nothing is served without.
pub struct Route {
    /// The path as actix-web's pattern; under a version the part behind that.
    path: &'static str,
    operation: Operation,
    resource: Box<dyn FnOnce(&str) -> Resource>,
}

impl Route {
    /// A resource that can only be read.
    fn new<F, Args>(path: &'static str, operation: Operation, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let resource = move |prefix: &str| {
            web::resource(format!("{prefix}{path}"))
                .route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler))
                .route(web::method(Method::OPTIONS).to(async || HttpResponse::Ok().insert_header(ALLOW).finish()))
                .default_service(web::to(async |request: HttpRequest| {
                    Err::<HttpResponse, _>(ApiError::MethodNotAllowed(request.method().clone()))
                }))
        };
        Self { path, operation, resource: Box::new(resource) }
    }

    fn resource_below(self, prefix: &str) -> Resource {
        (self.resource)(prefix)
    }
}

/// The route of the metrics.
pub fn metrics_route() -> Route {
    Route::new(METRICS, openapi::metrics(), metrics::show)
}

/// All routes without a version but that of the metrics.
pub fn unversioned_routes() -> Vec<Route> {
    let mut routes = vec![
        Route::new("/", openapi::choices(), versions::choices),
        Route::new("/versions", openapi::versions(), versions::list),
        Route::new("/versions/{tail:.*}", openapi::versions_below(), versions::list),
        Route::new("/healthcheck", openapi::healthcheck(), healthcheck),
        Route::new("/ready", openapi::ready(), ready),
        Route::new("/openapi.json", openapi::document(), openapi::show),
    ];
    routes.extend(docs::routes());
    routes.extend(console::routes());
    routes
}

/// The document of a version.
fn version_routes() -> [Route; 2] {
    [
        Route::new("", openapi::version(), versions::document),
        Route::new("/", openapi::version_with_slash(), versions::document),
    ]
}

/// What under a version needs a caller.
fn image_routes() -> [Route; 5] {
    [
        Route::new("/images", openapi::brief(), images::brief),
        Route::new("/images/detail", openapi::detail(), images::detail),
        Route::new("/images/{id}", openapi::one(), images::one),
        Route::new("/images/{id}/members", openapi::members(), images::members),
        Route::new("/shared-images/{project}", openapi::shared(), images::shared),
    ]
}

/// Serves these routes and no others.
pub fn configure(config: &mut web::ServiceConfig, routes: Vec<Route>) {
    for route in routes {
        config.service(route.resource_below(""));
    }
    config.default_service(web::to(not_found));
}

/// Serves the API under each version, these other routes, and the document of all of it.
pub fn configure_api(config: &mut web::ServiceConfig, service: &Service, routes: Vec<Route>) {
    let versioned: Vec<Route> = version_routes().into_iter().chain(image_routes()).collect();
    config.app_data(web::Data::new(openapi::Document::new(service, &routes, &versioned)));
    for version in VERSIONS {
        for route in version_routes() {
            config.service(route.resource_below(version));
        }
        let scope = web::scope(version).wrap(from_fn(authenticate)).default_service(web::to(not_found));
        config.service(image_routes().into_iter().fold(scope, |scope, route| scope.service(route.resource_below(""))));
    }
    configure(config, routes);
}

/// The methods that every route takes.
const ALLOW: (header::HeaderName, &str) = (header::ALLOW, "GET, HEAD, OPTIONS");

async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(nothing_at(request.path()))
}

fn nothing_at(path: &str) -> ApiError {
    ApiError::NotFound(format!("Nothing is served at {path}."))
}

/// The process lives.
async fn healthcheck() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; charset=UTF-8")).body("OK")
}

/// The database answers.
async fn ready(service: web::Data<Service>) -> Result<HttpResponse, ApiError> {
    service.store.ready().await?;
    Ok(healthcheck().await)
}

/// Lets a request with a caller through. Where that takes a token, no cache keeps the answer.
async fn authenticate(
    service: web::Data<Service>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = admit(&service, request, next).await?;
    if service.access.need() != Need::Never {
        let (name, value) = NO_STORE;
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    Ok(response)
}

/// The caller is looked at before method, path and query. OPTIONS of what is served needs none, as in the reference.
async fn admit<B: MessageBody + 'static>(
    service: &Service,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody + use<B>>, Error> {
    let token = request.headers().get("X-Auth-Token").map(header::HeaderValue::as_bytes);
    match service.access.caller(token).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            if let Some(answer) = faults::meet_with_caller(&request).await {
                return Ok(ServiceResponse::new(request.into_parts().0, answer).map_into_right_body());
            }
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(error) => {
            let refusal = ApiError::from_auth(error, service.access.challenge());
            if request.method() != Method::OPTIONS {
                return Ok(request.error_response(refusal).map_into_right_body());
            }
            let response = next.call(request).await?;
            if response.status().is_success() {
                return Ok(response.map_into_left_body());
            }
            Ok(response.into_response(HttpResponse::from_error(refusal)).map_into_right_body())
        }
    }
}

/// The path and query of a request as the client sent them.
struct ClientTarget(PathAndQuery);

/// Puts the version that `Accept: application/vnd.openstack.images-v1` names before the path, as
/// the reference does; an unknown one is served nowhere. What has no version stays as it is.
///
/// # Errors
/// Those of the service behind it.
pub async fn version_by_media_type(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = target.path();
    let unversioned = UNVERSIONED.contains(&path) || UNVERSIONED_FOLDERS.iter().any(|folder| path.starts_with(folder));
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let version = accept.and_then(|accept| accept.strip_prefix("application/vnd.openstack.images-"));
    if let Some(version) = version.filter(|_| !unversioned) {
        if !VERSIONS.contains(&format!("/{version}").as_str()) {
            let refusal = ApiError::NotFound(format!("The version {version} of Accept is not served; v1.1 is."));
            return Ok(request.error_response(refusal).map_into_right_body());
        }
        let uri: Uri = format!("/v1{target}").parse().expect("a path stays one with another before it");
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    request.extensions_mut().insert(ClientTarget(target));
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-openstack-request-id");

/// What no answer goes without: it is what its type says, whatever it looks like.
const NO_SNIFFING: (header::HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

/// What an answer has that depends on a token: it is nobody else's.
const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// The longest request line that is looked at, in bytes with its line end, as in the reference.
const REQUEST_LINE: usize = 8192;

/// Around every request: its id, the form and length of its first line, its line in the log, its part
/// in the metrics, and what a fault on purpose leaves of its answer.
///
/// # Errors
/// None of its own; the handlers' are answers by then.
pub async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let _answering = request.conn_data::<Rc<Progress>>().map(Answering::begin);
    let service = request.app_data::<web::Data<Service>>().expect("every app has the service").clone();
    let in_flight = service.metrics.begin();
    service.drain.begin();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.path().to_owned();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let agent = request.headers().get(header::USER_AGENT).map(header::HeaderValue::as_bytes);
    let is_glanceclient = agent.is_some_and(|agent| agent.starts_with(b"python-glanceclient"));
    let has_body = !matches!(request.parts().1, Payload::None);
    let malformed = target::malformed(request.request());
    let is_malformed = malformed.is_some();
    let mut response = if method.as_str().len() + target + " HTTP/1.1\r\n ".len() >= REQUEST_LINE {
        request.error_response(ApiError::UriTooLong).map_into_right_body()
    } else if let Some(refusal) = malformed {
        request.error_response(refusal).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let value = header::HeaderValue::from_str(&id).expect("a request id is made of letters, digits and dashes");
    response.headers_mut().insert(REQUEST_ID, value);
    let (name, value) = NO_SNIFFING;
    response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    if has_body || is_malformed || service.drain.is_on() {
        // A body is not looked at. Who reads its end elsewhere than the library does, as by a line feed
        // alone, or takes the request for another one, must not find another answer behind this one.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    // Case does not matter in HTTP, but it does to some of the scripts that read such answers.
    response.response_mut().head_mut().set_camel_case_headers(true);

    match response.response().error().and_then(Error::as_error) {
        Some(ApiError::Internal(cause)) => tracing::error!(cause, request_id = id, "{id} failed: {cause}"),
        Some(ApiError::Unavailable(cause)) => tracing::warn!(cause, request_id = id, "{id} found no database: {cause}"),
        Some(ApiError::NoValidation(AuthError::Unavailable(cause))) => {
            tracing::error!(cause, request_id = id, "{id} has a token that could not be validated: {cause}");
        }
        _ => {}
    }
    let wrapped = response.response().error().and_then(Error::as_error).map(ApiError::wrapped);
    let response = match wrapped {
        Some(body) if is_glanceclient => response.map_body(|_, _| BoxBody::new(body)).map_into_right_body(),
        _ => response.map_into_left_body(),
    };

    let elapsed = started.elapsed();
    let duration_ms = (elapsed.as_secs_f64() * 1e6).round() / 1e3;
    let project = response.request().extensions().get::<Caller>().and_then(Caller::project).map(str::to_owned);
    let status = response.status().as_u16();
    let Some(faults::Met { rule, end }) = faults::met(response.request()) else {
        in_flight.answered(response.request(), status, elapsed);
        tracing::info!(%method, path, status, duration_ms, request_id = id, project, "{method} {path} {status}");
        return Ok(response.map_into_left_body());
    };
    if end == End::Cut {
        drop(in_flight);
        tracing::warn!(%method, path, duration_ms, request_id = id, project, fault = rule, "{method} {path} cut on purpose");
    } else {
        in_flight.answered(response.request(), status, elapsed);
        tracing::warn!(%method, path, status, duration_ms, request_id = id, project, fault = rule, "{method} {path} {status} by a fault on purpose");
    }
    Ok(faults::damage(response, &end).await?.map_into_right_body())
}

/// The client's own id if it is `req-` and at most 64 letters, digits and dashes in all, else a
/// new one.
fn request_id(request: &ServiceRequest) -> String {
    let own = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        id.starts_with("req-") && id.len() <= 64 && is_plain
    });
    own.map_or_else(|| format!("req-{}", Uuid::new_v4()), str::to_owned)
}
