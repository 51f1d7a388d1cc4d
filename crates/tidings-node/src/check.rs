//! A dry run: checks whether a node would start, and shows the options in effect.

use std::io;
use std::path::Path;

use tidings_bus::EventBus;
use tidings_connections::ConnectionManager;
use tidings_transport::TidingsService;

use crate::config::NodeConfig;
use crate::error::NodeConfigError;
use crate::options::{Options, Source};

impl NodeConfig {
    /// Reports the errors that [`Node::start`](crate::Node::start) would report before it listens.
    /// Reads files, but contacts neither Redis nor a provider of keys. Call this inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// Returns [`NodeConfigError`] if a node would not start.
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
        // Some settings are only checked by their libraries. Create the parts and drop them.
        let bus = EventBus::new(self.bus.clone()).map_err(NodeConfigError::setting)?;
        let manager = ConnectionManager::new(bus, self.connections.clone())
            .map_err(NodeConfigError::setting)?;
        TidingsService::new(manager, self.transport.clone()).map_err(NodeConfigError::setting)?;
        Ok(())
    }
}

/// Checks the path of a directory. A directory that does not exist is created at the start.
fn check_folder(path: &Path) -> Result<(), NodeConfigError> {
    match path.metadata() {
        Ok(about) if !about.is_dir() => Err(NodeConfigError::Setting(
            format!("{} must be a directory, but is a file", path.display()).into(),
        )),
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(NodeConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

impl NodeConfig {
    /// Returns every option with its value and the source of the value, in the format of a
    /// configuration file. Passwords are left out.
    pub fn in_force(&self) -> String {
        let strangers = self.strangers();
        let mut text = String::new();
        for info in Options::all() {
            let (value, from) = match self.in_force.text(info) {
                Some((Source::Given, value)) => (value.clone(), "flag"),
                Some((Source::Variable, value)) => (value.clone(), "variable"),
                Some((Source::File, value)) => (value.clone(), "file"),
                None => match info.default(strangers) {
                    Some(value) => (value, "default"),
                    None => continue,
                },
            };
            let assignment = format!("{} = {:?}", info.name(), without_secrets(&value));
            text.push_str(&format!("{assignment:<48} # {from}\n"));
        }
        text
    }
}

/// Removes the user and password from an address. All other secrets are in files.
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
