//! `schism agent`: carries out what the controller asks, and heals by itself when the controller is gone.
