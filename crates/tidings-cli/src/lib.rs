//! What one does with a Tidings server that runs, from a command line.
//!
//! Each subcommand is a file or a folder here, thin over
//! [`tidings_client`]. The binary `tidings` parses [`ClientCommand`] as part of
//! its own command line and passes it to [`run`]. The server itself is not here.

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

/// What can be done with a server that runs.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "a comment here would replace the help of the command"
)]
pub enum ClientCommand {
    #[cfg(unix)]
    Run(run::Arguments),
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
    /// Put load on a running server and see what it carries
    Bench(Box<BenchOptions>),
    Completions(man::Completions),
    Man(man::Man),
}

/// Runs a command and returns the code to exit with. `cli` is the whole command
/// line, for man pages.
///
/// # Errors
/// The command did not do what was asked.
pub fn run(command: ClientCommand, cli: clap::Command) -> Result<ExitCode, Failure> {
    match command {
        ClientCommand::Bench(options) => bench::run(&options),
        ClientCommand::Watch(arguments) => block_on(watch::run(arguments)),
        ClientCommand::Publish(arguments) => block_on(publish::run(arguments)),
        #[cfg(unix)]
        ClientCommand::Run(arguments) => block_on(run::run(arguments)),
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
