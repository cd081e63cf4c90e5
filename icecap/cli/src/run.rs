//! Statements through the engine.

use crate::args::SqlCommand;
use crate::failure::Failure;

pub(crate) fn run(_: &SqlCommand, _: &[String]) -> Result<(), Failure> {
    Err(icecap_table::Error::unsupported("running statements is not supported yet").into())
}
