//! Registers with distinct written values, in near-linear time.
