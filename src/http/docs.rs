//! The documentation at `/docs`: a page that shows the document of `/openapi.json` to people. The
//! style and the icon are those of the console.

use super::Route;
use super::assets::{Asset, CSS, HTML, JAVASCRIPT, without_slash};

const ASSETS: [Asset; 3] = [
    Asset {
        path: "/docs",
        media_type: HTML,
        body: include_str!("docs/index.html"),
        summary: "This description of the API, for people",
    },
    Asset {
        path: "/docs/docs.css",
        media_type: CSS,
        body: include_str!("docs/docs.css"),
        summary: "What the documentation adds to the style of the pages",
    },
    Asset {
        path: "/docs/docs.js",
        media_type: JAVASCRIPT,
        body: include_str!("docs/docs.js"),
        summary: "The script of the documentation",
    },
];

/// The routes of the documentation.
pub fn routes() -> impl Iterator<Item = Route> {
    ASSETS.into_iter().map(Asset::route).chain([without_slash("/docs/")])
}
