//! A model of one's own: a ticket dispenser that may skip numbers. `cargo run -p schism-checkers --example own_model`.
//!
//! `take` hands out a ticket (its result), each one number higher than the last or, after a failover, two higher. `last` is the number
//! handed out last. A `take` of unknown outcome may have handed out either ticket, or none.

use schism_checkers::linearizable::{Misfit, Model, Options, Specification, check_with};
use schism_history::{History, View};

struct Dispenser;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Action {
    /// The ticket, unless nobody knows.
    Take(Option<i64>),
    Last(i64),
}

impl Specification for Dispenser {
    type Action = Action;
    type State = i64;

    fn initial(&self) -> i64 {
        0
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<Action>, Misfit> {
        let number = operation.result().and_then(|result| operation.values().as_int(result));
        match (operation.f(), operation.result().is_some(), number) {
            ("take", false, _) => Ok(Some(Action::Take(None))),
            ("take", true, Some(ticket)) => Ok(Some(Action::Take(Some(ticket)))),
            // A read without a result says nothing.
            ("last", false, _) => Ok(None),
            ("last", true, Some(ticket)) => Ok(Some(Action::Last(ticket))),
            ("take" | "last", true, None) => Err(Misfit::malformed("a ticket is an integer")),
            _ => Err(Misfit::Unknown { hint: "; a dispenser has `take` and `last`" }),
        }
    }

    /// What leaves one state only; the search asks `branch`.
    fn step(&self, last: &i64, action: &Action) -> Option<i64> {
        match *action {
            Action::Take(Some(ticket)) => (1..=2).contains(&ticket.wrapping_sub(*last)).then_some(ticket),
            Action::Take(None) => last.checked_add(1),
            Action::Last(ticket) => (*last == ticket).then_some(ticket),
        }
    }

    fn branch(&self, last: &i64, action: &Action, next: &mut Vec<i64>) {
        match action {
            Action::Take(None) => {
                next.extend([last.checked_add(1), last.checked_add(2)].into_iter().flatten())
            }
            _ => next.extend(self.step(last, action)),
        }
    }

    fn observes(&self, action: &Action) -> bool {
        matches!(action, Action::Last(_))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let history = r#"
        {"index":0,"process":0,"type":"invoke","f":"take","value":null}
        {"index":1,"process":1,"type":"invoke","f":"take","value":null}
        {"index":2,"process":0,"type":"ok","f":"take","value":2}
        {"index":3,"process":1,"type":"info","f":"take","value":null}
        {"index":4,"process":0,"type":"invoke","f":"last","value":null}
        {"index":5,"process":0,"type":"ok","f":"last","value":4}
        {"index":6,"process":0,"type":"invoke","f":"take","value":null}
        {"index":7,"process":0,"type":"ok","f":"take","value":4}
    "#;
    let table = History::read(history.as_bytes(), "example")?.table()?;
    let options = Options::new(Model::Register);
    // Ticket 4 was handed out twice, to the crashed `take` and to the last one.
    let result = check_with(&Dispenser, "dispenser", &table, &options)?;
    println!("{:?} ({})", result.validity, result.engine);
    for violation in &result.violations {
        println!("  {}", violation.summary);
        violation.explanation.iter().for_each(|sentence| println!("    {sentence}"));
    }
    Ok(())
}
