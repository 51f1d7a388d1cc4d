//! The rules for ids, and the errors for text that violates them.

/// The set of characters that an id may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// `A–Z a–z 0–9 . _ : - ~`: safe in the path of a URL, and in JSON without escapes.
    Token,
    /// `A–Z a–z 0–9 . _ -`: a token without the colon, which ends the epoch in a position.
    Epoch,
    /// All characters except control characters.
    Printable,
}

impl Alphabet {
    pub(crate) fn allows(self, c: char) -> bool {
        match self {
            Self::Token => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-' | '~'),
            Self::Epoch => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
            Self::Printable => !c.is_control(),
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Token => "A–Z a–z 0–9 . _ : - ~",
            Self::Epoch => "A–Z a–z 0–9 . _ -",
            Self::Printable => "anything but control characters",
        }
    }

    #[cfg(feature = "schema")]
    const fn class(self) -> &'static str {
        match self {
            Self::Token => "[A-Za-z0-9._:~-]",
            Self::Epoch => "[A-Za-z0-9._-]",
            Self::Printable => r"[^\u0000-\u001f\u007f-\u009f]",
        }
    }
}

/// The rule for one kind of id: 1 to `max` characters of an alphabet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) alphabet: Alphabet,
    pub(crate) max: usize,
}

impl Rule {
    pub(crate) fn check(self, text: &str) -> Result<(), IdError> {
        if text.is_empty() {
            return Err(IdError::Empty { id: self.id });
        }
        if self.alphabet == Alphabet::Token && matches!(text, "." | "..") {
            return Err(IdError::Dots { id: self.id });
        }
        self.check_characters(text)
    }

    /// Does the same as [`check`](Self::check), but accepts empty text.
    pub(crate) fn check_characters(self, text: &str) -> Result<(), IdError> {
        // The length in bytes is an upper bound. Most ids need no count of characters.
        let length = if text.len() > self.max {
            text.chars().count()
        } else {
            0
        };
        if length > self.max {
            return Err(IdError::TooLong {
                id: self.id,
                length,
                max: self.max,
            });
        }
        match text
            .chars()
            .enumerate()
            .find(|(_, c)| !self.alphabet.allows(*c))
        {
            None => Ok(()),
            Some((at, found)) => Err(IdError::Character {
                id: self.id,
                found,
                at: at + 1,
                allowed: self.alphabet.describe(),
            }),
        }
    }

    /// Returns the rule as a regular expression.
    #[cfg(feature = "schema")]
    pub(crate) fn pattern(self) -> String {
        let folders = match self.alphabet {
            Alphabet::Token => r"(?!\.{1,2}$)",
            Alphabet::Epoch | Alphabet::Printable => "",
        };
        format!("^{folders}{}{{1,{}}}$", self.alphabet.class(), self.max)
    }
}

/// Why text is not a valid id. Correct the text; a retry does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("{id} is empty")]
    Empty {
        /// The kind of id.
        id: &'static str,
    },
    /// The text is too long.
    #[error("{id} has {length} characters, at most {max} are allowed")]
    TooLong {
        /// The kind of id.
        id: &'static str,
        /// The length of the text in characters.
        length: usize,
        /// The greatest number of characters allowed.
        max: usize,
    },
    /// The text contains a character that is not allowed.
    #[error("{id} has {found:?} at character {at}, allowed: {allowed}")]
    Character {
        /// The kind of id.
        id: &'static str,
        /// The character.
        found: char,
        /// The character's place, counted in characters from 1.
        at: usize,
        /// The characters that are allowed.
        allowed: &'static str,
    },
    /// The text is `.` or `..`. In a URL's path both mean folders.
    #[error("{id} cannot be `.` or `..`: a URL's path takes them for folders")]
    Dots {
        /// The kind of id.
        id: &'static str,
    },
    /// A pattern has no `*` at its end.
    #[error("a pattern must end with `*`")]
    NoStar,
}

impl From<std::convert::Infallible> for IdError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
