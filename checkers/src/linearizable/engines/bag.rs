//! Queues without order, in near-linear time.
