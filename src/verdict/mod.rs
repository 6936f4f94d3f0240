//! Verdicts: their exit codes, which of several wins, whether a run had the power to say `pass`, and whether its two checks agree.

pub mod agreement;
pub mod power;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run, or a check, says in the end. The exit codes are part of the interface and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every promise held, and the run had the power to show otherwise.
    Pass,
    /// The system broke a promise; the evidence is in the report.
    Violation,
    /// Bad flags or test file; nothing was touched.
    Usage,
    /// A checker ran out of its time or memory budget.
    Unknown,
    /// No load, or a fault that did not bite: the run proves nothing.
    Void,
    /// The cluster could not be reached, installed or started.
    Infra,
    /// Something of ours could not be healed.
    Residue,
}

impl Verdict {
    /// Every verdict, by exit code.
    pub const ALL: [Self; 7] =
        [Self::Pass, Self::Violation, Self::Usage, Self::Unknown, Self::Void, Self::Infra, Self::Residue];

    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Violation => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
            Self::Void => 4,
            Self::Infra => 5,
            Self::Residue => 6,
        }
    }

    /// One clause for help texts and reports.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Pass => "every promise held, and the run had the power to show otherwise",
            Self::Violation => "the system broke a promise; the evidence is in the report",
            Self::Usage => "bad flags or test file; nothing was touched",
            Self::Unknown => "a checker ran out of its time or memory budget",
            Self::Void => "no load, or a fault that did not bite: the run proves nothing",
            Self::Infra => "the cluster could not be reached, installed or started",
            Self::Residue => "something of ours could not be healed",
        }
    }

    /// Higher is worse: violation, residue, infra, void, unknown, pass. `usage` never meets the others in one run; it
    /// ranks with `infra`, since nothing ran.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Unknown => 1,
            Self::Void => 2,
            Self::Usage | Self::Infra => 3,
            Self::Residue => 4,
            Self::Violation => 5,
        }
    }

    /// The worse of two.
    #[must_use]
    pub const fn worst(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }
}

impl Verdict {
    /// The verdict as `results.json` spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Violation => "violation",
            Self::Usage => "usage",
            Self::Unknown => "unknown",
            Self::Void => "void",
            Self::Infra => "infra",
            Self::Residue => "residue",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins_in_the_documented_order() {
        let order = [
            Verdict::Violation,
            Verdict::Residue,
            Verdict::Infra,
            Verdict::Void,
            Verdict::Unknown,
            Verdict::Pass,
        ];
        for (position, worse) in order.iter().enumerate() {
            for better in &order[position..] {
                assert_eq!(worse.worst(*better), *worse);
                assert_eq!(better.worst(*worse), *worse);
            }
        }
    }

    #[test]
    fn exit_codes_are_what_the_documentation_says() {
        let codes: Vec<u8> = Verdict::ALL.iter().map(|verdict| verdict.exit_code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6]);
    }
}
