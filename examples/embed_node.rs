//! A whole node, with a route of the program's own. Any option of the server works:
//!
//! ```text
//! TIDINGS_DATA_DIR=data cargo run --example embed_node
//! curl -X POST http://127.0.0.1:8000/builds/7
//! ```

use axum::extract::{Path, State};
use axum::{Router, http::StatusCode, routing::post};
use tidings::node::Options;
use tidings::{EventBus, NewEvent, Node, NodeConfig, TaskId};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::from_env(&[])?;
    if let Some(addr) = std::env::args().nth(1) {
        options.set("listen", addr)?;
    }
    let routes = |bus| {
        Router::new()
            .route("/builds/{number}", post(start_build))
            .with_state(bus)
    };
    let config = NodeConfig::load(options)?.mount("/builds", routes);
    let node = Node::start(config).await?;
    println!("listening on {}", node.url());
    let stop = CancellationToken::new();
    let drain = stop.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stop.cancel()) });
    node.run(drain).await;
    Ok(())
}

/// Starts a task. Its watchers see that.
async fn start_build(State(bus): State<EventBus>, Path(number): Path<u32>) -> StatusCode {
    let task: TaskId = format!("build-{number}").parse().expect("an id");
    match bus.publish(&task, NewEvent::task_started("Build")).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::CONFLICT,
    }
}
