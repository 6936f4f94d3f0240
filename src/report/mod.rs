//! The report: verdict, evidence and pictures in one HTML file, and the same for machines and terminals.
//!
//! Data moves one way: [`Digest`] reads the events once; [`Results::judge`] puts together the verdict (this is what
//! `results.json` holds); [`Data`] adds what only a picture needs; [`render`] draws it. JUnit and the terminal need no more
//! than the results. The report must not know how a run was made: it works the same from a finished run, a crashed one
//! or a history that another tool recorded, and it never judges a history itself, that is what the checkers are for.
//!
//! Everything shown came from the system under test or from a file a stranger wrote: it is escaped where it is printed, and
//! bounded (each cap is a constant next to what it caps, and whatever is left out is counted in the output).

mod chart;
mod data;
mod digest;
mod evidence;
mod fault;
mod format;
mod html;
mod junit;
mod results;
mod series;
pub mod terminal;
mod timeline;

pub use crate::verdict::Verdict;
pub use data::Data;
pub use digest::{Digest, Operation};
pub use evidence::{Evidence, OperationRow};
pub use fault::{Fault, Seen};
pub use html::render;
pub use junit::junit;
pub use results::{
    Count, ErrorCount, FORMAT, Facts, Latency, NodeFact, Reason, Results, ResultsError, Stopped, Timing,
    Version,
};
pub use series::Series;

/// Why a report could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A template or an encoder refused: a mistake in this program.
    #[error("cannot render the report, which is a bug in schism: {0}")]
    Render(String),
}
