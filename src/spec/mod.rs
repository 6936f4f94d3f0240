//! The test file: what a person writes, checked with file, line and column.
//!
//! A file becomes a tree that knows where every key and value stands ([`yaml`]), is checked as a whole against the
//! JSON Schema of our own types ([`validate`]), and only then becomes a [`Test`]. The same road is open to any other
//! type ([`document`]): systems take it too. What a test means on a given cluster and system is the business of
//! [`crate::plan`]; it hands its complaints back as paths, which [`Source::problem`] turns into lines and columns.
//!
//! Nothing here knows transports, agents or the run.

pub mod document;
mod load;
mod overrides;
pub mod problem;
pub mod reference;
mod scalar;
mod schema;
pub mod source;
pub mod ssh;
mod suggest;
mod test;
pub mod validate;
pub mod yaml;

pub use load::{load, parse};
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use source::Source;
pub use ssh::{HostKeys, Reach, SshCluster, SshHost, SshHosts};
pub use suggest::nearest;
pub use test::{Checks, Cluster, LinearizableCheck, LocalNodes, Power, SystemChoice, Test, Workload};
