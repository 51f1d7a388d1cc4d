//! `tidings`: the server, and commands for a running server.
//!
//! This crate contains only the command line, signals and exit codes. The server is in
//! `tidings-node`, and the client commands are in `tidings-cli`.

mod backup;
mod demo;
mod failure;
mod options;
mod otlp;
mod serve;
mod signals;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tidings_cli::{print, print_json};
use tidings_node::{NodeConfig, Options, Told};

use failure::Failure;
use options::{Command, definition};
use serve::{block_on, check, serve};

/// Thousands of idle connections are thousands of small objects. This allocator wastes less memory
/// on each of them (measured in `docs/performance.md`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tidings_cli::complete(definition);
    run().unwrap_or_else(|failure| failure.report())
}

fn run() -> Result<ExitCode, Failure> {
    let Some((command, variables)) = options::parse()? else {
        return Ok(ExitCode::SUCCESS);
    };
    let config = |flags: Options| NodeConfig::load(flags.or(&variables));
    match command {
        Command::Serve(options) => block_on(serve(config(*options)?, async |_, _| {}))?,
        Command::Demo { once, options } => block_on(demo::run(config(*options)?, once))?,
        Command::CheckConfig(options) => return check(config(*options)),
        Command::Backup(arguments) => backup::run(&arguments)?,
        Command::Files(command) => match block_on(async { Ok(command.run().await?) })? {
            Told::Text(text) => text.lines().try_for_each(print)?,
            Told::Json(json) => print_json(&json)?,
        },
        Command::Client(command) => return Ok(tidings_cli::run(*command, definition())?),
    }
    Ok(ExitCode::SUCCESS)
}
