//! The command line and the environment.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tidings_cli::ClientCommand;
use tidings_node::{FileCommand, Options};

use crate::backup;
use crate::failure::Failure;

/// Variables of the Tidings clients, which may be set on a machine that runs a server.
const CLIENTS: &str = "TIDINGS_URL TIDINGS_TOKEN TIDINGS_TOKEN_FILE TIDINGS_CA \
                       TIDINGS_TASK TIDINGS_RUN";

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
    /// Run the server with simulated tasks to watch
    #[command(after_help = HELP)]
    Demo {
        /// Run each simulated task once and stop. Without this, the tasks start again until Ctrl-C
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        options: Box<Options>,
    },
    #[command(flatten)]
    Client(Box<ClientCommand>),
    /// Check the configuration like `serve`, and print the options in effect
    ///
    /// Checks the flags, variables and file, and the keys and certificates that they name. Does not
    /// use the network. Prints every option and the source of its value, without passwords. Exit
    /// codes: 0 the server would start, 64 it would not.
    CheckConfig(Box<Options>),
    Backup(Box<backup::Arguments>),
    #[command(flatten)]
    Files(FileCommand),
}

/// Parses the process's arguments and environment variables. Returns the command, and the options
/// from variables. Returns `None` if help or the version was requested, which is then already
/// printed.
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
    // Read the variables for every command, because a mistyped variable would have no effect.
    let variables = Options::from_env(&CLIENTS.split(' ').collect::<Vec<_>>())?;
    let command = cli
        .command
        .unwrap_or_else(|| Command::Serve(Box::new(cli.options)));
    Ok(Some((command, variables)))
}

/// Returns the whole command line. The help names variables, but does not show their values.
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
