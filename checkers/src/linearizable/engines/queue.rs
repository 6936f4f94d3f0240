//! Queues with distinct values, in near-linear time.
