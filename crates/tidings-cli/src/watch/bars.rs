//! Shows updates as live bars in a terminal: one bar per task, with its agents and
//! tools beneath.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidings_client::Update;
use tidings_client::protocol::{EventType, TaskId, TaskSnapshot, TaskStatus};

use super::View;
use super::beneath::{cut, message};
use super::lines::{missing, started_over, words};
use super::order::order;
use super::outputs::Outputs;
use super::states::States;
use crate::connect::away_message;
use crate::{Failure, age, clean};

/// The format of a bar for a task with a known percentage, and of a spinner for any
/// other task.
const BAR: &str =
    "{spinner:.cyan} {prefix:<20} [{bar:28.cyan/blue}] {percent:>3}% {elapsed:>5} {msg}";
const SPINNER: &str = "{spinner:.cyan} {prefix:<20}  {elapsed:>5} {msg}";

/// The time between two turns of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// The largest number of bars, even in a higher terminal. Further tasks are only
/// counted. Redrawing hundreds of lines helps no reader.
const MAX_BARS: usize = 50;

pub(super) struct Bars {
    url: String,
    logs: bool,
    multi: MultiProgress,
    bars: HashMap<TaskId, ProgressBar>,
    /// The tasks with a bar, from top to bottom, with their depth in the tree.
    shown: Vec<(TaskId, usize)>,
    outputs: Outputs,
    /// Shows the number of hidden tasks, and that the server is away.
    footer: ProgressBar,
    away: Option<String>,
}

/// Returns true if standard output is a terminal that can draw bars.
pub(super) fn are_possible() -> bool {
    !ProgressDrawTarget::stdout().is_hidden()
}

impl Bars {
    pub(super) fn new(url: String, logs: bool) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let footer = multi.add(ProgressBar::new_spinner());
        footer.set_style(style("{msg:.yellow}"));
        Self {
            url,
            logs,
            multi,
            bars: HashMap::new(),
            shown: Vec::new(),
            outputs: Outputs::default(),
            footer,
            away: None,
        }
    }

    fn note(&self, text: &str) {
        // If the terminal is gone, there is no reader to tell.
        let _ = self.multi.println(clean(text));
    }

    /// Removes a task's bar. Returns true if the task had one.
    fn drop_bar(&mut self, task: &TaskId) -> bool {
        let Some(bar) = self.bars.remove(task) else {
            return false;
        };
        self.shown.retain(|(shown, _)| shown != task);
        bar.finish_and_clear();
        self.multi.remove(&bar);
        true
    }

    /// Moves children under their parent.
    fn arrange(&mut self, states: &States) {
        let with_bar = states
            .iter()
            .filter(|state| self.bars.contains_key(&state.task_id));
        let tasks = with_bar.map(|state| (&state.task_id, state.parent_task_id.as_ref()));
        let wanted = order(tasks);
        let is_so = wanted.len() == self.shown.len()
            && wanted
                .iter()
                .zip(&self.shown)
                .all(|(wanted, shown)| (wanted.0, wanted.1) == (&shown.0, shown.1));
        if is_so {
            return;
        }
        for (row, (task, depth)) in wanted.iter().enumerate() {
            let bar = &self.bars[*task];
            let indent = match depth {
                0 => String::new(),
                depth => format!("{}└ ", "  ".repeat(depth.min(&8) - 1)),
            };
            bar.set_prefix(format!("{indent}{task}"));
            self.multi.remove(bar);
            self.multi.insert(row, bar.clone());
        }
        self.shown = wanted
            .into_iter()
            .map(|(task, depth)| (task.clone(), depth))
            .collect();
    }

    fn task(&mut self, state: &TaskSnapshot, states: &States) {
        if state.status.is_terminal() {
            if self.drop_bar(&state.task_id) {
                self.note(&ended(state));
                self.arrange(states);
            }
            return;
        }
        if !self.bars.contains_key(&state.task_id) {
            // The task gets its bar when another task has ended.
            if self.bars.len() >= room() {
                return;
            }
            let bar = self
                .multi
                .insert_before(&self.footer, ProgressBar::new(1_000));
            bar.set_prefix(state.task_id.to_string());
            bar.enable_steady_tick(TICK);
            self.bars.insert(state.task_id.clone(), bar);
            self.shown.push((state.task_id.clone(), 0));
        }
        self.arrange(states);
        let bar = &self.bars[&state.task_id];
        match state.progress {
            Some(progress) => {
                bar.set_style(style(BAR).progress_chars("=> "));
                bar.set_position(per_mille(progress));
            }
            None => bar.set_style(style(SPINNER)),
        }
        bar.set_message(message(
            state,
            usize::from(console::Term::stdout().size().1),
        ));
        if let Some(started) = state.started_at {
            bar.set_elapsed(age::since(started));
        }
    }

    fn foot(&mut self, states: &States) {
        let mut parts = Vec::new();
        let going = states.iter().filter(|state| !state.status.is_terminal());
        let hidden = going.count().saturating_sub(self.bars.len());
        if hidden > 0 {
            parts.push(format!("and {hidden} more"));
        }
        parts.extend(self.away.clone());
        if parts.is_empty() && self.bars.is_empty() {
            parts.push("nothing is running yet".to_owned());
        }
        let width = usize::from(console::Term::stdout().size().1);
        self.footer
            .set_message(cut(&parts.join("; "), width.saturating_sub(1)));
    }
}

