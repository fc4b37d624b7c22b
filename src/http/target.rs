//! Whom a request is for: the form of its target, and the host that it names.
//!
//! The HTTP library reads both and refuses neither where it makes no sense. What a proxy in front
//! might read otherwise is refused (RFC 9112, 3.2).

use actix_web::HttpRequest;
use actix_web::http::uri::Authority;
use actix_web::http::{Method, header};

use super::ApiError;

/// The refusal of a request whose target or host has no proper form.
pub fn malformed(request: &HttpRequest) -> Option<ApiError> {
    let (uri, method) = (request.uri(), request.method());
    let is_proper = match (uri.scheme_str(), uri.authority()) {
        (None, None) => uri.path().starts_with('/') || (method == Method::OPTIONS && uri.path() == "*"),
        (None, Some(_)) => method == Method::CONNECT,
        (Some(scheme), authority) => matches!(scheme, "http" | "https") && authority.is_some_and(is_host),
    };
    if !is_proper {
        let message = "The target of the request is not accepted; a path is, or a whole URL of HTTP.";
        return Some(ApiError::BadRequest(message.to_owned()));
    }
    let host = request.headers().get(header::HOST)?.as_bytes();
    if host.is_empty() || Authority::try_from(host).is_ok_and(|host| is_host(&host)) {
        return None;
    }
    let message = "The header Host is not accepted; a name or address is, perhaps with a port.";
    Some(ApiError::BadRequest(message.to_owned()))
}

/// Whether there is a host, no user before it, and nothing but a port behind it.
fn is_host(authority: &Authority) -> bool {
    let host = authority.host();
    let is_port =
        |port: &str| port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    !host.is_empty()
        && authority
            .as_str()
            .strip_prefix(host)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// The host that the client has asked, if it says so: a whole URL goes before the header.
pub fn host(request: &HttpRequest) -> Option<String> {
    let of_target = request.uri().authority().map(ToString::to_string);
    let of_header = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    of_target.or_else(of_header).filter(|host| !host.is_empty())
}
