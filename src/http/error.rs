//! Every refusal of the API, its status, and its body.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::{ALLOW, JSON};
use crate::auth::AuthError;
use crate::query::QueryError;
use crate::store::StoreError;

/// A refusal; its text is the message that the client reads.
#[derive(Debug, Error)]
pub enum ApiError {
    /// 400: what the client sent cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// 401, with the value of `WWW-Authenticate`.
    #[error("{0}")]
    Unauthorized(AuthError, String),
    /// 403.
    #[error("{0}")]
    Forbidden(AuthError),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("The method {0} is not allowed here; GET, HEAD and OPTIONS are.")]
    MethodNotAllowed(Method),
    /// 414.
    #[error("The request line is longer than 8 KiB.")]
    UriTooLong,
    /// 500, with the cause, which stands in the log and is nobody else's business.
    #[error("The server has failed; its log says why.")]
    Internal(String),
    /// 503, with the cause for the log: a later try may succeed.
    #[error("The database does not answer at the moment.")]
    Unavailable(String),
    /// Any status, because the rules of a test environment say so.
    #[error("{1}")]
    OnPurpose(StatusCode, String),
    /// 503 of the service that validates tokens.
    #[error("{0}")]
    NoValidation(AuthError),
}

impl ApiError {
    /// A refused caller; `challenge` tells it how to be let in.
    pub fn from_auth(error: AuthError, challenge: String) -> Self {
        match error {
            AuthError::Unavailable(_) => Self::NoValidation(error),
            AuthError::Unauthenticated => Self::Unauthorized(error, challenge),
            AuthError::Forbidden => Self::Forbidden(error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::MarkerNotFound(_) => Self::BadRequest(error.to_string()),
            StoreError::Unavailable(cause) | StoreError::Interrupted(cause) => Self::Unavailable(cause),
            StoreError::Internal(cause) => Self::Internal(cause),
        }
    }
}

/// The body of every refusal, in the form that the reference uses where it answers in JSON.
#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    code: &'a str,
    title: &'a str,
}

/// The same inside an object, as Keystone's middleware sends it.
#[derive(Serialize)]
struct Wrapped<'a> {
    error: Body<'a>,
}

impl ApiError {
    /// The body, for the documentation.
    pub fn document(&self) -> Value {
        self.with_body(|body| serde_json::to_value(body))
    }

    /// The body for python-glanceclient, which fails on its own handling of refusals where the
    /// values of a JSON object are no objects.
    pub fn wrapped(&self) -> String {
        self.with_body(|error| serde_json::to_string(&Wrapped { error }))
    }

    fn with_body<T>(&self, write: impl FnOnce(Body<'_>) -> serde_json::Result<T>) -> T {
        let status = self.status_code();
        let title = status.canonical_reason().unwrap_or_default();
        let code = format!("{} {title}", status.as_u16());
        write(Body { message: &self.to_string(), code: &code, title }).expect("three texts can be written as JSON")
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(..) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::OnPurpose(status, _) => *status,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) | Self::NoValidation(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        response.insert_header(JSON);
        match self {
            Self::Unauthorized(_, challenge) => {
                response.insert_header((header::WWW_AUTHENTICATE, challenge.as_str()));
            }
            Self::MethodNotAllowed(_) => {
                response.insert_header(ALLOW);
            }
            Self::Unavailable(_) | Self::NoValidation(_) => {
                response.insert_header((header::RETRY_AFTER, "1"));
            }
            _ => {}
        }
        response.body(self.with_body(|body| serde_json::to_string(&body)))
    }
}
