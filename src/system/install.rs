//! Finds a system's binaries, or fetches them.
