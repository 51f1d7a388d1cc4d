//! Stands for `otlp` in a program that was built without it.

use std::convert::Infallible;
use std::sync::Arc;

use tidings_node::NodeConfigError;
use tidings_node::value::Collector;
use tidings_transport::RequestSpans;
use tracing_subscriber::{Layer, Registry};

use crate::failure::Failure;

/// A way to a collector, which there is none here.
pub(crate) struct Export(Infallible);

/// Whether this program can: no.
pub(crate) fn available(to: &Collector) -> Result<Infallible, Failure> {
    let why = format!(
        "--otlp: nothing can be sent to {}, for this program was built without it; \
         build it with --features otlp",
        to.traces()
    );
    Err(NodeConfigError::Setting(why.into()).into())
}

impl Export {
    pub(crate) fn start(to: &Collector) -> Result<Self, Failure> {
        available(to).map(Self)
    }

    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        match self.0 {}
    }

    pub(crate) fn spans(&self) -> Arc<dyn RequestSpans> {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "the other one waits")]
    pub(crate) async fn stop(self) {
        match self.0 {}
    }
}
