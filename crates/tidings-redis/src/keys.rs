//! Where things lie in Redis.
//!
//! All that belongs to a task has one hash tag, so that a script may touch all
//! of it in a cluster. Tags are a fixed number of buckets and not the tasks'
//! ids: the index that lists a bucket's tasks then lies in the slot of the
//! tasks themselves, and is written by the same script.

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
            appeared: format!("{tag}:new"),
        }
    }

    /// The channel of a task's events.
    pub(crate) fn channel(&self, task_id: &TaskId) -> String {
        format!("{}:ev:{task_id}", self.tag(bucket(task_id.as_str())))
    }

    pub(crate) fn index(&self, bucket: u16) -> String {
        format!("{}:index", self.tag(bucket))
    }

    /// A bucket's tasks with an open question.
    pub(crate) fn asking(&self, bucket: u16) -> String {
        format!("{}:asking", self.tag(bucket))
    }

    /// A bucket's tasks by when a question of theirs expires.
    pub(crate) fn due(&self, bucket: u16) -> String {
        format!("{}:due", self.tag(bucket))
    }

    /// The channel where a bucket's new tasks are named.
    pub(crate) fn appeared(&self, bucket: u16) -> String {
        format!("{}:new", self.tag(bucket))
    }

    /// A channel of this node's own, to see that messages come through.
    pub(crate) fn echo(&self, node: &str) -> String {
        format!("{{{}:echo:{node}}}", self.prefix)
    }

    /// A client, and its inbox.
    pub(crate) fn client(&self, client_id: &ClientId) -> (String, String) {
        let tag = self.tag(bucket(client_id.as_str()));
        (
            format!("{tag}:client:{client_id}"),
            format!("{tag}:inbox:{client_id}"),
        )
    }

    /// The nodes by the time they were last heard of, and their names.
    pub(crate) fn nodes(&self) -> (String, String) {
        let tag = format!("{{{}:nodes}}", self.prefix);
        (format!("{tag}:heard"), format!("{tag}:names"))
    }

    /// The channel of what is sent to one node.
    pub(crate) fn mail(&self, node: &str) -> String {
        format!("{{{}:mail:{node}}}", self.prefix)
    }

    /// The task of a channel of events; none if it is another kind of channel.
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
    /// Which parts of the task's outputs are kept.
    pub(crate) outputs: String,
    /// Their text, in blocks.
    pub(crate) texts: String,
    pub(crate) index: String,
    pub(crate) asking: String,
    pub(crate) due: String,
    pub(crate) channel: String,
    pub(crate) appeared: String,
}

/// FNV-1a: any stable hash will do, and this one is three lines.
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
            &keys.channel,
            &keys.appeared,
        ] {
            assert_eq!(tag(key), tag(&keys.meta));
        }
    }
}
