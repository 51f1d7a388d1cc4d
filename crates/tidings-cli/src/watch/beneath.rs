//! The text beside and beneath the bar of a task: its agents, steps, tools, questions
//! and outputs.

use tidings_client::protocol::{ItemState, OutputState, TaskSnapshot, TaskStatus};

use crate::clean;

/// The largest number of lines beneath a task.
const MAX_BENEATH: usize = 6;

/// The columns that the rest of a bar takes.
const BAR_COLUMNS: usize = 68;

/// Returns the text beside and beneath a bar, cut to the terminal's width.
pub(super) fn message(state: &TaskSnapshot, width: usize) -> String {
    let beside = cut(&beside(state), width.saturating_sub(BAR_COLUMNS).max(12));
    let beneath = beneath(state, width.saturating_sub(2));
    let more = beneath.len().saturating_sub(MAX_BENEATH);
    let mut lines = vec![beside];
    lines.extend(beneath.into_iter().take(MAX_BENEATH));
    if more > 0 {
        lines.push(format!("  ├ and {more} more"));
    }
    lines.join("\n")
}

fn beside(state: &TaskSnapshot) -> String {
    let mut words: Vec<String> = state.stage.iter().chain(&state.message).cloned().collect();
    if state.status == TaskStatus::Pending {
        words.push("(not started)".to_owned());
    }
    if state.stalled {
        words.push("(stalled)".to_owned());
    }
    if !state.pending_commands.is_empty() {
        let pending = state.pending_commands.iter();
        let names: Vec<_> = pending.map(|pending| pending.command.as_str()).collect();
        words.push(format!("({} …)", names.join(", ")));
    }
    words.join(" ")
}

fn beneath(state: &TaskSnapshot, width: usize) -> Vec<String> {
    let asks = state.pending_inputs.iter().map(|input| {
        let (id, prompt) = (&input.input_id, &input.prompt);
        format!("  ├ asks {id}: {prompt}")
    });
    let agents = state.agents.iter().map(|agent| {
        let message = agent.message.as_deref().unwrap_or_default();
        format!("  ├ {} is {} {message}", agent.agent_id, agent.status)
    });
    let open = |state| state == ItemState::Running;
    let steps = state.steps.iter().filter(|step| open(step.state));
    let steps = steps.map(|step| {
        let name = step.name.as_deref().unwrap_or(step.step_id.as_str());
        format!("  ├ step {name} …")
    });
    let tools = state.tool_calls.iter().filter(|call| open(call.state));
    let tools = tools.map(|call| format!("  ├ tool {} …", call.tool));
    let lines = asks.chain(agents).chain(steps).chain(tools);
    let lines = lines.map(|line| cut(line.trim_end(), width));
    let words = state.outputs.iter().filter(|output| !output.complete);
    let words = words.filter_map(|output| words_of(output, width));
    lines.chain(words).collect()
}

/// Returns the end of an agent's output: as much of its last line as fits.
fn words_of(output: &OutputState, width: usize) -> Option<String> {
    const MARK: &str = "  ├ “";
    let line = output.text.trim_end().rsplit('\n').next()?;
    let line = clean(line);
    if line.is_empty() {
        return None;
    }
    let room = width.saturating_sub(console::measure_text_width(MARK) + 1);
    let mut start = line.len();
    let mut columns = 0;
    for (at, character) in line.char_indices().rev() {
        let mut buffer = [0; 4];
        columns += console::measure_text_width(character.encode_utf8(&mut buffer));
        if columns > room {
            break;
        }
        start = at;
    }
    let cut = if start > 0 { "…" } else { "" };
    Some(format!("{MARK}{cut}{}", &line[start..]))
}

/// Returns clean text, cut to this width.
pub(super) fn cut(text: &str, width: usize) -> String {
    console::truncate_str(&clean(text), width, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_client::protocol::{AgentStatus, NewEvent, Offset, Payload, Timestamp};

    fn state(events: &[NewEvent]) -> TaskSnapshot {
        let mut state = TaskSnapshot::new("build-1".parse().unwrap(), "e".parse().unwrap());
        let mut offset = Offset::ZERO;
        for event in events {
            offset = offset.next();
            let payload = Payload::parse(&event.event_type, &event.data).unwrap();
            state.apply(&payload, offset, Timestamp::from_millis(offset.get()));
        }
        state
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
        let fits = |line: &&str| console::measure_text_width(line) <= 100;
        assert!(lines.iter().all(fits), "{message}");
    }

    #[test]
    fn the_end_of_what_an_agent_says_is_shown_while_it_speaks() {
        let delta = |text: &str| {
            let data = serde_json::json!({"output_id": "answer", "text": text});
            let event_type = "output_delta".parse().unwrap();
            let data = tidings_client::protocol::Data::from_value(data).unwrap();
            NewEvent::new(event_type, data)
        };
        let long = format!("first line\n{}the end", "漢".repeat(100));
        let events = [NewEvent::task_started("Agent"), delta(&long)];
        let message = message(&state(&events), 60);
        let last = message.lines().last().unwrap();
        assert!(
            last.starts_with("  ├ “…漢") && last.ends_with("漢the end"),
            "{last}"
        );
        assert!(console::measure_text_width(last) <= 60, "{last}");
    }
}
