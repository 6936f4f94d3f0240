//! The scheduler: the one place that decides the order of events.
