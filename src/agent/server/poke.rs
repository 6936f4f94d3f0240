//! Gives a fault something to drop: one small datagram to each address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

/// The discard service (RFC 863), for addresses without a port.
const DISCARD_PORT: u16 = 9;

/// Sends them. That a firewall, a route or a closed port refuses one is what it is for, so no address can fail.
///
/// # Errors
/// This node cannot even make a socket: a sentence.
pub async fn poke(addresses: &[SocketAddr]) -> Result<(), String> {
    for address in addresses {
        let (any, mut to): (IpAddr, _) = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), *address),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), *address),
        };
        if to.port() == 0 {
            to.set_port(DISCARD_PORT);
        }
        let socket =
            UdpSocket::bind((any, 0)).await.map_err(|error| format!("make a UDP socket: {error}"))?;
        if let Err(error) = socket.send_to(b"schism", to).await {
            tracing::debug!(%to, %error, "a datagram was refused");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_gets_one_and_a_refusal_is_no_failure() {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let second = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Broadcast is refused to a socket that did not ask for it.
        let refused = "255.255.255.255:0".parse().unwrap();
        poke(&[first.local_addr().unwrap(), refused, second.local_addr().unwrap()]).await.unwrap();
        for socket in [first, second] {
            let mut buffer = [0; 16];
            let received =
                tokio::time::timeout(std::time::Duration::from_secs(10), socket.recv(&mut buffer)).await;
            assert_eq!(&buffer[..received.unwrap().unwrap()], b"schism");
        }
    }
}
