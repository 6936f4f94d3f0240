//! The engine against the brute force, with every planted mistake, and against the search on longer histories.

use schism_history::{Random, ValueId, Values};

use super::super::super::budget::Budget;
use super::super::super::call::{Answer, Call, NEVER};
use super::super::super::models::register::{Action, Register};
use super::super::super::specification::Specification;
use super::super::super::testing::{Shape, Simulated, brute_force, jolt, simulate};
use super::super::just_in_time;
use super::clusters::{Analysis, Mistake};
use super::{decide, decide_with, order};

const MODEL: Register = Register { cas: true, initial: ValueId::NULL };

type Calls = Vec<Call<Action<ValueId>>>;

/// A register whose clients mostly write what was never written before.
struct Object {
    state: ValueId,
    written: i64,
    /// Of a hundred values, how many are old ones.
    repeat_percent: u64,
    cas_percent: u64,
    values: Values,
}

impl Object {
    fn new(random: &mut Random) -> Self {
        Self {
            state: ValueId::NULL,
            written: 0,
            repeat_percent: [0, 0, 0, 10][random.below(4) as usize],
            cas_percent: [0, 25, 50, 80][random.below(4) as usize],
            values: Values::new(),
        }
    }

    fn old(&mut self, random: &mut Random) -> ValueId {
        match random.below(self.written as u64 + 1) as i64 {
            0 if random.below(8) > 0 => ValueId::NULL,
            // Sometimes 0, which nobody ever writes.
            value => self.values.int(value).unwrap(),
        }
    }

    fn new_value(&mut self, random: &mut Random) -> ValueId {
        if random.below(100) < self.repeat_percent {
            return self.old(random);
        }
        self.written += 1;
        self.values.int(self.written).unwrap()
    }
}

impl Simulated<Register> for Object {
    type Request = Option<Action<ValueId>>;

    fn request(&mut self, random: &mut Random, _process: usize) -> Self::Request {
        let draw = random.below(100);
        if draw < self.cas_percent {
            let expected = if random.below(3) == 0 { self.old(random) } else { self.state };
            let new = if random.below(20) == 0 { expected } else { self.new_value(random) };
            return Some(Action::Cas(expected, new));
        }
        draw.is_multiple_of(2).then(|| Action::Write(self.new_value(random)))
    }

    fn perform(&mut self, _random: &mut Random, request: &Self::Request) -> Option<Action<ValueId>> {
        let action = request.unwrap_or(Action::Read(self.state));
        self.state = MODEL.step(&self.state, &action)?;
        Some(action)
    }

    fn crashed(&mut self, request: &Self::Request) -> Option<Action<ValueId>> {
        *request
    }

    fn lie(&mut self, random: &mut Random, action: Action<ValueId>) -> Action<ValueId> {
        match action {
            Action::Read(_) => Action::Read(self.old(random)),
            Action::Cas(_, new) => Action::Cas(self.old(random), new),
            Action::Write(_) => action,
        }
    }
}

fn history(random: &mut Random, shape: Shape) -> Calls {
    let mut object = Object::new(random);
    let mut calls = simulate(random, &mut object, shape);
    for _ in 0..[0, 2, 4, 8][random.below(4) as usize] {
        jolt(random, &mut calls);
    }
    calls
}

fn small(random: &mut Random) -> Calls {
    let calls = 4 + random.below(6) as usize;
    let shape = Shape { calls, ..Shape::draw(random, calls) };
    history(random, shape)
}

fn show(calls: &[Call<Action<ValueId>>]) -> String {
    calls.iter().map(|call| format!("{call:?}\n")).collect()
}

/// What is known up to a position: later returns are unknown outcomes.
fn prefix(calls: &[Call<Action<ValueId>>], horizon: u32) -> Calls {
    let known = calls.iter().filter(|call| call.invoked <= horizon);
    known
        .map(|call| Call { returned: if call.returned <= horizon { call.returned } else { NEVER }, ..*call })
        .filter(|call| call.is_required() || !matches!(call.action, Action::Read(_)))
        .collect()
}

