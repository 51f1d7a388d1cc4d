//! The native part of the Python classes `Client`.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::Value;
use tidings_client::protocol::{
    Data, EventId, ItemId, Json, MAX_WEIGHT, MIN_WEIGHT, NewEvent, Source, Target, TaskId,
    TaskSnapshot,
};
use tidings_client::{
    BoxError, ClientBuilder, ClientConfig, ReceiptError, Status, Stopped, TaskBuilder, TaskQuery,
    WatchError,
};
use tokio::runtime::Handle;

use crate::failure::{Fault, chain, wrong};
use crate::operation::{Operation, Outcome};
use crate::owned::Owned;
use crate::runtime::{Runtime, StartError};
use crate::task::{Task, event};
use crate::watch::{Watch, json, start};

/// A connection to a server, and the thread that drives it.
#[derive(Debug)]
#[pyclass(frozen, module = "tidings._native")]
pub(crate) struct Client {
    runtime: Owned<Runtime>,
}

/// A page of tasks, as JSON.
#[derive(Serialize)]
struct Page<'a> {
    tasks: &'a [TaskSnapshot],
    next: Option<&'a TaskId>,
}

/// Adds a token source that calls the program's function.
fn with_source(builder: ClientBuilder, source: Py<PyAny>) -> ClientBuilder {
    let source = Arc::new(source);
    builder.token_source(move || {
        let source = Arc::clone(&source);
        async move {
            let asked = tokio::task::spawn_blocking(move || {
                Python::try_attach(|py| source.call0(py)?.extract::<String>(py))
            });
            match asked.await? {
                Some(token) => token.map_err(BoxError::from),
                None => Err(BoxError::from("the interpreter is ending")),
            }
        }
    })
}

/// Calls the program's function whenever the status of the connection changes.
fn follow(client: &tidings_client::Client, told: Py<PyAny>) {
    let mut status = client.watch_status();
    tokio::spawn(async move {
        loop {
            let (kind, reason) = standing(&status.borrow_and_update());
            let called = Python::try_attach(|py| {
                if let Err(error) = told.call1(py, (kind, reason)) {
                    error.write_unraisable(py, None);
                }
            });
            if called.is_none() || kind == "stopped" || status.changed().await.is_err() {
                return;
            }
        }
    });
}

fn standing(status: &Status) -> (&'static str, Option<String>) {
    match status {
        Status::Connecting => ("connecting", None),
        Status::Connected => ("connected", None),
        Status::Waiting(loss) => ("waiting", Some(chain(loss))),
        Status::Stopped(stopped) => ("stopped", Some(chain(stopped))),
        // A later version of the client may have other states.
        _ => ("connecting", None),
    }
}

fn task_id(text: &str) -> PyResult<TaskId> {
    TaskId::new(text).map_err(|error| wrong(&error))
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| wrong(&error))
}

impl Client {
    fn with<R>(&self, act: impl FnOnce(&tidings_client::Client) -> R) -> PyResult<R> {
        self.runtime.with(|runtime| act(runtime.client()))
    }

    /// Runs work on the client's thread.
    fn spawn<F, T, E>(&self, work: impl FnOnce(tidings_client::Client) -> F) -> PyResult<Operation>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        Outcome: From<T>,
        Fault: From<E>,
    {
        self.runtime.with(|runtime| {
            let future = work(runtime.client().clone());
            Operation::spawn(runtime.handle(), future)
        })
    }
}

