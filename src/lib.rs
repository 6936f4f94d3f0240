//! Schism: splits a cluster on purpose and proves what that did to its data.
//!
//! The library behind the `schism` binary. Data moves one way: a test file ([`spec`]) becomes a [`plan`]; the [`runner`]
//! brings the cluster up ([`transport`], [`agent`], [`system`]), lets the [`scheduler`] drive clients and faults, keeps
//! everything in the run directory ([`store`]), checks the history and writes the [`report`].

pub mod agent;
pub mod cli;
pub mod demo;
pub mod doctor;
pub mod plan;
pub mod report;
pub mod runner;
pub mod scheduler;
pub mod spec;
pub mod store;
pub mod system;
pub mod transport;
pub mod verdict;

mod stderr;
