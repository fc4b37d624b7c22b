//! The ways to find a page, and how much of the catalog each takes in.

use std::fmt::{self, Display};

use super::condition::HELD;
use super::path::Path;
use super::{Compiled, wanted};
use crate::query::Scope;

/// How the rows of a page are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The walk that every page begins with. Most are filled by it after a few rows, so that these
    /// are read in whatever way is best for rows that match.
    FirstWalk(u32),
    /// In the order of the page, passing over what does not match: at most this many rows of each
    /// part of the order. Cheap where matches are dense.
    Walk(u32),
    /// The same, through nothing but what the list would show without its filters. Cheap where matches
    /// are dense among that.
    ShownWalk(u32),
    /// All rows that one path leads to, of which the first ones are put in order afterwards: so many
    /// that most callers may see a page of them.
    FirstScan(Path),
    /// All rows that one path leads to, put in order afterwards. Cheap where these are few.
    Scan(Path),
}

/// What a first scan puts in order, in pages: without a path of its own every third image is public.
const ORDERED: u32 = 8;

impl Plan {
    /// How many rows of each part it takes in the order of the page, before it looks at what no index
    /// holds; where there are more, the page may be cut short.
    pub fn bound(self, page: &Compiled) -> Option<u32> {
        match self {
            Self::FirstWalk(bound) | Self::Walk(bound) | Self::ShownWalk(bound) => Some(bound),
            Self::FirstScan(path) if is_covered(page, path) => Some(wanted(page.query)),
            Self::FirstScan(_) => Some(wanted(page.query).saturating_mul(ORDERED)),
            Self::Scan(_) => None,
        }
    }
}

impl Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstWalk(bound) | Self::Walk(bound) => {
                write!(formatter, "walk in the order of the page, at most {bound} rows")
            }
            Self::ShownWalk(bound) => {
                write!(formatter, "walk in the order of the page through what may be shown, at most {bound} rows")
            }
            Self::FirstScan(path) => write!(formatter, "all rows by {path}, of which the first are put in order"),
            Self::Scan(path) => write!(formatter, "all rows by {path}, put in order"),
        }
    }
}

/// Whether indexes hold all that a query and its caller ask of the images on a path.
fn is_covered(page: &Compiled, path: Path) -> bool {
    let Compiled { query, view } = page;
    let is_seen = match view.listed {
        Scope::All => true,
        Scope::Public | Scope::NotPublic => path == Path::Equalities,
        Scope::Project(_) => false,
    };
    is_seen && query.properties.is_empty() && query.filters.iter().all(|filter| HELD.contains(&filter.column))
}
