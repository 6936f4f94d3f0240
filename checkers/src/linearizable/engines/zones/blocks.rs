//! The blocks that clusters form, and whether they fit together.

use schism_history::ValueId;

use super::super::super::call::{Call, NEVER};
use super::super::super::models::register::Action;
use super::clusters::{Analysis, Fault, INITIAL, Mistake, NONE, Source};

impl Analysis {
    /// Finds the zones, and what is wrong inside a block.
    pub(super) fn form_blocks(&mut self) -> Option<Fault> {
        self.forward.clear();
        self.backward.clear();
        // Clusters that a compare-and-set produced, and how many of them a block has reached.
        let (mut linked, mut reached) = (0_usize, 0_usize);
        for head in 0..self.clusters.len() as u32 {
            let cluster = &self.clusters[head as usize];
            if !cluster.counts() {
                continue;
            }
            match cluster.source {
                Source::Nowhere => return Some(Fault::Unfounded(head)),
                Source::Cas => linked += 1,
                Source::Start | Source::Write => {
                    let (block, length) = self.block(head);
                    let Some((first, last)) = block else { return Some(Fault::Disordered(head)) };
                    reached += length;
                    if first < last {
                        self.forward.push(u64::from(first) << 32 | u64::from(last));
                    } else {
                        self.backward.push(u64::from(last) << 32 | u64::from(first));
                    }
                }
            }
        }
        (reached < linked && !self.makes(Mistake::CircleIsFine)).then_some(Fault::Circle)
    }

    /// The earliest return and the latest invocation of the block that begins with `head`, unless its inner order is
    /// impossible; and how many clusters follow the first.
    #[inline]
    pub(super) fn block(&self, head: u32) -> (Option<(u32, u32)>, usize) {
        let lenient = self.makes(Mistake::ReadMayPrecedeWrite);
        let (mut first, mut last, mut length, mut at) = (NEVER, 0, 0, head);
        if head == INITIAL && !self.makes(Mistake::InitialNeedNotBeFirst) {
            // The initial value was there before everything.
            first = 0;
        }
        loop {
            let cluster = &self.clusters[at as usize];
            if cluster.produce_returned < last && !lenient {
                return (None, length);
            }
            last = last.max(cluster.produce_invoked);
            if cluster.read_returned < last && !lenient {
                return (None, length);
            }
            if !self.makes(Mistake::ChainForgetsReads) || cluster.next == NONE {
                last = last.max(cluster.read_invoked);
            }
            first = first.min(cluster.produce_returned).min(cluster.read_returned);
            if cluster.next == NONE {
                return (Some((first, last)), length);
            }
            at = cluster.next;
            length += 1;
        }
    }

    /// Two blocks of which each has to be before the other.
    pub(super) fn find_crossing(&mut self) -> Option<Fault> {
        let zone = |packed: u64| ((packed >> 32) as u32, packed as u32);
        sort(&mut self.forward);
        let neighbours = self.forward.array_windows::<2>();
        let mut overlaps = neighbours.map(|[one, other]| (zone(*one), zone(*other)));
        let overlap = overlaps.find(|(one, other)| other.0 < one.1);
        if let (Some((one, other)), false) = (overlap, self.makes(Mistake::ForwardMayOverlap)) {
            return Some(Fault::Crossing(one, other));
        }
        if self.makes(Mistake::BackwardMayBeInside) {
            return None;
        }
        // The forward zones are disjoint, so only the last that begins before a backward one can contain it. Backward zones come
        // almost in order, too, so it is mostly near the one of the zone before.
        let mut after = 0;
        self.backward.iter().find_map(|inner| {
            after = near(&self.forward, after, *inner);
            let outer = zone(*self.forward.get(after.checked_sub(1)?)?);
            let inner = zone(*inner);
            (inner.1 < outer.1).then_some(Fault::Crossing(outer, inner))
        })
    }

    /// The cluster with which the block of this zone begins.
    pub(super) fn head(&self, zone: (u32, u32)) -> Option<u32> {
        (0..self.clusters.len() as u32).find(|head| {
            let cluster = &self.clusters[*head as usize];
            let begins = matches!(cluster.source, Source::Start | Source::Write) && cluster.counts();
            begins
                && self.block(*head).0.is_some_and(|(first, last)| zone == (first.min(last), first.max(last)))
        })
    }

    /// The order of a consistent history.
    pub(super) fn order(&self, calls: &[Call<Action<ValueId>>]) -> Vec<usize> {
        let mut heads: Vec<(u32, u32)> = Vec::new();
        for head in 0..self.clusters.len() as u32 {
            let cluster = &self.clusters[head as usize];
            if matches!(cluster.source, Source::Start | Source::Write)
                && cluster.counts()
                && let (Some((first, last)), _) = self.block(head)
            {
                heads.push((first.min(last), head));
            }
        }
        heads.sort_unstable();
        // Each cluster's place, twice: producers have even ranks and reads the odd one that follows. Of reads of one
        // value, the order of invocations agrees with real time.
        let mut ranks = vec![NONE; self.clusters.len()];
        let mut rank = 0;
        for (_, head) in heads {
            let mut at = head;
            while at != NONE {
                ranks[at as usize] = rank;
                rank += 2;
                at = self.clusters[at as usize].next;
            }
        }
        let mut placed: Vec<(u32, u32)> = Vec::with_capacity(calls.len());
        for (cluster, rank) in self.clusters.iter().zip(&ranks) {
            if *rank != NONE && cluster.producer != NONE {
                placed.push((*rank, cluster.producer));
            }
        }
        for (index, call) in calls.iter().enumerate() {
            let value = match call.action {
                Action::Read(value) => value,
                Action::Cas(value, new) if value == new => value,
                Action::Write(_) | Action::Cas(..) => continue,
            };
            if let (true, Some(cluster)) = (call.is_required(), self.find(value)) {
                placed.push((ranks[cluster as usize] + 1, index as u32));
            }
        }
        placed.sort_unstable();
        placed.into_iter().map(|(_, index)| index as usize).collect()
    }
}

/// Sorts zones, which mostly are almost in order, since blocks are found in the order of their first invocations.
fn sort(zones: &mut [u64]) {
    let mut moves = 4 * zones.len();
    for end in 1..zones.len() {
        let zone = zones[end];
        let mut at = end;
        while at > 0 && zones[at - 1] > zone {
            at -= 1;
        }
        zones.copy_within(at..end, at + 1);
        zones[at] = zone;
        moves = moves.saturating_sub(end - at);
        if moves == 0 {
            return zones.sort_unstable();
        }
    }
}

/// Steps that are tried before searching by halves.
const NEAR: usize = 8;

/// How many of the sorted zones are below `zone`. `guess` is tried first.
fn near(zones: &[u64], guess: usize, zone: u64) -> usize {
    let mut at = guess.min(zones.len());
    for _ in 0..NEAR {
        if at > 0 && zones[at - 1] >= zone {
            at -= 1;
        } else if at < zones.len() && zones[at] < zone {
            at += 1;
        } else {
            return at;
        }
    }
    zones.partition_point(|other| *other < zone)
}
