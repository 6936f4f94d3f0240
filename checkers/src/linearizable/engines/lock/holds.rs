//! Which calls belong to one hold.
//!
//! The required calls of an owner come one after the other (if two of them overlap, the owner is not decided here). In every order that
//! fits the effects of an owner form holds: on a plain lock acquire and release in turn, on a reentrant one a group of
//! as many releases as acquires; and nothing of other owners takes effect in the middle of a hold. The last hold may lack releases. A hold of calls of unknown
//! outcome only can be taken out of any order, so that each hold has a required call, and so the holds of an owner come in the order of these.
//!
//! The calls of unknown outcome of one owner and kind can be exchanged for each other. If an order has the later one earlier, or uses it
//! in place of the earlier one, exchanging the two fits as well: the earlier one can stand wherever the later one can, and both return
//! never. So they are used in the order of their invocations.
//!
//! **Plain lock.** Between two required acquires there must be a release of unknown outcome, between two required releases (or before the first
//! call, if that is a release) an acquire of unknown outcome; after a last acquire a release is a help: the hold ends. Beyond these *needs* only one
//! thing is of use: between an acquire and its release, a release and an acquire, which *splits* the hold in two. That takes
//! a spare call of either kind. If the owner has none to spare of one kind, the holds are determined. Otherwise those without splits are
//! still possible ones: if they can be put in order that is the answer, and if the calls of all other owners cannot be put in
//! order by themselves, that is the answer, too, since leaving out an owner leaves a fitting order fitting.
//!
//! **Reentrant lock.** If the required calls never release more than they acquired, acquires of unknown outcome are of use only together with
//! releases of unknown outcome (leaving one out, all depths after it are one lower, and still none is negative). So without releases of
//! unknown outcome before the owner's last return the holds are determined: the releases after it end the last hold if there are enough.
//! Everything else is undetermined as above.

use rustc_hash::FxHashMap;

use super::sabotage::Sabotage;
use crate::linearizable::call::{Call, NEVER};
use crate::linearizable::models::owner_lock::Action;

/// Calls that take effect with nothing of other owners in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// The earliest return.
    pub first: u32,
    /// The latest invocation; [`NEVER`] if the lock is not released.
    pub last: u32,
    /// The token, if one is known.
    pub token: Option<i64>,
    /// Its calls in the order of effect, in [`Holds::members`].
    pub from: u32,
    /// Where they end.
    pub to: u32,
    /// The owner.
    pub owner: u32,
}

/// What is known about an owner's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is one way to form holds that is as good as any.
    Determined,
    /// The holds are one possible way among several.
    Possible,
    /// No holds were formed.
    Unformed,
}

/// The holds of all owners.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub holds: Vec<Hold>,
    pub members: Vec<u32>,
    /// By owner.
    pub kinds: Vec<Kind>,
}

impl Holds {
    /// The calls of a hold, in the order of effect.
    pub fn members(&self, hold: &Hold) -> &[u32] {
        &self.members[hold.from as usize..hold.to as usize]
    }

    /// Whether it was a hold, whatever else took effect: the owner's other calls of unknown outcome were invoked after it.
    pub fn is_certain(&self, calls: &[Call<Action>], hold: &Hold) -> bool {
        let members = self.members(hold);
        let Some(owner) = members.first().map(|index| calls[*index as usize].action.owner()) else {
            return false;
        };
        let ends = members.iter().map(|index| &calls[*index as usize]);
        let ends = ends.map(|call| if call.is_required() { call.returned } else { call.invoked });
        let end = if hold.last == NEVER { NEVER } else { ends.max().unwrap_or(NEVER) };
        calls.iter().enumerate().all(|(index, call)| {
            let other =
                call.action.owner() == owner && !call.is_required() && !members.contains(&(index as u32));
            !other || call.invoked > end
        })
    }
}

/// Calls for which there is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The position of a return by which it shows.
    pub position: u32,
    /// A few calls that are impossible together; empty if not known.
    pub pattern: Vec<usize>,
}

/// Forms the holds of each owner.
///
/// # Errors
/// There is no way.
pub(super) fn form(calls: &[Call<Action>], reentrant: bool, sabotage: Sabotage) -> Result<Holds, Conflict> {
    let (sorted, ends) = by_owner(calls);
    let mut holds = Holds { members: Vec::with_capacity(calls.len()), ..Holds::default() };
    let mut from = 0;
    for (owner, end) in ends.into_iter().enumerate() {
        let former = Former { calls, own: &sorted[from..end], owner: owner as u32, sabotage };
        let kind = former.form(reentrant, &mut holds)?;
        holds.kinds.push(kind);
        from = end;
    }
    Ok(holds)
}

