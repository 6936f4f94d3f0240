//! `schism plan`, and what `schism run` shares with it.

use std::process::ExitCode;

use super::args;
use crate::plan::{self, Plan};
use crate::spec::Problems;

/// The seed of a plan that is only shown, where the test file has none: two calls must print the same.
const SHOWN_SEED: u64 = 1;

pub fn main(arguments: &args::Plan) -> ExitCode {
    match resolve(&arguments.test, || {
        eprintln!(
            "note: the test file has no seed, so every run draws its own; this is the plan of --seed {SHOWN_SEED}"
        );
        SHOWN_SEED
    }) {
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

/// Reads the test file and resolves it into a plan; `draw` gives the seed where nobody chose one. Touches nothing.
pub fn resolve(arguments: &args::Test, draw: impl FnOnce() -> u64) -> Result<Planned, Problems> {
    let (test, source, system) = plan::prepare(&arguments.test, &arguments.set)?;
    let seed = arguments.seed.or(test.seed).unwrap_or_else(draw);
    let plan = plan::resolve(&test, &source, &system, seed)?;
    Ok(Planned { plan, text: source.text().to_owned() })
}

/// A seed nobody chose: short enough to be typed again.
pub fn drawn() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) % 1_000_000_000
}
