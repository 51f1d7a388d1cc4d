//! `tidings demo`: a server with simulated tasks to watch.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tidings_bus::{Delivery, EventBus, Filter, PublishError};
use tidings_cli::demo::{Length, Stage, StageError, simulate};
use tidings_node::NodeConfig;
use tidings_protocol::{CommandRequested, EventType, NewEvent, TaskId};

use crate::failure::Failure;
use crate::serve::serve;

/// Serves until a signal arrives or, with `once`, until all tasks have run once.
pub(crate) async fn run(config: NodeConfig, once: bool) -> Result<(), Failure> {
    let length = if once { Length::Once } else { Length::Endless };
    serve(config, |bus, stop| {
        simulate(Arc::new(OnBus(bus)), length, stop)
    })
    .await
}

/// Publishes the simulated tasks through the bus, as an embedding application does.
struct OnBus(EventBus);

#[async_trait]
impl Stage for OnBus {
    async fn publish(&self, task: &TaskId, event: NewEvent) -> Result<(), StageError> {
        match self.0.publish(task, event).await {
            Ok(_) => Ok(()),
            Err(PublishError::Closed) => Err(StageError::Closed),
            Err(error) => Err(StageError::Refused(error.into())),
        }
    }

    fn commands(&self, task: &TaskId) -> BoxStream<'static, CommandRequested> {
        let requests = Filter::from(task).event_types([EventType::CommandRequested]);
        stream::unfold(self.0.subscribe(requests), async |mut requests| {
            loop {
                // After a gap, the sender sees in the task's state that its command is still
                // pending.
                let Delivery::Event(event) = requests.recv().await? else {
                    continue;
                };
                // The bus has already checked that the data fits the event's type.
                match event.data().deserialize() {
                    Ok(request) => return Some((request, requests)),
                    Err(error) => tracing::debug!(%error, "a command could not be read"),
                }
            }
        })
        .boxed()
    }
}
