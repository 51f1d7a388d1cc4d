//! The token of a command, given directly or in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::Failure;

/// The largest token file, in bytes. No HTTP header may be as large.
const MAX_BYTES: u64 = 64 * 1024;

const TEXT: &str = "token";
const FILE: &str = "token-file";

/// The source of the token. A flag takes precedence over a variable. The variable with
/// the token takes precedence over the variable with a file.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Token {
    #[default]
    None,
    Text(String),
    File(PathBuf),
}

impl Token {
    /// Returns the token, without characters that editors and tools add.
    pub(crate) fn read(&self) -> Result<Option<String>, Failure> {
        match self {
            Self::None => Ok(None),
            Self::Text(text) => Ok(Some(trimmed(text).to_owned())),
            Self::File(path) => read(path).map(Some),
        }
    }

    /// Returns the file, if the token is in a file.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    read.map_err(|cause| Failure::Read {
        path: path.to_owned(),
        cause,
    })?;
    match trimmed(&text) {
        "" => Err(Failure::Argument {
            what: "--token-file",
            why: format!("{} holds no token", path.display()),
        }),
        token => Ok(token.to_owned()),
    }
}

/// Returns the token without a surrounding byte order mark, line ends and blanks.
fn trimmed(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text).trim()
}

/// Hides the token in debug output.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Args for Token {
    fn augment_args(command: Command) -> Command {
        let heading = "Server";
        command
            .arg(
                Arg::new(TEXT)
                    .long(TEXT)
                    .env("TIDINGS_TOKEN")
                    .value_name("TOKEN")
                    .help_heading(heading)
                    .help(
                        "The token to send, if the server wants one. Other users of this \
                         machine can read it in the list of processes; --token-file hides it",
                    ),
            )
            .arg(
                Arg::new(FILE)
                    .long(FILE)
                    .env("TIDINGS_TOKEN_FILE")
                    .value_name("FILE")
                    .value_parser(ValueParser::path_buf())
                    .help_heading(heading)
                    .help("A file that holds the token to send"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Token {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let text = matches.get_one::<String>(TEXT);
        let file = matches.get_one::<PathBuf>(FILE);
        if is_flag(TEXT) && is_flag(FILE) {
            return Err(clap::Error::raw(
                ErrorKind::ArgumentConflict,
                "--token and --token-file cannot be used together\n",
            ));
        }
        Ok(match (text, file) {
            (Some(_), Some(file)) if is_flag(FILE) => Self::File(file.clone()),
            (Some(text), _) => Self::Text(text.clone()),
            (None, Some(file)) => Self::File(file.clone()),
            (None, None) => Self::None,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_add_to_a_token_is_left_out() {
        for text in ["abc", "abc\n", "abc\r\n", "\u{feff}abc\n", " abc \n\n"] {
            assert_eq!(trimmed(text), "abc", "{text:?}");
        }
    }

    #[test]
    fn a_flag_wins_over_a_variable() {
        let parse = |words: &[&str]| {
            let command = Token::augment_args(Command::new("x"));
            let words = std::iter::once(&"x").chain(words);
            let matches = command.try_get_matches_from(words)?;
            Token::from_arg_matches(&matches)
        };
        assert_eq!(parse(&[]).unwrap(), Token::None);
        assert_eq!(parse(&["--token", "a"]).unwrap(), Token::Text("a".into()));
        let file = Token::File("f".into());
        assert_eq!(parse(&["--token-file", "f"]).unwrap(), file);
        assert!(parse(&["--token-file", "f", "--token", "a"]).is_err());
        assert!(!format!("{:?}", Token::Text("secret".into())).contains("secret"));
    }
}
