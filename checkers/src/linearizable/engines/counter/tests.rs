use schism_history::Random;

use super::super::super::call::NEVER;
use super::super::super::models::counter::Counter;
use super::super::super::specification::Specification;
use super::super::super::testing::{Shape, Simulated, brute_force, jolt, simulate};
use super::*;

type Calls = Vec<Call<CounterAction>>;

/// How the amounts of a history are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amounts {
    /// All this.
    Equal(i64),
    /// All of one sign, and most are seen.
    Chain,
    Any,
}

struct Simulation {
    amounts: Amounts,
    /// Of ten operations, how many read.
    reads: u64,
    /// Of ten that add, how many see the value.
    seen: u64,
    value: i128,
}

impl Simulated<Counter> for Simulation {
    /// The amount, none for a read, and whether the value is asked for.
    type Request = (Option<i64>, bool);

    fn request(&mut self, random: &mut Random, _process: usize) -> Self::Request {
        if random.below(10) < self.reads {
            return (None, true);
        }
        let amount = match self.amounts {
            Amounts::Equal(amount) if random.below(12) > 0 => amount,
            Amounts::Equal(_) => 0,
            Amounts::Chain => 1 + random.below(3) as i64,
            Amounts::Any => random.below(5) as i64 - 2,
        };
        (Some(amount), random.below(10) < self.seen)
    }

    fn perform(&mut self, _random: &mut Random, request: &Self::Request) -> Option<CounterAction> {
        let before = self.value;
        self.value += i128::from(request.0.unwrap_or(0));
        Some(match *request {
            (None, _) => CounterAction::Read(before),
            (Some(delta), true) => CounterAction::Exchange { delta, before },
            (Some(delta), false) => CounterAction::Add(delta),
        })
    }

    fn crashed(&mut self, request: &Self::Request) -> Option<CounterAction> {
        request.0.map(CounterAction::Add)
    }

    fn lie(&mut self, random: &mut Random, action: CounterAction) -> CounterAction {
        let unit = match self.amounts {
            Amounts::Equal(amount) if random.below(8) > 0 => i128::from(amount),
            _ => 1,
        };
        let off = unit * (i128::from(random.below(5)) - 2);
        match action {
            CounterAction::Add(_) => action,
            CounterAction::Exchange { delta, before } => {
                CounterAction::Exchange { delta, before: before + off }
            }
            CounterAction::Read(value) => CounterAction::Read(value + off),
        }
    }
}

fn draw(random: &mut Random) -> (Amounts, Calls) {
    let amounts = match random.below(8) {
        0..5 => Amounts::Equal([1, 1, 2, -1, -3][random.below(5) as usize]),
        5 => Amounts::Chain,
        _ => Amounts::Any,
    };
    let mut shape = Shape::draw(random, 10);
    if amounts == Amounts::Chain && random.below(3) > 0 {
        shape.crash_percent = 0;
    }
    let seen = if amounts == Amounts::Chain { 10 } else { [0, 0, 3, 8][random.below(4) as usize] };
    let mut object = Simulation { amounts, reads: 1 + random.below(7), seen, value: 0 };
    let mut calls = simulate(random, &mut object, shape);
    for _ in 0..random.below(3) {
        jolt(random, &mut calls);
    }
    // Close together, and far apart as where the history has many objects.
    if random.below(2) == 0 {
        for call in &mut calls {
            call.invoked *= 1000;
            call.returned = if call.returned == NEVER { NEVER } else { call.returned * 1000 };
        }
    }
    (amounts, calls)
}

/// What had been known at the return of `end`.
pub(crate) fn truncate<A: Clone>(
    calls: &[Call<A>],
    end: usize,
    unknown: impl Fn(&A) -> Option<A>,
) -> Vec<Call<A>> {
    let end = calls[end].returned;
    let known = |call: &&Call<A>| call.invoked < end;
    let cut = |call: &Call<A>| {
        if call.returned <= end {
            return Some(call.clone());
        }
        Some(Call { action: unknown(&call.action)?, returned: NEVER, ..call.clone() })
    };
    calls.iter().filter(known).filter_map(cut).collect()
}

/// Whether an earlier return than that of the culprit leaves nothing that fits.
pub(crate) fn is_late<S: Specification>(
    model: &S,
    calls: &[Call<S::Action>],
    culprit: usize,
    unknown: impl Fn(&S::Action) -> Option<S::Action>,
) -> bool {
    let earlier = (0..calls.len()).filter(|end| calls[*end].returned < calls[culprit].returned);
    let mut cut = earlier.map(|end| truncate(calls, end, &unknown));
    cut.any(|calls| !brute_force(model, &calls))
}

/// The calls of a pattern, and what may have happened of the others.
pub(crate) fn alone<A: Clone>(
    calls: &[Call<A>],
    pattern: &[usize],
    others: impl Fn(&A) -> Option<A>,
) -> Vec<Call<A>> {
    let kept = |(index, call): (usize, &Call<A>)| match pattern.contains(&index) {
        true => Some(call.clone()),
        false => Some(Call { action: others(&call.action)?, returned: NEVER, ..call.clone() }),
    };
    calls.iter().enumerate().filter_map(kept).collect()
}

