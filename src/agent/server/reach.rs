//! Which addresses answer from here.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connects to every address at once. An answer is a connection or a refusal: both came from the other side. Silence and an
/// unreachable network are none.
pub async fn reach(addresses: &[SocketAddr], patience: Duration) -> Vec<bool> {
    let mut tries = JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        tries.spawn(async move {
            let answered = match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
                Err(_) => false,
            };
            (index, answered)
        });
    }
    let mut answered = vec![false; addresses.len()];
    while let Some(result) = tries.join_next().await {
        if let Ok((index, true)) = result {
            answered[index] = true;
        }
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_answers_from_silence() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // A listener whose backlog is full drops what comes next, as a partition does.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(0).unwrap();
        let full_address = full.local_addr().unwrap();
        let mut fillers = Vec::new();
        for _ in 0..16 {
            match timeout(Duration::from_millis(200), TcpStream::connect(full_address)).await {
                Ok(stream) => fillers.push(stream.unwrap()),
                Err(_) => break,
            }
        }
        let addresses = [full_address, open.local_addr().unwrap(), closed];
        assert_eq!(reach(&addresses, Duration::from_millis(500)).await, [false, true, true]);
        assert_eq!(reach(&[], Duration::from_millis(1)).await, [false; 0]);
    }
}
