//! Every way in which a stretch of an object's past can have ended, so that its calls need not be kept.
//!
//! Source: Lowe, "Testing for linearizability" (2017), just-in-time linearization, breadth first: at each return every
//! configuration lets calls take effect until the one that returns has. Two of the reductions proved at `Reductions` of the general
//! search hold here for the same reasons, since each continuation they keep ends in the same state: observers take effect at once,
//! and equal crashed calls are used in the order of invocation.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::super::call::Call;
use super::super::specification::Specification;

/// The most calls that may be open at once, and the most crashed calls: sets of them are the bits of a number.
pub(super) const WIDTH: usize = 64;

/// How an object can stand at a moment at which nothing is open but crashed calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start<T> {
    /// Its state.
    pub state: T,
    /// Which crashed calls have taken effect, a bit each.
    pub used: u64,
}

/// The least sets of crashed calls with which a state and a set of taken calls can be reached.
///
/// Dominance: of two ways that differ in the crashed calls only, the one that used fewer of them can go on as the other can, since no
/// crashed call must ever take effect.
type Frontier<T> = FxHashMap<(T, u64), Vec<u64>>;

/// Whether this is news.
fn reach<T: Eq + std::hash::Hash>(frontier: &mut Frontier<T>, at: (T, u64), used: u64) -> bool {
    match frontier.entry(at) {
        Entry::Vacant(place) => {
            place.insert(vec![used]);
            true
        }
        Entry::Occupied(mut place) => {
            if place.get().iter().any(|known| known & used == *known) {
                return false;
            }
            place.get_mut().retain(|known| used & known != used);
            place.get_mut().push(used);
            true
        }
    }
}

/// From any of `starts`, every configuration that can be left after all of `calls` have returned, of equal ones those that used the
/// fewest crashed calls. `calls` are required ones in order of invocation. None of the results: no order fits.
///
/// `None`: it would take more than `visits` configurations, or more calls are open at once than can be told apart.
pub(super) fn ends<S: Specification>(
    specification: &S,
    starts: &[Start<S::State>],
    crashed: &[Call<S::Action>],
    calls: &[Call<S::Action>],
    visits: u64,
) -> Option<Vec<Start<S::State>>> {
    if crashed.len() > WIDTH {
        return None;
    }
    let mut returns: Vec<usize> = (0..calls.len()).collect();
    returns.sort_unstable_by_key(|call| calls[*call].returned);
    let mut left = visits;
    // By slot: which call is in it.
    let mut open: [Option<usize>; WIDTH] = [None; WIDTH];
    let mut arriving = 0;
    let mut frontier = Frontier::default();
    for start in starts {
        reach(&mut frontier, (start.state.clone(), 0), start.used);
    }
    let mut branches = Vec::new();
    for returning in returns {
        let end = calls[returning].returned;
        while arriving < calls.len() && calls[arriving].invoked < end {
            let slot = open.iter().position(Option::is_none)?;
            open[slot] = Some(arriving);
            arriving += 1;
        }
        let slot = open.iter().position(|call| *call == Some(returning))?;
        let mut next = Frontier::default();
        let mut waiting: Vec<(S::State, u64, u64)> = Vec::new();
        for ((state, taken), sets) in &frontier {
            waiting.extend(sets.iter().map(|used| (state.clone(), *taken, *used)));
        }
        let mut seen = frontier;
        while let Some((state, taken, used)) = waiting.pop() {
            left = left.checked_sub(1)?;
            if taken >> slot & 1 == 1 {
                reach(&mut next, (state, taken & !(1 << slot)), used);
                continue;
            }
            let here =
                |place: usize| open[place].map(|call| &calls[call]).filter(|_| taken >> place & 1 == 0);
            let at_once = (0..WIDTH).find(|place| {
                here(*place).is_some_and(|call| {
                    specification.observes(&call.action) && specification.step(&state, &call.action).is_some()
                })
            });
            if let Some(place) = at_once {
                let taken = taken | 1 << place;
                if reach(&mut seen, (state.clone(), taken), used) {
                    waiting.push((state, taken, used));
                }
                continue;
            }
            let mut go = |action: &S::Action, taken: u64, used: u64| {
                specification.branch(&state, action, &mut branches);
                for state in branches.drain(..) {
                    if reach(&mut seen, (state.clone(), taken), used) {
                        waiting.push((state, taken, used));
                    }
                }
            };
            for place in 0..WIDTH {
                if let Some(call) = here(place) {
                    go(&call.action, taken | 1 << place, used);
                }
            }
            for (place, call) in crashed.iter().enumerate().filter(|(_, call)| call.invoked < end) {
                let waits = |place: usize| used >> place & 1 == 0;
                let earlier = |other: usize| waits(other) && crashed[other].action == call.action;
                if waits(place) && !(0..place).any(earlier) {
                    go(&call.action, taken, used | 1 << place);
                }
            }
        }
        open[slot] = None;
        frontier = next;
    }
    let ends = frontier.into_iter();
    Some(
        ends.flat_map(|((state, _), sets)| {
            sets.into_iter().map(move |used| Start { state: state.clone(), used })
        })
        .collect(),
    )
}
