//! Every integration test, in one binary: one link instead of many.

mod local_cluster;

mod spec;
