//! The client's side of the command line: one file a subcommand, thin over
//! `tidings-client`.

mod command;
mod connect;
mod data;
mod failure;
mod man;
mod publish;
#[cfg(unix)]
mod run;
mod tasks;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

pub(crate) use connect::{Server, block_on};
pub(crate) use failure::ClientFailure;
pub(crate) use watch::print;

/// What can be done with a server that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    Watch(watch::Arguments),
    Publish(publish::Arguments),
    #[cfg(unix)]
    Run(run::Arguments),
    Tasks(tasks::Arguments),
    Command(command::Arguments),
    Completions(man::Completions),
    Man(man::Man),
}

/// Does it; gives the code to exit with.
pub(crate) fn run(command: ClientCommand, cli: clap::Command) -> Result<ExitCode, Failure> {
    let done = match command {
        ClientCommand::Watch(arguments) => connect::block_on(watch::run(arguments)),
        ClientCommand::Publish(arguments) => connect::block_on(publish::run(arguments)),
        #[cfg(unix)]
        ClientCommand::Run(arguments) => connect::block_on(run::run(arguments)),
        ClientCommand::Tasks(arguments) => connect::block_on(tasks::run(arguments)),
        ClientCommand::Command(arguments) => connect::block_on(command::run(arguments)),
        ClientCommand::Completions(arguments) => man::completions(&arguments, cli),
        ClientCommand::Man(arguments) => man::man(&arguments, cli),
    };
    done.map_err(Failure::Client)
}
