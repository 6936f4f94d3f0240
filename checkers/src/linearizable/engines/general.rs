//! The general search, for every model.