impl View for Bars {
    fn show(&mut self, update: &Update, states: &States) -> Result<(), Failure> {
        match update {
            Update::Snapshot(state) if state.status.is_terminal() => self.note(&ended(state)),
            Update::Gap {
                task_id,
                gap,
                snapshot,
            } if snapshot.is_some() => {
                self.note(&format!("  {task_id}: {}", missing(gap)));
            }
            Update::Reset {
                task_id, reason, ..
            } => self.note(&format!("  {task_id}: {}", started_over(*reason))),
            Update::Event(event) if self.logs => {
                for (_, line) in self.outputs.take(event) {
                    self.note(&format!("{} │ {line}", event.task_id));
                }
                if event.event_type == EventType::Log {
                    for line in words(event).lines() {
                        self.note(&format!("{} │ {line}", event.task_id));
                    }
                }
            }
            Update::Removed { task_id } => {
                self.drop_bar(task_id);
                self.note(&format!("⊘ {task_id} was removed"));
                self.arrange(states);
            }
            Update::Disconnected { loss, .. } => {
                self.away = Some(away_message(&self.url, loss));
            }
            Update::Reconnected => self.away = None,
            _ => {}
        }
        if let Some(state) = update.task_id().and_then(|id| states.get(id)) {
            self.task(state, states);
        }
        self.foot(states);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        for (task, _, line) in self.outputs.end_all() {
            self.note(&format!("{task} │ {line}"));
        }
        for bar in self.bars.values() {
            bar.abandon();
        }
        self.footer.finish_and_clear();
        Ok(())
    }
}

/// Returns the number of bars that fit. A few lines stay free for the text beneath and
/// below them.
fn room() -> usize {
    let rows = usize::from(console::Term::stdout().size().0);
    rows.saturating_sub(4).clamp(1, MAX_BARS)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template that a test has read")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 1,000"
)]
fn per_mille(percent: f64) -> u64 {
    (percent * 10.0).clamp(0.0, 1_000.0) as u64
}

/// Returns the final line of an ended task, printed above the bars.
fn ended(state: &TaskSnapshot) -> String {
    let took = age::took(state).map(|took| format!(" in {}", age::short(took)));
    let took = took.unwrap_or_default();
    let (mark, more) = match state.status {
        TaskStatus::Completed => ("✓", None),
        TaskStatus::Failed => ("✗", state.error.as_ref().map(ToString::to_string)),
        _ => ("⊘", state.message.clone()),
    };
    let more = more.map(|more| format!(": {more}")).unwrap_or_default();
    format!("{mark} {} {}{took}{more}", state.task_id, state.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_client::protocol::{NewEvent, Offset, Payload, Timestamp};

    fn state(events: &[NewEvent]) -> TaskSnapshot {
        let mut state = TaskSnapshot::new("build-1".parse().unwrap(), "e".parse().unwrap());
        let mut offset = Offset::ZERO;
        for event in events {
            offset = offset.next();
            let payload = Payload::parse(&event.event_type, &event.data).unwrap();
            state.apply(
                &payload,
                offset,
                Timestamp::from_millis(offset.get() * 1_500),
            );
        }
        state
    }

    #[test]
    fn templates_can_be_read() {
        for template in [BAR, SPINNER] {
            style(template);
        }
    }

    #[test]
    fn an_end_says_how_and_how_long() {
        let failed = state(&[
            NewEvent::task_started("Build"),
            NewEvent::task_failed("disk full"),
        ]);
        assert_eq!(ended(&failed), "✗ build-1 failed in 1s: disk full");
        let done = state(&[
            NewEvent::task_started("Build"),
            NewEvent::task_completed(None),
        ]);
        assert_eq!(ended(&done), "✓ build-1 completed in 1s");
    }
}
