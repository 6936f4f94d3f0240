//! How long the engines for sets, counters and logs take, and how that grows with the history:
//! `cargo bench -p schism-checkers --bench collections`.
//!
//! The engines are no public interface, so their sources are compiled into this program.

#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../src/linearizable"]
mod linearizable {
    pub mod budget;
    pub mod call;
    pub mod specification;
    pub mod testing;
    pub mod models {
        pub mod counter;
        pub mod log;
        pub mod set;
    }
    pub mod engines {
        pub mod counter;
        pub mod log;
        pub mod set;
    }
}

use std::time::{Duration, Instant};

use linearizable::budget::Budget;
use linearizable::call::{Answer, Call, Decision, NEVER};
use linearizable::engines;
use linearizable::models::counter::CounterAction;
use linearizable::models::log::{Lists, LogAction};
use linearizable::models::set::{Elements, SetAction};
use schism_history::{Random, ValueId, Values};

/// Operations of each history.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// A history of ten processes. `perform` carries an operation out and says what its action is if it returns, and if
/// it does not; one in `crashes` does not.
fn history<A>(
    calls: usize,
    crashes: u64,
    mut perform: impl FnMut(&mut Random) -> (A, Option<A>),
) -> Vec<Call<A>> {
    let mut random = Random::new(1, "collections");
    // When the open operation was invoked, and what it has done.
    let mut processes: Vec<Option<(u32, Option<A>)>> = (0..10).map(|_| None).collect();
    let mut done = Vec::with_capacity(calls);
    let mut position = 0;
    while done.len() < calls {
        let process = random.below(processes.len() as u64) as usize;
        let source = done.len() as u32;
        match processes[process].take() {
            None => {
                processes[process] = Some((position, None));
                position += 1;
            }
            Some((invoked, None)) => {
                let (known, unknown) = perform(&mut random);
                if random.below(crashes) > 0 {
                    processes[process] = Some((invoked, Some(known)));
                } else if let Some(action) = unknown {
                    done.push(Call { action, invoked, returned: NEVER, source });
                }
            }
            Some((invoked, Some(action))) => {
                done.push(Call { action, invoked, returned: position, source });
                position += 1;
            }
        }
    }
    done.extend(processes.into_iter().flatten().filter_map(|(invoked, action)| {
        Some(Call { action: action?, invoked, returned: position + invoked, source: 0 })
    }));
    done.sort_by_key(|call| call.invoked);
    done
}

fn number(values: &mut Values, number: i64) -> ValueId {
    values.int(number).unwrap_or(ValueId::NULL)
}

/// Adds, removals and questions, of so many elements.
fn set_by_element(calls: usize, elements: u64, says: bool) -> Vec<Call<SetAction>> {
    let mut values = Values::new();
    let mut present = vec![false; elements as usize];
    history(calls, 100, move |random| {
        let at = random.below(elements);
        let element = number(&mut values, at as i64);
        let bit = &mut present[at as usize];
        match random.below(3) {
            0 => {
                let changed = says.then_some(!*bit);
                *bit = true;
                (SetAction::Add(element, changed), Some(SetAction::Add(element, None)))
            }
            1 => {
                let changed = says.then_some(*bit);
                *bit = false;
                (SetAction::Remove(element, changed), Some(SetAction::Remove(element, None)))
            }
            _ => (SetAction::Contains(element, *bit), None),
        }
    })
}

/// Adds of ever new elements, and so many reads of everything, spread evenly.
fn set_with_reads(calls: usize, reads: usize) -> Vec<Call<SetAction>> {
    let mut values = Values::new();
    let mut all = Vec::new();
    let mut done = 0;
    history(calls, 100, move |_| {
        done += 1;
        if done % (calls / reads) == 0 {
            return (SetAction::Read(Elements::new(&all)), None);
        }
        let element = number(&mut values, done as i64);
        all.push(element);
        (SetAction::Add(element, None), Some(SetAction::Add(element, None)))
    })
}

