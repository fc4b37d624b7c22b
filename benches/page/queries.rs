//! Queries of the documented filters, one or two of them, with values and markers of the catalog
//! itself; and the same as SQL, for `pgbench`.

use std::collections::HashSet;

use anyhow::ensure;
use glimpse::random::Random;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

/// A query in both languages.
pub struct Query {
    pub target: String,
    pub sql: String,
}

/// An image whose values queries ask for.
struct Image {
    id: String,
    name: Option<String>,
    status: String,
    disk_format: Option<String>,
    container_format: Option<String>,
    size: Option<i64>,
    created_at: String,
    updated_at: Option<String>,
}

/// Queries without an end, but none twice; the same ones for the same catalog and seed.
pub struct Queries {
    images: Vec<Image>,
    random: Random,
    limit: u32,
    seen: HashSet<String>,
}

impl Queries {
    /// Draws images evenly from the catalog.
    pub async fn of(url: &str, seed: u64, limit: u32) -> anyhow::Result<Self> {
        const IMAGES: &str = "SELECT CAST(id AS TEXT), name, status, disk_format, container_format, size, \
            CAST(created_at AS TEXT), CAST(updated_at AS TEXT) FROM \
            (SELECT id, name, status, disk_format, container_format, size, created_at, updated_at, \
             row_number() OVER (ORDER BY created_at, id) AS number \
             FROM images WHERE NOT deleted AND status NOT IN ('killed', 'deleted', 'pending_delete')) AS numbered \
            WHERE number % ((SELECT count(*) FROM images) / 5000 + 1) = 0 ORDER BY number";
        macro_rules! images {
            ($row:ty, $connection:expr) => {
                sqlx::query(AssertSqlSafe(IMAGES))
                    .try_map(|row: $row| {
                        Ok(Image {
                            id: row.try_get(0)?,
                            name: row.try_get(1)?,
                            status: row.try_get(2)?,
                            disk_format: row.try_get(3)?,
                            container_format: row.try_get(4)?,
                            size: row.try_get(5)?,
                            created_at: row.try_get(6)?,
                            updated_at: row.try_get(7)?,
                        })
                    })
                    .fetch_all($connection)
                    .await?
            };
        }
        let images: Vec<Image> = if url.starts_with("sqlite:") {
            images!(SqliteRow, &mut SqliteConnection::connect(url).await?)
        } else {
            images!(PgRow, &mut PgConnection::connect(url).await?)
        };
        ensure!(!images.is_empty(), "the catalog has no images");
        Ok(Self { images, random: Random::new(seed, 0), limit, seen: HashSet::new() })
    }

    /// One or two filters with the values of one image, so that they fit together; mostly the page
    /// after another image.
    fn draw(&mut self) -> Query {
        let Self { images, random, limit, .. } = self;
        let (image, other) = (random.pick(images), random.pick(images));
        let mut draft = Draft::default();
        let first = random.small(FILTERS);
        draft.filter(first, image, other);
        if random.below(2) == 0 {
            draft.filter((first + 1 + random.small(FILTERS - 1)) % FILTERS, image, other);
        }
        if random.below(4) > 0 {
            let Image { id, created_at, .. } = random.pick(images);
            draft.add(format!("marker={id}"), format!("(created_at, id) < ('{created_at}', '{id}')"));
        }
        draft.query(*limit)
    }
}

impl Iterator for Queries {
    type Item = Query;

    /// None where the catalog's images give no more.
    fn next(&mut self) -> Option<Query> {
        for _ in 0..10_000 {
            let query = self.draw();
            if self.seen.insert(query.target.clone()) {
                return Some(query);
            }
        }
        None
    }
}

/// The kinds of filters that [`Draft::filter`] knows.
const FILTERS: u32 = 8;

/// A query in the making.
#[derive(Default)]
struct Draft {
    pairs: Vec<String>,
    conditions: Vec<String>,
    shows_deleted: bool,
}

impl Draft {
    fn filter(&mut self, kind: u32, image: &Image, other: &Image) {
        match kind {
            0 => self.equal("name", image.name.as_deref()),
            1 => self.equal("container_format", image.container_format.as_deref()),
            2 => self.equal("disk_format", image.disk_format.as_deref()),
            3 => self.equal("status", Some(&image.status)),
            4 => self.bound("size_min", image.size),
            5 => self.bound("size_max", image.size),
            6 => {
                self.bound("size_min", image.size.min(other.size));
                self.bound("size_max", image.size.max(other.size));
            }
            _ => {
                if let Some(time) = &image.updated_at {
                    let pair = format!("changes-since={}", time.replace(' ', "T"));
                    self.add(pair, format!("updated_at >= '{time}'"));
                    self.shows_deleted = true;
                }
            }
        }
    }

    fn equal(&mut self, column: &str, value: Option<&str>) {
        // `pgbench` takes a colon for a variable's, and glimpse one after eq or in for its own.
        if let Some(value) = value.filter(|value| !value.contains(':')) {
            let pair = format!("{column}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            self.add(pair, format!("{column} = '{}'", value.replace('\'', "''")));
        }
    }

    fn bound(&mut self, name: &str, value: Option<i64>) {
        if let Some(value) = value {
            let comparison = if name == "size_min" { ">=" } else { "<=" };
            self.add(format!("{name}={value}"), format!("size {comparison} {value}"));
        }
    }

    fn add(&mut self, pair: String, condition: String) {
        self.pairs.push(pair);
        self.conditions.push(condition);
    }

    fn query(mut self, limit: u32) -> Query {
        self.pairs.push(format!("limit={limit}"));
        // Deleted images lie apart in every index: PostgreSQL walks in order only where they are merged.
        let shares: &[&str] =
            if self.shows_deleted { &["NOT deleted", "deleted"] } else { &["NOT deleted AND status <> 'killed'"] };
        let order = format!("ORDER BY created_at DESC, id DESC LIMIT {limit}");
        let share = |&share: &&str| {
            let conditions: Vec<&str> = self.conditions.iter().map(String::as_str).chain([share]).collect();
            format!(
                "(SELECT status, deleted_at, name, deleted, container_format, created_at, disk_format, updated_at, \
                 min_disk, protected, id, min_ram, checksum, owner, is_public, virtual_size, properties, size \
                 FROM images WHERE {} {order})",
                conditions.join(" AND ")
            )
        };
        let shares: Vec<String> = shares.iter().map(share).collect();
        Query {
            target: format!("/v1.1/images/detail?{}", self.pairs.join("&")),
            sql: format!("SELECT * FROM ({}) AS page {order};\n", shares.join(" UNION ALL ")),
        }
    }
}
