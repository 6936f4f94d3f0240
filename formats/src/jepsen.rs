//! Jepsen's binary files.
