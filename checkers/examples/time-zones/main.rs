//! How long registers with distinct written values take: `cargo run --release -p schism-checkers --example time-zones`.
//!
//! Prints the best of a few runs, and how fast the time grows with the length: t ~ n^exponent.
//! Not a bench, as for these the tests inside the sources it includes would be compiled, too.

mod linearizable;

use std::hint::black_box;
use std::time::Instant;

use linearizable::budget::Budget;
use linearizable::call::{Answer, Call, NEVER};
use linearizable::engines::zones;
use linearizable::models::register::Action;
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
                if started == operations / 2 {
                    old = state;
                }
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

/// Seconds, the best of some runs.
fn time(calls: &Calls, possible: bool) -> f64 {
    let runs = (2_000_000 / calls.len().max(1)).clamp(3, 200);
    let once = || {
        let started = Instant::now();
        let decision = zones::decide(black_box(calls), Budget::visits(u64::MAX));
        let seconds = started.elapsed().as_secs_f64();
        let found = decision.map(|decision| decision.answer == Answer::Linearizable);
        assert_eq!(found, Some(possible), "a wrong verdict");
        seconds
    };
    (0..runs).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), TooMany> {
    let mut random = Random::new(1, "zones");
    for processes in [5, 100] {
        for stale in [false, true] {
            let what = if stale { "one stale read" } else { "valid" };
            let mut points = Vec::new();
            for operations in [1_000, 10_000, 100_000, 1_000_000] {
                let calls = run(&mut random, operations, processes, stale)?;
                let seconds = time(&calls, !stale);
                let each = seconds * 1e9 / operations as f64;
                println!(
                    "one register, {processes:3} processes, {what:14} {operations:8} operations: {:9.3} ms, {each:6.1} ns each",
                    seconds * 1e3
                );
                points.push((operations as f64, seconds));
            }
            let growth = |from: usize, to: usize| {
                let ((n, t), (m, u)) = (points[from], points[to]);
                (u / t).ln() / (m / n).ln()
            };
            println!("  exponent {:.3} over all, {:.3} over the last decade", growth(0, 3), growth(2, 3));
        }
    }
    let keys: Vec<Calls> =
        (0..10_000).map(|_| run(&mut random, 100, 5, false)).collect::<Result<_, TooMany>>()?;
    let once = || {
        let started = Instant::now();
        for calls in &keys {
            black_box(zones::decide(black_box(calls), Budget::visits(u64::MAX)));
        }
        started.elapsed().as_secs_f64()
    };
    let seconds = (0..5).map(|_| once()).fold(f64::INFINITY, f64::min);
    println!("10000 registers of 100 operations: {:.3} ms, {:.1} ns each", seconds * 1e3, seconds * 1e3);
    Ok(())
}
