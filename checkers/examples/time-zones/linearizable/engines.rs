#[path = "../../../src/linearizable/engines/zones/mod.rs"]
pub mod zones;
