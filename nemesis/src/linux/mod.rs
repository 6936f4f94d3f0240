//! How Linux makes each fault: one file a mechanism, and the kernel interfaces they stand on.

pub mod netlink;
