//! The picture of the whole run: fault lanes, rates and latencies on one time axis.
//!
//! Curves are SVG paths in a drawing of 1000 by 100 units that the page stretches to its width, with strokes that do not
//! stretch; everything with letters is HTML, placed in percent, so that it stays readable at any width.

use std::fmt::Write;

use serde::Serialize;

use super::format;
use super::{Data, Fault};

/// Faults drawn as bars.
const BARS_MAX: usize = 400;
/// Rows that faults of one kind may need when they overlap.
const ROWS_MAX: usize = 6;
/// Kinds of faults with a colour of their own; further ones start again.
const COLOURS: usize = 6;

/// The picture, ready for the template.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    /// Labels of the time axis.
    pub ticks: Vec<Tick>,
    /// One lane for each kind of fault.
    pub lanes: Vec<Lane>,
    /// Faults without a bar.
    pub bars_left_out: usize,
    /// Times with a fault in force, for the background of the panels.
    pub bands: Vec<Bar>,
    /// Where the violations are.
    pub marks: Vec<Mark>,
    /// The curves.
    pub panels: Vec<Panel>,
}

/// A labelled place on an axis, in percent from the left or from the top.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Lane {
    pub kind: String,
    pub colour: usize,
    pub rows: Vec<Vec<Bar>>,
}

/// A stretch of time, in percent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bar {
    pub left: f64,
    pub width: f64,
    pub colour: usize,
    /// The position of the fault in the table.
    pub fault: usize,
    pub label: String,
    pub title: String,
    /// Whether it was not seen to bite.
    pub toothless: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Mark {
    pub number: usize,
    pub left: f64,
    pub width: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Panel {
    pub id: &'static str,
    pub title: &'static str,
    pub note: String,
    /// In words what the picture shows.
    pub alt: String,
    pub ticks: Vec<Tick>,
    pub legend: Vec<Legend>,
    pub paths: Vec<Path>,
}

#[derive(Debug, Serialize)]
pub(super) struct Legend {
    pub class: &'static str,
    pub label: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Path {
    pub class: &'static str,
    pub d: String,
}

impl Chart {
    pub(super) fn of(data: &Data) -> Self {
        let scale = Scale { start: data.start, end: data.end };
        let (lanes, bars_left_out) = lanes(&data.results.faults, scale);
        let bands = lanes.iter().flat_map(|lane| lane.rows.iter().flatten().cloned()).collect();
        let mark = |evidence: &super::Evidence| {
            let left = scale.percent(evidence.window.0);
            Mark { number: evidence.number, left, width: scale.percent(evidence.window.1) - left }
        };
        Self {
            ticks: scale.ticks(),
            lanes,
            bars_left_out,
            bands,
            marks: data.evidence.iter().map(mark).collect(),
            panels: vec![succeeded(data, scale), troubled(data, scale), latency(data, scale)],
        }
    }
}

/// The time axis.
#[derive(Clone, Copy)]
struct Scale {
    start: u64,
    end: u64,
}

impl Scale {
    fn percent(self, time: u64) -> f64 {
        let share = time.clamp(self.start, self.end) - self.start;
        round(share as f64 / (self.end - self.start) as f64 * 100.0)
    }

    fn ticks(self) -> Vec<Tick> {
        let duration = (self.end - self.start) as f64 / 1e9;
        let step = nice(duration / 8.0);
        let decimals = if step < 1.0 { (-step.log10()).ceil() as usize } else { 0 };
        (0..)
            .map(|number| f64::from(number) * step)
            .take_while(|time| *time <= duration)
            .map(|time| Tick { at: round(time / duration * 100.0), label: format!("{time:.decimals$} s") })
            .collect()
    }
}

/// The next of 1, 2, 5, 10, … that is not below `least`.
fn nice(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power * 10.0)
}

/// Two decimals are a tenth of a pixel.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn lanes(faults: &[Fault], scale: Scale) -> (Vec<Lane>, usize) {
    let mut lanes: Vec<Lane> = Vec::new();
    for (position, fault) in faults.iter().enumerate().take(BARS_MAX) {
        let number = match lanes.iter().position(|lane| lane.kind == fault.kind) {
            Some(number) => number,
            None => {
                let colour = lanes.len() % COLOURS;
                lanes.push(Lane { kind: fault.kind.clone(), colour, rows: Vec::new() });
                lanes.len() - 1
            }
        };
        let lane = &mut lanes[number];
        let bar = bar(fault, position, lane.colour, scale);
        // The first row with room; beyond the last row bars lie on top of each other.
        let free =
            |row: &Vec<Bar>| row.last().is_none_or(|last: &Bar| last.left + last.width <= bar.left + 0.01);
        match lane.rows.iter().position(free) {
            Some(row) => lane.rows[row].push(bar),
            None if lane.rows.len() < ROWS_MAX => lane.rows.push(vec![bar]),
            None => lane.rows[ROWS_MAX - 1].push(bar),
        }
    }
    (lanes, faults.len().saturating_sub(BARS_MAX))
}