fn replays(calls: &[Call<Action<ValueId>>], order: &[usize]) -> bool {
    let mut seen = vec![false; calls.len()];
    let mut state = MODEL.initial();
    // From behind, nothing may have returned before what is in front of it was invoked.
    let mut latest = 0;
    for index in order {
        let call = &calls[*index];
        if std::mem::replace(&mut seen[*index], true) || call.returned < latest {
            return false;
        }
        latest = latest.max(call.invoked);
        match MODEL.step(&state, &call.action) {
            Some(next) => state = next,
            None => return false,
        }
    }
    (0..calls.len()).all(|index| seen[index] || !calls[index].is_required())
}

#[test]
fn it_agrees_with_brute_force_and_explains_itself() {
    let mut random = Random::new(1, "zones");
    let (mut possible, mut impossible, mut ambiguous) = (0, 0, 0);
    let mut lengths = [0_u32; 10];
    for _ in 0..400_000 {
        let calls = small(&mut random);
        let Some(decision) = decide(&calls, Budget::visits(u64::MAX)) else {
            ambiguous += 1;
            continue;
        };
        let expected = brute_force(&MODEL, &calls);
        match decision.answer {
            Answer::Linearizable => {
                possible += 1;
                assert!(expected, "called possible:\n{}", show(&calls));
                let order = order(&calls).unwrap();
                assert!(replays(&calls, &order), "{order:?} of\n{}", show(&calls));
            }
            Answer::Impossible(found) => {
                impossible += 1;
                assert!(!expected, "called impossible:\n{}", show(&calls));
                let pattern: Calls = found.pattern.iter().map(|index| calls[*index]).collect();
                lengths[pattern.len()] += 1;
                assert!(!brute_force(&MODEL, &pattern), "{:?} of\n{}", found.pattern, show(&calls));
                assert!(found.pattern.contains(&found.culprit) && found.pattern.is_sorted());
                // Nothing is impossible for the lack of what was left out.
                let end = calls[found.culprit].returned;
                for call in pattern.iter().filter(|call| call.invoked < end) {
                    let Some(value) = call.action.observes().filter(|value| *value != ValueId::NULL) else {
                        continue;
                    };
                    let produces = |other: &Call<Action<ValueId>>| {
                        other.action.produces() == Some(value) && other.action.observes() != Some(value)
                    };
                    assert!(pattern.iter().any(produces) || !calls.iter().any(produces), "{}", show(&calls));
                }
                // It is the first call that has no place.
                assert!(!brute_force(&MODEL, &prefix(&calls, end)), "{found:?} of\n{}", show(&calls));
                assert!(brute_force(&MODEL, &prefix(&calls, end - 1)), "{found:?} of\n{}", show(&calls));
            }
            Answer::Unknown(..) => panic!("there was no limit"),
        }
    }
    println!("possible {possible}, impossible {impossible}, ambiguous {ambiguous}; patterns {lengths:?}");
    assert!(possible > 100_000 && impossible > 40_000, "{possible} {impossible} {ambiguous}");
    assert!((1..60_000).contains(&ambiguous), "{ambiguous}");
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed = vec![
        Mistake::ForwardMayOverlap,
        Mistake::BackwardMayBeInside,
        Mistake::ReadMayPrecedeWrite,
        Mistake::ChainForgetsReads,
        Mistake::InitialNeedNotBeFirst,
        Mistake::UnreadCrashedCounts,
        Mistake::CrashedCasObservesNothing,
        Mistake::CrashedInvocationIsForgotten,
        Mistake::CircleIsFine,
        Mistake::TwiceIsFine,
        Mistake::RepeatedIsDistinct,
        Mistake::CasIsNoLink,
    ];
    let mut random = Random::new(2, "zones");
    for _ in 0..100_000 {
        let calls = small(&mut random);
        let expected = brute_force(&MODEL, &calls);
        let mut analysis = Analysis::default();
        missed.retain(|mistake| {
            analysis.mistake = *mistake;
            let found = analysis.run(&calls, NEVER - 1);
            found == super::Finding::Ambiguous || (found == super::Finding::Consistent) == expected
        });
        if missed.is_empty() {
            return;
        }
    }
    panic!("the comparison does not notice {missed:?}");
}

