//! `authenticate`: a new token for an existing connection.

use std::sync::Arc;

use tidings_protocol::{ErrorCode, Secret, UnsubscribeReason};

use crate::auth::{Access, Credentials, Permission};
use crate::connection::Connection;
use crate::group::Group;
use crate::jobs::Job;
use crate::session::Refusal;
use crate::subscriptions::GroupSub;

impl Connection {
    /// Replaces the connection's token. If the new token is refused, nothing changes, and the old
    /// token stays valid until it expires.
    ///
    /// Subscriptions that the new token does not allow end with a message. Tasks that it allows in
    /// addition appear in the existing groups.
    pub(crate) async fn renew(self: &Arc<Self>, token: &Secret) -> Result<(), Refusal> {
        let manager = self.manager();
        let credentials = Credentials::new(Some(token.reveal()), self.remote_addr());
        let access = manager.authenticate(credentials).await?;
        let changed = {
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
            if changed {
                // From here on, no cursor delivers what the new token does not allow.
                out.subs.jobs_mut().push(Job::Narrow { from: 0 });
                out.wake();
                let groups = out.subs.groups().map(GroupSub::group);
                let lost = groups.filter(|group| !is_allowed(&out.access, group));
                for group in lost.collect::<Vec<_>>() {
                    self.end_without_request(&mut out, group, UnsubscribeReason::Forbidden);
                }
            }
            changed
        };
        if !changed {
            return Ok(());
        }
        let known = self.lock().subs.groups().map(GroupSub::group).collect();
        for group in outermost(known) {
            self.begin(Job::again(group));
        }
        Ok(())
    }
}

/// Returns whether a client may still watch a group. Each task of the group is also checked
/// separately.
fn is_allowed(access: &Access, group: &Group) -> bool {
    match group {
        Group::Pattern(pattern) => access.check_pattern(pattern).is_ok(),
        Group::Tree(root) => access.allows(Permission::Watch, root),
    }
}

/// Leaves out the patterns that another pattern contains. Their tasks are among its tasks.
fn outermost(mut groups: Vec<Group>) -> Vec<Group> {
    // Sorting puts a prefix before the texts that begin with it.
    groups.sort_unstable();
    groups.dedup_by(|next, kept| match (next, kept) {
        (Group::Pattern(next), Group::Pattern(kept)) => next.prefix().starts_with(kept.prefix()),
        _ => false,
    });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_within_another_is_passed_over() {
        let texts = ["b*", "a*", "ab*", "abc*", "c-1*", "c-*"];
        let patterns = texts.map(|text| Group::Pattern(text.parse().unwrap()));
        let tree = Group::Tree("abc".parse().unwrap());
        let left: Vec<_> = outermost(patterns.into_iter().chain([tree]).collect())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(left, ["a*", "b*", "c-*", "abc"]);
    }
}
