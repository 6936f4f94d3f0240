//! A lock whose owners get ever higher tokens.
