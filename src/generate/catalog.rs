//! The synthetic catalog: a pure function of its seed, its size and its end.
//!
//! Only whole numbers are calculated with, because floats may differ in the last bit from one
//! machine to another.

use std::fmt::Write as _;

use chrono::{NaiveDateTime, TimeDelta};

use crate::image::{Image, Member};
use crate::random::Random;
use crate::timestamp::Timestamp;

/// Where the images are created, in days before the end.
pub const DAYS: i64 = 3652;

const PROJECTS: u64 = 1000;

/// A catalog whose images can be made one by one, in the order of their creation.
pub struct Catalog {
    seed: u64,
    count: u64,
    start: NaiveDateTime,
    /// The time from the first creation to the end, in microseconds.
    span: u64,
    owners: Ranks,
    releases: Ranks,
    versions: Ranks,
}

impl Catalog {
    /// `count` images, created and updated in the ten years up to `until`.
    ///
    /// # Panics
    /// Where ten years before `until` there is no time.
    pub fn new(seed: u64, count: u64, until: Timestamp) -> Self {
        let span = TimeDelta::days(DAYS);
        let start = NaiveDateTime::from(until).checked_sub_signed(span).expect("the end is far from the first time");
        let span = span.num_microseconds().and_then(|span| u64::try_from(span).ok()).expect("ten years fit");
        Self {
            seed,
            count,
            start,
            span,
            // The largest project owns a tenth of the catalog, the smallest a hundred-thousandth.
            owners: Ranks::new(PROJECTS, |rank| u64::MAX / 1_000_000 / (rank + 10) / (rank + 10)),
            releases: Ranks::new(RELEASES.len() as u64, |rank| 1_000_000 / (rank + 2)),
            versions: Ranks::new(60, |rank| 1_000_000 / (rank + 1)),
        }
    }

    pub fn images(&self) -> impl Iterator<Item = Image> + '_ {
        (0..self.count).map(|index| self.image(index))
    }

    /// The image with that number; the others have no part in it.
    fn image(&self, index: u64) -> Image {
        let mut random = Random::new(self.seed, index);
        let id = random.uuid();
        let status = *random.weighted(&STATUSES);
        let release = &RELEASES[self.releases.pick(&mut random)];
        let (disk_format, container_format) = formats(&mut random, status);
        let size = size(&mut random, status);
        let has_data = matches!(status, "active" | "deactivated" | "deleted" | "pending_delete");
        let is_public = random.one_in(10, 3);
        let deleted = matches!(status, "deleted" | "pending_delete");
        let owner = self.owners.pick(&mut random) as u64;

        let place = u128::from(index) * u128::from(self.span) + u128::from(random.below(self.span));
        let created = u64::try_from(place / u128::from(self.count)).expect("less than the span");
        let left = self.span - created;
        let longest = if random.one_in(10, 9) { left.min(DAY) } else { left };
        let updated = created + random.below(longest + 1);
        let at = |microseconds: u64| {
            let since = i64::try_from(microseconds).expect("at most the span");
            Timestamp::from(self.start + TimeDelta::microseconds(since))
        };

        let name = self.name(&mut random, release, status);
        let members = if is_public || deleted { Vec::new() } else { self.members(&mut random, owner) };
        Image {
            id,
            name,
            status: status.into(),
            disk_format: disk_format.map(Into::into),
            container_format: container_format.map(Into::into),
            size,
            virtual_size: size.filter(|_| has_data && random.one_in(10, 3)).map(|size| {
                let gibibyte = 1 << 30;
                (size / gibibyte + 1 + i64::from(random.small(8))) * gibibyte
            }),
            checksum: has_data.then(|| random.hex32()),
            owner: Some(project(owner)),
            is_public,
            protected: !deleted && random.one_in(20, 1),
            deleted,
            min_ram: *random.weighted(&[(0, 70), (512, 10), (1024, 8), (2048, 7), (4096, 4), (8192, 1)]),
            min_disk: *random.weighted(&[(0, 60), (1, 5), (5, 8), (10, 10), (20, 12), (40, 4), (100, 1)]),
            created_at: at(created),
            updated_at: Some(at(updated)),
            deleted_at: deleted.then(|| at(updated)),
            properties: properties(&mut random, release),
            members,
        }
    }

    /// Some names have very many images, some a few, and a third only one.
    fn name(&self, random: &mut Random, release: &Release, status: &str) -> Option<String> {
        let unnamed = if status == "queued" { 30 } else { 1 };
        if random.one_in(100, unnamed) {
            return None;
        }
        let role = *random.pick(&ROLES);
        Some(match random.below(100) {
            0..45 => format!("{}{}", release.name, random.weighted(&VARIANTS)),
            45..65 => format!("{}-{role}-v{}", random.pick(&TEAMS), self.versions.pick(random) + 1),
            65..80 => format!("snapshot-{role}-{:08x}", random.small(u32::MAX)),
            80..98 => {
                let host = 1 + random.small(400);
                format!("{role}-{host:03}.{}.example.org backup {:08x}", random.pick(&TEAMS), random.small(u32::MAX))
            }
            _ => format!("{}-{}", random.pick(&BEYOND_ASCII), 1 + random.small(50)),
        })
    }

    /// One private image in twenty-five is shared, mostly with one project.
    fn members(&self, random: &mut Random, owner: u64) -> Vec<Member> {
        let count = *random.weighted(&[(0, 960), (1, 24), (2, 8), (3, 4), (5, 3), (12, 1)]);
        let mut members: Vec<Member> = Vec::new();
        for _ in 0..count {
            // Who is a member of much is not who owns much.
            let member = (self.owners.pick(random) as u64 * 7 + 400) % PROJECTS;
            let (member, is_owner) = (project(member), member == owner);
            if !is_owner && members.iter().all(|present| present.member != member) {
                members.push(Member { member, can_share: random.one_in(10, 1) });
            }
        }
        members
    }
}