fn counter(calls: usize, says: bool) -> Vec<Call<CounterAction>> {
    let mut value = 0;
    history(calls, 100, move |random| {
        if random.below(2) == 0 {
            return (CounterAction::Read(value), None);
        }
        value += 1;
        let known = CounterAction::Exchange { delta: 1, before: value - 1 };
        (if says { known } else { CounterAction::Add(1) }, Some(CounterAction::Add(1)))
    })
}

fn log(calls: usize, reads: usize) -> Vec<Call<LogAction>> {
    let (mut values, lists) = (Values::new(), Lists::default());
    let mut all = Vec::new();
    let mut done = 0;
    history(calls, 100, move |_| {
        done += 1;
        if done % (calls / reads) == 0 {
            // A name for the list is all that is needed.
            let name = values.str(&format!("list {done}")).unwrap_or(ValueId::NULL);
            let Some(list) = lists.list(name, &all) else { panic!("too many lists") };
            return (LogAction::Read(list), None);
        }
        let element = number(&mut values, done as i64);
        all.push(element);
        (LogAction::Append(element, None), Some(LogAction::Append(element, None)))
    })
}

/// Prints how long each size takes, and the exponent of the growth from the size before it.
fn measure<A>(
    name: &str,
    generate: impl Fn(usize) -> Vec<Call<A>>,
    decide: impl Fn(&[Call<A>]) -> Option<Decision>,
) {
    println!("{name}");
    let mut before: Option<Duration> = None;
    for size in SIZES {
        let calls = generate(size);
        let mut best = Duration::MAX;
        for _ in 0..(3_000_000 / size).clamp(3, 50) {
            let start = Instant::now();
            let answer = decide(&calls).map(|decision| decision.answer);
            best = best.min(start.elapsed());
            assert_eq!(answer, Some(Answer::Linearizable), "{name}");
        }
        let exponent = before.map(|before| (best.as_secs_f64() / before.as_secs_f64()).log10());
        let growth = exponent.map_or(String::new(), |exponent| format!("   growth exponent {exponent:.2}"));
        println!("  {size:>8} calls  {:>9.3} ms{growth}", best.as_secs_f64() * 1e3);
        before = Some(best);
    }
}

fn main() {
    let endless = Budget::visits(u64::MAX);
    let set = |calls: &[Call<SetAction>]| engines::set::decide(calls, endless);
    let count = |calls: &[Call<CounterAction>]| engines::counter::decide(calls, endless);
    measure("set, many elements", |n| set_by_element(n, n as u64 / 10, false), set);
    measure(
        "set, many elements, acknowledgements say what changed",
        |n| set_by_element(n, n as u64 / 10, true),
        set,
    );
    measure("set, ten elements", |n| set_by_element(n, 10, false), set);
    measure("set, one element", |n| set_by_element(n, 1, false), set);
    measure("set, one element, acknowledgements say what changed", |n| set_by_element(n, 1, true), set);
    measure("set, nothing removed, 20 reads of everything", |n| set_with_reads(n, 20), set);
    measure("counter", |n| counter(n, false), count);
    measure("counter, every increment sees the value", |n| counter(n, true), count);
    measure("log, 20 reads of everything", |n| log(n, 20), |calls| engines::log::decide(calls, endless));
    let calls = set_with_reads(20_000, 10_000);
    let start = Instant::now();
    assert_eq!(set(&calls).map(|decision| decision.answer), Some(Answer::Linearizable));
    println!(
        "set, 10,000 adds and 10,000 reads of everything: {:.3} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    let calls = log(20_000, 10_000);
    println!("log, 10,000 appends and 10,000 reads: {:.3} ms to number", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let answer = engines::log::decide(&calls, endless).map(|decision| decision.answer);
    assert_eq!(answer, Some(Answer::Linearizable));
    println!("  {:.3} ms to decide", start.elapsed().as_secs_f64() * 1e3);
}
