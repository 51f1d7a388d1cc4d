//! Updates as live bars in a terminal: one a task, its agents and tools beneath.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tidings_client::Update;
use tidings_client::protocol::{EventType, ItemState, TaskId, TaskSnapshot, TaskStatus, Timestamp};

use super::View;
use super::lines::{missing, started_over, words};
use super::states::States;
use crate::connect::away_message;
use crate::{Failure, clean};

/// A bar for a task whose end in per cent is known, and one for a task that
/// only goes on.
const BAR: &str =
    "{spinner:.cyan} {prefix:<20} [{bar:28.cyan/blue}] {percent:>3}% {elapsed:>5} {msg}";
const SPINNER: &str = "{spinner:.cyan} {prefix:<20}  {elapsed:>5} {msg}";

/// Between two turns of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Bars at a time, even where a terminal is higher: what is more is counted.
/// Redrawing hundreds of lines is no use to anyone.
const MAX_BARS: usize = 50;

/// Agents and tools shown beneath a task.
const MAX_BENEATH: usize = 6;

pub(super) struct Bars {
    url: String,
    logs: bool,
    multi: MultiProgress,
    bars: HashMap<TaskId, ProgressBar>,
    /// Says what is not shown, and that the server is away.
    footer: ProgressBar,
    away: Option<String>,
}

impl Bars {
    pub(super) fn new(url: String, logs: bool) -> Self {
        let multi = MultiProgress::new();
        let footer = multi.add(ProgressBar::new_spinner());
        footer.set_style(style("{msg:.yellow}"));
        Self {
            url,
            logs,
            multi,
            bars: HashMap::new(),
            footer,
            away: None,
        }
    }

    fn note(&self, text: &str) {
        // Nobody is left to be told that the terminal is gone.
        let _ = self.multi.println(clean(text));
    }

    fn task(&mut self, state: &TaskSnapshot) {
        if state.status.is_terminal() {
            let known = self.bars.remove(&state.task_id);
            if let Some(bar) = known {
                bar.finish_and_clear();
                self.multi.remove(&bar);
                self.note(&ended(state));
            }
            return;
        }
        if !self.bars.contains_key(&state.task_id) {
            // It gets its bar when another has ended.
            if self.bars.len() >= room() {
                return;
            }
            let bar = self
                .multi
                .insert_before(&self.footer, ProgressBar::new(1_000));
            bar.set_prefix(state.task_id.to_string());
            bar.enable_steady_tick(TICK);
            self.bars.insert(state.task_id.clone(), bar);
        }
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
            bar.set_elapsed(since(started));
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
                if matches!(event.event_type, EventType::Log | EventType::OutputDelta) {
                    self.note(&format!("{} │ {}", event.task_id, words(event)));
                }
            }
            Update::Disconnected { loss, .. } => {
                self.away = Some(away_message(&self.url, loss));
            }
            Update::Reconnected => self.away = None,
            _ => {}
        }
        if let Some(state) = update.task_id().and_then(|id| states.get(id)) {
            self.task(state);
        }
        self.foot(states);
        Ok(())
    }

    fn finish(&mut self) {
        for bar in self.bars.values() {
            bar.abandon();
        }
        self.footer.finish_and_clear();
    }
}

/// Bars that fit, with a few lines for what is beneath and below them.
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

fn since(started: Timestamp) -> Duration {
    let now = Timestamp::from(SystemTime::now());
    Duration::from_millis(now.as_millis().saturating_sub(started.as_millis()))
}

/// What is beside and beneath a bar, cut to the terminal's width.
fn message(state: &TaskSnapshot, width: usize) -> String {
    let what = state.stage.iter().chain(&state.message);
    let mut first: Vec<String> = what.map(ToString::to_string).collect();
    if state.status == TaskStatus::Pending {
        first.push("(not started)".to_owned());
    }
    if state.stalled {
        first.push("(stalled)".to_owned());
    }
    if !state.pending_commands.is_empty() {
        let commands = state
            .pending_commands
            .iter()
            .map(|pending| &*pending.command);
        first.push(format!("({} …)", commands.collect::<Vec<_>>().join(", ")));
    }
    let mut lines = vec![cut(&first.join(" "), width.saturating_sub(68).max(12))];
    let agents = state.agents.iter().map(|agent| {
        let message = agent.message.as_deref().unwrap_or_default();
        format!("  ├ {} is {} {message}", agent.agent_id, agent.status)
    });
    let open = |state| state == ItemState::Running;
    let tools = state
        .tool_calls
        .iter()
        .filter(|call| open(call.state))
        .map(|call| format!("  ├ tool {} …", call.tool));
    let open_steps = state.steps.iter().filter(|step| open(step.state));
    let steps = open_steps.map(|step| {
        let name = step.name.as_deref().unwrap_or(step.step_id.as_str());
        format!("  ├ step {} …", name)
    });
    let beneath: Vec<_> = agents.chain(steps).chain(tools).collect();
    let more = beneath.len().saturating_sub(MAX_BENEATH);
    lines.extend(
        beneath
            .iter()
            .take(MAX_BENEATH)
            .map(|line| cut(line.trim_end(), width.saturating_sub(2))),
    );
    if more > 0 {
        lines.push(format!("  ├ and {more} more"));
    }
    lines.join("\n")
}

/// Returns clean text that is no wider than this.
fn cut(text: &str, width: usize) -> String {
    console::truncate_str(&clean(text), width, "…").into_owned()
}

/// How a task has ended, to stay above the bars.
fn ended(state: &TaskSnapshot) -> String {
    let took = match (state.started_at, state.finished_at) {
        (Some(started), Some(finished)) => {
            let ms = finished.as_millis().saturating_sub(started.as_millis());
            let rounded = Duration::from_millis(ms / 100 * 100);
            format!(" in {}", humantime::format_duration(rounded))
        }
        _ => String::new(),
    };
    let (mark, more) = match state.status {
        TaskStatus::Completed => ("✓", None),
        TaskStatus::Failed => ("✗", state.error.as_ref().map(ToString::to_string)),
        _ => ("⊘", state.message.clone()),
    };
    let more = more.map(|more| format!(": {}", more)).unwrap_or_default();
    format!("{mark} {} {}{took}{more}", state.task_id, state.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_client::protocol::{AgentStatus, NewEvent, Offset, Payload};

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
    fn agents_and_tools_are_beneath_their_task_within_the_width() {
        let long = "x".repeat(500);
        let state = state(&[
            NewEvent::task_started("Build"),
            NewEvent::progress(40.0, "linking"),
            NewEvent::agent_status("coder", AgentStatus::Working, long.as_str()),
            NewEvent::tool_call_started("1", "grep", None),
        ]);
        let message = message(&state, 100);
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(lines[0], "linking");
        assert!(
            lines[1].starts_with("  ├ coder is working xxx"),
            "{message}"
        );
        assert_eq!(lines[2], "  ├ tool grep …");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 100),
            "{message}"
        );
    }

    #[test]
    fn an_end_says_how_and_how_long() {
        let failed = state(&[
            NewEvent::task_started("Build"),
            NewEvent::task_failed("disk full"),
        ]);
        assert_eq!(ended(&failed), "✗ build-1 failed in 1s 500ms: disk full");
        let done = state(&[
            NewEvent::task_started("Build"),
            NewEvent::task_completed(None),
        ]);
        assert_eq!(ended(&done), "✓ build-1 completed in 1s 500ms");
    }
}
