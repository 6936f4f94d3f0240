//! Every integration test, in one binary: one link instead of many.

mod agent;
mod local_cluster;
mod report;
mod support;
