#[path = "../../../src/linearizable/engines/versions/mod.rs"]
pub mod versions;
#[path = "../../../src/linearizable/engines/zones/mod.rs"]
pub mod zones;
