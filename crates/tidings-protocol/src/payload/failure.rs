//! Conversion of any error to a task's error.

use std::error::Error;

use super::TaskError;

impl Error for TaskError {}

impl TaskError {
    /// Creates a task's error from a text, from any error, or from another `TaskError`, whose code
    /// is kept. The message is followed by the messages of the error's causes.
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

    /// Creates a task's error from a borrowed error. The message is followed by the messages of its
    /// causes. If the error is a `TaskError`, the result is a copy of it.
    pub fn chain(error: &(dyn Error + 'static)) -> Self {
        if let Some(known) = error.downcast_ref::<Self>() {
            return known.clone();
        }
        let mut message = String::new();
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors already contain the text of their cause.
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
