//! `schism capture`: writes the packets of a node to a file that Wireshark and tcpdump read.
//!
//! With a packet socket of its own, because a node need have no tcpdump. Of all interfaces but the loopback, in the "cooked"
//! form (`LINKTYPE_LINUX_SLL`), in which packets of interfaces of different kinds stand side by side.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use nix::unistd::pause;

/// The hidden subcommand that runs [`main`].
pub const COMMAND: &str = "capture";
/// How much of a packet is kept.
const PACKET_LEN_MAX: usize = 256;
/// How long a file grows.
const FILE_LEN_MAX: u64 = 64 << 20;
/// What the kernel keeps while this process does not get to run.
const RECEIVE_BUFFER: usize = 8 << 20;
/// The longest packet that an interface hands over in one piece.
const RECEIVED_LEN_MAX: usize = 64 << 10;
/// The length of a file's header.
pub const HEADER_LEN: u64 = 24;
const LINK_TYPE_COOKED: u32 = 113;

/// Records to `path` until it is killed.
pub fn main(path: &Path) -> ExitCode {
    match record(path) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("cannot record packets to {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn record(path: &Path) -> io::Result<std::convert::Infallible> {
    // Before the file is there: whoever sees the file knows that packets are recorded.
    let packets =
        socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    // A smaller buffer loses packets, and no more.
    let _ = setsockopt(&packets, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&packets, sockopt::RcvBuf, &RECEIVE_BUFFER));
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(&header())?;
    let mut length = HEADER_LEN;
    let mut buffer = vec![0; RECEIVED_LEN_MAX];
    while length < FILE_LEN_MAX {
        let (received, from) = match recvfrom::<LinkAddr>(packets.as_raw_fd(), &mut buffer) {
            Err(Errno::EINTR | Errno::ENETDOWN) => continue,
            received => received?,
        };
        let Some(from) = from.filter(|from| from.hatype() != libc::ARPHRD_LOOPBACK) else { continue };
        // A clock before 1970 is a fault that somebody made; the packets count all the same.
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        length += append(&mut file, time, &from, &buffer[..received])?;
    }
    drop(packets);
    eprintln!("{} has its {FILE_LEN_MAX} bytes; later packets are not recorded", path.display());
    loop {
        // Whoever supervises it takes an end for a crash.
        pause();
    }
}

/// The header of a file: times in microseconds, numbers as this machine has them.
fn header() -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(0xa1b2_c3d4_u32.to_ne_bytes());
    header.extend(2_u16.to_ne_bytes());
    header.extend(4_u16.to_ne_bytes());
    header.extend([0; 8]);
    header.extend(((PACKET_LEN_MAX + COOKED_LEN) as u32).to_ne_bytes());
    header.extend(LINK_TYPE_COOKED.to_ne_bytes());
    header
}

/// The length of what stands in place of a link header.
const COOKED_LEN: usize = 16;

/// Writes one packet in one piece, and returns the length of what was written.
fn append(file: &mut File, time: Duration, from: &LinkAddr, packet: &[u8]) -> io::Result<u64> {
    let kept = &packet[..packet.len().min(PACKET_LEN_MAX)];
    let address = from.addr().unwrap_or_default();
    let mut record = Vec::with_capacity(16 + COOKED_LEN + kept.len());
    // As the format has it: seconds that last until 2106.
    record.extend((time.as_secs() as u32).to_ne_bytes());
    record.extend(time.subsec_micros().to_ne_bytes());
    record.extend(((COOKED_LEN + kept.len()) as u32).to_ne_bytes());
    record.extend(((COOKED_LEN + packet.len()) as u32).to_ne_bytes());
    record.extend(u16::from(from.pkttype()).to_be_bytes());
    record.extend(from.hatype().to_be_bytes());
    record.extend((address.len() as u16).to_be_bytes());
    record.extend(address);
    record.extend([0; 2]);
    // In the order of the network already.
    record.extend(from.protocol().to_ne_bytes());
    record.extend(kept);
    file.write_all(&record)?;
    Ok(record.len() as u64)
}
