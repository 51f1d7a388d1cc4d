//! Progress bars that a program has already, reported as a task's progress.
//!
//! [`report`] gives a [`ProgressStyle`] that draws as before and tells a task
//! how far the bar is, ten times a second at most. It rests on
//! [`ProgressTracker`], which indicatif calls for every change of a bar, drawn
//! or not: so it works where there is no terminal, too.
//!
//! ```no_run
//! # async fn example(client: tidings_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use indicatif::{ProgressBar, ProgressStyle};
//!
//! let task = client.task("copy-1").start().await?;
//! let bar = ProgressBar::new(500);
//! bar.set_style(tidings_client::indicatif::report(ProgressStyle::default_bar(), &task));
//! bar.inc(100);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::{Duration, Instant};

use indicatif::style::ProgressTracker;
use indicatif::{ProgressState, ProgressStyle};
use tidings_protocol::NewEvent;

use crate::task::Reporter;

/// Between two reports of one bar.
const PAUSE: Duration = Duration::from_millis(100);

/// The key under which the style calls us; templates need not name it.
const KEY: &str = "tidings";

/// A style that draws as `style` does, and reports the bar's place to a task.
/// The last place is always reported.
pub fn report(style: ProgressStyle, task: &Reporter) -> ProgressStyle {
    style.with_key(
        KEY,
        Reports {
            task: task.clone(),
            last: None,
        },
    )
}

struct Reports {
    task: Reporter,
    /// When what was reported.
    last: Option<(Instant, u64, u64)>,
}

impl Reports {
    #[expect(clippy::cast_precision_loss, reason = "a place on a bar")]
    fn tell(&mut self, state: &ProgressState, now: Instant) {
        let Some(len) = state.len().filter(|len| *len > 0) else {
            return;
        };
        let pos = state.pos().min(len);
        let due = match self.last {
            Some((_, told, of)) if (told, of) == (pos, len) => false,
            Some((at, ..)) => pos == len || now.saturating_duration_since(at) >= PAUSE,
            None => true,
        };
        if due {
            self.last = Some((now, pos, len));
            let event = NewEvent::progress_of(pos as f64, len as f64, None);
            self.task.publish(event);
        }
    }
}

impl ProgressTracker for Reports {
    fn clone_box(&self) -> Box<dyn ProgressTracker> {
        Box::new(Self {
            task: self.task.clone(),
            last: self.last,
        })
    }

    fn tick(&mut self, state: &ProgressState, now: Instant) {
        self.tell(state, now);
    }

    fn reset(&mut self, _: &ProgressState, _: Instant) {
        self.last = None;
    }

    fn write(&self, _: &ProgressState, _: &mut dyn fmt::Write) {}
}
