//! A worker and a watcher of a remote server. Ctrl-C, or the command `cancel`, cancels the work.
//!
//! ```text
//! cargo run -p tidings-server
//! cargo run --example client
//! tidings command render-7 cancel
//! ```

use std::time::Duration;

use tidings::client::protocol::Target;
use tidings::client::{BoxError, Client, Update};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::var("TIDINGS_URL").unwrap_or_else(|_| "http://127.0.0.1:8000".to_owned());
    let client = Client::connect(url).await?;
    let mut watch = client.watch("render-7".parse::<Target>()?);
    tokio::spawn(async move {
        while let Ok(Some(update)) = watch.recv().await {
            if let Update::Event(event) = update {
                println!("{} {}", event.event_type, event.data);
            }
        }
    });

    let work = client
        .task("render-7")
        .name("Render")
        .run(|task| async move {
            for frame in 1..=10 {
                task.progress_of(f64::from(frame), 10.0, "rendering");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(10)
        });
    let stopping = client.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // Cancel the work, and wait until the server knows about it.
            stopping.close(Duration::from_secs(5)).await;
        }
    });
    println!("{} frames", work.await?);
    client.close(Duration::from_secs(5)).await;
    Ok(())
}
