//! A queue that hands out its elements in any order.
