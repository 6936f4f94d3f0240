//! The parts of the checker that the benchmark needs, which are private to it.

#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../../src/linearizable/budget.rs"]
pub mod budget;
#[path = "../../src/linearizable/call.rs"]
pub mod call;
#[path = "engines.rs"]
pub mod engines;
#[path = "models.rs"]
pub mod models;
#[path = "../../src/linearizable/specification.rs"]
pub mod specification;
#[cfg(test)]
#[path = "../../src/linearizable/testing.rs"]
pub mod testing;
