//! Logging: the target, the format and the filter of log lines.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::NodeConfig;
use crate::value::{Log, LogFormat};

/// The filter of log lines, which can be replaced while the program runs.
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

/// Starts logging to standard error. Call it once in a process. `more` receives every span, even if
/// the filter excludes it. Use it, for example, to export the spans of requests.
///
/// A program with its own subscriber does not call this.
///
/// ```no_run
/// use tidings_node::{NodeConfig, Options, logging};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = NodeConfig::load(Options::default())?;
/// let filter = logging::start(&config, None);
/// let config = config.log_filter(filter);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Panics if the process already has a subscriber.
pub fn start(
    config: &NodeConfig,
    more: Option<Box<dyn Layer<Registry> + Send + Sync>>,
) -> LogFilter {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // Otherwise a closed pipe at standard error would cause a panic.
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
    // A reload fails only if the subscriber is gone, and this subscriber is never dropped.
    LogFilter(Arc::new(move |filter| _ = handle.reload(filter)))
}
