//! The search against the brute force of `testing`, with every reduction on and off, and with every mistake of [`Sabotage`] made on purpose:
//! a comparison that would not notice a broken reduction proves nothing.

mod limits;
mod measure;
mod toys;

use std::fmt::Debug;

use schism_history::Random;

use super::super::super::call::NEVER;
use super::super::super::testing::brute_force;
use super::super::super::witness::replay;
use super::reductions::Sabotage;
use super::*;
use toys::{Bag, Counter, Map, Queue, Register, Stack, Toy};

/// Every reduction alone, all but each, none and all; and all with the rare paths taken always.
fn variants() -> Vec<Reductions> {
    let all = Reductions::ALL;
    let none = Reductions {
        observers_at_once: false,
        crashed_in_order: false,
        earliest_deadline_first: false,
        no_idle_crashed: false,
        no_useless_crashed: false,
        dominance: false,
        components: false,
        layers: false,
        helpers_first: false,
        ..all
    };
    let set: [fn(&mut Reductions) -> &mut bool; 8] = [
        |reductions| &mut reductions.observers_at_once,
        |reductions| &mut reductions.crashed_in_order,
        |reductions| &mut reductions.earliest_deadline_first,
        |reductions| &mut reductions.no_idle_crashed,
        |reductions| &mut reductions.no_useless_crashed,
        |reductions| &mut reductions.dominance,
        |reductions| &mut reductions.components,
        |reductions| &mut reductions.helpers_first,
    ];
    let mut variants = vec![
        none,
        Reductions { trim_always: true, ..all },
        Reductions { trim_always: true, ..none },
        Reductions { wide_always: true, ..all },
        Reductions { layers_always: true, ..all },
        Reductions { layers_always: true, layers: true, ..none },
        Reductions { wide_always: true, trim_always: true, ..none },
    ];
    for switch in set {
        let (mut with, mut without) = (none, all);
        *switch(&mut with) = true;
        *switch(&mut without) = false;
        variants.extend([with, without]);
    }
    variants
}

/// The history cut just before (or just after) a position: what returns later is of unknown outcome.
fn cut<A: Clone>(calls: &[Call<A>], position: u32, after: bool) -> Vec<Call<A>> {
    let mut calls: Vec<Call<A>> = calls.iter().filter(|call| call.invoked < position).cloned().collect();
    for call in &mut calls {
        if call.returned > position || (call.returned == position && !after) {
            call.returned = NEVER;
        }
    }
    calls
}

fn check<T: Toy>(toy: &T, calls: &[Call<T::Action>], reductions: Reductions, expected: bool)
where
    T::Action: Debug,
{
    let (answer, order, stats) = search(toy, calls, Budget::UNLIMITED, reductions);
    let context = || format!("{reductions:?}\n{calls:#?}");
    match answer {
        Answer::Linearizable => {
            assert!(expected, "no order fits: {}", context());
            match order {
                Some(order) => assert_eq!(replay(toy, calls, &order), Ok(()), "{}", context()),
                None => assert!(reductions.layers_always, "no order: {}", context()),
            }
        }
        Answer::Impossible(contradiction) => {
            assert!(!expected, "an order fits: {}", context());
            let end = calls[contradiction.culprit].returned;
            let before = cut(calls, end, false);
            assert!(brute_force(toy, &before), "an earlier call is impossible: {}", context());
            assert!(!brute_force(toy, &cut(calls, end, true)), "a later call is impossible: {}", context());
            let longest = longest_order(toy, calls, contradiction.culprit, Budget::UNLIMITED).unwrap();
            let kept: Vec<usize> = (0..calls.len()).filter(|index| calls[*index].invoked < end).collect();
            let longest: Vec<usize> =
                longest.iter().map(|index| kept.iter().position(|kept| kept == index).unwrap()).collect();
            assert_eq!(replay(toy, &before, &longest), Ok(()), "{}", context());
        }
        Answer::Unknown(..) => panic!("there was no limit: {}", context()),
    }
    assert!(stats.bytes > 0 && stats.configurations > 0);
}

