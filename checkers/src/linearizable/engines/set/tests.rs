use schism_history::{Random, Values};

use super::super::super::models::set::{Elements, Set};
use super::super::super::specification::Specification;
use super::super::super::testing::{Shape, Simulated, brute_force, jolt, simulate};
use super::super::counter::tests::{alone, is_late, replays, truncate};
use super::*;

type Calls = Vec<Call<SetAction>>;

struct Simulation {
    elements: Vec<ValueId>,
    /// Of ten operations, how many read everything, how many ask for one, and how many remove.
    reads: u64,
    contains: u64,
    removes: u64,
    /// Of ten acknowledgements, how many say whether anything changed.
    changed: u64,
    set: <Set as Specification>::State,
}

impl Simulation {
    fn new(random: &mut Random) -> Self {
        let mut values = Values::new();
        let count = 1 + random.below(4) as i64;
        Self {
            elements: (0..count).map(|element| values.int(element).unwrap()).collect(),
            reads: [0, 2, 5][random.below(3) as usize],
            contains: random.below(4),
            removes: [0, 2, 3][random.below(3) as usize],
            changed: [0, 4, 10][random.below(3) as usize],
            set: Set::default().initial(),
        }
    }
}

impl Simulated<Set> for Simulation {
    /// The operation as it would be if it said as much as it will.
    type Request = SetAction;

    fn request(&mut self, random: &mut Random, _process: usize) -> SetAction {
        let element = *random.pick(&self.elements).unwrap();
        let says = (random.below(10) < self.changed).then_some(true);
        let kind = random.below(10);
        if kind < self.reads {
            SetAction::Read(Elements::new(&[]))
        } else if kind < self.reads + self.removes {
            SetAction::Remove(element, says)
        } else if random.below(10) < self.contains {
            SetAction::Contains(element, true)
        } else {
            SetAction::Add(element, says)
        }
    }

    fn perform(&mut self, _random: &mut Random, request: &SetAction) -> Option<SetAction> {
        let has = |element: &ValueId| self.set.has(element.raw());
        let action = match request {
            SetAction::Read(_) => {
                let all: Vec<ValueId> = self.elements.iter().copied().filter(has).collect();
                SetAction::Read(Elements::new(&all))
            }
            SetAction::Contains(element, _) => SetAction::Contains(*element, has(element)),
            SetAction::Add(element, says) => SetAction::Add(*element, says.map(|_| !has(element))),
            SetAction::Remove(element, says) => SetAction::Remove(*element, says.map(|_| has(element))),
        };
        self.set = Set::default().step(&self.set, &action).unwrap();
        Some(action)
    }

    fn crashed(&mut self, request: &SetAction) -> Option<SetAction> {
        unknown(request)
    }

    fn lie(&mut self, random: &mut Random, action: SetAction) -> SetAction {
        match action {
            SetAction::Add(element, says) => SetAction::Add(element, says.map(|says| !says)),
            SetAction::Remove(element, says) => SetAction::Remove(element, says.map(|says| !says)),
            SetAction::Contains(element, present) => SetAction::Contains(element, !present),
            SetAction::Read(all) => {
                let mut items = all.sorted().to_vec();
                let element = *random.pick(&self.elements).unwrap();
                match items.binary_search(&element) {
                    Ok(_) if random.below(8) == 0 => items.push(element),
                    Ok(place) => drop(items.remove(place)),
                    Err(_) => items.push(element),
                }
                SetAction::Read(Elements::new(&items))
            }
        }
    }
}

fn unknown(action: &SetAction) -> Option<SetAction> {
    match action {
        SetAction::Add(element, _) => Some(SetAction::Add(*element, None)),
        SetAction::Remove(element, _) => Some(SetAction::Remove(*element, None)),
        SetAction::Contains(..) | SetAction::Read(_) => None,
    }
}

/// What else may have happened: what certainly removed nothing is no removal.
fn may_have_happened(action: &SetAction) -> Option<SetAction> {
    if matches!(action, SetAction::Remove(_, Some(false))) { None } else { unknown(action) }
}

fn draw(random: &mut Random) -> Calls {
    let mut shape = Shape::draw(random, 10);
    if random.below(3) == 0 {
        shape.lie_percent = 50;
    }
    let mut object = Simulation::new(random);
    let mut calls = simulate(random, &mut object, shape);
    for _ in 0..random.below(4) {
        jolt(random, &mut calls);
    }
    calls
}

fn budget() -> Budget {
    Budget::visits(u64::MAX)
}

