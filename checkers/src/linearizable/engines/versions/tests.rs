//! The engine against the brute force.

use std::num::NonZeroU64;

use schism_history::{Random, ValueId, Values};

use super::super::super::budget::Budget;
use super::super::super::call::{Answer, Call, NEVER};
use super::super::super::models::versioned_register::{Action, Condition, Version, VersionedRegister};
use super::super::super::specification::Specification;
use super::super::super::testing::{Shape, Simulated, brute_force, jolt, simulate};
use super::analysis::{Finding, analyse};
use super::{MISTAKE, Mistake, decide, order};

type Calls = Vec<Call<Action>>;

fn number(version: u64) -> Version {
    NonZeroU64::new(version)
}

/// A store: one key of it, while others take versions, too.
struct Store {
    value: ValueId,
    version: u64,
    revision: u64,
    /// What was read last.
    seen: (ValueId, u64),
    /// Whether clients expect only what was read before, and not what they cannot know.
    honest: bool,
    written: i64,
    repeat_percent: u64,
    silent_percent: u64,
    delete_percent: u64,
    step: u64,
    values: Values,
}

impl Store {
    fn new(random: &mut Random) -> Self {
        Self {
            value: ValueId::NULL,
            version: 0,
            revision: random.below(3),
            seen: (ValueId::NULL, 0),
            honest: random.below(2) == 0,
            written: 0,
            repeat_percent: [0, 0, 10, 40][random.below(4) as usize],
            silent_percent: [0, 0, 20, 50][random.below(4) as usize],
            delete_percent: [0, 0, 0, 5][random.below(4) as usize],
            step: 1 + random.below(3),
            values: Values::new(),
        }
    }

    fn old(&mut self, random: &mut Random) -> ValueId {
        match random.below(self.written as u64 + 1) as i64 {
            0 => ValueId::NULL,
            value => self.values.int(value).unwrap(),
        }
    }
}

impl Simulated<VersionedRegister> for Store {
    type Request = Option<Action>;

    fn request(&mut self, random: &mut Random, _process: usize) -> Self::Request {
        if random.below(100) < self.delete_percent {
            return Some(Action::Delete);
        }
        let (value, version) = if self.honest { self.seen } else { (self.value, self.version) };
        let condition = match random.below(8) {
            0..3 => return None,
            3..6 => Condition::Always,
            6 if !self.honest && random.below(3) == 0 => Condition::Value(self.old(random)),
            6 => Condition::Value(value),
            _ => Condition::Version(number(version)),
        };
        if self.written == 0 || random.below(100) >= self.repeat_percent {
            self.written += 1;
        }
        let value = self.values.int(self.written).unwrap();
        Some(Action::Write { condition, value, version: None })
    }

    fn perform(&mut self, random: &mut Random, request: &Self::Request) -> Option<Action> {
        self.revision += random.below(self.step);
        match *request {
            None => {
                self.seen = (self.value, self.version);
                Some(Action::Read(self.value, number(self.version)))
            }
            Some(Action::Delete) => {
                (self.value, self.version) = (ValueId::NULL, 0);
                Some(Action::Delete)
            }
            Some(Action::Write { condition, value, .. }) => {
                let happens = match condition {
                    Condition::Always => true,
                    Condition::Value(value) => value == self.value,
                    Condition::Version(version) => version == number(self.version),
                };
                if !happens {
                    return None;
                }
                self.revision += 1;
                (self.value, self.version) = (value, self.revision);
                let silent = random.below(100) < self.silent_percent;
                let version = if silent { None } else { number(self.version) };
                Some(Action::Write { condition, value, version })
            }
            Some(Action::Read(..)) => None,
        }
    }

    fn crashed(&mut self, request: &Self::Request) -> Option<Action> {
        *request
    }

    fn lie(&mut self, random: &mut Random, action: Action) -> Action {
        let near =
            |random: &mut Random, version: u64| number((version + random.below(4)).saturating_sub(2).max(1));
        match action {
            Action::Read(value, Some(version)) if random.below(3) == 0 => {
                Action::Read(value, near(random, version.get()))
            }
            Action::Read(..) if random.below(3) == 0 => Action::Read(ValueId::NULL, None),
            Action::Read(_, Some(version)) => match self.old(random) {
                ValueId::NULL => action,
                value => Action::Read(value, Some(version)),
            },
            Action::Write { condition, value, version: Some(version) } => {
                Action::Write { condition, value, version: near(random, version.get()) }
            }
            Action::Write { value, version, .. } if random.below(2) == 0 => {
                Action::Write { condition: Condition::Value(self.old(random)), value, version }
            }
            _ => action,
        }
    }
}

fn small(random: &mut Random) -> Calls {
    let calls = 3 + random.below(6) as usize;
    let shape = Shape { calls, ..Shape::draw(random, calls) };
    let mut store = Store::new(random);
    let mut calls = simulate(random, &mut store, shape);
    for _ in 0..[0, 2, 4, 8][random.below(4) as usize] {
        jolt(random, &mut calls);
    }
    calls
}

fn show(calls: &[Call<Action>]) -> String {
    calls.iter().map(|call| format!("{call:?}\n")).collect()
}

fn prefix(calls: &[Call<Action>], horizon: u32) -> Calls {
    let known = calls.iter().filter(|call| call.invoked <= horizon).copied();
    let known = known.filter_map(|call| match call.action {
        _ if call.returned <= horizon => Some(call),
        Action::Read(..) => None,
        Action::Write { condition, value, .. } => {
            let action = Action::Write { condition, value, version: None };
            Some(Call { action, returned: NEVER, ..call })
        }
        Action::Delete => Some(Call { returned: NEVER, ..call }),
    });
    known.collect()
}

