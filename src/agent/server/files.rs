//! Reading and writing files of the node.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::agent::protocol::CHUNK_LEN;

fn absolute(path: &str) -> Result<&Path, String> {
    let path = Path::new(path);
    if path.is_absolute() { Ok(path) } else { Err(format!("`{}` is not an absolute path", path.display())) }
}

/// Writes (or extends) a file. Blocks.
///
/// # Errors
/// A sentence.
pub fn write(path: &str, mode: u32, data: &str, append: bool) -> Result<(), String> {
    let path = absolute(path)?;
    let data = BASE64.decode(data).map_err(|error| format!("the data is not base64: {error}"))?;
    let failed = |error: std::io::Error| format!("write {}: {error}", path.display());
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(|error| format!("create {}: {error}", above.display()))?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .append(append)
        .truncate(!append)
        .mode(mode)
        // Opening a pipe must not wait for its reader.
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    file.write_all(&data).map_err(failed)?;
    if !append {
        // What was there keeps its mode otherwise, and the umask takes from a new one.
        file.set_permissions(fs::Permissions::from_mode(mode & 0o7777)).map_err(failed)?;
    }
    Ok(())
}

/// A part of a file, read piece by piece. Blocks.
pub struct Reader {
    file: std::io::Take<fs::File>,
    path: String,
}

impl Reader {
    /// Opens a regular file at `offset`; a negative one counts from the end.
    ///
    /// # Errors
    /// A sentence.
    pub fn open(path: &str, offset: i64, length: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("read {path}: {error}");
        // Opening a pipe must not wait for its writer.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(absolute(path)?)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("read {path}: it is not a regular file"));
        }
        let from = match u64::try_from(offset) {
            Ok(offset) => offset,
            Err(_) => metadata.len().saturating_sub(offset.unsigned_abs()),
        };
        if from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
        }
        Ok(Self { file: file.take(length), path: path.to_owned() })
    }

    /// The next chunk, base64; `None` at the end.
    ///
    /// # Errors
    /// A sentence.
    pub fn next(&mut self) -> Result<Option<String>, String> {
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        (&mut self.file)
            .take(CHUNK_LEN as u64)
            .read_to_end(&mut chunk)
            .map_err(|error| format!("read {}: {error}", self.path))?;
        Ok(if chunk.is_empty() { None } else { Some(BASE64.encode(chunk)) })
    }
}
