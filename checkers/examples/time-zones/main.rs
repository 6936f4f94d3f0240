//! How long registers with distinct written values take: `cargo run --release -p schism-checkers --example time-zones`.
//!
//! Prints the best of a few runs, and how fast the time grows with the length: t ~ n^exponent.
//! Not a bench, as for these the tests inside the sources it includes would be compiled, too.

mod linearizable;

use std::hint::black_box;
use std::num::NonZeroU64;
use std::time::Instant;

use linearizable::budget::Budget;
use linearizable::call::{Answer, Call, NEVER};
use linearizable::engines::{versions, zones};
use linearizable::models::register::Action;
use linearizable::models::versioned_register::{Action as Versioned, Condition};
use schism_history::{Random, TooMany, ValueId, Values};

type Calls = Vec<Call<Action<ValueId>>>;

/// A linearizable run of one register: of ten operations five read, three write and two compare and set; one in a hundred is of unknown
/// outcome, half of which took effect. With `stale`, a read near the end saw what was written in the middle.
fn run(random: &mut Random, operations: usize, processes: u64, stale: bool) -> Result<Calls, TooMany> {
    let mut calls: Calls = Vec::with_capacity(operations);
    // Index of the open call of each process, and whether it took effect.
    let mut open: Vec<Option<(usize, bool)>> = vec![None; processes as usize];
    let (mut state, mut written, mut position, mut started) = (ValueId::NULL, 0, 0, 0);
    let mut values = Values::new();
    let mut old = ValueId::NULL;
    let mut failed = Vec::new();
    while started < operations || open.iter().any(Option::is_some) {
        let slot = random.below(processes) as usize;
        match open[slot] {
            None if started < operations => {
                let action = match random.below(10) {
                    0..5 => Action::Read(ValueId::NULL),
                    draw => {
                        written += 1;
                        let value = values.int(written)?;
                        if draw < 8 { Action::Write(value) } else { Action::Cas(state, value) }
                    }
                };
                open[slot] = Some((calls.len(), false));
                calls.push(Call { action, invoked: position, returned: NEVER, source: started as u32 });
                position += 1;
                started += 1;
            }
            None => {}
            Some((index, false)) => {
                let crashed = random.below(100) == 0;
                let happens = !crashed || random.below(2) == 0;
                let action = &mut calls[index].action;
                match action {
                    Action::Read(value) => *value = state,
                    Action::Write(value) if happens => state = *value,
                    Action::Cas(expected, value) if happens && *expected == state => state = *value,
                    Action::Cas(..) if happens => failed.push(index),
                    _ => {}
                }
                open[slot] = (!crashed).then_some((index, true));
            }
            Some((index, true)) => {
                calls[index].returned = position;
                // What was read by then was there by then, even if its write never returned.
                if let (Action::Read(value), true) = (calls[index].action, started <= operations / 2) {
                    old = value;
                }
                position += 1;
                open[slot] = None;
            }
        }
    }
    if stale {
        let reads = calls.iter_mut().rev().filter(|call| call.is_required());
        let mut reads = reads.filter(|call| matches!(call.action, Action::Read(_)));
        if let Some(read) = reads.nth(operations / 200) {
            read.action = Action::Read(old);
        }
    }
    // What failed or read without a result is no call.
    let mut refused = vec![false; calls.len()];
    failed.into_iter().for_each(|index| refused[index] = true);
    let mut refused = refused.into_iter();
    calls.retain(|call| {
        let refused = refused.next().unwrap_or_default();
        !refused && (call.is_required() || !matches!(call.action, Action::Read(_)))
    });
    Ok(calls)
}

/// Seconds for one of these histories: all are decided one after the other, since one alone would stay in the processor's
/// caches, as no history does that was just read. The best of some runs.
fn time(histories: &[Calls], possible: bool) -> f64 {
    let once = || {
        let started = Instant::now();
        for calls in histories {
            let decision = zones::decide(black_box(calls), Budget::visits(u64::MAX));
            let found = decision.map(|decision| decision.answer == Answer::Linearizable);
            assert_eq!(found, Some(possible), "a wrong verdict");
        }
        started.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(f64::INFINITY, f64::min) / histories.len() as f64
}

/// The same history with the numbers that a store would have given.
fn with_versions(calls: &[Call<Action<ValueId>>]) -> Vec<Call<Versioned>> {
    let mut made: Vec<Option<NonZeroU64>> = vec![None; calls.len()];
    let mut version = 0;
    for index in zones::order(calls).unwrap_or_default() {
        version += u64::from(calls[index].action.produces().is_some());
        made[index] = NonZeroU64::new(version);
    }
    let action = |index: usize| {
        let (condition, value) = match calls[index].action {
            Action::Read(value) => return Versioned::Read(value, made[index]),
            Action::Write(value) => (Condition::Always, value),
            Action::Cas(expected, value) => (Condition::Value(expected), value),
        };
        Versioned::Write { condition, value, version: made[index].filter(|_| calls[index].is_required()) }
    };
    let versioned = |(index, call): (usize, &Call<Action<ValueId>>)| Call {
        action: action(index),
        invoked: call.invoked,
        returned: call.returned,
        source: call.source,
    };
    calls.iter().enumerate().map(versioned).collect()
}

/// Operations of all histories of one length.
const TOTAL: usize = 1_000_000;

fn main() -> Result<(), TooMany> {
    let mut random = Random::new(1, "zones");
    for (processes, stale) in [(5, false), (5, true), (100, false), (100, true)] {
        let what = if stale { "one stale read" } else { "valid" };
        println!("one register, {processes} processes, {what}");
        let mut points = Vec::new();
        for operations in [100, 1_000, 10_000, 100_000, 1_000_000] {
            // With many at once on a short history, the middle is still open at the end.
            if stale && (operations as u64) < 100 * processes {
                continue;
            }
            let histories: Vec<Calls> = (0..TOTAL / operations)
                .map(|_| run(&mut random, operations, processes, stale))
                .collect::<Result<_, TooMany>>()?;
            let seconds = time(&histories, !stale);
            let (milliseconds, each) = (seconds * 1e3, seconds * 1e9 / operations as f64);
            println!("  {operations:8} operations: {milliseconds:9.3} ms, {each:6.1} ns each");
            points.push((operations as f64, seconds));
        }
        if let [(n, t), .., (m, u)] = points[..] {
            println!("  exponent {:.3}", (u / t).ln() / (m / n).ln());
        }
    }
    println!("one versioned register, 5 processes, valid");
    for operations in [1_000, 10_000, 100_000, 1_000_000] {
        let calls = with_versions(&run(&mut random, operations, 5, false)?);
        let started = Instant::now();
        let decision = versions::decide(&calls, Budget::visits(u64::MAX));
        let seconds = started.elapsed().as_secs_f64();
        let found = decision.map(|decision| decision.answer == Answer::Linearizable);
        assert_eq!(found, Some(true), "a wrong verdict");
        let (milliseconds, each) = (seconds * 1e3, seconds * 1e9 / operations as f64);
        println!("  {operations:8} operations: {milliseconds:9.3} ms, {each:6.1} ns each");
    }
    Ok(())
}
