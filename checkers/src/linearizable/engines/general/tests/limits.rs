//! Budgets, many open calls, long histories, and orders that are wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::super::super::super::budget::Exhausted;
use super::toys::{CounterAction, MapAction, QueueAction, RegisterAction, StackAction};
use super::*;

fn call<A>(action: A, invoked: u32, returned: u32) -> Call<A> {
    Call { action, invoked, returned, source: 0 }
}

/// So many writes of different values, all open at once, and a read of each value afterwards in reverse, which fits no order if there are
/// two or more: the last write is one only.
fn writes_at_once(width: u32, reads: impl Iterator<Item = u32>) -> Vec<Call<RegisterAction>> {
    let mut calls: Vec<_> =
        (0..width).map(|value| call(RegisterAction::Write(value), value, 2 * width - value)).collect();
    for (place, value) in (0..).zip(reads) {
        let start = 3 * width + 2 * place;
        calls.push(call(RegisterAction::Read(value), start, start + 1));
    }
    calls
}

#[test]
fn a_budget_ends_the_search_with_what_was_reached() {
    // Sixteen writes at once and no order: every subset of them is a way to begin.
    let calls = writes_at_once(16, [3, 4].into_iter());
    let end = |budget| search(&Register, &calls, budget, Reductions::ALL).0;
    assert!(matches!(end(Budget::UNLIMITED), Answer::Impossible(_)));
    assert_eq!(end(Budget::visits(1000)), Answer::Unknown(Exhausted::Visits, 17));
    let small = Budget { bytes: 20_000, ..Budget::UNLIMITED };
    assert_eq!(end(small), Answer::Unknown(Exhausted::Memory, 17));
    let late = Budget { deadline: Some((Instant::now(), Duration::ZERO)), ..Budget::UNLIMITED };
    assert_eq!(end(late), Answer::Unknown(Exhausted::Time, 0));
    let cancelled = Budget { cancelled: Some(Arc::new(AtomicBool::new(true))), ..Budget::UNLIMITED };
    assert_eq!(end(cancelled), Answer::Unknown(Exhausted::Cancelled, 0));
}

#[test]
fn no_budget_is_too_small() {
    let mut random = Random::new(4, "budgets");
    for _ in 0..3000 {
        let calls = toys::history(&Queue { values: 2 }, &mut random, 10);
        let expected = brute_force(&Queue { values: 2 }, &calls);
        let visits = Budget::visits(random.below(40));
        let bytes = Budget { bytes: random.below(800_000) as usize, ..Budget::UNLIMITED };
        for budget in [visits, bytes] {
            let (answer, order, _) = search(&Queue { values: 2 }, &calls, budget, Reductions::ALL);
            match answer {
                Answer::Linearizable => assert!(expected && order.is_some()),
                Answer::Impossible(_) => assert!(!expected),
                Answer::Unknown(_, done) => {
                    assert!(done <= calls.iter().filter(|call| call.is_required()).count());
                }
            }
        }
    }
}

#[test]
fn a_search_is_called_off_from_outside() {
    let calls = writes_at_once(40, [3, 4].into_iter());
    let flag = Arc::new(AtomicBool::new(false));
    let budget = Budget { cancelled: Some(Arc::clone(&flag)), ..Budget::UNLIMITED };
    let answer = std::thread::scope(|scope| {
        let search = scope.spawn(|| search(&Register, &calls, budget, Reductions::ALL).0);
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
        search.join().unwrap()
    });
    assert!(matches!(answer, Answer::Unknown(Exhausted::Cancelled, _)), "{answer:?}");
}

