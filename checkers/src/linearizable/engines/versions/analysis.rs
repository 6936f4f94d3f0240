//! Puts the versions in order, with everything that has a place among them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::super::call::{Call, NEVER};
use super::super::super::models::versioned_register::{Action, Condition};
use super::clusters::{Clusters, NONE, Trouble};
use super::{Mistake, makes};

/// What was found out.
pub(super) enum Finding {
    /// Calls with their places, in no order; calls in one place are in the order of their invocations.
    Consistent(Vec<(u64, u32)>),
    /// The versions leave too much open.
    Ambiguous,
    Broken(Broken),
}

/// Why no order fits.
pub(super) struct Broken {
    /// Calls that are impossible together with what they need; empty where that is not known.
    pub core: Vec<u32>,
    /// Up to where the history was looked at.
    pub horizon: u32,
    /// The versions, if they were in order.
    pub clusters: Option<Clusters>,
}

/// Places of a version: first the writes that nobody saw, then these.
const BEFORE: u64 = 1;
const PRODUCER: u64 = 2;
const READS: u64 = 3;
const AFTER: u64 = 4;
const PLACES: u64 = 8;

/// Analyses what happened up to and including the position `horizon`: what had not returned by then is of unknown outcome.
pub(super) fn analyse(calls: &[Call<Action>], horizon: u32) -> Finding {
    let mut clusters = match Clusters::new(calls, horizon) {
        Ok(clusters) => clusters,
        Err(Trouble::Ambiguous) => return Finding::Ambiguous,
        Err(Trouble::Broken(core)) => {
            return Finding::Broken(Broken { core, horizon, clusters: None });
        }
    };
    match arrange(calls, &mut clusters) {
        Ok(placed) => Finding::Consistent(placed),
        Err(Trouble::Ambiguous) => Finding::Ambiguous,
        Err(Trouble::Broken(core)) => Finding::Broken(Broken { core, horizon, clusters: Some(clusters) }),
    }
}

fn arrange(calls: &[Call<Action>], clusters: &mut Clusters) -> Result<Vec<(u64, u32)>, Trouble> {
    let free = place_leftover(calls, clusters)?;
    link(calls, clusters)?;
    let mut placed = Vec::with_capacity(calls.len());
    for (place, cluster) in clusters.all.iter().enumerate() {
        let rank = place as u64 * PLACES;
        placed.extend((cluster.before != NONE).then_some((rank + BEFORE, cluster.before)));
        placed.extend((cluster.producer != NONE).then_some((rank + PRODUCER, cluster.producer)));
        placed.extend(clusters.reads(cluster).map(|call| (rank + READS, call)));
        placed.extend((cluster.after != NONE).then_some((rank + AFTER, cluster.after)));
    }
    check_real_time(calls, clusters, &placed)?;
    let free: Vec<u32> = free.into_iter().filter(|call| !clusters.taken.contains(call)).collect();
    schedule(calls, clusters, &free, &mut placed)?;
    Ok(placed)
}

/// Attaches the conditional writes of unknown version that certainly happened to what they saw; the others that happened are returned.
fn place_leftover(calls: &[Call<Action>], clusters: &mut Clusters) -> Result<Vec<u32>, Trouble> {
    let mut free = Vec::new();
    // Of each value how many versions have it, and the place of one.
    let mut holders: FxHashMap<ValueId, (u32, usize)> = FxHashMap::default();
    let happened: Vec<u32> =
        clusters.unknown.iter().copied().filter(|call| clusters.is_required(calls, *call)).collect();
    for call in happened {
        let Action::Write { condition, .. } = calls[call as usize].action else { continue };
        let place = match condition {
            Condition::Always => {
                free.push(call);
                continue;
            }
            Condition::Version(None) | Condition::Value(ValueId::NULL) => 0,
            Condition::Version(Some(version)) => {
                let Some(place) = clusters.find(version.get()) else { return Err(Trouble::Ambiguous) };
                place
            }
            Condition::Value(value) => {
                if clusters.sources.contains_key(&value) {
                    return Err(Trouble::Ambiguous);
                }
                if holders.is_empty() {
                    for (place, cluster) in clusters.all.iter().enumerate() {
                        holders.entry(cluster.value).or_insert((0, place)).0 += 1;
                    }
                }
                match holders.get(&value) {
                    None => return Err(Trouble::without_source(calls, value, &[call])),
                    Some((1, place)) => *place,
                    Some(_) => return Err(Trouble::Ambiguous),
                }
            }
        };
        let cluster = &mut clusters.all[place];
        if cluster.after != NONE {
            return Err(Trouble::Broken(Vec::new()));
        }
        cluster.after = call;
    }
    Ok(free)
}

