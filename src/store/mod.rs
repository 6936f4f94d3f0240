//! The run directory: where everything a run produces is kept.
