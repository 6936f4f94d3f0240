use schism_history::{Random, ValueId, Values};

use super::super::super::models::log::{List, Log};
use super::super::super::testing::{Shape, Simulated, brute_force, jolt, simulate};
use super::super::counter::tests::{alone, is_late, replays, truncate};
use super::*;

type Calls = Vec<Call<LogAction>>;

struct Simulation {
    lists: Lists,
    values: Values,
    /// Of ten operations, how many read.
    reads: u64,
    /// Of ten appends, how many say where.
    offsets: u64,
    /// Elements are drawn from so many; 0: all are different.
    domain: u64,
    fresh: i64,
    log: Vec<ValueId>,
}

impl Simulation {
    fn new(random: &mut Random) -> Self {
        Self {
            lists: Lists::default(),
            values: Values::new(),
            reads: random.below(9),
            offsets: [0, 0, 3, 9][random.below(4) as usize],
            domain: if random.below(10) == 0 { 5 } else { 0 },
            fresh: 0,
            log: Vec::new(),
        }
    }

    fn list(&mut self, items: &[ValueId]) -> List {
        let name = self.values.array(items).unwrap();
        self.lists.list(name, items).unwrap()
    }
}

impl Simulated<Log> for Simulation {
    /// The element, none for a read, and whether the place is asked for.
    type Request = (Option<ValueId>, bool);

    fn request(&mut self, random: &mut Random, _process: usize) -> Self::Request {
        if random.below(10) < self.reads {
            return (None, true);
        }
        let element = match self.domain {
            0 => self.fresh,
            domain => random.below(domain) as i64,
        };
        self.fresh += 1;
        (Some(self.values.int(element).unwrap()), random.below(10) < self.offsets)
    }

    fn perform(&mut self, _random: &mut Random, request: &Self::Request) -> Option<LogAction> {
        let Some(element) = request.0 else {
            let items = self.log.clone();
            return Some(LogAction::Read(self.list(&items)));
        };
        self.log.push(element);
        Some(LogAction::Append(element, request.1.then_some(self.log.len() as u32 - 1)))
    }

    fn crashed(&mut self, request: &Self::Request) -> Option<LogAction> {
        request.0.map(|element| LogAction::Append(element, None))
    }

    fn lie(&mut self, random: &mut Random, action: LogAction) -> LogAction {
        match action {
            LogAction::Append(element, offset) => {
                let off = random.below(3) as u32;
                LogAction::Append(element, offset.map(|offset| (offset + off).saturating_sub(1)))
            }
            LogAction::Read(_) => {
                let mut items = self.log.clone();
                let at = random.below(items.len() as u64 + 1) as usize;
                match random.below(6) {
                    0..3 => items.truncate(at),
                    3 if at < items.len() => drop(items.remove(at)),
                    4 => items.insert(at, self.values.int(random.below(12) as i64).unwrap()),
                    _ if at + 1 < items.len() => items.swap(at, at + 1),
                    _ => {}
                }
                LogAction::Read(self.list(&items))
            }
        }
    }
}

fn draw(random: &mut Random) -> (bool, Calls) {
    let mut shape = Shape::draw(random, 9);
    if random.below(3) == 0 {
        shape.lie_percent = 40;
    }
    let mut object = Simulation::new(random);
    let mut calls = simulate(random, &mut object, shape);
    for _ in 0..random.below(3) {
        jolt(random, &mut calls);
    }
    (object.domain == 0, calls)
}

fn unknown(action: &LogAction) -> Option<LogAction> {
    match action {
        LogAction::Read(_) => None,
        LogAction::Append(element, _) => Some(LogAction::Append(*element, None)),
    }
}

#[test]
fn agrees_with_trying_every_order() {
    let mut random = Random::new(7, "log");
    let (mut passes, mut violations, mut left, mut patterns, mut late) = (0, 0, 0, 0, 0);
    let model = Log::default();
    for _ in 0..220_000 {
        let (distinct, calls) = draw(&mut random);
        let Some(decision) = decide(&calls, Budget::visits(0)) else {
            assert!(!distinct, "{calls:?}");
            left += 1;
            continue;
        };
        let fits = brute_force(&model, &calls);
        match decision.answer {
            Answer::Linearizable => {
                assert!(fits, "{calls:#?}");
                passes += 1;
                let order = order(&calls).unwrap();
                assert!(replays(&model, &calls, &order), "{order:?} {calls:#?}");
            }
            Answer::Impossible(found) => {
                assert!(!fits, "{calls:#?}");
                violations += 1;
                let until = truncate(&calls, found.culprit, unknown);
                assert!(!brute_force(&model, &until), "the culprit is too early: {found:?} {calls:#?}");
                if violations % 16 == 0 {
                    late += usize::from(is_late(&model, &calls, found.culprit, unknown));
                }
                if !found.pattern.is_empty() {
                    patterns += 1;
                    assert!(found.pattern.contains(&found.culprit), "{found:?} {calls:#?}");
                    assert!(found.pattern.is_sorted(), "{found:?}");
                    let by_itself = alone(&calls, &found.pattern, |_| None);
                    assert!(!brute_force(&model, &by_itself), "{found:?} {calls:#?}");
                    // Appends of unknown outcome have as many orders as there are permutations.
                    if calls.len() <= 7 {
                        let with_others = alone(&calls, &found.pattern, unknown);
                        assert!(!brute_force(&model, &with_others), "{found:?} {calls:#?}");
                    }
                }
            }
            Answer::Unknown(..) => panic!("no budget is used"),
        }
    }
    println!("{passes} pass, {violations} do not ({patterns} with a pattern, {late} late), {left} left");
    assert!(passes > 50_000 && violations > 20_000 && patterns > 20_000 && left > 1_000 && left < 100_000);
    assert!(late < violations / 32);
}

#[test]
fn planted_mistakes_are_noticed() {
    let model = Log::default();
    for mistake in [
        Sabotage::AnyOrder,
        Sabotage::NoOffsets,
        Sabotage::UnreadAnywhere,
        Sabotage::Steps(steps::Sabotage::LatestFirst),
        Sabotage::Steps(steps::Sabotage::Eager),
        Sabotage::Steps(steps::Sabotage::UnknownIsNever),
        Sabotage::Steps(steps::Sabotage::RungsAreSteps),
        Sabotage::Steps(steps::Sabotage::LookAtReturn),
    ] {
        let mut random = Random::new(8, "log");
        let noticed = (0..50_000).any(|_| {
            let (_, calls) = draw(&mut random);
            let Some(solution) = solve(&calls, mistake) else { return false };
            match solution {
                Ok(order) => !replays(&model, &calls, &order),
                Err(_) => brute_force(&model, &calls),
            }
        });
        assert!(noticed, "{mistake:?} goes unnoticed");
    }
}

#[test]
fn empty_and_far_off_logs_are_decided() {
    assert_eq!(order(&[]), Some(vec![]));
    let action = LogAction::Append(ValueId::NULL, Some(u32::MAX - 2));
    let calls = [Call { action, invoked: 0, returned: 1, source: 0 }];
    let answer = decide(&calls, Budget::visits(0)).map(|decision| decision.answer);
    assert!(matches!(answer, Some(Answer::Impossible(_))), "{answer:?}");
}
