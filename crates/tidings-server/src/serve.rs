//! `tidings serve`: a node, until a signal.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tidings_bus::EventBus;
use tidings_node::{Node, NodeConfig, logging};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::otlp::Export;
use crate::signals;

/// Serves until a signal.
pub(crate) fn run(config: NodeConfig) -> Result<(), Failure> {
    block_on(async {
        Instance::start(config).await?.run().await;
        Ok(())
    })
}

/// Runs `main` on a runtime.
pub(crate) fn block_on(main: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(Failure::System)?.block_on(main)
}

/// A node that listens, and what the program has around it.
pub(crate) struct Instance {
    node: Node,
    /// Cancelled when the server is to stop.
    pub(crate) drain: CancellationToken,
    export: Option<Export>,
}

impl Instance {
    /// Starts logging and the node, and says on standard output where it listens.
    pub(crate) async fn start(mut config: NodeConfig) -> Result<Self, Failure> {
        let export = config.otlp.as_ref().map(Export::start).transpose()?;
        let layer = export.as_ref().map(Export::layer);
        config.log_filter = Some(logging::start(&config.log, config.log_format, layer));
        if let Some(export) = &export {
            config.transport = config.transport.request_spans(export.spans());
        }
        let drain = CancellationToken::new();
        signals::install(drain.clone()).map_err(Failure::System)?;
        let mut hangup = signals::hangup().map_err(Failure::System)?;
        let node = Node::start(config).await?;
        let reload = node.reload_handle();
        tokio::spawn(async move {
            loop {
                hangup.recv().await;
                // What came of it is logged.
                let _ = reload.reload();
            }
        });
        announce(node.addr(), node.is_secured());
        Ok(Self {
            node,
            drain,
            export,
        })
    }

    pub(crate) fn bus(&self) -> EventBus {
        self.node.bus().clone()
    }

    /// Serves until the drain has been asked for and is done.
    pub(crate) async fn run(self) {
        let stopped = self.node.run(self.drain).await;
        if let Some(export) = self.export {
            export.stop().await;
        }
        tracing::info!(
            aborted = stopped.aborted,
            stopped = stopped.in_order,
            "stopped"
        );
    }
}

/// Says where the server is and where to look.
fn announce(addr: SocketAddr, tls: bool) {
    // What cannot be connected to is listened on all the same: show a way in.
    let host = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let near = SocketAddr::new(host, addr.port());
    let (http, ws) = if tls {
        ("https", "wss")
    } else {
        ("http", "ws")
    };
    let text = format!(
        "\
listening on {http}://{addr}

Dashboard        {http}://{near}/
Watch a task     {ws}://{near}/ws/tasks/test_001
  as a stream    curl -N -H 'Accept: text/event-stream' {http}://{near}/api/tasks/test_001/events
Publish to it    curl -d '{{\"event_type\":\"task_started\",\"data\":{{\"name\":\"A test\"}}}}' {http}://{near}/api/tasks/test_001/events
See all tasks    curl {http}://{near}/api/tasks
API              {http}://{near}/api/openapi.json
"
    );
    let mut out = io::stdout().lock();
    // The server serves just as well when nobody reads this.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
