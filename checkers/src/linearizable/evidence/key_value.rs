//! Contradictions of keys of a map.

use schism_history::ValueId;

use super::super::budget::Budget;
use super::super::call::Answer;
use super::super::engines::just_in_time;
use super::super::models::key_value::{Action, KeyValue};
use super::minimal::{Before, Core};
use super::{Failure, general, register};
use crate::Violation;

/// The contradiction in the history of a key. A key to which nothing is appended is a register, and for those more can be left
/// out than for maps in general. (What was appended is said by reads, also by later ones than the culprit: as a register such a key
/// would know what nobody knew by then.)
pub(in super::super) fn explain(failure: &Failure<'_, KeyValue>) -> Violation {
    let appends = failure.calls.iter().any(|call| matches!(call.action, Action::Append(_)));
    let registers = if appends { None } else { failure.specification.as_registers(failure.calls) };
    let Some([calls]) = registers.as_deref() else { return general::explain(failure) };
    match just_in_time::decide_calls(calls, ValueId::NULL, Budget::visits(VISITS)).answer {
        Answer::Impossible(contradiction) => {
            let culprit = contradiction.culprit;
            let (calls, is_minimal) =
                register::shrunk(calls, ValueId::NULL, culprit, failure.sharing, failure.deadline);
            general::tell(failure, &Core { calls, culprit, before: Before::Nothing, is_minimal }, None)
        }
        Answer::Linearizable | Answer::Unknown(..) => general::explain(failure),
    }
}

/// Configurations that finding the culprit may visit.
const VISITS: u64 = 4_000_000;
