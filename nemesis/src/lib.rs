//! The nemesis: faults as data, when to do what to whom, and how Linux makes, proves and undoes each fault.
//!
//! In the order in which a fault passes through: [`spec`] is what a person writes, [`schedule`] turns it into a seeded
//! [`timeline`], [`resolve`] tells each [`node`] what to do when the time has come ([`shapes`] knows what partitions
//! cut), and [`linux`] does it there. Nothing here knows transports, agents, clients or checkers: the agent lends its
//! supervised processes through [`node::Host`].

pub mod linux;
pub mod node;
pub mod resolve;
pub mod schedule;
pub mod shapes;
pub mod spec;
pub mod timeline;
