//! Several registers, read and written together.
