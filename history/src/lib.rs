//! Histories: what happened, in the order in which one writer saw it.
//!
//! A history is a list of [`Event`]s. Every client operation is an `invoke` event and at most one completion; the
//! pairing of both is an [`Operation`]. On disk a history is JSON Lines, one event a line, appended by one writer.
//!
//! This crate knows the events, the file format and nothing else: no clusters, no checkers, no clients.

mod event;
pub mod random;

pub use event::{Event, Kind, Process};
pub use random::Random;
