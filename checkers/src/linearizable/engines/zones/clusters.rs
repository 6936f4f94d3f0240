//! The clusters of a history: which values there were, who produced them and who saw them.

use schism_history::ValueId;

use super::super::super::call::{Call, NEVER};
use super::super::super::models::register::Action;
use super::directory::Directory;

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
    pub fn counts(&self) -> bool {
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
    pub forward: Vec<u64>,
    pub backward: Vec<u64>,
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
    pub fn makes(&self, mistake: Mistake) -> bool {
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
        if !self.collect(calls, horizon) {
            return Finding::Ambiguous;
        }
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

    /// All that certainly happened; false as soon as it is ambiguous, which nothing that follows can change.
    fn collect(&mut self, calls: &[Call<Action<ValueId>>], horizon: u32) -> bool {
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
            let repeated = self.repeated.len();
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
            if self.repeated.len() > repeated
                && !self.makes(Mistake::RepeatedIsDistinct)
                && self.repeated.last().is_some_and(|cluster| self.clusters[*cluster as usize].is_observed())
            {
                return false;
            }
        }
        true
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
}
