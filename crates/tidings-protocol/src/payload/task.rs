//! Payloads about a task's start and its end.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Broken, Check, check_amount};
use crate::{Json, TaskId};

/// The shortest lease. With a shorter one, pauses of a busy machine would look like a crash.
pub const MIN_LEASE_MS: u64 = 100;

/// The longest lease: seven days.
pub const MAX_LEASE_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// The smallest weight other than 0. Weights are counted in thousandths.
pub const MIN_WEIGHT: f64 = 0.001;

/// The largest weight. A store that counts in 64 bits then has room for the sums of 900,000
/// children.
pub const MAX_WEIGHT: f64 = 1_000_000.0;

/// Data of `task_started`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TaskStarted {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The whole amount of work, in any unit. `current` in later updates uses the same unit.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// The task that contains this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<TaskId>,
    /// How much the task weighs in its parent's progress; 1 if left out. Allowed are 0, and
    /// 0.001 to 1,000,000. Weights are rounded to thousandths.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1_000_000)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The lease in milliseconds. After one lease of silence the task stalls; after a second one it
    /// fails.
    #[cfg_attr(feature = "schema", schemars(range(min = 100, max = 604_800_000)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

impl Check for TaskStarted {
    fn check(&self) -> Result<(), Broken> {
        check_amount("total", self.total)?;
        // This form of the condition also refuses NaN.
        if let Some(weight) = self.weight
            && weight != 0.0
            && !(MIN_WEIGHT..=MAX_WEIGHT).contains(&weight)
        {
            return Err(Broken {
                field: "weight",
                expected: "0, or a number from 0.001 to 1000000",
            });
        }
        match self.lease_ms {
            Some(lease_ms) if !(MIN_LEASE_MS..=MAX_LEASE_MS).contains(&lease_ms) => Err(Broken {
                field: "lease_ms",
                expected: "100 to 604800000 milliseconds (7 days)",
            }),
            _ => Ok(()),
        }
    }
}

/// Data of `task_completed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TaskCompleted {
    /// The result of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
}

impl Check for TaskCompleted {}

/// Data of `task_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TaskFailed {
    /// Why the task failed.
    pub error: TaskError,
}

impl Check for TaskFailed {}

/// Data of `task_cancelled`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TaskCancelled {
    /// Why the task was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Check for TaskCancelled {}

/// Why a task, a step or a tool call failed.
///
/// The JSON form is `{code?, message}`. Plain text is read as the message.
///
/// ```
/// use tidings_protocol::TaskError;
///
/// let error: TaskError = serde_json::from_str(r#""disk full""#)?;
/// assert_eq!(error, TaskError::new("disk full"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskError {
    /// A short name for the kind of failure, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A description for people.
    pub message: String,
}

impl TaskError {
    /// Creates an error without a code.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: None,
            message: message.into(),
        }
    }

    /// Sets the code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Creates the error that the bus gives a task whose lease has expired for good.
    pub fn lost() -> Self {
        Self::new("nothing was heard within twice the task's lease").with_code("lost")
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<&str> for TaskError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for TaskError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl<'de> Deserialize<'de> for TaskError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            code: Option<String>,
            message: String,
        }

        struct ErrorVisitor;

        impl<'de> de::Visitor<'de> for ErrorVisitor {
            type Value = TaskError;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an error `{code?, message}` or its message as text")
            }

            fn visit_str<E: de::Error>(self, message: &str) -> Result<TaskError, E> {
                Ok(TaskError::new(message))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TaskError, A::Error> {
                let Wire { code, message } = Wire::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TaskError { code, message })
            }
        }

        deserializer.deserialize_any(ErrorVisitor)
    }
}

#[cfg(feature = "schema")]
crate::schema::custom!(TaskError, {
    "description": "Why it failed. Plain text is read as the message.",
    "anyOf": [
        { "type": "string" },
        {
            "type": "object",
            "properties": { "code": { "type": ["string", "null"] }, "message": { "type": "string" } },
            "required": ["message"]
        }
    ]
});
