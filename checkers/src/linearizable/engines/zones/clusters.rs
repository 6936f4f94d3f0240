//! The clusters of a history, the blocks they form, and whether these fit together.

use schism_history::ValueId;

use super::super::super::call::{Call, NEVER};
use super::super::super::models::register::Action;

/// No call, no cluster.
pub(super) const NONE: u32 = u32::MAX;

/// The cluster of the initial value.
pub(super) const INITIAL: u32 = 0;

/// Up to where a history is looked at.
pub(super) struct Everything;

impl Everything {
    /// All of it.
    pub const HORIZON: u32 = NEVER - 1;
}

/// What produces the value of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nothing.
    Nowhere,
    /// The register starts with it.
    Start,
    Write,
    Cas,
}

/// A value: what produced it, and what is known about its reads. Times are positions plus one, so that 0 is before
/// everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    /// The call that produces the value.
    pub producer: u32,
    /// The cluster of what a compare-and-set made of the value.
    pub next: u32,
    /// When the producer was invoked.
    pub produce_invoked: u32,
    /// When the producer returned; [`NEVER`] if its outcome is unknown.
    pub produce_returned: u32,
    /// The latest invocation of a read, or 0.
    pub read_invoked: u32,
    /// The earliest return of a read, or [`NEVER`].
    pub read_returned: u32,
    pub source: Source,
}

impl Cluster {
    const EMPTY: Self = Self {
        producer: NONE,
        next: NONE,
        produce_invoked: 0,
        produce_returned: NEVER,
        read_invoked: 0,
        read_returned: NEVER,
        source: Source::Nowhere,
    };

    /// Whether something that counts needs the register to hold the value.
    pub fn is_observed(&self) -> bool {
        self.read_returned != NEVER || self.next != NONE
    }

    /// Whether the value was there for certain.
    fn counts(&self) -> bool {
        self.produce_returned != NEVER || self.is_observed()
    }
}

/// Why no order fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The value of this cluster was observed, and nothing produces it.
    Unfounded(u32),
    /// Two compare-and-sets changed the same value, which was there once: the clusters of their products.
    Twice(u32, u32),
    /// Compare-and-sets that need each other's values.
    Circle,
    /// In the block that begins with this cluster, an operation returned before the invocation of one that is earlier.
    Disordered(u32),
    /// Two blocks, by beginning and end of their zones, each have to be before the other.
    Crossing((u32, u32), (u32, u32)),
}

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Consistent,
    /// A value that was observed can come from two calls.
    Ambiguous,
    Broken(Fault),
}

/// Which cluster a value has. A table of all values where they lie close together, as the numbers of a counter do: then neighbours in
/// time are neighbours in memory. Otherwise open addressing with linear probing, at most half full.
#[derive(Default)]
struct Directory {
    slots: Vec<(ValueId, u32)>,
    /// The lowest value, in a table of all values.
    base: Option<u32>,
    shift: u32,
}

impl Directory {
    /// Makes room for the values of some calls, of which so many produce one.
    fn reset(&mut self, calls: &[Call<Action<ValueId>>]) {
        let (mut least, mut most, mut products) = (u32::MAX, 0, 0);
        for call in calls {
            products += usize::from(call.action.produces().is_some());
            for value in [call.action.observes(), call.action.produces()].into_iter().flatten() {
                if value != ValueId::NULL {
                    (least, most) = (least.min(value.raw()), most.max(value.raw()));
                }
            }
        }
        let span = most.saturating_sub(least) as usize + 1;
        self.base = (span <= 4 * calls.len()).then_some(least);
        self.clear(if self.base.is_some() { span } else { (2 * products).next_power_of_two().max(16) });
    }

    fn clear(&mut self, size: usize) {
        self.slots.clear();
        self.slots.resize(size, (ValueId::ABSENT, NONE));
        self.shift = 64 - size.trailing_zeros();
    }

    /// Sized for what is produced; what is observed without that comes on top.
    fn grow_for(&mut self, values: usize) {
        if self.base.is_some() || values * 2 <= self.slots.len() {
            return;
        }
        let old = std::mem::take(&mut self.slots);
        self.clear(2 * old.len());
        for slot in old.into_iter().filter(|slot| slot.1 != NONE) {
            let place = self.place(slot.0);
            self.slots[place] = slot;
        }
    }

