//! The command line and the environment.

use std::env;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tidings_cli::ClientCommand;
use tidings_cli::demo::Length;
use tidings_node::{NodeConfig, Options};

use crate::backup;
use crate::failure::Failure;
use crate::inspect;
use crate::token::TokenOptions;

/// What every variable of ours begins with.
const PREFIX: &str = "TIDINGS_";

/// Variables that our clients read, which may well be set where a server runs.
const CLIENT_VARIABLES: [&str; 5] = [
    "TIDINGS_URL",
    "TIDINGS_TOKEN",
    "TIDINGS_CA",
    "TIDINGS_TASK",
    "TIDINGS_RUN",
];

const EXAMPLES: &str = "\
Examples:
  tidings                                  serve on http://127.0.0.1:8000
  tidings demo                             the same, with simulated tasks to watch
  tidings run --task build-1 -- make       run a command as a task
  tidings watch 'build-*'                  watch tasks as they go
  tidings --listen 127.0.0.1:0             on a free port; the first line says which
  tidings --data-dir data                  with tasks that outlive a restart
  tidings inspect data                     what is in that directory
  tidings --config tidings.toml            with options from a file
  TIDINGS_MAX_EVENTS=5000 tidings serve    with an option from the environment

A flag wins over a variable, a variable over the file. In the file, options have
the names that they have here:
  listen = \"127.0.0.1:9000\"
  max-task-bytes = \"1MiB\"
  allow-origin = [\"https://app.example\"]

COUNT is a whole number. SIZE is in bytes or has a unit: 65536, 64KiB, 64KB.
TIME has a unit: 250ms, 25s, 5m, 1h.

SIGTERM and Ctrl-C stop the server in order, a second one at once. Exit codes:
0 stopped, 64 wrong usage or configuration, 65 the data directory is damaged or
not ours, 66 no such file, 69 cannot listen, 73 the data directory cannot be
used, 75 it is in use.";

/// Carries the progress of long-running work to the people who watch it,
/// over WebSocket, live and in order.
#[derive(Debug, Parser)]
#[command(
    name = "tidings",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Commands (`serve` if none is given)",
    disable_help_subcommand = true,
    after_help = EXAMPLES
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = EXAMPLES)]
    Serve(Options),
    /// Run the server together with simulated tasks: something to watch
    #[command(after_help = EXAMPLES)]
    Demo {
        /// Run each simulated task once and stop; without it they start over
        /// and over, until Ctrl-C
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Check the configuration as `serve` would, and print what is in force
    ///
    /// Flags, variables and the file, with the keys and certificates that they
    /// name; the network is not used. Prints every option with where its value
    /// is from, passwords left out. Exit codes: 0 the server would start, 64 it
    /// would not.
    CheckConfig(Box<Options>),
    Token(Box<TokenOptions>),
    Backup(backup::Arguments),
    Inspect(inspect::Arguments),
    #[command(flatten)]
    Client(ClientCommand),
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Nothing: help or the version was asked for and has been printed.
    Told,
    Serve(NodeConfig),
    Demo(NodeConfig, Length),
    /// With what was given, and where it was given.
    CheckConfig(Box<Options>, Box<ArgMatches>),
    Token(Box<TokenOptions>),
    Backup(Box<backup::Arguments>),
    Inspect(inspect::Arguments),
    Client(Box<ClientCommand>),
}

/// Reads the process's arguments and variables, and the file that they name.
pub(crate) fn parse() -> Result<Invocation, Failure> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let (cli, mut matches) = match parse_arguments(&arguments) {
        Ok(parsed) => parsed,
        Err(error) if !error.use_stderr() => {
            error.print().map_err(tidings_cli::Failure::Output)?;
            return Ok(Invocation::Told);
        }
        Err(error) => return Err(Failure::Usage(error)),
    };
    refuse_unknown_variables(env::vars_os().map(|(name, _)| name))?;
    Ok(match cli.command {
        None => Invocation::Serve(NodeConfig::load(cli.options)?),
        Some(Command::CheckConfig(options)) => {
            let (_, given) = matches
                .remove_subcommand()
                .expect("it was parsed from a subcommand");
            Invocation::CheckConfig(options, Box::new(given))
        }
        Some(Command::Token(options)) => Invocation::Token(options),
        Some(Command::Backup(arguments)) => Invocation::Backup(Box::new(arguments)),
        Some(Command::Inspect(arguments)) => Invocation::Inspect(arguments),
        Some(Command::Serve(options)) => Invocation::Serve(NodeConfig::load(options)?),
        Some(Command::Demo { once, options }) => {
            let length = if once { Length::Once } else { Length::Endless };
            Invocation::Demo(NodeConfig::load(options)?, length)
        }
        Some(Command::Client(command)) => Invocation::Client(Box::new(command)),
    })
}

/// The whole command line, for what is made from it.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

fn parse_arguments(arguments: &[OsString]) -> Result<(Cli, ArgMatches), clap::Error> {
    let mut command = Cli::command().mut_args(|argument| argument.hide_env_values(true));
    command = command
        .mut_subcommands(|command| command.mut_args(|argument| argument.hide_env_values(true)));
    let parsed = command.try_get_matches_from_mut(arguments);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    parsed.map_err(|error| name_variable(error, arguments, &command))
}

