//! How far the filling is, on standard error: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::store::Step;

pub enum Progress {
    Bar(ProgressBar),
    Lines(Lines),
}

pub struct Lines {
    count: u64,
    start: Instant,
    told: Option<(Instant, u64)>,
}

impl Progress {
    pub fn new(count: u64) -> Self {
        if stderr().is_terminal() {
            Self::Bar(ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr()))
        } else {
            Self::Lines(Lines { count, start: Instant::now(), told: None })
        }
    }

    pub fn tell(&mut self, step: Step<'_>) {
        match self {
            Self::Bar(bar) => draw(bar, step),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(step) {
                    // Whether it is read or not, the filling goes on.
                    let _ = writeln!(stderr(), "{line}");
                }
            }
        }
    }

    /// Leaves the terminal as it was.
    pub fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn draw(bar: &ProgressBar, step: Step<'_>) {
    if let Step::Rows(rows) = step {
        if rows == 0 {
            let template = "rows {wide_bar} {human_pos} of {human_len}, {per_sec:0}, {eta} left";
            bar.disable_steady_tick();
            bar.set_style(ProgressStyle::with_template(template).expect("a template of ours"));
            bar.reset();
        }
        bar.set_position(rows);
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
        if rows - told < self.count / 10 && rows < self.count && now - last < Duration::from_secs(5) {
            return None;
        }
        self.told = Some((now, rows));
        let elapsed = u64::try_from((now - self.start).as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (rows * 1000 / elapsed).max(1);
        let left = (self.count - rows) / rate;
        Some(format!("rows: {rows} of {}, {rate} a second, {left} s left", self.count))
    }
}
