//! Connections from the controller to the nodes' ports: directly, or through the SSH connection (direct-tcpip).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use russh::{ChannelOpenFailure, Error};
use schism_workloads::{BoxFuture, Dialer};
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::node::Up;

/// Dials the nodes of an SSH cluster.
#[derive(Clone)]
pub(super) struct SshDialer(pub(super) Arc<Shared>);

impl Dialer for SshDialer {
    fn dial<'a>(&'a self, node: &'a str, port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(async move {
            let shared = &self.0;
            let index = shared.nodes.iter().position(|known| &*known.name == node).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("the cluster has no node {node:?}"))
            })?;
            let address = SocketAddr::new(shared.known[index].address, port);
            if !shared.through_ssh[index] {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            let up = shared.nodes[index].connected().ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotConnected, format!("there is no SSH connection to {node}"))
            })?;
            through(&up, address).await
        })
    }
}

/// A connection that the node makes for us.
async fn through(up: &Up, address: SocketAddr) -> io::Result<TcpStream> {
    let (host, port) = (address.ip().to_string(), u32::from(address.port()));
    let opened = up.link.connection().handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 0).await;
    let channel = opened.map_err(|error| match error {
        Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => {
            io::Error::new(io::ErrorKind::ConnectionRefused, format!("the node cannot connect to {address}"))
        }
        Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "its SSH server forwards no connections (AllowTcpForwarding)",
        ),
        error => io::Error::new(io::ErrorKind::NotConnected, error.to_string()),
    })?;
    let (ours, mut theirs) = pair().await?;
    tokio::spawn(async move {
        let mut channel = channel.into_stream();
        // Both ends learn of the end of the other; there is nobody else to tell.
        let _ = tokio::io::copy_bidirectional(&mut theirs, &mut channel).await;
    });
    Ok(ours)
}

/// Two ends of a TCP connection within this machine: clients want a socket.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let ours = TcpStream::connect(listener.local_addr()?).await?;
    let own = ours.local_addr()?;
    loop {
        let (theirs, from) = listener.accept().await?;
        // Anybody on this machine may have been faster.
        if from == own {
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
}
