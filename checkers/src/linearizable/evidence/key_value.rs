//! Contradictions of keys of a map.

use schism_history::ValueId;

use super::super::budget::Budget;
use super::super::call::Answer;
use super::super::engines::just_in_time;
use super::super::models::key_value::KeyValue;
use super::minimal::Core;
use super::{Failure, general, register};
use crate::Violation;

/// The contradiction in the history of a key. A key whose reads say what was appended is a register, or one of several, and for
/// those more can be left out than for maps in general. What each of several cannot do without is impossible for all.
pub(in super::super) fn explain(failure: &Failure<'_, KeyValue>) -> Violation {
    let Some(registers) = failure.specification.as_registers(failure.calls) else {
        return general::explain(failure);
    };
    let sharing = failure.sharing.saturating_mul(registers.len());
    let mut kept = Vec::new();
    let mut last = None;
    for calls in &registers {
        let Answer::Impossible(contradiction) =
            just_in_time::decide_calls(calls, ValueId::NULL, Budget::visits(VISITS)).answer
        else {
            return general::explain(failure);
        };
        let culprit = contradiction.culprit;
        kept.extend(register::shrunk(calls, ValueId::NULL, culprit, sharing));
        last = last.max(calls.get(culprit).map(|call| (call.returned, culprit)));
    }
    kept.sort_unstable();
    kept.dedup();
    let culprit = last.map_or(0, |(_, culprit)| culprit);
    general::tell(failure, &Core { calls: kept, culprit, undone: None })
}

/// Configurations that finding the culprit may visit.
const VISITS: u64 = 4_000_000;
