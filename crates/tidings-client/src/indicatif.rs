//! Reports an existing progress bar as a task's progress.
//!
//! [`report`] returns a [`ProgressStyle`] that draws the bar as before. In addition, the style
//! reports the bar's position to a task, at most ten times a second. The style uses
//! [`ProgressTracker`], which indicatif calls for every change of a bar. indicatif does so even if
//! the bar is not drawn, so no terminal is necessary.
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

/// The shortest time between two reports of one bar.
const PAUSE: Duration = Duration::from_millis(100);

/// The key under which the style calls this tracker. Templates need not name the key.
const KEY: &str = "tidings";

/// Returns a style that draws like `style` and reports the bar's position to a task. The last
/// position is always reported.
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
    /// The last report: its time, position and length.
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
