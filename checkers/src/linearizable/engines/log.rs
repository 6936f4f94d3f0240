//! Append-only logs, in near-linear time.
