//! Stacks with distinct values.