const DAY: u64 = 24 * 60 * 60 * 1_000_000;

/// The id of a project, the same for every seed.
fn project(rank: u64) -> String {
    Random::new(0x7072_6f6a_6563_7473, rank).hex32()
}

const STATUSES: [(&str, u64); 9] = [
    ("active", 930),
    ("deleted", 32),
    ("queued", 14),
    ("killed", 10),
    ("saving", 6),
    ("deactivated", 4),
    ("pending_delete", 2),
    ("uploading", 1),
    ("importing", 1),
];

fn formats(random: &mut Random, status: &str) -> (Option<&'static str>, Option<&'static str>) {
    if status == "queued" && random.one_in(2, 1) {
        return (None, None);
    }
    let disk = *random.weighted(&[
        ("qcow2", 620),
        ("raw", 180),
        ("vmdk", 80),
        ("iso", 50),
        ("vhd", 25),
        ("vdi", 15),
        ("ami", 12),
        ("aki", 6),
        ("ari", 6),
        ("vhdx", 4),
        ("ploop", 2),
    ]);
    let container = match disk {
        "ami" | "aki" | "ari" => disk,
        "vmdk" => random.weighted(&[("bare", 70), ("ova", 25), ("ovf", 5)]),
        "raw" => random.weighted(&[("bare", 98), ("docker", 2)]),
        _ => random.weighted(&[("bare", 990), ("ovf", 8), ("docker", 2)]),
    };
    (Some(disk), Some(container))
}

/// 100 kB to 100 GB, each tenth of a decade as often as any other.
fn size(random: &mut Random, status: &str) -> Option<i64> {
    const STEPS: [u64; 11] = [1000, 1259, 1585, 1995, 2512, 3162, 3981, 5012, 6310, 7943, 10000];

    let known = match status {
        "queued" => 0,
        "saving" | "uploading" | "importing" | "killed" => 50,
        _ => 100,
    };
    if !random.one_in(100, known) {
        return None;
    }
    let scale = 100 * 10_u64.pow(random.small(6));
    let step = random.small(10) as usize;
    let (low, high) = (STEPS[step] * scale, STEPS[step + 1] * scale);
    i64::try_from(low + random.below(high - low)).ok()
}

struct Release {
    name: &'static str,
    distribution: &'static str,
    version: &'static str,
}

macro_rules! releases {
    ($($name:literal $distribution:literal $version:literal),+ $(,)?) => {
        [$(Release { name: $name, distribution: $distribution, version: $version }),+]
    };
}