/// The calls by owner, each owner's in the order of invocations; and where each owner's end.
fn by_owner(calls: &[Call<Action>]) -> (Vec<u32>, Vec<usize>) {
    let mut numbers = FxHashMap::default();
    let mut ends: Vec<usize> = Vec::new();
    let mut owners: Vec<u32> = Vec::with_capacity(calls.len());
    for call in calls {
        let next = ends.len() as u32;
        let owner = *numbers.entry(call.action.owner()).or_insert(next);
        if owner == next {
            ends.push(0);
        }
        ends[owner as usize] += 1;
        owners.push(owner);
    }
    let mut total = 0;
    for end in &mut ends {
        total += std::mem::replace(end, total);
    }
    let mut sorted = vec![0_u32; calls.len()];
    for (index, owner) in owners.into_iter().enumerate() {
        let end = &mut ends[owner as usize];
        sorted[*end] = index as u32;
        *end += 1;
    }
    (sorted, ends)
}

/// One owner's calls.
struct Former<'c> {
    calls: &'c [Call<Action>],
    own: &'c [u32],
    owner: u32,
    sabotage: Sabotage,
}

/// The calls of unknown outcome of one kind, in the order of invocations.
#[derive(Default)]
struct Spare {
    calls: Vec<u32>,
    used: usize,
    /// How many were invoked before the owner's last return.
    early: usize,
}

