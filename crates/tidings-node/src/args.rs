//! The node's options as command line arguments.

use std::ffi::{OsStr, OsString};

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::chain;
use crate::options::{OptionInfo, Options};

fn argument(info: &OptionInfo) -> Arg {
    let argument = Arg::new(info.name())
        .long(info.name())
        .help(info.help())
        .value_name(info.value_name)
        .value_parser(ValueParser::os_string())
        // Shown in the help only. `Options::from_env` reads the variables.
        .env(info.variable())
        .hide_env_values(true);
    let argument = match info.heading {
        "Options" => argument,
        heading => argument.help_heading(heading),
    };
    if info.is_list {
        return argument.action(ArgAction::Append);
    }
    if info.is_switch {
        return argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    argument
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        command.args(Self::all().iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Reads the flags only. [`Options`] reads the environment variables itself.
impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for info in Self::all() {
            let name = info.name();
            if matches.value_source(&name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let values = matches.get_many::<OsString>(&name).unwrap_or_default();
            let values: Vec<&OsStr> = values.map(OsString::as_os_str).collect();
            let value = values.join(OsStr::new(","));
            self.set(&name, &value).map_err(|error| {
                let cause = std::error::Error::source(&error)
                    .map(chain)
                    .unwrap_or_default();
                let value = value.to_string_lossy();
                let text = format!(
                    "invalid value '{value}' for '--{name} <{}>': {cause}\n\n\
                     For more information, try '--help'.\n",
                    info.value_name
                );
                Error::raw(ErrorKind::ValueValidation, text)
            })?;
        }
        Ok(())
    }
}
