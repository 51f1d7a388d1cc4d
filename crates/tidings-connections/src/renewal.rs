//! `authenticate`: another token for a connection that goes on.

use std::sync::Arc;

use tidings_protocol::{ControlMessage, ErrorCode, Secret, Target};

use crate::auth::{Credentials, Permission};
use crate::connection::Connection;
use crate::session::Refusal;
use crate::subscriptions::{PatternSub, Source, Sub};

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
        let (lost, narrower_or_wider) = {
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
            let lost: Vec<usize> = out
                .subs
                .iter()
                .filter(|(_, sub)| {
                    let task_id = sub.source.task_id();
                    task_id.is_some_and(|id| !out.access.allows(Permission::Watch, id))
                })
                .map(|(key, _)| key)
                .collect();
            let lost: Vec<_> = lost
                .into_iter()
                .filter_map(|key| out.remove_sub(key))
                .collect();
            (lost, changed)
        };
        for sub in lost {
            self.tell_lost(sub);
        }
        if narrower_or_wider {
            self.look_again();
        }
        Ok(())
    }

    fn tell_lost(&self, sub: Sub) {
        if let Source::Task(task) = sub.source {
            self.send(&ControlMessage::unsubscribed(
                None,
                Target::Task(task.id().clone()),
            ));
            self.manager().bus.detach(&task, sub.attached);
        }
    }

    /// Finds the tasks under the connection's patterns that it may watch only now.
    fn look_again(&self) {
        let mut out = self.lock();
        let known: Vec<_> = out
            .subs
            .patterns()
            .map(|known| known.pattern.clone())
            .collect();
        for pattern in known {
            let Some(watcher) = self.pattern_watcher() else {
                continue;
            };
            // Attached anew before the old one goes, so that no task appears in between.
            let bus = &self.manager().bus;
            let (id, tasks) = bus.watch_pattern(&pattern, watcher, 0);
            let before = out.subs.remove_pattern(&pattern);
            out.subs.add_pattern(PatternSub { pattern, id });
            if let Some(before) = before {
                bus.unwatch_pattern(before.id);
            }
            for task in self.only_allowed(&out, tasks) {
                self.add_appeared(&mut out, &task);
            }
        }
        out.wake();
    }
}
