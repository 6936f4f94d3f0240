//! Contradictions of counters.

use super::super::models::counter::{Counter, CounterAction};
use super::{Failure, general, minimal};
use crate::Violation;

/// The contradiction in the history of a counter.
pub(in super::super) fn explain(failure: &Failure<'_, Counter>) -> Violation {
    let core = minimal::core(failure);
    let why = bounds(failure, core.culprit);
    general::tell(failure, &core, why)
}

/// Which values the counter can have had, if the one that was seen is out of these bounds.
fn bounds(failure: &Failure<'_, Counter>, culprit: usize) -> Option<String> {
    let calls = failure.calls;
    let seen = calls.get(culprit)?;
    let value = match seen.action {
        CounterAction::Read(value) | CounterAction::Exchange { before: value, .. } => value,
        CounterAction::Add(_) => return None,
    };
    let (mut least, mut most) = (0_i128, 0_i128);
    for (index, call) in calls.iter().enumerate() {
        let (CounterAction::Add(delta) | CounterAction::Exchange { delta, .. }) = call.action else {
            continue;
        };
        let delta = i128::from(delta);
        if index == culprit || call.invoked > seen.returned {
            continue;
        }
        // What was over is certain; everything else may have happened or not.
        let certain = call.returned < seen.invoked;
        least += if certain { delta } else { delta.min(0) };
        most += if certain { delta } else { delta.max(0) };
    }
    let was = match seen.action {
        CounterAction::Exchange { .. } => format!("that takes a value of {value} before it, and "),
        CounterAction::Read(_) | CounterAction::Add(_) => String::new(),
    };
    if value > most {
        return Some(format!("{was}the value cannot have been more than {most} by then"));
    }
    (value < least).then(|| format!("{was}the value cannot have been less than {least} any more"))
}
