//! Zstandard, block by block.
//!
//! The library's own reader keeps a window of decoded data back until the frame ends, and loses it if the file is cut off: a short history
//! would be lost as a whole. So blocks are handed over one by one here, and a frame that is cut off is ended with an empty block.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::Cut;

/// Of every frame.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Whether these bytes start a frame that holds no data: `50..=5f 2a 4d 18`.
pub(super) fn is_skippable(magic: [u8; 4]) -> bool {
    magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18]
}

/// The last block of a frame, with no data, and a place for a checksum.
const END: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// In the descriptor of a frame: a checksum follows the last block.
const HAS_CHECKSUM: u8 = 1 << 2;

/// Decompresses frames one after the other.
pub(super) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    block: Vec<u8>,
    checksum: bool,
    /// Whether a frame has begun whose last block has not come.
    open: bool,
    cut: Cut,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(source: R, cut: Cut) -> Self {
        Self { source, decoder: FrameDecoder::new(), block: Vec::new(), checksum: false, open: false, cut }
    }

    /// Goes on by a block or by the start of a frame; says whether anything came.
    fn advance(&mut self) -> io::Result<bool> {
        let complete = if self.open { self.block() } else { self.frame() };
        match complete {
            Ok(any) => Ok(any),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.cut.set();
                let open = std::mem::replace(&mut self.open, false);
                if open {
                    self.decoder
                        .decode_blocks(&END[..], BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(damaged)?;
                }
                Ok(open)
            }
            Err(error) => Err(error),
        }
    }

    fn frame(&mut self) -> io::Result<bool> {
        self.verify()?;
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut magic = [0; 4];
            self.source.read_exact(&mut magic)?;
            if is_skippable(magic) {
                let mut size = [0; 4];
                self.source.read_exact(&mut size)?;
                let size = u64::from(u32::from_le_bytes(size));
                if io::copy(&mut (&mut self.source).take(size), &mut io::sink())? < size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            if magic != MAGIC {
                return Err(damaged("what follows a frame is no other frame"));
            }
            let mut descriptor = [0];
            self.source.read_exact(&mut descriptor)?;
            self.checksum = descriptor[0] & HAS_CHECKSUM != 0;
            let mut header =
                Exact { source: (&magic[..]).chain(&descriptor[..]).chain(&mut self.source), ended: false };
            let result = self.decoder.reset(&mut header);
            match result {
                Ok(()) => {}
                Err(_) if header.ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(damaged(error)),
            }
            self.open = true;
            return Ok(true);
        }
    }

    fn block(&mut self) -> io::Result<bool> {
        let mut header = [0; 3];
        self.source.read_exact(&mut header)?;
        let number = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let (last, kind, size) = (number & 1 == 1, number >> 1 & 3, number >> 3);
        // A block that repeats one byte says in its size how often.
        let body = if kind == 1 { 1 } else { size as usize };
        let tail = if last && self.checksum { 4 } else { 0 };
        self.block.clear();
        self.block.extend_from_slice(&header);
        self.block.resize(header.len() + body + tail, 0);
        self.source.read_exact(&mut self.block[header.len()..])?;
        self.decoder
            .decode_blocks(self.block.as_slice(), BlockDecodingStrategy::UptoBlocks(1))
            .map_err(damaged)?;
        self.open = !last;
        Ok(true)
    }

    /// Compares the checksum of the frame that has ended, if it has one.
    fn verify(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(said), Some(found)) if said != found => {
                Err(damaged("the checksum of a frame is not that of its data"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.decoder.can_collect() == 0 {
            // Behind a cut nothing follows, and there is no checksum to compare.
            if self.cut.is_set() || !self.advance()? {
                return Ok(0);
            }
        }
        self.decoder.read(buffer)
    }
}

/// Notices that more was asked for than is there.
struct Exact<R> {
    source: R,
    ended: bool,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
