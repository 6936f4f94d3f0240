//! How fast histories in Clojure notation are read, from bytes to table: `cargo bench -p schism-formats --bench edn`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use schism_formats::{Format, Keys, Options, parse_bytes};
use schism_history::Random;

const EVENTS: u64 = 400_000;

fn main() {
    divan::main();
}

/// Ten clients; each event is what `write` makes of its number, time, process, and whether it completes an operation.
fn history(mut write: impl FnMut(&mut Random, &mut String, u64, u64, u64, bool)) -> String {
    let mut random = Random::new(3, "bench");
    let mut text = String::new();
    let mut open = [false; 10];
    let mut time = 0;
    for index in 0..EVENTS {
        let process = random.below(10);
        time += random.below(100_000);
        let completes = std::mem::replace(&mut open[process as usize], false);
        open[process as usize] = !completes;
        write(&mut random, &mut text, index, time, process, completes);
    }
    text
}

/// A register, as Jepsen writes it.
static REGISTER: LazyLock<String> = LazyLock::new(|| {
    let mut fs = [0; 10];
    history(|random, text, index, time, process, completes| {
        let f = &mut fs[process as usize];
        if !completes {
            *f = random.below(3);
        }
        let kind = if completes { "ok" } else { "invoke" };
        let (f, value) = match *f {
            0 if !completes => ("read", "nil".to_owned()),
            0 => ("read", random.below(5).to_string()),
            1 => ("write", random.below(5).to_string()),
            _ => ("cas", format!("[{} {}]", random.below(5), random.below(5))),
        };
        let _ = writeln!(
            text,
            "{{:index {index}, :time {time}, :type :{kind}, :process {process}, :f :{f}, :value {value}}}"
        );
    })
});

/// Transactions that append to lists, with the fields in the order of Elle's histories.
static TRANSACTIONS: LazyLock<String> = LazyLock::new(|| {
    history(|random, text, index, time, process, completes| {
        let kind = if completes { "ok" } else { "invoke" };
        let (key, length) = (index / 1000 + random.below(5), if completes { random.below(30) } else { 0 });
        let list = (0..length).map(|item| item.to_string()).collect::<Vec<_>>().join(" ");
        let list = if completes { format!("[{list}]") } else { "nil".into() };
        let _ = writeln!(
            text,
            "{{:type :{kind}, :f :txn, :value [[:append {key} {index}] [:r {key} {list}]], :process {process}, :time {time}, :index {index}}}"
        );
    })
});

/// Texts under keys, as in Porcupine's histories.
static TEXTS: LazyLock<String> = LazyLock::new(|| {
    history(|random, text, index, _, process, completes| {
        let kind = if completes { "ok" } else { "invoke" };
        let _ = writeln!(
            text,
            "{{:process {process}, :type :{kind}, :f :append, :key \"{process}\", :value \"x {index} {} y\"}}",
            random.below(1000)
        );
    })
});

fn read(bencher: Bencher<'_, '_>, text: &'static str) {
    let options = Options { format: Some(Format::Edn), keys: Keys::Field };
    bencher
        .counter(BytesCount::of_str(text))
        .counter(ItemsCount::new(EVENTS))
        .bench(|| parse_bytes(text.as_bytes(), &options).map(|import| import.table.events()).ok());
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn register(bencher: Bencher<'_, '_>) {
    read(bencher, &REGISTER);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn transactions(bencher: Bencher<'_, '_>) {
    read(bencher, &TRANSACTIONS);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn texts(bencher: Bencher<'_, '_>) {
    read(bencher, &TEXTS);
}
