//! The engines: each decides the calls of one object. `general` decides every model, with a budget; the others know one kind of
//! object and are polynomial. An engine knows calls and numbers only; it knows no events, no keys and no words.
//!
//! A special engine has `decide(calls, budget) -> Option<Decision>`, where `None` means that the calls are not of the kind it can
//! decide (such as a register to which one value was written twice), and then the general search has to.

pub(crate) mod bag;
pub(crate) mod collection;
pub(crate) mod counter;
pub(crate) mod general;
pub(crate) mod just_in_time;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod set;
pub(crate) mod stack;
pub(crate) mod versions;
pub(crate) mod zones;
