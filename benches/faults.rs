//! How long a fault takes from the decision to the proof that it bites on all nodes, and from healing to the proof that it is
//! gone; and how long five nodes take to come up and go.
//!
//! Runs the real binary on the built-in demo system: `cargo bench --bench faults`. Each fault in the history carries the time
//! that the nemesis took for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const TEST: &str = "
name: fault latency
system: demo
cluster: { local: 5 }
workload: { register: { rate: 100/s, deadline: 1s } }
nemesis:
  every: 600ms
  duration: 300ms
  warm-up: 100ms
  faults:
    - partition: { shape: [halves, one, majorities-ring, bridge, one-way] }
    - kill: { targets: [all] }
    - pause: { targets: [all] }
time-limit: 30s
settle: 1s
seed: 1
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = tempfile::tempdir()?;
    std::fs::write(place.path().join("test.yaml"), TEST)?;
    let status = Command::new(env!("CARGO_BIN_EXE_schism"))
        .args(["run", "--quiet", "test.yaml"])
        .current_dir(place.path())
        .status()?;
    println!("exit {:?}", status.code());
    let run = place.path().join("runs/latest");
    let mut millis: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for line in std::fs::read_to_string(run.join("history.jsonl"))?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let (Some(phase), Some(took)) = (event["value"]["phase"].as_str(), event["value"]["millis"].as_f64())
        else {
            continue;
        };
        let kind = event["f"].as_str().unwrap_or_default().to_owned();
        millis.entry((kind, phase.to_owned())).or_default().push(took);
    }
    println!("{:<12} {:<9} {:>5} {:>9} {:>9} {:>9}", "fault", "phase", "count", "p50 ms", "p90 ms", "max ms");
    for ((kind, phase), mut took) in millis {
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
        println!(
            "{kind:<12} {phase:<9} {:>5} {:>9.1} {:>9.1} {:>9.1}",
            took.len(),
            at(0.5),
            at(0.9),
            at(1.0)
        );
    }
    print_timings(&run)
}

fn print_timings(run: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let results: Value = serde_json::from_slice(&std::fs::read(run.join("results.json"))?)?;
    for timing in results["timings"].as_array().into_iter().flatten() {
        println!(
            "{:<24} {:>8.3} s",
            timing["phase"].as_str().unwrap_or_default(),
            timing["seconds"].as_f64().unwrap_or(0.0)
        );
    }
    Ok(())
}