fn replays(calls: &[Call<Action>], order: &[usize]) -> bool {
    let mut seen = vec![false; calls.len()];
    let mut state = VersionedRegister.initial();
    let mut latest = 0;
    for index in order {
        let call = &calls[*index];
        if std::mem::replace(&mut seen[*index], true) || call.returned < latest {
            return false;
        }
        latest = latest.max(call.invoked);
        match VersionedRegister.step(&state, &call.action) {
            Some(next) => state = next,
            None => return false,
        }
    }
    (0..calls.len()).all(|index| seen[index] || !calls[index].is_required())
}

#[test]
fn it_agrees_with_brute_force_and_explains_itself() {
    let mut random = Random::new(1, "versions");
    let (mut possible, mut impossible, mut ambiguous) = (0, 0, 0);
    let (mut lengths, mut late) = ([0_u32; 10], 0);
    for _ in 0..400_000 {
        let calls = small(&mut random);
        let Some(decision) = decide(&calls, Budget::visits(u64::MAX)) else {
            ambiguous += 1;
            continue;
        };
        let expected = brute_force(&VersionedRegister, &calls);
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
                let end = calls[found.culprit].returned;
                assert!(
                    !brute_force(&VersionedRegister, &prefix(&calls, end)),
                    "{found:?} of\n{}",
                    show(&calls)
                );
                late += u32::from(!brute_force(&VersionedRegister, &prefix(&calls, end - 1)));
                lengths[found.pattern.len()] += 1;
                if found.pattern.is_empty() {
                    continue;
                }
                let pattern: Calls = found.pattern.iter().map(|index| calls[*index]).collect();
                assert!(!brute_force(&VersionedRegister, &pattern), "{found:?} of\n{}", show(&calls));
                assert!(found.pattern.contains(&found.culprit) && found.pattern.is_sorted());
                // Nothing is impossible for the lack of what was left out: who made a version that was seen, or all that
                // can have.
                let missing = || (0..calls.len()).filter(|index| !found.pattern.contains(index));
                for call in &pattern {
                    let (value, seen) = match call.action {
                        Action::Read(value, Some(seen)) => (Some(value), seen),
                        Action::Write { condition: Condition::Version(Some(seen)), .. } => (None, seen),
                        _ => continue,
                    };
                    let makes = |other: &Call<Action>| matches!(other.action, Action::Write { version: Some(made), .. } if made == seen);
                    let writes = |other: &Call<Action>| matches!(other.action, Action::Write { value: other, .. } if Some(other) == value);
                    let no_maker = pattern.iter().any(makes) || !calls.iter().any(makes);
                    let no_writer = value.is_some() && !missing().any(|index| writes(&calls[index]));
                    assert!(no_maker || no_writer, "{found:?} of\n{}", show(&calls));
                }
            }
            Answer::Unknown(..) => panic!("there was no limit"),
        }
    }
    println!(
        "possible {possible}, impossible {impossible}, ambiguous {ambiguous}; late {late}; patterns {lengths:?}"
    );
    assert!(possible > 100_000 && impossible > 40_000, "{possible} {impossible} {ambiguous}");
    assert!((1..100_000).contains(&ambiguous), "{ambiguous}");
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed = vec![
        Mistake::RealTimeIsFree,
        Mistake::ValuesMayDiffer,
        Mistake::SourceServesTwice,
        Mistake::OneSourceOfManyWillDo,
        Mistake::VersionMayBeMadeTwice,
        Mistake::ConditionIsFree,
        Mistake::ValueConditionForgetsUnknown,
        Mistake::ConditionalWriteMayBeTornOff,
        Mistake::RoomInsideConditional,
        Mistake::RoomIsEndless,
        Mistake::LatestDeadlineFirst,
        Mistake::UnseenWritesVanish,
        Mistake::DeletionsVanish,
    ];
    let mut random = Random::new(2, "versions");
    for _ in 0..400_000 {
        let calls = small(&mut random);
        let expected = brute_force(&VersionedRegister, &calls);
        missed.retain(|mistake| {
            MISTAKE.set(Some(*mistake));
            let found = analyse(&calls, NEVER - 1);
            MISTAKE.set(None);
            matches!(found, Finding::Ambiguous) || matches!(found, Finding::Consistent(_)) == expected
        });
        if missed.is_empty() {
            return;
        }
    }
    panic!("the comparison does not notice {missed:?}");
}

#[test]
fn long_histories_are_decided() {
    let mut random = Random::new(3, "versions");
    for crash_percent in [0, 2] {
        let shape = Shape { calls: 20_000, processes: 5, crash_percent, lie_percent: 0 };
        let mut store = Store {
            honest: true,
            repeat_percent: 0,
            delete_percent: 0,
            silent_percent: 20,
            ..Store::new(&mut random)
        };
        let mut calls = simulate(&mut random, &mut store, shape);
        assert_eq!(decide(&calls, Budget::visits(u64::MAX)).unwrap().answer, Answer::Linearizable);
        assert!(replays(&calls, &order(&calls).unwrap()));
        let reads = |call: &&mut Call<Action>| matches!(call.action, Action::Read(_, Some(_)));
        let old = calls.iter_mut().filter(reads).nth(100).unwrap().action;
        let late = calls.iter_mut().filter(reads).nth(5000).unwrap();
        let source = late.source;
        late.action = old;
        let Answer::Impossible(found) = decide(&calls, Budget::visits(u64::MAX)).unwrap().answer else {
            panic!("a stale read was not noticed");
        };
        assert_eq!(calls[found.culprit].source, source);
    }
    assert_eq!(decide(&[], Budget::visits(u64::MAX)).unwrap().answer, Answer::Linearizable);
}
