//! Histories of our own and of other tools, read into the table that the checkers work on.
//!
//! Every format reads events one after the other and pushes them into a [`Builder`], which pairs them. A format knows how its tool
//! writes things down; it knows no models and no checkers. What a reader had to decide or leave out it says in [`Import::notes`].

mod clojure;
mod compression;
mod detect;
mod edn;
mod input;
mod jepsen;
mod jsonl;
mod operations;
mod porcupine;
#[cfg(test)]
mod shared_data;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::str::FromStr;

use schism_history::{BuildError, Builder, NotTuple, Table};

use compression::{Compression, Cut};

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
        /// The line of the event.
        line: usize,
        /// What it contradicts.
        source: BuildError,
    },
    /// In a binary file, an event contradicts the ones before.
    #[error("operation number {number} of the file: {source}")]
    Element {
        /// Its number, from 1.
        number: u64,
        /// What it contradicts.
        source: BuildError,
    },
    /// The format is none that is known. The name of the file is left to the caller.
    #[error("this is no history in a known format: {0}")]
    Unrecognized(String),
    /// With [`Keys::Tuple`], a value is no pair of key and value.
    #[error(transparent)]
    Tuple(#[from] NotTuple),
}

/// Reads the history at `path`, compressed or not; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is not a history. A file that ends too early is none: what is whole is taken, and a note says so.
pub fn open(path: &Path, options: &Options) -> Result<Import, ImportError> {
    if path.as_os_str() == "-" {
        return read(io::stdin().lock(), "standard input", options);
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    read(file, &name, options)
}

/// Reads the history that is in memory.
///
/// # Errors
/// As [`open`].
pub fn parse_bytes(bytes: &[u8], options: &Options) -> Result<Import, ImportError> {
    read(bytes, "the input", options)
}

/// Reads a history from `input`, which errors call `name`, compressed or not.
///
/// # Errors
/// As [`open`].
pub fn read(input: impl Read, name: &str, options: &Options) -> Result<Import, ImportError> {
    let named =
        |error: io::Error| ImportError::Read(io::Error::new(error.kind(), format!("{name}: {error}")));
    let (head, input) = compression::peek(input).map_err(named)?;
    let cut = Cut::default();
    let result = match Compression::detect(&head) {
        Some(how) => {
            let (head, mut input) =
                compression::peek(compression::decompress(input, how, &cut)).map_err(named)?;
            let result = decode(&head, &mut input, options, &cut);
            result.map_err(|error| compression::blame(error, &mut input, &cut))
        }
        None => decode(&head, input, options, &cut),
    };
    result.map_err(|error| match error {
        ImportError::Read(error) => named(error),
        other => other,
    })
}

fn decode(head: &[u8], mut input: impl BufRead, options: &Options, cut: &Cut) -> Result<Import, ImportError> {
    let format = match options.format.or_else(|| detect::detect(head)) {
        Some(format) => format,
        None => return Err(ImportError::Unrecognized(detect::describe(head))),
    };
    if head.starts_with(detect::BYTE_ORDER_MARK) {
        input.consume(detect::BYTE_ORDER_MARK.len());
    }
    let mut builder = Builder::new();
    let mut notes = Vec::new();
    if format == Format::Jsonl {
        jsonl::read(&mut input, &mut builder, options.keys, &mut notes)?;
    } else {
        let longest = if format == Format::Jepsen { None } else { Some(input::LONGEST_LINE) };
        let bytes = input::read_all(&mut input, longest)?;
        whole(format)(&bytes, &mut builder, options.keys, &mut notes)?;
    }
    if cut.is_set() {
        notes.push(
            "the compressed file was cut short (its end is missing); the events before the cut were taken"
                .into(),
        );
    }
    let mut table = builder.finish();
    match options.keys {
        Keys::Auto => {
            if table.keys_from_tuples() {
                notes.push(
                    "every value is a pair [key, value]: the first of each was taken for its key".into(),
                );
            }
        }
        Keys::Tuple => table.split_tuples()?,
        Keys::Field | Keys::None => {}
    }
    Ok(Import { table, format, notes })
}

/// Reads a format that is held in memory as a whole. A reader gives each event the key of its field, if it has one and
/// [`Keys::None`] does not forbid it; tuples are taken apart afterwards.
type Whole = fn(&[u8], &mut Builder, Keys, &mut Vec<String>) -> Result<(), ImportError>;

fn whole(format: Format) -> Whole {
    match format {
        Format::Jsonl => |mut bytes, builder, keys, notes| jsonl::read(&mut bytes, builder, keys, notes),
        Format::Edn | Format::PorcupineKv => edn::read,
        Format::Jepsen => jepsen::read,
        Format::JepsenLog => porcupine::read,
    }
}
