//! Checkers: history in, verdict and evidence out.
//!
//! Nothing here knows about clusters, clients or files.

pub mod linearizable;
mod progress;
mod result;

pub use progress::Progress;
pub use result::{CheckResult, Validity, Violation};
