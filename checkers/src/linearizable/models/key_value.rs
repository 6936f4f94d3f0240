//! A map: get, put, append, delete, compare-and-set; each key by itself.
