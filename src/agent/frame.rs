//! Frames on a byte stream: a little-endian `u32` length, then that many bytes of JSON.
//!
//! The length comes first so that a reader never has to look for an end, and it is bounded, so that a peer that is not
//! an agent at all (a login banner, a shell's complaint) is recognised by its very first bytes: four printable
//! characters are always a length far above [`FRAME_LEN_MAX`].

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::protocol::FRAME_LEN_MAX;

/// How much of an unintelligible peer's text is shown.
const GARBAGE_LEN_MAX: u64 = 400;
/// How long to listen for the rest of an unintelligible peer's text.
const GARBAGE_PATIENCE: Duration = Duration::from_millis(300);

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed.
    #[error("the pipe failed: {0}")]
    Io(#[from] std::io::Error),
    /// The stream ended inside a frame.
    #[error("the pipe ended inside a frame ({have} of {want} bytes came)")]
    Cut {
        /// Bytes that came.
        have: usize,
        /// Bytes announced.
        want: usize,
    },
    /// What came is text, not frames.
    #[error(
        "the other end does not speak this protocol; it says `{text}`. Something prints before the agent starts: look at \
         the login shell's start files, or whether the command is `schism agent` at all"
    )]
    Garbage {
        /// The beginning of it, made printable.
        text: String,
    },
    /// The frame is longer than a frame may be.
    #[error("a frame of {len} bytes; the limit is {FRAME_LEN_MAX}")]
    TooLong {
        /// Bytes announced, or to be written.
        len: usize,
    },
    /// The frame is complete, but not a message we know.
    #[error(
        "a frame that is no message of protocol version {}: {source} in `{text}`",
        super::protocol::VERSION
    )]
    Message {
        /// The beginning of the frame.
        text: String,
        /// What the parser says.
        source: serde_json::Error,
    },
}

/// The bytes of `message` as one frame.
///
/// # Errors
/// The message is longer than [`FRAME_LEN_MAX`] as JSON, or cannot be JSON.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)
        .map_err(|source| FrameError::Message { text: String::new(), source })?;
    let len = bytes.len() - 4;
    match u32::try_from(len) {
        Ok(prefix) if len <= FRAME_LEN_MAX => bytes[..4].copy_from_slice(&prefix.to_le_bytes()),
        _ => return Err(FrameError::TooLong { len }),
    }
    Ok(bytes)
}

/// Writes one message and flushes it.
///
/// # Errors
/// As [`encode`], or the stream failed.
pub async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    let bytes = encode(message)?;
    writer.write_all(&bytes).await?;
    writer.flush().await?;
    Ok(())
}

/// Reads one message; `None` when the stream ended between frames. Not to be cancelled and called again: part of a frame
/// may have been consumed.
///
/// # Errors
/// See [`FrameError`]. After any of them the stream is out of step and of no more use.
pub async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut prefix = [0; 4];
    let mut have = 0;
    while have < prefix.len() {
        match reader.read(&mut prefix[have..]).await? {
            0 if have == 0 => return Ok(None),
            0 if is_text(&prefix[..have]) => {
                return Err(FrameError::Garbage { text: printable(&prefix[..have]) });
            }
            0 => return Err(FrameError::Cut { have, want: prefix.len() }),
            count => have += count,
        }
    }
    let len = u32::from_le_bytes(prefix) as usize;
    if len > FRAME_LEN_MAX {
        if is_text(&prefix) {
            return Err(FrameError::Garbage { text: garbage(reader, &prefix).await });
        }
        return Err(FrameError::TooLong { len });
    }
    // Grows as bytes come, so that a wrong length costs no memory.
    let mut body = Vec::new();
    let have = reader.take(len as u64).read_to_end(&mut body).await?;
    if have < len {
        return Err(FrameError::Cut { have, want: len });
    }
    serde_json::from_slice(&body).map(Some).map_err(|source| FrameError::Message {
        text: printable(&body[..body.len().min(GARBAGE_LEN_MAX as usize)]),
        source,
    })
}

fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace() || *byte == 0x1b || *byte >= 0x80)
}

/// What the peer says, as far as it says it soon.
async fn garbage(reader: &mut (impl AsyncRead + Unpin), prefix: &[u8]) -> String {
    let mut text = prefix.to_vec();
    let mut rest = reader.take(GARBAGE_LEN_MAX);
    // What was read before the patience ran out is in `text`; an error adds nothing to the one being reported.
    let _ = tokio::time::timeout(GARBAGE_PATIENCE, rest.read_to_end(&mut text)).await;
    printable(&text)
}

fn printable(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{FromAgent, Request, Response, ToAgent};
    use super::*;

    async fn error_of(bytes: &[u8]) -> String {
        read::<FromAgent>(&mut &bytes[..]).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_was_written_is_read() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let sent: Vec<ToAgent> = (1..100)
            .map(|id| ToAgent { id, request: Request::Status { name: "é".repeat(id as usize) } })
            .collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            for message in &copy {
                write(&mut near, message).await.unwrap();
            }
        });
        for message in sent {
            assert_eq!(read::<ToAgent>(&mut far).await.unwrap(), Some(message));
        }
        writer.await.unwrap();
        assert_eq!(read::<ToAgent>(&mut far).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_banner_is_shown() {
        let error = error_of(b"Welcome to node 1!\r\n* updates are available\n").await;
        assert!(error.contains("Welcome to node 1! * updates are available"), "{error}");
        let error = error_of(b"hi\n").await;
        assert!(error.contains("it says `hi`"), "{error}");
    }

    #[tokio::test]
    async fn a_banner_that_stays_open_does_not_hang() {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(b"Password: ").await.unwrap();
        let error = read::<FromAgent>(&mut far).await.unwrap_err().to_string();
        assert!(error.contains("Password:"), "{error}");
    }

    #[tokio::test]
    async fn broken_streams_are_told_apart() {
        assert!(error_of(&[5, 0]).await.contains("2 of 4"));
        assert!(error_of(&[5, 0, 0, 0, b'{']).await.contains("1 of 5"));
        assert!(error_of(&[0, 0, 0, 2, 1]).await.contains("the limit is"));
        let error = error_of(&[2, 0, 0, 0, b'{', b'}']).await;
        assert!(error.contains("no message of protocol version"), "{error}");
    }

    #[tokio::test]
    async fn the_limit_is_inclusive() {
        let overhead = serde_json::to_vec(&Response::Failed { reason: String::new() }).unwrap().len();
        let fits = Response::Failed { reason: "x".repeat(FRAME_LEN_MAX - overhead) };
        let bytes = encode(&fits).unwrap();
        assert_eq!(read::<Response>(&mut &bytes[..]).await.unwrap(), Some(fits));
        let over = Response::Failed { reason: "x".repeat(FRAME_LEN_MAX - overhead + 1) };
        assert!(matches!(encode(&over), Err(FrameError::TooLong { len }) if len == FRAME_LEN_MAX + 1));
    }
}
