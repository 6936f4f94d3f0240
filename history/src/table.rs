//! A history in the form in which it is checked: one compact row per client operation.
//!
//! Rows come from [`Builder`], which pairs invocations with completions and takes events from any source: our own
//! files, other tools' files, a run that is still going on. Values are numbered once ([`Values`]), so that ten million operations
//! fit into half a gigabyte.

#[cfg(test)]
mod tests;
mod tuples;

use std::fmt;

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::values::{TooMany, ValueId, Values};
use crate::{Event, Kind, Outcome, PairError, Process};

pub use tuples::NotTuple;

/// The completion of an operation that has none.
pub const OPEN: u32 = u32::MAX;

/// A client operation. Positions count all events of the history, the nemesis' included; real-time order is the order of
/// positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Nanoseconds since the start of the run; 0 in a history without times.
    pub invoke_time: u64,
    /// Nanoseconds since the start of the run, of the completion; that of the invocation where there is none.
    pub complete_time: u64,
    /// The independent key, or [`ValueId::ABSENT`].
    pub key: ValueId,
    /// What the invocation said.
    pub argument: ValueId,
    /// What the completion said; [`ValueId::ABSENT`] where there is none.
    pub result: ValueId,
    /// Position of the invocation.
    pub invoked: u32,
    /// Position of the completion, of whatever kind; [`OPEN`] where there is none.
    pub completed: u32,
    /// Whose it is, see [`Table::process`].
    process: u32,
    f: u16,
    /// Which node, from 1; 0: none is named.
    node: u16,
    /// What is known about it.
    pub outcome: Outcome,
}

/// The client operations of a history, in the order of their invocations.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The values that the rows speak of.
    pub values: Values,
    rows: Vec<Row>,
    names: Vec<String>,
    nodes: Vec<String>,
    processes: Vec<u64>,
    /// By position; empty where each event's index is its position.
    indices: Vec<u64>,
    /// Where lines are not counted on by one from event to event: a position, and its line.
    lines: Vec<(u32, u64)>,
    /// By the position of the completion.
    errors: FxHashMap<u32, ValueId>,
    events: u32,
    timed: bool,
}

impl Table {
    /// The operations of these events, as [`crate::pair`] would pair them. Their times are taken for measured;
    /// [`crate::History::table`] knows of those that are not.
    ///
    /// # Errors
    /// See [`Builder::push`].
    pub fn from_events(events: &[Event]) -> Result<Self, BuildError> {
        let mut builder = Builder::new();
        for event in events {
            builder.event(event)?;
        }
        Ok(builder.finish())
    }

    /// All operations.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// An operation with its names. `row` must be below the number of rows.
    pub fn view(&self, row: usize) -> View<'_> {
        View { table: self, row: &self.rows[row] }
    }

    /// All operations with their names.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.rows.iter().map(|row| View { table: self, row })
    }

    /// How many events there were, the nemesis' included.
    pub fn events(&self) -> usize {
        self.events as usize
    }

    /// Whether every event came with a time. If not, the times of the rows say nothing, and whoever prints names positions.
    pub fn is_timed(&self) -> bool {
        self.timed
    }

    /// The same operations without times, for whoever knows that theirs were made up.
    #[must_use]
    pub fn without_times(mut self) -> Self {
        self.timed = false;
        for row in &mut self.rows {
            (row.invoke_time, row.complete_time) = (0, 0);
        }
        self
    }

    /// The index of the event at this position, as the history itself counts.
    pub fn index(&self, position: u32) -> u64 {
        self.indices.get(position as usize).copied().unwrap_or(u64::from(position))
    }

    /// The line of the file in which the event at this position begins, from 1, if the history came from lines.
    pub fn line(&self, position: u32) -> Option<u64> {
        let run = self.lines.partition_point(|(first, _)| *first <= position).checked_sub(1)?;
        let (first, line) = self.lines[run];
        (position < self.events).then(|| line + u64::from(position - first))
    }

    /// The client operations as events again. Where a history has no times, every position is a millisecond.
    pub fn to_events(&self) -> Vec<Event> {
        let mut events: Vec<(u32, Event)> = Vec::with_capacity(self.rows.len() * 2);
        for view in self.views() {
            let row = view.row;
            let time = |position: u32, time: u64| match self.timed {
                true => time,
                false => u64::from(position) * 1_000_000,
            };
            let json = |value: ValueId| self.values.to_json(value);
            let invocation = Event {
                index: self.index(row.invoked),
                time: time(row.invoked, row.invoke_time),
                process: Process::Client(view.process()),
                kind: Kind::Invoke,
                f: view.f().to_owned().into(),
                key: row.key.is_present().then(|| json(row.key)),
                value: json(row.argument),
                node: view.node().map(Into::into),
                error: None,
                extra: serde_json::Map::new(),
            };
            if row.completed != OPEN {
                let completion = Event {
                    index: self.index(row.completed),
                    time: time(row.completed, row.complete_time),
                    kind: match row.outcome {
                        Outcome::Ok => Kind::Ok,
                        Outcome::Fail => Kind::Fail,
                        Outcome::Unknown => Kind::Info,
                    },
                    value: json(row.result),
                    error: view.error().map(json),
                    ..invocation.clone()
                };
                events.push((row.completed, completion));
            }
            events.push((row.invoked, invocation));
        }
        events.sort_unstable_by_key(|(position, _)| *position);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.values.bytes()
            + self.indices.capacity() * 8
            + self.lines.capacity() * 16
    }
}