#[test]
fn agrees_with_trying_every_order() {
    let mut random = Random::new(7, "set");
    // By the engine: elements alone, whole reads alone, both.
    let mut tally = [[0_u32; 3]; 3];
    let (mut violations, mut patterns, mut late, mut orders) = (0, 0, 0, 0);
    let model = Set::default();
    for _ in 0..220_000 {
        let calls = draw(&mut random);
        let reads = calls.iter().any(|call| matches!(call.action, SetAction::Read(_)));
        let kind = if !removes(&calls) { 1 } else { usize::from(reads) * 2 };
        let Some(decision) = decide(&calls, budget()) else {
            assert_eq!(kind, 2, "{calls:?}");
            tally[kind][2] += 1;
            continue;
        };
        let fits = brute_force(&model, &calls);
        match decision.answer {
            Answer::Linearizable => {
                assert!(fits, "{calls:#?}");
                tally[kind][0] += 1;
                let order = order(&calls);
                assert_eq!(order.is_some(), kind == 1);
                if let Some(order) = order {
                    orders += 1;
                    assert!(replays(&model, &calls, &order), "{order:?} {calls:#?}");
                }
            }
            Answer::Impossible(found) => {
                assert!(!fits, "{calls:#?}");
                tally[kind][1] += 1;
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
                    let with_others = alone(&calls, &found.pattern, may_have_happened);
                    assert!(!brute_force(&model, &with_others), "{found:?} {calls:#?}");
                }
            }
            Answer::Unknown(..) => panic!("the budget is endless"),
        }
    }
    println!("pass, do not, left: {tally:?}; {patterns} patterns, {orders} orders, {late} late");
    assert!(tally[0][0] > 20_000 && tally[0][1] > 4_000 && tally[1][0] > 20_000 && tally[1][1] > 15_000);
    assert!(tally[2][1] > 7_000 && patterns > 25_000 && orders > 20_000 && late < violations / 32);
}

#[test]
fn planted_mistakes_are_noticed() {
    let model = Set::default();
    for mistake in [
        Sabotage::LatestFirst,
        Sabotage::MetIsSpent,
        Sabotage::NoLastChance,
        Sabotage::UnknownIsNever,
        Sabotage::ChangedIsBlind,
        Sabotage::CarelessDominance,
        Sabotage::NoChain,
        Sabotage::NoFloor,
        Sabotage::UnseenAnywhere,
        Sabotage::UnchangedPuts,
        Sabotage::RepeatsAreFine,
    ] {
        let mut random = Random::new(8, "set");
        let noticed = (0..60_000).any(|_| {
            let calls = draw(&mut random);
            match solve(&calls, budget(), mistake) {
                None | Some(Answer::Unknown(..)) => false,
                Some(Answer::Linearizable) => !brute_force(&model, &calls),
                Some(Answer::Impossible(_)) => brute_force(&model, &calls),
            }
        });
        assert!(noticed, "{mistake:?} goes unnoticed");
    }
}

/// Many operations on one element, of the kinds that leave many configurations, against the search without any rule.
#[test]
fn one_busy_element_is_decided() {
    let mut random = Random::new(9, "busy element");
    let element = Values::new().int(1).unwrap();
    let (mut passes, mut violations) = (0, 0);
    for _ in 0..40_000 {
        let shape = Shape {
            processes: 3 + random.below(6) as usize,
            lie_percent: [0, 20, 50][random.below(3) as usize],
            ..Shape::draw(&mut random, 12)
        };
        let mut object = Simulation {
            elements: vec![element],
            reads: 0,
            contains: 3,
            removes: 5,
            changed: [0, 3, 5][random.below(3) as usize],
            set: Set::default().initial(),
        };
        let mut calls = simulate(&mut random, &mut object, shape);
        for _ in 0..random.below(6) {
            jolt(&mut random, &mut calls);
        }
        let fits = brute_force(&Set::default(), &calls);
        let answer = decide(&calls, budget()).map(|decision| decision.answer);
        assert_eq!(answer == Some(Answer::Linearizable), fits, "{answer:?} {calls:#?}");
        *(if fits { &mut passes } else { &mut violations }) += 1;
    }
    println!("{passes} pass, {violations} do not");
    assert!(passes > 10_000 && violations > 3_000);
}

#[test]
fn the_limits_of_the_search_are_kept() {
    let element = Values::new().int(1).unwrap();
    let add = |index: u32, returned| Call {
        action: SetAction::Remove(element, None),
        invoked: index,
        returned,
        source: index,
    };
    let wide: Calls = (0..130).map(|index| add(index, 1000 + index)).collect();
    assert_eq!(decide(&wide, budget()), None);
    let long: Calls = (0..130).map(|index| add(2 * index, 2 * index + 1)).collect();
    let answer = |visits| decide(&long, Budget::visits(visits)).map(|decision| decision.answer);
    assert_eq!(answer(u64::MAX), Some(Answer::Linearizable));
    assert!(matches!(answer(10), Some(Answer::Unknown(_, 10))), "{:?}", answer(10));
    assert_eq!(decide(&[], budget()).map(|decision| decision.answer), Some(Answer::Linearizable));
}
