//! Locks that only their owner may release, with and without tokens.

use super::holds::{self, Conflict, Holds, Kind};
use super::sabotage::Sabotage;
use super::zones;
use crate::linearizable::budget::Budget;
use crate::linearizable::call::{Answer, Call, Contradiction, Decision, NEVER};
use crate::linearizable::models::owner_lock::Action;

/// The name in results.
pub(crate) const NAME: &str = "lock-zones";

/// What is known for certain.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The holds in this order fit, and so do all calls.
    Fits(Holds, Vec<u32>),
    Impossible(Conflict),
    Unsure,
}

/// Decides, unless an owner has calls that overlap each other, or calls of unknown outcome that leave open what its holds
/// were and it matters.
pub(crate) fn decide(calls: &[Call<Action>], reentrant: bool, _budget: Budget) -> Option<Decision> {
    let answer = answer(calls, reentrant, Sabotage::None)?;
    Some(Decision { answer, engine: NAME })
}

/// An order that fits, if there is one and [`decide`] can tell.
pub(crate) fn order(calls: &[Call<Action>], reentrant: bool) -> Option<Vec<usize>> {
    let Verdict::Fits(holds, order) = judge(calls, reentrant, Sabotage::None) else { return None };
    let mut effects = Vec::with_capacity(calls.len());
    for hold in order {
        let hold = holds.holds[hold as usize];
        effects.extend(holds.members(&hold).iter().map(|index| *index as usize));
    }
    Some(effects)
}

pub(super) fn answer(calls: &[Call<Action>], reentrant: bool, sabotage: Sabotage) -> Option<Answer> {
    match judge(calls, reentrant, sabotage) {
        Verdict::Fits(..) => Some(Answer::Linearizable),
        Verdict::Unsure => None,
        Verdict::Impossible(conflict) => {
            Some(Answer::Impossible(contradiction(calls, reentrant, conflict, sabotage)))
        }
    }
}

/// Whether the calls can be put in order. See [`holds`] for why this is exact.
pub(super) fn judge(calls: &[Call<Action>], reentrant: bool, sabotage: Sabotage) -> Verdict {
    let holds = match holds::form(calls, reentrant, sabotage) {
        Ok(holds) => holds,
        Err(conflict) => return Verdict::Impossible(conflict),
    };
    let kind = |owner: u32| holds.kinds[owner as usize];
    let determined = |owner: u32| kind(owner) == Kind::Determined;
    let unformed = holds.kinds.contains(&Kind::Unformed);
    if !unformed || sabotage == Sabotage::UndeterminedFits {
        match zones::arrange(&holds.holds, |_| true, sabotage) {
            Ok(order) => return Verdict::Fits(holds, order),
            Err(clash) if !holds.kinds.contains(&Kind::Possible) => {
                return Verdict::Impossible(clash.conflict(&holds, |hold| holds.is_certain(calls, hold)));
            }
            Err(_) => {}
        }
    }
    match zones::arrange(&holds.holds, |hold| determined(hold.owner), sabotage) {
        Ok(order) if sabotage == Sabotage::UndeterminedFits => Verdict::Fits(holds, order),
        Ok(_) => Verdict::Unsure,
        Err(clash) => Verdict::Impossible(clash.conflict(&holds, |hold| holds.is_certain(calls, hold))),
    }
}

/// The calls up to a position: what was open then is of unknown outcome.
fn up_to(calls: &[Call<Action>], position: u32) -> Vec<Call<Action>> {
    let before = calls.iter().take_while(|call| call.invoked <= position);
    before
        .map(|call| {
            if call.returned <= position {
                return *call;
            }
            let action = match call.action {
                Action::Acquire(owner, _) => Action::Acquire(owner, None),
                release @ Action::Release(_) => release,
            };
            Call { action, returned: NEVER, ..*call }
        })
        .collect()
}

/// Finds the return up to which no order fits. What the conflict shows is usually that one already; otherwise it is sought by
/// bisection.
fn contradiction(
    calls: &[Call<Action>],
    reentrant: bool,
    conflict: Conflict,
    sabotage: Sabotage,
) -> Contradiction {
    let mut returns: Vec<(u32, u32)> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.is_required())
        .map(|(index, call)| (call.returned, index as u32))
        .collect();
    returns.sort_unstable();
    let impossible = |place: usize| match judge(&up_to(calls, returns[place].0), reentrant, sabotage) {
        Verdict::Impossible(conflict) => Some(conflict),
        Verdict::Fits(..) | Verdict::Unsure => None,
    };
    // Up to `high` it is impossible, and not known to be up to before `low`.
    let (mut low, mut high) = (0, returns.len().saturating_sub(1));
    let shown = returns.partition_point(|(position, _)| *position < conflict.position).min(high);
    if impossible(shown).is_some() {
        high = shown;
        if shown > 0 && impossible(shown - 1).is_none() {
            low = shown;
        }
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match impossible(middle) {
            Some(_) => high = middle,
            None => low = middle + 1,
        }
    }
    let culprit = returns.get(high).map_or(0, |(_, index)| *index as usize);
    let pattern = if conflict.pattern.contains(&culprit) { conflict.pattern } else { Vec::new() };
    Contradiction { culprit, pattern }
}
