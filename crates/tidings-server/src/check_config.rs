//! `tidings check-config`: would the server start with this, and what is in force?

use std::process::ExitCode;

use clap::ArgMatches;
use tidings_cli::print_bytes;
use tidings_node::{NodeConfig, Options, in_force};

use crate::failure::Failure;
use crate::otlp;
use crate::serve::block_on;

/// Wrong configuration (`EX_USAGE`), whatever is wrong with it.
const WRONG: u8 = 64;

/// Checks as `serve` would, up to listening; prints what is in force.
pub(crate) fn run(options: Options, given: &ArgMatches) -> Result<ExitCode, Failure> {
    match check(options) {
        Ok(config) => {
            let text = in_force(&config, given)?;
            print_bytes(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            failure.report();
            Ok(ExitCode::from(WRONG))
        }
    }
}

fn check(options: Options) -> Result<NodeConfig, Failure> {
    let config = NodeConfig::load(options)?;
    if let Some(to) = &config.otlp {
        otlp::available(to)?;
    }
    block_on(async { Ok(config.check()?) })?;
    Ok(config)
}
