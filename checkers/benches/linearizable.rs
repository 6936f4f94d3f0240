//! How long a verdict takes: `cargo bench -p schism-checkers`.

#[path = "../tests/support/run.rs"]
mod run;

use std::time::Duration;

use divan::Bencher;
use schism_checkers::Validity;
use schism_checkers::linearizable::{Model, Options, check};
use schism_history::{Event, Table};

fn main() {
    divan::main();
}

fn decide(bencher: Bencher<'_, '_>, events: &[Event], expected: Validity) {
    bencher.bench_local(|| {
        let Ok(table) = Table::from_events(events) else { panic!("the history cannot be paired") };
        let options =
            Options { time_budget: Some(Duration::from_secs(30)), ..Options::new(Model::CasRegister) };
        let result = check(&table, &options);
        assert_eq!(result.map(|result| result.validity), Ok(expected));
    });
}

/// A minute at 1,000 operations a second over rotating keys, one operation in a hundred of unknown outcome.
#[divan::bench(sample_count = 10)]
fn rotating_keys_60k(bencher: Bencher<'_, '_>) {
    decide(bencher, &run::run(1, 60_000, 10, 500), Validity::Pass);
}

#[divan::bench(sample_count = 3)]
fn rotating_keys_1m(bencher: Bencher<'_, '_>) {
    decide(bencher, &run::run(1, 1_000_000, 10, 100), Validity::Pass);
}

/// One key for the whole run, five workers, distinct values.
#[divan::bench(sample_count = 5)]
fn hot_register_100k(bencher: Bencher<'_, '_>) {
    decide(bencher, &run::run(1, 100_000, 5, u64::MAX), Validity::Pass);
}

/// One key for the whole run, twenty workers: the width of the search, not the length, is what costs.
#[divan::bench(sample_count = 3)]
fn wide_register_20k(bencher: Bencher<'_, '_>) {
    decide(bencher, &run::run(1, 20_000, 20, u64::MAX), Validity::Pass);
}

/// One stale read at the end of one key, with its evidence.
#[divan::bench(sample_count = 5)]
fn hot_register_100k_stale(bencher: Bencher<'_, '_>) {
    let mut events = run::run(1, 100_000, 5, u64::MAX);
    let mut reads =
        events.iter_mut().filter(|event| event.f == "read" && event.kind == schism_history::Kind::Ok);
    let early = reads.nth(1000).map(|event| event.value.clone());
    if let (Some(late), Some(early)) = (reads.next_back(), early) {
        late.value = early;
    }
    decide(bencher, &events, Validity::Violation);
}