/// An operation with its names.
#[derive(Clone, Copy)]
pub struct View<'t> {
    table: &'t Table,
    /// Its numbers.
    pub row: &'t Row,
}

impl<'t> View<'t> {
    /// Its name: `read`, `write`, …
    pub fn f(&self) -> &'t str {
        &self.table.names[usize::from(self.row.f)]
    }

    /// The node its client is bound to.
    pub fn node(&self) -> Option<&'t str> {
        let place = usize::from(self.row.node).checked_sub(1)?;
        self.table.nodes.get(place).map(String::as_str)
    }

    /// Who invoked it.
    pub fn process(&self) -> u64 {
        self.table.processes[self.row.process as usize]
    }

    /// The values it speaks of.
    pub fn values(&self) -> &'t Values {
        &self.table.values
    }

    /// What the invocation said.
    pub fn argument(&self) -> ValueId {
        self.row.argument
    }

    /// What the completion said, if the operation succeeded.
    pub fn result(&self) -> Option<ValueId> {
        (self.row.outcome == Outcome::Ok).then_some(self.row.result)
    }

    /// What is known about it.
    pub fn outcome(&self) -> Outcome {
        self.row.outcome
    }

    /// The index of its invocation, as the history counts.
    pub fn index(&self) -> u64 {
        self.table.index(self.row.invoked)
    }

    /// The index of its completion, as the history counts.
    pub fn completion_index(&self) -> Option<u64> {
        (self.row.completed != OPEN).then(|| self.table.index(self.row.completed))
    }

    /// Whether its history has times.
    pub fn is_timed(&self) -> bool {
        self.table.timed
    }

    /// Why it failed, or why its outcome is unknown.
    pub fn error(&self) -> Option<ValueId> {
        self.table.errors.get(&self.row.completed).copied()
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values();
        write!(f, "{} {} {}", self.process(), self.f(), values.show(self.argument()))?;
        match self.result() {
            Some(result) => write!(f, " -> {}", values.show(result)),
            None => write!(f, " {:?}", self.outcome()),
        }
    }
}

/// An event on its way into a table. Its values must be of the builder's own [`Builder::values`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Who acted.
    pub process: Process,
    /// What the event says.
    pub kind: Kind,
    /// The name of the operation.
    pub f: &'a str,
    /// The independent key, or [`ValueId::ABSENT`].
    pub key: ValueId,
    /// The operation's argument or result.
    pub value: ValueId,
    /// Nanoseconds since the start, if the history says so.
    pub time: Option<u64>,
    /// The event's number, if the history says so; else its position.
    pub index: Option<u64>,
    /// The node the client is bound to.
    pub node: Option<&'a str>,
    /// Why the completion is `fail` or `info`, or [`ValueId::ABSENT`].
    pub error: ValueId,
}

/// Why an event cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// It contradicts the earlier ones.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// There are too many values.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// More events, processes, names or nodes than can be numbered.
    #[error("the history has more {0} than can be numbered")]
    TooLarge(&'static str),
}

enum Last {
    /// Row of the open operation.
    Open(u32),
    Free,
    /// The index of the `info` event.
    Crashed(u64),
}

struct Actor {
    number: u32,
    last: Last,
}