#[test]
fn thousands_of_calls_may_be_open_at_once() {
    for width in [32, 33, 64, 65, 500, 3000] {
        let calls = writes_at_once(width, std::iter::once(0));
        let (answer, order, _) = search(&Register, &calls, Budget::UNLIMITED, Reductions::ALL);
        assert_eq!(answer, Answer::Linearizable);
        assert_eq!(replay(&Register, &calls, &order.unwrap()), Ok(()));
    }
    for width in [32, 33, 64, 65, 500] {
        let calls = writes_at_once(width, std::iter::once(width));
        let budget = Budget::visits(3000);
        let (answer, ..) = search(&Register, &calls, budget, Reductions::ALL);
        assert_ne!(answer, Answer::Linearizable, "nobody wrote what was read");
    }
}

#[test]
fn thousands_of_calls_may_crash() {
    // Each crashed enqueue has another value, and those that are dequeued were crashed too.
    let mut calls: Vec<_> = (0..3000).map(|value| call(QueueAction::Enqueue(value), value, NEVER)).collect();
    for (place, value) in [2999, 0, 1500].into_iter().enumerate() {
        let start = 4000 + 2 * place as u32;
        calls.push(call(QueueAction::Dequeue(Some(value)), start, start + 1));
    }
    let queue = Queue { values: 3000 };
    let (answer, order, _) = search(&queue, &calls, Budget::UNLIMITED, Reductions::ALL);
    assert_eq!(answer, Answer::Linearizable);
    assert_eq!(replay(&queue, &calls, &order.unwrap()), Ok(()));
}

#[test]
fn a_million_calls_are_no_problem() {
    let mut calls = Vec::new();
    for round in 0..333_334_u32 {
        let (start, value) = (round * 6, round % 5);
        calls.push(call(RegisterAction::Write(value), start, start + 3));
        calls.push(call(RegisterAction::Write(value + 1), start + 1, start + 4));
        calls.push(call(RegisterAction::Read(value), start + 2, start + 5));
    }
    let (answer, order, stats) = search(&Register, &calls, Budget::UNLIMITED, Reductions::ALL);
    assert_eq!(answer, Answer::Linearizable);
    assert_eq!(replay(&Register, &calls, &order.unwrap()), Ok(()));
    assert!(stats.bytes < 200 << 20, "{stats:?}");
    // The last read sees what nobody wrote.
    calls.push(call(RegisterAction::Read(9), 3_000_000, 3_000_001));
    let (answer, ..) = search(&Register, &calls, Budget::UNLIMITED, Reductions::ALL);
    assert_eq!(answer, Answer::impossible(calls.len() - 1));
}

/// Long histories whose states differ for long by what was written at the same time: a search that takes up one order after the other
/// does not come to an end.
#[test]
fn orders_that_show_late_do_not_multiply() {
    let mut random = Random::new(9, "late");
    let few = |stats: Stats| assert!(stats.configurations < 100_000 && stats.bytes < 16 << 20, "{stats:?}");
    let mut sequence = Vec::new();
    // Nine of ten at first go in, and later nine of ten come out.
    for place in 0..2000 {
        let inserts = random.below(10) < if place < 1000 { 9 } else { 1 };
        sequence.push((inserts, random.below(3) as u32));
    }
    // Each is open while the next three are.
    let open = |place: usize| (2 * place as u32, 2 * place as u32 + 7);
    let (mut line, mut pile) = (VecDeque::new(), Vec::new());
    let (mut queue, mut stack) = (Vec::new(), Vec::new());
    for (place, (inserts, value)) in sequence.into_iter().enumerate() {
        let (invoked, returned) = open(place);
        if inserts {
            line.push_back(value);
            pile.push(value);
            queue.push(call(QueueAction::Enqueue(value), invoked, returned));
            stack.push(call(StackAction::Push(value), invoked, returned));
        } else {
            let (first, last) = (line.pop_front(), pile.pop());
            let (dequeue, pop) = match first.zip(last) {
                Some((first, last)) => (QueueAction::Dequeue(Some(first)), StackAction::Pop(Some(last))),
                None => (QueueAction::Empty, StackAction::Empty),
            };
            queue.push(call(dequeue, invoked, returned));
            stack.push(call(pop, invoked, returned));
        }
    }
    for lie in [false, true] {
        if lie {
            queue.push(call(QueueAction::Dequeue(Some(9)), 5000, 5001));
            stack.push(call(StackAction::Pop(Some(9)), 5000, 5001));
        }
        let culprit = queue.len() - 1;
        let expected = if lie { Answer::impossible(culprit) } else { Answer::Linearizable };
        let budget = || Budget::visits(1_000_000);
        let (answer, _, stats) = search(&Queue { values: 3 }, &queue, budget(), Reductions::ALL);
        assert_eq!(answer, expected);
        few(stats);
        let (answer, _, stats) = search(&Stack { values: 3 }, &stack, budget(), Reductions::ALL);
        assert_eq!(answer, expected);
        few(stats);
    }
}

