//! `schism plan`, and what `schism run` shares with it.

use std::process::ExitCode;

use super::args;
use crate::plan::{self, Plan};
use crate::spec::Problems;

pub fn main(arguments: &args::Plan) -> ExitCode {
    match resolve(&arguments.test) {
        Ok(planned) if arguments.json => super::print(&String::from_utf8_lossy(&planned.plan.to_json())),
        Ok(planned) => super::print(&planned.plan.print()),
        Err(problems) => super::usage(&problems),
    }
}

/// A test file, understood.
pub struct Planned {
    pub plan: Plan,
    /// The text of the test file.
    pub text: String,
}

/// Reads the test file and resolves it into a plan. Touches nothing.
pub fn resolve(arguments: &args::Test) -> Result<Planned, Problems> {
    let (test, source, system) = plan::prepare(&arguments.test, &arguments.set)?;
    let seed = arguments.seed.or(test.seed).unwrap_or_else(drawn);
    let plan = plan::resolve(&test, &source, &system, seed)?;
    Ok(Planned { plan, text: source.text().to_owned() })
}

/// A seed nobody chose: short enough to be typed again.
fn drawn() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) % 1_000_000_000
}