#[pymethods]
impl Client {
    /// Creates the client. It connects in the background, and keeps trying.
    #[new]
    #[pyo3(signature = (url, *, token, token_source, ca, max_pending, max_pending_bytes, on_status))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn new(
        py: Python<'_>,
        url: String,
        token: Option<String>,
        token_source: Option<Py<PyAny>>,
        ca: Option<Vec<u8>>,
        max_pending: Option<usize>,
        max_pending_bytes: Option<usize>,
        on_status: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let defaults = ClientConfig::default();
        let config = ClientConfig::default().pending(
            max_pending.unwrap_or(defaults.max_pending),
            max_pending_bytes.unwrap_or(defaults.max_pending_bytes),
        );
        let make = move || {
            let mut builder = tidings_client::Client::builder(url).config(config);
            if let Some(token) = token {
                builder = builder.token(token);
            }
            if let Some(source) = token_source {
                builder = with_source(builder, source);
            }
            if let Some(pem) = ca {
                builder = builder.root_certificates(pem);
            }
            let client = builder.build()?;
            if let Some(told) = on_status {
                follow(&client, told);
            }
            Ok(client)
        };
        let runtime = py.detach(|| Runtime::start(make));
        let runtime = runtime.map_err(|error| match error {
            StartError::Setting(error) => wrong(&error),
            StartError::Thread(error) => error.into(),
        })?;
        Ok(Self {
            runtime: Owned::new(runtime),
        })
    }

    /// Returns whether this process has created the client and the client's thread runs.
    fn is_usable(&self) -> bool {
        self.runtime.with(Runtime::is_alive).unwrap_or(false)
    }

    /// Returns the status of the connection, and the reason for it.
    fn status(&self) -> PyResult<(&'static str, Option<String>)> {
        self.with(|client| standing(&client.status()))
    }

    /// Waits until the server has sent its greeting.
    fn connected(&self) -> PyResult<Operation> {
        self.spawn(|client| async move { client.connected().await })
    }

    /// Uses another token from now on.
    fn set_token(&self, token: String) -> PyResult<()> {
        let set = self.with(|client| client.set_token(token))?;
        set.map_err(|error| wrong(&error))
    }

    /// Publishes an event. The operation returns the event's position in the log.
    #[pyo3(signature = (task, event_type, data, *, event_id, source, run))]
    fn publish(
        &self,
        task: &str,
        event_type: &str,
        data: &str,
        event_id: Option<String>,
        source: Option<String>,
        run: Option<u32>,
    ) -> PyResult<Operation> {
        let task = task_id(task)?;
        let event = whole(event_type, data, event_id, source, run)?;
        self.spawn(|client| async move { client.publish(&task, event).await })
    }

    /// Publishes an event without waiting. Raises an exception if the buffer is full.
    #[pyo3(signature = (task, event_type, data, *, run))]
    fn send(&self, task: &str, event_type: &str, data: &str, run: Option<u32>) -> PyResult<()> {
        let task = task_id(task)?;
        let event = whole(event_type, data, None, None, run)?;
        let sent = self.with(|client| client.send(&task, event).map(drop))?;
        Ok(sent.map_err(Fault::from)?)
    }

    /// Sends a command to a task.
    #[pyo3(signature = (task, command, args))]
    fn command(&self, task: &str, command: String, args: Option<&str>) -> PyResult<Operation> {
        let task = task_id(task)?;
        let args = args.map(Data::parse).transpose();
        let args = args.map_err(|error| wrong(&error))?;
        self.spawn(|client| async move { client.command(&task, command, args).await })
    }

    /// Sends a command to a task and to all tasks below it. The operation returns the answers as
    /// JSON.
    #[pyo3(signature = (task, command, args))]
    fn command_tree(&self, task: &str, command: String, args: Option<&str>) -> PyResult<Operation> {
        let task = task_id(task)?;
        let args = args.map(Data::parse).transpose();
        let args = args.map_err(|error| wrong(&error))?;
        self.spawn(|client| async move {
            let tasks = client.command_tree(&task, command, args).await?;
            json(&tasks)
        })
    }

    /// Answers an open question of a task. `value` is JSON.
    fn answer(&self, task: &str, input: &str, value: &str) -> PyResult<Operation> {
        let task = task_id(task)?;
        let input: ItemId = input.parse().map_err(|error| wrong(&error))?;
        let value = Json::parse(value).map_err(|error| wrong(&error))?;
        self.spawn(|client| async move { client.answer(&task, &input, value).await })
    }

    /// Watches a task, all tasks that match a pattern, or a task and all tasks below it.
    #[pyo3(signature = (target, *, tree, since, history))]
    fn watch(
        &self,
        target: &str,
        tree: bool,
        since: Option<&str>,
        history: u32,
    ) -> PyResult<Watch> {
        let target = if tree {
            Target::Tree(task_id(target)?)
        } else {
            target.parse().map_err(|error| wrong(&error))?
        };
        let start = start(since, history)?;
        self.with(|client| Watch::new(client.watch_from(target, start)))
    }

    /// Waits until a task has ended. The operation returns the task's state as JSON.
    fn wait(&self, task: &str) -> PyResult<Operation> {
        let task = task_id(task)?;
        self.spawn(|client| async move {
            let outcome = client.wait(&task).await?;
            json(&*outcome.state)
        })
    }

    /// Fetches the current state of a task. The operation returns it as JSON.
    fn snapshot(&self, task: &str) -> PyResult<Operation> {
        let task = task_id(task)?;
        self.spawn(|client| async move {
            let state = client.snapshot(&task).await?;
            json(&*state)
        })
    }

    /// Fetches a page of the existing tasks. The operation returns it as JSON.
    #[pyo3(signature = (*, status, prefix, after))]
    fn tasks(
        &self,
        status: Option<&str>,
        prefix: Option<String>,
        after: Option<&str>,
    ) -> PyResult<Operation> {
        let mut query = TaskQuery::default();
        query.status = status
            .map(|status| serde_json::from_value(Value::from(status)))
            .transpose()
            .map_err(|error| wrong(&error))?;
        query.prefix = prefix;
        query.after = after.map(task_id).transpose()?;
        self.spawn(|client| async move {
            let page = client.tasks(&query).await?;
            json(&Page {
                tasks: &page.tasks,
                next: page.next.as_ref(),
            })
        })
    }

    /// Begins a task without waiting for the server.
    #[pyo3(signature = (task, *, name, total, parent, weight, lease, source))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn begin(
        &self,
        py: Python<'_>,
        task: &str,
        name: Option<String>,
        total: Option<f64>,
        parent: Option<&str>,
        weight: Option<f64>,
        lease: Option<f64>,
        source: Option<String>,
    ) -> PyResult<Task> {
        let describe = beginning(task, name, total, parent, weight, lease, source)?;
        let begun = self.runtime.with(|runtime| {
            let task = py.detach(|| runtime.run(move |client| describe(client).start_now()));
            task.map(|task| Task::new(task, runtime.handle().clone()))
        })?;
        let stopped = || Fault::new("stopped", "the client's thread has ended");
        Ok(begun.ok_or_else(stopped)?)
    }

    /// Begins a task. The operation returns the task when the server has accepted the start.
    #[pyo3(signature = (task, *, name, total, parent, weight, lease, source))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn begin_confirmed(
        &self,
        task: &str,
        name: Option<String>,
        total: Option<f64>,
        parent: Option<&str>,
        weight: Option<f64>,
        lease: Option<f64>,
        source: Option<String>,
    ) -> PyResult<Operation> {
        let describe = beginning(task, name, total, parent, weight, lease, source)?;
        self.spawn(|client| async move {
            let task = describe(&client).start().await?;
            Ok::<_, ReceiptError>((task, Handle::current()))
        })
    }

    /// Returns the number of publishes and reports that the server has not answered yet.
    fn pending(&self) -> PyResult<usize> {
        self.with(tidings_client::Client::pending)
    }

    /// Waits until everything is answered, for at most `timeout` seconds. The operation returns the
    /// number of unanswered events.
    fn flush(&self, timeout: f64) -> PyResult<Operation> {
        let timeout = seconds(timeout)?;
        self.spawn(|client| async move { Ok::<_, Stopped>(client.flush(timeout).await) })
    }

    /// Sends the waiting events, for at most `timeout` seconds, and stops the client.
    fn close(&self, timeout: f64) -> PyResult<Operation> {
        let timeout = seconds(timeout)?;
        self.spawn(|client| async move { Ok::<_, WatchError>(client.close(timeout).await) })
    }

    /// Sends the waiting events before the process ends, for at most `timeout` seconds. Gives up
    /// early if the server cannot be reached, so that a program can end without its server.
    fn leave(&self, timeout: f64) -> PyResult<Operation> {
        let timeout = seconds(timeout)?;
        self.spawn(|client| async move {
            let mut status = client.watch_status();
            let away = status.wait_for(|status| matches!(status, Status::Waiting(_)));
            let left = tokio::select! {
                left = client.flush(timeout) => left,
                _ = away => client.pending(),
            };
            Ok::<_, ReceiptError>(left)
        })
    }
}