/// Whether the calls named come in an order that agrees with real time and that the model allows, and all required ones are named.
pub(crate) fn replays<S: Specification>(model: &S, calls: &[Call<S::Action>], order: &[usize]) -> bool {
    let mut named = vec![false; calls.len()];
    let mut latest_invocation = 0;
    let mut state = model.initial();
    for index in order {
        let call = &calls[*index];
        let next = model.step(&state, &call.action);
        let (false, Some(next)) = (std::mem::replace(&mut named[*index], true), next) else { return false };
        if call.returned < latest_invocation {
            return false;
        }
        latest_invocation = latest_invocation.max(call.invoked);
        state = next;
    }
    calls.iter().zip(named).all(|(call, named)| named || call.returned == NEVER)
}

fn unknown(action: &CounterAction) -> Option<CounterAction> {
    match action {
        CounterAction::Read(_) => None,
        _ => Some(CounterAction::Add(amount(action))),
    }
}

#[test]
fn agrees_with_trying_every_order() {
    let mut random = Random::new(7, "counter");
    let (mut passes, mut violations, mut left, mut patterns, mut late) = (0, 0, 0, 0, 0);
    for _ in 0..300_000 {
        let (amounts, calls) = draw(&mut random);
        let Some(decision) = decide(&calls, Budget::visits(0)) else {
            assert!(!matches!(amounts, Amounts::Equal(_)), "{calls:?}");
            left += 1;
            continue;
        };
        let fits = brute_force(&Counter, &calls);
        match decision.answer {
            Answer::Linearizable => {
                assert!(fits, "{calls:#?}");
                passes += 1;
                let order = order(&calls).unwrap();
                assert!(replays(&Counter, &calls, &order), "{order:?} {calls:#?}");
            }
            Answer::Impossible(found) => {
                assert!(!fits, "{calls:#?}");
                violations += 1;
                let until = truncate(&calls, found.culprit, unknown);
                assert!(!brute_force(&Counter, &until), "the culprit is too early: {found:?} {calls:#?}");
                if violations % 16 == 0 {
                    late += usize::from(is_late(&Counter, &calls, found.culprit, unknown));
                }
                if !found.pattern.is_empty() {
                    patterns += 1;
                    assert!(found.pattern.contains(&found.culprit), "{found:?} {calls:#?}");
                    assert!(found.pattern.is_sorted(), "{found:?}");
                    let by_itself = alone(&calls, &found.pattern, |_| None);
                    assert!(!brute_force(&Counter, &by_itself), "{found:?} {calls:#?}");
                    let with_others = alone(&calls, &found.pattern, unknown);
                    assert!(!brute_force(&Counter, &with_others), "{found:?} {calls:#?}");
                }
            }
            Answer::Unknown(..) => panic!("no budget is used"),
        }
    }
    println!("{passes} pass, {violations} do not ({patterns} with a pattern, {late} late), {left} left");
    assert!(passes > 50_000 && violations > 30_000 && patterns > 20_000 && left > 1_000 && left < 100_000);
    assert!(late < violations / 32);
}

#[test]
fn planted_mistakes_are_noticed() {
    for mistake in [
        Sabotage::LatestFirst,
        Sabotage::Eager,
        Sabotage::UnknownIsNever,
        Sabotage::RungsAreSteps,
        Sabotage::LookAtReturn,
        Sabotage::CompletesTwice,
    ] {
        let mut random = Random::new(8, "counter");
        let noticed = (0..20_000).any(|_| {
            let (_, calls) = draw(&mut random);
            let Some(solution) = solve(&calls, mistake) else { return false };
            match solution {
                Ok(order) => !replays(&Counter, &calls, &order),
                Err(_) => brute_force(&Counter, &calls),
            }
        });
        assert!(noticed, "{mistake:?} goes unnoticed");
    }
}

/// The pattern of two reads and the increments between them holds whatever else was added before: steps that nobody saw
/// change nothing about it.
#[test]
fn patterns_do_not_depend_on_what_is_left_out() {
    let add = |invoked, returned| Call { action: CounterAction::Add(1), invoked, returned, source: 0 };
    let read =
        |value, invoked, returned| Call { action: CounterAction::Read(value), invoked, returned, source: 0 };
    let calls = vec![add(0, 20), add(1, 2), read(2, 3, 4), add(5, 6), add(7, 9), add(8, 10), read(4, 11, 12)];
    let Some(Decision { answer: Answer::Impossible(found), .. }) = decide(&calls, Budget::visits(0)) else {
        panic!("passes");
    };
    assert_eq!(found, Contradiction { culprit: 6, pattern: vec![2, 3, 4, 5, 6] });
    let mut more: Calls = found.pattern.iter().map(|index| calls[*index]).collect();
    for call in &mut more {
        call.invoked += 10;
        call.returned += 10;
    }
    more.extend((0..8).map(|at| add(at, NEVER)));
    more.sort_by_key(|call| call.invoked);
    assert!(!brute_force(&Counter, &more));
}

#[test]
fn huge_values_and_empty_histories_are_decided() {
    assert_eq!(order(&[]), Some(vec![]));
    let call = |action| Call { action, invoked: 0, returned: 1, source: 0 };
    for action in [
        CounterAction::Read(i64::MAX.into()),
        CounterAction::Read(i64::MIN.into()),
        CounterAction::Exchange { delta: i64::MIN, before: i64::MAX.into() },
        CounterAction::Exchange { delta: 1, before: i64::MAX.into() },
        CounterAction::Exchange { delta: 1, before: u32::MAX.into() },
    ] {
        let answer = decide(&[call(action)], Budget::visits(0)).map(|decision| decision.answer);
        assert!(matches!(answer, Some(Answer::Impossible(_))), "{action:?}: {answer:?}");
    }
}
