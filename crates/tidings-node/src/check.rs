//! Would a node start with this configuration, and what is in force?

use std::io;
use std::path::Path;

use tidings_bus::EventBus;
use tidings_connections::ConnectionManager;
use tidings_transport::TidingsService;

use crate::config::NodeConfig;
use crate::error::NodeConfigError;
use crate::options::{Options, Source};

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

impl NodeConfig {
    /// Returns every option with its value and where that is from, as a file would
    /// have it. Passwords are left out.
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
