//! A lock that only its owner may release.
