//! Tidings on your own accept loop, with hyper.
//!
//! `TidingsService` is a hyper service, and `with_upgrades` allows WebSockets. It runs until
//! Ctrl-C.
//!
//! ```text
//! cargo run --example embed_hyper
//! cargo run --example embed_hyper 127.0.0.1:9000
//! ```

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings::transport::PeerAddr;
use tidings::{BusConfig, ConnectionManager, ConnectionsConfig, EventBus, NewEvent};
use tidings::{TaskId, TidingsService, TransportConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new(BusConfig::default())?;
    let manager = ConnectionManager::new(bus.clone(), ConnectionsConfig::default())?;
    let service = TidingsService::new(manager.clone(), TransportConfig::default())?;

    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    println!("listening on http://{addr}");
    println!("watch: curl -N -H 'Accept: text/event-stream' http://{addr}/api/tasks/clock/events");
    tokio::spawn(tick(bus.clone()));

    let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted?,
            signal = tokio::signal::ctrl_c() => { signal?; break }
        };
        // Events are small, and must not wait for more data to fill a packet.
        stream.set_nodelay(true)?;
        let service = service.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            // `GET /api/connections` shows this address.
            request.extensions_mut().insert(PeerAddr(peer));
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        let stop = stop.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                eprintln!("{peer}: {error}");
            }
        });
    }
    // Watchers are told when to reconnect. Then running requests may finish.
    stop.cancel();
    connections.close();
    let drain = async { tokio::join!(manager.drain(Duration::from_secs(1)), connections.wait()) };
    let _ = tokio::time::timeout(Duration::from_secs(5), drain).await;
    bus.shutdown().await;
    Ok(())
}

/// Publishes something to watch.
async fn tick(bus: EventBus) -> Result<(), Box<dyn Error + Send + Sync>> {
    let task: TaskId = "clock".parse()?;
    bus.publish(&task, NewEvent::task_started("Clock")).await?;
    for second in 1.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bus.publish(&task, NewEvent::log(format!("{second} s")))
            .await?;
    }
    Ok(())
}