fn bar(fault: &Fault, position: usize, colour: usize, scale: Scale) -> Bar {
    let (from, to) = fault.window(scale.end);
    let left = scale.percent(from);
    let name = if fault.what.is_empty() { &fault.id } else { &fault.what };
    Bar {
        left,
        width: round(scale.percent(to) - left),
        colour,
        fault: position,
        label: format::clip(name, 120),
        title: format!(
            "{}: {}, {} to {}",
            fault.id,
            format::clip(name, 300),
            format::moment(from),
            fault.healed.map_or_else(|| "the end, never seen to heal".to_owned(), format::moment)
        ),
        toothless: fault.bit != Some(true),
    }
}

/// The vertical axis: from the bottom (100) up.
fn height(value: f64, top: f64) -> f64 {
    round(100.0 - value / top * 100.0)
}

fn rate_axis(max: f64) -> (f64, Vec<Tick>) {
    let step = nice((max / 3.0).max(0.3));
    let steps = (max / step).ceil().max(1.0);
    let top = steps * step * 1.04;
    let tick = |number: u32| {
        let value = f64::from(number) * step;
        let label =
            if step < 1.0 { format!("{value:.1}/s") } else { format!("{}/s", format::count(value as u64)) };
        Tick { at: height(value, top), label }
    };
    (top, (1..=steps as u32).map(tick).collect())
}

fn per_second(count: u64, (from, to): (u64, u64)) -> f64 {
    count as f64 * 1e9 / (to - from) as f64
}

fn max_rate(data: &Data, counts: &[&Vec<u64>]) -> f64 {
    let rate = |(bucket, count): (usize, &u64)| {
        per_second(*count, data.series.bounds(bucket, data.end - data.start))
    };
    counts.iter().flat_map(|counts| counts.iter().enumerate().map(rate)).fold(0.0, f64::max)
}

