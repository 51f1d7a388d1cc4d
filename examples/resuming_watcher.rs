//! A watcher that loses its connection and misses nothing.
//!
//! It remembers the position of the last event, reconnects after a growing pause, and continues
//! with `since=`. With `TIDINGS_URL` it watches a task on that server. Otherwise it starts its own
//! server and restarts it once. It ends when the task has ended, or on Ctrl-C.
//!
//! ```text
//! cargo run --example resuming_watcher
//! TIDINGS_URL=ws://127.0.0.1:8000 cargo run --example resuming_watcher test_001
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::StreamExt;
use tidings::protocol::{ControlMessage, Epoch, ServerMessage};
use tidings::{BusConfig, ConnectionManager, ConnectionsConfig, EventBus, NewEvent, Position};
use tidings::{PublishError, Server, TaskId, TidingsService, TransportConfig};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// The first and the longest pause before another attempt.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let task: TaskId = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("test_001")
        .parse()?;
    let url = match std::env::var("TIDINGS_URL") {
        Ok(url) => url,
        Err(_) => start_server(task.clone()).await?,
    };
    tokio::select! {
        () = watch(&url, &task) => Ok(()),
        stop = tokio::signal::ctrl_c() => Ok(stop?),
    }
}

/// Watches until the task has ended, over as many connections as necessary.
async fn watch(url: &str, task: &TaskId) {
    let mut seen: Option<Position> = None;
    let mut pause = PAUSE.0;
    loop {
        // `since=0` starts with all retained events.
        let since = seen
            .as_ref()
            .map_or_else(|| "0".to_owned(), ToString::to_string);
        println!("connecting, since={since}");
        match follow(
            &format!("{url}/ws/tasks/{task}?since={since}"),
            &mut seen,
            &mut pause,
        )
        .await
        {
            Ok(ControlFlow::Break(())) => return,
            Ok(ControlFlow::Continue(())) => println!("the connection has ended"),
            Err(error) => println!("the connection broke: {error}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Follows one connection. Breaks when the task has ended.
async fn follow(
    url: &str,
    seen: &mut Option<Position>,
    pause: &mut Duration,
) -> Result<ControlFlow<()>, Box<dyn Error>> {
    let (mut stream, _) = connect_async(url).await?;
    let mut epoch: Option<Epoch> = None;
    while let Some(message) = stream.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        match ServerMessage::decode(&text)? {
            ServerMessage::Event(event) => {
                println!("{:>4} {} {}", event.offset, event.event_type, event.data);
                *pause = PAUSE.0;
                *seen = epoch
                    .clone()
                    .map(|epoch| Position::new(epoch, event.offset));
                let end = ["task_completed", "task_failed", "task_cancelled"];
                if end.contains(&event.event_type.as_str()) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            ServerMessage::Control { message, .. } => match message {
                ControlMessage::ConnectionEstablished {
                    task: Some(joined), ..
                } => {
                    println!("connected; nothing missing: {}", joined.recovered);
                    epoch = Some(joined.epoch);
                }
                ControlMessage::Gap { gap, snapshot, .. } => {
                    println!(
                        "     {} to {} will not come: {}",
                        gap.from, gap.to, gap.reason
                    );
                    // The snapshot makes up for the missing events, and may belong to a new epoch.
                    epoch = snapshot.map(|state| state.epoch.clone()).or(epoch);
                    *seen = epoch.clone().map(|epoch| Position::new(epoch, gap.to));
                }
                ControlMessage::GoingAway {
                    reason,
                    reconnect_after_ms,
                    ..
                } => {
                    println!("     going away: {reason}");
                    let after = reconnect_after_ms.map_or(*pause, Duration::from_millis);
                    // The pause must not be zero, or doubling it would have no effect.
                    *pause = after.max(PAUSE.0);
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Starts a server with one task. The server restarts once while the task continues.
async fn start_server(task: TaskId) -> Result<String, Box<dyn Error>> {
    let bus = EventBus::new(BusConfig::default())?;
    let server = bind(&bus, ([127, 0, 0, 1], 0).into())
        .await
        .map_err(|error| error.to_string())?;
    let addr = server.local_addr();
    tokio::spawn(work(bus.clone(), task));
    tokio::spawn(async move {
        let stop = CancellationToken::new();
        let (window, deadline) = (Duration::from_millis(100), Duration::from_secs(1));
        let running = tokio::spawn(server.run(stop.clone(), window, deadline));
        tokio::time::sleep(Duration::from_millis(700)).await;
        stop.cancel();
        let _ = running.await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // The bus was not restarted, so the positions are still valid.
        match bind(&bus, addr).await {
            Ok(server) => drop(server.run(CancellationToken::new(), window, deadline).await),
            Err(error) => eprintln!("the server did not come back: {error}"),
        }
    });
    Ok(format!("ws://{addr}"))
}

async fn bind(bus: &EventBus, addr: SocketAddr) -> Result<Server, Box<dyn Error + Send + Sync>> {
    let manager = ConnectionManager::new(bus.clone(), ConnectionsConfig::default())?;
    let service = TidingsService::new(manager, TransportConfig::default())?;
    Ok(Server::bind(addr, service).await?)
}

async fn work(bus: EventBus, task: TaskId) -> Result<(), PublishError> {
    bus.publish(&task, NewEvent::task_started("A test")).await?;
    for step in 1..=10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bus.publish(&task, NewEvent::progress_of(f64::from(step), 10.0, None))
            .await?;
    }
    bus.publish(&task, NewEvent::task_completed(None)).await?;
    Ok(())
}
