//! The few calls that show why a history is impossible.

use schism_history::ValueId;

use super::super::super::call::{Call, Contradiction, NEVER};
use super::super::super::models::register::Action;
use super::clusters::{Analysis, Cluster, Fault, Finding, INITIAL, NONE, Source};

type Calls<'c> = &'c [Call<Action<ValueId>>];

/// Faults that are looked at one after the other before the search for the earliest goes by halves.
const STEPS: usize = 4;

/// The contradiction whose last return is the earliest possible. `fault` was just found by `analysis` in the whole history. What is
/// impossible stays impossible when more happens, so one may search by halves; but mostly there is one fault only, which
/// a single look at what came before its last return confirms.
pub(super) fn earliest(analysis: &mut Analysis, calls: Calls<'_>, fault: Fault) -> Contradiction {
    let mut found = explain(analysis, calls, NEVER - 1, fault);
    for _ in 0..STEPS {
        let before = calls[found.culprit].returned - 1;
        match analysis.run(calls, before) {
            Finding::Broken(fault) => found = explain(analysis, calls, before, fault),
            Finding::Consistent | Finding::Ambiguous => return found,
        }
    }
    let last = calls[found.culprit].returned;
    let mut returns: Vec<u32> = calls.iter().map(|call| call.returned).filter(|at| *at < last).collect();
    returns.sort_unstable();
    // Up to which of the returns it is still possible.
    let (mut possible, mut impossible) = (0, returns.len());
    while possible < impossible {
        let middle = possible.midpoint(impossible);
        match analysis.run(calls, returns[middle]) {
            Finding::Broken(fault) => {
                found = explain(analysis, calls, returns[middle], fault);
                impossible = middle;
            }
            Finding::Consistent | Finding::Ambiguous => possible = middle + 1,
        }
    }
    found
}

fn explain(analysis: &Analysis, calls: Calls<'_>, horizon: u32, fault: Fault) -> Contradiction {
    let story = Story::new(analysis, calls, horizon);
    let producer = |cluster: u32| analysis.clusters[cluster as usize].producer;
    let core = match fault {
        Fault::Unfounded(cluster) => match story.readers[cluster as usize] {
            NONE => vec![producer(analysis.clusters[cluster as usize].next)],
            reader => vec![reader],
        },
        Fault::Twice(one, other) => vec![producer(one), producer(other)],
        Fault::Circle => story.circle(),
        Fault::Disordered(head) => story.disorder(head),
        Fault::Crossing(one, other) => story.crossing(one, other),
    };
    let mut pattern = story.close(core);
    if let Fault::Unfounded(_) = fault {
        story.add_late_producers(&mut pattern);
    }
    let culprit = pattern.iter().copied().filter(|index| calls[*index].returned <= horizon);
    let culprit = culprit.max_by_key(|index| calls[*index].returned).unwrap_or_default();
    Contradiction { culprit, pattern }
}

/// A call of a block.
#[derive(Clone, Copy)]
struct Member {
    /// Its place in the order of the block; reads of one value share theirs.
    place: u32,
    call: u32,
    invoked: u32,
    /// [`NEVER`]: not by the horizon.
    returned: u32,
}

struct Story<'s> {
    analysis: &'s Analysis,
    calls: Calls<'s>,
    horizon: u32,
    /// Of each cluster the read that returned first.
    readers: Vec<u32>,
}

impl<'s> Story<'s> {
    fn new(analysis: &'s Analysis, calls: Calls<'s>, horizon: u32) -> Self {
        let mut story = Self { analysis, calls, horizon, readers: vec![NONE; analysis.clusters.len()] };
        for (index, call) in calls.iter().enumerate() {
            let Some(cluster) = story.read_of(call) else { continue };
            let known = story.readers[cluster as usize];
            if known == NONE || call.returned < calls[known as usize].returned {
                story.readers[cluster as usize] = index as u32;
            }
        }
        story
    }

    fn cluster(&self, cluster: u32) -> &Cluster {
        &self.analysis.clusters[cluster as usize]
    }

    fn returned(&self, call: u32) -> u32 {
        let returned = self.calls[call as usize].returned;
        if returned <= self.horizon { returned } else { NEVER }
    }

    /// The cluster of which the call certainly is a read.
    fn read_of(&self, call: &Call<Action<ValueId>>) -> Option<u32> {
        let value = match call.action {
            Action::Read(value) => value,
            Action::Cas(value, new) if value == new => value,
            Action::Write(_) | Action::Cas(..) => return None,
        };
        (call.returned <= self.horizon).then(|| self.analysis.find(value)).flatten()
    }

