//! The names of keys and channels in Redis.
//!
//! All keys of a task have one hash tag, so that a script may use all of them in a cluster.
//! Hash tags are a fixed number of buckets, instead of the tasks' ids. The index of a bucket's
//! tasks then lies in the slot of the tasks themselves, and the same script writes it.

use tidings_protocol::{ClientId, TaskId};

use crate::defaults::BUCKETS;

/// The keys of one installation.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    fn tag(&self, bucket: u16) -> String {
        format!("{{{}:{bucket:02x}}}", self.prefix)
    }

    pub(crate) fn of(&self, task_id: &TaskId) -> TaskKeys {
        let tag = self.tag(bucket(task_id.as_str()));
        TaskKeys {
            meta: format!("{tag}:task:{task_id}"),
            log: format!("{tag}:log:{task_id}"),
            ids: format!("{tag}:ids:{task_id}"),
            outputs: format!("{tag}:out:{task_id}"),
            texts: format!("{tag}:text:{task_id}"),
            channel: self.channel(task_id),
            index: format!("{tag}:index"),
            asking: format!("{tag}:asking"),
            due: format!("{tag}:due"),
            leases: format!("{tag}:leases"),
            appeared: format!("{tag}:new"),
        }
    }

    /// Returns the channel of a task's events.
    pub(crate) fn channel(&self, task_id: &TaskId) -> String {
        format!("{}:ev:{task_id}", self.tag(bucket(task_id.as_str())))
    }

    pub(crate) fn index(&self, bucket: u16) -> String {
        format!("{}:index", self.tag(bucket))
    }

    /// Returns the index of a bucket's tasks with an open question.
    pub(crate) fn asking(&self, bucket: u16) -> String {
        format!("{}:asking", self.tag(bucket))
    }

    /// Returns the index of a bucket's tasks by the time of their next question expiry.
    pub(crate) fn due(&self, bucket: u16) -> String {
        format!("{}:due", self.tag(bucket))
    }

    /// Returns the index of the children of a bucket's tasks, by parent and child.
    pub(crate) fn brood(&self, bucket: u16) -> String {
        format!("{}:brood", self.tag(bucket))
    }

    /// Returns the index of a parent's children in a bucket, by their expiry.
    pub(crate) fn kids(&self, bucket: u16, parent: &TaskId) -> String {
        format!("{}:kids:{parent}", self.tag(bucket))
    }

    /// Returns the index of a bucket's parents by the time of their next look.
    pub(crate) fn stir(&self, bucket: u16) -> String {
        format!("{}:stir", self.tag(bucket))
    }

    /// Returns the key of the reign under which a bucket's parents were last looked at.
    pub(crate) fn reign(&self, bucket: u16) -> String {
        format!("{}:reign", self.tag(bucket))
    }

    /// Returns the index of a bucket's tasks that have, or had, children.
    pub(crate) fn parents(&self, bucket: u16) -> String {
        format!("{}:parents", self.tag(bucket))
    }

    /// Returns the prefix of all keys within their hash tag.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the channel of a bucket's new tasks.
    pub(crate) fn appeared(&self, bucket: u16) -> String {
        format!("{}:new", self.tag(bucket))
    }

    /// Returns a channel of this node alone, which shows that messages come through.
    pub(crate) fn echo(&self, node: &str) -> String {
        format!("{{{}:echo:{node}}}", self.prefix)
    }

    /// Returns the keys of a client and of its inbox.
    pub(crate) fn client(&self, client_id: &ClientId) -> (String, String) {
        let tag = self.tag(bucket(client_id.as_str()));
        (
            format!("{tag}:client:{client_id}"),
            format!("{tag}:inbox:{client_id}"),
        )
    }

    /// Returns the keys of the nodes by the time of their last heartbeat, and of their names.
    pub(crate) fn nodes(&self) -> (String, String) {
        let tag = format!("{{{}:nodes}}", self.prefix);
        (format!("{tag}:heard"), format!("{tag}:names"))
    }

    /// Returns the channel of messages to one node.
    pub(crate) fn mail(&self, node: &str) -> String {
        format!("{{{}:mail:{node}}}", self.prefix)
    }

    /// Returns the task of a channel of events. Returns `None` for another kind of channel.
    pub(crate) fn task_of(&self, channel: &str) -> Option<TaskId> {
        let rest = channel.strip_prefix('{')?.strip_prefix(&self.prefix)?;
        let (_, id) = rest.split_once("}:ev:")?;
        id.parse().ok()
    }
}

/// The keys of one task.
#[derive(Debug, Clone)]
pub(crate) struct TaskKeys {
    pub(crate) meta: String,
    pub(crate) log: String,
    pub(crate) ids: String,
    /// The kept part of each output of the task.
    pub(crate) outputs: String,
    /// The text of the outputs, in blocks.
    pub(crate) texts: String,
    pub(crate) index: String,
    pub(crate) asking: String,
    pub(crate) due: String,
    pub(crate) leases: String,
    pub(crate) channel: String,
    pub(crate) appeared: String,
}

/// Returns the bucket of a text, by FNV-1a. Any stable hash works, and this one is three lines.
pub(crate) fn bucket(text: &str) -> u16 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u16::try_from(hash % u64::from(BUCKETS)).expect("the remainder is below the bucket count")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_leads_back_to_its_task() {
        let keys = Keys::new("tidings");
        let task: TaskId = "a:ev:b-~".parse().unwrap();
        assert_eq!(keys.task_of(&keys.channel(&task)), Some(task));
        assert_eq!(keys.task_of(&keys.appeared(3)), None);
        assert_eq!(keys.task_of(&keys.echo("x")), None);
        assert_eq!(keys.task_of(&keys.mail("x")), None);
    }

    #[test]
    fn all_that_a_script_touches_has_one_tag() {
        let keys = Keys::new("tidings").of(&"build-7".parse().unwrap());
        let tag = |key: &str| key[..=key.find('}').unwrap()].to_owned();
        for key in [
            &keys.log,
            &keys.ids,
            &keys.outputs,
            &keys.texts,
            &keys.index,
            &keys.asking,
            &keys.due,
            &keys.leases,
            &keys.channel,
            &keys.appeared,
        ] {
            assert_eq!(tag(key), tag(&keys.meta));
        }
    }
}
