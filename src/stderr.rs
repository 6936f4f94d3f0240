//! What is said to the person on the way. `eprintln!` panics when nobody listens any more (a closed pipe, a full disk behind
//! a redirection); no run may end of that, least of all with a fault in force.

use std::fmt::Display;
use std::io::Write;

/// Prints a line to standard error, if anybody is there to read it.
pub fn say(line: impl Display) {
    // A single write, so that lines of two threads do not mix. There is no other place to complain.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