    /// The calls of a block, in its order.
    fn members(&self, head: u32) -> Vec<Member> {
        let member = |place, call| Member {
            place,
            call,
            invoked: self.calls[call as usize].invoked,
            returned: self.returned(call),
        };
        let mut places = vec![NONE; self.analysis.clusters.len()];
        let mut members = Vec::new();
        let (mut at, mut place) = (head, 0);
        while at != NONE {
            places[at as usize] = place + 1;
            if self.cluster(at).producer != NONE {
                members.push(member(place, self.cluster(at).producer));
            }
            place += 2;
            at = self.cluster(at).next;
        }
        for (index, call) in self.calls.iter().enumerate() {
            if let Some(cluster) = self.read_of(call)
                && places[cluster as usize] != NONE
            {
                members.push(member(places[cluster as usize], index as u32));
            }
        }
        members.sort_by_key(|member| (member.place, member.call));
        members
    }

    /// Two calls of one block, of which the one that has to be later returned before the other was invoked.
    fn disorder(&self, head: u32) -> Vec<u32> {
        let members = self.members(head);
        // Latest invocations of all before a place, and of all up to it.
        let (mut before, mut so_far, mut place) = (0, 0, 0);
        let late = members.iter().find(|member| {
            if member.place != place {
                (before, place) = (so_far, member.place);
            }
            so_far = so_far.max(member.invoked + 1);
            member.returned < before.max(1) - 1
        });
        let Some(late) = late else { return Vec::new() };
        let early = members.iter().find(|early| early.place < late.place && early.invoked > late.returned);
        [Some(late), early].into_iter().flatten().map(|member| member.call).collect()
    }

    /// Calls of two blocks that make each of them be before the other. Those that are first in their blocks are taken, as a call brings
    /// along what is before it.
    fn crossing(&self, one: (u32, u32), other: (u32, u32)) -> Vec<u32> {
        let (Some(one), Some(other)) = (self.analysis.head(one), self.analysis.head(other)) else {
            return Vec::new();
        };
        let mut core = Vec::new();
        for (before, after) in [(one, other), (other, one)] {
            // The initial value needs no call to be the first.
            if before == INITIAL {
                continue;
            }
            let (Some((_, invoked)), _) = self.analysis.block(after) else { continue };
            let (before, after) = (self.members(before), self.members(after));
            // Positions in blocks are one more than in calls.
            let Some(before) = before.iter().find(|member| member.returned < invoked - 1) else { continue };
            core.push(before.call);
            core.extend(
                after.iter().find(|member| member.invoked > before.returned).map(|member| member.call),
            );
        }
        core
    }

    /// Compare-and-sets that need each other's values.
    fn circle(&self) -> Vec<u32> {
        let clusters = &self.analysis.clusters;
        let mut reached = vec![false; clusters.len()];
        for (head, cluster) in clusters.iter().enumerate() {
            if matches!(cluster.source, Source::Start | Source::Write) {
                let mut at = head as u32;
                while at != NONE {
                    reached[at as usize] = true;
                    at = self.cluster(at).next;
                }
            }
        }
        let left = (0..clusters.len())
            .find(|at| !reached[*at] && clusters[*at].source == Source::Cas && clusters[*at].next != NONE);
        left.map(|at| clusters[at].producer).into_iter().collect()
    }

    /// These calls with all that they need: who produced what they observed, and for a call of unknown outcome who
    /// observed what it produced. Without the former the others would be impossible for another reason; without the
    /// latter they would be possible.
    fn close(&self, core: Vec<u32>) -> Vec<usize> {
        let mut taken = vec![false; self.calls.len()];
        let mut waiting = core;
        let mut pattern = Vec::new();
        while let Some(index) = waiting.pop() {
            if std::mem::replace(&mut taken[index as usize], true) {
                continue;
            }
            pattern.push(index as usize);
            let action = self.calls[index as usize].action;
            if let Some(cluster) = action.observes().and_then(|value| self.analysis.find(value)) {
                let producer = self.cluster(cluster).producer;
                waiting.extend((producer != NONE).then_some(producer));
            }
            let needed = self.returned(index) == NEVER;
            if needed && let Some(cluster) = action.produces().and_then(|value| self.analysis.find(value)) {
                waiting.extend(match (self.readers[cluster as usize], self.cluster(cluster).next) {
                    (NONE, NONE) => None,
                    (NONE, next) => Some(self.cluster(next).producer),
                    (reader, _) => Some(reader),
                });
            }
        }
        pattern.sort_unstable();
        pattern
    }

    /// What produces a value that is observed, but was invoked too late.
    fn add_late_producers(&self, pattern: &mut Vec<usize>) {
        let from = self.calls.partition_point(|call| call.invoked <= self.horizon);
        let observed: Vec<ValueId> =
            pattern.iter().filter_map(|index| self.calls[*index].action.observes()).collect();
        let produces = |index: &usize| {
            let action = self.calls[*index].action;
            action.produces() != action.observes()
                && action.produces().is_some_and(|value| observed.contains(&value))
        };
        pattern.extend((from..self.calls.len()).filter(produces));
    }
}
