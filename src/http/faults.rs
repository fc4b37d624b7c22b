//! What a fault on purpose does to a request.
//!
//! A rule is looked for once the caller is known, or at the door where none is asked for. There a
//! delay and a refusal happen; what befalls the connection happens to the answer, on its way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use futures_util::stream;

use super::{ApiError, Service, VERSIONS};
use crate::auth::Caller;
use crate::faults::{Asked, End, Rule};
use crate::query;

/// The fault that a request has met.
#[derive(Clone, Debug)]
pub struct Met {
    /// The label of its rule.
    pub rule: String,
    pub end: End,
}

/// Faults of requests that no caller is asked for, and those that come before the caller.
///
/// # Errors
/// Those of the service behind it.
pub async fn faults_at_the_door(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let is_open = !has_caller(request.path());
    match meet(&request, |rule| is_open || rule.before_authentication).await {
        Some(answer) => Ok(ServiceResponse::new(request.into_parts().0, answer).map_into_right_body()),
        None => next.call(request).await.map(ServiceResponse::map_into_left_body),
    }
}

/// Whether a caller is asked for before anything at the path is answered.
fn has_caller(path: &str) -> bool {
    let below = VERSIONS.iter().filter_map(|version| path.strip_prefix(version));
    below.into_iter().any(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// Faults of a request whose caller is known; the answer in place of its own, if there is one.
pub async fn meet_with_caller(request: &ServiceRequest) -> Option<HttpResponse> {
    meet(request, |rule| !rule.before_authentication).await
}

async fn meet(request: &ServiceRequest, among: impl Fn(&Rule) -> bool) -> Option<HttpResponse> {
    let service = request.app_data::<Data<Service>>().expect("every app has the service");
    let faults = service.faults.as_ref()?;
    let rule = {
        let extensions = request.extensions();
        // What is no UTF-8 has no parameters; the API refuses it.
        let query = query::pairs(request.query_string()).unwrap_or_default();
        let (method, path) = (request.method().as_str(), request.path());
        let asked = Asked { method, path, query: &query, caller: extensions.get::<Caller>() };
        faults.met_by(asked, among)?
    };
    let effect = &rule.effect;
    service.metrics.injected(effect);
    request.extensions_mut().insert(Met { rule: rule.label().to_owned(), end: effect.end.clone() });
    if let Some(delay) = effect.delay {
        actix_web::rt::time::sleep(delay).await;
    }
    match &effect.end {
        End::Answer | End::Truncated(_) => None,
        End::Cut => Some(HttpResponse::Ok().finish()),
        End::Refusal { status, retry_after, message } => {
            let mut refusal = HttpResponse::from_error(ApiError::OnPurpose(*status, message.clone()));
            if let Some(seconds) = retry_after {
                refusal.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(*seconds));
            }
            if *status == StatusCode::UNAUTHORIZED {
                let challenge = header::HeaderValue::from_str(&service.access.challenge());
                refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.expect("a challenge is plain ASCII"));
            }
            Some(refusal)
        }
    }
}

/// The fault that a request has met, if any.
pub fn met(request: &HttpRequest) -> Option<Met> {
    request.extensions().get::<Met>().cloned()
}

/// The answer as the fault leaves it.
///
/// # Errors
/// Where the body of the answer fails by itself.
pub async fn damage<B>(response: ServiceResponse<B>, end: &End) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    match end {
        End::Answer | End::Refusal { .. } => Ok(response.map_into_boxed_body()),
        End::Cut => Ok(response.map_body(|_, _| BoxBody::new(Cut))),
        End::Truncated(longest) => {
            let (request, response) = response.into_parts();
            let (mut response, body) = response.into_parts();
            let whole = to_bytes(body).await.map_err(|error| ApiError::Internal(error.into().to_string()))?;
            let Some(but_one) = whole.len().checked_sub(1) else {
                return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(whole))));
            };
            // Written as a body whose end is that of the connection, under the length of the whole.
            response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(whole.len()));
            response.head_mut().no_chunking(true);
            response.head_mut().set_connection_type(ConnectionType::Close);
            let part = whole.slice(..but_one.min(*longest));
            let body = BodyStream::new(stream::iter([Ok::<Bytes, Infallible>(part)]));
            Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(body))))
        }
    }
}

/// A body that fails before anything of the answer is sent, at which the connection is closed.
struct Cut;

impl MessageBody for Cut {
    type Error = &'static str;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(Some(Err("the connection is cut on purpose")))
    }
}
