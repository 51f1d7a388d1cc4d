//! Where log lines go, how they look, and which there are.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::value::{Log, LogFormat};

/// Which lines there are; it can be exchanged.
pub(crate) struct Filter(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Filter {
    pub(crate) fn set(&self, log: &Log) {
        (self.0)(log.filter());
    }
}

/// Logs to standard error from now on, once in a process.
pub(crate) fn start(log: &Log, format: LogFormat) -> Filter {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(log.filter())
        .with_writer(io::stderr)
        // It would panic where standard error is a pipe that nobody reads any more.
        .log_internal_errors(false);
    // What cannot be reloaded is a subscriber that is gone, and this one stays.
    match format {
        LogFormat::Text => {
            let builder = builder
                .with_ansi(io::stderr().is_terminal())
                .with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Filter(Box::new(move |filter| _ = handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Filter(Box::new(move |filter| _ = handle.reload(filter)))
        }
    }
}
