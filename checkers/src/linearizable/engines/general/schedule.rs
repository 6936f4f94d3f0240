//! The calls in the order in which the search walks them.

use std::collections::{BinaryHeap, VecDeque};
use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::super::super::call::{Call, NEVER};
use super::reductions::{Reductions, Sabotage};

/// The calls, arranged. Calls that took effect for certain are known by their *rank*: the first to return has rank 0. Calls of unknown
/// outcome are known by a number too, and equal ones lie side by side in order of invocation: a *kind*.
pub(super) struct Schedule<A> {
    /// The different actions.
    pub actions: Vec<A>,
    /// By action: whether several calls have it.
    pub repeated: Vec<bool>,
    /// By rank: what the call does.
    pub action: Vec<u32>,
    /// By rank: which of the calls given it is.
    pub call: Vec<u32>,
    /// By rank: where it returns.
    pub returned: Vec<u32>,
    /// By rank: its slot. Calls that are open at the same time have different ones.
    pub slot: Vec<u32>,
    /// Slots needed.
    pub width: usize,
    /// The ranks in order of invocation …
    invocations: Vec<u32>,
    /// … and by rank, how many of them are invoked before it returns.
    invoked_before: Vec<u32>,
    /// By rank: whether no call that takes effect for certain is open just after it has returned.
    pub cut_after: Vec<bool>,
    /// By kind: the action, and the first of the unknown calls that has it. Ordered by first invocation.
    pub kinds: Vec<(u32, u32)>,
    /// By number of the unknown call: which of the calls given it is, and where it was invoked.
    pub unknown: Vec<(u32, u32)>,
}

impl<A: Clone + Eq + Hash> Schedule<A> {
    pub fn new(calls: &[Call<A>], reductions: &Reductions) -> Self {
        let mut actions: Vec<A> = Vec::new();
        let mut known: FxHashMap<&A, u32> = FxHashMap::default();
        let mut number = |action| {
            *known.entry(action).or_insert_with(|| {
                actions.push(A::clone(action));
                actions.len() as u32 - 1
            })
        };
        let action_of: Vec<u32> = calls.iter().map(|call| number(&call.action)).collect();
        let mut repeated = vec![false; actions.len()];
        let mut met = repeated.clone();
        for action in &action_of {
            repeated[*action as usize] |= std::mem::replace(&mut met[*action as usize], true);
        }
        let mut call: Vec<u32> =
            (0..calls.len() as u32).filter(|call| calls[*call as usize].is_required()).collect();
        call.sort_unstable_by_key(|call| calls[*call as usize].returned);
        let returned: Vec<u32> = call.iter().map(|call| calls[*call as usize].returned).collect();
        let invoked = |rank: u32| calls[call[rank as usize] as usize].invoked;
        let mut invocations: Vec<u32> = (0..call.len() as u32).collect();
        invocations.sort_unstable_by_key(|rank| invoked(*rank));

        let (mut width, mut free, mut slot) = (0, BinaryHeap::new(), vec![0; call.len()]);
        let mut invoked_before = Vec::with_capacity(call.len());
        let mut cut_after = Vec::with_capacity(call.len());
        let mut next = 0;
        for (rank, end) in returned.iter().enumerate() {
            while next < invocations.len() && invoked(invocations[next]) < *end {
                // The lowest free slot, which keeps sets of slots dense.
                slot[invocations[next] as usize] =
                    free.pop().map_or(width, |std::cmp::Reverse(slot): std::cmp::Reverse<u32>| slot);
                width = width.max(slot[invocations[next] as usize] + 1);
                next += 1;
            }
            invoked_before.push(next as u32);
            cut_after.push(next == rank + 1);
            free.push(std::cmp::Reverse(slot[rank]));
        }

        let mut crashed: Vec<u32> =
            (0..calls.len() as u32).filter(|call| calls[*call as usize].returned == NEVER).collect();
        crashed.sort_unstable_by_key(|call| calls[*call as usize].invoked);
        if reductions.sabotaged(Sabotage::CrashedLatestFirst) {
            crashed.reverse();
        }
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut group_of: FxHashMap<u32, usize> = FxHashMap::default();
        for call in crashed {
            let group = *group_of.entry(action_of[call as usize]).or_insert(groups.len());
            if group == groups.len() || !reductions.crashed_in_order {
                groups.push(vec![call]);
            } else {
                groups[group].push(call);
            }
        }
        let (mut kinds, mut unknown) = (Vec::with_capacity(groups.len()), Vec::new());
        for group in groups {
            kinds.push((action_of[group[0] as usize], unknown.len() as u32));
            unknown.extend(group.iter().map(|call| (*call, calls[*call as usize].invoked)));
        }
        let action = call.iter().map(|call| action_of[*call as usize]).collect();
        Self {
            actions,
            repeated,
            action,
            call,
            returned,
            slot,
            width: width as usize,
            invocations,
            invoked_before,
            cut_after,
            kinds,
            unknown,
        }
    }

    /// How many calls return.
    pub fn returns(&self) -> u32 {
        self.call.len() as u32
    }

    /// The numbers of the unknown calls of one kind.
    pub fn members(&self, kind: usize) -> std::ops::Range<u32> {
        self.kinds[kind].1..self.kinds.get(kind + 1).map_or(self.unknown.len() as u32, |next| next.1)
    }

    /// Whether nothing that must take effect is open just before the call of this rank, and all those after it, are invoked.
    pub fn is_cut(&self, rank: u32) -> bool {
        rank.checked_sub(1).is_none_or(|before| self.cut_after[before as usize])
    }

    /// Ranks that are invoked before the return of `rank` and after the one before it.
    pub fn arrivals(&self, rank: u32) -> &[u32] {
        let from = rank.checked_sub(1).map_or(0, |before| self.invoked_before[before as usize]);
        &self.invocations[from as usize..self.invoked_before[rank as usize] as usize]
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.actions.capacity() * size_of::<A>() + self.call.len() * 25 + self.unknown.len() * 16
    }
}

/// The ranks that are open just before one return, ascending: the one that returns comes first. It moves with the search, back and
/// forth, which costs no more than the search's own steps.
pub(super) struct Window {
    pub at: u32,
    pub open: VecDeque<u32>,
}

impl Window {
    /// Just before the first return.
    pub fn new<A: Clone + Eq + Hash>(schedule: &Schedule<A>) -> Self {
        let mut window = Self { at: 0, open: VecDeque::new() };
        window.admit(schedule);
        window
    }

    fn admit<A: Clone + Eq + Hash>(&mut self, schedule: &Schedule<A>) {
        if self.at < schedule.returns() {
            for rank in schedule.arrivals(self.at) {
                let place = self.open.partition_point(|open| open < rank);
                self.open.insert(place, *rank);
            }
        }
    }

    /// To the next return. Gives the ranks that are invoked before it.
    pub fn forward<'s, A: Clone + Eq + Hash>(&mut self, schedule: &'s Schedule<A>) -> &'s [u32] {
        self.open.pop_front();
        self.at += 1;
        self.admit(schedule);
        if self.at < schedule.returns() { schedule.arrivals(self.at) } else { &[] }
    }

    /// Back to an earlier return.
    pub fn back_to<A: Clone + Eq + Hash>(&mut self, schedule: &Schedule<A>, at: u32) {
        while self.at > at {
            if self.at < schedule.returns() {
                for rank in schedule.arrivals(self.at) {
                    if let Ok(place) = self.open.binary_search(rank) {
                        self.open.remove(place);
                    }
                }
            }
            self.at -= 1;
            self.open.push_front(self.at);
        }
    }
}