/// Counts in buckets as a rate per second: an area of steps with a line on top. Buckets without any are left out.
fn curve(counts: &[u64], data: &Data, scale: Scale, top: f64, [area, line]: [&'static str; 2]) -> Vec<Path> {
    let mut areas = String::new();
    let mut lines = String::new();
    let mut drawn = false;
    for (bucket, count) in counts.iter().enumerate() {
        if *count == 0 {
            drawn = false;
            continue;
        }
        let bounds = data.series.bounds(bucket, data.end - data.start);
        let y = height(per_second(*count, bounds), top);
        let [from, to] = [bounds.0, bounds.1].map(|time| round(scale.percent(scale.start + time) * 10.0));
        let _ = write!(areas, "M{from} 100V{y}H{to}V100Z");
        let command = if drawn { 'L' } else { 'M' };
        let _ = write!(lines, "{command}{from} {y}H{to}");
        drawn = true;
    }
    let mut paths = vec![Path { class: area, d: areas }, Path { class: line, d: lines }];
    paths.retain(|path| !path.d.is_empty());
    paths
}

fn bucket_note(data: &Data) -> String {
    format!("per second, in buckets of {}", format::duration(data.series.width))
}

fn succeeded(data: &Data, scale: Scale) -> Panel {
    let max = max_rate(data, &[&data.series.ok]);
    let (top, ticks) = rate_axis(max);
    let total: u64 = data.series.ok.iter().sum();
    Panel {
        id: "rate",
        title: "Succeeded",
        note: bucket_note(data),
        alt: format!(
            "Successful operations per second over time: {} in all, at most {} per second.",
            format::count(total),
            format::count(max.round() as u64)
        ),
        ticks,
        legend: vec![Legend { class: "ok", label: "ok" }],
        paths: curve(&data.series.ok, data, scale, top, ["area ok", "line ok"]),
    }
}

fn troubled(data: &Data, scale: Scale) -> Panel {
    let (fail, info) = (&data.series.fail, &data.series.info);
    let (top, ticks) = rate_axis(max_rate(data, &[fail, info]));
    let mut paths = curve(fail, data, scale, top, ["area fail", "line fail"]);
    paths.extend(curve(info, data, scale, top, ["area info", "line info"]));
    Panel {
        id: "trouble",
        title: "Failed or unknown",
        note: bucket_note(data),
        alt: format!(
            "Operations per second that did not succeed, over time: {} failed, {} of unknown outcome.",
            format::count(fail.iter().sum()),
            format::count(info.iter().sum())
        ),
        ticks,
        legend: vec![
            Legend { class: "fail", label: "failed" },
            Legend { class: "info", label: "unknown outcome" },
        ],
        paths,
    }
}

/// A logarithmic axis of whole decades.
#[derive(Clone, Copy)]
struct Decades {
    lowest: f64,
    highest: f64,
}

impl Decades {
    fn around(data: &Data) -> Self {
        let points = &data.series.points;
        let all = || [&points.ok, &points.fail, &points.info].into_iter().flatten().map(|point| point.1);
        let (min, max) = (all().min().unwrap_or(1_000_000), all().max().unwrap_or(1_000_000_000));
        let lowest = (min.max(1) as f64).log10().floor();
        // A little more than the slowest, so that its point is whole.
        let highest = (max.max(1) as f64 * 1.2).log10().ceil().max(lowest + 1.0);
        Self { lowest, highest }
    }

    fn height(self, latency: u64) -> f64 {
        height((latency.max(1) as f64).log10() - self.lowest, self.highest - self.lowest)
    }

    fn ticks(self) -> Vec<Tick> {
        let decades = (self.highest - self.lowest) as i32;
        let tick = |decade: i32| {
            let exponent = self.lowest as i32 + decade;
            let (unit, places) = match exponent {
                ..3 => ("ns", exponent),
                3..6 => ("µs", exponent - 3),
                6..9 => ("ms", exponent - 6),
                _ => ("s", exponent - 9),
            };
            let label = format!("{} {unit}", 10_u64.pow(places.max(0) as u32));
            Tick { at: round(100.0 - f64::from(decade) / f64::from(decades) * 100.0), label }
        };
        (0..=decades).map(tick).collect()
    }
}

fn latency(data: &Data, scale: Scale) -> Panel {
    let axis = Decades::around(data);
    let points = &data.series.points;
    let dots = |class, points: &[(u64, u64)]| {
        let mut d = String::new();
        for (time, latency) in points {
            let x = round(scale.percent(scale.start + time) * 10.0);
            let _ = write!(d, "M{x:.0} {:.1}h0", axis.height(*latency));
        }
        Path { class, d }
    };
    let line = |class, quantile: &[Option<u64>]| {
        let mut d = String::new();
        let mut drawn = false;
        for (bucket, latency) in quantile.iter().enumerate() {
            // Where nothing succeeded there is a gap.
            if let Some(latency) = latency {
                let (from, to) = data.series.bounds(bucket, scale.end - scale.start);
                let x = round(scale.percent(scale.start + from.midpoint(to)) * 10.0);
                let _ = write!(d, "{}{x} {}", if drawn { 'L' } else { 'M' }, axis.height(*latency));
            }
            drawn = latency.is_some();
        }
        Path { class, d }
    };
    let mut paths = vec![
        dots("dots ok", &points.ok),
        line("line p50", &data.series.p50),
        line("line p95", &data.series.p95),
        line("line p99", &data.series.p99),
        dots("dots fail", &points.fail),
        dots("dots info", &points.info),
    ];
    paths.retain(|path| !path.d.is_empty());
    Panel {
        id: "latency",
        title: "Latency",
        note: "logarithmic, by the time of invocation; percentiles of successful operations".to_owned(),
        alt: latency_alt(data),
        ticks: axis.ticks(),
        legend: vec![
            Legend { class: "p50", label: "p50" },
            Legend { class: "p95", label: "p95" },
            Legend { class: "p99", label: "p99" },
            Legend { class: "dot ok", label: "ok" },
            Legend { class: "dot fail", label: "failed" },
            Legend { class: "dot info", label: "unknown outcome" },
        ],
        paths,
    }
}

fn latency_alt(data: &Data) -> String {
    let names: Vec<String> = data
        .results
        .latencies
        .iter()
        .map(|latency| {
            let [p50, p99] = [latency.p50, latency.p99].map(format::duration);
            format!("{}: median {p50}, 99th percentile {p99}", latency.f)
        })
        .collect();
    format!("Latencies over time on a logarithmic scale. {}.", names.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_nice_steps_and_cover_everything() {
        assert_eq!([0.7, 1.0, 1.1, 3.0, 7.0, 70.0].map(nice), [1.0, 1.0, 2.0, 5.0, 10.0, 100.0]);
        for max in [0.0, 0.5, 1.0, 99.0, 1234.5, 1e7] {
            let (top, ticks) = rate_axis(max);
            assert!(top >= max && (1..=5).contains(&ticks.len()), "{max}: {top} {ticks:?}");
        }
        let ticks = Scale { start: 5, end: 60_000_000_005 }.ticks();
        assert_eq!(
            ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" "),
            "0 s 10 s 20 s 30 s 40 s 50 s 60 s"
        );
        assert!(Scale { start: 0, end: 1 }.ticks().len() <= 9);
    }

    #[test]
    fn overlapping_faults_lie_in_rows_of_their_own() {
        let fault = |kind: &str, from: u64, to: Option<u64>| Fault {
            id: format!("{kind}-{from}"),
            kind: kind.to_owned(),
            what: String::new(),
            targets: Vec::new(),
            inject: Some(from),
            injected: None,
            heal: None,
            healed: to,
            bit: Some(true),
            evidence: Vec::new(),
            gone: None,
            healed_evidence: Vec::new(),
            error: None,
        };
        let faults = [
            fault("kill", 10, Some(50)),
            fault("pause", 20, Some(30)),
            fault("kill", 40, None),
            fault("kill", 60, Some(70)),
        ];
        let (lanes, left_out) = lanes(&faults, Scale { start: 0, end: 100 });
        let rows: Vec<_> = lanes
            .iter()
            .map(|lane| {
                lane.rows.iter().map(|row| row.iter().map(|bar| bar.fault).collect()).collect::<Vec<Vec<_>>>()
            })
            .collect();
        assert_eq!(rows, [vec![vec![0, 3], vec![2]], vec![vec![1]]]);
        assert_eq!((lanes[0].rows[1][0].left, lanes[0].rows[1][0].width, left_out), (40.0, 60.0, 0));
    }
}
