//! What a run proves, as one word and one exit code.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The verdict on a run. The order is the precedence: of several, the greatest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every promise held, and the run had the power to show otherwise.
    Pass,
    /// A checker ran out of its budget.
    Unknown,
    /// No load, or a fault that did not bite: the run proves nothing.
    Void,
    /// The cluster could not be reached, installed or started.
    Infra,
    /// Something of ours could not be healed.
    Residue,
    /// The system broke a promise.
    Violation,
}

impl Verdict {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Violation => 1,
            Verdict::Unknown => 3,
            Verdict::Void => 4,
            Verdict::Infra => 5,
            Verdict::Residue => 6,
        }
    }

    /// The verdict as `results.json` spells it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Unknown => "unknown",
            Verdict::Void => "void",
            Verdict::Infra => "infra",
            Verdict::Residue => "residue",
            Verdict::Violation => "violation",
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
    use super::Verdict::*;

    #[test]
    fn the_worst_wins() {
        // The order that the documentation of the exit codes promises.
        let worst_first = [Violation, Residue, Infra, Void, Unknown, Pass];
        assert!(worst_first.is_sorted_by(|worse, better| worse > better));
        assert_eq!(worst_first.map(|verdict| verdict.exit_code()), [1, 6, 5, 4, 3, 0]);
    }
}