#[test]
fn components_do_not_multiply() {
    // Of each key two values are put at once, and in the end the one is there that returned first. To undo the order of one key is
    // to undo all that came after it, unless the keys are searched one by one.
    let mut calls = Vec::new();
    for key in 0..40 {
        let start = 4 * key;
        calls.push(call(MapAction::Put(key, 0), start, start + 2));
        calls.push(call(MapAction::Put(key, 1), start + 1, start + 3));
    }
    for key in 0..40 {
        calls.push(call(MapAction::Get(key, Some(0)), 200 + 2 * key, 201 + 2 * key));
    }
    let map = Map { keys: true, whole: 0 };
    let (answer, order, _) = search(&map, &calls, Budget::visits(1000), Reductions::ALL);
    assert_eq!(answer, Answer::Linearizable);
    assert_eq!(replay(&map, &calls, &order.unwrap()), Ok(()));
    let together = Reductions { components: false, ..Reductions::ALL };
    let (answer, ..) = search(&map, &calls, Budget::visits(1000), together);
    assert!(matches!(answer, Answer::Unknown(Exhausted::Visits, _)), "{answer:?}");
    // The first culprit of all keys, though the search meets that of the first key before.
    calls[80].action = MapAction::Get(0, Some(2));
    calls.push(call(MapAction::Get(7, Some(2)), 190, 191));
    let (answer, ..) = search(&map, &calls, Budget::visits(1000), Reductions::ALL);
    assert_eq!(answer, Answer::impossible(calls.len() - 1));
}

#[test]
fn a_history_may_be_empty_or_all_crashed() {
    let none: [Call<CounterAction>; 0] = [];
    assert_eq!(decide(&Counter, &none, Budget::UNLIMITED).0.answer, Answer::Linearizable);
    let crashed = [call(CounterAction::Add(1), 0, NEVER), call(CounterAction::Add(2), 1, NEVER)];
    assert_eq!(order(&Counter, &crashed, Budget::UNLIMITED), Some(vec![]));
}

#[test]
fn replay_names_what_is_wrong_with_an_order() {
    let calls = [
        call(CounterAction::Add(1), 0, 1),
        call(CounterAction::Read(1), 2, 5),
        call(CounterAction::Add(1), 3, 4),
        call(CounterAction::Add(2), 6, NEVER),
    ];
    assert_eq!(replay(&Counter, &calls, &[0, 1, 2]), Ok(()));
    assert_eq!(replay(&Counter, &calls, &[0, 1, 2, 3]), Ok(()));
    let problem = |order: &[usize]| replay(&Counter, &calls, order).unwrap_err();
    assert_eq!(problem(&[0, 1]), "call 2 took effect and is not in the order");
    assert_eq!(problem(&[0, 1, 1, 2]), "call 1 is in the order twice");
    assert_eq!(problem(&[0, 2, 1]), "call 1 cannot happen at place 2");
    assert_eq!(
        problem(&[2, 0, 1]),
        "call 0 at place 1 returned before a call that comes earlier was invoked"
    );
    assert_eq!(problem(&[0, 1, 7]), "place 2 names call 7, and there are 4 calls");
}
