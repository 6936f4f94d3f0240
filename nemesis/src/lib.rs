//! The nemesis: faults as data, when to do what to whom, and how Linux makes, proves and undoes each fault.
//!
//! `spec` is what a person writes, `schedule` turns it into a seeded timeline, `node` is what a single node is told to
//! do, and `linux` does it there. Nothing here knows transports, agents, clients or checkers: the agent lends its
//! supervised processes through [`node::Host`].

pub mod linux;
pub mod node;
