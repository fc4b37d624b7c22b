//! Draws how the cost of the matrix grows with the catalog.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use plotters::prelude::*;

/// The queries of a kind on a catalog of so many images: the work of each, and the milliseconds.
type Costs = BTreeMap<(usize, u32), [Vec<f64>; 2]>;

/// Kinds of queries by their ranges, in colours that those who confuse some tell apart too.
const KINDS: [(&str, RGBColor); 3] =
    [("no range", RGBColor(0, 114, 178)), ("one range", RGBColor(0, 158, 115)), ("both ranges", RGBColor(213, 94, 0))];

/// Draws the tables of runs on catalogs of several sizes as an SVG: the worst and the median cost
/// of each kind of query.
///
/// # Errors
/// A file that is no such table, or that counts work otherwise than the others.
pub fn plot(picture: &Path, tables: &[PathBuf]) -> anyhow::Result<()> {
    let mut costs = Costs::new();
    let mut unit = None;
    for table in tables {
        let own = read(table, &mut costs).with_context(|| format!("{} cannot be drawn", table.display()))?;
        let unit = unit.get_or_insert_with(|| own.clone());
        ensure!(own == *unit, "{} counts {own}, those before it {unit}: draw each engine alone", table.display());
    }
    ensure!(!costs.is_empty(), "the files hold no query");
    draw(picture, &unit.context("there is no table")?, &costs)
        .map_err(|error| anyhow!("{} cannot be written: {error}", picture.display()))
}

/// Adds what a table holds, and gives what its work is counted in.
fn read(table: &Path, costs: &mut Costs) -> anyhow::Result<String> {
    let text = fs::read_to_string(table)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let place = |wanted| names.iter().position(|name| *name == wanted).with_context(|| format!("it has no {wanted}"));
    let places = [place("milliseconds")?, place("ranges")?, place("properties")?, place("images")?];
    let unit = names.get(1).context("it has one column")?;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [milliseconds, ranges, properties, images] =
            places.map(|place| cells.get(place).copied().unwrap_or_default());
        // As in the summary of a run.
        if properties.parse::<usize>()? < 2 {
            let [works, times] = costs.entry((ranges.parse()?, images.parse()?)).or_default();
            works.push(cells[1].parse()?);
            times.push(milliseconds.parse()?);
        }
    }
    Ok((*unit).to_owned())
}

fn draw(picture: &Path, unit: &str, costs: &Costs) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(picture, (1000, 480)).into_drawing_area();
    // Its own, because the page around it may be light or dark.
    area.fill(&WHITE)?;
    let (panels, legend) = area.split_vertically(440);
    for (measure, (panel, title)) in panels.split_evenly((1, 2)).iter().zip([unit, "milliseconds"]).enumerate() {
        let points = |kind, cost: fn(&[f64]) -> f64| -> Vec<(f64, f64)> {
            let of_kind = costs.iter().filter(|((ranges, _), _)| *ranges == kind);
            of_kind.map(|((_, images), costs)| (f64::from(*images), cost(&costs[measure]))).collect()
        };
        let lines = [0, 1, 2].map(|kind| (points(kind, worst), points(kind, median)));
        let all = || lines.iter().flat_map(|(worst, median)| worst.iter().chain(median));
        let mut chart = ChartBuilder::on(panel)
            .caption(title, ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(52)
            .build_cartesian_2d(
                decades(all().map(|(images, _)| *images)).log_scale(),
                decades(all().map(|(_, cost)| *cost)).log_scale(),
            )?;
        let mut mesh = chart.configure_mesh();
        // Fewer than would make room for more than the decades.
        mesh.x_labels(5).y_labels(9).max_light_lines(1);
        mesh.x_desc("images").x_label_formatter(&short).y_label_formatter(&short).label_style(("sans-serif", 14));
        mesh.draw()?;
        for ((_, colour), (worst, median)) in KINDS.into_iter().zip(lines) {
            let ends = worst.iter().chain(&median).map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(ends)?;
            chart.draw_series(LineSeries::new(worst, colour.stroke_width(2)))?;
            chart.draw_series(DashedLineSeries::new(median, 5, 4, colour.stroke_width(2)))?;
        }
    }
    for (left, (name, colour)) in (68..).step_by(150).zip(KINDS) {
        legend.draw(&PathElement::new([(left, 14), (left + 24, 14)], colour.stroke_width(2)))?;
        legend.draw(&Text::new(name, (left + 32, 7), ("sans-serif", 14)))?;
    }
    legend.draw(&Text::new("solid: the worst, dashed: the median", (568, 7), ("sans-serif", 14)))?;
    Ok(area.present()?)
}

/// The whole decades that hold all values, and enough beyond that both ends are labelled.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, LEAST), |(least, most), value| (least.min(value), most.max(value)));
    let first = least.log10().floor();
    10_f64.powf(first) / 1.03..10_f64.powf(most.log10().ceil().max(first + 1.0)) * 1.03
}

/// Stands for no time and no work, which have no logarithm.
const LEAST: f64 = 0.001;

fn worst(costs: &[f64]) -> f64 {
    costs.iter().copied().fold(LEAST, f64::max)
}

fn median(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2].max(LEAST)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the chart gives references")]
fn short(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => value.to_string(),
    }
}