/// What the images are made of, by how common it is.
const RELEASES: [Release; 40] = releases![
    "ubuntu-22.04" "ubuntu" "22.04",
    "ubuntu-20.04" "ubuntu" "20.04",
    "debian-12" "debian" "12",
    "centos-7" "centos" "7",
    "ubuntu-18.04" "ubuntu" "18.04",
    "rocky-9" "rocky" "9",
    "windows-server-2019" "windows" "10.0.17763",
    "debian-11" "debian" "11",
    "cirros-0.6.2" "cirros" "0.6.2",
    "almalinux-9" "almalinux" "9",
    "rhel-8" "rhel" "8",
    "ubuntu-24.04" "ubuntu" "24.04",
    "windows-server-2022" "windows" "10.0.20348",
    "ubuntu-16.04" "ubuntu" "16.04",
    "rocky-8" "rocky" "8",
    "debian-10" "debian" "10",
    "fedora-coreos-38" "fedora-coreos" "38",
    "rhel-9" "rhel" "9",
    "centos-8-stream" "centos" "8",
    "almalinux-8" "almalinux" "8",
    "amphora-x64-haproxy" "ubuntu" "22.04",
    "flatcar-3510" "flatcar" "3510.2.0",
    "opensuse-leap-15.5" "opensuse" "15.5",
    "windows-server-2016" "windows" "10.0.14393",
    "fedora-38" "fedora" "38",
    "sles-15-sp5" "sles" "15.5",
    "centos-6" "centos" "6",
    "ubuntu-14.04" "ubuntu" "14.04",
    "debian-9" "debian" "9",
    "oraclelinux-8" "oraclelinux" "8",
    "windows-server-2012-r2" "windows" "6.3",
    "cirros-0.3.4" "cirros" "0.3.4",
    "arch" "arch" "rolling",
    "freebsd-13.2" "freebsd" "13.2",
    "fedora-39" "fedora" "39",
    "alpine-3.18" "alpine" "3.18",
    "windows-10" "windows" "10.0.19045",
    "gentoo" "gentoo" "rolling",
    "openbsd-7.3" "openbsd" "7.3",
    "debian-8" "debian" "8",
];

const VARIANTS: [(&str, u64); 6] =
    [("", 70), ("-minimal", 10), ("-server-amd64", 8), ("-cloudimg", 6), ("-arm64", 4), ("-gpu", 2)];

const TEAMS: [&str; 16] = [
    "web", "shop", "search", "billing", "media", "data", "ml", "ops", "ci", "edge", "mail", "voice", "lab", "hpc",
    "iot", "qa",
];

const ROLES: [&str; 16] = [
    "base", "app", "db", "cache", "worker", "proxy", "gateway", "runner", "node", "master", "bastion", "monitor",
    "queue", "builder", "gold", "desktop",
];

const BEYOND_ASCII: [&str; 6] =
    ["镜像-测试", "Abbild für Prüfung", "образ-сервера", "イメージ", "imagen-producción", "🐧 linux"];

