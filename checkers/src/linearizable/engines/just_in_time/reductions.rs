//! The reductions of the just-in-time search: ways not to look at what cannot change the answer.
//!
//! Each is stated and proved here, and can be switched off, so that tests compare the search with and without it
//! against an independent brute force. Terms: a *continuation* of a configuration is an order in which open and
//! future operations can still take effect, with every one that must. An operation is *optional* in a configuration
//! when it is available but not required. A *plain* write is a `write`, not a `cas`. An *observer* of a value is an
//! operation that needs the register to hold it: a read that returned it, or a cas that expects it.
//!
//! Always on, because the data structures rely on it: **eager reads**. A required read that matches the state is
//! done at once. (It changes nothing, so wherever it stands in a continuation it can stand now instead.) For the same
//! reason a successful `cas` whose two values are equal is a read, and an unknown one is nothing.

/// Which reductions are in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reductions {
    /// **An operation of unknown outcome is forgotten after the last observer of what it produces has returned**, and
    /// never taken up if that was before its invocation.
    ///
    /// Proof. Let the optional operation `q` produce `v`, and let no operation that can still take effect observe
    /// `v`. In a continuation, what follows `q` does not depend on the state until the next plain write. So without `q` it is a
    /// continuation too. An observer that is itself an unknown cas counts as long as its own product is observed,
    /// which is a longest path, computed once.
    pub forget_unobserved: bool,
    /// **States without observers are one state**: nothing that can still happen tells them apart.
    pub merge_dead_states: bool,
    /// **Discharge.** When a plain write takes effect, every plain write that is open and required becomes optional;
    /// likewise a plain write of the value that the register holds.
    ///
    /// Proof. It can take effect just before the one that takes effect (or right now, for an equal value), where
    /// nobody sees it; this holds for any number of them at once. So from here on no continuation needs it, and one
    /// that has it is still allowed to.
    pub discharge: bool,
    /// **Only useful steps.** On the way to the return of `o`, a plain write other than `o` is tried only if an open
    /// operation that has not taken effect observes its value; so is an unknown cas. Needs `discharge`.
    ///
    /// Proof. Let a continuation begin with `P` and then `o`, and let `q` in `P` be a plain write or an unknown cas
    /// that nothing in `P` or `o` observes. Then the next operation after `q` that depends on or sets the state is a
    /// plain write `x`, at the latest `o` (a cas or read would be an observer). Without `q`, `P` is
    /// still possible; if `q` was required, `x` has made it optional. So leaving out `q` reaches a configuration that
    /// covers (see `dominance`) the one reached with it. Repeat until every such `q` is gone; what is left is found.
    /// Operations of `P` take effect before `o` returns and are thus open now, which is why only open ones count.
    pub only_useful: bool,
    /// **Of available operations with equal effect the one with the earliest deadline goes first**, unless that
    /// one is optional and the other required. The deadline is the return, or for unknown outcomes the point after
    /// which they are forgotten.
    ///
    /// Proof. Let a continuation use `b` now, with `a` of equal effect, earlier deadline and available. If `a` comes
    /// later in it, exchange both: `a` may go now, and `b` may go where `a` went, since its deadline is later still.
    /// If `a` never comes, it is optional; then `b` is too, and using `a` in its place leaves `b`, which is not needed.
    pub earliest_deadline_first: bool,
    /// **Dominance.** A configuration covered by another one is dropped; the proof is at `Configuration::covers`.
    pub dominance: bool,
    /// A mistake on purpose, to see that the tests find it.
    #[cfg(test)]
    pub sabotage: Sabotage,
}

impl Reductions {
    /// All of them.
    pub const ALL: Self = Self {
        forget_unobserved: true,
        merge_dead_states: true,
        discharge: true,
        only_useful: true,
        earliest_deadline_first: true,
        dominance: true,
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
}

/// Plausible mistakes in the reductions. The differential test of this module makes each of them and requires that
/// the comparison with the brute force finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Sabotage {
    None,
    /// Forget an unknown write after its first observer, not its last.
    ForgetAfterFirstObserver,
    /// An unknown cas that expects a value does not count as its observer.
    UnknownCasObservesNothing,
    /// Discharge a cas like a plain write.
    DischargeCas,
    /// A cas that takes effect discharges plain writes.
    CasDischarges,
    /// Reads alone make a write useful, not a cas that expects it.
    CasIsNoObserver,
    /// A required cas is only tried if something observes what it writes.
    RequiredCasMustBeUseful,
    /// The earliest deadline goes first, although it is optional and the other required.
    DeadlineBeatsDuty,
    /// The latest deadline goes first.
    LatestDeadlineFirst,
    /// Dominance that does not compare what is required.
    DominanceForgetsDuties,
    /// Dominance that does not compare what is available.
    DominanceForgetsChances,
    /// An optional write that returns never takes effect.
    OptionalNeverLast,
    /// A read is done when it is invoked, whatever the state.
    ReadsAreFree,
    /// The order of invocations is taken for that of the returns.
    EndsAreUnsorted,
    /// What has returned still counts as an observer.
    GroupsAreNeverLeft,
}

#[cfg(test)]
impl Sabotage {
    pub const ALL: [Sabotage; 14] = [
        Sabotage::ForgetAfterFirstObserver,
        Sabotage::UnknownCasObservesNothing,
        Sabotage::DischargeCas,
        Sabotage::CasDischarges,
        Sabotage::CasIsNoObserver,
        Sabotage::RequiredCasMustBeUseful,
        Sabotage::DeadlineBeatsDuty,
        Sabotage::LatestDeadlineFirst,
        Sabotage::DominanceForgetsDuties,
        Sabotage::DominanceForgetsChances,
        Sabotage::OptionalNeverLast,
        Sabotage::ReadsAreFree,
        Sabotage::EndsAreUnsorted,
        Sabotage::GroupsAreNeverLeft,
    ];
}
