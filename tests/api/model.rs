//! What a list must hold, by a plain reading of the rules: a filter over images in memory.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use uuid::Uuid;

use crate::support::Image;

pub const SORT_KEYS: [&str; 8] =
    ["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"];

/// Somebody who may ask.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub token: &'static str,
    pub project: Option<&'static str>,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Where no token is asked for.
    Unrestricted,
    Anonymous,
    Member,
    Admin,
}

/// What is asked of a list, before it is written into a query string.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub texts: BTreeMap<&'static str, Text>,
    pub size_min: Option<u128>,
    pub size_max: Option<u128>,
    pub min_ram: Option<u128>,
    pub min_disk: Option<u128>,
    /// As the API writes times.
    pub changes_since: Option<String>,
    pub protected: Option<bool>,
    pub is_public: Option<IsPublic>,
    pub properties: BTreeMap<String, String>,
    pub sort_key: Option<&'static str>,
    pub is_ascending: Option<bool>,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub enum Text {
    Is(String),
    /// Texts without quotes, which a list cannot name.
    OneOf(Vec<String>),
}

impl Text {
    fn accepts(&self, value: Option<&str>) -> bool {
        value.is_some_and(|value| match self {
            Self::Is(text) => value == text,
            Self::OneOf(texts) => texts.iter().any(|text| value == text),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsPublic {
    True,
    False,
    None,
}

impl Asked {
    /// The query string that asks for it.
    pub fn query_string(&self) -> String {
        let mut pairs: Vec<(Cow<str>, Cow<str>)> = Vec::new();
        for (name, text) in &self.texts {
            let value = match text {
                Text::Is(text) if text.starts_with("in:") || text.starts_with("eq:") => format!("eq:{text}").into(),
                Text::Is(text) => text.into(),
                Text::OneOf(texts) => {
                    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
                    format!("in:{}", quoted.join(",")).into()
                }
            };
            pairs.push((Cow::Borrowed(name), value));
        }
        let numbers = [
            ("size_min", self.size_min),
            ("size_max", self.size_max),
            ("min_ram", self.min_ram),
            ("min_disk", self.min_disk),
        ];
        for (name, number) in numbers {
            pairs.extend(number.map(|number| (name.into(), number.to_string().into())));
        }
        pairs.extend(self.changes_since.as_deref().map(|time| ("changes-since".into(), time.into())));
        let flag = |flag: bool| if flag { "true" } else { "False" };
        pairs.extend(self.protected.map(|protected| ("protected".into(), flag(protected).into())));
        pairs.extend(self.is_public.map(|is_public| {
            let value = match is_public {
                IsPublic::True => "true",
                IsPublic::False => "False",
                IsPublic::None => "none",
            };
            ("is_public".into(), value.into())
        }));
        let properties = self.properties.iter();
        pairs.extend(properties.map(|(name, value)| (format!("property-{name}").into(), value.into())));
        pairs.extend(self.sort_key.map(|key| ("sort_key".into(), key.into())));
        let direction = |is_ascending| if is_ascending { "asc" } else { "desc" };
        pairs.extend(self.is_ascending.map(|is_ascending| ("sort_dir".into(), direction(is_ascending).into())));
        pairs.push(("limit".into(), self.limit.to_string().into()));

        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Whether an image of a status that is else hidden is shown because the query names that.
    fn names_hidden(&self, status: &str) -> bool {
        ["killed", "deleted", "pending_delete"].contains(&status)
            && self.texts.get("status").is_some_and(|filter| filter.accepts(Some(status)))
    }

    fn takes(&self, image: &Image) -> bool {
        let takes = |name, value| self.texts.get(name).is_none_or(|filter| filter.accepts(value));
        let number = |number: i64| u128::try_from(number).expect("the catalog holds no negative numbers");
        self.min_ram.is_none_or(|ram| number(image.min_ram) == ram)
            && self.min_disk.is_none_or(|disk| number(image.min_disk) == disk)
            && self.protected.is_none_or(|protected| image.protected == protected)
            && self.size_min.is_none_or(|least| image.size.is_some_and(|size| number(size) >= least))
            && self.size_max.is_none_or(|most| image.size.is_some_and(|size| number(size) <= most))
            && (self.texts.is_empty()
                || takes("name", image.name.as_deref())
                    && takes("status", Some(&image.status))
                    && takes("disk_format", image.disk_format.as_deref())
                    && takes("container_format", image.container_format.as_deref()))
            && self
                .changes_since
                .as_deref()
                .is_none_or(|since| image.updated_at.as_deref().is_some_and(|time| time >= since))
            && self.properties.iter().all(|(name, value)| {
                image.properties.get(name).is_some_and(|own| own.as_deref() == Some(value.as_str()))
            })
    }
}

impl Who {
    /// Whether a list shows an image, as far as that depends on who asks.
    fn sees(self, image: &Image, is_public: Option<IsPublic>) -> bool {
        let own = || {
            self.project.is_some_and(|project| {
                image.owner.as_deref() == Some(project) || image.members.iter().any(|member| member.member == project)
            })
        };
        match (self.role, is_public) {
            (Role::Unrestricted, None) | (Role::Unrestricted | Role::Admin, Some(IsPublic::None)) => true,
            (Role::Unrestricted, Some(IsPublic::True)) => image.is_public,
            (Role::Unrestricted | Role::Admin, Some(IsPublic::False)) => !image.is_public,
            _ => image.is_public || own(),
        }
    }

    /// Whether an image may be named as a marker.
    fn names(self, image: &Image, asked: &Asked) -> bool {
        match self.role {
            Role::Unrestricted | Role::Admin => true,
            Role::Anonymous | Role::Member => {
                self.sees(image, asked.is_public)
                    && (!image.deleted || asked.changes_since.is_some() || asked.names_hidden(&image.status))
            }
        }
    }
}

/// Images in every order, ascending.
pub struct Model {
    images: Vec<Image>,
    orders: BTreeMap<&'static str, Vec<usize>>,
}

impl Model {
    pub fn new(images: Vec<Image>) -> Self {
        let order = |key: &'static str| {
            let mut order: Vec<usize> = (0..images.len()).collect();
            order.sort_by(|&a, &b| compare(&images[a], &images[b], key));
            (key, order)
        };
        let orders = SORT_KEYS.into_iter().map(order).collect();
        Self { images, orders }
    }

    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The places of the images that a list holds, in order, after its marker; `None` where the
    /// marker may not be named.
    pub fn listed(&self, asked: &Asked, who: Who, marker: Option<Uuid>) -> Option<Vec<usize>> {
        let order = &self.orders[asked.sort_key.unwrap_or("created_at")];
        let is_ascending = asked.is_ascending == Some(true);
        let mut order: Box<dyn Iterator<Item = usize>> =
            if is_ascending { Box::new(order.iter().copied()) } else { Box::new(order.iter().rev().copied()) };
        if let Some(marker) = marker {
            let found = order.find(|&place| self.images[place].id == marker)?;
            if !who.names(&self.images[found], asked) {
                return None;
            }
        }
        let is_listed = |image: &Image| {
            let is_alive = asked.changes_since.is_some()
                || !image.deleted && image.status != "killed"
                || asked.names_hidden(&image.status);
            is_alive && who.sees(image, asked.is_public) && asked.takes(image)
        };
        Some(order.filter(|&place| is_listed(&self.images[place])).collect())
    }
}

fn compare(a: &Image, b: &Image, key: &str) -> Ordering {
    let first = match key {
        "name" => a.name.cmp(&b.name),
        "status" => a.status.cmp(&b.status),
        "disk_format" => a.disk_format.cmp(&b.disk_format),
        "container_format" => a.container_format.cmp(&b.container_format),
        "size" => a.size.cmp(&b.size),
        "updated_at" => a.updated_at.cmp(&b.updated_at),
        "id" => a.id.cmp(&b.id),
        "created_at" => Ordering::Equal,
        other => panic!("{other} is no key to sort by"),
    };
    first.then_with(|| a.created_at.cmp(&b.created_at)).then_with(|| a.id.cmp(&b.id))
}
