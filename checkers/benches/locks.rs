//! How long the lock engines take for one lock: `cargo bench -p schism-checkers --bench locks`. The time should grow like the number of calls.

// With a harness of its own a bench is compiled with its tests, but has none.
#[allow(dead_code, unused_imports, missing_docs)]
#[path = "parts/linearizable.rs"]
mod linearizable;

use divan::Bencher;
use divan::counter::ItemsCount;
use schism_history::Random;

use linearizable::budget::Budget;
use linearizable::call::{Answer, Call, NEVER};
use linearizable::lock::{mutex, owned};
use linearizable::models::mutex::Action as Plain;
use linearizable::models::owner_lock::{Action, Owner};

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// The processes that want the lock.
const WIDTH: u64 = 10;

fn main() {
    divan::main();
}

/// One hold after the other; a process asks for the next one soon after its last. One release in a hundred is of unknown outcome, and
/// its process gets a new name.
fn holds(calls: u64) -> Vec<Call<Action>> {
    let mut random = Random::new(1, "locks");
    let mut ends: Vec<(u64, u32)> = Vec::new();
    let mut made: Vec<Call<Action>> = Vec::new();
    let mut names: Vec<u64> = (0..WIDTH).collect();
    let mut fresh = WIDTH;
    for hold in 0..calls / 2 {
        let process = (hold % WIDTH) as usize;
        let owner = Owner::Process(names[process]);
        // The lock is taken at `start` and free again at `start + 50`.
        let start = (hold + WIDTH) * 100;
        let crashes = random.below(100) == 0;
        for (action, invoked, returned) in [
            (Action::Acquire(owner, Some(hold as i64)), start - random.below(800), start + random.below(20)),
            (Action::Release(owner), start + 20 + random.below(30), start + 50 + random.below(100)),
        ] {
            let call = made.len() as u32;
            let crashed = crashes && matches!(action, Action::Release(_));
            made.push(Call { action, invoked: 0, returned: NEVER, source: call });
            ends.push((invoked, 2 * call));
            if !crashed {
                ends.push((returned, 2 * call + 1));
            }
        }
        if crashes {
            names[process] = fresh;
            fresh += 1;
        }
    }
    ends.sort_unstable();
    for (position, (_, end)) in ends.into_iter().enumerate() {
        let call = &mut made[end as usize / 2];
        let which = if end % 2 == 0 { &mut call.invoked } else { &mut call.returned };
        *which = position as u32;
    }
    made.sort_by_key(|call| call.invoked);
    made
}

fn anybody(calls: &[Call<Action>]) -> Vec<Call<Plain>> {
    let plain = calls.iter().map(|call| {
        let action = if matches!(call.action, Action::Acquire(..)) { Plain::Acquire } else { Plain::Release };
        Call { action, invoked: call.invoked, returned: call.returned, source: call.source }
    });
    plain.collect()
}

fn budget() -> Budget {
    Budget { deadline: None, bytes: usize::MAX, visits: u64::MAX }
}

#[divan::bench(args = SIZES)]
fn mutex(bencher: Bencher<'_, '_>, size: u64) {
    let calls = anybody(&holds(size));
    bencher.counter(ItemsCount::new(size)).bench_local(|| {
        let decision = mutex::decide(&calls, budget());
        assert!(decision.is_some_and(|decision| decision.answer == Answer::Linearizable));
    });
}

#[divan::bench(args = SIZES)]
fn owner_lock(bencher: Bencher<'_, '_>, size: u64) {
    let mut calls = holds(size);
    for call in &mut calls {
        if let Action::Acquire(_, token) = &mut call.action {
            *token = None;
        }
    }
    bencher.counter(ItemsCount::new(size)).bench_local(|| {
        let decision = owned::decide(&calls, false, budget());
        assert!(decision.is_some_and(|decision| decision.answer == Answer::Linearizable));
    });
}

#[divan::bench(args = SIZES)]
fn fenced_lock(bencher: Bencher<'_, '_>, size: u64) {
    let calls = holds(size);
    bencher.counter(ItemsCount::new(size)).bench_local(|| {
        let decision = owned::decide(&calls, false, budget());
        assert!(decision.is_some_and(|decision| decision.answer == Answer::Linearizable));
    });
}

/// In the middle of the history somebody gets the lock who should not.
#[divan::bench(args = SIZES)]
fn fenced_lock_given_twice(bencher: Bencher<'_, '_>, size: u64) {
    let mut calls = holds(size);
    let middle = calls.len() / 2;
    // Another owner's release comes after everything.
    let end = 3 * size as u32;
    let release = calls.iter_mut().skip(middle).find(|call| matches!(call.action, Action::Release(_)));
    if let Some(release) = release {
        let owner = release.action.owner();
        (release.invoked, release.returned) = (end, end + 1);
        // What the owner did afterwards is left out.
        let mut released = false;
        calls.retain(|call| {
            let keep = call.action.owner() != owner || !released;
            released |= call.invoked == end;
            keep
        });
        calls.sort_by_key(|call| call.invoked);
    }
    bencher.counter(ItemsCount::new(size)).bench_local(|| {
        let decision = owned::decide(&calls, false, budget());
        let Some(Answer::Impossible(found)) = decision.map(|decision| decision.answer) else {
            panic!("the lock was given twice")
        };
        assert!(!found.pattern.is_empty());
    });
}

#[divan::bench(args = SIZES)]
fn fenced_lock_order(bencher: Bencher<'_, '_>, size: u64) {
    let calls = holds(size);
    bencher.counter(ItemsCount::new(size)).bench_local(|| {
        assert!(owned::order(&calls, false).is_some_and(|order| order.len() == calls.len()));
    });
}
