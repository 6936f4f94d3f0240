//! Everything the page shows, as one structure.

use serde::Serialize;

use super::{Digest, Evidence, Results, Series};

/// The one structure behind `report.html`: plain numbers and words, nothing of the page's looks. Times are nanoseconds
/// since the start of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// What `results.json` holds.
    pub results: Results,
    /// The time that the pictures begin with.
    pub start: u64,
    /// The time that they end with.
    pub end: u64,
    /// Violations with the operations behind them, the clearest first.
    pub evidence: Vec<Evidence>,
    /// Violations that are counted but not shown.
    pub evidence_left_out: usize,
    /// Rates and latencies over time.
    pub series: Series,
}

impl Data {
    /// Adds to the results what only a picture needs.
    pub fn new(results: Results, digest: &Digest<'_>) -> Self {
        let (evidence, evidence_left_out) = Evidence::collect(&results.checks, digest);
        // The pictures divide by the length of the run.
        let end = digest.end.max(1);
        Self {
            start: digest.start.min(end - 1),
            end,
            evidence,
            evidence_left_out,
            series: Series::of(digest),
            results,
        }
    }
}
