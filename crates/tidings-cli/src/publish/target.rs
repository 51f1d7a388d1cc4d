//! Reads the task and the type of an event from the words of the command line.

use tidings_client::protocol::{Data, EventType, TaskId};

use crate::Failure;
use crate::data::{Words, numbers};

/// The task that `tidings run` does, in a command that it has started.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) task: TaskId,
    pub(super) run: Option<u32>,
}

impl Own {
    /// Reads it from the variables that `tidings run` sets.
    pub(super) fn from_environment() -> Option<Self> {
        let task = std::env::var("TIDINGS_TASK").ok()?.parse().ok()?;
        let run = std::env::var("TIDINGS_RUN").ok();
        let run = run.and_then(|run| run.parse().ok());
        Some(Self { task, run })
    }
}

/// Where events go.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) task: TaskId,
    /// The run that the events belong to, if that is known.
    pub(super) run: Option<u32>,
    /// The event; none if each line of standard input is one.
    pub(super) event: Option<(EventType, Data)>,
}

/// Reads `[TASK] [EVENT_TYPE] [DATA]`. One word before the data is the kind of event
/// for one's own task if there is one, and else a task.
pub(super) fn parse(words: &[String], own: Option<Own>) -> Result<Target, Failure> {
    let is_data = |word: &&String| word.contains('=') || word.trim_start().starts_with('{');
    let bare = words
        .iter()
        .take_while(|word| !is_data(word))
        .count()
        .min(2);
    let (names, rest) = words.split_at(bare);
    let (task, kind) = match (names, &own) {
        ([task, kind], _) => (Some(task), Some(kind)),
        ([kind], Some(_)) => (None, Some(kind)),
        ([task], None) => (Some(task), None),
        _ => (None, None),
    };
    let (task, run) = match (task, own) {
        (Some(task), own) => {
            let task: TaskId = task.parse().map_err(|error| argument("[TASK]", &error))?;
            let run = own.filter(|own| own.task == task).and_then(|own| own.run);
            (task, run)
        }
        (None, Some(own)) => (own.task, own.run),
        (None, None) => {
            return Err(argument(
                "[TASK]",
                &"say which task; only a command under `tidings run` has one of its own",
            ));
        }
    };
    if kind.is_none() && rest.is_empty() {
        return Ok(Target {
            task,
            run,
            event: None,
        });
    }
    let wrong = |why| Failure::Argument { what: "DATA", why };
    let words = Words::parse(rest).map_err(wrong)?;
    let kind = match kind {
        Some(kind) => kind
            .parse()
            .map_err(|error| argument("[EVENT_TYPE]", &error))?,
        None => guess(&words)?,
    };
    let data = words.data(numbers(&kind)).map_err(wrong)?;
    Ok(Target {
        task,
        run,
        event: Some((kind, data)),
    })
}

/// The kind of an event that says only how far a task is, or a message.
fn guess(words: &Words<'_>) -> Result<EventType, Failure> {
    if words.has("progress") || words.has("current") {
        return Ok(EventType::ProgressUpdate);
    }
    if words.has("message") {
        return Ok(EventType::Log);
    }
    Err(argument(
        "[EVENT_TYPE]",
        &"say what kind of event this is; only progress=… and message=… tell it by themselves",
    ))
}

fn argument(what: &'static str, why: &dyn std::fmt::Display) -> Failure {
    Failure::Argument {
        what,
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], own: bool) -> Result<(String, Option<String>, Option<u32>), Failure> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        let own = own.then(|| Own {
            task: "own".parse().unwrap(),
            run: Some(3),
        });
        let target = parse(&words, own)?;
        let kind = target.event.map(|(kind, _)| kind.to_string());
        Ok((target.task.to_string(), kind, target.run))
    }

    #[test]
    fn words_are_a_task_a_kind_and_data() {
        for (words, own, task, kind, run) in [
            (
                &["a", "log", "message=x"][..],
                false,
                "a",
                Some("log"),
                None,
            ),
            (&["a", "log", "message=x"], true, "a", Some("log"), None),
            (
                &["own", "log", "message=x"],
                true,
                "own",
                Some("log"),
                Some(3),
            ),
            (&["a"], false, "a", None, None),
            (
                &["a", "task_completed"],
                false,
                "a",
                Some("task_completed"),
                None,
            ),
            (
                &["progress=40"],
                true,
                "own",
                Some("progress_update"),
                Some(3),
            ),
            (&["message=hi"], true, "own", Some("log"), Some(3)),
            (
                &["step_started", "step_id=1"],
                true,
                "own",
                Some("step_started"),
                Some(3),
            ),
            (
                &["{\"current\":1}"],
                true,
                "own",
                Some("progress_update"),
                Some(3),
            ),
            (
                &["a", "progress=40"],
                false,
                "a",
                Some("progress_update"),
                None,
            ),
            (&[], true, "own", None, Some(3)),
        ] {
            let expected = (task.to_owned(), kind.map(str::to_owned), run);
            assert_eq!(read(words, own).unwrap(), expected, "{words:?} {own}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (words, own, what) in [
            (&["progress=40"][..], false, "[TASK]"),
            (&[], false, "[TASK]"),
            (&["a b", "log"], false, "[TASK]"),
            (&["a", "Log"], false, "[EVENT_TYPE]"),
            (&["x=1"], true, "[EVENT_TYPE]"),
            (&["a", "log", "message"], false, "key=text"),
        ] {
            let error = read(words, own).unwrap_err().to_string();
            assert!(error.contains(what), "{words:?} {error}");
        }
    }
}
