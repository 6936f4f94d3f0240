//! A stack.
