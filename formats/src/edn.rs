//! Clojure notation.