/// Makes a table of events in the order in which they happened.
#[derive(Default)]
pub struct Builder {
    table: Table,
    actors: FxHashMap<u64, Actor>,
    names: FxHashMap<String, u16>,
    nodes: FxHashMap<String, u16>,
    reuse: bool,
    reused: usize,
    /// The row that the last event began or completed.
    touched: Option<u32>,
    /// Rows whose place may be taken again.
    released: Vec<u32>,
}

impl Builder {
    /// No events yet.
    pub fn new() -> Self {
        Self { table: Table { timed: true, ..Table::default() }, ..Self::default() }
    }

    /// Takes a process that goes on after an unknown outcome for a new one with the same number, as the oldest tools'
    /// histories need, in place of an error.
    pub fn allow_reuse(&mut self) {
        self.reuse = true;
    }

    /// How often a process went on after an unknown outcome.
    pub fn reused(&self) -> usize {
        self.reused
    }

    /// Where to number the values of the events to come.
    pub fn values(&mut self) -> &mut Values {
        &mut self.table.values
    }

    /// Events so far, which is the position of the next one.
    pub fn position(&self) -> u32 {
        self.table.events
    }

    /// Says in which line of its file the next event begins, from 1; without, it is the line after the one of the event before.
    #[inline]
    pub fn begins_in(&mut self, line: u64) {
        let position = self.table.events;
        let expected = self.table.lines.last().map(|(first, line)| line + u64::from(position - first));
        if expected != Some(line) {
            self.table.lines.push((position, line));
        }
    }

    /// The row that the last event began or completed; `None` after an event of the nemesis, and before the first event.
    pub fn touched(&self) -> Option<usize> {
        self.touched.map(|row| row as usize)
    }

    /// Gives the place of a completed operation to one that is yet to come, for whoever looks at each operation when it completes
    /// and not again: the rows are then as many as were ever open at once, in no order, and a released one says nothing. A row that
    /// is open stays.
    pub fn release(&mut self, row: usize) {
        let Ok(place) = u32::try_from(row) else { return };
        if let Some(row) = self.table.rows.get_mut(row)
            && row.completed != OPEN
        {
            // So a second release of it does nothing.
            row.completed = OPEN;
            self.released.push(place);
        }
    }

    /// The table so far; what is open has no completion yet.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The table.
    pub fn finish(self) -> Table {
        self.table
    }

    /// Takes an event of our own format.
    ///
    /// # Errors
    /// See [`Builder::push`].
    pub fn event(&mut self, event: &Event) -> Result<(), BuildError> {
        let record = self.record(event)?;
        let error = self.number(event, event.error.as_ref())?;
        self.push(&Record { error, ..record })
    }

