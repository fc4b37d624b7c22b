//! Random catalogs whose columns are skewed, each in a way of its own, and questions to them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use glimpse::random::Random;
use uuid::Uuid;

use crate::model::{Asked, IsPublic, Role, SORT_KEYS, Text, Who};
use crate::support::{Image, Member};

/// Texts that engines, collations and lists may read in ways of their own.
const ODD: [&str; 16] =
    ["", " ", "a", "A", "b:c", "é", "e\u{301}", "%", "_", "a,b", "in:a", "eq:a", "it's", "\u{1f600}", "a ", "NULL"];
const FORMATS: [&str; 8] = ["qcow2", "raw", "vmdk", "iso", "RAW", "", "é", "ova"];
const STATUSES: [&str; 9] =
    ["active", "queued", "saving", "killed", "deleted", "pending_delete", "deactivated", "uploading", "importing"];
const KEYS: [&str; 5] = ["os", "arch", "k\"e'y", "", "é"];
const ENDS_OF_TIME: [&str; 2] = ["0001-01-01T00:00:00.000000", "9999-12-31T23:59:59.999999"];

pub const CALLERS: [Who; 8] = [
    Who { token: "", project: None, role: Role::Unrestricted },
    Who { token: "", project: None, role: Role::Anonymous },
    Who { token: "", project: Some("project-0"), role: Role::Member },
    Who { token: "", project: Some("project-7"), role: Role::Member },
    Who { token: "", project: Some("of nobody"), role: Role::Member },
    Who { token: "", project: None, role: Role::Member },
    Who { token: "", project: Some("project-1"), role: Role::Admin },
    Who { token: "", project: None, role: Role::Admin },
];

/// The lower the likelier.
fn skewed(random: &mut Random, end: u64) -> u64 {
    let middle = random.below(end) + 1;
    random.below(middle)
}

fn name(random: &mut Random, names: u64) -> String {
    match skewed(random, names) {
        odd @ 1..16 if random.one_in(2, 1) => ODD[usize::try_from(odd).expect("below 16")].to_owned(),
        number => format!("image-{number}"),
    }
}

/// Among them two that differ in their 256th character only, of which the table of properties
/// holds the first 255.
fn property(random: &mut Random, values: u64) -> String {
    match random.below(20) {
        0 => "é".repeat(255),
        1 => "é".repeat(255) + "x",
        _ => name(random, values),
    }
}

fn moment(random: &mut Random, moments: u64) -> NaiveDateTime {
    let start = NaiveDate::from_ymd_opt(2016, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0)).expect("a time");
    let hours = i64::try_from(skewed(random, moments)).expect("a small number");
    start + TimeDelta::hours(hours) + TimeDelta::microseconds(if random.one_in(4, 1) { 719_791 } else { 0 })
}

