//! Reading and writing files of the node.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::agent::piece::Piece;
use crate::agent::protocol::{CHUNK_LEN, LISTED_MAX};

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

/// Directories below directories are looked into down to this depth.
const DEPTH_MAX: usize = 8;

/// The regular files below a directory, as paths below it, sorted, and whether there are more than are listed. Links are not
/// followed. Blocks.
///
/// # Errors
/// A sentence.
pub fn list(directory: &str) -> Result<(Vec<String>, bool), String> {
    let root = absolute(directory)?;
    let failed = |path: &Path, error: std::io::Error| format!("list {}: {error}", path.display());
    let mut found = Vec::new();
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| failed(&path, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed(&path, error))?;
            let kind = entry.file_type().map_err(|error| failed(&entry.path(), error))?;
            if kind.is_dir() && depth < DEPTH_MAX {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file()
                && let Some(below) = entry.path().strip_prefix(root).ok().and_then(Path::to_str)
            {
                found.push(below.to_owned());
            }
            // Nobody reads through more than this, and a directory gone mad must not fill the memory.
            if found.len() > LISTED_MAX * 10 {
                open.clear();
                break;
            }
        }
    }
    found.sort();
    let more = found.len() > LISTED_MAX;
    found.truncate(LISTED_MAX);
    Ok((found, more))
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

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// A sentence.
    pub fn next(&mut self) -> Result<Option<Piece>, String> {
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        (&mut self.file)
            .take(CHUNK_LEN as u64)
            .read_to_end(&mut chunk)
            .map_err(|error| format!("read {}: {error}", self.path))?;
        Ok(if chunk.is_empty() { None } else { Some(Piece::of(&chunk)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::piece::unpack;

    #[test]
    fn a_file_arrives_whole_and_what_can_shrink_does() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let mut random = schism_history::Random::new(1, "noise");
        let noise: Vec<u8> = (0..CHUNK_LEN).map(|_| random.next_u64() as u8).collect();
        let text = "2026-04-21 leader elected\n".repeat(CHUNK_LEN / 16).into_bytes();
        for (content, shrinks) in [(noise, false), (text, true), (Vec::new(), false)] {
            fs::write(&path, &content).unwrap();
            let mut reader = Reader::open(path.to_str().unwrap(), 0, u64::MAX).unwrap();
            let (mut back, mut sent) = (Vec::new(), 0);
            while let Some(Piece { data, gzip }) = reader.next().unwrap() {
                sent += data.len();
                back.extend(unpack(&data, gzip).unwrap());
            }
            assert_eq!(back, content);
            assert_eq!(sent < content.len() / 4, shrinks, "{sent} of {}", content.len());
        }
    }

    #[test]
    fn lists_files_below_a_directory_and_follows_no_link() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("old/deep")).unwrap();
        for name in ["b.log", "b.log.1", "old/b.log.2.gz", "old/deep/a"] {
            fs::write(path(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("/", path("loop")).unwrap();
        let (files, more) = list(place.path().to_str().unwrap()).unwrap();
        assert_eq!(files, ["b.log", "b.log.1", "old/b.log.2.gz", "old/deep/a"]);
        assert!(!more);
        assert_eq!(list(path("nowhere").to_str().unwrap()).unwrap(), (Vec::new(), false));
        assert!(list("relative").is_err());
        for number in 0..LISTED_MAX {
            fs::write(path(&format!("many{number}")), "").unwrap();
        }
        let (files, more) = list(place.path().to_str().unwrap()).unwrap();
        assert_eq!((files.len(), more), (LISTED_MAX, true));
    }
}
