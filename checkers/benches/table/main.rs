//! How the time and the memory of the linearizability checker grow: `cargo bench -p schism-checkers --bench table -- --help`.
//!
//! Every case is generated and checked in a process of its own, so that the peak of its memory is its own. It includes the
//! table that is checked; the time is that of the check alone.

mod generate;
mod object;
mod rows;
mod write;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;
use std::time::Duration;

use schism_checkers::Validity;
use schism_checkers::linearizable::{Engine, Model, Options, check};

use rows::{ROWS, Row};

const HELP: &str = "\
Checks generated histories of growing size and prints time and memory.

  --row TEXT        only rows whose name contains TEXT; may be repeated
  --largest N       the largest number of operations (default 100000)
  --smallest N      the smallest (default 1000)
  --runs N          checks of each case, of which the median counts (default 3)
  --threads N       threads of a check (default 0: as many as there are processors)
  --engine NAME     decide with this engine in place of the row's
  --limit SECONDS   the time budget of one check; sizes that would take longer are left out (default 60)
  --tsv             tab-separated lines in place of an aligned table
  --write DIR       write the histories as JSON Lines in place of checking them
  --list            only the names of the rows
";

type Failure = Box<dyn Error>;

#[derive(Clone)]
struct Arguments {
    rows: Vec<String>,
    largest: u64,
    smallest: u64,
    runs: usize,
    threads: usize,
    engine: Option<Engine>,
    limit: u64,
    tsv: bool,
    write: Option<PathBuf>,
    list: bool,
    help: bool,
    /// One case, in this process: the row's name and the number of operations.
    case: Option<(String, u64)>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self {
            rows: Vec::new(),
            largest: 100_000,
            smallest: 1000,
            runs: 3,
            threads: 0,
            engine: None,
            limit: 60,
            tsv: false,
            write: None,
            list: false,
            help: false,
            case: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--row" => arguments.rows.push(value()?),
                "--largest" => arguments.largest = number(&value()?)?,
                "--smallest" => arguments.smallest = number(&value()?)?,
                "--runs" => arguments.runs = number::<usize>(&value()?)?.max(1),
                "--threads" => arguments.threads = number(&value()?)?,
                "--engine" => arguments.engine = Some(Engine::from_str(&value()?)?),
                "--limit" => arguments.limit = number(&value()?)?,
                "--tsv" => arguments.tsv = true,
                "--write" => arguments.write = Some(value()?.into()),
                "--case" => arguments.case = Some((value()?, number(&value()?)?)),
                "--list" => arguments.list = true,
                "--help" => arguments.help = true,
                // Cargo's own.
                "--bench" => {}
                _ => return Err(format!("there is no argument {word}\n\n{HELP}").into()),
            }
        }
        Ok(arguments)
    }

    fn selected(&self) -> impl Iterator<Item = &'static Row> {
        let chosen =
            |row: &&Row| self.rows.is_empty() || self.rows.iter().any(|text| row.name.contains(text));
        ROWS.iter().filter(chosen)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, Failure> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is not a number that is possible here").into())
}

/// What a case's own process says, in one line.
struct Measured {
    verdict: Validity,
    engine: String,
    keys: usize,
    seconds: f64,
    /// Of all threads. On a busy machine it says more than the time that passed.
    processor_seconds: f64,
    table_bytes: usize,
    peak_bytes: usize,
}

impl Measured {
    fn to_line(&self) -> String {
        let verdict = match self.verdict {
            Validity::Pass => "pass",
            Validity::Violation => "violation",
            Validity::Unknown => "unknown",
        };
        let Self { engine, keys, seconds, processor_seconds, table_bytes, peak_bytes, .. } = self;
        format!("{verdict}\t{engine}\t{keys}\t{seconds}\t{processor_seconds}\t{table_bytes}\t{peak_bytes}")
    }

    fn from_line(line: &str) -> Result<Self, Failure> {
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let [verdict, engine, keys, seconds, processor_seconds, table_bytes, peak_bytes] = fields[..] else {
            return Err(format!("the process of a case said {line:?}").into());
        };
        let verdict = match verdict {
            "pass" => Validity::Pass,
            "violation" => Validity::Violation,
            _ => Validity::Unknown,
        };
        Ok(Self {
            verdict,
            engine: engine.to_owned(),
            keys: number(keys)?,
            seconds: seconds.parse()?,
            processor_seconds: processor_seconds.parse()?,
            table_bytes: number(table_bytes)?,
            peak_bytes: number(peak_bytes)?,
        })
    }
}

/// The most memory this process has had, in bytes.
fn peak() -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("Linux does not say VmHWM")?;
    Ok(number::<usize>(line.trim().trim_end_matches(" kB"))? << 10)
}

/// The processor time of this process, in seconds, in steps of the kernel's hundredths.
fn processor_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may contain anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("Linux does not say what time this process took")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [user, system] = fields[11..13] else {
        return Err("Linux does not say what time this process took".into());
    };
    Ok((number::<u64>(user)? + number::<u64>(system)?) as f64 / 100.0)
}

