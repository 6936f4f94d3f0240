//! A mutex that anybody may release.
