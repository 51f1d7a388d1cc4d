//! Merging: one event replaces adjacent ones for a subscriber that lags, without loss of state.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::snapshot::is_clipped;
use crate::{Data, Event, Offset, OutputDelta, Payload, ProgressUpdate};

/// The most bytes that the data of a merged event may have. The event and its envelope still fit
/// into one message.
pub const MAX_MERGED_BYTES: usize = 48 * 1024;

/// The fields of `progress_update` for which `null` means the same as leaving them out.
const OPTIONAL: [&str; 5] = ["progress", "current", "total", "message", "stage"];

/// Merges adjacent `progress_update` events, adjacent `children_update` events, or adjacent
/// `output_delta` events of one output, into one event.
///
/// The merged event has the latest value of every field, or all of the text. Applying it to a state
/// gives the same result as applying each of the events.
///
/// ```
/// use tidings_protocol::{Event, Merger};
///
/// let event = |offset: u32, data: &str| serde_json::from_str::<Event>(&format!(
///     r#"{{"event_type":"progress_update","task_id":"t","offset":{offset},
///         "timestamp":"2026-11-23T08:59:27.601Z","data":{data}}}"#
/// ));
/// let mut merger = Merger::begin(&event(7, r#"{"progress":1,"message":"linking"}"#)?).unwrap();
/// assert!(merger.push(&event(8, r#"{"progress":2}"#)?));
/// let merged = merger.finish();
/// assert_eq!((merged.first_offset().get(), merged.offset.get()), (7, 8));
/// assert_eq!(merged.data.as_str(), r#"{"message":"linking","progress":2}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
pub struct Merger {
    from: Offset,
    last: Event,
    fields: BTreeMap<String, Box<RawValue>>,
    content: Content,
    /// Whether more than one event was merged.
    merged: bool,
}

#[derive(Debug)]
enum Content {
    Progress(ProgressUpdate),
    /// Each update has all of its fields.
    Children,
    Output {
        delta: OutputDelta,
        bytes: usize,
    },
}

impl Merger {
    /// Starts with one event. Returns `None` if events of this type cannot be merged.
    pub fn begin(event: &Event) -> Option<Self> {
        let content = match Payload::of(event).ok()? {
            Payload::ProgressUpdate(update) if is_whole(&update) => Content::Progress(update),
            Payload::ChildrenUpdate(_) => Content::Children,
            Payload::OutputDelta(delta) => {
                let bytes = event.data.as_str().len();
                Content::Output { delta, bytes }
            }
            _ => return None,
        };
        Some(Self {
            from: event.first_offset(),
            last: event.clone(),
            fields: fields(event)?,
            content,
            merged: false,
        })
    }

    /// Adds the next event. Returns `false`, and changes nothing, if the event cannot be merged:
    /// its type or output differs, or the resulting state would differ.
    pub fn push(&mut self, event: &Event) -> bool {
        if event.first_offset() != self.last.offset.next() {
            return false;
        }
        let (Ok(payload), Some(later)) = (Payload::of(event), fields(event)) else {
            return false;
        };
        match (&mut self.content, payload) {
            (Content::Progress(before), Payload::ProgressUpdate(update)) => {
                if !follows(before, &update) || !is_whole(&update) {
                    return false;
                }
                let computed = update.progress.is_none() && update.current.is_some();
                if computed && before.progress.take().is_some() {
                    self.fields.remove("progress");
                }
                let ProgressUpdate {
                    progress,
                    current,
                    total,
                    ..
                } = update;
                before.progress = progress.or(before.progress);
                before.current = current.or(before.current);
                before.total = total.or(before.total);
                let says = |name: &str, value: &RawValue| {
                    !OPTIONAL.contains(&name) || value.get() != "null"
                };
                self.fields
                    .extend(later.into_iter().filter(|(name, value)| says(name, value)));
            }
            (Content::Children, Payload::ChildrenUpdate(_)) => self.fields.extend(later),
            (Content::Output { delta, bytes }, Payload::OutputDelta(next)) => {
                let more = event.data.as_str().len();
                let end = delta.at.map(|at| at + delta.text.len() as u64);
                let fits = *bytes + more <= MAX_MERGED_BYTES;
                if next.output_id != delta.output_id || next.at != end || !fits {
                    return false;
                }
                *bytes += more;
                delta.text.push_str(&next.text);
                self.fields.extend(later);
            }
            _ => return false,
        }
        self.last = event.clone();
        self.merged = true;
        true
    }

    /// Returns the event that stands for all merged events.
    pub fn finish(mut self) -> Event {
        if !self.merged {
            return self.last;
        }
        if let Content::Output { delta, .. } = &self.content {
            self.last.at = delta.at;
            if let Ok(text) = serde_json::value::to_raw_value(&delta.text) {
                self.fields.insert("text".to_owned(), text);
            }
        }
        let data = Data::from_serialize(&self.fields);
        Event {
            from: Some(self.from),
            // Each part was valid data before, so the merged object is valid too.
            data: data.unwrap_or_default(),
            ..self.last
        }
    }
}

/// Returns whether one update can replace the two, in any state before them.
fn follows(before: &ProgressUpdate, update: &ProgressUpdate) -> bool {
    if update.progress.is_some() {
        return true;
    }
    // A percentage is computed from a total. Without a total in these updates, an earlier event
    // decides whether there is one. A total of 0 keeps the earlier percentage.
    match update.total.or(before.total) {
        Some(total) => total > 0.0,
        None => before.progress.is_none(),
    }
}

/// Returns whether a snapshot keeps the update's texts in full. A text that is cut marks the state
/// as truncated, even after a later text has replaced it.
fn is_whole(update: &ProgressUpdate) -> bool {
    let texts = [&update.message, &update.stage];
    !texts.into_iter().flatten().any(|text| is_clipped(text))
}

fn fields(event: &Event) -> Option<BTreeMap<String, Box<RawValue>>> {
    event.data.deserialize().ok()
}
