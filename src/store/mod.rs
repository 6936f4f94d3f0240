//! The run directory: where everything a run produces is kept, and how a finished or crashed run is found again.
//!
//! Layout of `runs/<name>/<time>/` (and `runs/latest`, a link to the newest):
//!
//! | file | what |
//! |---|---|
//! | `test.yaml` | the test file as it was given |
//! | `plan.json` | the resolved plan, overrides and seed included |
//! | `history.jsonl` | every event, as it happened |
//! | `results.json`, `report.html`, `junit.xml` | the verdict: for programs, people and CI |
//! | `schism.log` | what the controller did, as JSON lines |
//! | `nodes/<node>/` | logs of the system and of the agent, configuration and versions of the node |
//!
//! Nothing here knows what the files contain.

mod log;
mod run_dir;

pub use log::start_logging;
pub use run_dir::{RunDir, StoreError};
