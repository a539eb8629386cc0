//! Plots of what was measured: SVG files `bench-*.svg` in the target directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::spread::Spread;

/// Size of a plot and its margins, pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 70.0;

/// Of the programs, in the order of all tables.
const COLORS: [&str; 2] = ["#888888", "#c0392b"];

/// One program's line.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    /// Along and up.
    pub(crate) points: &'a [(f64, f64)],
}

/// One place on the axis, with a bar for each program that has numbers: its median, and a stroke from the lowest to the
/// highest.
pub(crate) struct Bars {
    /// Lines below the bars.
    pub(crate) label: Vec<String>,
    pub(crate) spreads: [Option<Spread>; 2],
}

/// Writes `bench-<file>.svg`: lines, whose axes begin at 0. `axes` are what is along and what is up.
pub(crate) fn lines(file: &str, title: &str, axes: [&str; 2], lines: &[Line]) {
    let points = || lines.iter().flat_map(|line| line.points);
    let right = nice(points().map(|point| point.0).fold(0.0, f64::max));
    let mut plot = Plot::new(title, axes, points().map(|point| point.1).fold(0.0, f64::max));
    plot.names(&lines.iter().map(|line| line.name).collect::<Vec<_>>());
    let along = |value: f64| LEFT + value / right * (WIDTH - LEFT - RIGHT);
    for step in 0..=5 {
        let value = right * f64::from(step) / 5.0;
        plot.text(along(value), HEIGHT - BOTTOM + 18.0, "middle", &number(value));
    }
    for (line, color) in lines.iter().zip(COLORS) {
        let path: Vec<String> =
            line.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", along(x), plot.up(y))).collect();
        plot.put(&format!(r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#, path.join(" ")));
        for &(x, y) in line.points {
            let (x, y) = (along(x), plot.up(y));
            plot.put(&format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{color}"/>"#));
        }
    }
    plot.write(file);
}

/// Writes `bench-<file>.svg`: groups of bars. `up` is what is up; `names` are the programs'.
pub(crate) fn bars(file: &str, title: &str, up: &str, names: [&str; 2], groups: &[Bars]) {
    let spreads = groups.iter().flat_map(|group| group.spreads.iter().flatten());
    let mut plot = Plot::new(title, ["", up], spreads.map(|spread| spread.high).fold(0.0, f64::max));
    plot.names(&names);
    let step = (WIDTH - LEFT - RIGHT) / groups.len() as f64;
    let width = step * 0.3;
    for (place, group) in groups.iter().enumerate() {
        let middle = LEFT + step * (place as f64 + 0.5);
        for (line, text) in group.label.iter().enumerate() {
            plot.text(middle, HEIGHT - BOTTOM + 18.0 + 14.0 * line as f64, "middle", text);
        }
        for ((spread, color), side) in group.spreads.iter().zip(COLORS).zip([-0.55, 0.55]) {
            let Some(Spread { low, median, high }) = *spread else { continue };
            let (x, top) = (middle + side * width, plot.up(median));
            plot.put(&format!(
                r#"<rect x="{:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}" fill="{color}"/>"#,
                x - width / 2.0,
                plot.up(0.0) - top
            ));
            plot.put(&format!(
                r#"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}" stroke="black"/>"#,
                plot.up(low),
                plot.up(high)
            ));
        }
    }
    plot.write(file);
}

/// A plot that is being drawn.
struct Plot {
    svg: String,
    /// Highest value that has a place.
    top: f64,
}

impl Plot {
    /// Title and axes. The upper one ends at a round number not below `highest`.
    fn new(title: &str, [along, up]: [&str; 2], highest: f64) -> Plot {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let mut plot = Plot { svg, top: nice(highest) };
        plot.put(&format!(r#"<text x="{LEFT}" y="22" font-size="15">{}</text>"#, escaped(title)));
        plot.text(LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 22.0, "middle", along);
        plot.text(LEFT - 8.0, TOP - 14.0, "end", up);
        for step in 0..=5 {
            let value = plot.top * f64::from(step) / 5.0;
            let (y, end) = (plot.up(value), WIDTH - RIGHT);
            plot.put(&format!(r##"<line x1="{LEFT}" y1="{y:.1}" x2="{end}" y2="{y:.1}" stroke="#dddddd"/>"##));
            plot.text(LEFT - 8.0, y + 4.0, "end", &number(value));
        }
        plot
    }

    /// Which colour is whose.
    fn names(&mut self, names: &[&str]) {
        for ((name, color), place) in names.iter().zip(COLORS).zip(0..) {
            let x = LEFT + 130.0 * f64::from(place);
            self.put(&format!(r#"<rect x="{x}" y="32" width="10" height="10" fill="{color}"/>"#));
            self.text(x + 15.0, 41.0, "start", name);
        }
    }

    /// Where a value is.
    fn up(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.put(&format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(text)));
    }

    fn put(&mut self, element: &str) {
        // A String takes everything.
        let _ = writeln!(self.svg, "{element}");
    }

    fn write(mut self, file: &str) {
        self.put("</svg>");
        let folder = folder();
        let path = folder.join(format!("bench-{file}.svg"));
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, self.svg));
        match written {
            Ok(()) => println!("plot: {}", path.display()),
            Err(error) => println!("no plot: {}: {error}", path.display()),
        }
    }
}

/// `CARGO_TARGET_DIR`, or `target/bench` of the repository.
fn folder() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench"))
}

/// The next of 1, 1.5, 2, 3, 4, 5, 7.5 and 10 times a power of ten.
fn nice(highest: f64) -> f64 {
    let highest = highest.max(1e-6);
    let power = 10_f64.powf(highest.log10().floor());
    let factors = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0];
    power * factors.into_iter().find(|factor| factor * power >= highest).unwrap_or(10.0)
}

/// With as many digits as a fifth of a round number needs.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
