//! From bytes to records, each with its place: whole JSON texts, or one a line.
//!
//! A thread reads, so that the next records are made while the database takes the last ones; no
//! more than a few thousand are held at a time, however large the input is.

use std::fmt::{self, Display};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::thread;

use anyhow::{anyhow, bail};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::form;
use crate::config::Format;
use crate::image::Draft;
use crate::store::Record;

/// Where a record stands; all count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Line(u64),
    /// An image of an answer that is one line of several.
    ImageOfLine {
        line: u64,
        image: u64,
    },
    Image(u64),
}

impl Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::ImageOfLine { line, image } => write!(formatter, "line {line}, image {image}"),
            Self::Image(image) => write!(formatter, "image {image}"),
        }
    }
}

/// A part of the records, or why there are no more.
type Part = anyhow::Result<Vec<Record<Place>>>;

/// So many records make a part.
const PART: usize = 10_000;

/// Reads in a thread of its own; after the last part the channel is closed.
pub fn read(input: impl Read + Send + 'static, format: Option<Format>) -> mpsc::Receiver<Part> {
    let (parts, received) = mpsc::channel(1);
    thread::spawn(move || {
        let mut sink = Sink { parts, part: Vec::new(), count: 0, told: None, format, next: None, stopped: None };
        let read = sink.read(input);
        if let Some(next) = &sink.next {
            tracing::warn!(%next, "the last answer says that more images follow it; only those that it has are imported");
        }
        let last = match read {
            Ok(()) if sink.part.is_empty() => return,
            Ok(()) => Ok(std::mem::take(&mut sink.part)),
            Err(error) => Err(error),
        };
        // Whoever does not listen any more has an end of its own.
        let _ = sink.parts.blocking_send(last);
    });
    received
}

/// Takes the records, and gives them on in parts.
struct Sink {
    parts: mpsc::Sender<Part>,
    part: Vec<Record<Place>>,
    /// The images of whole texts up to now.
    count: u64,
    /// The form that was told by a record, and which one.
    told: Option<(Format, Place)>,
    format: Option<Format>,
    /// Where the last answer says that more images are.
    next: Option<String>,
    /// Why reading has ended early, while a parser that knows errors of its own only is about.
    stopped: Option<anyhow::Error>,
}

/// Up to here a first line is looked for.
const FIRST_LINE: u64 = 1 << 20;

