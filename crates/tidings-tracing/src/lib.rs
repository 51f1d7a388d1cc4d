//! What a program says through [`tracing`] about its work, as a Tidings task.
//!
//! ```no_run
//! use tidings_client::Client;
//! use tidings_tracing::TaskLayer;
//! use tracing_subscriber::layer::SubscriberExt as _;
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:8000")?;
//! tracing_subscriber::registry()
//!     .with(TaskLayer::new(client.clone()))
//!     .init();
//!
//! let task = tracing::info_span!("render", tidings.task = "render-7");
//! let _inside = task.enter();
//! let step = tracing::info_span!("lighting").entered();
//! tracing::info!(progress = 40.0, "two lamps are set");
//! drop(step);
//! # Ok(())
//! # }
//! ```
//!
//! A span with the field `tidings.task` is a task: it starts when the span is
//! made and is completed when it closes; if an event at the level `ERROR` was
//! its last word, it has failed. Spans inside it are steps. Events inside it
//! are lines of its log, and one with a field `progress` (per cent) is progress.
//! Spans and events outside of any such span are nobody's business here.
//!
//! Nothing waits: events go into the client's bounded buffer, and what does not
//! fit there is dropped with the client's policy. The client's own events are
//! left out, or it would report that it reports.
//!
//! What it is not: a logger. Its neighbour is `tidings-client`.

use std::fmt;

use tidings_client::Client;
use tidings_client::protocol::{Data, EventType, NewEvent, TaskError, TaskId};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// The field that makes a span a task.
const TASK: &str = "tidings.task";

/// What the client and its libraries say of themselves.
const OWN: [&str; 4] = [
    "tidings_client",
    "tungstenite",
    "tokio_tungstenite",
    "rustls",
];

/// Reports spans and events through a client.
#[derive(Debug, Clone)]
pub struct TaskLayer {
    client: Client,
}

impl TaskLayer {
    /// A layer that reports through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn send(&self, task: &TaskId, event: NewEvent) {
        // There is nobody to tell: a log of it would come back here.
        let _ = self.client.send(task, event).map(drop);
    }
}

/// What a span is to the layer.
enum Role {
    Task {
        id: TaskId,
        /// What the last event said, if it was an error.
        error: Option<String>,
    },
    Step {
        task: TaskId,
    },
}

impl Role {
    fn task(&self) -> &TaskId {
        match self {
            Self::Task { id, .. } => id,
            Self::Step { task } => task,
        }
    }
}

impl<S> Layer<S> for TaskLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| !is_own(span.metadata())) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = span.name();
        let role = match fields.task.as_deref().map(TaskId::new) {
            Some(Ok(task)) => {
                self.send(&task, NewEvent::task_started(name));
                Role::Task {
                    id: task,
                    error: None,
                }
            }
            // A name that no task can have, or none: a part of what is around it.
            Some(Err(_)) | None => {
                let Some(task) = span.parent().and_then(|parent| nearest(&parent)) else {
                    return;
                };
                self.send(&task, NewEvent::step_started(step_id(id), name));
                Role::Step { task }
            }
        };
        span.extensions_mut().insert(role);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_own(event.metadata()) {
            return;
        }
        let Some(span) = context.event_span(event) else {
            return;
        };
        let Some(task) = nearest(&span) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let failed = (level == Level::ERROR).then(|| fields.text.clone());
        for around in span.scope() {
            if let Some(Role::Task { error, .. }) = around.extensions_mut().get_mut::<Role>() {
                *error = failed;
                break;
            }
        }
        let text = Some(fields.text.as_str()).filter(|text| !text.is_empty());
        let reported = match fields.progress {
            Some(percent) => NewEvent::progress(percent, text),
            None => log(&fields.text, level),
        };
        self.send(&task, reported);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let role = span.extensions_mut().remove::<Role>();
        match role {
            Some(Role::Task { id, error: None }) => {
                self.send(&id, NewEvent::task_completed(None));
            }
            Some(Role::Task {
                id,
                error: Some(error),
            }) => self.send(&id, NewEvent::task_failed(TaskError::new(error))),
            Some(Role::Step { task }) => {
                self.send(&task, NewEvent::step_completed(step_id(&id), None));
            }
            None => {}
        }
    }
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    OWN.iter().any(|own| target.starts_with(own))
}

/// The task of the nearest span that belongs to one, this one included.
fn nearest<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<TaskId> {
    span.scope().find_map(|around| {
        around
            .extensions()
            .get::<Role>()
            .map(|role| role.task().clone())
    })
}

fn step_id(id: &Id) -> String {
    format!("span-{}", id.into_u64())
}

fn log(text: &str, level: Level) -> NewEvent {
    let level = level.as_str().to_ascii_lowercase();
    let data = [("message", text), ("level", level.as_str())];
    let data: std::collections::BTreeMap<_, _> = data.into_iter().collect();
    let data = Data::from_serialize(&data).expect("an object of two texts");
    NewEvent::new(EventType::Log, data)
}

/// The fields of a span or an event, as far as they matter.
#[derive(Debug, Default)]
struct Fields {
    /// The message, and the other fields behind it as `key=value`.
    text: String,
    task: Option<String>,
    progress: Option<f64>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;

        // Writing to a `String` does not fail.
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.text);
            write!(self.text, "{value:?}{rest}")
        } else {
            write!(self.text, " {}={value:?}", field.name())
        };
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TASK {
            self.task = Some(value.to_owned());
        } else if field.name() == "message" {
            self.add(field, &format_args!("{value}"));
        } else {
            self.add(field, &value);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "progress" {
            self.progress = Some(value);
        } else {
            self.add(field, &value);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "progress" {
            self.progress = Some(value as f64);
        } else {
            self.add(field, &value);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "progress" {
            self.progress = Some(value as f64);
        } else {
            self.add(field, &value);
        }
    }
}
