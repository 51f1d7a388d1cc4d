//! Completes the ids of tasks. The shell asks this program, and this program asks the
//! server.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use tidings_client::TaskQuery;
use tidings_client::protocol::TaskSnapshot;

use crate::connect::Server;

/// The time limit for a completion. A person does not wait longer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The largest number of candidates. A shell shows at most one screen of them.
const MOST: usize = 200;

/// Completes an argument that names a task.
pub(crate) fn tasks() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let words = std::env::args_os();
        let Some(begun) = begun.to_str() else {
            return Vec::new();
        };
        candidates(words, begun).unwrap_or_default()
    })
}

fn candidates(
    words: impl Iterator<Item = OsString>,
    begun: &str,
) -> Option<Vec<CompletionCandidate>> {
    let server = server(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let tasks = runtime.block_on(async {
        let client = server.builder().ok()?.build().ok()?;
        let mut query = TaskQuery::default();
        query.prefix = Some(begun.to_owned());
        let page = tokio::time::timeout(PATIENCE, client.tasks(&query)).await;
        page.ok()?.ok()
    });
    runtime.shutdown_background();
    let tasks = tasks?.tasks;
    Some(tasks.iter().take(MOST).map(candidate).collect())
}

fn candidate(task: &TaskSnapshot) -> CompletionCandidate {
    let name = task.name.as_deref().unwrap_or_default();
    let help = format!("{} {name}", task.status);
    let help = crate::clean(help.trim_end()).into_owned();
    CompletionCandidate::new(task.task_id.as_str()).help(Some(help.into()))
}

/// Reads the server's address from the words typed so far and from the environment.
fn server(words: impl Iterator<Item = OsString>) -> Option<Server> {
    let command = Server::augment_args(clap::Command::new("tidings"));
    let mut known = vec![OsString::from("tidings")];
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str().filter(|text| text.starts_with("--")) else {
            continue;
        };
        let name = text[2..].split('=').next().unwrap_or_default();
        let is_ours = command
            .get_arguments()
            .any(|argument| argument.get_long() == Some(name));
        if !is_ours {
            continue;
        }
        let has_value = text.contains('=');
        known.push(word);
        if !has_value {
            known.push(words.next()?);
        }
    }
    let matches = command.try_get_matches_from(known).ok()?;
    Server::from_arg_matches(&matches).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_among_the_words() {
        for (words, url) in [
            (
                &["tidings", "watch", "--url", "http://a.example", "bu"][..],
                "http://a.example",
            ),
            (
                &[
                    "tidings",
                    "logs",
                    "--tail",
                    "5",
                    "--url=http://b.example",
                    "x",
                ],
                "http://b.example",
            ),
        ] {
            let words = words.iter().map(OsString::from);
            assert_eq!(server(words).unwrap().url, url);
        }
        assert!(server(["tidings", "watch", "--url"].iter().map(OsString::from)).is_none());
    }
}
