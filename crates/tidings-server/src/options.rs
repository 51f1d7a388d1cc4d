//! The command line and the environment.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tidings_cli::ClientCommand;
use tidings_node::{FileCommand, Options};

use crate::backup;
use crate::failure::Failure;

/// Variables that our clients read, which may well be set where a server runs.
const CLIENTS: &str = "TIDINGS_URL TIDINGS_TOKEN TIDINGS_CA TIDINGS_TASK TIDINGS_RUN";

const HELP: &str = include_str!("../help/serve.txt").trim_ascii_end();

/// Carries the progress of long-running work to the people who watch it,
/// over WebSocket, live and in order.
#[derive(Debug, Parser)]
#[command(
    name = "tidings",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Commands (`serve` if none is given)",
    disable_help_subcommand = true,
    after_help = HELP
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    #[command(after_help = HELP)]
    Serve(Box<Options>),
    /// Run the server together with simulated tasks: something to watch
    #[command(after_help = HELP)]
    Demo {
        /// Run each simulated task once and stop; without it they start over
        /// and over, until Ctrl-C
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Check the configuration as `serve` would, and print what is in force
    ///
    /// Flags, variables and the file, with the keys and certificates that they
    /// name; the network is not used. Prints every option with where its value
    /// is from, passwords left out. Exit codes: 0 the server would start, 64 it
    /// would not.
    CheckConfig(Box<Options>),
    Backup(Box<backup::Arguments>),
    #[command(flatten)]
    Files(FileCommand),
    #[command(flatten)]
    Client(Box<ClientCommand>),
}

/// Reads the process's arguments and variables: what is to be done, and the options
/// from variables. None if help or the version was asked for and has been printed.
pub(crate) fn parse() -> Result<Option<(Command, Options)>, Failure> {
    let parsed = definition().try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            error.print().map_err(tidings_cli::Failure::Output)?;
            return Ok(None);
        }
        Err(error) => return Err(Failure::Usage(error)),
    };
    // Whatever is to be done: a mistyped variable would be without effect.
    let variables = Options::from_env(&CLIENTS.split(' ').collect::<Vec<_>>())?;
    let command = cli
        .command
        .unwrap_or_else(|| Command::Serve(Box::new(cli.options)));
    Ok(Some((command, variables)))
}

/// The whole command line. The help names variables, and keeps their values.
pub(crate) fn definition() -> clap::Command {
    let hide = |argument: clap::Arg| argument.hide_env_values(true);
    let command = Cli::command().mut_args(hide);
    command.mut_subcommands(|command| command.mut_args(hide))
}

#[cfg(test)]
#[test]
fn clap_finds_no_mistake_in_the_command() {
    Cli::command().debug_assert();
}
