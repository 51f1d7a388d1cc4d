//! Any error as the error of a task.

use std::error::Error;

use super::TaskError;

impl Error for TaskError {}

impl TaskError {
    /// Makes a task's error from a text, from any error, or from another
    /// `TaskError`, whose code is kept. The message has the error's causes behind it.
    ///
    /// ```
    /// use tidings_protocol::TaskError;
    ///
    /// let error = "x".parse::<u8>().unwrap_err();
    /// assert_eq!(TaskError::of(error).message, "invalid digit found in string");
    /// let coded = TaskError::new("disk full").with_code("disk");
    /// assert_eq!(TaskError::of(coded.clone()), coded);
    /// ```
    pub fn of(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self::chain(error.as_ref())
    }

    /// Makes a task's error from an error that is kept: its text with its causes
    /// behind it, or the `TaskError` that it is.
    pub fn chain(error: &(dyn Error + 'static)) -> Self {
        if let Some(known) = error.downcast_ref::<Self>() {
            return known.clone();
        }
        let mut message = String::new();
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors repeat the text of their cause.
            if !message.ends_with(&text) {
                if !message.is_empty() {
                    message.push_str(": ");
                }
                message.push_str(&text);
            }
            next = cause.source();
        }
        Self::new(message)
    }
}
