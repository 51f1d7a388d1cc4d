//! `tidings`: the server, and what one does with a server that runs.
//!
//! Reads the configuration and runs a node: `tidings-node` is the server. Here are
//! only flags and signals. The client commands are in `tidings-cli`.

mod backup;
mod check_config;
mod cli;
mod demo;
mod failure;
mod inspect;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
mod otlp;
mod serve;
mod signals;
mod token;

use std::process::ExitCode;

use mimalloc::MiMalloc;

use cli::Invocation;
use failure::Failure;

/// Thousands of parked connections are thousands of small objects: this one wastes
/// less on each of them (measured in `docs/performance.md`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<ExitCode, Failure> {
    match cli::parse()? {
        Invocation::Told => {}
        Invocation::Serve(settings) => serve::run(settings)?,
        Invocation::Demo(settings, length) => demo::run(settings, length)?,
        Invocation::Token(options) => token::run(&options)?,
        Invocation::CheckConfig(options, given) => return check_config::run(*options, &given),
        Invocation::Backup(arguments) => backup::run(&arguments)?,
        Invocation::Inspect(arguments) => inspect::run(&arguments)?,
        Invocation::Client(command) => {
            return Ok(tidings_cli::run(*command, cli::definition())?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
