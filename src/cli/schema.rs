//! `schism schema`.

use std::process::ExitCode;

use super::args;

pub fn main(arguments: &args::Schema) -> ExitCode {
    let schema = if arguments.system { crate::system::schema() } else { crate::spec::schema() };
    super::print(&format!("{schema:#}\n"))
}
