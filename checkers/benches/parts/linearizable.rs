//! The parts of the checker that the benches of single engines need, which are not public.

#[path = "../../src/linearizable/budget.rs"]
pub mod budget;
#[path = "../../src/linearizable/call.rs"]
pub mod call;
#[path = "../../src/linearizable/engines/lock/mod.rs"]
pub mod lock;
#[path = "models.rs"]
pub mod models;
#[path = "../../src/linearizable/specification.rs"]
pub mod specification;
#[cfg(test)]
#[path = "../../src/linearizable/testing.rs"]
mod testing;
