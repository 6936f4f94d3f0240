//! Looking again until something holds.

use std::thread;
use std::time::{Duration, Instant};

use crate::node::{Evidence, FaultError};

/// Pause between two looks: short against a fault, long against a system call.
const INTERVAL: Duration = Duration::from_millis(2);

/// Looks at least once, and again until the evidence holds or `patience` is over. Gives the last look.
pub fn until(
    patience: Duration,
    mut look: impl FnMut() -> Result<Evidence, FaultError>,
) -> Result<Evidence, FaultError> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = look()?;
        if seen.holds || Instant::now() >= deadline {
            return Ok(seen);
        }
        thread::sleep(INTERVAL);
    }
}
