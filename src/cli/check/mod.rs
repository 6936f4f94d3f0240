//! `schism check`: a run directory, a history of any tool's, or a folder of them.

mod folder;
mod history;
mod page;
mod run_dir;
mod waiting;

use std::path::Path;
use std::process::ExitCode;

use super::args;

pub fn main(arguments: &args::Check) -> ExitCode {
    if arguments.path == Path::new("-") {
        return history::main(arguments);
    }
    // Which of them it is to be nobody can know before it is there.
    match arguments.path.metadata() {
        Ok(found) if found.is_dir() && is_run(&arguments.path) => run_dir::main(arguments),
        Ok(found) if found.is_dir() => folder::main(arguments),
        Ok(_) => history::main(arguments),
        Err(error) => super::usage(&format!("schism: cannot open {}: {error}", arguments.path.display())),
    }
}

/// Whether a directory is a run's: it has a plan. A model asks for the histories themselves to be judged.
fn is_run(path: &Path) -> bool {
    path.join("plan.json").exists()
}
