//! The life of a run: from a plan to a verdict, whatever happens on the way.
