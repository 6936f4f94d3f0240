//! The versions of a history: who made each, who saw it, and the writes of which no version is known.

use rustc_hash::{FxHashMap, FxHashSet};
use schism_history::ValueId;

use super::super::super::call::Call;
use super::super::super::models::versioned_register::{Action, Condition};
use super::{Mistake, makes};

/// No call.
pub(super) const NONE: u32 = u32::MAX;

/// A version and the calls that speak of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    pub version: u64,
    /// Who made it.
    pub producer: u32,
    /// A call that says what its value is: a read, or the producer.
    pub witness: u32,
    /// The value, if there is a witness.
    pub value: ValueId,
    /// A conditional write that happened and needs this version.
    pub expected: u32,
    /// Places of its reads in [`Clusters::entries`].
    pub from: u32,
    pub to: u32,
    /// A write of unknown version that must stand right in front of the producer.
    pub before: u32,
    /// A conditional write of unknown version that follows at once.
    pub after: u32,
    /// Whether the producer, or what must stand in front of it, follows the version before at once.
    pub chained: bool,
}

/// What a call says about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Read,
    Made,
    Expected,
    /// Expected by a write of unknown outcome.
    Perhaps,
}

/// All versions of a history up to some position, ascending, the initial one first.
pub(super) struct Clusters {
    pub all: Vec<Cluster>,
    entries: Vec<(u64, Role, u32)>,
    /// Writes of which no version is known.
    pub unknown: Vec<u32>,
    /// Of each value how many of these there are, and one of them.
    pub sources: FxHashMap<ValueId, (u32, u32)>,
    /// Those that have a place in front of a version.
    pub taken: FxHashSet<u32>,
    pub horizon: u32,
}

/// Why the versions alone are impossible, or leave too much open.
pub(super) enum Trouble {
    Ambiguous,
    /// Calls that contradict each other.
    Broken(Vec<u32>),
}

/// Writes of one value that a contradiction may speak of.
const FEW: usize = 6;

impl Trouble {
    /// The observers of a value lack someone who wrote it. This is so only because all that wrote it did not do it for them.
    pub fn without_source(calls: &[Call<Action>], value: ValueId, observers: &[u32]) -> Self {
        let writes =
            |call: &Call<Action>| matches!(call.action, Action::Write { value: other, .. } if other == value);
        let writers = (0..calls.len()).filter(|index| writes(&calls[*index])).map(|index| index as u32);
        let core: Vec<u32> = observers.iter().copied().chain(writers).take(FEW + 1).collect();
        Self::Broken(if core.len() > FEW { Vec::new() } else { core })
    }
}

impl Clusters {
    /// Whether the call certainly took effect before the horizon.
    pub fn is_required(&self, calls: &[Call<Action>], call: u32) -> bool {
        calls[call as usize].returned <= self.horizon
    }

    /// The reads of a version.
    pub fn reads(&self, cluster: &Cluster) -> impl Iterator<Item = u32> {
        self.entries[cluster.from as usize..cluster.to as usize].iter().map(|(_, _, call)| *call)
    }

    /// How many writes fit into the gap in front of the version at `place`; after the last one, any number.
    pub fn room(&self, place: usize) -> u64 {
        match (self.all.get(place - 1), self.all.get(place)) {
            (Some(_), Some(cluster)) if cluster.chained && !makes(Mistake::RoomInsideConditional) => 0,
            _ if makes(Mistake::RoomIsEndless) => u64::MAX,
            (Some(previous), Some(cluster)) => {
                let used = u64::from(cluster.before != NONE) + u64::from(previous.after != NONE);
                cluster.version - previous.version - 1 - used
            }
            _ => u64::MAX,
        }
    }

    /// The place of a version that a call names.
    pub fn find(&self, version: u64) -> Option<usize> {
        self.all.binary_search_by_key(&version, |cluster| cluster.version).ok()
    }

    pub fn new(calls: &[Call<Action>], horizon: u32) -> Result<Self, Trouble> {
        let mut clusters = Self {
            all: Vec::new(),
            entries: vec![(0, Role::Made, NONE)],
            unknown: Vec::new(),
            sources: FxHashMap::default(),
            taken: FxHashSet::default(),
            horizon,
        };
        clusters.collect(calls)?;
        clusters.group(calls)?;
        clusters.settle_unknown(calls)?;
        Ok(clusters)
    }