    /// The place of the value, or of where it belongs.
    #[inline]
    fn place(&self, value: ValueId) -> usize {
        if let Some(base) = self.base {
            return (value.raw() - base) as usize;
        }
        // Multiplying by 2^64 divided by the golden ratio spreads evenly whatever goes up in equal steps.
        let mut place = (u64::from(value.raw()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        while self.slots[place].1 != NONE && self.slots[place].0 != value {
            place = (place + 1) & (self.slots.len() - 1);
        }
        place
    }
}

/// The clusters and blocks of one history, and memory for those of the next.
#[derive(Default)]
pub(super) struct Analysis {
    directory: Directory,
    pub clusters: Vec<Cluster>,
    crashed: Vec<u32>,
    /// Clusters whose value has more than one possible producer.
    repeated: Vec<u32>,
    waiting: Vec<u32>,
    /// Two products of the same value.
    twice: Option<(u32, u32)>,
    /// Zones: beginning in the upper half, end in the lower.
    forward: Vec<u64>,
    backward: Vec<u64>,
    /// A mistake on purpose, to see that the tests find it.
    #[cfg(test)]
    pub mistake: Mistake,
}

/// Plausible mistakes, each of which the tests have to notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Mistake {
    #[default]
    None,
    ForwardMayOverlap,
    BackwardMayBeInside,
    ReadMayPrecedeWrite,
    ChainForgetsReads,
    InitialNeedNotBeFirst,
    UnreadCrashedCounts,
    CrashedCasObservesNothing,
    CrashedInvocationIsForgotten,
    CircleIsFine,
    TwiceIsFine,
    RepeatedIsDistinct,
    CasIsNoLink,
}

/// Bytes of memory that are kept from one key to the next.
const KEPT: usize = 64 << 20;

impl Analysis {
    #[inline]
    fn makes(&self, mistake: Mistake) -> bool {
        #[cfg(test)]
        return self.mistake == mistake;
        #[cfg(not(test))]
        {
            let _ = mistake;
            false
        }
    }

    /// Gives back the memory of an unusually long history.
    pub fn trim(&mut self) {
        if self.directory.slots.capacity() * size_of::<(ValueId, u32)>() > KEPT {
            *self = Self::default();
        }
    }

    /// Analyses what happened up to and including the position `horizon`: what had not returned by then is of unknown outcome.
    pub fn run(&mut self, calls: &[Call<Action<ValueId>>], horizon: u32) -> Finding {
        self.collect(calls, horizon);
        self.resolve_crashed(calls);
        if !self.makes(Mistake::RepeatedIsDistinct)
            && self.repeated.iter().any(|cluster| self.clusters[*cluster as usize].is_observed())
        {
            return Finding::Ambiguous;
        }
        if let Some((one, other)) = self.twice {
            return Finding::Broken(Fault::Twice(one, other));
        }
        let fault = self.form_blocks().or_else(|| self.find_crossing());
        fault.map_or(Finding::Consistent, Finding::Broken)
    }

    /// The cluster of a value, if it has one.
    pub fn find(&self, value: ValueId) -> Option<u32> {
        if value == ValueId::NULL {
            return Some(INITIAL);
        }
        let cluster = self.directory.slots[self.directory.place(value)].1;
        (cluster != NONE).then_some(cluster)
    }

    #[inline]
    fn cluster(&mut self, value: ValueId) -> u32 {
        if value == ValueId::NULL {
            return INITIAL;
        }
        let place = self.directory.place(value);
        let slot = &mut self.directory.slots[place];
        if slot.1 == NONE {
            let cluster = self.clusters.len() as u32;
            *slot = (value, cluster);
            self.clusters.push(Cluster::EMPTY);
            self.directory.grow_for(self.clusters.len());
            return cluster;
        }
        slot.1
    }

    /// All that certainly happened.
    fn collect(&mut self, calls: &[Call<Action<ValueId>>], horizon: u32) {
        self.directory.reset(calls);
        self.clusters.clear();
        self.clusters.push(Cluster { source: Source::Start, ..Cluster::EMPTY });
        self.crashed.clear();
        self.repeated.clear();
        self.waiting.clear();
        self.twice = None;
        for (index, call) in calls.iter().enumerate() {
            if call.invoked > horizon {
                break;
            }
            let required = call.returned <= horizon;
            match call.action {
                Action::Read(value) if required => self.read(value, call),
                Action::Cas(value, new) if value == new && required => self.read(value, call),
                Action::Read(_) => {}
                // Of unknown outcome and without effect.
                Action::Cas(value, new) if value == new => {}
                _ if !required => self.crashed.push(index as u32),
                Action::Write(value) => {
                    self.produce(value, index, call, Source::Write);
                }
                Action::Cas(value, new) => {
                    let from = self.cluster(value);
                    let to = self.produce(new, index, call, Source::Cas);
                    self.link(from, to);
                }
            }
        }
    }