impl Sink {
    fn read(&mut self, input: impl Read) -> anyhow::Result<()> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let head = head(&mut input).map_err(|error| unreadable(&error))?;
        let start = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&head);
        let is_by_line = match start.trim_ascii_start().first() {
            None => bail!("The input is empty; an answer without images is {{\"images\": []}}."),
            Some(b'{' | b'[') => is_by_line(start),
            Some(_) => {
                let line = String::from_utf8_lossy(start.trim_ascii_start());
                let line: String = line.lines().next().unwrap_or_default().chars().take(40).collect();
                bail!("The input is not JSON: it begins with {line:?}. `openstack` writes JSON with -f json.")
            }
        };
        let input = Cursor::new(start.to_vec()).chain(input);
        if is_by_line { self.lines(BufReader::new(input)) } else { self.texts(BufReader::new(input)) }
    }

    /// One text a line: a record or a whole answer.
    fn lines(&mut self, mut input: impl BufRead) -> anyhow::Result<()> {
        let mut line = Vec::new();
        let mut number = 0;
        while input.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))? > 0 {
            number += 1;
            let place = Place::Line(number);
            match str::from_utf8(&line).map(str::trim) {
                Ok("") => {}
                Ok(text) => self.line(number, text)?,
                Err(_) => self.push(place, Err("it is not UTF-8".to_owned()))?,
            }
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, line: u64, text: &str) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow, default)]
            images: Option<&'a RawValue>,
            #[serde(borrow, default)]
            next: Option<&'a RawValue>,
        }

        let images = if text.starts_with('[') {
            serde_json::from_str(text).map(Some)
        } else {
            let answer = serde_json::from_str::<Answer<'_>>(text);
            answer.and_then(|Answer { images, next }| match images.map(RawValue::get) {
                Some(images) if images.starts_with('[') => {
                    self.next = next.and_then(|next| serde_json::from_str(next.get()).ok());
                    serde_json::from_str::<Vec<&RawValue>>(images).map(Some)
                }
                _ => Ok(None),
            })
        };
        match images {
            Ok(None) => self.record(Place::Line(line), text),
            Ok(Some(images)) => {
                for (image, record) in (1..).zip(images) {
                    self.record(Place::ImageOfLine { line, image }, record.get())?;
                }
                Ok(())
            }
            Err(error) => self.push(Place::Line(line), Err(format!("it is not JSON: {}", in_a_line(&error)))),
        }
    }

    /// Whole texts, one after the other: answers, and lists of records.
    fn texts(&mut self, input: impl BufRead) -> anyhow::Result<()> {
        let mut input = serde_json::Deserializer::from_reader(input);
        loop {
            let read = Text(self).deserialize(&mut input);
            if let Some(stopped) = self.stopped.take() {
                return Err(stopped);
            }
            if let Err(error) = read {
                bail!(if error.is_io() {
                    unreadable(&error.into())
                } else {
                    anyhow!("The input is not the JSON of images: {error}.")
                })
            }
            if input.end().is_ok() {
                return Ok(());
            }
        }
    }

    /// Takes an image of a whole text; an error is kept.
    fn image<E: serde::de::Error>(&mut self, record: &str) -> Result<(), E> {
        self.count += 1;
        self.record(Place::Image(self.count), record).map_err(|error| {
            self.stopped = Some(error);
            E::custom("reading has ended early")
        })
    }

    fn record(&mut self, place: Place, json: &str) -> anyhow::Result<()> {
        let format = match (self.format, self.told) {
            (Some(format), _) | (None, Some((format, _))) => format,
            (None, None) => match form::told(json) {
                Ok(format) => {
                    self.told = Some((format, place));
                    format
                }
                Err(reason) => return self.push(place, Err(reason)),
            },
        };
        let read = form::read(format, json);
        if read.is_err()
            && let Some(other) = form::told(json).ok().filter(|other| *other != format)
        {
            let (name, other) = (form::name(format), form::name(other));
            match self.told {
                Some((_, first)) => {
                    bail!("The input is of two forms: {first} is {name}, {place} is {other}. Import them one by one.")
                }
                None => bail!("The input is not of the form that --format says, {name}: {place} is {other}."),
            }
        }
        self.push(place, read)
    }

    fn push(&mut self, place: Place, read: Result<Draft, String>) -> anyhow::Result<()> {
        self.part.push(Record { place, read });
        if self.part.len() == PART {
            let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
            self.parts.blocking_send(Ok(part)).map_err(|_| anyhow!("Nobody takes the records."))?;
        }
        Ok(())
    }
}

fn unreadable(error: &io::Error) -> anyhow::Error {
    anyhow!("The input cannot be read: {error}.")
}

/// Without the line, which is the only one that the parser has seen.
fn in_a_line(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    let reason = reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason);
    format!("{reason} at column {}", error.column())
}

/// The input up to the end of its first line that is not blank, and what comes on the next.
fn head(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut lines = 0;
    while lines < 2 {
        let start = head.len();
        let mut rest = (&mut *input).take(FIRST_LINE);
        if rest.read_until(b'\n', &mut head)? == 0 || !head.ends_with(b"\n") {
            break;
        }
        lines += usize::from(!head[start..].trim_ascii().is_empty());
    }
    Ok(head)
}

/// Whether the first line is a JSON text of its own; or would be, but for an error, and the next
/// begins another.
fn is_by_line(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    match serde_json::from_slice::<IgnoredAny>(first) {
        Ok(_) => true,
        Err(error) if error.is_eof() => false,
        Err(_) => lines.next().is_some_and(|line| line.starts_with(b"{")),
    }
}

/// A whole text: an answer with images, a list of records, or a single record.
struct Text<'a>(&'a mut Sink);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("images")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut images: A) -> Result<(), A::Error> {
        while let Some(image) = images.next_element::<Box<RawValue>>()? {
            self.0.image(image.get())?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut record = Vec::new();
        let mut is_answer = false;
        while let Some(name) = fields.next_key::<String>()? {
            if name == "images" {
                if is_answer {
                    return Err(A::Error::custom("an answer has images twice"));
                }
                is_answer = true;
                fields.next_value_seed(Images(self.0))?;
            } else {
                record.push((name, fields.next_value::<Box<RawValue>>()?));
            }
        }
        if is_answer {
            let next = record.iter().find(|(name, _)| name == "next");
            self.0.next = next.and_then(|(_, next)| serde_json::from_str(next.get()).ok());
            return Ok(());
        }
        let fields: Vec<String> = record
            .iter()
            .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), value))
            .collect();
        self.0.image(&format!("{{{}}}", fields.join(",")))
    }
}

/// The list of images of an answer.
struct Images<'a>(&'a mut Sink);

impl<'de> DeserializeSeed<'de> for Images<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(Text(self.0))
    }
}
