//! Histories of our own and of other tools, read into the table that the checkers work on.
//!
//! Every format reads events one after the other and pushes them into a [`Builder`], which pairs them. A format knows how its tool
//! writes things down; it knows no models and no checkers. What a reader had to decide or leave out it says in [`Import::notes`].

mod edn;
mod jepsen;
mod jsonl;
mod porcupine;

use std::fmt;
use std::str::FromStr;

use schism_history::{BuildError, Table};

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object a line: our own format.
    Jsonl,
    /// Clojure's notation, as Jepsen and Knossos write `history.edn`.
    Edn,
    /// Jepsen's binary `test.jepsen`.
    Jepsen,
    /// The text logs in Porcupine's tests: `INFO  jepsen.util - 4  :invoke  :read  nil`.
    JepsenLog,
    /// The key-value logs in Porcupine's tests, in EDN: `{:process 0, :type :invoke, :f :put, :key "0", :value "x"}`.
    PorcupineKv,
}

impl Format {
    /// Every format, in the order in which to list them.
    pub const ALL: [Format; 5] =
        [Format::Jsonl, Format::Edn, Format::Jepsen, Format::JepsenLog, Format::PorcupineKv];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Edn => "edn",
            Format::Jepsen => "jepsen",
            Format::JepsenLog => "jepsen-log",
            Format::PorcupineKv => "porcupine-kv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No format has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no format is called `{0}`; there are `jsonl`, `edn`, `jepsen`, `jepsen-log` and `porcupine-kv`")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Format::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Where the independent key of an operation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// In a field `key`; without it, in tuples if every value of a client is one.
    #[default]
    Auto,
    /// In the field `key`, if there is one.
    Field,
    /// Every value is a pair of key and value, as Jepsen's `independent` makes them.
    Tuple,
    /// There are no keys: the whole history is about one object.
    None,
}

/// How to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The format; detected if not given.
    pub format: Option<Format>,
    /// Where the key stands.
    pub keys: Keys,
}

/// A history, and how it was read.
#[derive(Debug)]
pub struct Import {
    /// The client operations.
    pub table: Table,
    /// What it was written in.
    pub format: Format,
    /// What the reader decided or left out, for a person: "the last line is torn …", "3 lines are not operations and were left out".
    pub notes: Vec<String>,
}

/// A place in a file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line; 0 in a binary file.
    pub line: usize,
    /// The column in bytes; in a binary file the offset.
    pub column: usize,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Reading or decompressing failed.
    #[error("cannot read the history: {0}")]
    Read(#[from] std::io::Error),
    /// Something else than expected stands there.
    #[error("line {}, column {}: {problem}", place.line, place.column)]
    Syntax {
        /// Where.
        place: Place,
        /// What stands there and what was expected.
        problem: String,
    },
    /// In a binary file, something else than expected stands there.
    #[error("byte {offset}: {problem}")]
    Binary {
        /// Where, from 0.
        offset: u64,
        /// What stands there and what was expected.
        problem: String,
    },
    /// An event contradicts the ones before.
    #[error("line {line}: {source}")]
    Event {
        /// The line of the event; for binary files its number from 1.
        line: usize,
        /// What it contradicts.
        source: BuildError,
    },
    /// The format is none that is known.
    #[error("this is no history in a known format: {0}")]
    Unrecognized(String),
}
