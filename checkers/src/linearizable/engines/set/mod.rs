//! Sets, in near-linear time.
