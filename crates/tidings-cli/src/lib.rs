//! The commands for a running Tidings server, from a command line.
//!
//! Each subcommand is a file or a folder in this crate, and a thin layer over
//! [`tidings_client`]. The binary `tidings` parses [`ClientCommand`] as part of its
//! command line and passes it to [`run`]. This crate does not contain the server.

mod age;
mod answer;
mod bench;
mod code;
mod command;
mod complete;
mod connect;
mod connections;
mod data;
pub mod demo;
mod failure;
mod format;
mod get;
mod logs;
mod man;
mod output;
mod publish;
mod remove;
#[cfg(unix)]
mod run;
mod table;
mod tasks;
mod text;
mod token;
mod value;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;

pub use bench::{BenchError, BenchOptions};
pub use connect::{Server, block_on};
pub use failure::{Failure, chain};
pub use format::Format;
pub use man::complete;
pub use output::{print, print_bytes, print_json};
pub use text::clean;

/// The variable with the task's id, which `tidings run` sets for its command.
const TASK_VARIABLE: &str = "TIDINGS_TASK";

/// The variable with the number of the run. With the number, a late report cannot change
/// another run.
const RUN_VARIABLE: &str = "TIDINGS_RUN";

/// The commands for a running server.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a comment here would replace the help of the command"
)]
pub enum ClientCommand {
    #[cfg(unix)]
    Run(run::Arguments),
    #[cfg(unix)]
    #[command(hide = true)]
    PassOn(run::pass_on::Arguments),
    #[cfg(unix)]
    #[command(hide = true)]
    Lead(run::lead::Arguments),
    #[cfg(unix)]
    #[command(hide = true)]
    Enter(run::lead::Arguments),
    #[cfg(unix)]
    #[command(hide = true)]
    Die(run::death::Arguments),
    Watch(watch::Arguments),
    Logs(logs::Arguments),
    Wait(watch::wait::Arguments),
    Tasks(tasks::Arguments),
    Get(get::Arguments),
    Publish(publish::Arguments),
    Command(command::Arguments),
    Answer(answer::Arguments),
    Rm(remove::Arguments),
    Connections(connections::Arguments),
    Kick(connections::kick::Arguments),
    Send(connections::send::Arguments),
    /// Put load on a running server and measure its limits
    Bench(Box<BenchOptions>),
    Completions(man::Completions),
    Man(man::Man),
}

/// Runs a command and returns the exit code. `cli` is the whole command line, from
/// which man pages are made.
///
/// # Errors
/// Returns an error if the command failed.
/// The command did not do what was asked.
pub fn run(command: ClientCommand, cli: clap::Command) -> Result<ExitCode, Failure> {
    match command {
        ClientCommand::Bench(options) => bench::run(&options),
        ClientCommand::Watch(arguments) => block_on(watch::run(arguments)),
        ClientCommand::Publish(arguments) => block_on(publish::run(arguments)),
        #[cfg(unix)]
        ClientCommand::Run(arguments) => run::start(arguments),
        #[cfg(unix)]
        ClientCommand::PassOn(arguments) => run::pass_on::run(&arguments),
        #[cfg(unix)]
        ClientCommand::Lead(arguments) => run::lead::lead(&arguments),
        #[cfg(unix)]
        ClientCommand::Enter(arguments) => run::lead::enter(&arguments),
        #[cfg(unix)]
        ClientCommand::Die(arguments) => Ok(run::death::run(&arguments)),
        ClientCommand::Tasks(arguments) => block_on(tasks::run(arguments)),
        ClientCommand::Get(arguments) => block_on(get::run(arguments)),
        ClientCommand::Logs(arguments) => block_on(logs::run(arguments)),
        ClientCommand::Wait(arguments) => block_on(watch::wait::run(arguments)),
        ClientCommand::Command(arguments) => block_on(command::run(arguments)),
        ClientCommand::Answer(arguments) => block_on(answer::run(arguments)),
        ClientCommand::Rm(arguments) => block_on(remove::run(arguments)),
        ClientCommand::Connections(arguments) => block_on(connections::run(arguments)),
        ClientCommand::Kick(arguments) => block_on(connections::kick::run(arguments)),
        ClientCommand::Send(arguments) => block_on(connections::send::run(arguments)),
        ClientCommand::Completions(arguments) => man::completions(&arguments),
        ClientCommand::Man(arguments) => man::man(&arguments, cli),
    }
}
