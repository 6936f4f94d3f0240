#[path = "../../../src/linearizable/models/register.rs"]
pub mod register;
#[path = "../../../src/linearizable/models/versioned_register.rs"]
pub mod versioned_register;
