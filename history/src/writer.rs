//! The one writer of a history file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use crate::Event;
use crate::encode::encode;
use crate::sync::Syncer;

/// Events are handed to the kernel at the latest when this many bytes wait for it.
const LARGE: usize = 256 * 1024;

/// Appends events to a history file. It has exactly one owner, who alone decides the order of events: no method takes
/// `&self`, and the file is locked against other processes for as long as the writer lives.
///
/// [`append`](Self::append) only encodes; [`flush`](Self::flush) hands the batch to the kernel, after which `kill -9`
/// of this process cannot lose it; within 100 ms it is also on the disk.
///
/// Dropping a writer flushes and syncs like [`close`](Self::close), without a word about errors.
pub struct Writer {
    lines: LineLog<File>,
    syncer: Syncer,
}

impl Writer {
    /// Creates the history file. An existing one is never overwritten.
    ///
    /// # Errors
    /// The file exists already, cannot be created, or is locked by another writer; no thread can be started.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        // The name must be as durable as the lines.
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()?;
        }
        lock(&file)?;
        Self::on(file)
    }

    fn on(file: File) -> io::Result<Self> {
        let written = file.metadata()?.len();
        let durable = file.try_clone()?;
        let syncer = Syncer::start(move || durable.sync_data())?;
        Ok(Self { lines: LineLog::new(file, written), syncer })
    }

    /// Adds an event to the batch. Once a batch is large this flushes it.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn append(&mut self, event: &Event) -> io::Result<()> {
        encode(event, &mut self.lines.waiting)?;
        if self.lines.waiting.len() >= LARGE { self.flush() } else { Ok(()) }
    }

    /// Hands the batch to the kernel.
    ///
    /// # Errors
    /// The disk is full or broken. The file then ends with the last line that fits whole; the lines that do not fit
    /// still wait, so that a later flush writes them if there is room again. A failure to make earlier lines durable is
    /// reported here too; it is final.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.lines.waiting.is_empty() {
            return Ok(());
        }
        let before = self.lines.written;
        let flushed = self.lines.flush();
        let durable = if self.lines.written > before { self.syncer.mark_dirty() } else { Ok(()) };
        flushed.and(durable)
    }

    /// Flushes, waits until everything is on the disk and gives up the file.
    ///
    /// # Errors
    /// As [`flush`](Self::flush), or some line, now or earlier, could not be made durable.
    pub fn close(mut self) -> io::Result<()> {
        let flushed = self.flush();
        flushed.and(self.syncer.close())
    }

    /// Bytes of complete lines handed to the kernel.
    pub fn written(&self) -> u64 {
        self.lines.written
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After an error the owner has been told; there is nobody left to tell here.
        let _ = self.flush();
    }
}

/// Takes the file for this writer alone, for as long as it is open.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another writer holds this history"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A file that can be cut back after a write that went only half way.
trait Cut: Write {
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Cut for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Lines on their way to a file that at every moment ends with a complete line, unless a crash interrupts a write.
struct LineLog<F> {
    file: F,
    /// Complete lines not yet handed over.
    waiting: Vec<u8>,
    /// The file's length, always the end of a line.
    written: u64,
}

impl<F: Cut> LineLog<F> {
    fn new(file: F, written: u64) -> Self {
        Self { file, waiting: Vec::with_capacity(LARGE + 4096), written }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut handed = 0;
        let result = loop {
            let Some(rest) = self.waiting.get(handed..).filter(|rest| !rest.is_empty()) else {
                break Ok(());
            };
            match self.file.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => handed += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let complete = match &result {
            Ok(()) => handed,
            Err(_) => self.waiting[..handed].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        };
        self.written += complete as u64;
        self.waiting.drain(..complete);
        if handed == complete {
            return result;
        }
        // Half a line stands at the end of the file. Take it back, so that a later flush does not write behind it.
        match (self.file.cut(self.written), result) {
            (Err(cut), Err(error)) => Err(io::Error::new(
                error.kind(),
                format!("{error}; and the half-written last line could not be removed: {cut}"),
            )),
            (_, result) => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Map, json};

    use super::*;
    use crate::{History, Kind, Process};

    fn event(index: u64) -> Event {
        Event {
            index,
            time: index * 1000,
            process: Process::Client(index % 5),
            kind: Kind::Invoke,
            f: Cow::Borrowed("write"),
            key: Some(json!("x")),
            value: json!(index),
            node: Some("n1".into()),
            error: None,
            extra: Map::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let events: Vec<Event> = (0..5000).map(event).collect();
        let mut writer = Writer::create(&path).unwrap();
        for batch in events.chunks(7) {
            for event in batch {
                writer.append(event).unwrap();
            }
            writer.flush().unwrap();
        }
        let written = writer.written();
        writer.close().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), written);
        let history = History::open(&path).unwrap();
        assert_eq!(history.events, events);
        assert!(history.torn.is_none() && history.notes.is_empty());
    }

    #[test]
    fn a_flushed_line_is_in_the_file_and_an_existing_history_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut writer = Writer::create(&path).unwrap();
        writer.append(&event(0)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        writer.flush().unwrap();
        assert_eq!(History::open(&path).unwrap().events, [event(0)]);
        assert_eq!(Writer::create(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let second = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(lock(&second).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        writer.append(&event(1)).unwrap();
        drop(writer);
        assert_eq!(History::open(&path).unwrap().events, [event(0), event(1)]);
    }

    #[test]
    fn a_full_disk_is_an_error_of_flush_of_a_large_append_and_of_close() {
        let full = || Writer::on(OpenOptions::new().append(true).open("/dev/full").unwrap()).unwrap();
        let mut writer = full();
        writer.append(&event(0)).unwrap();
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(writer.close().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut large = event(1);
        large.value = json!("x".repeat(LARGE));
        assert_eq!(full().append(&large).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    /// Takes only `room` bytes, at most 10 at a time.
    #[derive(Default)]
    struct Small {
        content: Vec<u8>,
        room: usize,
        interrupted: bool,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(10).min(self.room - self.content.len());
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Cut for Small {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.content.truncate(length as usize);
            Ok(())
        }
    }

    #[test]
    fn half_a_line_is_taken_back_and_written_whole_when_there_is_room() {
        let mut whole = Vec::new();
        for index in 0..4 {
            encode(&event(index), &mut whole).unwrap();
        }
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        for room in 0..whole.len() {
            let mut log = LineLog::new(Small { room, ..Small::default() }, 0);
            log.waiting.extend_from_slice(&whole);
            assert_eq!(log.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
            let kept = ends.iter().copied().filter(|end| *end <= room).max().unwrap_or(0);
            assert_eq!((log.file.content.as_slice(), log.written), (&whole[..kept], kept as u64));
            log.file.room = usize::MAX;
            log.flush().unwrap();
            assert_eq!((&log.file.content, log.written), (&whole, whole.len() as u64));
        }
    }
}
