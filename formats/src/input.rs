//! How much of an input is held in memory.

use std::io::Read;

use crate::{ImportError, Place};

/// The longest line of a text that is read, in bytes. No operation is that long, but a file without line ends, or a few kilobytes
/// that decompress to zeros for ever, would otherwise fill the memory. Less in unit tests, which have better things to do than to
/// decompress.
pub(crate) const LONGEST_LINE: usize = if cfg!(test) { 8 << 20 } else { 256 << 20 };

const CHUNK: usize = 1 << 20;

/// All of `source`, unless a line of it has more than `longest` bytes, if that is given.
pub(crate) fn read_all(source: &mut dyn Read, longest: Option<usize>) -> Result<Vec<u8>, ImportError> {
    read_in_chunks(source, CHUNK, longest)
}

fn read_in_chunks(
    source: &mut dyn Read,
    chunk: usize,
    longest: Option<usize>,
) -> Result<Vec<u8>, ImportError> {
    let mut bytes = Vec::new();
    // Where the last line begins.
    let mut begin = 0;
    loop {
        let before = bytes.len();
        if Read::take(&mut *source, chunk as u64).read_to_end(&mut bytes)? == 0 {
            return Ok(bytes);
        }
        let Some(longest) = longest else { continue };
        let newline = memchr::memchr(b'\n', &bytes[before..]).map(|place| before + place);
        if newline.unwrap_or(bytes.len()) - begin > longest {
            let line = 1 + memchr::memchr_iter(b'\n', &bytes[..begin]).count();
            return Err(too_long(line, longest));
        }
        if let Some(last) = memchr::memrchr(b'\n', &bytes[before..]) {
            begin = before + last + 1;
        }
    }
}

/// The line has more than `longest` bytes.
#[cold]
pub(crate) fn too_long(line: usize, longest: usize) -> ImportError {
    let limit = match longest >> 20 {
        0 => format!("{longest} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    };
    let problem = format!(
        "this line is longer than {limit}, the most that is read; a history has one operation a line (are the line ends missing?)"
    );
    ImportError::Syntax { place: Place { line, column: 1 }, problem }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;

    #[test]
    fn a_line_is_refused_once_it_is_too_long() {
        let text = |length: usize| format!("ab\n\n{}\ncd", "x".repeat(length));
        for chunk in [1, 3, 7, 20] {
            for length in [0, 3, 19, 20] {
                let text = text(length);
                assert_eq!(read_in_chunks(&mut text.as_bytes(), chunk, Some(20)).unwrap(), text.as_bytes());
            }
            let error = read_in_chunks(&mut text(21).as_bytes(), chunk, Some(20)).unwrap_err().to_string();
            assert!(error.starts_with("line 3, column 1: this line is longer than 20 bytes"), "{error}");
            assert_eq!(read_in_chunks(&mut text(21).as_bytes(), chunk, None).unwrap().len(), 28);
        }
    }

    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        let mut source = io::repeat(b' ').take(3 << 30);
        let error = read_in_chunks(&mut source, 1 << 12, Some(1 << 20)).unwrap_err().to_string();
        assert!(error.contains("longer than 1 MiB"), "{error}");
        assert!(source.limit() > (3 << 30) - (2 << 20));
    }
}
