//! What the engines' calls say. `cargo bench` compiles the engines' tests, too, which need the models themselves.

#[path = "../../src/linearizable/models/collection.rs"]
pub mod collection;
#[path = "../../src/linearizable/models/fifo_queue.rs"]
pub mod fifo_queue;
#[path = "../../src/linearizable/models/persistent.rs"]
pub mod persistent;
#[path = "../../src/linearizable/models/stack.rs"]
pub mod stack;
#[path = "../../src/linearizable/models/unordered_queue.rs"]
pub mod unordered_queue;
