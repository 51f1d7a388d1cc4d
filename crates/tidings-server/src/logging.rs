//! Where log lines go, how they look, and which there are.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, reload};

use crate::otlp::Export;
use crate::value::{Log, LogFormat};

/// Which lines there are; it can be exchanged.
pub(crate) struct Filter(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Filter {
    pub(crate) fn set(&self, log: &Log) {
        (self.0)(log.filter());
    }
}

/// Logs to standard error from now on, once in a process; spans of requests go
/// where they are exported to, whatever is logged.
pub(crate) fn start(log: &Log, format: LogFormat, export: Option<&Export>) -> Filter {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // It would panic where standard error is a pipe that nobody reads any more.
        .log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    let (filter, handle) = reload::Layer::new(log.filter());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(export.map(Export::layer))
        .init();
    // What cannot be reloaded is a subscriber that is gone, and this one stays.
    Filter(Box::new(move |filter| _ = handle.reload(filter)))
}
