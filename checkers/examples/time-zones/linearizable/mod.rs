//! The engine is no part of the crate's interface; these are its sources.
#![allow(dead_code, missing_docs)]

#[path = "../../../src/linearizable/budget.rs"]
pub mod budget;
#[path = "../../../src/linearizable/call.rs"]
pub mod call;
pub mod engines;
pub mod models;
#[path = "../../../src/linearizable/specification.rs"]
pub mod specification;
