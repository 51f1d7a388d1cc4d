//! Spans of requests, sent by `tidings-otlp`.

use std::sync::Arc;

use tidings_node::NodeConfigError;
use tidings_node::value::Collector;
use tidings_transport::RequestSpans;
use tracing_subscriber::{Layer, Registry};

use crate::failure::Failure;

/// The way to a collector.
pub(crate) struct Export(tidings_otlp::Export);

/// Whether this program can: yes.
pub(crate) fn available(_: &Collector) -> Result<(), Failure> {
    Ok(())
}

impl Export {
    pub(crate) fn start(to: &Collector) -> Result<Self, Failure> {
        let started = tidings_otlp::Export::start(&to.traces());
        let started = started.map_err(|error| NodeConfigError::Setting(Box::new(error)))?;
        Ok(Self(started))
    }

    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        Box::new(self.0.layer())
    }

    pub(crate) fn spans(&self) -> Arc<dyn RequestSpans> {
        self.0.spans()
    }

    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}
