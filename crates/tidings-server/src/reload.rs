//! SIGHUP: what can change while the server runs is read again.

use tidings_transport::TidingsService;

use crate::auth::Keys;
use crate::config::Settings;
use crate::failure::chain;
use crate::limits::limits;
use crate::logging::Filter;
use crate::options::Options;
use crate::signals::Hangup;

/// The options that another value takes effect of at once. Keys and certificates
/// are read again too, from the files that the server was started with.
const CHANGEABLE: [&str; 10] = [
    "log",
    "allow-origin",
    "address-connections",
    "subject-connections",
    "handshake-rate",
    "message-rate",
    "byte-rate",
    "client-message-rate",
    "client-byte-rate",
    "client-task-rate",
];

/// Those of them that only work if connections were counted from the start.
const COUNTED: [&str; 2] = ["address-connections", "subject-connections"];

/// What is read again, and what it changes.
pub(crate) struct Reload {
    /// Flags and variables, which cannot change.
    pub(crate) given: Options,
    /// Those, with the file as it was when it was read last.
    pub(crate) in_force: Options,
    /// Whether there were strangers at the start: who may come in, and where
    /// from, does not change.
    pub(crate) strangers: bool,
    pub(crate) filter: Filter,
    pub(crate) service: TidingsService,
    pub(crate) keys: Option<Keys>,
}

impl Reload {
    /// Reads again at every SIGHUP.
    pub(crate) async fn follow(mut self, mut hangup: Hangup) {
        loop {
            hangup.recv().await;
            if let Some(keys) = &self.keys {
                keys.read_again();
            }
            self.read_again();
        }
    }

    /// All of it or nothing: a file with a mistake changes nothing.
    fn read_again(&mut self) {
        let settings = match Settings::load(self.given.clone()) {
            Ok(settings) => settings,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "the configuration stays as it was");
                return;
            }
        };
        let (changed, kept): (Vec<_>, Vec<_>) = self
            .in_force
            .changed(&settings.in_force)
            .into_iter()
            .partition(|name| self.can_change(name));
        let origins = settings.transport.allowed_origins.clone();
        if let Err(error) = self.service.set_allowed_origins(origins) {
            tracing::warn!(%error, "the configuration stays as it was");
            return;
        }
        let limits = limits(&settings.in_force, self.strangers);
        self.service.manager().set_limits(limits);
        self.filter.set(&settings.log);
        if !kept.is_empty() {
            let options = kept.join(", ");
            tracing::warn!(options, "these options only change with a restart");
        }
        let options = changed.join(", ");
        tracing::info!(options, "the configuration was read again");
        self.in_force = settings.in_force;
    }

    fn can_change(&self, name: &str) -> bool {
        let limits = self.service.manager().config().limits;
        let counting =
            limits.connections_per_address.is_some() || limits.connections_per_subject.is_some();
        CHANGEABLE.contains(&name) && (counting || !COUNTED.contains(&name))
    }
}
