//! Mistakes to make on purpose, for the tests of this engine: a comparison that would not notice them proves nothing.

/// Plausible mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Sabotage {
    None,
    /// Mutex: of the calls of one kind the latest deadline goes first.
    LatestDeadlineFirst,
    /// Mutex: a call of unknown outcome never takes effect.
    CrashedNever,
    /// Mutex: a call takes effect as soon as it is invoked, if it can.
    Eager,
    /// A hold without a release is over at once.
    UnreleasedEnds,
    /// A release of unknown outcome never takes effect.
    CrashedReleaseNever,
    /// A release of unknown outcome takes effect at once.
    CrashedReleaseAtOnce,
    /// Calls of unknown outcome are used the newest first.
    NewestFirst,
    /// Spare calls of unknown outcome cannot split a hold.
    NoSplits,
    /// Owners whose holds are not determined are no obstacle.
    UndeterminedFits,
    /// A hold may lie within another one.
    NoContainment,
    /// Two holds may overlap.
    NoOverlap,
    /// Tokens are not compared.
    NoTokens,
    /// Tokens only count between neighbours.
    NeighbouringTokens,
    /// Two holds may have one token.
    EqualTokens,
    /// A hold of a reentrant lock ends with the first release.
    FirstReleaseFrees,
    /// An acquire of unknown outcome never makes a reentrant lock one deeper.
    CrashedAcquireNever,
    /// An acquire of unknown outcome cannot join two holds of a reentrant lock with one token.
    NoJoining,
    /// A reentrant hold may have several tokens.
    TokensOfOneHold,
    /// The owner's calls are taken one after the other even if they overlap.
    IgnoreConcurrency,
}

#[cfg(test)]
impl Sabotage {
    pub const MUTEX: [Sabotage; 3] = [Sabotage::LatestDeadlineFirst, Sabotage::CrashedNever, Sabotage::Eager];
    pub const OWNED: [Sabotage; 16] = [
        Sabotage::UnreleasedEnds,
        Sabotage::CrashedReleaseNever,
        Sabotage::CrashedReleaseAtOnce,
        Sabotage::NewestFirst,
        Sabotage::NoSplits,
        Sabotage::UndeterminedFits,
        Sabotage::NoContainment,
        Sabotage::NoOverlap,
        Sabotage::NoTokens,
        Sabotage::NeighbouringTokens,
        Sabotage::EqualTokens,
        Sabotage::FirstReleaseFrees,
        Sabotage::CrashedAcquireNever,
        Sabotage::NoJoining,
        Sabotage::TokensOfOneHold,
        Sabotage::IgnoreConcurrency,
    ];
}
