//! `authenticate`: another token for a connection that goes on.

use std::sync::Arc;

use tidings_protocol::{ErrorCode, Pattern, Secret};

use crate::auth::{Credentials, Permission};
use crate::connection::Connection;
use crate::jobs::Job;
use crate::session::Refusal;

impl Connection {
    /// Takes another token in place of the one there is. A token that is
    /// refused changes nothing: the one there is holds until its own end.
    ///
    /// What the new one does not allow is unsubscribed, with a word; what it
    /// allows in addition appears under the patterns there are.
    pub(crate) async fn renew(self: &Arc<Self>, token: &Secret) -> Result<(), Refusal> {
        let manager = self.manager();
        let credentials = Credentials::new(Some(token.reveal()), self.remote_addr());
        let access = manager.authenticate(credentials).await?;
        let (lost, changed) = {
            let mut out = self.lock();
            if !out.is_open() {
                return Ok(());
            }
            if out.access.subject() != access.subject() {
                return Err(Refusal::new(
                    ErrorCode::Forbidden,
                    "the token is somebody else's: connect anew to be another subject",
                ));
            }
            let changed = out.access.scope(Permission::Watch) != access.scope(Permission::Watch);
            manager
                .expiries
                .follow(self, out.access.expires_at(), access.expires_at());
            out.access = access;
            let patterns = out.subs.patterns().map(|known| known.pattern.clone());
            let lost = patterns.filter(|pattern| out.access.check_pattern(pattern).is_err());
            (lost.collect::<Vec<_>>(), changed)
        };
        if !changed {
            return Ok(());
        }
        for pattern in lost {
            self.end_without_request(&mut self.lock(), pattern);
        }
        // What it does not allow is taken away before anything else is done.
        self.begin(Job::Narrow { from: 0 });
        let known = self
            .lock()
            .subs
            .patterns()
            .map(|known| known.pattern.clone())
            .collect();
        for pattern in outermost(known) {
            self.begin(Job::Match {
                pattern,
                after: None,
                start: None,
                asked: None,
            });
        }
        Ok(())
    }
}

/// Returns these patterns less those within another: the tasks of those are among
/// its tasks.
fn outermost(mut patterns: Vec<Pattern>) -> Vec<Pattern> {
    // A prefix comes before what it is a prefix of.
    patterns.sort_unstable();
    patterns.dedup_by(|next, kept| next.prefix().starts_with(kept.prefix()));
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_within_another_is_passed_over() {
        let texts = ["b*", "a*", "ab*", "abc*", "c-1*", "c-*"];
        let patterns = texts.map(|text| text.parse::<Pattern>().unwrap());
        let left: Vec<_> = outermost(patterns.into())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(left, ["a*", "b*", "c-*"]);
    }
}
