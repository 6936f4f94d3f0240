//! The sequential models that come with the checker, one a file. Each says what operations its object has, in which shapes their
//! values come, and what each does ([`Specification`](super::Specification)). A model knows nothing of histories or engines.

mod acknowledgement;
pub(crate) mod collection;
pub(crate) mod counter;
pub(crate) mod fenced_lock;
pub(crate) mod fifo_queue;
pub(crate) mod key_value;
pub(crate) mod log;
pub(crate) mod members;
pub(crate) mod multi_register;
pub(crate) mod mutex;
pub(crate) mod owner_lock;
pub(crate) mod persistent;
pub(crate) mod register;
pub(crate) mod set;
pub(crate) mod stack;
pub(crate) mod unordered_queue;
pub(crate) mod versioned_register;
