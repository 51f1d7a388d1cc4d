//! Methods with which a producer inside the process publishes standard events.

use serde_json::Value;
use tidings_protocol::{AgentStatus, NewEvent, TaskError, TaskId};

use super::EventBus;
use crate::publish::error::{PublishError, Published};

/// Each of these methods publishes one standard event. See [`EventBus::publish`] for errors.
impl EventBus {
    /// Publishes a `task_started` event.
    pub async fn task_started(
        &self,
        task_id: &TaskId,
        name: &str,
    ) -> Result<Published, PublishError> {
        self.publish(task_id, NewEvent::task_started(name)).await
    }

    /// Publishes a `progress_update` in per cent (0–100).
    pub async fn progress(
        &self,
        task_id: &TaskId,
        percent: f64,
        message: &str,
    ) -> Result<Published, PublishError> {
        self.publish(task_id, NewEvent::progress(percent, message))
            .await
    }

    /// Publishes a `task_completed` event.
    pub async fn task_completed(
        &self,
        task_id: &TaskId,
        result: Option<Value>,
    ) -> Result<Published, PublishError> {
        self.publish(task_id, NewEvent::task_completed(result))
            .await
    }

    /// Publishes a `task_failed` event.
    pub async fn task_failed(
        &self,
        task_id: &TaskId,
        error: TaskError,
    ) -> Result<Published, PublishError> {
        self.publish(task_id, NewEvent::task_failed(error)).await
    }

    /// Publishes an `agent_status_change` event.
    pub async fn agent_status(
        &self,
        task_id: &TaskId,
        agent_id: &str,
        status: AgentStatus,
        message: Option<&str>,
    ) -> Result<Published, PublishError> {
        self.publish(task_id, NewEvent::agent_status(agent_id, status, message))
            .await
    }

    /// Publishes a `tool_call_started` event.
    pub async fn tool_call_started(
        &self,
        task_id: &TaskId,
        tool_call_id: &str,
        tool: &str,
        input: Option<Value>,
    ) -> Result<Published, PublishError> {
        self.publish(
            task_id,
            NewEvent::tool_call_started(tool_call_id, tool, input),
        )
        .await
    }

    /// Publishes a `tool_call_completed` event.
    pub async fn tool_call_completed(
        &self,
        task_id: &TaskId,
        tool_call_id: &str,
        output: Option<Value>,
        duration_ms: Option<u64>,
    ) -> Result<Published, PublishError> {
        let event = NewEvent::tool_call_completed(tool_call_id, output, duration_ms);
        self.publish(task_id, event).await
    }

    /// Publishes a `tool_call_failed` event.
    pub async fn tool_call_failed(
        &self,
        task_id: &TaskId,
        tool_call_id: &str,
        error: TaskError,
    ) -> Result<Published, PublishError> {
        self.publish(task_id, NewEvent::tool_call_failed(tool_call_id, error))
            .await
    }
}
