//! The models of these engines.

#[path = "../../src/linearizable/models/acknowledgement.rs"]
mod acknowledgement;
#[path = "../../src/linearizable/models/fenced_lock.rs"]
pub mod fenced_lock;
#[path = "../../src/linearizable/models/mutex.rs"]
pub mod mutex;
#[path = "../../src/linearizable/models/owner_lock.rs"]
pub mod owner_lock;
