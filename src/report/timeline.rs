//! The picture of a violation: a lane for each process, a bar from each invocation to its completion.
//!
//! The horizontal axis keeps the order of all beginnings and ends, and stretches short gaps at the cost of long ones:
//! operations of a millisecond must be visible beside pauses of a second, and what matters is who came before whom.

use serde::Serialize;

use super::format;
use super::{Data, Evidence, Fault, OperationRow};

/// Operations in one picture.
const BARS_MAX: usize = 60;
/// How much wider than the narrowest gap the widest one may be.
const STRETCH_MAX: f64 = 6.0;

/// One picture, ready for the template.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    /// Faults in force at the time.
    pub faults: Vec<Span>,
    /// One for each process.
    pub lanes: Vec<Lane>,
    /// Times on the axis.
    pub ticks: Vec<Tick>,
    /// The narrowest it may be drawn, in rem.
    pub width: f64,
    /// From the invocation of the impossible operation to its completion.
    pub focus: Option<Focus>,
    /// Operations without a bar.
    pub left_out: usize,
    /// In words what the picture shows.
    pub alt: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Lane {
    pub node: String,
    pub process: String,
    pub bars: Vec<Bar>,
}

/// One operation. Places are percent of the width.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub left: f64,
    pub width: f64,
    pub label: String,
    pub title: String,
    pub outcome: String,
    pub part: bool,
    pub culprit: bool,
    /// Where the label may begin and how far it may reach without meeting the next.
    pub label_left: f64,
    pub label_width: f64,
    /// Whether the label ends where the bar ends, because there is more room before the bar than after it.
    pub label_right: bool,
}

/// A fault in force.
#[derive(Debug, Serialize)]
pub(super) struct Span {
    pub left: f64,
    pub width: f64,
    pub label: String,
    pub fault: usize,
}

/// A stretch of the picture to look at.
#[derive(Debug, Serialize)]
pub(super) struct Focus {
    pub left: f64,
    pub width: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

impl Timeline {
    /// The contradiction alone.
    pub(super) fn of(evidence: &Evidence, data: &Data) -> Self {
        Self::draw(&evidence.operations, evidence, data)
    }

    /// The contradiction with the operations around it.
    pub(super) fn around(evidence: &Evidence, data: &Data) -> Self {
        Self::draw(&evidence.context, evidence, data)
    }

    fn draw(rows: &[OperationRow], evidence: &Evidence, data: &Data) -> Self {
        // Those of the contradiction have precedence.
        let mut shown: Vec<&OperationRow> = rows.iter().filter(|row| row.part).collect();
        shown.extend(rows.iter().filter(|row| !row.part));
        shown.truncate(BARS_MAX);
        shown.sort_by_key(|row| (row.invoked, row.index));
        let axis = Axis::of(&shown);
        let faults = || {
            evidence
                .faults
                .iter()
                .filter_map(|position| Some((*position, data.results.faults.get(*position)?)))
        };
        let lanes = lanes(&shown, &axis);
        let culprit = lanes.iter().flat_map(|lane| &lane.bars).find(|bar| bar.culprit);
        Self {
            focus: culprit.map(|bar| Focus { left: bar.left, width: bar.width }),
            faults: faults().map(|(position, fault)| axis.span(position, fault, data.end)).collect(),
            lanes,
            ticks: axis.ticks(),
            width: axis.width(),
            left_out: rows.len() - shown.len(),
            alt: alt(&shown, evidence),
        }
    }
}

/// The moments of the picture and their places.
struct Axis {
    times: Vec<u64>,
    places: Vec<f64>,
}

impl Axis {
    fn of(shown: &[&OperationRow]) -> Self {
        let mut times: Vec<u64> = shown.iter().map(|row| row.invoked).collect();
        times.extend(shown.iter().filter(|row| row.outcome != "info").filter_map(|row| row.completed));
        times.sort_unstable();
        times.dedup();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let least = gaps.iter().copied().fold(f64::INFINITY, f64::min);
        let weight = |gap: &f64| (gap / least).sqrt().min(STRETCH_MAX);
        let weights: Vec<f64> = gaps.iter().map(weight).collect();
        // Some room on both sides, more at the right, where unknown outcomes go on.
        let (before, after) = (2.0, 8.0);
        let sum: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut place = before;
        let mut places = vec![place];
        for weight in &weights {
            place += weight / sum * (100.0 - before - after);
            places.push(place);
        }
        Self { times, places }
    }

