//! What other nodes publish, taken into this node's logs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Notice};
use crate::shared::Shared;

/// Takes in what other nodes publish.
pub(crate) async fn run(shared: Arc<Shared>, broker: Arc<dyn Broker>, stop: CancellationToken) {
    let mut notices = broker.notices();
    let Some(store) = shared.store.clone() else {
        tracing::warn!("a broker without a shared store has nothing to read; it is not used");
        return;
    };
    loop {
        let notice = tokio::select! {
            notice = notices.recv() => notice,
            () = stop.cancelled() => return,
        };
        let grown = match notice {
            None => return,
            Some(Notice::Grown(announcement)) => vec![announcement.task_id],
            Some(Notice::Lost) => shared
                .tasks
                .page("", None, usize::MAX)
                .iter()
                .map(|task| task.id().clone())
                .collect(),
        };
        for task_id in grown {
            loop {
                let task = shared.task_or_new(&task_id);
                let turn = task.commit.lock().await;
                if let Err(error) = shared.catch_up(&store, &task).await {
                    tracing::warn!(%task_id, %error, "events of another node could not be read");
                }
                drop(turn);
                // Forgotten before there was anything to keep: look it up again.
                if !task.topic().lock().closed {
                    shared.forget_if_unused(&task);
                    break;
                }
            }
        }
    }
}
