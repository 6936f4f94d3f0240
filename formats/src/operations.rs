//! What the operations in Jepsen's histories mean, however they are written down.

use rustc_hash::FxHashMap;
use schism_history::{BuildError, Builder, Kind, Process, Record, ValueId};

/// From here on numbers stand for processes that have names.
const NAMED: u64 = 1_000_000_000;

/// Who acts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Who<'a> {
    /// Nobody is named.
    #[default]
    Nobody,
    Number(i64),
    /// As it is written: `:nemesis`.
    Name(&'a str),
}

/// What an event says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Type<'a> {
    /// Nothing.
    #[default]
    Nothing,
    Known(Kind),
    /// As it is written.
    Other(&'a str),
}

impl<'a> Type<'a> {
    /// Of a name without its colon.
    pub(crate) fn of(name: &'a str) -> Self {
        match name {
            "invoke" => Type::Known(Kind::Invoke),
            "ok" => Type::Known(Kind::Ok),
            "fail" => Type::Known(Kind::Fail),
            "info" => Type::Known(Kind::Info),
            _ => Type::Other(name),
        }
    }
}

/// One of Jepsen's operations, which is an event to us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op<'a> {
    pub(crate) process: Who<'a>,
    pub(crate) kind: Type<'a>,
    pub(crate) f: Option<&'a str>,
    pub(crate) key: ValueId,
    /// [`ValueId::ABSENT`] where none is given.
    pub(crate) value: ValueId,
    pub(crate) error: ValueId,
    pub(crate) time: Option<i64>,
    pub(crate) index: Option<i64>,
    pub(crate) node: Option<&'a str>,
}

impl Default for Op<'_> {
    fn default() -> Self {
        Op {
            process: Who::Nobody,
            kind: Type::Nothing,
            f: None,
            key: ValueId::ABSENT,
            value: ValueId::ABSENT,
            error: ValueId::ABSENT,
            time: None,
            index: None,
            node: None,
        }
    }
}

/// Why an operation cannot be taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    Build(BuildError),
    /// Its `:type` is unknown.
    Type(String),
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        Refusal::Build(error)
    }
}

/// Pushes operations into a builder and remembers what had to be decided.
#[derive(Default)]
pub(crate) struct Operations {
    /// Numbers of processes with names, and whether they ever invoked something.
    names: FxHashMap<String, (u64, bool)>,
    /// Names in the order of their numbers.
    order: Vec<String>,
    taken: usize,
    others: usize,
    first_other: Option<String>,
    without_f: usize,
}

impl Operations {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        builder.allow_reuse();
        Self::default()
    }

    /// How many events were taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Something is no operation. `place` is asked where the first one stands.
    pub(crate) fn other(&mut self, place: impl FnOnce() -> String) {
        self.others += 1;
        if self.first_other.is_none() {
            self.first_other = Some(place());
        }
    }

    /// Takes an operation; says whether it is one.
    pub(crate) fn push(&mut self, builder: &mut Builder, op: &Op<'_>) -> Result<bool, Refusal> {
        let nemesis = matches!(op.process, Who::Name(":nemesis" | "nemesis" | "\"nemesis\""));
        let kind = match op.kind {
            Type::Known(kind) => kind,
            _ if nemesis && op.f.is_some() => Kind::Info,
            Type::Nothing => return Ok(false),
            Type::Other(name) => return Err(Refusal::Type(name.to_owned())),
        };
        if op.f.is_none() && !op.value.is_present() {
            return Ok(false);
        }
        let process = match op.process {
            _ if nemesis => Process::Nemesis,
            Who::Number(number) => match u64::try_from(number) {
                Ok(number) if number < NAMED => Process::Client(number),
                _ => self.named(&number.to_string(), kind),
            },
            Who::Name(name) => self.named(name, kind),
            Who::Nobody => self.named("", kind),
        };
        if op.f.is_none() && process != Process::Nemesis {
            self.without_f += 1;
        }
        let value = if op.value.is_present() { op.value } else { ValueId::NULL };
        builder.push(&Record {
            process,
            kind,
            f: op.f.unwrap_or(crate::clojure::TXN),
            key: op.key,
            value,
            time: op.time.and_then(|time| u64::try_from(time).ok()),
            index: op.index.and_then(|index| u64::try_from(index).ok()),
            node: op.node,
            error: op.error,
        })?;
        self.taken += 1;
        Ok(true)
    }

    /// A process with a name is a client once it has invoked something; before, it only tells things, as the nemesis does.
    fn named(&mut self, name: &str, kind: Kind) -> Process {
        let next = self.names.len() as u64;
        let (number, client) = match self.names.get_mut(name) {
            Some(known) => known,
            None => {
                self.order.push(name.to_owned());
                self.names.entry(name.to_owned()).or_insert((NAMED + next, false))
            }
        };
        *client |= kind != Kind::Info;
        if *client { Process::Client(*number) } else { Process::Nemesis }
    }

    /// What was decided, for a person. `noun` is what may have been left out: `lines`.
    pub(crate) fn notes(&self, builder: &Builder, noun: &str, notes: &mut Vec<String>) {
        if let Some(first) = &self.first_other {
            notes.push(match self.others {
                1 => format!("1 of the {noun} is no operation and was left out, {first}"),
                many => format!("{many} {noun} are not operations and were left out, the first {first}"),
            });
        }
        if self.without_f > 0 {
            notes.push(format!(
                "{} operations have no :f and were taken for transactions (txn)",
                self.without_f
            ));
        }
        for name in &self.order {
            let Some((number, client)) = self.names.get(name) else { continue };
            notes.push(match (name.as_str(), client) {
                ("", true) => format!(
                    "operations that name no process were taken for those of one process, number {number}"
                ),
                ("", false) => "operations that name no process invoke nothing and only count".into(),
                (name, true) => format!("process {name} was given the number {number}"),
                (name, false) => {
                    format!("process {name} invokes nothing; its events only count, as the nemesis' do")
                }
            });
        }
        if builder.reused() > 0 {
            notes.push(format!(
                "{} times a process goes on after an unknown outcome; each time it was taken for a new process of the same number",
                builder.reused()
            ));
        }
    }
}
