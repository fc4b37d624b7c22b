//! Faults on purpose, by which a test environment tries how its clients behave: the rules of a
//! file, and which of them a request meets. What a fault does to a request is the work of `http`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use actix_web::http::StatusCode;
use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Deserializer, de};
use wildmatch::WildMatch;

use crate::auth::Caller;
use crate::duration;
use crate::random::Random;

/// What people and programs watch the service by: only a rule that names such a path meets it.
const WATCHED: [&str; 3] = ["/healthcheck", "/ready", "/metrics"];

/// The rules of a file, in order.
#[derive(Debug)]
pub struct Faults(Vec<Rule>);

/// A fault, and the requests that it befalls.
#[derive(Debug)]
pub struct Rule {
    /// Its place in the file, and its name if it has one.
    label: String,
    requests: Requests,
    pub before_authentication: bool,
    first: Option<u64>,
    share: f64,
    pub effect: Effect,
    /// What has matched up to now, and the numbers that decide of the next ones.
    drawn: Mutex<(u64, Random)>,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// How long the request is held up first.
    pub delay: Option<Duration>,
    pub end: End,
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With the answer that it would have had.
    Answer,
    /// With a refusal.
    Refusal { status: StatusCode, retry_after: Option<u32>, message: String },
    /// Without an answer: the connection is closed.
    Cut,
    /// With the first bytes of the body of that answer; then the connection is closed.
    Truncated(usize),
}

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Names and values of the query, decoded; of a repeated name the last counts.
    pub query: &'a [(String, String)],
    /// `None` where nobody was asked for a token, or not yet.
    pub caller: Option<&'a Caller>,
}

impl Faults {
    /// Reads the rules of a file.
    ///
    /// # Errors
    /// By file and place: what is no JSON, a name that there is not, a value that is not accepted.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = format!("The file {} (FAULTS_FILE)", path.display());
        let text = fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
        let mut json = serde_json::Deserializer::from_str(&text);
        let file: File = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            // What is no JSON has a line and a column, but no place among the rules.
            let is_placed = error.inner().is_data() && error.path().iter().next().is_some();
            let place = if is_placed { format!("{}: ", error.path()) } else { String::new() };
            anyhow!("{name} is refused: {place}{}.", error.inner())
        })?;
        json.end().map_err(|error| anyhow!("{name} is refused: {error}."))?;
        let rules = file.rules.into_iter().enumerate().map(|(index, written)| {
            let label =
                written.name.map_or_else(|| format!("rules[{index}]"), |name| format!("rules[{index}] ({name})"));
            let number = u64::try_from(index).expect("a count of rules");
            Rule {
                label,
                requests: written.requests,
                before_authentication: written.before_authentication,
                first: written.first,
                share: written.share,
                effect: written.effect,
                drawn: Mutex::new((0, Random::new(file.seed, number))),
            }
        });
        Ok(Self(rules.collect()))
    }

    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The first rule that a request meets, of those that `among` lets through. Each that matches
    /// counts the request, and draws whether it meets it.
    pub fn met_by(&self, asked: Asked<'_>, among: impl Fn(&Rule) -> bool) -> Option<&Rule> {
        self.0.iter().find(|rule| among(rule) && rule.requests.include(asked) && rule.draw())
    }
}

impl Rule {
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it asks who the caller is.
    pub fn needs_caller(&self) -> bool {
        self.requests.project.is_some() || self.requests.user.is_some()
    }

    /// Decides of the next request that matches. Each takes one number, so that the requests
    /// that a seed picks are the same ones in every run.
    fn draw(&self) -> bool {
        let mut drawn = self.drawn.lock().expect("nothing panics while it counts");
        let (count, random) = &mut *drawn;
        *count += 1;
        let is_picked = f64::from(random.small(u32::MAX)) < self.share * f64::from(u32::MAX);
        is_picked && self.first.is_none_or(|first| *count <= first)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, requests, before_authentication, first, share, effect, .. } = self;
        write!(formatter, "{label}: {effect} for ")?;
        if let Some(first) = first {
            write!(formatter, "the first {first}, ")?;
        }
        write!(formatter, "a share of {share} of {requests}")?;
        if *before_authentication { formatter.write_str(", before authentication") } else { Ok(()) }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(delay) = self.delay {
            write!(formatter, "a delay of {}", humantime::format_duration(delay))?;
            if self.end != End::Answer {
                formatter.write_str(" and ")?;
            }
        }
        match &self.end {
            End::Answer => Ok(()),
            End::Refusal { status, .. } => write!(formatter, "status {}", status.as_u16()),
            End::Cut => formatter.write_str("a cut connection"),
            End::Truncated(bytes) => write!(formatter, "a body of at most {bytes} bytes"),
        }
    }
}

