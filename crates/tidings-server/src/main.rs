//! `tidings`: the server, and what one does with a server that runs.
//!
//! Reads the configuration, wires the crates together and runs them. What it
//! does is in `tidings-bus`, `tidings-connections` and `tidings-transport`;
//! here are only flags and signals. The client commands are in `tidings-cli`.

mod auth;
mod backup;
mod check_config;
mod cli;
mod config;
mod demo;
mod failure;
mod inspect;
mod limits;
mod logging;
mod options;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
mod otlp;
mod pages;
mod reload;
mod serve;
mod signals;
mod storage;
mod tls;
mod token;
mod value;

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
