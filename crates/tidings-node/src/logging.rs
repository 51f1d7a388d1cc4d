//! Where log lines go, how they look, and which there are.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::NodeConfig;
use crate::value::{Log, LogFormat};

/// Which lines there are; it can be exchanged.
#[derive(Clone)]
pub struct LogFilter(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogFilter(..)")
    }
}

impl LogFilter {
    pub(crate) fn set(&self, log: &Log) {
        (self.0)(log.filter());
    }
}

/// Logs to standard error from now on, once in a process. `more` gets every span,
/// whatever is logged: a layer that exports those of requests, for example.
///
/// A host with a subscriber of its own does not call this.
///
/// # Panics
/// The process has a subscriber already.
pub fn start(
    config: &NodeConfig,
    more: Option<Box<dyn Layer<Registry> + Send + Sync>>,
) -> LogFilter {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // It would panic where standard error is a pipe that nobody reads any more.
        .log_internal_errors(false);
    let lines = match config.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    let (filter, handle) = reload::Layer::new(config.log.filter());
    tracing_subscriber::registry()
        .with(more)
        .with(lines.with_filter(filter))
        .init();
    // What cannot be reloaded is a subscriber that is gone, and this one stays.
    LogFilter(Arc::new(move |filter| _ = handle.reload(filter)))
}
