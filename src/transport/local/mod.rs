//! A cluster on this machine, made of Linux namespaces.