    /// The place of any moment; between two known ones in proportion.
    fn place(&self, time: u64) -> f64 {
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else { return 0.0 };
        if time < *first {
            return 0.0;
        }
        if time > *last {
            return 100.0;
        }
        let after = self.times.partition_point(|known| *known <= time);
        let before = after - 1;
        let place = match self.times.get(after) {
            None => self.places[before],
            Some(next) => {
                let share = (time - self.times[before]) as f64 / (next - self.times[before]) as f64;
                self.places[before] + share * (self.places[after] - self.places[before])
            }
        };
        round(place)
    }

    fn span(&self, position: usize, fault: &Fault, end: u64) -> Span {
        let (from, to) = fault.window(end);
        let left = self.place(from);
        let label = if fault.what.is_empty() { &fault.id } else { &fault.what };
        Span {
            left,
            width: round((self.place(to) - left).max(0.5)),
            label: format::clip(label, 120),
            fault: position,
        }
    }

    /// The narrowest the picture may be drawn, in rem.
    fn width(&self) -> f64 {
        (self.times.len() as f64 * 2.6).clamp(20.0, 240.0)
    }

    /// As many moments as have room.
    fn ticks(&self) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        // A label of ten letters, at the narrowest width.
        let room = 700.0 / self.width();
        for (time, place) in self.times.iter().zip(&self.places) {
            if ticks.last().is_none_or(|last| place - last.at >= room) {
                ticks.push(Tick { at: round(*place), label: format::moment(*time) });
            }
        }
        ticks
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn lanes(shown: &[&OperationRow], axis: &Axis) -> Vec<Lane> {
    let mut names: Vec<(&str, u64, &str)> = shown
        .iter()
        .map(|row| (row.node.as_str(), row.process.parse().unwrap_or(u64::MAX), row.process.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|(node, _, process)| {
            let own = |row: &&&OperationRow| row.node == node && row.process == process;
            let rows: Vec<&OperationRow> = shown.iter().filter(own).copied().collect();
            Lane { node: node.to_owned(), process: process.to_owned(), bars: bars(&rows, axis) }
        })
        .collect()
}

fn bars(rows: &[&OperationRow], axis: &Axis) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut taken = 0.0;
    for (number, row) in rows.iter().enumerate() {
        let left = axis.place(row.invoked);
        // An unknown outcome may take effect at any later time: its bar has no end.
        let right = match row.completed {
            Some(time) if row.outcome != "info" => axis.place(time),
            _ => 100.0,
        };
        let next = rows.get(number + 1).map_or(100.0, |next| axis.place(next.invoked));
        let (after, before) = (next - left, right - taken);
        let label_right = after < 25.0 && before > after;
        let (label_left, label_width) = if label_right { (taken, before) } else { (left, after) };
        taken = if label_right { right } else { left };
        bars.push(Bar {
            left,
            width: round(right - left),
            label: row.label.clone(),
            title: title(row),
            outcome: row.outcome.clone(),
            part: row.part,
            culprit: row.culprit,
            label_left: round(label_left),
            label_width: round(label_width.max(1.0)),
            label_right,
        });
    }
    bars
}

fn title(row: &OperationRow) -> String {
    let until = match (row.outcome.as_str(), row.completed) {
        ("ok", Some(time)) => format!("to {}", format::moment(time)),
        ("fail", Some(time)) => format!("failed at {}", format::moment(time)),
        _ => "outcome unknown".to_owned(),
    };
    format!(
        "{} by process {} at {}, {} {until}",
        row.full,
        row.process,
        row.node,
        format::moment(row.invoked)
    )
}

fn alt(shown: &[&OperationRow], evidence: &Evidence) -> String {
    let operations = format::counted(shown.len() as u64, "operation");
    let culprit = shown.iter().find(|row| row.culprit).map_or_else(String::new, |row| {
        format!(
            " The impossible one is {} at {}, invoked at {}.",
            row.label,
            row.node,
            format::moment(row.invoked)
        )
    });
    format!(
        "Timeline of {operations} behind violation {}.{culprit} The table below lists them.",
        evidence.number
    )
}
