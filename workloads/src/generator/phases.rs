//! One phase after another.

use super::{Gen, sequence, synchronize};

/// Each generator in turn; the next begins when the one before is done and every worker is free.
pub fn phases(parts: impl IntoIterator<Item = Gen>) -> Gen {
    sequence(parts.into_iter().map(synchronize))
}