    #[inline]
    fn read(&mut self, value: ValueId, call: &Call<Action<ValueId>>) {
        let cluster = self.cluster(value) as usize;
        let cluster = &mut self.clusters[cluster];
        cluster.read_invoked = cluster.read_invoked.max(call.invoked + 1);
        cluster.read_returned = cluster.read_returned.min(call.returned + 1);
    }

    #[inline]
    fn produce(&mut self, value: ValueId, index: usize, call: &Call<Action<ValueId>>, source: Source) -> u32 {
        let mut cluster = self.cluster(value);
        if self.clusters[cluster as usize].source != Source::Nowhere {
            // As long as nobody observes the value, it does not matter that it is an old one.
            self.repeated.push(cluster);
            cluster = self.clusters.len() as u32;
            self.clusters.push(Cluster::EMPTY);
        }
        let entry = &mut self.clusters[cluster as usize];
        entry.producer = index as u32;
        entry.produce_invoked = call.invoked + 1;
        entry.produce_returned = call.returned + 1;
        entry.source = source;
        cluster
    }

    #[inline]
    fn link(&mut self, from: u32, to: u32) {
        if self.makes(Mistake::CasIsNoLink) {
            self.clusters[to as usize].source = Source::Write;
            return;
        }
        if self.makes(Mistake::TwiceIsFine) && self.clusters[from as usize].next != NONE {
            self.clusters[to as usize].source = Source::Write;
            return;
        }
        let next = &mut self.clusters[from as usize].next;
        if *next == NONE {
            *next = to;
        } else if self.twice.is_none() {
            self.twice = Some((*next, to));
        }
    }

    /// Finds out which of the calls of unknown outcome something needs.
    fn resolve_crashed(&mut self, calls: &[Call<Action<ValueId>>]) {
        for place in 0..self.crashed.len() {
            let index = self.crashed[place];
            let call = &calls[index as usize];
            let Some(value) = call.action.produces() else { continue };
            let cluster = self.cluster(value);
            let forget = self.makes(Mistake::CrashedInvocationIsForgotten);
            let unread_counts = self.makes(Mistake::UnreadCrashedCounts);
            let entry = &mut self.clusters[cluster as usize];
            if entry.source != Source::Nowhere {
                self.repeated.push(cluster);
                continue;
            }
            entry.producer = index;
            entry.produce_invoked = if forget { 0 } else { call.invoked + 1 };
            entry.source = match call.action {
                Action::Cas(..) => Source::Cas,
                _ => Source::Write,
            };
            if entry.source == Source::Cas && (entry.is_observed() || unread_counts) {
                self.waiting.push(cluster);
            }
        }
        if self.makes(Mistake::CrashedCasObservesNothing) {
            return;
        }
        while let Some(cluster) = self.waiting.pop() {
            let producer = self.clusters[cluster as usize].producer;
            let Action::Cas(value, _) = calls[producer as usize].action else { continue };
            let from = self.cluster(value);
            let before = self.clusters[from as usize];
            self.link(from, cluster);
            // It was not needed so far, and now it is.
            if !before.is_observed() && before.source == Source::Cas && before.produce_returned == NEVER {
                self.waiting.push(from);
            }
        }
    }

    /// Finds the zones, and what is wrong inside a block.
    fn form_blocks(&mut self) -> Option<Fault> {
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
    pub fn block(&self, head: u32) -> (Option<(u32, u32)>, usize) {
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
    fn find_crossing(&mut self) -> Option<Fault> {
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
    pub fn head(&self, zone: (u32, u32)) -> Option<u32> {
        (0..self.clusters.len() as u32).find(|head| {
            let cluster = &self.clusters[*head as usize];
            let begins = matches!(cluster.source, Source::Start | Source::Write) && cluster.counts();
            begins
                && self.block(*head).0.is_some_and(|(first, last)| zone == (first.min(last), first.max(last)))
        })
    }

    /// The order of a consistent history.
    pub fn order(&self, calls: &[Call<Action<ValueId>>]) -> Vec<usize> {
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
