//! Locks, in near-linear time.
//!
//! A mutex that anybody may release is a matter of counting ([`mutex`]). Where owners release what they acquired, the calls of an owner
//! fall into *holds* ([`holds`]): an acquire and what releases it, with nobody else's calls in between. That makes a hold what
//! a value is to a register whose written values are distinct, and the holds can be put in order just if their zones
//! allow it ([`zones`]; Gibbons and Korach, "Testing shared memories", 1997). Fencing tokens order some of the holds in advance.

mod holds;
pub(crate) mod mutex;
pub(crate) mod owned;
mod sabotage;
mod zones;

#[cfg(test)]
mod tests;
