//! Faults made for real: in network namespaces and on processes that the tests make and take away again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod drops;
mod lab;
mod processes;
