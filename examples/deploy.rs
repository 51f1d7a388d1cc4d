//! A deploy script that asks a person before it goes on.
//!
//! ```text
//! cargo run -p tidings-server
//! cargo run --example deploy
//! ```
//!
//! Answer on the task's page, <http://127.0.0.1:8000/tasks/deploy-7>, or from a terminal:
//! `tidings get deploy-7` shows the question's id, and `tidings answer deploy-7 ID :=true` answers.
//! The first argument is the task's id.

use std::time::Duration;

use serde_json::json;
use tidings::client::{BoxError, Client};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::var("TIDINGS_URL").unwrap_or_else(|_| "http://127.0.0.1:8000".to_owned());
    let id = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "deploy-7".to_owned());
    let client = Client::connect(url).await?;
    let deployed = client
        .task(id.as_str())
        .name("Deploy version 7")
        .run(|task| async move {
            task.progress(20.0, "all tests pass");
            let schema = json!({ "type": "boolean" });
            let go = task.ask("Deploy version 7 to production?", schema).await?;
            println!("{} answered {}", go.by, go.value);
            if go.value != true {
                return Err(format!("{} does not want this version", go.by).into());
            }
            let schema = json!({ "type": "integer", "minimum": 1, "maximum": 5 });
            let replicas = task.ask("How many replicas?", schema).await?;
            println!("{} answered {}", replicas.by, replicas.value);
            let all = replicas.value.as_u64().unwrap_or(1);
            for replica in 1..=all {
                task.progress(
                    20.0 + 80.0 * replica as f64 / all as f64,
                    format!("replica {replica} of {all} runs").as_str(),
                );
            }
            Ok(json!({ "replicas": all, "approved_by": go.by }))
        })
        .await;
    client.close(Duration::from_secs(5)).await;
    println!("deployed: {}", deployed?);
    Ok(())
}