fn whole(
    event_type: &str,
    data: &str,
    event_id: Option<String>,
    source: Option<String>,
    run: Option<u32>,
) -> PyResult<NewEvent> {
    let mut event = event(event_type, data)?;
    if let Some(id) = event_id {
        event = event.with_event_id(EventId::new(id).map_err(|error| wrong(&error))?);
    }
    if let Some(source) = source {
        event = event.with_source(Source::new(source).map_err(|error| wrong(&error))?);
    }
    if let Some(run) = run {
        event = event.with_run(run);
    }
    Ok(event)
}

/// Checks the arguments with which a task begins, and returns a function that builds the task.
fn beginning(
    task: &str,
    name: Option<String>,
    total: Option<f64>,
    parent: Option<&str>,
    weight: Option<f64>,
    lease: Option<f64>,
    source: Option<String>,
) -> PyResult<impl FnOnce(&tidings_client::Client) -> TaskBuilder + Send + 'static> {
    let task = task_id(task)?;
    let parent = parent.map(task_id).transpose()?;
    let lease = lease.map(seconds).transpose()?;
    if total.is_some_and(|total| !total.is_finite()) {
        return Err(PyValueError::new_err("the total must be a finite number"));
    }
    if weight.is_some_and(|weight| weight != 0.0 && !(MIN_WEIGHT..=MAX_WEIGHT).contains(&weight)) {
        let range = "the weight must be 0, or a number from 0.001 to 1000000";
        return Err(PyValueError::new_err(range));
    }
    let source = source
        .map(Source::new)
        .transpose()
        .map_err(|error| wrong(&error))?;
    Ok(move |client: &tidings_client::Client| {
        let mut builder = client.task(task);
        if let Some(name) = name {
            builder = builder.name(name);
        }
        if let Some(total) = total {
            builder = builder.total(total);
        }
        if let Some(parent) = parent {
            builder = builder.parent(parent);
        }
        if let Some(weight) = weight {
            builder = builder.weight(weight);
        }
        if let Some(lease) = lease {
            builder = builder.lease(lease);
        }
        if let Some(source) = source {
            builder = builder.source(source);
        }
        builder
    })
}