impl Requests {
    fn include(&self, asked: Asked<'_>) -> bool {
        let is_named = |path: &WildMatch| !path.to_string().contains(['*', '?']);
        let path = match &self.path {
            Some(path) => path.matches(asked.path) && (is_named(path) || !WATCHED.contains(&asked.path)),
            None => !WATCHED.contains(&asked.path),
        };
        let value = |name: &str| asked.query.iter().rfind(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let query = || self.query.iter().all(|(name, wanted)| value(name).is_some_and(|value| wanted.matches(value)));
        let identity = match asked.caller {
            Some(Caller::Authenticated(identity)) => Some(identity),
            _ => None,
        };
        let project = identity.and_then(|identity| identity.project.as_ref());
        let user = identity.map(|identity| &identity.user);
        self.method.as_ref().is_none_or(|wanted| asked.method == wanted)
            && path
            && query()
            && self.project.as_ref().is_none_or(|wanted| project == Some(wanted))
            && self.user.as_ref().is_none_or(|wanted| user == Some(wanted))
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, query, project, user } = self;
        match method {
            Some(method) => write!(formatter, "the {method} requests")?,
            None => formatter.write_str("the requests")?,
        }
        if let Some(path) = path {
            write!(formatter, " for {path}")?;
        }
        for (name, value) in query {
            write!(formatter, " with {name}={value}")?;
        }
        if let Some(project) = project {
            write!(formatter, " of project {project}")?;
        }
        if let Some(user) = user {
            write!(formatter, " of user {user}")?;
        }
        Ok(())
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with rules")]
struct File {
    #[serde(default)]
    seed: u64,
    #[serde(deserialize_with = "some_rules")]
    rules: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    name: Option<String>,
    #[serde(rename = "match", default)]
    requests: Requests,
    #[serde(default)]
    before_authentication: bool,
    #[serde(default, deserialize_with = "count")]
    first: Option<u64>,
    #[serde(default = "every", deserialize_with = "share")]
    share: f64,
    effect: Effect,
}

/// A rule as it is written, with nothing in it that contradicts itself.
#[derive(Deserialize)]
#[serde(try_from = "Unchecked")]
struct Written {
    name: Option<String>,
    requests: Requests,
    before_authentication: bool,
    first: Option<u64>,
    share: f64,
    effect: Effect,
}

/// Which requests a rule is for: all that is given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requests {
    #[serde(default, deserialize_with = "method")]
    method: Option<String>,
    #[serde(default, deserialize_with = "path")]
    path: Option<WildMatch>,
    #[serde(default, deserialize_with = "patterns")]
    query: BTreeMap<String, WildMatch>,
    project: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEffect {
    #[serde(default, deserialize_with = "delay")]
    delay: Option<Duration>,
    #[serde(default, deserialize_with = "status")]
    status: Option<StatusCode>,
    retry_after: Option<u32>,
    message: Option<String>,
    #[serde(default)]
    cut: bool,
    truncate_to: Option<usize>,
}

impl TryFrom<Unchecked> for Written {
    type Error = &'static str;

    fn try_from(unchecked: Unchecked) -> Result<Self, Self::Error> {
        let Unchecked { name, requests, before_authentication, first, share, effect } = unchecked;
        if before_authentication && (requests.project.is_some() || requests.user.is_some()) {
            return Err("before_authentication is true, and nobody knows project or user of the match by then");
        }
        Ok(Self { name, requests, before_authentication, first, share, effect })
    }
}

impl<'de> Deserialize<'de> for Effect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenEffect { delay, status, retry_after, message, cut, truncate_to } =
            WrittenEffect::deserialize(deserializer)?;
        if status.is_none() && (retry_after.is_some() || message.is_some()) {
            return Err(de::Error::custom("retry_after and message go with a status"));
        }
        let end = match (status, cut, truncate_to) {
            (None, false, None) if delay.is_none() => {
                return Err(de::Error::custom("one of delay, status, cut and truncate_to is needed"));
            }
            (None, false, None) => End::Answer,
            (Some(status), false, None) => {
                let message = message.unwrap_or_else(|| "This fault is on purpose, to try clients.".to_owned());
                End::Refusal { status, retry_after, message }
            }
            (None, true, None) => End::Cut,
            (None, false, Some(bytes)) => End::Truncated(bytes),
            _ => return Err(de::Error::custom("only one of status, cut and truncate_to can happen to a request")),
        };
        Ok(Self { delay, end })
    }
}

fn every() -> f64 {
    1.0
}

fn some_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Written>, D::Error> {
    let rules = Vec::deserialize(deserializer)?;
    if rules.is_empty() { Err(de::Error::custom("at least one rule is needed")) } else { Ok(rules) }
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let count = u64::deserialize(deserializer)?;
    if count == 0 {
        Err(de::Error::custom("the value 0 is not accepted; it takes a whole number from 1 up"))
    } else {
        Ok(Some(count))
    }
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    let is_accepted = (0.0..=1.0).contains(&share);
    let refused = || de::Error::custom(format!("the value {share} is not accepted; it takes a number from 0 to 1"));
    is_accepted.then_some(share).ok_or_else(refused)
}

fn method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let method = String::deserialize(deserializer)?;
    // Case counts in HTTP: a rule for others would never strike.
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let refused = format!("the value '{method}' is not accepted; it takes a method in capitals, such as GET");
        return Err(de::Error::custom(refused));
    }
    Ok(Some(method))
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WildMatch>, D::Error> {
    let path = String::deserialize(deserializer)?;
    if !path.starts_with(['/', '*']) {
        let refused = format!("the value '{path}' is not accepted; a path begins with / or *");
        return Err(de::Error::custom(refused));
    }
    Ok(Some(WildMatch::new(&path)))
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, WildMatch>, D::Error> {
    let written = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(written.into_iter().map(|(name, value)| (name, WildMatch::new(&value))).collect())
}

fn delay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let written = String::deserialize(deserializer)?;
    let refused = |accepted| de::Error::custom(format!("the value '{written}' is not accepted; {accepted}"));
    duration::parse(&written).map(Some).map_err(refused)
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StatusCode>, D::Error> {
    let written = u16::deserialize(deserializer)?;
    let status = StatusCode::from_u16(written).ok().filter(|status| status.canonical_reason().is_some());
    let error = status.filter(|status| status.is_client_error() || status.is_server_error());
    let refused =
        || de::Error::custom(format!("the value {written} is not accepted; it takes a status of HTTP from 400 to 511"));
    error.map(Some).ok_or_else(refused)
}
