//! The rows of the table.

use schism_checkers::linearizable::Engine;

use super::generate::{Keys, Shape};
use super::object::{Domain, Kind};

/// One kind of history, at several sizes.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    /// The checker's model. A row whose model does not exist is left out.
    pub model: &'static str,
    pub engine: Engine,
    /// The largest history of this row.
    pub largest: u64,
    shape: Shape,
}

impl Row {
    /// What a history of so many operations is like.
    pub fn shape(&self, operations: u64) -> Shape {
        Shape { operations, ..self.shape }
    }

    /// The history's sizes: powers of ten from a thousand.
    pub fn sizes(&self, largest: u64) -> impl Iterator<Item = u64> {
        let largest = largest.min(self.largest);
        (3..).map(|exponent| 10_u64.pow(exponent)).take_while(move |size| *size <= largest)
    }

    const fn keys(self, keys: Keys) -> Self {
        Self { shape: Shape { keys, ..self.shape }, ..self }
    }

    const fn processes(self, processes: u64) -> Self {
        Self { shape: Shape { processes, ..self.shape }, ..self }
    }

    const fn unknown(self, of_1000: u64) -> Self {
        Self { shape: Shape { unknown: of_1000, ..self.shape }, ..self }
    }

    const fn small(self, values: u64) -> Self {
        Self { shape: Shape { domain: Domain::Small(values), ..self.shape }, ..self }
    }

    const fn lie(self) -> Self {
        Self { shape: Shape { lie: true, ..self.shape }, ..self }
    }

    const fn largest(self, largest: u64) -> Self {
        Self { largest, ..self }
    }

    const fn search(self) -> Self {
        Self { engine: Engine::Search, ..self }
    }
}

/// One object, five processes, distinct values, no unknown outcome, linearizable, up to a million operations.
const fn row(name: &'static str, model: &'static str, kind: Kind) -> Row {
    let (domain, keys) = (Domain::Distinct, Keys::One);
    let shape = Shape { kind, domain, keys, operations: 0, processes: 5, unknown: 0, lie: false };
    Row { name, model, engine: Engine::Auto, largest: 1_000_000, shape }
}

const ROTATING: Keys = Keys::Rotating(100);
const THOUSAND: Keys = Keys::Fixed(1000);
const MOST: u64 = 10_000_000;

/// All rows.
pub const ROWS: &[Row] = &[
    // Many keys.
    row("many-register", "register", Kind::Register).keys(ROTATING).largest(MOST),
    row("many-cas", "cas-register", Kind::CasRegister).keys(ROTATING).unknown(10).largest(MOST),
    row("many-cas-small", "cas-register", Kind::CasRegister)
        .keys(ROTATING)
        .small(5)
        .unknown(10)
        .largest(MOST),
    row("many-cas-invalid", "cas-register", Kind::CasRegister).keys(ROTATING).lie().largest(MOST),
    row("many-cas-1000", "cas-register", Kind::CasRegister).keys(THOUSAND).processes(100).largest(MOST),
    row("many-cas-skewed", "cas-register", Kind::CasRegister).keys(Keys::Skewed(10)).largest(MOST),
    row("many-kv", "key-value", Kind::KeyValue).keys(ROTATING).processes(10).largest(MOST),
    row("many-kv-unknown", "key-value", Kind::KeyValue)
        .keys(ROTATING)
        .processes(10)
        .unknown(10)
        .largest(MOST),
    row("many-kv-1000", "key-value", Kind::KeyValue).keys(THOUSAND).processes(100).largest(MOST),
    row("many-kv-invalid", "key-value", Kind::KeyValue).keys(ROTATING).processes(10).lie().largest(MOST),
    // One hot register.
    row("hot-small", "register", Kind::Register).small(5),
    row("hot-small-invalid", "register", Kind::Register).small(5).lie(),
    row("hot-distinct", "register", Kind::Register),
    row("hot-distinct-invalid", "register", Kind::Register).lie(),
    row("hot-distinct-unknown", "register", Kind::Register).unknown(50),
    row("hot-distinct-100", "register", Kind::Register).processes(100),
    row("hot-cas-small", "cas-register", Kind::CasRegister).small(5),
    row("hot-cas-distinct", "cas-register", Kind::CasRegister),
    row("hot-cas-unknown", "cas-register", Kind::CasRegister).unknown(10),
    row("hot-cas-invalid", "cas-register", Kind::CasRegister).lie(),
    // One object of another kind.
    row("fifo-queue", "fifo-queue", Kind::Queue),
    row("fifo-queue-invalid", "fifo-queue", Kind::Queue).lie(),
    row("fifo-queue-unknown", "fifo-queue", Kind::Queue).unknown(10),
    row("unordered-queue", "unordered-queue", Kind::Queue),
    row("stack", "stack", Kind::Stack),
    row("stack-invalid", "stack", Kind::Stack).lie(),
    row("set", "set", Kind::Set),
    row("set-invalid", "set", Kind::Set).lie(),
    row("counter", "counter", Kind::Counter),
    row("counter-invalid", "counter", Kind::Counter).lie(),
    row("mutex", "mutex", Kind::Mutex),
    row("mutex-invalid", "mutex", Kind::Mutex).lie(),
    row("log", "log", Kind::Log),
    row("log-invalid", "log", Kind::Log).lie(),
    // The general search where it would not be needed.
    row("search-register", "register", Kind::Register).small(5).search(),
    row("search-cas", "cas-register", Kind::CasRegister).small(5).search(),
    row("search-kv", "key-value", Kind::KeyValue).keys(THOUSAND).processes(100).search(),
    row("search-queue", "fifo-queue", Kind::Queue).small(5).search(),
    row("search-stack", "stack", Kind::Stack).small(5).search(),
    row("search-counter", "counter", Kind::Counter).search(),
    row("search-mutex", "mutex", Kind::Mutex).search(),
    row("search-set", "set", Kind::Set).search(),
];
