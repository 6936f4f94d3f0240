//! A set.
