//! What it costs to judge a history while it grows: `cargo bench -p schism-checkers --bench live`.
//!
//! Events come at 10,000 operations a second of the history's own time, with ten looks a second, as fast as they can be taken.
//! Printed are the time per event, the longest look, and the most calls that were kept.

#[path = "../tests/support/run.rs"]
mod run;

use std::time::{Duration, Instant};

use schism_checkers::Validity;
use schism_checkers::linearizable::live::{Pace, live};
use schism_checkers::linearizable::{Model, Options};
use schism_history::{Builder, Event};

/// Events between two looks: a tenth of a second.
const LOOK_EVERY: usize = 2000;

fn measure(name: &str, events: &[Event]) {
    let (mut taking, mut looking, mut worst, mut most) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    let begun = Instant::now();
    let summary = live(&Options::new(Model::CasRegister), Builder::new(), &Pace::default(), |live| {
        for (number, events) in (1_u64..).zip(events.chunks(LOOK_EVERY)) {
            let begun = Instant::now();
            for event in events {
                assert!(live.event(event).is_ok());
            }
            taking += begun.elapsed();
            most = most.max(live.kept());
            let begun = Instant::now();
            assert!(live.look(Duration::from_millis(number * 100)).is_empty());
            looking += begun.elapsed();
            worst = worst.max(begun.elapsed());
        }
        live.finish()
    });
    assert_eq!(summary.map(|summary| summary.validity), Ok(Validity::Pass));
    let per_event = |time: Duration| time.as_nanos() / events.len() as u128;
    println!(
        "{name}: {} ns to take an event, {} ns to decide it, {worst:?} the longest look, {most} calls kept, {:?} in all",
        per_event(taking),
        per_event(looking),
        begun.elapsed(),
    );
}

fn main() {
    measure("rotating keys, 1,000,000 operations", &run::run(1, 1_000_000, 10, 500));
    measure("one hot key, 1,000,000 operations", &run::run(1, 1_000_000, 5, u64::MAX));
}