fn written(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// What is common and what is rare in a catalog.
struct Skew {
    names: u64,
    formats: u64,
    active: u64,
    moments: u64,
    sizes: u64,
    owners: u64,
    values: u64,
    public: u64,
    deleted: u64,
    null: u64,
    /// Whether most images change long after they are created, or hardly any.
    late: u64,
    members: u64,
    has_random_ids: bool,
}

impl Skew {
    fn any(random: &mut Random) -> Self {
        Self {
            names: *random.pick(&[1, 20, 200, 5000]),
            formats: 1 + random.below(8),
            active: *random.pick(&[1, 5, 50]),
            moments: *random.pick(&[2, 100, 20_000]),
            sizes: *random.pick(&[2, 50, 100_000]),
            owners: *random.pick(&[1, 3, 40]),
            values: *random.pick(&[2, 20, 300]),
            public: *random.pick(&[1, 50, 500, 990]),
            deleted: *random.pick(&[0, 30, 500, 970]),
            null: *random.pick(&[0, 10, 300]),
            late: *random.pick(&[5, 400]),
            members: *random.pick(&[5, 200]),
            has_random_ids: random.one_in(8, 7),
        }
    }

    fn image(&self, random: &mut Random, number: u32) -> Image {
        let often = |random: &mut Random, times| random.one_in(1000, times);
        let format = |random: &mut Random| {
            let format = skewed(random, self.formats);
            (!often(random, self.null)).then(|| FORMATS[usize::try_from(format).expect("below 8")].to_owned())
        };
        let created = moment(random, self.moments);
        let updated = if often(random, self.late) {
            // To the microsecond around two days, and up to years.
            let midnight = created.date().and_hms_opt(0, 0, 0).expect("midnight");
            *random.pick(&[
                created + TimeDelta::days(2),
                created + TimeDelta::days(2) - TimeDelta::microseconds(1),
                midnight + TimeDelta::days(2),
                created + TimeDelta::days(40),
                created + TimeDelta::days(1500),
                created - TimeDelta::days(30),
            ])
        } else {
            created + TimeDelta::seconds(i64::try_from(random.below(3) * 40_000).expect("a small number"))
        };
        let end = |random: &mut Random, time| {
            if often(random, 3) { (*random.pick(&ENDS_OF_TIME)).to_owned() } else { written(time) }
        };
        let size = match random.below(50) {
            0 => i64::MAX,
            1 => 0,
            _ => i64::try_from(skewed(random, self.sizes) * 1024).expect("a small number"),
        };
        let properties = (0..random.below(3)).map(|_| {
            let value = property(random, self.values);
            ((*random.pick(&KEYS)).to_owned(), (!often(random, self.null)).then_some(value))
        });
        let properties: BTreeMap<_, _> = properties.collect();
        let members: BTreeSet<u64> =
            if often(random, self.members) { (0..3).map(|_| random.below(10)).collect() } else { BTreeSet::new() };
        let status = if random.one_in(self.active, 1) { *random.pick(&STATUSES) } else { "active" };
        let id = random.uuid();
        let owner = skewed(random, self.owners);
        Image {
            id: if self.has_random_ids { id } else { Uuid::from_u128(u128::from(number)) },
            name: (!often(random, self.null)).then(|| name(random, self.names)),
            status: status.to_owned(),
            disk_format: format(random),
            container_format: format(random),
            size: (!often(random, self.null)).then_some(size),
            virtual_size: None,
            checksum: None,
            owner: match random.below(30) {
                0 => None,
                1 => Some(String::new()),
                _ => Some(format!("project-{owner}")),
            },
            is_public: often(random, self.public),
            protected: random.one_in(4, 1),
            deleted: often(random, self.deleted),
            min_ram: i64::from(random.small(3)) * 512,
            min_disk: i64::from(random.small(2)),
            created_at: end(random, created),
            updated_at: (!often(random, self.null)).then(|| end(random, updated)),
            deleted_at: None,
            properties,
            members: members
                .into_iter()
                .map(|project| Member { member: format!("project-{project}"), can_share: false })
                .collect(),
        }
    }
}

/// Some hundreds to some thousands of images.
pub fn images(random: &mut Random) -> Vec<Image> {
    let most = *random.pick(&[200, 1000, 3000]);
    let count = 100 + random.small(most);
    let skew = Skew::any(random);
    (0..count).map(|number| skew.image(random, number)).collect()
}

const TEXTS: [&str; 4] = ["name", "status", "disk_format", "container_format"];

/// A value of the column in some image, or now and then one that no image may have.
fn text(random: &mut Random, images: &[Image], alike: Option<&Image>, column: &str) -> String {
    if random.one_in(12, 1) {
        return (*random.pick(&ODD)).to_owned();
    }
    let image = alike.unwrap_or_else(|| random.pick(images));
    let value = match column {
        "name" => image.name.clone(),
        "status" => Some(image.status.clone()),
        "disk_format" => image.disk_format.clone(),
        _ => image.container_format.clone(),
    };
    value.unwrap_or_default()
}

/// What somebody may ask of the images, with up to six filters. Those of one question often come
/// from one image, so that they find something together.
pub fn asked(random: &mut Random, images: &[Image]) -> Asked {
    let image = random.pick(images);
    let alike = random.one_in(3, 2).then_some(image);
    let mut asked = Asked { limit: *random.pick(&[1, 2, 7, 25, 25, 100, 1000]), ..Asked::default() };
    let some = |random: &mut Random| alike.unwrap_or_else(|| random.pick(images));
    for _ in 0..*random.weighted(&[(0, 1), (1, 6), (2, 6), (3, 2), (6, 1)]) {
        match random.below(13) {
            0..=5 => {
                let column = *random.pick(&TEXTS);
                let is_list = random.one_in(4, 1);
                let filter = if is_list {
                    let texts = (0..random.below(4)).map(|_| text(random, images, alike, column));
                    Text::OneOf(texts.collect())
                } else {
                    Text::Is(text(random, images, alike, column))
                };
                asked.texts.insert(column, filter);
            }
            6 => asked.size_min = Some(size(some(random)).into()),
            7 => asked.size_max = Some(size(some(random)).into()),
            8 => asked.changes_since = some(random).updated_at.clone(),
            9 => asked.min_ram = Some(some(random).min_ram.unsigned_abs().into()),
            10 => asked.protected = Some(random.one_in(2, 1)),
            11 => asked.min_disk = Some(some(random).min_disk.unsigned_abs().into()),
            _ => {
                let named = some(random).properties.iter().next();
                let (name, value) =
                    named.map_or(("os".to_owned(), None), |(name, value)| (name.clone(), value.clone()));
                asked.properties.insert(name, value.unwrap_or_default());
            }
        }
    }
    if random.one_in(200, 1) {
        asked.size_min = Some(1 << 63);
    }
    if random.one_in(4, 1) {
        asked.is_public = Some(*random.pick(&[IsPublic::True, IsPublic::False, IsPublic::None]));
    }
    asked.sort_key = random.one_in(2, 1).then(|| *random.pick(&SORT_KEYS));
    asked.is_ascending = random.one_in(2, 1).then(|| random.one_in(2, 1));
    asked
}

fn size(image: &Image) -> u64 {
    image.size.unwrap_or_default().unsigned_abs()
}
