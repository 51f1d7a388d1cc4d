//! Would a node start with this configuration, and what is in force?

use std::io;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tidings_bus::EventBus;
use tidings_connections::ConnectionManager;
use tidings_transport::TidingsService;

use crate::config::{self, NodeConfig};
use crate::error::NodeConfigError;

impl NodeConfig {
    /// Checks what [`Node::start`](crate::Node::start) would find wrong before it
    /// listens. Reads files and asks nobody: neither Redis, nor a provider of keys.
    /// Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`NodeConfigError`].
    pub fn check(&self) -> Result<(), NodeConfigError> {
        self.auth.check(self.listen)?;
        self.check_homes()?;
        self.auth.read()?;
        if let Some(files) = &self.tls {
            files.load()?;
        }
        if let Some(path) = &self.data_dir {
            check_folder(path)?;
        }
        // What only the libraries know: made, and thrown away.
        let bus = EventBus::new(self.bus.clone()).map_err(NodeConfigError::setting)?;
        let manager = ConnectionManager::new(bus, self.connections.clone())
            .map_err(NodeConfigError::setting)?;
        TidingsService::new(manager, self.transport.clone()).map_err(NodeConfigError::setting)?;
        Ok(())
    }
}

/// One that is not there is made when the server starts.
fn check_folder(path: &Path) -> Result<(), NodeConfigError> {
    match path.metadata() {
        Ok(about) if !about.is_dir() => Err(NodeConfigError::Setting(
            format!("{} is to be a directory, and is a file", path.display()).into(),
        )),
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(NodeConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

/// Returns every option with its value and where that is from, as a file would
/// have it.
///
/// # Errors
/// The file cannot be read any more.
pub fn in_force(settings: &NodeConfig, given: &ArgMatches) -> Result<String, NodeConfigError> {
    let file = match &settings.given.config {
        Some(path) => config::table(path.clone())?,
        None => toml::Table::new(),
    };
    let strangers = settings.strangers();
    let mut text = String::new();
    for argument in crate::options::arguments() {
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
