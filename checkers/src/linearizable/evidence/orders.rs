//! How far the operations of a contradiction can be put in order.

use super::super::call::Call;
use super::super::specification::Specification;

/// Steps to try at most. A contradiction has a handful of operations, so this is rarely reached.
const TRIES: usize = 20_000;

/// Orders to show at most.
const SHOWN: usize = 3;

/// The longest orders of some of `calls` that agree with real time and are legal from one of the states on, as indices; a few of them where there are
/// several.
pub(super) fn longest<S: Specification>(
    specification: &S,
    starts: Vec<S::State>,
    calls: &[Call<S::Action>],
) -> Vec<Vec<usize>> {
    let mut best: Vec<Vec<usize>> = Vec::new();
    let mut waiting: Vec<(Vec<usize>, S::State)> =
        starts.into_iter().rev().map(|state| (Vec::new(), state)).collect();
    let mut tries = 0;
    while let Some((order, state)) = waiting.pop() {
        tries += 1;
        if tries > TRIES {
            break;
        }
        let length = best.first().map_or(0, Vec::len);
        if order.len() > length {
            best.clear();
        }
        if !order.is_empty() && order.len() >= length && best.len() < SHOWN && !best.contains(&order) {
            best.push(order.clone());
        }
        let open = |index: &usize| !order.contains(index);
        let end = (0..calls.len()).filter(open).map(|index| calls[index].returned).min();
        // Pushed in reverse, so that what was invoked first is tried first.
        for index in (0..calls.len()).rev().filter(open) {
            if end.is_some_and(|end| calls[index].invoked < end) {
                let mut next = Vec::new();
                specification.branch(&state, &calls[index].action, &mut next);
                for state in next {
                    let mut order = order.clone();
                    order.push(index);
                    waiting.push((order, state));
                }
            }
        }
    }
    best
}
