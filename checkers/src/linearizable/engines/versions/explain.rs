//! The few calls that show why a versioned history is impossible.

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::super::call::{Call, Contradiction, NEVER};
use super::super::super::models::versioned_register::{Action, Condition};
use super::analysis::{Broken, Finding, analyse};
use super::clusters::NONE;

/// Contradictions that are looked at one after the other before the search for the earliest goes by halves.
const STEPS: usize = 4;

/// The contradiction whose last return is the earliest that can be found. What is impossible stays impossible when more happens;
/// but with fewer returns fewer versions are known, so an earlier contradiction may be one that is not decided here.
pub(super) fn earliest(calls: &[Call<Action>], broken: Broken) -> Contradiction {
    let mut found = explain(calls, &broken);
    for _ in 0..STEPS {
        let Some(known) = &found else { break };
        match analyse(calls, calls[known.culprit].returned - 1) {
            Finding::Broken(broken) => found = explain(calls, &broken),
            Finding::Consistent(_) | Finding::Ambiguous => break,
        }
    }
    let last = found.as_ref().map_or(NEVER - 1, |known| calls[known.culprit].returned);
    let mut returns: Vec<(u32, usize)> = calls
        .iter()
        .enumerate()
        .map(|(index, call)| (call.returned, index))
        .filter(|(returned, _)| *returned <= last)
        .collect();
    returns.sort_unstable();
    // Up to which of the returns it is not known to be impossible.
    let (mut possible, mut impossible) = (0, returns.len().saturating_sub(1));
    while possible < impossible {
        let middle = possible.midpoint(impossible);
        match analyse(calls, returns[middle].0) {
            Finding::Broken(broken) => {
                found = explain(calls, &broken);
                impossible = middle;
            }
            Finding::Consistent(_) | Finding::Ambiguous => possible = middle + 1,
        }
    }
    let culprit = returns.get(impossible).map_or(0, |(_, index)| *index);
    match found {
        Some(found) if found.culprit == culprit => found,
        // What was found is impossible only with calls that are not known.
        _ => Contradiction { culprit, pattern: Vec::new() },
    }
}

/// The contradiction with its calls, if they are known.
fn explain(calls: &[Call<Action>], broken: &Broken) -> Option<Contradiction> {
    let mut pattern = close(calls, broken)?;
    let culprit = pattern.iter().copied().filter(|index| calls[*index].returned <= broken.horizon);
    let culprit = culprit.max_by_key(|index| calls[*index].returned)?;
    pattern.sort_unstable();
    Some(Contradiction { culprit, pattern })
}

/// The calls of the core with all that they need: who made the version that one saw, and who saw what a write of unknown
/// version made. `None` where a place follows from what several writes of one value did not do.
fn close(calls: &[Call<Action>], broken: &Broken) -> Option<Vec<usize>> {
    // Of each version who says to have made it, also too late, and who must have; of each maker its place; of each value how many write it.
    let mut makers: FxHashMap<u64, [u32; 2]> = FxHashMap::default();
    let mut places: FxHashMap<u32, usize> = FxHashMap::default();
    let mut writers: FxHashMap<ValueId, u32> = FxHashMap::default();
    for (index, call) in calls.iter().enumerate() {
        let Action::Write { value, version, .. } = call.action else { continue };
        *writers.entry(value).or_insert(0) += 1;
        if let (Some(version), true) = (version, call.is_required()) {
            makers.insert(version.get(), [index as u32, NONE]);
        }
    }
    let clusters = broken.clusters.as_ref();
    for (place, cluster) in clusters.iter().flat_map(|clusters| clusters.all.iter().enumerate()) {
        if cluster.producer != NONE {
            makers.entry(cluster.version).or_insert([NONE; 2])[1] = cluster.producer;
        }
        for call in [cluster.producer, cluster.before, cluster.after] {
            places.insert(call, place);
        }
    }
    let mut taken = vec![false; calls.len()];
    let mut waiting = broken.core.clone();
    let mut pattern = Vec::new();
    while let Some(index) = waiting.pop() {
        if index == NONE || std::mem::replace(&mut taken[index as usize], true) {
            continue;
        }
        pattern.push(index as usize);
        let call = &calls[index as usize];
        let (condition, value, made) = match call.action {
            Action::Read(_, seen) => {
                waiting.extend(seen.and_then(|seen| makers.get(&seen.get())).into_iter().flatten());
                continue;
            }
            Action::Delete => continue,
            Action::Write { condition, value, version } => (condition, value, version),
        };
        if let Condition::Version(Some(seen)) = condition {
            waiting.extend(makers.get(&seen.get()).into_iter().flatten());
        }
        let (Some(clusters), Some(place)) = (clusters, places.get(&index)) else { continue };
        let cluster = &clusters.all[*place];
        let is_alone = |value| writers.get(&value).is_none_or(|count| *count == 1);
        let previous = place.checked_sub(1).map_or(NONE, |place| clusters.all[place].producer);
        if index == cluster.before || index == cluster.after {
            // A place that follows from values alone.
            waiting.push(cluster.producer);
            let sole = match condition {
                _ if index == cluster.before => {
                    waiting.push(if matches!(condition, Condition::Value(_)) { previous } else { NONE });
                    is_alone(value)
                }
                Condition::Value(seen) => is_alone(seen),
                Condition::Always | Condition::Version(_) => true,
            };
            if !sole {
                return None;
            }
            continue;
        }
        if let Condition::Value(_) = condition {
            waiting.push(if cluster.before == NONE { previous } else { cluster.before });
        }
        if call.returned > broken.horizon || made.is_none() {
            waiting.push(cluster.witness);
            if !is_alone(value) {
                return None;
            }
        }
    }
    Some(pattern)
}