#[test]
fn histories_of_any_shape_are_answered() {
    let id = |value| Values::new().int(value).unwrap();
    let call = |action, invoked, returned| Call { action, invoked, returned, source: 0 };
    let answer = |calls: &[Call<Action<ValueId>>]| decide_with(&mut Analysis::default(), calls);
    assert_eq!(answer(&[]), Some(Answer::Linearizable));
    assert_eq!(answer(&[call(Action::Write(id(1)), 0, 1)]), Some(Answer::Linearizable));
    // A value that nobody reads may be written twice, also by a compare-and-set, and null too.
    let null = ValueId::NULL;
    let twice = [
        call(Action::Write(id(1)), 0, 1),
        call(Action::Write(id(2)), 2, 3),
        call(Action::Cas(id(2), id(1)), 4, 5),
        call(Action::Write(null), 6, 7),
    ];
    assert_eq!(answer(&twice), Some(Answer::Linearizable));
    let read = [twice[0], twice[1], twice[2], call(Action::Read(id(1)), 6, 7)];
    assert_eq!(answer(&read), None);
    // Reads of many values that nobody wrote.
    let foreign: Calls =
        (0..1000).map(|at| call(Action::Read(id(i64::from(at))), 2 * at, 2 * at + 1)).collect();
    let Some(Answer::Impossible(found)) = answer(&foreign) else { panic!("{:?}", answer(&foreign)) };
    assert_eq!((found.culprit, found.pattern), (0, vec![0]));
    // A long chain of compare-and-sets, of which the last but one was read after the last.
    let mut chain: Calls = (0..50_000)
        .map(|at| {
            let from = if at == 0 { null } else { id(i64::from(at)) };
            call(Action::Cas(from, id(i64::from(at) + 1)), 2 * at, 2 * at + 1)
        })
        .collect();
    assert_eq!(answer(&chain), Some(Answer::Linearizable));
    assert!(replays(&chain, &order(&chain).unwrap()));
    chain.push(call(Action::Read(id(49_999)), 100_000, 100_001));
    let Some(Answer::Impossible(found)) = answer(&chain) else { panic!("a stale read was not noticed") };
    assert_eq!((found.culprit, found.pattern.len()), (50_000, 50_001));
}

#[test]
fn it_agrees_with_the_search_on_longer_histories() {
    let mut random = Random::new(3, "zones");
    let mut verdicts = [0_u32; 2];
    for round in 0..600 {
        let shape = Shape {
            calls: 50 + random.below(if round % 20 == 0 { 2000 } else { 300 }) as usize,
            processes: 2 + random.below(5) as usize,
            crash_percent: [0, 1, 4][random.below(3) as usize],
            lie_percent: 0,
        };
        let mut calls = history(&mut random, shape);
        for _ in 0..random.below(6) {
            jolt(&mut random, &mut calls);
            // What another one saw a little earlier or later.
            let at = random.below(calls.len() as u64) as usize;
            let other = (at + random.below(30) as usize).min(calls.len() - 1);
            if let (Action::Read(_), Action::Read(value)) = (calls[at].action, calls[other].action) {
                calls[at].action = Action::Read(value);
            }
        }
        let Some(decision) = decide(&calls, Budget::visits(u64::MAX)) else { continue };
        let expected = search(&calls);
        verdicts[usize::from(expected)] += 1;
        assert_eq!(decision.answer == Answer::Linearizable, expected, "{}", show(&calls));
        if expected {
            assert!(replays(&calls, &order(&calls).unwrap()), "{}", show(&calls));
        }
    }
    println!("{verdicts:?}");
    assert!(verdicts.iter().all(|count| *count > 50), "both verdicts must be common: {verdicts:?}");
}

/// What the just-in-time search says.
fn search(calls: &[Call<Action<ValueId>>]) -> bool {
    let decision = just_in_time::decide_calls(calls, ValueId::NULL, Budget::UNLIMITED);
    match decision.answer {
        Answer::Linearizable => true,
        Answer::Impossible(_) => false,
        Answer::Unknown(limit, _) => panic!("no limit was set, but {limit:?} ran out"),
    }
}
