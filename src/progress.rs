//! How far the storing of many images is, on standard error: a bar on a terminal, else a line now
//! and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::store::Step;

pub enum Progress {
    Bar(ProgressBar, Ahead),
    Lines(Lines),
}

/// What is known of all that is to come.
#[derive(Clone, Debug)]
pub enum Ahead {
    /// So many rows.
    Rows(u64),
    /// A file of so many bytes, and how many of them have been read.
    File {
        bytes: u64,
        read: Arc<AtomicU64>,
    },
    Unknown,
}

pub struct Lines {
    ahead: Ahead,
    start: Instant,
    told: Option<(Instant, u64)>,
}

impl Progress {
    pub fn new(ahead: Ahead) -> Self {
        if !stderr().is_terminal() {
            return Self::Lines(Lines { ahead, start: Instant::now(), told: None });
        }
        let length = match ahead {
            Ahead::Rows(rows) => Some(rows),
            Ahead::File { bytes, .. } => Some(bytes),
            Ahead::Unknown => None,
        };
        Self::Bar(ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()), ahead)
    }

    pub fn tell(&mut self, step: Step<'_>) {
        match self {
            Self::Bar(bar, ahead) => draw(bar, ahead, step),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(step) {
                    // Whether it is read or not, the storing goes on.
                    let _ = writeln!(stderr(), "{line}");
                }
            }
        }
    }

    /// Writes a line of its own.
    pub fn say(&self, line: &str) {
        let say = || {
            // As above.
            let _ = writeln!(stderr(), "{line}");
        };
        match self {
            Self::Bar(bar, _) => bar.suspend(say),
            Self::Lines(_) => say(),
        }
    }

    /// Leaves the terminal as it was.
    pub fn clear(&self) {
        if let Self::Bar(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}

fn draw(bar: &ProgressBar, ahead: &Ahead, step: Step<'_>) {
    if let Step::Rows(rows) = step {
        if rows == 0 {
            let template = match ahead {
                Ahead::Rows(_) => "rows {wide_bar} {human_pos} of {human_len}, {per_sec:0}, {eta} left",
                Ahead::File { .. } => "{msg} images {wide_bar} {bytes} of {total_bytes}, {eta} left",
                Ahead::Unknown => "{spinner} {msg} images ({elapsed})",
            };
            bar.disable_steady_tick();
            bar.set_style(ProgressStyle::with_template(template).expect("a template of ours"));
            bar.reset();
        }
        bar.set_message(rows.to_string());
        bar.set_position(match ahead {
            Ahead::File { read, .. } => read.load(Ordering::Relaxed),
            Ahead::Rows(_) | Ahead::Unknown => rows,
        });
    } else {
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a template of ours"));
        bar.set_message(said(step));
        bar.reset_elapsed();
        bar.enable_steady_tick(Duration::from_millis(100));
    }
}

fn said(step: Step<'_>) -> String {
    match step {
        Step::Deleting => "deleting what is there".to_owned(),
        Step::Rows(rows) => format!("rows: {rows}"),
        Step::Index { number, of, name } => format!("index {number} of {of}: {name}"),
        Step::Analyzing => "statistics".to_owned(),
        Step::Tidying => "stored; tidying up".to_owned(),
    }
}

impl Lines {
    /// A line at every step and, within the rows, at every tenth or every five seconds.
    fn line(&mut self, step: Step<'_>) -> Option<String> {
        let Step::Rows(rows) = step else { return Some(said(step)) };
        let now = Instant::now();
        let Some((last, told)) = self.told else {
            self.start = now;
            self.told = Some((now, 0));
            return None;
        };
        let is_due = match self.ahead {
            Ahead::Rows(count) => rows - told >= count / 10 || rows >= count,
            Ahead::File { .. } | Ahead::Unknown => false,
        };
        if !is_due && now - last < Duration::from_secs(5) {
            return None;
        }
        self.told = Some((now, rows));
        let elapsed = u64::try_from((now - self.start).as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (rows * 1000 / elapsed).max(1);
        Some(match &self.ahead {
            Ahead::Rows(count) => format!("rows: {rows} of {count}, {rate} a second, {} s left", (count - rows) / rate),
            Ahead::File { bytes, read } => {
                let part = read.load(Ordering::Relaxed) * 100 / (*bytes).max(1);
                format!("rows: {rows}, {rate} a second, {part} % of the file")
            }
            Ahead::Unknown => format!("rows: {rows}, {rate} a second"),
        })
    }
}
