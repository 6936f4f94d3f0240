//! Every integration test, in one binary: one link instead of many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, which is what it is for"
)]

mod agent;
mod bad_luck;
mod check;
mod collect;
mod demo;
mod doctor;
mod etcd;
mod heal;
mod leftovers;
mod local_cluster;
mod nodes_ssh;
mod report;
mod rescue;
mod scheduler;
mod soak;
mod spec;
mod ssh;
mod support;
