//! The blocks of a `.jepsen` file.
//!
//! A file begins with `JEPSEN`, a version of 32 bits and the place of the current index. Everything else is blocks: a length of 64
//! bits, header included, a CRC-32 of data and header, a type of 16 bits with 14 bytes of padding, and the data. The index says
//! where the block with a number is, and which block holds the test. All numbers are big-endian.

use rustc_hash::FxHashMap;

use crate::ImportError;

/// What a file begins with.
pub(crate) const MAGIC: &[u8] = b"JEPSEN";
const HEADER: usize = 28;

/// What is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Index,
    /// One value.
    Fressian,
    /// The number of a block with the rest, and one value, a map.
    PartialMap,
    /// Values up to the end.
    Stream,
    /// How many values there are, and which blocks hold them.
    BigVector,
}

/// A block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) kind: Type,
    pub(crate) data: &'a [u8],
    /// Where the data begins in the file.
    pub(crate) at: usize,
}

/// The blocks of a file.
pub(crate) struct Blocks<'a> {
    bytes: &'a [u8],
    places: FxHashMap<u32, u64>,
    /// The block with the test; 0: none.
    pub(crate) root: u32,
    /// Bytes behind everything the index knows.
    pub(crate) behind: usize,
}

pub(crate) fn bad<T>(at: usize, problem: impl Into<String>) -> Result<T, ImportError> {
    Err(ImportError::Binary { offset: at as u64, problem: problem.into() })
}

impl<'a> Blocks<'a> {
    /// Reads header and index.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ImportError> {
        if !bytes.starts_with(MAGIC) {
            return bad(0, "the file does not begin with JEPSEN");
        }
        let (Some(version), Some(index)) = (u32_at(bytes, 6), u64_at(bytes, 10)) else {
            return bad(bytes.len(), "the file ends within its header");
        };
        if version > 1 {
            return bad(6, format!("the file has version {version}; only 0 and 1 are known"));
        }
        if index == 0 {
            return bad(10, "the file has no index: its run ended before anything was complete");
        }
        let mut blocks = Blocks { bytes, places: FxHashMap::default(), root: 0, behind: 0 };
        let block = blocks.at(index)?;
        if block.kind != Type::Index {
            return bad(block.at, format!("the index is a block of type {:?}", block.kind));
        }
        let Some(root) = u32_at(block.data, 0) else {
            return bad(block.at, "the index is too short");
        };
        blocks.root = root;
        let (entries, rest) = block.data[4..].as_chunks::<12>();
        if !rest.is_empty() {
            return bad(block.at + block.data.len(), "the index ends within an entry");
        }
        let mut end = block.at + block.data.len();
        for entry in entries {
            let (Some(number), Some(place)) = (u32_at(entry, 0), u64_at(entry, 4)) else { continue };
            blocks.places.insert(number, place);
            // The block itself is looked at only when it is needed.
            let from = usize::try_from(place).unwrap_or(usize::MAX);
            let length = bytes.get(from..).and_then(|rest| u64_at(rest, 0));
            let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            end = end.max(from.saturating_add(length));
        }
        blocks.behind = bytes.len().saturating_sub(end);
        Ok(blocks)
    }

    /// The block with this number, if the index knows it.
    pub(crate) fn get(&self, number: u32) -> Result<Block<'a>, ImportError> {
        match self.places.get(&number) {
            Some(place) => self.at(*place),
            None => bad(10, format!("the index has no block {number}, which another block refers to")),
        }
    }

    /// The block at this place, its checksum compared.
    fn at(&self, place: u64) -> Result<Block<'a>, ImportError> {
        let from = usize::try_from(place).unwrap_or(usize::MAX);
        let Some(rest) = self.bytes.get(from..).filter(|rest| rest.len() >= HEADER) else {
            return bad(
                from.min(self.bytes.len()),
                format!("a block should begin at byte {place}, but the file ends; it may be cut off"),
            );
        };
        let (header, _) = rest.split_at(HEADER);
        let (Some(length), Some(checksum)) = (u64_at(header, 0), u32_at(header, 8)) else {
            return bad(from, "the block has no header");
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(data) = rest.get(HEADER..length) else {
            return bad(
                from,
                format!("the block says it has {length} bytes, but the file has {}", rest.len()),
            );
        };
        // The padding counts as zeros, whatever it is.
        let mut cleared = [0; HEADER];
        cleared[..8].copy_from_slice(&header[..8]);
        cleared[12..14].copy_from_slice(&header[12..14]);
        let mut crc = Crc::default();
        crc.update(data);
        crc.update(&cleared);
        if crc.value() != checksum {
            return bad(from, "the checksum of the block is wrong: the file is damaged");
        }
        let kind = match u16::from_be_bytes([header[12], header[13]]) {
            1 => Type::Index,
            2 => Type::Fressian,
            3 => Type::PartialMap,
            4 => Type::Stream,
            5 => Type::BigVector,
            other => return bad(from + 12, format!("the block has type {other}; 1 to 5 are known")),
        };
        Ok(Block { kind, data, at: from + HEADER })
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The usual CRC-32 (polynomial 0x04C11DB7, reflected).
pub(crate) struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Crc(u32::MAX)
    }
}

impl Crc {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut rest = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = (rest >> 1) ^ (0xedb8_8320 * (rest & 1));
                bit += 1;
            }
            table[byte] = rest;
            byte += 1;
        }
        table
    };

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 >> 8) ^ Self::TABLE[usize::from(self.0 as u8 ^ byte)];
        }
    }

    pub(crate) fn value(&self) -> u32 {
        !self.0
    }
}
