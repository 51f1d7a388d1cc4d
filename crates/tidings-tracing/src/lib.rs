//! A [`tracing`] layer that reports a program's spans and events as Tidings tasks.
//!
//! ```no_run
//! use tidings_client::Client;
//! use tidings_tracing::TaskLayer;
//! use tracing_subscriber::layer::SubscriberExt as _;
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:8000").await?;
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
//! A span with the field `tidings.task` is a task. The task starts when the span is created, or
//! when the field is recorded, and it ends when the span closes. It fails if a panic closed the
//! span, or if the last event in it had the level `ERROR`. Otherwise it completes.
//!
//! Spans inside the task's span are steps, which fail by the same rule. Events inside it are lines
//! of the task's log. A field `progress` (in per cent) of an event or a span is progress. Spans and
//! events outside of such a span are not reported.
//!
//! Nothing blocks: reports go into the client's bounded buffer. When the buffer is full, the oldest
//! log lines and progress are dropped, but there is always room for the end of the task. Events of
//! the client itself are not reported, because reporting them would create more of them.
//!
//! This crate is not a logger. Its neighbour is `tidings-client`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tidings_client::protocol::{Data, EventType, NewEvent, TaskError, TaskId};
use tidings_client::{Client, Reporter, Task};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// The field that turns a span into a task.
const TASK: &str = "tidings.task";

/// The targets of the client and of the libraries that it uses.
const OWN: [&str; 5] = [
    "tidings_client",
    "tidings_scope",
    "tungstenite",
    "tokio_tungstenite",
    "rustls",
];

/// Numbers the steps of this program, because `tracing` reuses the ids of spans.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// A layer that reports spans and events through a client.
#[derive(Debug, Clone)]
pub struct TaskLayer {
    client: Client,
}

impl TaskLayer {
    /// Creates a layer that reports through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

/// The role of a span: a task, or a step of one.
struct Role {
    reporter: Reporter,
    part: Part,
    /// The message of the last event inside the span, if it was an error.
    error: Option<String>,
}

enum Part {
    /// The task itself, which ends with the span.
    Whole(Task),
    /// A step of a task, with its id.
    Step(String),
}

impl Role {
    fn task(task: Task) -> Self {
        Self {
            reporter: task.reporter(),
            part: Part::Whole(task),
            error: None,
        }
    }

    /// Starts a step of the surrounding task or step.
    fn step(around: &Self, name: &str) -> Self {
        let id = format!("span-{}", STEPS.fetch_add(1, Ordering::Relaxed));
        let mut fields = vec![("step_id", id.as_str()), ("name", name)];
        if let Part::Step(parent) = &around.part {
            fields.push(("parent_step_id", parent));
        }
        let reporter = around.reporter.clone();
        reporter.publish(NewEvent::new(EventType::StepStarted, texts(fields)));
        Self {
            reporter,
            part: Part::Step(id),
            error: None,
        }
    }

    /// Ends the task or step, because its span closed.
    fn end(self) {
        let panics = std::thread::panicking();
        let panicked = || "the program panicked".to_owned();
        let error = self.error.or_else(|| panics.then(panicked));
        match (self.part, error) {
            // A task that is dropped during a panic reports the panic itself.
            (Part::Whole(task), _) if panics => drop(task),
            (Part::Whole(task), None) => drop(task.complete(None)),
            (Part::Whole(task), Some(error)) => drop(task.fail(error)),
            (Part::Step(id), None) => self.reporter.publish(NewEvent::step_completed(id, None)),
            (Part::Step(id), Some(error)) => {
                let error = TaskError::new(error);
                self.reporter.publish(NewEvent::step_failed(id, error));
            }
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
        self.begin(&span, &fields);
        if let Some(percent) = fields.progress {
            progress(&span, percent, None);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| !is_own(span.metadata())) else {
            return;
        };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if fields.task.is_some() {
            self.begin(&span, &fields);
        }
        if let Some(percent) = fields.progress {
            progress(&span, percent, None);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_own(event.metadata()) {
            return;
        }
        let Some(span) = context.event_span(event) else {
            return;
        };
        let Some(reporter) = nearest(&span, |role| role.reporter.clone()) else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let failed = (level == Level::ERROR).then(|| fields.text.clone());
        for around in span.scope() {
            if let Some(role) = around.extensions_mut().get_mut::<Role>() {
                role.error.clone_from(&failed);
                if matches!(role.part, Part::Whole(_)) {
                    break;
                }
            }
        }
        let text = Some(fields.text.as_str()).filter(|text| !text.is_empty());
        match fields.progress {
            Some(percent) => reporter.progress(percent, text),
            None => reporter.publish(log(&fields.text, level)),
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let role = context
            .span(&id)
            .and_then(|span| span.extensions_mut().remove::<Role>());
        if let Some(role) = role {
            role.end();
        }
    }
}

impl TaskLayer {
    /// Makes a span a task if it has the task field, or otherwise a step of the surrounding task.
    fn begin<'a, S: LookupSpan<'a>>(&self, span: &SpanRef<'a, S>, fields: &Fields) {
        let known = span.extensions_mut().remove::<Role>();
        // If the field is not a valid task id, the span is not a task.
        let task_id = fields.task.as_deref().map(TaskId::new).and_then(Result::ok);
        let role = match (known, task_id) {
            // The span is already a task, and stays that task.
            (
                Some(
                    role @ Role {
                        part: Part::Whole(_),
                        ..
                    },
                ),
                _,
            ) => Some(role),
            (known, Some(task_id)) => {
                if let Some(step) = known {
                    step.end();
                }
                Some(Role::task(
                    self.client.task(task_id).name(span.name()).start_now(),
                ))
            }
            (Some(step), None) => Some(step),
            (None, None) => span
                .parent()
                .and_then(|parent| nearest(&parent, |around| Role::step(around, span.name()))),
        };
        if let Some(role) = role {
            span.extensions_mut().insert(role);
        }
    }
}

fn progress<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, percent: f64, text: Option<&str>) {
    if let Some(reporter) = nearest(span, |role| role.reporter.clone()) {
        reporter.progress(percent, text);
    }
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    OWN.iter().any(|own| target.starts_with(own))
}

/// Looks at the role of the nearest span that has one, this one included.
fn nearest<'a, S: LookupSpan<'a>, T>(
    span: &SpanRef<'a, S>,
    look: impl Fn(&Role) -> T,
) -> Option<T> {
    span.scope()
        .find_map(|around| around.extensions().get::<Role>().map(&look))
}

fn log(text: &str, level: Level) -> NewEvent {
    let level = level.as_str().to_ascii_lowercase();
    let fields = [("message", text), ("level", level.as_str())];
    NewEvent::new(EventType::Log, texts(fields))
}

fn texts<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Data {
    let fields: std::collections::BTreeMap<_, _> = fields.into_iter().collect();
    Data::from_serialize(&fields).unwrap_or_default()
}

/// The fields of a span or an event that this layer uses.
#[derive(Debug, Default)]
struct Fields {
    /// The message, followed by the other fields as `key=value`.
    text: String,
    task: Option<String>,
    progress: Option<f64>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;

        // Writing to a `String` cannot fail.
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
