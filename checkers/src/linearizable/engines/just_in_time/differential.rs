//! The search against the brute force of `tests/support`, with every reduction on and off, and with every mistake
//! of [`Sabotage`] made on purpose: a comparison that would not notice a broken reduction proves nothing.

use schism_history::{Event, Outcome, Random, Table, ValueId};

use super::super::super::budget::Budget;
use super::super::super::call::{Call, NEVER};
use super::super::super::models::register::Register;
use super::super::super::specification::Specification;
use super::{Answer, Numbering, Reductions, Sabotage};

#[path = "../../../../tests/support/brute_force.rs"]
mod brute_force;
#[path = "../../../../tests/support/generate.rs"]
mod generate;

use generate::Shape;

fn decide(events: &[Event], reductions: Reductions) -> bool {
    let table = Table::from_events(events).unwrap();
    let calls: Vec<_> = table
        .views()
        .filter(|view| view.outcome() != Outcome::Fail)
        .filter_map(|view| {
            let action = Register { cas: true, initial: ValueId::NULL }.action(&view).unwrap()?;
            let returned = if view.outcome() == Outcome::Ok { view.row.completed } else { NEVER };
            Some(Call { action, invoked: view.row.invoked, returned, source: 0 })
        })
        .collect();
    let (calls, numbering) = Numbering::of(&calls, ValueId::NULL);
    match super::decide(&calls, numbering.count(), reductions, Budget::visits(u64::MAX)).0 {
        Answer::Linearizable => true,
        Answer::Impossible(_) => false,
        Answer::Unknown(limit, _) => panic!("no limit was set, but {limit:?} ran out"),
    }
}

/// Every reduction alone (with what it needs), all but each, none and all.
fn variants() -> Vec<Reductions> {
    let all = Reductions::ALL;
    let none = Reductions {
        forget_unobserved: false,
        merge_dead_states: false,
        discharge: false,
        only_useful: false,
        earliest_deadline_first: false,
        dominance: false,
        ..all
    };
    vec![
        all,
        none,
        Reductions { forget_unobserved: true, ..none },
        Reductions { merge_dead_states: true, ..none },
        Reductions { discharge: true, ..none },
        Reductions { discharge: true, only_useful: true, ..none },
        Reductions { earliest_deadline_first: true, ..none },
        Reductions { dominance: true, ..none },
        Reductions { forget_unobserved: false, ..all },
        Reductions { merge_dead_states: false, ..all },
        Reductions { discharge: false, only_useful: false, ..all },
        Reductions { only_useful: false, ..all },
        Reductions { earliest_deadline_first: false, ..all },
        Reductions { dominance: false, ..all },
    ]
}

fn show(events: &[Event]) -> String {
    events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect()
}

#[test]
fn every_combination_of_reductions_agrees_with_brute_force() {
    let mut random = Random::new(1, "reductions");
    let variants = variants();
    let mut verdicts = [0_u32; 2];
    for _ in 0..200_000 {
        let shape = Shape::draw(&mut random, 7);
        let events = generate::history(&mut random, shape);
        let expected = brute_force::linearizable(&events);
        verdicts[usize::from(expected)] += 1;
        for reductions in &variants {
            assert_eq!(decide(&events, *reductions), expected, "{reductions:?}\n{}", show(&events));
        }
    }
    assert!(verdicts.iter().all(|count| *count > 30_000), "both verdicts must be common: {verdicts:?}");
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed: Vec<Sabotage> = Sabotage::ALL.to_vec();
    let mut random = Random::new(2, "sabotage");
    for _ in 0..300_000 {
        let shape = Shape::draw(&mut random, 8);
        let events = generate::history(&mut random, shape);
        let mut expected = None;
        missed.retain(|sabotage| {
            let found = decide(&events, Reductions { sabotage: *sabotage, ..Reductions::ALL });
            found == *expected.get_or_insert_with(|| brute_force::linearizable(&events))
        });
        if missed.is_empty() {
            return;
        }
    }
    panic!("the comparison does not notice {missed:?}");
}
