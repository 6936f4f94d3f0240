//! Faults made for real: in network namespaces and on processes that the tests make and take away again.

mod drops;
mod lab;
mod processes;
