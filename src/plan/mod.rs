//! The plan: everything a run will do, resolved and seeded, before anything is touched.