/// Properties as the JSON object that they are kept as: up to eight, in one order.
fn properties(random: &mut Random, release: &Release) -> String {
    const NAMES: [&str; 14] = [
        "os_type",
        "os_distro",
        "os_version",
        "architecture",
        "hw_disk_bus",
        "hw_vif_model",
        "hw_qemu_guest_agent",
        "hw_machine_type",
        "hypervisor_type",
        "kernel_id",
        "ramdisk_id",
        "base_image_ref",
        "build",
        "description",
    ];

    let mut count = *random.weighted(&[(0, 22), (1, 12), (2, 14), (3, 14), (4, 12), (5, 10), (6, 8), (7, 5), (8, 3)]);
    let mut json = String::from("{");
    for (place, name) in NAMES.into_iter().enumerate() {
        // As many as are still wanted of those that are left.
        let left = (NAMES.len() - place) as u64;
        if !random.one_in(left, count) {
            continue;
        }
        count -= 1;
        let value = match name {
            "os_type" => Some(if release.distribution == "windows" { "windows" } else { "linux" }.to_owned()),
            "os_distro" => Some(release.distribution.to_owned()),
            "os_version" => Some(release.version.to_owned()),
            "architecture" => Some((*random.weighted(&[("x86_64", 90), ("aarch64", 8), ("ppc64le", 2)])).to_owned()),
            "hw_disk_bus" => Some((*random.weighted(&[("virtio", 70), ("scsi", 25), ("ide", 5)])).to_owned()),
            "hw_vif_model" => Some((*random.weighted(&[("virtio", 92), ("e1000", 8)])).to_owned()),
            "hw_qemu_guest_agent" => Some((*random.weighted(&[("yes", 85), ("no", 15)])).to_owned()),
            "hw_machine_type" => Some((*random.weighted(&[("q35", 60), ("pc", 40)])).to_owned()),
            "hypervisor_type" => Some((*random.weighted(&[("qemu", 80), ("kvm", 15), ("vmware", 5)])).to_owned()),
            "kernel_id" | "ramdisk_id" => random.one_in(10, 1).then(|| random.uuid().to_string()),
            "base_image_ref" => Some(random.uuid().to_string()),
            "build" => Some((1 + random.small(5000)).to_string()),
            // A quote is what JSON must escape.
            _ if random.one_in(20, 1) => {
                Some(format!("The \"{}\" image.\nAsk {}.", random.pick(&ROLES), random.pick(&TEAMS)))
            }
            _ => Some(format!("{} on {}", random.pick(&ROLES), release.name)),
        };
        let separator = if json.len() > 1 { "," } else { "" };
        let value = serde_json::Value::from(value);
        write!(json, "{separator}\"{name}\":{value}").expect("a String takes all that is written");
    }
    json.push('}');
    json
}

/// Ranks, each with a weight of its own.
struct Ranks(Vec<u64>);

impl Ranks {
    fn new(count: u64, weight: impl Fn(u64) -> u64) -> Self {
        let sums = (0..count).scan(0, |sum, rank| {
            *sum += weight(rank);
            Some(*sum)
        });
        Self(sums.collect())
    }

