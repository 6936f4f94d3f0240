//! The reductions of the general search: ways not to look at what cannot change the answer.
//!
//! Each is stated and proved here, and can be switched off, so that tests compare the search with and without it
//! against an independent brute force. Terms: a call is *required* if it took effect for certain, *crashed* if its outcome is
//! unknown. It is *idle* in a state if it can happen there and leaves just that state. A *continuation* of a configuration is an
//! order of further calls that is legal and passes some later return in time. Every proof turns a continuation into another one that
//! passes the same returns, and that of all but one through the same states; none makes the number of crashed calls in it larger. So the proofs hold together, for a
//! continuation with the fewest crashed calls, and they hold for every prefix of the history, on which the culprit rests.

/// Which reductions are in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reductions {
    /// **Observers at once.** An open required call that is idle in the present state takes effect now, and nothing else is tried,
    /// if its action is an *observer*: idle wherever it is possible.
    ///
    /// Proof. Take the call out of its place in a continuation, where it changes nothing, and put it first, where it changes nothing
    /// either.
    ///
    /// It would not do to look at the present state only: a write of the value that a register holds is idle, and may yet be needed
    /// after the next write. A specification can promise that an action is an observer (`Specification::observes`); every other
    /// action that was never seen to change a state is *taken for one*. An order that was found is good whatever was assumed, since each
    /// step of it is legal. Before an answer "impossible", every action that was used as an observer is tried in every state that
    /// was met. If one turns out to be none, the answer is thrown away, and the search starts again with that knowledge.
    ///
    /// Proof that this suffices. Suppose that nothing turned up, and that a continuation was missed. In it, let `d` be the first call that
    /// was used as an observer and is not idle where it stands, at a state `t`. All observers before `d` are idle where they stand,
    /// so what comes before `d` can be put into the order in which the search tries it, with `d` itself perhaps idle at the front, and
    /// there it leads to `t`. So `t` was met, and `d` was tried in it and found not to be idle: a contradiction. (It would not do to look
    /// at the states that are met while `d` is open: the search passes the return of `d` as soon as `d` took effect, and takes
    /// what else was open then later.)
    pub observers_at_once: bool,
    /// **Crashed calls with equal actions** take effect in the order of invocation.
    ///
    /// Proof. They differ in the invocation only, so if the later one is used first, exchange both: the earlier one is open too,
    /// and none of them has a deadline.
    pub crashed_in_order: bool,
    /// **Of open required calls with equal actions the one that returns first** takes effect first, and before a crashed call with
    /// that action.
    ///
    /// Proof. If a continuation uses `b` now and `a`, which returns earlier, later, exchange both: both are open, and `b` returns after
    /// the place where `a` was. A crashed `b` never returns, and `a` comes for certain.
    pub earliest_deadline_first: bool,
    /// **Idle crashed calls** are not tried.
    ///
    /// Proof. The same state is there without it, and it can still be used.
    pub no_idle_crashed: bool,
    /// **A crashed call that makes no difference to the next call** is not tried: if `c` and then `d` leads from `s` to `u`, with no return and
    /// no observer between them, and `d` alone can lead from `s` to `u` too, the former is dropped.
    ///
    /// Proof. `d` was open at `s` too, so `d` alone is found, or what a proof above puts into its place. It leads to the same
    /// configuration, except that `c` is not used up.
    pub no_useless_crashed: bool,
    /// **Dominance**: at `DeadEnds::holds`.
    pub dominance: bool,
    /// **Components** (`Specification::component`). If every call has one, each component is searched by itself: at `parts`. Otherwise, if
    /// the call that returns has one, and so has every open call that has not taken effect, only calls of that component
    /// are tried: a persistent set (Godefroid, 1996) that the model's promise makes certain.
    ///
    /// Proof. Every call before the one that returns, in a continuation, is open now. Take the first of them that is about the component of
    /// the one that returns; there is one, namely that one at the latest. What comes before it is about other components, so
    /// that it can be exchanged with each, up to the front. The number of crashed calls stays as it is.
    ///
    /// The continuation then passes through other states. So an action must not be taken for an observer by its looks: the proof of that needs
    /// the very states. Only what the model promises to be one counts, if any action has a component.
    pub components: bool,
    /// **All orders at once**, where the states are sequences and a search depth first takes long: at `layers`.
    pub layers: bool,
    /// **What helps the returning call first.** Of the calls to try before the one that returns, first those after which that one can
    /// happen. A matter of order only: all others follow.
    pub helpers_first: bool,
    /// Trims the cache so often that it matters in short histories.
    #[cfg(test)]
    pub trim_always: bool,
    /// Numbers the sets of open calls, however few.
    #[cfg(test)]
    pub wide_always: bool,
    /// Searches breadth first, where that is possible, before it searches depth first.
    #[cfg(test)]
    pub layers_always: bool,
    /// A mistake on purpose, to see that the tests find it.
    #[cfg(test)]
    pub sabotage: Sabotage,
}