impl Former<'_> {
    fn call(&self, index: u32) -> &Call<Action> {
        &self.calls[index as usize]
    }

    fn is_acquire(&self, index: u32) -> bool {
        matches!(self.call(index).action, Action::Acquire(..))
    }

    fn required(&self) -> impl Iterator<Item = u32> + '_ {
        self.own.iter().copied().filter(|index| self.call(*index).is_required())
    }

    fn form(&self, reentrant: bool, holds: &mut Holds) -> Result<Kind, Conflict> {
        let mut end = None;
        for index in self.required() {
            let call = self.call(index);
            if end.is_some_and(|end| call.invoked < end) && self.sabotage != Sabotage::IgnoreConcurrency {
                return Ok(Kind::Unformed);
            }
            end = end.max(Some(call.returned));
        }
        // Without required calls there is nothing to place.
        let Some(end) = end else { return Ok(Kind::Determined) };
        let (mut acquires, mut releases) = (Spare::default(), Spare::default());
        for index in self.own.iter().copied().filter(|index| !self.call(*index).is_required()) {
            let spare = if self.is_acquire(index) { &mut acquires } else { &mut releases };
            spare.calls.push(index);
            spare.early += usize::from(self.call(index).invoked < end);
        }
        match self.sabotage {
            Sabotage::NewestFirst => {
                acquires.calls.reverse();
                releases.calls.reverse();
            }
            Sabotage::CrashedReleaseNever => releases.calls.clear(),
            Sabotage::CrashedAcquireNever => acquires.calls.clear(),
            _ => {}
        }
        let formed = (holds.holds.len(), holds.members.len());
        let kind = match reentrant {
            false => self.plain(acquires, releases, holds)?,
            true => self.reentrant(&acquires, &releases, holds)?,
        };
        if kind == Kind::Unformed {
            holds.holds.truncate(formed.0);
            holds.members.truncate(formed.1);
        }
        Ok(kind)
    }

    /// There is no place for `index`; with `before` it is impossible by itself, if the owner has no calls of unknown outcome.
    fn conflict(&self, before: Option<u32>, index: u32) -> Conflict {
        let certain = self.own.iter().all(|index| self.call(*index).is_required());
        let pattern = before.into_iter().chain([index]).filter(|_| certain);
        Conflict {
            position: self.call(index).returned,
            pattern: pattern.map(|index| index as usize).collect(),
        }
    }

    fn plain(&self, mut acquires: Spare, mut releases: Spare, holds: &mut Holds) -> Result<Kind, Conflict> {
        let mut held: Option<u32> = None;
        let mut last = None;
        let mut whole = false;
        for index in self.required() {
            let before = last.replace(index);
            match (self.is_acquire(index), held) {
                (true, None) => held = Some(index),
                (true, Some(acquire)) => {
                    let release =
                        self.take(&mut releases, index).ok_or_else(|| self.conflict(before, index))?;
                    self.push(holds, &[acquire, release], true);
                    held = Some(index);
                }
                (false, Some(acquire)) => {
                    self.push(holds, &[acquire, index], true);
                    whole = true;
                    held = None;
                }
                (false, None) => {
                    let acquire =
                        self.take(&mut acquires, index).ok_or_else(|| self.conflict(before, index))?;
                    self.push(holds, &[acquire, index], true);
                }
            }
        }
        // A hold is split between two required calls, so with calls invoked before the owner's last return.
        let spare = acquires.used < acquires.early && releases.used < releases.early;
        if let Some(acquire) = held {
            match releases.calls.get(releases.used) {
                Some(release) => self.push(holds, &[acquire, *release], true),
                None => self.push(holds, &[acquire], false),
            }
        }
        let undetermined = whole && spare && self.sabotage != Sabotage::NoSplits;
        Ok(if undetermined { Kind::Possible } else { Kind::Determined })
    }

    /// The next call of unknown outcome, if it was invoked before `by` returned.
    fn take(&self, spare: &mut Spare, by: u32) -> Option<u32> {
        let index = *spare.calls.get(spare.used)?;
        (self.call(index).invoked < self.call(by).returned).then(|| {
            spare.used += 1;
            index
        })
    }

    fn reentrant(&self, acquires: &Spare, releases: &Spare, holds: &mut Holds) -> Result<Kind, Conflict> {
        let mut last = None;
        let (mut sum, mut negative, mut tokens) = (0_isize, false, false);
        for index in self.required() {
            let before = last.replace(index);
            tokens |= self.call(index).action.token().is_some();
            sum += if self.is_acquire(index) { 1 } else { -1 };
            let returned = self.call(index).returned;
            let helpers = acquires.calls.partition_point(|helper| self.call(*helper).invoked < returned);
            if sum + (helpers as isize) < 0 {
                return Err(self.conflict(before, index));
            }
            negative |= sum < 0;
        }
        if negative {
            return Ok(Kind::Unformed);
        }
        let joinable = tokens && acquires.early > 0 && self.sabotage != Sabotage::NoJoining;
        let determined = (releases.early == 0 && !joinable) || self.sabotage == Sabotage::NoSplits;
        let mut group: Vec<u32> = Vec::new();
        let mut depth = 0_usize;
        let mut token = None;
        for index in self.required() {
            group.push(index);
            if let Some(new) = self.call(index).action.token() {
                let (first, old) = *token.get_or_insert((index, new));
                if old != new && self.sabotage != Sabotage::TokensOfOneHold {
                    return if determined {
                        Err(self.conflict(Some(first), index))
                    } else {
                        Ok(Kind::Unformed)
                    };
                }
            }
            depth = if self.is_acquire(index) { depth + 1 } else { depth.saturating_sub(1) };
            if depth == 0 || (self.sabotage == Sabotage::FirstReleaseFrees && !self.is_acquire(index)) {
                self.push(holds, &group, true);
                group.clear();
                depth = 0;
                token = None;
            }
        }
        if depth > 0 {
            match releases.calls.get(releases.early..releases.early + depth) {
                Some(ends) => {
                    group.extend_from_slice(ends);
                    self.push(holds, &group, true);
                }
                None => self.push(holds, &group, false),
            }
        }
        Ok(if determined { Kind::Determined } else { Kind::Possible })
    }

    fn push(&self, holds: &mut Holds, calls: &[u32], released: bool) {
        let from = holds.members.len() as u32;
        holds.members.extend_from_slice(calls);
        let returns = calls.iter().map(|index| self.call(*index).returned);
        let invocations = calls.iter().map(|index| self.call(*index).invoked);
        let last = invocations.max().unwrap_or(0);
        let crashed = |index: &u32| !self.is_acquire(*index) && !self.call(*index).is_required();
        let last = match self.sabotage {
            Sabotage::CrashedReleaseAtOnce if calls.iter().any(crashed) => self.call(calls[0]).invoked,
            _ => last,
        };
        holds.holds.push(Hold {
            first: returns.min().unwrap_or(NEVER),
            last: if released || self.sabotage == Sabotage::UnreleasedEnds { last } else { NEVER },
            token: calls.iter().find_map(|index| self.call(*index).action.token()),
            from,
            to: holds.members.len() as u32,
            owner: self.owner,
        });
    }
}
