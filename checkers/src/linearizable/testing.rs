//! What the tests of all engines share: an oracle that tries every order, and histories of every shape.

use std::collections::HashSet;

use schism_history::Random;

use super::call::{Call, NEVER};
use super::specification::Specification;

/// Whether `calls` can be put in order, by trying all orders. Written for being obviously right, and nothing else: no
/// engine's code, no reduction. For some ten calls.
pub(crate) fn brute_force<S: Specification>(specification: &S, calls: &[Call<S::Action>]) -> bool {
    assert!(calls.len() <= 24, "too many calls to try every order");
    let mut seen = HashSet::new();
    let mut waiting = vec![(0_u32, specification.initial())];
    while let Some((done, state)) = waiting.pop() {
        if !seen.insert((done, state.clone())) {
            continue;
        }
        let open = |index: usize| done >> index & 1 == 0;
        let required = |index: &usize| open(*index) && calls[*index].returned != NEVER;
        let Some(end) = (0..calls.len()).filter(required).map(|index| calls[index].returned).min() else {
            return true;
        };
        for index in (0..calls.len()).filter(|index| open(*index)) {
            // What was invoked after another's return cannot come before it.
            if calls[index].invoked < end {
                let mut next = Vec::new();
                specification.branch(&state, &calls[index].action, &mut next);
                waiting.extend(next.into_iter().map(|state| (done | 1 << index, state)));
            }
        }
    }
    false
}

/// What a random history looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Operations.
    pub calls: usize,
    /// Processes, of which each has one operation open at most.
    pub processes: usize,
    /// Of a hundred operations, how many crash.
    pub crash_percent: u64,
    /// Of a hundred results, how many are changed.
    pub lie_percent: u64,
}

impl Shape {
    /// A shape of up to `calls` operations. Half of all shapes have no lies, a third no crashes.
    pub fn draw(random: &mut Random, calls: usize) -> Self {
        Self {
            calls: 1 + random.below(calls as u64) as usize,
            processes: 1 + random.below(5) as usize,
            crash_percent: [0, 10, 40][random.below(3) as usize],
            lie_percent: [0, 0, 8, 25][random.below(4) as usize],
        }
    }
}

/// An object to simulate. `R` is a request, before anybody knows its result.
pub(crate) trait Simulated<S: Specification> {
    /// What is asked.
    type Request: Clone;
    /// The next request of a process.
    fn request(&mut self, random: &mut Random, process: usize) -> Self::Request;
    /// Carries it out, and says what it did and saw; `None` if it is refused, which leaves no call.
    fn perform(&mut self, random: &mut Random, request: &Self::Request) -> Option<S::Action>;
    /// The action of a request of unknown outcome; `None` if it constrains nothing.
    fn crashed(&mut self, request: &Self::Request) -> Option<S::Action>;
    /// Changes what an operation saw into something plausible but perhaps wrong.
    fn lie(&mut self, random: &mut Random, action: S::Action) -> S::Action;
}

/// A history of a simulated object: linearizable if there are no lies, since every operation takes effect at one
/// moment between its invocation and its return. Crashed operations take effect late or never.
pub(crate) fn simulate<S: Specification, O: Simulated<S>>(
    random: &mut Random,
    object: &mut O,
    shape: Shape,
) -> Vec<Call<S::Action>> {
    struct Open<R, A> {
        request: R,
        invoked: u32,
        crashed: bool,
        /// Outer: whether it took effect; inner: what came of it.
        action: Option<Option<A>>,
        process: usize,
        order: u32,
    }
    let mut calls = Vec::new();
    let mut open: Vec<Open<O::Request, S::Action>> = Vec::new();
    let mut free: Vec<usize> = (0..shape.processes).collect();
    let mut fresh = shape.processes;
    let (mut started, mut position) = (0, 0_u32);
    loop {
        let busy = open.iter().filter(|call| !call.crashed).count();
        let may_start = started < shape.calls && !free.is_empty();
        if !may_start && busy == 0 {
            break;
        }
        if may_start && (busy == 0 || random.below(2) == 0) {
            let process = free.swap_remove(random.below(free.len() as u64) as usize);
            let crashed = random.below(100) < shape.crash_percent;
            let request = object.request(random, process);
            open.push(Open {
                request,
                invoked: position,
                crashed,
                action: None,
                process,
                order: started as u32,
            });
            if crashed {
                free.push(fresh);
                fresh += 1;
            }
            started += 1;
            position += 1;
            continue;
        }
        let at = random.below(open.len() as u64) as usize;
        match (&open[at].action, open[at].crashed) {
            (None, _) => {
                let request = open[at].request.clone();
                open[at].action = Some(object.perform(random, &request));
            }
            (Some(_), false) => {
                let Open { invoked, action, process, order, .. } = open.swap_remove(at);
                free.push(process);
                if let Some(mut action) = action.flatten() {
                    if random.below(100) < shape.lie_percent {
                        action = object.lie(random, action);
                    }
                    calls.push(Call { action, invoked, returned: position, source: order });
                }
                position += 1;
            }
            (Some(_), true) => {}
        }
    }
    for call in open {
        if let Some(action) = object.crashed(&call.request) {
            calls.push(Call { action, invoked: call.invoked, returned: NEVER, source: call.order });
        }
    }
    calls.sort_by_key(|call| call.invoked);
    calls
}

/// Exchanges two neighbouring events of different calls, which moves one operation a little: near-misses that no
/// change of a value makes.
pub(crate) fn jolt<A>(random: &mut Random, calls: &mut [Call<A>]) {
    let ends: Vec<u32> = calls
        .iter()
        .flat_map(|call| [call.invoked, call.returned])
        .filter(|position| *position != NEVER)
        .collect();
    let Some(one) = ends.get(random.below(ends.len().max(1) as u64) as usize).copied() else { return };
    let Some(other) = ends.iter().copied().filter(|end| *end > one).min() else { return };
    if calls.iter().any(|call| call.invoked == one && call.returned == other) {
        return;
    }
    for call in calls.iter_mut() {
        for end in [&mut call.invoked, &mut call.returned] {
            if *end == one {
                *end = other;
            } else if *end == other {
                *end = one;
            }
        }
    }
    calls.sort_by_key(|call| call.invoked);
}
