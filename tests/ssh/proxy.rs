//! A link that is slow, or goes silent.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Passes on what comes, later. Ends with the test's runtime.
pub struct Proxy {
    pub port: u16,
    silent: Arc<AtomicBool>,
}

impl Proxy {
    /// Before `port`, with this delay each way.
    pub async fn start(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let silent = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&silent);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { continue };
                let (near_reader, near_writer) = near.into_split();
                let (far_reader, far_writer) = far.into_split();
                pass(near_reader, far_writer, delay, Arc::clone(&shared));
                pass(far_reader, near_writer, delay, Arc::clone(&shared));
            }
        });
        Self { port: own, silent }
    }

    /// From now on nothing passes, and nothing is closed either.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

fn pass(mut reader: OwnedReadHalf, mut writer: OwnedWriteHalf, delay: Duration, silent: Arc<AtomicBool>) {
    let (sender, mut later) = mpsc::channel::<(Instant, Vec<u8>)>(10_000);
    tokio::spawn(async move {
        let mut bytes = vec![0; 32 << 10];
        while let Ok(count @ 1..) = reader.read(&mut bytes).await {
            if sender.send((Instant::now() + delay, bytes[..count].to_vec())).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = later.recv().await {
            sleep_until(due).await;
            if silent.load(Ordering::Relaxed) {
                continue;
            }
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
}