/// Clap calls every value by its flag. Names the variable instead if that is
/// where the value came from.
fn name_variable(
    mut error: clap::Error,
    arguments: &[OsString],
    command: &clap::Command,
) -> clap::Error {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return error;
    }
    let Some(ContextValue::String(invalid)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = invalid.split(' ').next().unwrap_or_default().to_owned();
    let given = arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument
            .strip_prefix(&flag)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let variable = command
        .get_arguments()
        .find(|argument| argument.get_long() == flag.strip_prefix("--"))
        .and_then(|argument| argument.get_env());
    if let (false, Some(variable)) = (given, variable) {
        let name = ContextValue::String(variable.to_string_lossy().into_owned());
        error.insert(ContextKind::InvalidArg, name);
    }
    error
}

/// A mistyped variable would be silently without effect.
fn refuse_unknown_variables(names: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let command = Cli::command();
    let known = |name: &str| {
        CLIENT_VARIABLES.contains(&name)
            || command
                .get_arguments()
                .any(|argument| argument.get_env() == Some(name.as_ref()))
    };
    let unknown = names
        .map(|name| name.to_string_lossy().into_owned())
        .find(|name| name.starts_with(PREFIX) && !known(name));
    unknown.map_or(Ok(()), |name| Err(Failure::UnknownVariable { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> NodeConfig {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        NodeConfig::load(parse_arguments(&arguments).unwrap().0.options).unwrap()
    }

    /// All that options can set.
    fn text(settings: &NodeConfig) -> String {
        let NodeConfig {
            listen,
            log,
            bus,
            connections,
            transport,
            redis,
            node_name,
            data_dir,
            store,
            backup_dir,
            drain_window,
            drain_deadline,
            auth,
            tls,
            log_format,
            otlp,
            // The rest is what these are made from.
            ..
        } = settings;
        let bus = (
            (
                bus.log_limits,
                bus.finished_events_ttl,
                bus.pinned_ttl,
                bus.idle_ttl,
            ),
            (
                bus.total_bytes,
                bus.idempotency_ids,
                bus.idempotency_ttl,
                bus.max_event_bytes,
            ),
        );
        format!(
            "{:#?}",
            (
                listen,
                (log, log_format, otlp),
                bus,
                connections,
                transport,
                (redis, node_name),
                (data_dir, store, backup_dir),
                drain_window,
                drain_deadline,
                (auth, tls),
            )
        )
    }

    #[test]
    fn clap_finds_no_mistake_in_the_command() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_in_the_help_are_those_in_force() {
        let default = text(&settings(&["tidings"]));
        let mut documented = 0;
        for argument in Cli::command().get_arguments() {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let Some((_, value)) = help.split_once("[default: ") else {
                continue;
            };
            let value = value.strip_suffix(']').expect("the default comes last");
            let flag = format!("--{}", argument.get_long().unwrap());
            assert_eq!(
                text(&settings(&["tidings", &flag, value])),
                default,
                "{flag}"
            );
            documented += 1;
        }
        assert_eq!(documented, 31);
    }

    #[test]
    fn every_option_sets_something() {
        for argument in Cli::command().get_arguments() {
            let value = match argument.get_value_names().unwrap_or_default() {
                [name] if name == "ADDR:PORT" => "[::1]:1",
                [name] if name == "FILTER" => "trace",
                [name] if name == "FORMAT" => "json",
                [name] if name == "ORIGIN" => "*",
                [name] if name == "COUNT" => "7",
                [name] if name == "SIZE" => "77MB",
                [name] if name == "TIME" => "77s",
                [name] if name == "BOOL" => "true",
                [name] if name == "URL" && argument.get_id() == "otlp" => "http://127.0.0.1:1",
                [name] if name == "URL" => "redis://127.0.0.1:1",
                [name] if name == "DIR" => "data",
                [name] if name == "MODE" => "every-commit",
                [name] if name == "NET" => "10.0.0.0/8",
                [name] if name == "NAME" => "tidings.example",
                // The file, help and the version set nothing by themselves.
                _ => continue,
            };
            let name = argument.get_long().unwrap();
            let flag = format!("--{name}={value}");
            // Some set nothing unless others are there too.
            let company = match name {
                "jwt-leeway" | "jwt-audience" | "jwt-issuer" => {
                    &["tidings", "--auth=jwt", "--jwt-key=file"][..]
                }
                _ => &["tidings"],
            };
            let with = [company, &[&flag]].concat();
            assert_ne!(text(&settings(&with)), text(&settings(company)), "{flag}");
        }
    }

    #[test]
    fn variables_are_named_after_flags() {
        for argument in Cli::command().get_arguments() {
            let Some(variable) = argument.get_env() else {
                continue;
            };
            let flag = argument.get_long().unwrap();
            let expected = format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(variable, expected.as_str());
        }
    }

    #[test]
    fn any_origin_beside_others_is_any() {
        for (given, expected) in [
            ("https://a.example,*", "Any"),
            ("https://a.example", "List([\"https://a.example\"])"),
        ] {
            let settings = settings(&["tidings", "--allow-origin", given]);
            assert_eq!(
                format!("{:?}", settings.transport.allowed_origins),
                expected
            );
        }
    }
}
