//! Registers whose store numbers its versions, in near-linear time.
//!
//! The versions say in which order the writes took effect, so there is nothing to search: one pass over that order looks for an
//! operation that returned before the invocation of one in an earlier place. What takes thought are writes whose version is
//! not known, since their outcome is not or their acknowledgement did not say.
//!
//! **A version that was observed was made by someone.** If no acknowledgement names it, a write of unknown version did, of the value that
//! was read; if there is only one of that value, it was that one. With several it is not decided here.
//!
//! **A write of unknown outcome that nobody observed** can be left out: the next operation that depends on the state is a write
//! without condition, or else it would be an observer.
//!
//! **A write that happened and that nobody observed** stands between two versions where a number is left for it, or after the last. Where real
//! time allows it is a range of such gaps (what is in front only grows, what is behind only shrinks); if one of two comes first in
//! real time, its range neither begins nor ends later. So this is scheduling of unit jobs with release times and deadlines, for which
//! the earliest deadline first is optimal (Jackson, 1955), and ties by invocation keep real time.
//!
//! **A conditional write follows what it saw at once**, so nothing fits in between. Its version or the value tells what it
//! saw; if a write of unknown version could have made that value, too, it is decided only where the rest leaves no choice.
//!
//! **When it is not decided here:** where two choices are left in the above, and where a deletion matters.

mod analysis;
mod clusters;
mod explain;
#[cfg(test)]
mod tests;

use super::super::budget::Budget;
use super::super::call::{Answer, Call, Decision, NEVER};
use super::super::models::versioned_register::Action;
use analysis::{Finding, analyse};

/// The name in results.
pub(crate) const NAME: &str = "versions";

/// Decides whether `calls` on one versioned register can be put in order; `None` where the versions leave too much open.
/// Takes O(n log n), so there is nothing to limit.
pub(crate) fn decide(calls: &[Call<Action>], budget: Budget) -> Option<Decision> {
    let _ = budget;
    let answer = match analyse(calls, NEVER - 1) {
        Finding::Consistent(_) => Answer::Linearizable,
        Finding::Ambiguous => return None,
        Finding::Broken(broken) => Answer::Impossible(explain::earliest(calls, broken)),
    };
    Some(Decision { answer, engine: NAME })
}

/// An order of the calls, of which [`decide`] said that there is one. Unknown ones that nobody observed are left out.
pub(crate) fn order(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    match analyse(calls, NEVER - 1) {
        Finding::Consistent(mut placed) => {
            placed.sort_unstable();
            Some(placed.into_iter().map(|(_, call)| call as usize).collect())
        }
        Finding::Ambiguous | Finding::Broken(_) => None,
    }
}

/// Plausible mistakes, each of which the tests have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
enum Mistake {
    RealTimeIsFree,
    ValuesMayDiffer,
    SourceServesTwice,
    OneSourceOfManyWillDo,
    VersionMayBeMadeTwice,
    ConditionIsFree,
    ValueConditionForgetsUnknown,
    ConditionalWriteMayBeTornOff,
    RoomInsideConditional,
    RoomIsEndless,
    LatestDeadlineFirst,
    UnseenWritesVanish,
    DeletionsVanish,
}

#[cfg(test)]
thread_local! {
    /// A mistake on purpose, to see that the tests find it.
    static MISTAKE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}

/// Whether this mistake is to be made; never, outside the tests.
fn makes(mistake: Mistake) -> bool {
    #[cfg(test)]
    return MISTAKE.get() == Some(mistake);
    #[cfg(not(test))]
    {
        let _ = mistake;
        false
    }
}
