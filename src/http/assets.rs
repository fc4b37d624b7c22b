//! Pages that are in the program, with their parts. They are no data, and need no caller; what a
//! page shows it asks of the API, as any client does.

use actix_web::http::header::{self, EntityTag, HeaderName, IfNoneMatch};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};

use super::{Route, openapi};

/// A part of a page.
#[derive(Clone, Copy)]
pub struct Asset {
    pub path: &'static str,
    pub media_type: &'static str,
    pub body: &'static str,
    pub summary: &'static str,
}

pub const HTML: &str = "text/html; charset=UTF-8";
pub const CSS: &str = "text/css; charset=UTF-8";
pub const JAVASCRIPT: &str = "text/javascript; charset=UTF-8";
pub const SVG: &str = "image/svg+xml";

/// Nothing but the page's own parts and the API that it came with; no script or style inside the
/// page, no markup out of text, no form that is sent away, no other page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// What every answer of a page carries. It is asked for anew each time, so that the parts of
/// two releases are never mixed, and sent only where it has changed. An address may hold filters,
/// which are nobody else's business.
pub const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

impl Asset {
    pub fn route(self) -> Route {
        let digest = Sha256::digest(self.body.as_bytes());
        let tag = EntityTag::new_strong(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect());
        Route::new(self.path, openapi::asset(&self), move |request: HttpRequest| {
            let answer = self.answer(&tag, &request);
            async move { answer }
        })
    }

    fn answer(self, tag: &EntityTag, request: &HttpRequest) -> HttpResponse {
        let is_known = match request.get_header::<IfNoneMatch>() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
            None => false,
        };
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        for header in HEADERS {
            response.insert_header(header);
        }
        response.insert_header(header::ETag(tag.clone()));
        if is_known {
            return response.finish();
        }
        response.insert_header((header::CONTENT_TYPE, self.media_type)).body(self.body)
    }
}

/// The path of a page with a slash behind it is what people type, but the page's relative paths
/// hold for the path without one alone.
pub fn without_slash(path: &'static str) -> Route {
    Route::new(path, openapi::without_slash(path), async |request: HttpRequest| {
        let page = request.path().trim_matches('/');
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        HttpResponse::PermanentRedirect().insert_header((header::LOCATION, format!("../{page}{query}"))).finish()
    })
}
