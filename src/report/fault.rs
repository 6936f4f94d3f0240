//! Faults as the history tells them.
//!
//! The nemesis writes up to four events for each fault, all of process `nemesis`; the fault's kind is `f`, and the value is
//!
//! ```json
//! {"id":"partition-1","phase":"inject","targets":["n2"],"what":"isolate n2 from n1 and n3"}
//! {"id":"partition-1","phase":"injected","bit":true,"evidence":[{"node":"n1","seen":"dropped 12 packets from n2"}]}
//! {"id":"partition-1","phase":"heal"}
//! {"id":"partition-1","phase":"healed","evidence":[{"node":"n1","seen":"n2 answers"}]}
//! ```
//!
//! `"healed":false` in the last one says that something could not be undone. An `error` beside the value, or in it, is kept.
//! Events of other shapes are ignored: another tool's nemesis speaks differently.

use std::collections::HashMap;

use schism_history::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was seen of a fault on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The node.
    pub node: String,
    /// One clause: `dropped 12 packets from n2`.
    pub seen: String,
}

/// One fault of the run. Times are nanoseconds since the start of the run; a missing one did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name in this run, e.g. `partition-1`.
    pub id: String,
    /// Its kind, e.g. `partition`.
    pub kind: String,
    /// What it does, in words.
    pub what: String,
    /// The nodes it aims at.
    pub targets: Vec<String>,
    /// When it was decided.
    pub inject: Option<u64>,
    /// When it was in force and looked at.
    pub injected: Option<u64>,
    /// When healing began.
    pub heal: Option<u64>,
    /// When it was gone and looked at.
    pub healed: Option<u64>,
    /// Whether it was seen to bite; unknown when nobody looked.
    pub bit: Option<bool>,
    /// What was seen while it was in force.
    pub evidence: Vec<Seen>,
    /// Whether it was seen to be gone; unknown when nobody looked.
    pub gone: Option<bool>,
    /// What was seen after healing.
    pub healed_evidence: Vec<Seen>,
    /// What went wrong with it.
    pub error: Option<String>,
}

impl Fault {
    /// From when to when it was, or may have been, in force; `end` is the end of the history.
    pub fn window(&self, end: u64) -> (u64, u64) {
        let times = [self.inject, self.injected, self.heal, self.healed];
        let start = times.iter().flatten().min().copied().unwrap_or(end);
        (start, self.healed.unwrap_or(end).max(start))
    }
}

/// All faults, in the order in which they were decided.
pub(super) fn collect<'h>(events: impl Iterator<Item = &'h Event>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for event in events {
        let (Some(id), Some(phase)) = (text(&event.value, "id"), text(&event.value, "phase")) else {
            continue;
        };
        let position = *positions.entry(id).or_insert_with(|| {
            faults.push(Fault {
                id: id.to_owned(),
                kind: event.f.to_string(),
                what: String::new(),
                targets: Vec::new(),
                inject: None,
                injected: None,
                heal: None,
                healed: None,
                bit: None,
                evidence: Vec::new(),
                gone: None,
                healed_evidence: Vec::new(),
                error: None,
            });
            faults.len() - 1
        });
        update(&mut faults[position], phase, event);
    }
    faults
}

fn update(fault: &mut Fault, phase: &str, event: &Event) {
    let value = &event.value;
    if let Some(what) = text(value, "what") {
        fault.what = what.to_owned();
    }
    if let Some(Value::Array(targets)) = value.get("targets") {
        fault.targets = targets.iter().map(plain).collect();
    }
    if let Some(error) = event.error.as_ref().or_else(|| value.get("error")).filter(|error| !error.is_null())
    {
        fault.error = Some(plain(error));
    }
    match phase {
        "inject" => fault.inject = Some(event.time),
        "injected" => {
            fault.injected = Some(event.time);
            fault.bit = value.get("bit").and_then(Value::as_bool);
            fault.evidence = evidence(value);
        }
        "heal" => fault.heal = Some(event.time),
        "healed" => {
            fault.healed = Some(event.time);
            fault.gone = Some(value.get("healed").and_then(Value::as_bool).unwrap_or(true));
            fault.healed_evidence = evidence(value);
        }
        _ => {}
    }
}

fn evidence(value: &Value) -> Vec<Seen> {
    let Some(Value::Array(items)) = value.get("evidence") else { return Vec::new() };
    let seen = |item: &Value| Seen {
        node: text(item, "node").unwrap_or_default().to_owned(),
        seen: text(item, "seen").map_or_else(|| plain(item), str::to_owned),
    };
    items.iter().map(seen).collect()
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str)
}

/// A string as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
