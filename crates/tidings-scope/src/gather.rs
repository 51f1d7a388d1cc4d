//! Gathers output for a moment, so that a stream of words does not become one event per
//! word.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tidings_protocol::NewEvent;
use tokio::time::Instant;

use crate::reporter::Own;
use crate::{Host, Reporter};

/// The time for which output is gathered. Twenty events a second look like a stream.
const GATHER: Duration = Duration::from_millis(50);

/// The bytes of text above which output is reported at once.
const MAX_BYTES: usize = 16 * 1024;

/// The unreported text of one output. All other reports of the task, and its end, come
/// after it.
#[derive(Debug, Default)]
pub(crate) struct Gathered(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    output_id: String,
    text: String,
    /// The time of the last output report.
    told: Option<Instant>,
    /// True if a spawned task will report the gathered text.
    waits: bool,
}

impl State {
    /// Takes the text out as an event.
    fn take(&mut self, now: Instant) -> Option<NewEvent> {
        if self.text.is_empty() {
            return None;
        }
        self.told = Some(now);
        let text = std::mem::take(&mut self.text);
        Some(NewEvent::output_delta(&self.output_id, text))
    }

    /// Adds text. Returns the events to report now: at most one for the previous output
    /// and one for this one. If no spawned task waits, also returns the time at which
    /// to report the rest.
    fn push(
        &mut self,
        output_id: &str,
        text: &str,
        now: Instant,
    ) -> (Vec<NewEvent>, Option<Instant>) {
        let mut ready = Vec::new();
        if self.output_id != output_id {
            ready.extend(self.take(now));
            output_id.clone_into(&mut self.output_id);
            self.told = None;
        }
        self.text.push_str(text);
        let due = self.told.map(|told| told + GATHER);
        match due.filter(|due| *due > now && self.text.len() < MAX_BYTES) {
            None => {
                ready.extend(self.take(now));
                (ready, None)
            }
            Some(due) => {
                let starts = !std::mem::replace(&mut self.waits, true);
                (ready, starts.then_some(due))
            }
        }
    }
}

impl Gathered {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Host> Reporter<H> {
    /// Reports the gathered output. The lock stays held, so that another thread's text
    /// does not come first.
    pub(crate) fn tell_gathered(&self) {
        let mut state = self.gathered().lock();
        if let Some(event) = state.take(Instant::now()) {
            self.report_delta(event);
        }
    }

    pub(crate) fn gather(&self, output_id: &str, text: &str) {
        let mut state = self.gathered().lock();
        let (ready, due) = state.push(output_id, text, Instant::now());
        for event in ready {
            self.report_delta(event);
        }
        drop(state);
        if let Some(due) = due {
            let (host, own) = (self.host().clone(), Arc::downgrade(self.own()));
            self.host().spawn(tell_later(host, own, due));
        }
    }
}

async fn tell_later<H: Host>(host: H, own: Weak<Own<H>>, due: Instant) {
    tokio::time::sleep_until(due).await;
    // A task without a handle has already reported all output.
    if let Some(own) = own.upgrade() {
        let reporter = Reporter::from_parts(host, own);
        reporter.gathered().lock().waits = false;
        reporter.tell_gathered();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &NewEvent) -> String {
        event.data.get()["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn words_are_gathered_and_another_output_comes_after_them() {
        let now = Instant::now();
        let mut state = State::default();
        let (ready, due) = state.push("a", "one ", now);
        assert_eq!((text(&ready[0]).as_str(), due), ("one ", None));
        let (ready, due) = state.push("a", "two ", now);
        assert_eq!((ready.len(), due), (0, Some(now + GATHER)));
        let (ready, due) = state.push("a", "three ", now);
        assert_eq!((ready.len(), due), (0, None), "one timer is enough");
        let (ready, _) = state.push("b", "other", now);
        let texts: Vec<_> = ready.iter().map(text).collect();
        assert_eq!(texts, ["two three ", "other"]);
        assert_eq!(state.take(now), None);
    }

    #[test]
    fn much_text_waits_for_nothing() {
        let now = Instant::now();
        let mut state = State::default();
        state.push("a", "x", now);
        let (ready, due) = state.push("a", &"y".repeat(MAX_BYTES), now);
        assert_eq!((ready.len(), due), (1, None));
    }
}