fn compare<T: Toy>(toy: &T, name: &str, histories: usize, calls: usize)
where
    T::Action: Debug,
{
    let mut random = Random::new(1, name);
    let variants = variants();
    let mut verdicts = [0; 2];
    for round in 0..histories {
        let calls = toys::history(toy, &mut random, calls);
        let expected = brute_force(toy, &calls);
        verdicts[usize::from(expected)] += 1;
        check(toy, &calls, Reductions::ALL, expected);
        check(toy, &calls, variants[round % variants.len()], expected);
    }
    assert!(verdicts.iter().all(|count| *count > histories / 20), "both must be common: {verdicts:?}");
}

#[test]
fn registers_agree_with_brute_force() {
    compare(&Register, "register", 100_000, 8);
}

#[test]
fn queues_agree_with_brute_force() {
    compare(&Queue { values: 2 }, "queue", 40_000, 8);
    compare(&Queue { values: 5 }, "queue", 40_000, 9);
}

#[test]
fn bags_agree_with_brute_force() {
    compare(&Bag, "bag", 80_000, 8);
}

#[test]
fn counters_agree_with_brute_force() {
    compare(&Counter, "counter", 60_000, 9);
}

#[test]
fn maps_agree_with_brute_force() {
    compare(&Map { keys: false, whole: 1 }, "map", 60_000, 8);
}

#[test]
fn components_agree_with_brute_force() {
    for whole in [0, 1, 3] {
        compare(&Map { keys: true, whole }, "components", 40_000, 9);
    }
}

#[test]
fn stacks_agree_with_brute_force() {
    compare(&Stack { values: 2 }, "stack", 40_000, 9);
    compare(&Stack { values: 4 }, "stack", 40_000, 9);
}

/// Every history breadth first.
#[test]
fn layers_agree_with_brute_force() {
    let mut random = Random::new(6, "layers");
    let reductions = Reductions { layers_always: true, ..Reductions::ALL };
    for _ in 0..60_000 {
        let (queue, stack) = (Queue { values: 3 }, Stack { values: 3 });
        let calls = toys::history(&queue, &mut random, 9);
        check(&queue, &calls, reductions, brute_force(&queue, &calls));
        let calls = toys::history(&stack, &mut random, 9);
        check(&stack, &calls, reductions, brute_force(&stack, &calls));
    }
}

/// Whether the comparison sees that something is wrong.
fn is_noticed<T: Toy>(toy: &T, random: &mut Random, reductions: &[Reductions]) -> Vec<bool> {
    let calls = toys::history(toy, random, 9);
    let expected = brute_force(toy, &calls);
    let notices = |reductions: &Reductions| {
        let (answer, order, _) = search(toy, &calls, Budget::UNLIMITED, *reductions);
        let fits = order.is_none_or(|order| replay(toy, &calls, &order).is_ok());
        (answer == Answer::Linearizable) != expected || !fits
    };
    reductions.iter().map(notices).collect()
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed: Vec<Reductions> = Sabotage::ALL
        .iter()
        .map(|sabotage| Reductions {
            sabotage: *sabotage,
            layers_always: matches!(
                sabotage,
                Sabotage::OneOrderOnly | Sabotage::FewerCallsDominate | Sabotage::ReturnsUnmet
            ),
            trim_always: *sabotage == Sabotage::CutForgetsCrashed,
            ..Reductions::ALL
        })
        .collect();
    let mut random = Random::new(2, "sabotage");
    for round in 0..400_000 {
        let noticed = match round % 8 {
            0 => is_noticed(&Register, &mut random, &missed),
            1 => is_noticed(&Queue { values: 2 }, &mut random, &missed),
            2 => is_noticed(&Bag, &mut random, &missed),
            3 => is_noticed(&Counter, &mut random, &missed),
            4 => is_noticed(&Map { keys: false, whole: 1 }, &mut random, &missed),
            5 => is_noticed(&Stack { values: 2 }, &mut random, &missed),
            6 => is_noticed(&Map { keys: true, whole: 0 }, &mut random, &missed),
            _ => is_noticed(&Map { keys: true, whole: 2 }, &mut random, &missed),
        };
        let mut noticed = noticed.iter();
        missed.retain(|_| !noticed.next().unwrap());
        if missed.is_empty() {
            return;
        }
    }
    let missed: Vec<Sabotage> = missed.iter().map(|reductions| reductions.sabotage).collect();
    panic!("the comparison does not notice {missed:?}");
}
