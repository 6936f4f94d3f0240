//! The engines that are measured.

#[path = "../../src/linearizable/engines/bag.rs"]
pub mod bag;
#[path = "../../src/linearizable/engines/collection/mod.rs"]
pub mod collection;
#[path = "../../src/linearizable/engines/queue/mod.rs"]
pub mod queue;
#[path = "../../src/linearizable/engines/stack/mod.rs"]
pub mod stack;