    fn collect(&mut self, calls: &[Call<Action>]) -> Result<(), Trouble> {
        let known = &calls[..calls.partition_point(|call| call.invoked <= self.horizon)];
        let (mut deletions, mut required_deletions, mut absent) = (0, 0, 0);
        for (index, call) in known.iter().enumerate() {
            let index = index as u32;
            let required = call.returned <= self.horizon;
            match call.action {
                Action::Read(_, version) => {
                    if required {
                        absent += usize::from(version.is_none());
                        self.entries.push((version.map_or(0, u64::from), Role::Read, index));
                    }
                }
                Action::Delete => {
                    deletions += 1;
                    required_deletions += usize::from(required);
                }
                Action::Write { condition, value, version } => {
                    match condition {
                        Condition::Always => {}
                        Condition::Version(None) | Condition::Value(ValueId::NULL) => absent += 1,
                        Condition::Value(_) => {}
                        Condition::Version(Some(expected)) => {
                            let role = if required { Role::Expected } else { Role::Perhaps };
                            self.entries.push((expected.get(), role, index));
                        }
                    }
                    match version.filter(|_| required) {
                        Some(version) => self.entries.push((version.get(), Role::Made, index)),
                        None => {
                            self.unknown.push(index);
                            let source = self.sources.entry(value).or_insert((0, index));
                            source.0 += 1;
                        }
                    }
                }
            }
        }
        // A deletion of unknown outcome of which nobody saw anything can be left out, like a write.
        let matters =
            (required_deletions > 0 || (deletions > 0 && absent > 0)) && !makes(Mistake::DeletionsVanish);
        if matters { Err(Trouble::Ambiguous) } else { Ok(()) }
    }

    fn group(&mut self, calls: &[Call<Action>]) -> Result<(), Trouble> {
        self.entries.sort_unstable();
        let mut at = 0;
        while at < self.entries.len() {
            let version = self.entries[at].0;
            let mut cluster = Cluster {
                version,
                producer: NONE,
                witness: NONE,
                value: ValueId::NULL,
                expected: NONE,
                from: at as u32,
                to: at as u32,
                before: NONE,
                after: NONE,
                chained: false,
            };
            while let Some((_, role, call)) = self.entries.get(at).filter(|entry| entry.0 == version) {
                at += 1;
                if *call == NONE {
                    continue;
                }
                let value = match calls[*call as usize].action {
                    Action::Read(value, _) | Action::Write { value, .. } => value,
                    Action::Delete => continue,
                };
                match role {
                    Role::Read => cluster.to = at as u32,
                    Role::Made if cluster.producer != NONE && !makes(Mistake::VersionMayBeMadeTwice) => {
                        return Err(Trouble::Broken(vec![cluster.producer, *call]));
                    }
                    Role::Made => cluster.producer = *call,
                    Role::Expected => {
                        cluster.expected = *call;
                        continue;
                    }
                    Role::Perhaps => continue,
                }
                if cluster.witness != NONE && cluster.value != value && !makes(Mistake::ValuesMayDiffer) {
                    return Err(Trouble::Broken(vec![cluster.witness, *call]));
                }
                (cluster.witness, cluster.value) = (*call, value);
            }
            // What only a write of unknown outcome speaks of may never have been.
            if version == 0 || cluster.witness != NONE || cluster.expected != NONE {
                self.all.push(cluster);
            }
        }
        Ok(())
    }

    /// Finds who made the versions that no acknowledgement names.
    fn settle_unknown(&mut self, calls: &[Call<Action>]) -> Result<(), Trouble> {
        let mut used: FxHashMap<u32, u32> = FxHashMap::default();
        for place in 1..self.all.len() {
            let cluster = self.all[place];
            if cluster.producer != NONE {
                continue;
            }
            if cluster.witness == NONE {
                // Nobody says what its value was.
                let nobody = self.unknown.is_empty();
                return Err(if nobody { Trouble::Broken(Vec::new()) } else { Trouble::Ambiguous });
            }
            match self.sources.get(&cluster.value) {
                None => return Err(Trouble::without_source(calls, cluster.value, &[cluster.witness])),
                Some((count, source)) if *count == 1 || makes(Mistake::OneSourceOfManyWillDo) => {
                    let other = used.insert(*source, cluster.witness);
                    if let Some(other) = other.filter(|_| !makes(Mistake::SourceServesTwice)) {
                        let core = [other, cluster.witness];
                        return Err(Trouble::without_source(calls, cluster.value, &core));
                    }
                    self.all[place].producer = *source;
                }
                Some(_) => return Err(Trouble::Ambiguous),
            }
        }
        // A write of unknown outcome that turned out to be needed needs the version it expected.
        for source in used.keys() {
            if let Action::Write { condition: Condition::Version(Some(version)), .. } =
                calls[*source as usize].action
                && self.find(version.get()).is_none()
            {
                return Err(Trouble::Ambiguous);
            }
        }
        self.unknown.retain(|call| !used.contains_key(call));
        self.sources.clear();
        for call in &self.unknown {
            if let Action::Write { value, .. } = calls[*call as usize].action {
                self.sources.entry(value).or_insert((0, *call)).0 += 1;
            }
        }
        Ok(())
    }
}