/// Generates a case in this process, and checks or writes it.
fn case(arguments: &Arguments, name: &str, operations: u64) -> Result<(), Failure> {
    let row = ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("there is no row {name}"))?;
    let table = generate::history(&row.shape(operations), 1)?;
    if let Some(directory) = &arguments.write {
        std::fs::create_dir_all(directory)?;
        return Ok(write::write(&table, &directory.join(format!("{name}-{operations}.jsonl")))?);
    }
    let options = Options {
        engine: arguments.engine.unwrap_or(row.engine),
        time_budget: Some(Duration::from_secs(arguments.limit)),
        threads: arguments.threads,
        ..Options::new(Model::from_str(row.model)?)
    };
    let (mut seconds, before) = (Vec::new(), processor_seconds()?);
    loop {
        let result = check(&table, &options)?;
        seconds.push(result.seconds);
        // What takes long is measured well enough by once.
        if seconds.len() < arguments.runs && 10.0 * result.seconds < arguments.limit as f64 {
            continue;
        }
        let processor_seconds = (processor_seconds()? - before) / seconds.len() as f64;
        seconds.sort_by(f64::total_cmp);
        let measured = Measured {
            verdict: result.validity,
            engine: result.engine,
            keys: result.keys,
            seconds: seconds[seconds.len() / 2],
            processor_seconds,
            table_bytes: table.bytes(),
            peak_bytes: peak()?,
        };
        println!("{}", measured.to_line());
        return Ok(());
    }
}

/// Has a case done by a process of its own; `None` if that was killed, which is what happens when memory runs out.
fn apart(words: &[String], row: &Row, operations: u64) -> Result<Option<String>, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args(words)
        .args(["--case", row.name, &operations.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    match output.status.code() {
        Some(0) => Ok(Some(String::from_utf8(output.stdout)?)),
        Some(_) => Err(format!("{} with {operations} operations could not be done", row.name).into()),
        None => Ok(None),
    }
}

/// By which power of the number of operations the time grows: the slope of the line through the logarithms, least squares. What is over within
/// a millisecond is mostly the start of threads and does not count.
fn exponent(points: &[(u64, f64)]) -> Option<f64> {
    let points: Vec<(f64, f64)> = points
        .iter()
        .filter(|(_, seconds)| *seconds >= 1e-3)
        .map(|(operations, seconds)| ((*operations as f64).ln(), seconds.ln()))
        .collect();
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x) * (point.0 - x))
    });
    (points.len() >= 2).then(|| above / below)
}

fn print_cells(tsv: bool, cells: &[String]) {
    const WIDTHS: [usize; 13] = [22, 10, 7, 5, 8, 9, 13, 10, 8, 8, 8, 9, 8];
    let line = match tsv {
        true => cells.join("\t"),
        false => {
            let pad = |(place, cell): (usize, &String)| match place {
                0 | 5 | 6 => format!("{cell:<width$}", width = WIDTHS[place]),
                _ => format!("{cell:>width$}", width = WIDTHS[place]),
            };
            cells.iter().enumerate().map(pad).collect::<Vec<_>>().join(" ")
        }
    };
    println!("{}", line.trim_end());
}

/// Prints the rows; false if a verdict was wrong.
fn print_table(arguments: &Arguments, words: &[String]) -> Result<bool, Failure> {
    let head = [
        "case",
        "operations",
        "keys",
        "procs",
        "unknown%",
        "verdict",
        "engine",
        "seconds",
        "cpu",
        "ns/op",
        "peakMiB",
        "tableMiB",
        "exponent",
    ];
    print_cells(arguments.tsv, &head.map(str::to_owned));
    let mut right = true;
    for row in arguments.selected() {
        if Model::from_str(row.model).is_err() {
            eprintln!("{}: there is no model {}", row.name, row.model);
            continue;
        }
        let mut points = Vec::new();
        for operations in row.sizes(arguments.largest).filter(|size| *size >= arguments.smallest) {
            let shape = row.shape(operations);
            let mut cells = vec![
                row.name.to_owned(),
                operations.to_string(),
                shape.keys.count(operations).to_string(),
                shape.processes.to_string(),
                (shape.unknown as f64 / 10.0).to_string(),
            ];
            let Some(line) = apart(words, row, operations)? else {
                cells.push("killed".into());
                print_cells(arguments.tsv, &cells);
                break;
            };
            let measured = Measured::from_line(&line)?;
            let expected = if shape.lie { Validity::Violation } else { Validity::Pass };
            let mebibytes = |bytes: usize| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
            let verdict = match measured.verdict {
                Validity::Unknown => "unknown",
                verdict if verdict != expected => "WRONG",
                Validity::Pass => "pass",
                Validity::Violation => "violation",
            };
            right &= verdict != "WRONG";
            points.push((operations, measured.seconds));
            cells[2] = measured.keys.to_string();
            cells.extend([
                verdict.to_owned(),
                measured.engine,
                format!("{:.4}", measured.seconds),
                format!("{:.2}", measured.processor_seconds),
                format!("{:.0}", measured.seconds * 1e9 / operations as f64),
                mebibytes(measured.peak_bytes),
                mebibytes(measured.table_bytes),
                exponent(&points).map_or(String::new(), |exponent| format!("{exponent:.2}")),
            ]);
            print_cells(arguments.tsv, &cells);
            // The next size takes ten times as long, or more.
            if measured.verdict == Validity::Unknown || 10.0 * measured.seconds > arguments.limit as f64 {
                break;
            }
        }
    }
    Ok(right)
}

fn main() -> Result<ExitCode, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = Arguments::parse(words.iter().cloned())?;
    if arguments.help {
        print!("{HELP}");
    } else if let Some((name, operations)) = &arguments.case {
        case(&arguments, name, *operations)?;
    } else if arguments.list {
        // Test runners ask for a list, too. It is none of theirs.
        arguments.selected().for_each(|row| println!("{}", row.name));
    } else if arguments.write.is_some() {
        for row in arguments.selected() {
            for operations in row.sizes(arguments.largest).filter(|size| *size >= arguments.smallest) {
                apart(&words, row, operations)?;
            }
        }
    } else if !print_table(&arguments, &words)? {
        eprintln!("a verdict is wrong");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
