//! The console at `/console`: a page over the public API, whose parts are in the program. They are
//! no data, and need no caller; what the page shows it asks of the API, as any client does.

use actix_web::http::header::{self, EntityTag, HeaderName, IfNoneMatch};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use sha2::{Digest as _, Sha256};

use super::reading;

/// A part of the page.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    media_type: &'static str,
    body: &'static str,
}

/// The page refers to the others by relative paths, so that a proxy may put a path before all.
const ASSETS: [Asset; 6] = [
    Asset { path: "/console", media_type: "text/html; charset=UTF-8", body: include_str!("console/index.html") },
    Asset {
        path: "/console/console.css",
        media_type: "text/css; charset=UTF-8",
        body: include_str!("console/console.css"),
    },
    Asset {
        path: "/console/console.js",
        media_type: "text/javascript; charset=UTF-8",
        body: include_str!("console/console.js"),
    },
    Asset {
        path: "/console/query.js",
        media_type: "text/javascript; charset=UTF-8",
        body: include_str!("console/query.js"),
    },
    Asset {
        path: "/console/values.js",
        media_type: "text/javascript; charset=UTF-8",
        body: include_str!("console/values.js"),
    },
    Asset { path: "/console/icon.svg", media_type: "image/svg+xml", body: include_str!("console/icon.svg") },
];

/// Nothing but the page's own parts and the API that it came with; no script or style inside the
/// page, no markup out of text, no form that is sent away, no other page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// What every answer of the console carries. It is asked for anew each time, so that the parts of
/// two releases are never mixed, and sent only where it has changed. An address may hold filters,
/// which are nobody else's business.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// The routes of the console.
pub fn configure(config: &mut web::ServiceConfig) {
    for asset in ASSETS {
        let digest = Sha256::digest(asset.body.as_bytes());
        let tag = EntityTag::new_strong(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect());
        config.service(reading(&[asset.path], move |request: HttpRequest| {
            let answer = asset.answer(&tag, &request);
            async move { answer }
        }));
    }
    config.service(reading(&["/console/"], without_slash));
}

impl Asset {
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

/// `/console/` is what people type, but the page's relative paths hold for `/console` alone.
async fn without_slash(request: HttpRequest) -> HttpResponse {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, format!("../console{query}"))).finish()
}
