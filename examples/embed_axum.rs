//! Tidings in an axum router, next to your own routes.
//!
//! `TidingsService` is a tower service, so the router uses it as its fallback. It answers every
//! request that has no route of your own. It runs until Ctrl-C.
//!
//! ```text
//! cargo run --example embed_axum
//! curl -X POST http://127.0.0.1:8000/builds/7
//! curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:8000/api/tasks/build-7/events?since=0'
//! ```

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use tidings::{BusConfig, ConnectionManager, ConnectionsConfig, EventBus, NewEvent};
use tidings::{PublishError, TaskId, TidingsService, TransportConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new(BusConfig::default())?;
    let manager = ConnectionManager::new(bus.clone(), ConnectionsConfig::default())?;
    let tidings = TidingsService::new(manager, TransportConfig::default())?;
    // Event streams and WebSockets, which are no requests any more, are told when to
    // come back.
    let stop = CancellationToken::new();
    let drained = tidings.drain_on(stop.clone(), Duration::from_secs(1));

    let app = Router::new()
        .route("/builds/{number}", post(start_build))
        .with_state(bus.clone())
        .fallback_service(tidings);

    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stopping = async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopping)
        .await?;
    drained.await;
    bus.shutdown().await;
    Ok(())
}

/// Your own route: starts the work and answers at once where to watch it.
async fn start_build(
    State(bus): State<EventBus>,
    Path(number): Path<u32>,
) -> Result<(StatusCode, String), (StatusCode, String)> {
    let id = format!("build-{number}");
    let task: TaskId = id
        .parse()
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    // The bus refuses a second start of a running build.
    bus.publish(&task, NewEvent::task_started(format!("Build {number}")))
        .await
        .map_err(|error| (StatusCode::CONFLICT, format!("{error}\n")))?;
    tokio::spawn(async move {
        if let Err(error) = build(&bus, &task).await {
            eprintln!("{task}: {error}");
        }
    });
    Ok((
        StatusCode::ACCEPTED,
        format!("watch it at /ws/tasks/{id}\n"),
    ))
}

async fn build(bus: &EventBus, task: &TaskId) -> Result<(), PublishError> {
    for (percent, step) in [(20.0, "fetching"), (60.0, "compiling"), (90.0, "linking")] {
        bus.publish(task, NewEvent::progress(percent, step)).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bus.publish(task, NewEvent::task_completed(None)).await?;
    Ok(())
}
