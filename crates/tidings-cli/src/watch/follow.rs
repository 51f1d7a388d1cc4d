//! Follows tasks, until their end if requested.

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

/// The quiet time after which all existing tasks of a pattern are known. The server
/// announces the tasks of a pattern one by one.
const SETTLED: Duration = Duration::from_millis(300);

/// The targets of a watch, and its end.
pub(super) struct Watching {
    pub(super) targets: Vec<Target>,
    /// True if the tasks below the targets are shown as well. They do not affect the
    /// outcome.
    pub(super) tree: bool,
    pub(super) start: Start,
    pub(super) until_end: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) must_exist: bool,
}

impl Watching {
    /// Follows the tasks, and returns the exit code.
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

    /// Checks that each target is an existing task or matches one.
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
        let watch = |target: &Target| {
            let target = match target {
                Target::Task(task) if self.tree => Target::Tree(task.clone()),
                other => other.clone(),
            };
            client.watch_from(target, self.start.clone())
        };
        let mut updates: SelectAll<_> = self.apart().map(watch).collect();
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

    /// Returns the targets that no other target covers. Otherwise a task of two targets would be
    /// shown twice.
    fn apart(&self) -> impl Iterator<Item = &Target> {
        let targets = self.targets.iter().enumerate();
        targets.filter_map(|(at, target)| {
            let is_covered = self.targets.iter().enumerate().any(|(other_at, other)| {
                // Of two equal targets, the first one stays.
                let is_same = other == target && other_at < at;
                is_same || (other != target && self.covers(other, target))
            });
            (!is_covered).then_some(target)
        })
    }

    /// Returns true if a pattern contains another target. With `tree`, a task stands for the
    /// tasks below it as well, which a pattern does not contain.
    fn covers(&self, pattern: &Target, target: &Target) -> bool {
        match (pattern, target) {
            (Target::Pattern(pattern), Target::Task(task)) => !self.tree && pattern.matches(task),
            (Target::Pattern(pattern), Target::Pattern(target)) => {
                target.prefix().starts_with(pattern.prefix())
            }
            _ => false,
        }
    }

    /// Handles the timeout: prints the tasks that have not ended.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_within_another_one_is_watched_once() {
        for (targets, tree, expected) in [
            (&["a", "b", "a"][..], false, &["a", "b"][..]),
            (&["a", "*", "b"], false, &["*"]),
            (&["a*", "ab*", "a*", "b"], false, &["a*", "b"]),
            (&["a-1", "a-*", "a-1"], true, &["a-1", "a-*"]),
        ] {
            let parse = |text: &&str| super::super::target(text).unwrap();
            let watching = Watching {
                targets: targets.iter().map(parse).collect(),
                tree,
                start: Start::Live,
                until_end: false,
                timeout: None,
                must_exist: false,
            };
            let apart: Vec<_> = watching.apart().map(ToString::to_string).collect();
            assert_eq!(apart, expected, "{targets:?}");
        }
    }
}
