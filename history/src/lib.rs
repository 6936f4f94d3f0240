//! Histories: what happened, in the order in which one writer saw it.
//!
//! A history is a list of [`Event`]s. Every client operation is an `invoke` event and at most one completion; the
//! pairing of both is an [`Operation`]. On disk a history is JSON Lines, one event a line, appended by one [`Writer`];
//! [`History`] reads it again, also when the writer was killed. For checking, a history of any source becomes a [`Table`].
//!
//! This crate knows the events, the file format and nothing else: no clusters, no checkers, no clients.

mod encode;
mod event;
pub mod line;
mod operation;
pub mod random;
mod reader;
mod sync;
pub mod table;
pub mod values;
mod writer;

pub use encode::encode;
pub use event::{Event, Kind, Process};
pub use operation::{Operation, Outcome, PairError, pair};
pub use random::Random;
pub use reader::{History, ReadError, Reader, TornLine};
pub use table::{BuildError, Builder, NotTuple, OPEN, Record, Row, Table, View};
pub use values::{Datum, TooMany, ValueId, Values};
pub use writer::Writer;
