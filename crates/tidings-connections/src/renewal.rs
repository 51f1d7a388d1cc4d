//! `authenticate`: a new token for an existing connection.

use std::sync::Arc;

use tidings_protocol::{ErrorCode, Pattern, Secret};

use crate::auth::{Credentials, Permission};
use crate::connection::Connection;
use crate::jobs::Job;
use crate::session::Refusal;

impl Connection {
    /// Replaces the connection's token. If the new token is refused, nothing changes, and the old
    /// token stays valid until it expires.
    ///
    /// Subscriptions that the new token does not allow end with a message. Tasks that it allows in
    /// addition appear under the existing patterns.
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
                    "the token belongs to another subject: open a new connection for it",
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
        // Take away what the new token does not allow before anything else happens.
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

/// Returns the patterns that no other pattern contains. The tasks of the others are among their
/// tasks.
fn outermost(mut patterns: Vec<Pattern>) -> Vec<Pattern> {
    // Sorting puts a prefix before the texts that begin with it.
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
