//! Following tasks, to their end if that is wanted.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use tidings_client::protocol::Target;
use tidings_client::{Client, ListError, Start, Status, TaskQuery};
use tokio::time::Instant;

use super::View;
use super::outcome::{self, Outcome};
use super::states::States;
use crate::connect::Server;
use crate::output::say;
use crate::{Failure, code};

/// With a pattern, tasks are told one by one. If nothing comes for so long, all that
/// were there are known.
const SETTLED: Duration = Duration::from_millis(300);

/// What to follow, and how long.
pub(super) struct Watching {
    pub(super) targets: Vec<Target>,
    pub(super) start: Start,
    pub(super) until_end: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) must_exist: bool,
}

impl Watching {
    /// Follows, and returns the code to exit with.
    pub(super) async fn follow(
        &self,
        server: &Server,
        view: &mut dyn View,
    ) -> Result<ExitCode, Failure> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let client = server.builder()?.build()?;
        if self.must_exist {
            let exist = self.exist(&client);
            match self.timeout {
                Some(timeout) => server.within(timeout, exist).await??,
                None => exist.await?,
            }
        }
        let code = self.code(server, &client, deadline, view).await;
        let finished = view.finish();
        let code = code?;
        finished?;
        client.close(Duration::from_secs(1)).await;
        Ok(ExitCode::from(code))
    }

    /// Checks that each target is, or matches, a task that is there.
    async fn exist(&self, client: &Client) -> Result<(), Failure> {
        for target in &self.targets {
            let exists = match target.task_id() {
                Some(task) => match client.find(task).await {
                    Err(ListError::Refused { status: 404, .. }) => false,
                    found => found.map(|_| true)?,
                },
                None => {
                    let mut query = TaskQuery::default();
                    query.prefix = target.pattern().map(|pattern| pattern.prefix().to_owned());
                    !client.tasks(&query).await?.tasks.is_empty()
                }
            };
            if !exists {
                return Err(missing(target));
            }
        }
        Ok(())
    }

    async fn code(
        &self,
        server: &Server,
        client: &Client,
        deadline: Option<Instant>,
        view: &mut dyn View,
    ) -> Result<u8, Failure> {
        let watch = |target: &Target| client.watch_from(target.clone(), self.start.clone());
        let mut updates: SelectAll<_> = self.targets.iter().map(watch).collect();
        let mut states = States::default();
        loop {
            let outcome = self
                .until_end
                .then(|| outcome::of(&self.targets, &states))
                .flatten();
            let update = tokio::select! {
                biased;
                () = passed(deadline), if outcome.is_none() => {
                    return self.late(server, client, &states);
                }
                update = updates.next() => update,
                () = tokio::time::sleep(SETTLED), if outcome.is_some() => {
                    return Ok(outcome.map_or(0, Outcome::code));
                }
            };
            match update {
                Some(update) => {
                    let update = update?;
                    states.take(&update);
                    view.show(&update, &states)?;
                }
                None => return Ok(0),
            }
        }
    }

    /// The time is over. Says what has not happened.
    fn late(&self, server: &Server, client: &Client, states: &States) -> Result<u8, Failure> {
        let after = self.timeout.unwrap_or_default();
        if !matches!(client.status(), Status::Connected) {
            return Err(Failure::Timeout {
                url: server.url.clone(),
                after,
            });
        }
        if let Some(target) = outcome::missing(&self.targets, states) {
            return Err(missing(target));
        }
        let running = states.iter().filter(|state| {
            let outcome = outcome::of_task(&state.task_id, states);
            outcome.is_none()
        });
        let names: Vec<_> = running.map(|state| state.task_id.as_str()).collect();
        let shown = match names.as_slice() {
            [one] => format!("{one} has"),
            [first, rest @ ..] => format!("{first} and {} more have", rest.len()),
            [] => "not all tasks have".to_owned(),
        };
        let after = humantime::format_duration(after);
        say(&format!("{shown} not ended within {after}"));
        Ok(code::NOT_IN_TIME)
    }
}

fn missing(target: &Target) -> Failure {
    Failure::NoTask {
        task: target.to_string(),
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
