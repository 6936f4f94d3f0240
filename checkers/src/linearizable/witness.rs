//! Checks an order of calls, independently of the engine that found it.

use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use super::specification::Specification;

/// An order of the operations of one object.
#[derive(Clone, Debug, Serialize)]
pub struct Witness {
    /// The object's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// Which part of the key the object is, if the model has parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Value>,
    /// Event indices of the invocations, in an order that fits. Operations of unknown outcome that need not have happened may be
    /// absent, as are those that constrain nothing. Or why there is none.
    #[serde(serialize_with = "order_or_why")]
    pub order: Result<Vec<u64>, String>,
}

fn order_or_why<S: serde::Serializer>(
    order: &Result<Vec<u64>, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match order {
        Ok(order) => order.serialize(serializer),
        Err(why) => why.serialize(serializer),
    }
}

/// Checks that `order` (indices into `calls`) explains the history: every call that took effect is in it exactly once, every other one at
/// most once, what returned before another was invoked comes before it, and the specification allows each step.
///
/// # Errors
/// What is wrong with the order.
pub(crate) fn replay<S: Specification>(
    specification: &S,
    calls: &[Call<S::Action>],
    order: &[usize],
) -> Result<(), String> {
    let mut placed = vec![false; calls.len()];
    // The states in which the object can be. Where an action leaves several, each of them may be the right one.
    let mut states = vec![specification.initial()];
    let mut latest_invocation = 0;
    for (place, index) in order.iter().enumerate() {
        let Some(call) = calls.get(*index) else {
            return Err(format!("place {place} names call {index}, and there are {} calls", calls.len()));
        };
        if std::mem::replace(&mut placed[*index], true) {
            return Err(format!("call {index} is in the order twice"));
        }
        if call.returned < latest_invocation {
            return Err(format!(
                "call {index} at place {place} returned before a call that comes earlier was invoked"
            ));
        }
        latest_invocation = latest_invocation.max(call.invoked);
        let mut next = Vec::new();
        for state in &states {
            specification.branch(state, &call.action, &mut next);
        }
        if next.len() > 1 {
            let mut seen = std::collections::HashSet::new();
            next.retain(|state| seen.insert(state.clone()));
        }
        if next.is_empty() {
            return Err(format!("call {index} cannot happen at place {place}"));
        }
        states = next;
    }
    match (0..calls.len()).find(|index| calls[*index].is_required() && !placed[*index]) {
        Some(missing) => Err(format!("call {missing} took effect and is not in the order")),
        None => Ok(()),
    }
}
