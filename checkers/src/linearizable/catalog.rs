//! What belongs to each model: its specification, its engines, and how its contradictions are told.

use schism_history::{Table, ValueId};

use super::Model;
use super::budget::Budget;
use super::call::{Answer, Call, Contradiction, Decision};
use super::checker::{Checker, Direct};
use super::engines::{bag, counter, general, just_in_time, lock, log, queue, set, stack, versions, zones};
use super::evidence;
use super::models::counter::Counter;
use super::models::fenced_lock::FencedLock;
use super::models::fifo_queue::FifoQueue;
use super::models::key_value::{KeyValue, Missing};
use super::models::log::Log;
use super::models::multi_register::MultiRegister;
use super::models::mutex::Mutex;
use super::models::owner_lock::OwnerLock;
use super::models::register::{Action, Register};
use super::models::set::Set;
use super::models::stack::Stack;
use super::models::unordered_queue::UnorderedQueue;
use super::models::versioned_register::VersionedRegister;
use super::select::Engines;
use super::specification::Specification;

/// Something to do with a model, whichever it is.
pub(super) trait Visit {
    /// What comes of it.
    type Output;
    /// Does it.
    fn visit<S: Specification>(self, checker: &Checker<'_, S>) -> Self::Output;
}

/// Does something with the checker of a model. `initial` is the value that registers have at first.
pub(super) fn with<V: Visit>(model: Model, table: &Table, initial: ValueId, visit: V) -> V::Output {
    let name = model.name();
    macro_rules! visit {
        ($specification:expr) => {{
            let specification = &$specification;
            let search = &|calls: &[_], budget| general::decide(specification, calls, budget).0;
            let engines = Engines { special: None, just_in_time: None, search };
            let (explain, order) = (&evidence::general::explain, &|_: &[_]| None);
            visit.visit(&Checker { name, specification, engines, direct: None, explain, order })
        }};
        ($specification:expr, $special:expr, $order:expr) => {
            visit!($specification, $special, $order, evidence::general::explain)
        };
        ($specification:expr, $special:expr, $order:expr, $explain:expr) => {{
            let specification = &$specification;
            let search = &|calls: &[_], budget| general::decide(specification, calls, budget).0;
            let engines = Engines { special: Some(&$special), just_in_time: None, search };
            let (explain, order) = (&$explain, &$order);
            visit.visit(&Checker { name, specification, engines, direct: None, explain, order })
        }};
    }
    match model {
        Model::Register | Model::CasRegister => {
            let specification = &Register { cas: model == Model::CasRegister, initial };
            let engines = Engines {
                special: Some(&|calls: &[_], budget| zones::decide(&from_null(calls, initial), budget)),
                just_in_time: Some(&|calls: &[_], budget| just_in_time::decide_calls(calls, initial, budget)),
                search: &|calls: &[_], budget| general::decide(specification, calls, budget).0,
            };
            let order = &|calls: &[_]| zones::order(&from_null(calls, initial));
            visit.visit(&Checker {
                name,
                specification,
                engines,
                direct: None,
                explain: &evidence::register::explain,
                order,
            })
        }
        Model::KeyValue => {
            let missing = match table.values.as_str(initial) {
                Some("") => Missing::EmptyText,
                _ => Missing::Null,
            };
            let specification = &KeyValue { missing };
            let search = &|calls: &[_], budget| general::decide(specification, calls, budget).0;
            let engines = Engines {
                special: Some(&|calls: &[_], budget: Budget| {
                    let registers = specification.as_registers(calls)?;
                    any(&registers, |calls| zones::decide(calls, budget.clone()))
                }),
                just_in_time: Some(&|calls: &[_], budget: Budget| {
                    let registers = specification.as_registers(calls);
                    let decision = registers.and_then(|registers| {
                        any(&registers, |calls| {
                            Some(just_in_time::decide_calls(calls, ValueId::NULL, budget.clone()))
                        })
                    });
                    // The search comes next, and once.
                    decision.unwrap_or(Decision::unsuited(just_in_time::NAME))
                }),
                search,
            };
            let order = &|calls: &[_]| {
                specification.as_registers(calls)?.iter().find_map(|calls| zones::order(calls))
            };
            let direct: &Direct = &|table, rows, budget| {
                let registers = specification.rows_as_registers(table, rows)?;
                any(&registers, |calls| zones::decide(calls, budget.clone()))
            };
            let (direct, explain) = (Some(direct), &evidence::key_value::explain);
            visit.visit(&Checker { name, specification, engines, direct, explain, order })
        }
        Model::VersionedRegister => visit!(VersionedRegister, versions::decide, versions::order),
        Model::MultiRegister => visit!(MultiRegister { initial }),
        Model::Mutex => visit!(Mutex, lock::mutex::decide, lock::mutex::order),
        Model::OwnerLock => visit!(
            OwnerLock { reentrant: false },
            |calls: &[_], budget| lock::owned::decide(calls, false, budget),
            |calls: &[_]| lock::owned::order(calls, false)
        ),
        Model::ReentrantLock => visit!(
            OwnerLock { reentrant: true },
            |calls: &[_], budget| lock::owned::decide(calls, true, budget),
            |calls: &[_]| lock::owned::order(calls, true)
        ),
        Model::FencedLock => visit!(
            FencedLock { reentrant: false },
            |calls: &[_], budget| lock::owned::decide(calls, false, budget),
            |calls: &[_]| lock::owned::order(calls, false)
        ),
        Model::ReentrantFencedLock => visit!(
            FencedLock { reentrant: true },
            |calls: &[_], budget| lock::owned::decide(calls, true, budget),
            |calls: &[_]| lock::owned::order(calls, true)
        ),
        Model::Counter => visit!(Counter, counter::decide, counter::order, evidence::counter::explain),
        Model::Set => visit!(Set::default(), set::decide, set::order, evidence::set::explain),
        Model::FifoQueue => visit!(FifoQueue, queue::decide, queue::order),
        Model::UnorderedQueue => visit!(UnorderedQueue, bag::decide, bag::order),
        Model::Stack => visit!(Stack, stack::decide, stack::order),
        Model::Log => visit!(Log::default(), log::decide, log::order),
    }
}

/// The decision about calls that are linearizable if one of several readings of them is.
fn any<C>(readings: &[C], decide: impl Fn(&C) -> Option<Decision>) -> Option<Decision> {
    let mut impossible: Option<Decision> = None;
    let mut undecided = None;
    for reading in readings {
        let decision = decide(reading)?;
        match &decision.answer {
            Answer::Linearizable => return Some(decision),
            // A pattern of one reading says nothing of the others; the culprit that all of them fail at is the latest.
            Answer::Impossible(contradiction) => {
                let culprit = match &impossible {
                    Some(Decision { answer: Answer::Impossible(latest), .. }) => {
                        latest.culprit.max(contradiction.culprit)
                    }
                    _ => contradiction.culprit,
                };
                let pattern = if readings.len() == 1 { contradiction.pattern.clone() } else { Vec::new() };
                let answer = Answer::Impossible(Contradiction { culprit, pattern });
                impossible = Some(Decision { answer, engine: decision.engine });
            }
            Answer::Unknown(..) => undecided = Some(decision),
        }
    }
    undecided.or(impossible)
}

/// The same calls for a register that starts as null: null and the initial value change places.
fn from_null(
    calls: &[Call<Action<ValueId>>],
    initial: ValueId,
) -> std::borrow::Cow<'_, [Call<Action<ValueId>>]> {
    if initial == ValueId::NULL {
        return calls.into();
    }
    let exchange = |value: ValueId| match value {
        ValueId::NULL => initial,
        value if value == initial => ValueId::NULL,
        value => value,
    };
    let call = |call: &Call<Action<ValueId>>| Call {
        action: match call.action {
            Action::Read(value) => Action::Read(exchange(value)),
            Action::Write(value) => Action::Write(exchange(value)),
            Action::Cas(expected, new) => Action::Cas(exchange(expected), exchange(new)),
        },
        ..*call
    };
    calls.iter().map(call).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linearizable::budget::Exhausted;

    #[test]
    fn of_several_readings_one_that_fits_suffices_and_one_that_is_undecided_rules_nothing_out() {
        let unknown = Answer::Unknown(Exhausted::Time, 3);
        let answers = [Answer::Linearizable, Answer::impossible(4), Answer::impossible(7), unknown.clone()];
        for one in &answers {
            for other in &answers {
                let readings = [one.clone(), other.clone()];
                let decision =
                    any(&readings, |answer| Some(Decision { answer: answer.clone(), engine: "x" }));
                let expected = match readings {
                    [Answer::Linearizable, _] | [_, Answer::Linearizable] => Answer::Linearizable,
                    [Answer::Unknown(..), _] | [_, Answer::Unknown(..)] => unknown.clone(),
                    [Answer::Impossible(one), Answer::Impossible(other)] => {
                        Answer::impossible(one.culprit.max(other.culprit))
                    }
                };
                assert_eq!(decision.map(|decision| decision.answer), Some(expected), "{one:?} {other:?}");
            }
        }
        assert_eq!(any(&[0], |_| None), None, "the engine knows no such calls");
    }
}
