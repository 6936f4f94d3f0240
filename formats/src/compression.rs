//! Compressed histories: gzip and Zstandard, known by their first bytes.

mod zstd;

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::ImportError;

/// How much is looked at to tell compressions and formats apart.
pub(crate) const HEAD: usize = 1 << 16;

/// A way to make a file smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn detect(head: &[u8]) -> Option<Self> {
        let first: Option<[u8; 4]> = head.first_chunk().copied();
        match first {
            _ if head.starts_with(&[0x1f, 0x8b]) => Some(Self::Gzip),
            Some(first) if first == zstd::MAGIC || zstd::is_skippable(first) => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Whether the compressed data ended too early; known once everything is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut(Rc<Cell<bool>>);

impl Cut {
    pub(crate) fn is_set(&self) -> bool {
        self.0.get()
    }

    fn set(&self) {
        self.0.set(true);
    }
}

/// The first bytes of `input`, up to [`HEAD`], and all of it. An error after the first byte is told when the bytes before it are read.
pub(crate) fn peek<'r>(mut input: impl Read + 'r) -> io::Result<(Vec<u8>, impl BufRead + 'r)> {
    let mut head = Vec::with_capacity(HEAD);
    let failed = input.by_ref().take(HEAD as u64).read_to_end(&mut head).err();
    if head.is_empty()
        && let Some(error) = failed
    {
        return Err(error);
    }
    let rest = Failing(failed).chain(input);
    Ok((head.clone(), Cursor::new(head).chain(BufReader::with_capacity(HEAD, rest))))
}

/// What the compressed `input` holds. Where it is cut off it ends, and `cut` says so; damaged data is an error.
pub(crate) fn decompress<'r>(input: impl BufRead + 'r, how: Compression, cut: &Cut) -> impl Read + 'r {
    let taken = Rc::new(Cell::new(0));
    let input = Counted { input, taken: Rc::clone(&taken) };
    let inner: Box<dyn Read + 'r> = match how {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::Frames::new(input, cut.clone())),
    };
    Decompressed { inner, how, cut: cut.clone(), taken, bytes: 0 }
}

/// The reason for an `error` in decompressed text may be that the compressed data is damaged, which shows only at the end, where the checksum is. So
/// the rest of it is read, too.
pub(crate) fn blame(error: ImportError, rest: &mut dyn BufRead, cut: &Cut) -> ImportError {
    if matches!(error, ImportError::Read(_)) {
        return error;
    }
    match io::copy(rest, &mut io::sink()) {
        Err(damage) if damage.kind() == io::ErrorKind::InvalidData => {
            let message = format!("{damage}. What it decompresses to is no history: {error}");
            ImportError::Read(io::Error::new(io::ErrorKind::InvalidData, message))
        }
        _ if cut.is_set() => {
            let also = "; the compressed file is also cut short (its end is missing)";
            match error {
                ImportError::Syntax { place, problem } => {
                    ImportError::Syntax { place, problem: format!("{problem}{also}") }
                }
                ImportError::Binary { offset, problem } => {
                    ImportError::Binary { offset, problem: format!("{problem}{also}") }
                }
                other => other,
            }
        }
        _ => error,
    }
}

/// Counts the bytes that were taken.
struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.set(self.taken.get() + count as u64);
        self.input.consume(count);
    }
}

struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

struct Decompressed<'r> {
    inner: Box<dyn Read + 'r>,
    how: Compression,
    cut: Cut,
    /// Compressed bytes so far.
    taken: Rc<Cell<u64>>,
    /// Decompressed bytes so far.
    bytes: u64,
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cut.is_set() && self.how == Compression::Gzip {
            return Ok(0);
        }
        match self.inner.read(buffer) {
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.cut.set();
                Ok(0)
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) =>
            {
                let Self { how, bytes, taken, .. } = self;
                let offset = taken.get();
                let message = format!(
                    "the {how} data is damaged, at or before byte {offset} of the compressed file, {bytes} decompressed bytes in: {error}"
                );
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    fn plain(data: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let (head, rest) = peek(data)?;
        let cut = Cut::default();
        let how = Compression::detect(&head).expect("compressed");
        let mut all = Vec::new();
        decompress(rest, how, &cut).read_to_end(&mut all)?;
        Ok((all, cut.is_set()))
    }

    /// Compressible, but not into one block.
    fn text() -> Vec<u8> {
        let mut random = schism_history::Random::new(7, "text");
        (0..40_000).flat_map(|n| format!("{n} {}\n", random.below(1000)).into_bytes()).collect()
    }

    #[test]
    fn members_and_frames_one_after_the_other_are_one_text() {
        let text = text();
        let (a, b) = text.split_at(text.len() / 3);
        for (whole, first, second) in [(gzip(&text), gzip(a), gzip(b)), (zstd(&text), zstd(a), zstd(b))] {
            assert_eq!(plain(&whole).unwrap(), (text.clone(), false));
            assert_eq!(plain(&[first, second].concat()).unwrap(), (text.clone(), false));
        }
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9][..], &zstd(&text)].concat();
        assert_eq!(plain(&skipped).unwrap(), (text, false));
    }

    #[test]
    fn what_is_cut_off_gives_what_is_there() {
        let text = text();
        for whole in [gzip(&text), zstd(&text)] {
            let mut most = 0;
            for cut in (4..300).chain((300..whole.len()).step_by(997)).chain(whole.len() - 12..whole.len()) {
                let (got, noticed) =
                    plain(&whole[..cut]).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
                assert!(noticed && text.starts_with(&got), "cut at {cut}");
                assert!(got.len() >= most, "cut at {cut}");
                most = got.len();
            }
            assert!(most + (128 << 10) >= text.len(), "{most} of {}", text.len());
            // A second member that is cut off keeps the first.
            let twice = [&whole[..], &whole[..whole.len() / 2]].concat();
            let (got, noticed) = plain(&twice).unwrap();
            assert!(noticed && got.len() >= text.len());
        }
    }

    #[test]
    fn damage_is_an_error_and_never_other_data() {
        let text = text();
        let mut random = schism_history::Random::new(11, "damage");
        for whole in [gzip(&text), zstd(&text)] {
            let mut errors = 0;
            for _ in 0..300 {
                let mut bytes = whole.clone();
                let place = 10 + random.below(bytes.len() as u64 - 10) as usize;
                bytes[place] ^= 1 << random.below(8);
                match plain(&bytes) {
                    // Damage may look like an early end.
                    Ok((got, cut)) => assert!(got == text || cut, "byte {place}"),
                    Err(error) => {
                        errors += 1;
                        assert!(error.to_string().contains("data is damaged"), "{error}");
                    }
                }
            }
            assert!(errors > 250, "{errors}");
            let error = plain(&[&whole[..], b"hello there"].concat()).unwrap_err().to_string();
            assert!(error.contains("data is damaged"), "{error}");
        }
    }

    #[test]
    fn plain_text_is_not_compressed() {
        for head in [&b""[..], b"{", b"{\"in", b"JEPSEN", &[0x1f], &[0x28, 0xb5, 0x2f]] {
            assert_eq!(Compression::detect(head), None);
        }
    }
}