/// Checks that every conditional write saw the version before its own.
fn link(calls: &[Call<Action>], clusters: &mut Clusters) -> Result<(), Trouble> {
    for place in 1..clusters.all.len() {
        let (previous, cluster) = (clusters.all[place - 1], clusters.all[place]);
        let Action::Write { condition, .. } = calls[cluster.producer as usize].action else { continue };
        let (mut before, mut tight) = (NONE, false);
        let chained = match condition {
            Condition::Always => false,
            Condition::Version(None) | Condition::Value(ValueId::NULL) => {
                if place > 1 {
                    return Err(Trouble::Broken(vec![cluster.producer, previous.producer]));
                }
                true
            }
            Condition::Version(Some(version)) if version.get() == previous.version => true,
            Condition::Version(Some(_)) if makes(Mistake::ConditionIsFree) => true,
            Condition::Version(Some(version)) => {
                let mut core = vec![cluster.producer];
                // The version expected is an earlier one, and this one is between.
                core.extend((version.get() < previous.version).then_some(previous.witness));
                return Err(Trouble::Broken(core));
            }
            Condition::Value(value) => {
                match clusters.sources.get(&value).filter(|_| !makes(Mistake::ValueConditionForgetsUnknown)) {
                    None if previous.value == value => true,
                    None => return Err(Trouble::Broken(Vec::new())),
                    Some((1, source)) if previous.value != value => {
                        // It may itself have seen the version before, and then nothing else is in between.
                        tight = match calls[*source as usize].action {
                            Action::Write { condition: Condition::Always, .. } => false,
                            // These already have a place.
                            _ if clusters.is_required(calls, *source) => return Err(Trouble::Ambiguous),
                            Action::Write { condition: Condition::Value(seen), .. }
                                if seen == previous.value && !clusters.sources.contains_key(&seen) =>
                            {
                                true
                            }
                            Action::Write { condition: Condition::Version(Some(seen)), .. }
                                if seen.get() == previous.version =>
                            {
                                true
                            }
                            _ => return Err(Trouble::Ambiguous),
                        };
                        before = *source;
                        if !clusters.taken.insert(before) {
                            return Err(Trouble::Broken(Vec::new()));
                        }
                        true
                    }
                    Some(_) => return Err(Trouble::Ambiguous),
                }
            }
        };
        let room = cluster.version - previous.version - 1;
        let needed = u64::from(before != NONE) + u64::from(previous.after != NONE);
        let tight = tight || (chained && before == NONE);
        let torn = tight && previous.after != NONE && !makes(Mistake::ConditionalWriteMayBeTornOff);
        if torn || room < needed {
            return Err(Trouble::Broken(Vec::new()));
        }
        clusters.all[place].before = before;
        clusters.all[place].chained = tight;
    }
    Ok(())
}

/// Checks that no call returned before the invocation of one in an earlier place.
fn check_real_time(
    calls: &[Call<Action>],
    clusters: &Clusters,
    placed: &[(u64, u32)],
) -> Result<(), Trouble> {
    // The call invoked last of all in earlier places, and of those in this one.
    let (mut before, mut here, mut rank) = (NONE, NONE, 0);
    let later = |one: u32, other: u32| {
        if one == NONE || (other != NONE && calls[other as usize].invoked > calls[one as usize].invoked) {
            other
        } else {
            one
        }
    };
    for (at, call) in placed {
        if *at != rank {
            (before, rank) = (later(before, here), *at);
        }
        if before != NONE
            && clusters.is_required(calls, *call)
            && calls[*call as usize].returned < calls[before as usize].invoked
            && !makes(Mistake::RealTimeIsFree)
        {
            return Err(Trouble::Broken(vec![before, *call]));
        }
        here = later(here, *call);
    }
    Ok(())
}

/// Finds gaps for the writes that happened and that nobody saw.
fn schedule(
    calls: &[Call<Action>],
    clusters: &Clusters,
    free: &[u32],
    placed: &mut Vec<(u64, u32)>,
) -> Result<(), Trouble> {
    if free.is_empty() || makes(Mistake::UnseenWritesVanish) {
        return Ok(());
    }
    // The gap in front of each version, and the one at the end. Of each the latest invocation before it and the earliest
    // return after it.
    let gaps = clusters.all.len() + 1;
    let mut invoked = vec![0_u32; gaps];
    let mut returned = vec![NEVER; gaps];
    for (rank, call) in placed.iter() {
        let place = (rank / PLACES) as usize;
        let call = calls[*call as usize];
        invoked[place + 1] = invoked[place + 1].max(call.invoked + 1);
        if call.returned <= clusters.horizon {
            returned[place] = returned[place].min(call.returned);
        }
    }
    for place in 1..gaps {
        invoked[place] = invoked[place].max(invoked[place - 1]);
        returned[gaps - 1 - place] = returned[gaps - 1 - place].min(returned[gaps - place]);
    }
    let mut jobs: Vec<(usize, usize, u32)> = free
        .iter()
        .map(|call| {
            let Call { invoked: from, returned: to, .. } = calls[*call as usize];
            let first = returned.partition_point(|returned| *returned < from).max(1);
            let last = invoked.partition_point(|invoked| *invoked <= to).saturating_sub(1);
            (first, last, *call)
        })
        .collect();
    jobs.sort_unstable();
    let mut jobs = jobs.into_iter().peekable();
    let mut waiting: BinaryHeap<Reverse<(usize, u32)>> = BinaryHeap::new();
    for gap in 1..gaps {
        while let Some((_, last, call)) = jobs.next_if(|job| job.0 <= gap) {
            let deadline = if makes(Mistake::LatestDeadlineFirst) { gaps - last } else { last };
            waiting.push(Reverse((deadline, call)));
        }
        let mut room = clusters.room(gap);
        while room > 0
            && let Some(Reverse((last, call))) = waiting.pop()
        {
            let last = if makes(Mistake::LatestDeadlineFirst) { gaps - last } else { last };
            if last < gap {
                return Err(Trouble::Broken(Vec::new()));
            }
            room -= 1;
            placed.push((gap as u64 * PLACES, call));
        }
    }
    if waiting.is_empty() { Ok(()) } else { Err(Trouble::Broken(Vec::new())) }
}
