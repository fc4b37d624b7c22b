//! The console at `/console`: a page over the public API.

use super::Route;
use super::assets::{Asset, CSS, HTML, JAVASCRIPT, SVG, without_slash};

/// The page refers to the others by relative paths, so that a proxy may put a path before all.
const ASSETS: [Asset; 6] = [
    Asset {
        path: "/console",
        media_type: HTML,
        body: include_str!("console/index.html"),
        summary: "A page to look through the catalog with",
    },
    Asset {
        path: "/console/console.css",
        media_type: CSS,
        body: include_str!("console/console.css"),
        summary: "The style of the pages",
    },
    Asset {
        path: "/console/console.js",
        media_type: JAVASCRIPT,
        body: include_str!("console/console.js"),
        summary: "The script of the console",
    },
    Asset {
        path: "/console/query.js",
        media_type: JAVASCRIPT,
        body: include_str!("console/query.js"),
        summary: "The part of the console that reads and writes queries",
    },
    Asset {
        path: "/console/values.js",
        media_type: JAVASCRIPT,
        body: include_str!("console/values.js"),
        summary: "The part of the console that shows values",
    },
    Asset {
        path: "/console/icon.svg",
        media_type: SVG,
        body: include_str!("console/icon.svg"),
        summary: "The icon of the pages",
    },
];

/// The routes of the console.
pub fn routes() -> impl Iterator<Item = Route> {
    ASSETS.into_iter().map(Asset::route).chain([without_slash("/console/")])
}
