//! The conformance suite for a store that keeps outputs.

use std::sync::Arc;

use tidings_protocol::{ItemId, NewEvent, Offset, Payload, TaskId};

use super::{check, example};
use crate::log::{Extents, OutputChanges, OutputLimits, kept_part};
use crate::store::{Append, Store};

const LIMITS: OutputLimits = OutputLimits {
    each: 6_000,
    task: 10_000,
};

fn id(text: &str) -> ItemId {
    ItemId::new(text).expect("a short printable text is an id")
}

/// A task with stored outputs, and the expected text of each.
struct Given<'a> {
    store: &'a Arc<dyn Store>,
    extents: Extents,
    offset: u64,
    texts: Vec<(&'static str, Vec<u8>)>,
}

impl Given<'_> {
    /// Stores events in one append. If `new_run`, the first event opens a run.
    async fn store(&mut self, events: &[NewEvent], new_run: bool) {
        let first = self.offset + 1;
        let mut changes = OutputChanges::default();
        for event in events {
            self.offset += 1;
            let payload = Payload::parse(&event.event_type, &event.data).expect("a valid event");
            let offset = Offset::new(self.offset).expect("small offsets are valid");
            let at = (&payload, offset);
            self.extents.take(at, new_run, LIMITS, &mut changes);
        }
        let append = Append {
            outputs: Some(Arc::new(changes)),
            ..example("a", "e1", first..=self.offset)
        };
        self.store.append(append).await.expect("events");
    }

    async fn delta(&mut self, output: &'static str, text: &str) {
        let event = NewEvent::output_delta(output, text);
        match self.texts.iter_mut().find(|(id, _)| *id == output) {
            Some((_, whole)) => whole.extend_from_slice(text.as_bytes()),
            None => self.texts.push((output, text.as_bytes().to_vec())),
        }
        self.store(&[event], false).await;
    }

    async fn check(&self) {
        let task_id: TaskId = "a".parse().expect("a literal of the id's alphabet");
        let found = self.store.find(&task_id).await.expect("a search");
        let mut stored = found.expect("a task that is there").outputs;
        stored.sort_by_key(|output| output.began);
        let expected: Vec<_> = self.extents.iter().cloned().collect();
        assert_eq!(stored, expected);
        for output in expected {
            let whole = self
                .texts
                .iter()
                .find(|(id, _)| *id == output.output_id.as_str());
            let whole = &whole.expect("an output that was written").1;
            for wanted in [0..u64::MAX, 0..0, 100..3_000, 5_000..5_001, 1_024..2_048] {
                let read = self
                    .store
                    .read_output(&task_id, &output.output_id, wanted.clone());
                let read = read
                    .await
                    .expect("a read")
                    .expect("an output that is there");
                let part = kept_part(&output, wanted);
                let place = |offset: u64| usize::try_from(offset).expect("small");
                assert_eq!(read.from, part.start);
                assert_eq!(read.bytes, whole[place(part.start)..place(part.end)]);
            }
        }
    }
}

/// Runs the checks for a store that keeps whole outputs. Each check uses a new store from
/// `make`.
///
/// # Panics
/// Panics if the store does not conform. The message names the check, and says what the store did.
pub async fn run_outputs<S: Store>(make: impl Fn() -> Arc<S>) {
    let store = make() as Arc<dyn Store>;
    check("keeps_outputs_whole", keeps_outputs_whole(&store)).await;
}

async fn keeps_outputs_whole(store: &Arc<dyn Store>) {
    let mut given = Given {
        store,
        extents: Extents::default(),
        offset: 0,
        texts: Vec::new(),
    };
    given.delta("out 1", "short").await;
    given.check().await;
    for n in 0..120 {
        given.delta("out 1", &format!("word{n} ")).await;
        given.delta("out", &"é".repeat(n)).await;
        if n % 20 == 0 {
            given.check().await;
        }
    }
    // Both outputs have outgrown the limits by now.
    given.check().await;
    given.texts[1].1 = b"in the end".to_vec();
    let completed = NewEvent::output_completed("out", "in the end");
    given.store(&[completed], false).await;
    given.check().await;
    given.delta("out", ", and on").await;
    given.check().await;
    // Another run starts without these outputs.
    given.texts = vec![("out 1", b"anew".to_vec())];
    let start = NewEvent::task_started("again");
    let delta = NewEvent::output_delta("out 1", "anew");
    given.store(&[start], true).await;
    given.store(&[delta], false).await;
    given.check().await;
    let unknown = store
        .read_output(&"a".parse().expect("an id"), &id("out"), 0..9)
        .await;
    assert_eq!(unknown.expect("a read"), None, "of the run before");
    store
        .remove(&"a".parse().expect("an id"))
        .await
        .expect("a removal");
    let gone = store
        .read_output(&"a".parse().expect("an id"), &id("out 1"), 0..9)
        .await;
    assert_eq!(gone.expect("a read"), None, "removed");
    given.extents = Extents::default();
    (given.offset, given.texts) = (0, Vec::new());
    given.delta("out 1", "once more").await;
    given.check().await;
}
