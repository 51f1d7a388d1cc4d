//! Export of request spans through `tidings-otlp`, if the program has the feature `otlp`.

use tidings_node::{NodeConfig, NodeConfigError};
use tracing_subscriber::{Layer, Registry};

use crate::failure::Failure;

/// The running export, if one is configured.
#[derive(Default)]
pub(crate) struct Export(#[cfg(feature = "otlp")] Option<tidings_otlp::Export>);

/// Checks that this program can export spans if the configuration asks for it.
pub(crate) fn available(config: &NodeConfig) -> Result<(), NodeConfigError> {
    let Some(to) = config.otlp.as_ref().filter(|_| cfg!(not(feature = "otlp"))) else {
        return Ok(());
    };
    Err(NodeConfigError::Setting(
        format!(
            "--otlp: nothing can be sent to {to}, for this program was built without it; \
             build it with --features otlp"
        )
        .into(),
    ))
}

impl Export {
    pub(crate) fn start(config: &mut NodeConfig) -> Result<Self, Failure> {
        available(config)?;
        #[cfg(feature = "otlp")]
        if let Some(to) = &config.otlp {
            let started = tidings_otlp::Export::start(to);
            let export = started.map_err(|error| NodeConfigError::Setting(Box::new(error)))?;
            config.transport.request_spans = export.spans();
            return Ok(Self(Some(export)));
        }
        Ok(Self::default())
    }

    pub(crate) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        #[cfg(feature = "otlp")]
        return self.0.as_ref().map(|export| Box::new(export.layer()) as _);
        #[cfg(not(feature = "otlp"))]
        None
    }

    pub(crate) async fn stop(self) {
        #[cfg(feature = "otlp")]
        if let Some(export) = self.0 {
            export.stop().await;
        }
    }
}
