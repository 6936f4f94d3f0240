//! A queue, first in, first out.