    fn pick(&self, random: &mut Random) -> usize {
        let total = self.0.last().copied().expect("there are ranks");
        let place = random.below(total);
        self.0.partition_point(|sum| *sum <= place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use chrono::{NaiveDateTime, TimeDelta};
    use serde_json::{Map, Value};

    use super::Catalog;
    use crate::image::Image;
    use crate::timestamp::Timestamp;

    fn catalog(seed: u64, count: u64) -> Vec<Image> {
        Catalog::new(seed, count, Timestamp::parse("2026-01-01").expect("a time")).images().collect()
    }

    /// Whatever this pins, others have kept: catalogs that were compared, reports that name a seed.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let until = Timestamp::parse("2026-01-01").expect("a time");
        let image = Catalog::new(1, 1_000_000, until).image(999_999);
        assert_eq!(image.id.to_string(), "dfe5bf5b-28e6-40de-9536-b2f6774133ff");
        assert_eq!(image.name.as_deref(), Some("snapshot-db-344d3be7"));
        assert_eq!(image.size, Some(54_845_036_823));
        assert_eq!(image.owner.as_deref(), Some("ac29a107757467efaf664f756cc9ce25"));
        assert_eq!(image.created_at.to_string(), "2025-12-31T23:55:06.330829");
        assert_eq!(image.updated_at.map(|time| time.to_string()).as_deref(), Some("2025-12-31T23:59:04.449003"));
        assert_eq!(
            image.properties,
            r#"{"os_version":"22.04","hw_machine_type":"q35","description":"worker on ubuntu-22.04"}"#
        );
    }

    /// Fails where `part` of `whole` is not `per_mille`, give or take a tenth of it.
    #[track_caller]
    fn assert_share(part: usize, whole: usize, per_mille: usize) {
        let (least, most) = (whole * per_mille * 9 / 10_000, whole * per_mille * 11 / 10_000);
        assert!((least..=most).contains(&part), "{part} of {whole} is not {per_mille} in a thousand");
    }

    fn count<'a>(images: &'a [Image], test: impl Fn(&'a Image) -> bool) -> usize {
        images.iter().filter(|image| test(image)).count()
    }

    #[test]
    fn the_shares_are_those_that_are_promised() {
        let images = catalog(7, 100_000);
        let all = images.len();
        assert_eq!(images.iter().map(|image| image.id).collect::<BTreeSet<_>>().len(), all);
        assert_share(count(&images, |image| image.is_public), all, 300);
        assert_share(count(&images, |image| image.status == "active"), all, 930);
        assert_share(count(&images, |image| image.status == "killed"), all, 10);
        assert_share(count(&images, |image| image.deleted), all, 34);
        assert!(images.iter().all(|image| image.deleted == image.deleted_at.is_some()));
        assert_eq!(images.iter().map(|image| &image.status).collect::<BTreeSet<_>>().len(), 9);

        let most = |values: BTreeMap<&str, usize>| values.values().copied().max().unwrap_or_default();
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for image in &images {
            *owners.entry(image.owner.as_deref().expect("an owner")).or_default() += 1;
            *names.entry(image.name.as_deref().unwrap_or_default()).or_default() += 1;
        }
        // The smallest have one or none in so small a catalog.
        assert!((800..=1000).contains(&owners.len()), "{} of the projects own an image", owners.len());
        assert!(owners.keys().all(|owner| owner.len() == 32));
        assert_share(most(owners), all, 96);
        assert_share(names.values().filter(|times| **times == 1).count(), all, 335);
        assert!(names.keys().any(|name| !name.is_ascii()));
        assert!(count(&images, |image| image.name.is_none()) > all / 200);
        assert!(most(names) > all / 25, "a name that many images have");

        let decade = |image: &Image| image.size.map_or(0, i64::ilog10);
        for digits in 5..=10 {
            assert_share(count(&images, |image| image.size.is_some_and(|_| decade(image) == digits)), all, 163);
        }
        assert!(images.iter().all(|image| image.size.is_none_or(|size| (100_000..100_000_000_000).contains(&size))));
        assert!(images.iter().all(|image| image.status != "queued" || image.size.is_none()));
        assert!(images.iter().all(|image| image.disk_format.is_some() || image.status == "queued"));

        let shared = count(&images, |image| !image.members.is_empty());
        assert_share(shared, count(&images, |image| !image.is_public), 39);
        assert!(images.iter().all(|image| image.members.is_empty() || !(image.is_public || image.deleted)));
    }

    #[test]
    fn the_times_are_within_ten_years_and_mostly_one_day() {
        let images = catalog(7, 100_000);
        let end = Timestamp::parse("2026-01-01").expect("a time");
        let start = Timestamp::parse("2016-01-02").expect("a time");
        let since = |image: &Image| {
            let updated = image.updated_at.map(NaiveDateTime::from).expect("a time");
            updated - NaiveDateTime::from(image.created_at)
        };
        assert!(images.iter().all(|image| image.created_at >= start && image.updated_at <= Some(end)));
        assert!(images.iter().all(|image| since(image) >= TimeDelta::zero()));
        assert!(images.is_sorted_by_key(|image| image.created_at));
        assert_share(count(&images, |image| since(image) <= TimeDelta::days(1)), images.len(), 900);
        // From an early creation on, the late tenth is spread evenly up to the end.
        let early: Vec<Image> = images.into_iter().take(10_000).collect();
        let late = count(&early, |image| since(image) > TimeDelta::days(1));
        assert_share(count(&early, |image| since(image) > TimeDelta::days(1826)), late, 474);
    }

    #[test]
    fn properties_are_objects_of_up_to_eight_texts_and_nulls() {
        let mut numbers = BTreeSet::new();
        for image in catalog(7, 10_000) {
            let properties: Map<String, Value> = serde_json::from_str(&image.properties).expect("a JSON object");
            assert!(properties.values().all(|value| value.is_string() || value.is_null()), "{properties:?}");
            numbers.insert(properties.len());
            assert_eq!(image.properties.len(), Value::from(properties).to_string().len(), "compact");
        }
        assert_eq!(numbers, (0..=8).collect());
    }

    #[test]
    fn other_seeds_have_nothing_in_common() {
        let ids: BTreeSet<_> = (0..5).flat_map(|seed| catalog(seed, 1000)).map(|image| image.id).collect();
        assert_eq!(ids.len(), 5000);
    }
}
