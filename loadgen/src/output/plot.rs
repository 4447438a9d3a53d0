//! Plots as SVG, with colours as CSS variables so that one page serves light and dark.

use crate::histogram::quantile;
use hdrhistogram::Histogram;
use plotters::coord::ranged1d::{KeyPointHint, Ranged};
use plotters::prelude::*;
use std::ops::Range;

type Fault = Box<dyn std::error::Error>;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 380;
/// Stand-ins the page's variables replace.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
pub const SERIES_MAX: usize = 9;
const SERIES: [RGBColor; SERIES_MAX] = [
    RGBColor(11, 1, 1),
    RGBColor(12, 1, 1),
    RGBColor(13, 1, 1),
    RGBColor(14, 1, 1),
    RGBColor(15, 1, 1),
    RGBColor(16, 1, 1),
    RGBColor(17, 1, 1),
    RGBColor(18, 1, 1),
    RGBColor(19, 1, 1),
];

/// A named line.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Latency over quantiles, the tail stretched: every further nine has the same width.
pub fn percentiles(runs: &[(String, &Histogram<u64>)]) -> Result<String, Fault> {
    let lines: Vec<Line> = runs
        .iter()
        .map(|(name, histogram)| Line { name: name.clone(), points: tail_points(histogram) })
        .collect();
    let nines = span(&lines, |point| point.0).1.max(2.0);
    let (least, most) = span(&lines, |point| point.1);
    let axis = Log { low: least.max(0.1), high: most.max(1.0) };
    draw(&lines, Nines(nines), axis, "percentile", "latency, µs")
}

/// Values over seconds.
pub fn over_time(lines: &[Line], label: &str) -> Result<String, Fault> {
    let seconds = span(lines, |point| point.0).1.max(1.0);
    let (least, most) = span(lines, |point| point.1);
    let axis = Log { low: least.max(0.1), high: most.max(1.0) };
    draw(lines, Plain(0.0, seconds), axis, "seconds", label)
}

fn tail_points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for step in 0..=400 {
        let nines = f64::from(step) * 0.015;
        let share = 1.0 - 10f64.powf(-nines);
        let Some(nanos) = quantile(histogram, share) else { break };
        points.push((nines, nanos as f64 / 1e3));
    }
    points
}

fn span(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| line.points.iter().map(&of));
    values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)))
}

fn draw<X>(lines: &[Line], x: X, y: Log, x_label: &str, y_label: &str) -> Result<String, Fault>
where
    X: Axis + Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(text(14))
            .axis_desc_style(text(14))
            .x_desc(x_label)
            .y_desc(y_label)
            .draw()?;
        for (place, line) in lines.iter().enumerate() {
            let colour = SERIES[place % SERIES_MAX];
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        }
        root.present()?;
    }
    Ok(themed(&svg))
}

/// Lets the page choose colours, and lets the plot shrink with it.
fn themed(svg: &str) -> String {
    let mut text = svg.replace("#010101", "var(--ink)").replace("#020202", "var(--grid)");
    for place in 0..SERIES_MAX {
        text = text.replace(&format!("#{:02X}0101", 11 + place), &format!("var(--series-{place})"));
    }
    text.replacen(&format!("width=\"{WIDTH}\" height=\"{HEIGHT}\""), "role=\"img\"", 1)
}

trait Axis {}

/// Seconds, linear.
struct Plain(f64, f64);
/// Quantiles by their nines.
struct Nines(f64);
/// Decades.
struct Log {
    low: f64,
    high: f64,
}

impl Axis for Plain {}
impl Axis for Nines {}

impl Ranged for Plain {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        place((value - self.0) / (self.1 - self.0), limit)
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        let step = nice_step((self.1 - self.0) / 8.0);
        (0..=16).map(|count| self.0 + f64::from(count) * step).filter(|&at| at <= self.1 * 1.0001).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0..self.1
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Plain {
    fn format(value: &f64) -> String {
        format!("{value}")
    }
}

impl Ranged for Nines {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        place(value / self.0, limit)
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        let half = 0.5f64.log10().abs();
        [0.0, half, 1.0, 2.0, 3.0, 4.0, 5.0].into_iter().filter(|&at| at <= self.0 * 1.0001).collect()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.0
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Nines {
    fn format(value: &f64) -> String {
        let percent = 100.0 * (1.0 - 10f64.powf(-value));
        let text = format!("{percent:.4}");
        format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Ranged for Log {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (low, high) = self.bounds();
        let share = (value.max(low).ln() - low.ln()) / (high.ln() - low.ln());
        place(share, limit)
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        let (low, high) = self.bounds();
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(decade)))
            .filter(|&at| at >= low * 0.999 && at <= high * 1.001)
            .collect()
    }

    fn range(&self) -> Range<f64> {
        let (low, high) = self.bounds();
        low..high
    }
}

impl Log {
    /// A little more than the data, so that no line lies on the frame.
    fn bounds(&self) -> (f64, f64) {
        (self.low * 0.8, self.high * 1.25)
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Log {
    fn format(value: &f64) -> String {
        match *value {
            value if value >= 1e6 => format!("{}M", value / 1e6),
            value if value >= 1e4 => format!("{}k", value / 1e3),
            value => format!("{}", (value * 100.0).round() / 100.0),
        }
    }
}

fn place(share: f64, (from, to): (i32, i32)) -> i32 {
    from + (share.clamp(0.0, 1.0) * f64::from(to - from)).round() as i32
}

fn nice_step(rough: f64) -> f64 {
    let decade = 10f64.powf(rough.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * decade).find(|&step| step >= rough).unwrap_or(rough)
}
