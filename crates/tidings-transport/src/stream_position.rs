//! The position of a stream of several tasks: one position for each task.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use tidings_protocol::{Epoch, IdError, Offset, OffsetError, Position, Since, TaskId};

/// Where a stream continues in each of its tasks.
///
/// The text form is a list such as `build-1@7f3a:12,build-2@45,deploy@q9x1:7`. An epoch that is
/// left out is the one before it. `build-1@0` is the beginning of what is retained.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamPosition(BTreeMap<TaskId, Since>);

/// Why a text is not the position of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamPositionError {
    #[error("expected a list such as `build-1@7f3a:12,build-2@7f3a:45`: `{0}` has no `@`")]
    NoTask(String),
    #[error("a task's id: {0}")]
    Task(#[source] IdError),
    #[error("an epoch: {0}")]
    Epoch(#[source] IdError),
    #[error("`{0}` has no epoch, and there is none before it")]
    NoEpoch(String),
    #[error(transparent)]
    Offset(#[from] OffsetError),
}

impl StreamPosition {
    /// Removes and returns the position of a task.
    pub(crate) fn take(&mut self, task_id: &TaskId) -> Option<Since> {
        self.0.remove(task_id)
    }
}

impl FromStr for StreamPosition {
    type Err = StreamPositionError;

    fn from_str(text: &str) -> Result<Self, StreamPositionError> {
        let mut positions = BTreeMap::new();
        let mut last: Option<Epoch> = None;
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let no_task = || StreamPositionError::NoTask(item.to_owned());
            let (task_id, place) = item.split_once('@').ok_or_else(no_task)?;
            let task_id = TaskId::new(task_id).map_err(StreamPositionError::Task)?;
            let offset = match place.split_once(':') {
                Some((epoch, offset)) => {
                    last = Some(epoch.parse().map_err(StreamPositionError::Epoch)?);
                    offset
                }
                None => place,
            };
            let since = if place == "0" {
                Since::Start
            } else {
                let epoch = last.clone();
                let epoch = epoch.ok_or_else(|| StreamPositionError::NoEpoch(item.to_owned()))?;
                let offset: Offset = offset.parse()?;
                Position { epoch, offset }.into()
            };
            positions.insert(task_id, since);
        }
        Ok(Self(positions))
    }
}

/// Appends the text form of these positions.
pub(crate) fn write(positions: &[(TaskId, Position)], out: &mut String) {
    let mut last = None;
    for (number, (task_id, Position { epoch, offset })) in positions.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        // Writing to a `String` cannot fail.
        let _ = if last == Some(epoch) && *offset > Offset::ZERO {
            write!(out, "{task_id}@{offset}")
        } else {
            write!(out, "{task_id}@{epoch}:{offset}")
        };
        last = Some(epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(task: &str, position: &str) -> (TaskId, Position) {
        (task.parse().unwrap(), position.parse().unwrap())
    }

    #[test]
    fn the_text_is_read_back() {
        let positions = [
            at("build-1", "7f3a:12"),
            at("build-2", "7f3a:45"),
            at("a:b~c.d", "7f3a:0"),
            at("deploy", "q9:7"),
        ];
        let mut text = String::new();
        write(&positions, &mut text);
        assert_eq!(
            text,
            "build-1@7f3a:12,build-2@45,a:b~c.d@7f3a:0,deploy@q9:7"
        );
        let mut read: StreamPosition = text.parse().unwrap();
        for (task_id, position) in positions {
            assert_eq!(read.take(&task_id), Some(position.into()));
            assert_eq!(read.take(&task_id), None);
        }
    }

    #[test]
    fn the_beginning_needs_no_epoch() {
        let mut read: StreamPosition = "a@0,b@e:0,c@0".parse().unwrap();
        assert_eq!(read.take(&"a".parse().unwrap()), Some(Since::Start));
        let b = Since::After("e:0".parse().unwrap());
        assert_eq!(read.take(&"b".parse().unwrap()), Some(b));
        assert_eq!(read.take(&"c".parse().unwrap()), Some(Since::Start));
        assert_eq!("".parse(), Ok(StreamPosition::default()));
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let error = |text: &str| text.parse::<StreamPosition>().unwrap_err().to_string();
        assert!(error("7f3a:12").contains("`7f3a:12` has no `@`"));
        assert!(error("a@12").contains("has no epoch"));
        assert!(error("a@e:x").contains("decimal number"));
        assert!(error("ä@e:1").contains("task"));
        assert!(error("a@é:1").contains("epoch"));
    }
}
