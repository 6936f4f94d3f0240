//! Checkers: history in, verdict and evidence out.
//!
//! Nothing here knows about clusters, clients or files.

pub mod linearizable;
mod result;

pub use result::{CheckResult, Validity, Violation};