impl Reductions {
    /// All of them.
    pub const ALL: Self = Self {
        observers_at_once: true,
        crashed_in_order: true,
        earliest_deadline_first: true,
        no_idle_crashed: true,
        no_useless_crashed: true,
        dominance: true,
        components: true,
        layers: true,
        helpers_first: true,
        #[cfg(test)]
        trim_always: false,
        #[cfg(test)]
        wide_always: false,
        #[cfg(test)]
        layers_always: false,
        #[cfg(test)]
        sabotage: Sabotage::None,
    };

    /// Whether this mistake is to be made; never, outside the tests of this crate.
    #[inline]
    pub fn sabotaged(&self, mistake: Sabotage) -> bool {
        #[cfg(test)]
        return self.sabotage == mistake;
        #[cfg(not(test))]
        {
            let _ = mistake;
            false
        }
    }

    /// Whether to trim the cache whatever the budget; never, outside the tests of this crate.
    #[inline]
    pub fn trims_always(&self) -> bool {
        #[cfg(test)]
        return self.trim_always;
        #[cfg(not(test))]
        false
    }

    /// Whether to begin breadth first where that is possible; never, outside the tests of this crate.
    #[inline]
    pub fn always_layers(&self) -> bool {
        #[cfg(test)]
        return self.layers_always;
        #[cfg(not(test))]
        false
    }

    /// Whether to number the sets of open calls, however few; never, outside the tests of this crate.
    #[inline]
    pub fn always_wide(&self) -> bool {
        #[cfg(test)]
        return self.wide_always;
        #[cfg(not(test))]
        false
    }
}

/// Plausible mistakes in the reductions. The differential test makes each of them and requires that the comparison with
/// the brute force finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Sabotage {
    None,
    /// An idle call takes effect at once, observer or not, and nobody looks again.
    IdleAtOnce,
    /// An answer "impossible" is given without trying the observers in all states.
    NobodyConfirms,
    /// A call that can leave the state as it is counts as idle, whatever else it can do.
    MaybeIdleAtOnce,
    /// Crashed calls take effect in the reverse order of invocation.
    CrashedLatestFirst,
    /// A crashed call is tried before it is invoked.
    CrashedBeforeInvoked,
    /// Of equal calls, the one that returns last goes first.
    LatestDeadlineFirst,
    /// Of equal calls, the required one waits for the crashed one.
    CrashedBeforeRequired,
    /// A required call that leaves the state as it is is not tried.
    NoIdleRequired,
    /// A required call that makes no difference to the next one is dropped.
    NoUselessRequired,
    /// A crashed call before a call that could happen without it is dropped, wherever that one leads.
    UselessWhereverItLeads,
    /// More chances are taken for fewer.
    DominanceReversed,
    /// The cache does not compare the open calls.
    CacheForgetsOpen,
    /// The cache does not compare the crashed calls.
    CacheForgetsCrashed,
    /// At a quiescent cut, the cache forgets which crashed calls were used.
    CutForgetsCrashed,
    /// Components are searched one by one, and their orders merged by invocation alone.
    MergedByInvocation,
    /// Calls of other components are left out even if some call concerns the whole state.
    ComponentsBesidesTheWhole,
    /// So they are if a crashed call concerns the whole state.
    ComponentsBesidesTheCrashed,
    /// Of several orders of the same calls, only the states of the first are kept.
    OneOrderOnly,
    /// Fewer crashed calls make others needless, whatever their states.
    FewerCallsDominate,
    /// A return is passed whether or not its call took effect.
    ReturnsUnmet,
    /// Only what helps is tried.
    HelpersOnly,
    /// Of several states an action can leave, only the first is tried.
    FirstOutcomeOnly,
    /// Only the call that returns and crashed calls are tried.
    OnlyTheReturning,
}

#[cfg(test)]
impl Sabotage {
    pub const ALL: [Sabotage; 23] = [
        Sabotage::IdleAtOnce,
        Sabotage::NobodyConfirms,
        Sabotage::MaybeIdleAtOnce,
        Sabotage::CrashedLatestFirst,
        Sabotage::CrashedBeforeInvoked,
        Sabotage::LatestDeadlineFirst,
        Sabotage::CrashedBeforeRequired,
        Sabotage::NoIdleRequired,
        Sabotage::NoUselessRequired,
        Sabotage::UselessWhereverItLeads,
        Sabotage::DominanceReversed,
        Sabotage::CacheForgetsOpen,
        Sabotage::CacheForgetsCrashed,
        Sabotage::CutForgetsCrashed,
        Sabotage::MergedByInvocation,
        Sabotage::ComponentsBesidesTheWhole,
        Sabotage::ComponentsBesidesTheCrashed,
        Sabotage::OneOrderOnly,
        Sabotage::FewerCallsDominate,
        Sabotage::ReturnsUnmet,
        Sabotage::HelpersOnly,
        Sabotage::FirstOutcomeOnly,
        Sabotage::OnlyTheReturning,
    ];
}
