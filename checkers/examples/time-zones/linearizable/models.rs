#[path = "../../../src/linearizable/models/register.rs"]
pub mod register;
