//! Writes a table as JSON Lines, an event a line, so that other checkers can read the same history.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use schism_history::{Event, Kind, OPEN, Outcome, Process, Table};

/// Writes the events in their order.
///
/// # Errors
/// The file cannot be written.
pub fn write(table: &Table, path: &Path) -> io::Result<()> {
    const COMPLETION: u32 = 1 << 31;
    // Which row each event is of. The events themselves would take many times the memory of the table.
    let mut order = vec![0; table.events()];
    for (number, row) in table.rows().iter().enumerate() {
        order[row.invoked as usize] = number as u32;
        if row.completed != OPEN {
            order[row.completed as usize] = number as u32 | COMPLETION;
        }
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut line = Vec::new();
    for (position, entry) in order.into_iter().enumerate() {
        let view = table.view((entry & !COMPLETION) as usize);
        let row = view.row;
        let completed = entry & COMPLETION != 0;
        let kind = match (completed, row.outcome) {
            (false, _) => Kind::Invoke,
            (true, Outcome::Ok) => Kind::Ok,
            (true, Outcome::Fail) => Kind::Fail,
            (true, Outcome::Unknown) => Kind::Info,
        };
        let event = Event {
            index: position as u64,
            time: if completed { row.complete_time } else { row.invoke_time },
            process: Process::Client(view.process()),
            kind,
            f: Cow::Owned(view.f().to_owned()),
            key: row.key.is_present().then(|| table.values.to_json(row.key)),
            value: table.values.to_json(if completed { row.result } else { row.argument }),
            node: None,
            error: None,
            extra: serde_json::Map::new(),
        };
        line.clear();
        schism_history::encode(&event, &mut line)?;
        file.write_all(&line)?;
    }
    file.flush()
}
