//! `schism list`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use schism_checkers::linearizable::Model;

use super::args::{self, ListKind};

pub fn main(arguments: &args::List) -> ExitCode {
    let kinds = [
        (
            ListKind::Systems,
            "systems",
            "name one as `system:`, or give the path of a YAML of your own",
            systems(),
        ),
        (ListKind::Workloads, "workloads", "under `workload:`", workloads()),
        (ListKind::Faults, "faults", "under `nemesis: faults:`", faults()),
        (ListKind::Checkers, "checkers", "which of them apply follows from the workload", checkers()),
        (
            ListKind::Models,
            "models",
            "for `schism check --model`; docs/models.md has their operations",
            models(),
        ),
    ];
    let mut text = String::new();
    for (kind, title, hint, entries) in kinds {
        if arguments.kind.is_some_and(|wanted| wanted != kind) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{title} ({hint})");
        let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, about) in entries {
            let _ = writeln!(text, "  {name:width$}  {about}");
        }
    }
    super::print(&text)
}

type Entries = Vec<(String, String)>;

fn owned(entries: &[(&str, &str)]) -> Entries {
    entries.iter().map(|(name, about)| ((*name).to_owned(), (*about).to_owned())).collect()
}

fn systems() -> Entries {
    let load = |name: &str| crate::system::load(name, Path::new("")).ok();
    // Every built-in system is read by a test, so that none is missing here.
    let systems = crate::system::builtin().filter_map(|(name, _)| load(name));
    systems.map(|system| (system.def.name, system.def.description)).collect()
}

fn workloads() -> Entries {
    owned(&[(
        "register",
        "reads, writes and compare-and-set on independent registers; checked for linearizability",
    )])
}

fn faults() -> Entries {
    owned(&schism_nemesis::spec::CATALOGUE)
}

fn models() -> Entries {
    Model::ALL.into_iter().map(|model| (model.name().to_owned(), model.describe().to_owned())).collect()
}

fn checkers() -> Entries {
    owned(&[(
        "linearizable",
        "every operation takes effect at one instant between its invocation and its completion",
    )])
}
