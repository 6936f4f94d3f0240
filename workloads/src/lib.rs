//! Workloads: which operations to run, and the clients that carry them to a system.
//!
//! Generators are pure values; the scheduler that drives them, the nemesis and the checkers live elsewhere and are
//! not known here.

pub mod client;
pub mod generator;
pub mod op;
pub mod register;

pub use client::catalog::{CatalogError, ClientInfo, catalog, client_info, connector};
pub use client::{BoxFuture, Client, Connector, Dialer, Outcome, Target};
pub use generator::{Context, Gen, Generator, Step};
pub use op::{Op, Processes, Worker};
