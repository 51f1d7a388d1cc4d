//! `tidings check-config`: would the server start with this, and what is in force?

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tidings_bus::EventBus;
use tidings_connections::ConnectionManager;
use tidings_transport::TidingsService;

use crate::config::{self, Settings};
use crate::failure::Failure;
use crate::options::Options;
use crate::otlp;
use crate::serve::setting;

/// Wrong configuration (`EX_USAGE`), whatever is wrong with it.
const WRONG: u8 = 64;

/// Checks as `serve` would, up to listening; prints what is in force.
pub(crate) fn run(options: Options, given: &ArgMatches) -> Result<ExitCode, Failure> {
    match check(options) {
        Ok(settings) => {
            let text = in_force(&settings, given)?;
            // A closed pipe changes nothing about the configuration.
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            failure.report();
            Ok(ExitCode::from(WRONG))
        }
    }
}

/// Files are read, and nobody is asked: neither Redis, nor a provider of keys.
fn check(options: Options) -> Result<Settings, Failure> {
    let settings = Settings::load(options)?;
    settings.auth.check(settings.listen)?;
    settings.check_homes()?;
    settings.auth.read()?;
    if let Some(to) = &settings.otlp {
        otlp::available(to)?;
    }
    if let Some(files) = &settings.tls {
        files.load()?;
    }
    if let Some(path) = &settings.data_dir {
        check_folder(path)?;
    }
    // What only the libraries know: made, and thrown away.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::System)?;
    runtime.block_on(async {
        let bus = EventBus::new(settings.bus.clone()).map_err(setting)?;
        let manager = ConnectionManager::new(bus, settings.connections.clone()).map_err(setting)?;
        TidingsService::new(manager, settings.transport.clone()).map_err(setting)
    })?;
    Ok(settings)
}

/// One that is not there is made when the server starts.
fn check_folder(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(about) if !about.is_dir() => Err(Failure::Setting(
            format!("{} is to be a directory, and is a file", path.display()).into(),
        )),
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Failure::Unreadable {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

/// Every option with its value and where that is from, as a file would have it.
fn in_force(settings: &Settings, given: &ArgMatches) -> Result<String, Failure> {
    let file = match &settings.given.config {
        Some(path) => config::table(path.clone())?,
        None => toml::Table::new(),
    };
    let strangers = settings.strangers();
    let mut text = String::new();
    for argument in crate::cli::options() {
        let id = argument.get_id().as_str();
        let name = id.replace('_', "-");
        let raw = given.get_raw(id).map(|values| {
            let values = values.map(|value| value.to_string_lossy().into_owned());
            values.collect::<Vec<_>>().join(",")
        });
        let (value, from) = match (given.value_source(id), raw, file.get(&name)) {
            (Some(ValueSource::CommandLine), Some(raw), _) => (raw, "flag"),
            (Some(ValueSource::EnvVariable), Some(raw), _) => (raw, "variable"),
            (_, _, Some(value)) => (plain(value), "file"),
            _ => match default(&argument, strangers) {
                Some(value) => (value, "default"),
                None => continue,
            },
        };
        let assignment = format!("{name} = {:?}", without_secrets(&value));
        text.push_str(&format!("{assignment:<48} # {from}\n"));
    }
    Ok(text)
}

/// What the help says that it is where it is not given.
fn default(argument: &clap::Arg, strangers: bool) -> Option<String> {
    let help = argument.get_help()?.to_string();
    let (_, value) = help.split_once("[default: ").or_else(|| {
        // Without strangers there is no limit, which is 0 for all of these.
        let found = help.split_once("[for strangers: ")?;
        Some(if strangers { found } else { ("", "0]") })
    })?;
    value.strip_suffix(']').map(str::to_owned)
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(yes) => yes.to_string(),
        // No option is of another kind: reading the file has refused it.
        _ => String::new(),
    }
}

/// Keys are in files; what is left is who one is in an address.
fn without_secrets(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://\u{2026}@{place}"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out_of_addresses() {
        for (given, shown) in [
            ("redis://ada:s3cr@t@host:1", "redis://\u{2026}@host:1"),
            ("redis://host:1/0", "redis://host:1/0"),
            ("127.0.0.1:8000", "127.0.0.1:8000"),
        ] {
            assert_eq!(without_secrets(given), shown);
        }
    }
}
