//! Reads the task and the type of an event from the command line.

use std::ffi::OsString;

use tidings_client::protocol::{Data, EventType, TaskId};

use crate::Failure;
use crate::data::{Words, Wrong, numbers};
use crate::{RUN_VARIABLE, TASK_VARIABLE};

/// The task of the `tidings run` that has started this command.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) task: TaskId,
    pub(super) run: Option<u32>,
}

impl Own {
    /// Reads the task from the variables that `tidings run` sets. An empty variable counts
    /// as absent.
    ///
    /// # Errors
    /// Returns an error if a variable has a value that `tidings run` never sets.
    pub(super) fn from_environment() -> Result<Option<Self>, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::of(variable(TASK_VARIABLE), variable(RUN_VARIABLE))
    }

    fn of(task: Option<OsString>, run: Option<OsString>) -> Result<Option<Self>, Failure> {
        let Some(task) = task else {
            return Ok(None);
        };
        let task = task.to_string_lossy().parse();
        let task = task.map_err(|error| argument(TASK_VARIABLE, &error))?;
        let run = run.map(|run| run.to_string_lossy().parse()).transpose();
        let run = run.map_err(|_| argument(RUN_VARIABLE, &"expected the number of a run"))?;
        Ok(Some(Self { task, run }))
    }
}

/// The task and the event of the command.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) task: TaskId,
    /// The run that the events belong to, if it is known.
    pub(super) run: Option<u32>,
    /// The event. `None` if each line of standard input is an event.
    pub(super) event: Option<(EventType, Data)>,
}

/// Parses `[TASK] [EVENT_TYPE] [DATA]`. A single word before the data is the event type
/// if the command has an own task. Otherwise, the word is a task.
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
    let wrong = |wrong: Wrong| wrong.of("DATA");
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

/// Returns the event type for data that only has a progress or a message.
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
    fn a_variable_that_names_no_task_is_refused() {
        let of = |task: Option<&str>, run: Option<&str>| {
            let own = Own::of(task.map(OsString::from), run.map(OsString::from));
            own.map(|own| own.map(|own| (own.task.to_string(), own.run)))
        };
        assert_eq!(of(None, Some("x")).unwrap(), None);
        let own = Some(("own".to_owned(), Some(3)));
        assert_eq!(of(Some("own"), Some("3")).unwrap(), own);
        for (task, run, what) in [
            ("a b", None, "TIDINGS_TASK is wrong"),
            ("own", Some("x"), "TIDINGS_RUN is wrong"),
        ] {
            let error = of(Some(task), run).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
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
