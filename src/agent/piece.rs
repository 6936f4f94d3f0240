//! Pieces of files on their way from a node: compressed where that helps.

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::protocol::CHUNK_LEN;

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes, base64.
    pub data: String,
    /// Whether they are a gzip member.
    pub gzip: bool,
}

impl Piece {
    /// Compressed where that makes it shorter: logs shrink to a tenth, and a link to a node may be slow.
    pub fn of(bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
        match packed {
            Ok(packed) if packed.len() < bytes.len() => Self { data: BASE64.encode(packed), gzip: true },
            // Writing to memory does not fail; if it did, the piece goes as it is.
            _ => Self { data: BASE64.encode(bytes), gzip: false },
        }
    }
}

/// The bytes of a piece.
///
/// # Errors
/// They are not what they are said to be, or more than a piece may have: a clause.
pub fn unpack(data: &str, gzip: bool) -> Result<Vec<u8>, String> {
    let bytes = BASE64.decode(data).map_err(|error| error.to_string())?;
    if !gzip {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let most = CHUNK_LEN as u64 + 1;
    GzDecoder::new(&*bytes).take(most).read_to_end(&mut plain).map_err(|error| error.to_string())?;
    if plain.len() > CHUNK_LEN {
        return Err(format!("a chunk has more than {CHUNK_LEN} bytes"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_that_unpacks_to_more_than_a_chunk_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; CHUNK_LEN + 1]).unwrap();
        let bomb = BASE64.encode(encoder.finish().unwrap());
        assert!(unpack(&bomb, true).unwrap_err().contains("more than"));
        assert!(unpack("AAAA", true).is_err());
        assert!(unpack("?", false).is_err());
    }
}
