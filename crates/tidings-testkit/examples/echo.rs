//! An echo server that uses the sockets, parser and writer of a session. Test suites of RFC 6455,
//! such as Autobahn's, connect to it. It runs until Ctrl-C.
//!
//! ```text
//! cargo run --release -p tidings-testkit --example echo 127.0.0.1:9001
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    reason = "a program that prints"
)]

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{ConnectionManager, ConnectionsConfig};
use tidings_transport::{Origins, TidingsService, TransportConfig, WEBSOCKET};
use tokio::net::TcpListener;

/// Suites send messages of up to 16 MiB, and expect them back.
const LARGEST: usize = 32 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let connections = ConnectionsConfig::default()
        .max_message_bytes(LARGEST)
        .max_pending_answers(2 * LARGEST)
        // A suite does not expect additional frames.
        .heartbeat_interval(Duration::from_secs(24 * 3600));
    let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET))?;
    let manager = ConnectionManager::new(bus, connections)?;
    let transport = TransportConfig::default().allowed_origins(Origins::Any);
    let service = TidingsService::new(manager, transport)?;

    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted?,
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
        };
        stream.set_nodelay(true)?;
        let service = service.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let response = service.echo(request);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}
