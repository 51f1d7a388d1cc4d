//! The groups of a connection: how they are attached and ended, and the messages about them.

use tidings_bus::OverLimit;
use tidings_protocol::{ControlMessage, ErrorCode, Reference, Target, UnsubscribeReason};

use crate::connection::Connection;
use crate::group::Group;
use crate::jobs::Job;
use crate::outbound::Outbound;
use crate::subscriptions::GroupSub;
use crate::trees::{TreeSub, set_topmost};

impl Connection {
    /// Ends a group for which there is no room, sends the client an error, and counts a refusal.
    pub(crate) fn end_group(&self, out: &mut Outbound, group: Group, over: &OverLimit) {
        self.say_no_room(out, &group.clone().into(), over);
        self.count_refusal(out);
        self.end_without_request(out, group, UnsubscribeReason::Removed);
    }

    /// Ends a group without a request of the client. Unless the reason is
    /// [`Forbidden`](UnsubscribeReason::Forbidden), an error has already said why.
    pub(crate) fn end_without_request(
        &self,
        out: &mut Outbound,
        group: Group,
        reason: UnsubscribeReason,
    ) {
        if !self.detach_group(out, &group) {
            return;
        }
        out.subs.jobs_mut().push(Job::Unmatch {
            group,
            from: 0,
            reference: None,
            reason,
            begun: true,
        });
        out.wake();
    }

    pub(crate) fn detach_group(&self, out: &mut Outbound, group: &Group) -> bool {
        let Some(removed) = out.subs.remove_group(group) else {
            return false;
        };
        removed.detach(&self.manager().bus);
        out.subs.forget_group(group);
        if let Group::Tree(root) = group {
            set_topmost(out, root, false);
        }
        true
    }

    /// Sends an error: there is no room for a subscription. The text says which limit is reached.
    pub(crate) fn say_no_room(&self, out: &mut Outbound, target: &Target, over: &OverLimit) {
        let text = format!("there is no room for the subscription to {target}: {over}");
        self.say_error(out, None, ErrorCode::TooManySubscriptions, text);
    }

    /// Sends an error with this code and text. It is no refusal: the cause may be the server.
    pub(crate) fn say_error(
        &self,
        out: &mut Outbound,
        reference: Option<Reference>,
        code: ErrorCode,
        text: String,
    ) {
        if !out.is_open() {
            // Nothing follows the close.
            return;
        }
        self.manager().counters.error(code);
        let mut bytes = Vec::new();
        self.encode(&ControlMessage::error(reference, code, text), &mut bytes);
        self.write_control(out, &bytes);
    }

    /// Attaches a group. From here on, the connection is told about tasks that appear in the group.
    /// In a tree, this holds for the children of each task that was passed to
    /// [`enter`](Self::enter).
    pub(crate) fn attach_group(&self, out: &mut Outbound, group: &Group) {
        let known = match group {
            Group::Pattern(pattern) => {
                let Some(watcher) = self.pattern_watcher() else {
                    return;
                };
                let id = self.manager().bus.attach_pattern(pattern, watcher, 0);
                let pattern = pattern.clone();
                GroupSub::Pattern { pattern, id }
            }
            Group::Tree(root) => GroupSub::Tree(TreeSub::new(root.clone())),
        };
        out.subs.add_group(known);
        if let Group::Tree(root) = group {
            set_topmost(out, root, true);
        }
        self.changed();
    }

    /// Refuses to end a group to which the connection is not subscribed.
    pub(crate) fn refuse_unsubscription(
        &self,
        out: &mut Outbound,
        reference: Option<Reference>,
        group: &Group,
    ) {
        let text = format!("this connection is not subscribed to {group}");
        self.say_error(out, reference, ErrorCode::NotSubscribed, text);
        self.count_refusal(out);
    }
}
