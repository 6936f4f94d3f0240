//! What the search costs on long histories: `cargo test --release -p schism-checkers --lib measure -- --ignored --nocapture`.

use std::time::Instant;

use schism_history::Random;

use super::super::super::super::call::Call;
use super::super::super::super::testing::{Shape, simulate};
use super::toys::{QueueAction, RegisterAction, Running};
use super::*;

fn report<T: Toy>(name: &str, toy: &T, calls: &[Call<T::Action>]) {
    let start = Instant::now();
    let budget = Budget {
        deadline: start
            .checked_add(std::time::Duration::from_secs(20))
            .map(|end| (end, std::time::Duration::from_secs(20))),
        bytes: 4 << 30,
        ..Budget::UNLIMITED
    };
    let (decision, order, stats) = decide_and_order(toy, calls, budget);
    let seconds = start.elapsed().as_secs_f64();
    if let Some(order) = order {
        assert_eq!(replay(toy, calls, &order), Ok(()));
    }
    println!(
        "{name}: {} calls, {:?}, {seconds:.3} s, {} configurations, {:.1} MB",
        calls.len(),
        decision.answer,
        stats.configurations,
        stats.bytes as f64 / 1e6
    );
}

/// Five processes, `crash_percent` of unknown outcome.
fn long<T: Toy>(toy: &T, calls: usize, crash_percent: u64) -> Vec<Call<T::Action>> {
    let shape = Shape { calls, processes: 5, crash_percent, lie_percent: 0 };
    simulate(&mut Random::new(7, "measure"), &mut Running(toy, toy.initial()), shape)
}

#[test]
#[ignore = "a measurement"]
fn measure() {
    for calls in [1_000, 10_000, 100_000, 1_000_000] {
        let mut calls = long(&Register, calls, 0);
        report("register of 3 values", &Register, &calls);
        let stale = calls.iter().rposition(|call| matches!(call.action, RegisterAction::Read(_))).unwrap();
        calls[stale].action = RegisterAction::Read(7);
        report("register of 3 values, one lie at the end", &Register, &calls);
    }
    for calls in [1_000, 10_000] {
        report("register of 3 values, 1 % crashed", &Register, &long(&Register, calls, 1));
    }
    for calls in [1_000, 10_000, 100_000] {
        let queue = Queue { values: 5 };
        let mut calls = long(&queue, calls, 0);
        report("short queue of 5 values", &queue, &calls);
        let last = calls.iter().rposition(|call| matches!(call.action, QueueAction::Dequeue(_))).unwrap();
        calls[last].action = QueueAction::Dequeue(Some(9));
        report("short queue of 5 values, one lie at the end", &queue, &calls);
    }
    report(
        "short queue of 5 values, 1 % crashed",
        &Queue { values: 5 },
        &long(&Queue { values: 5 }, 1_000, 1),
    );
}