    /// An event of our own format with its values numbered, all but its error.
    ///
    /// # Errors
    /// There are too many values.
    pub fn record<'e>(&mut self, event: &'e Event) -> Result<Record<'e>, TooMany> {
        Ok(Record {
            process: event.process,
            kind: event.kind,
            f: &event.f,
            key: self.number(event, event.key.as_ref())?,
            value: self.number(event, Some(&event.value))?,
            time: Some(event.time),
            index: Some(event.index),
            node: event.node.as_deref(),
            error: ValueId::ABSENT,
        })
    }

    /// The nemesis is left out, and so are its values.
    fn number(&mut self, event: &Event, value: Option<&Value>) -> Result<ValueId, TooMany> {
        match value {
            Some(value) if event.process != Process::Nemesis => self.table.values.json(value),
            _ => Ok(ValueId::ABSENT),
        }
    }

    /// Takes the next event. Events of the nemesis only count.
    ///
    /// # Errors
    /// A process invokes while its operation is open, completes what it did not invoke, completes under another name or key, or
    /// acts again after an unknown outcome; or something is more than can be numbered.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), BuildError> {
        let position = self.table.events;
        let index = record.index.unwrap_or(u64::from(position));
        if position >= OPEN - 1 {
            return Err(BuildError::TooLarge("events"));
        }
        self.touched = None;
        if let Process::Client(process) = record.process {
            self.client(record, process, position, index)?;
            self.table.timed &= record.time.is_some();
        }
        if !self.table.indices.is_empty() {
            self.table.indices.push(index);
        } else if index != u64::from(position) {
            self.table.indices.extend((0..position).map(u64::from));
            self.table.indices.push(index);
        }
        self.table.events = position + 1;
        Ok(())
    }

    fn client(
        &mut self,
        record: &Record<'_>,
        process: u64,
        position: u32,
        index: u64,
    ) -> Result<(), BuildError> {
        let Self { table, actors, names, nodes, released, touched, .. } = self;
        let error = |problem: String| Err(BuildError::Pair(PairError { index, problem }));
        let next = actors.len();
        let actor = match actors.entry(process) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                table.processes.push(process);
                let number = u32::try_from(next).map_err(|_| BuildError::TooLarge("processes"))?;
                new.insert(Actor { number, last: Last::Free })
            }
        };
        if let (Last::Crashed(_), Kind::Invoke, true) = (&actor.last, record.kind, self.reuse) {
            actor.last = Last::Free;
            self.reused += 1;
        }
        let (f, kind) = (record.f, record.kind);
        match (&actor.last, kind) {
            (Last::Free, Kind::Invoke) => {
                let end = u32::try_from(table.rows.len()).map_err(|_| BuildError::TooLarge("operations"))?;
                let place = released.last().copied().unwrap_or(end);
                let time = record.time.unwrap_or(0);
                let node = match record.node {
                    Some(node) => number(nodes, &mut table.nodes, node, 1, "nodes")?,
                    None => 0,
                };
                let row = Row {
                    invoke_time: time,
                    complete_time: time,
                    key: record.key,
                    argument: record.value,
                    result: ValueId::ABSENT,
                    invoked: position,
                    completed: OPEN,
                    process: actor.number,
                    f: number(names, &mut table.names, f, 0, "names of operations")?,
                    node,
                    outcome: Outcome::Unknown,
                };
                if released.pop().is_some() {
                    table.rows[place as usize] = row;
                } else {
                    table.rows.push(row);
                }
                actor.last = Last::Open(place);
                *touched = Some(place);
            }
            (Last::Open(open), Kind::Invoke) => {
                let before = View { table, row: &table.rows[*open as usize] };
                let (name, at) = (before.f(), before.index());
                return error(format!(
                    "process {process} invokes {f} while its {name} of event {at} is still open"
                ));
            }
            (Last::Crashed(crash), _) => {
                return error(format!(
                    "process {process} acts again ({kind} of {f}) after the unknown outcome of event {crash}; \
                     its worker must go on under a fresh process number"
                ));
            }
            (Last::Free, _) => {
                return error(format!(
                    "{kind} of {f} by process {process}, which has nothing open: its invocation is missing, or it has ended before"
                ));
            }
            (Last::Open(open), _) => {
                let open = *open as usize;
                let before = View { table, row: &table.rows[open] };
                if before.f() != f {
                    let (name, at) = (before.f(), before.index());
                    return error(format!(
                        "process {process} completes {f}, but what it invoked at event {at} is {name}"
                    ));
                }
                if record.key.is_present() && before.row.key != record.key {
                    let key = before.row.key;
                    return error(format!(
                        "process {process} completes {f} of key {}, but what it invoked at event {} has {}",
                        table.values.show(record.key),
                        before.index(),
                        if key.is_present() {
                            format!("key {}", table.values.show(key))
                        } else {
                            "no key".into()
                        },
                    ));
                }
                let row = &mut table.rows[open];
                row.completed = position;
                row.complete_time = record.time.unwrap_or(0);
                row.result = record.value;
                row.outcome = match kind {
                    Kind::Ok => Outcome::Ok,
                    Kind::Fail => Outcome::Fail,
                    Kind::Info | Kind::Invoke => Outcome::Unknown,
                };
                if record.error.is_present() {
                    table.errors.insert(position, record.error);
                }
                *touched = Some(open as u32);
                actor.last = if kind == Kind::Info { Last::Crashed(index) } else { Last::Free };
            }
        }
        Ok(())
    }
}

/// The number of a name, new ones counted from `first`.
fn number(
    known: &mut FxHashMap<String, u16>,
    names: &mut Vec<String>,
    name: &str,
    first: usize,
    what: &'static str,
) -> Result<u16, BuildError> {
    if let Some(number) = known.get(name) {
        return Ok(*number);
    }
    let number = u16::try_from(names.len() + first).map_err(|_| BuildError::TooLarge(what))?;
    names.push(name.to_owned());
    known.insert(name.to_owned(), number);
    Ok(number)
}
