//! The logs in Porcupine's tests.
