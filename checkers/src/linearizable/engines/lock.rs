//! Locks, in near-linear time.
