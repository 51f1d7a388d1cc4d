//! `agent_run`: two agents with tools, and an answer that grows word by word.

use serde_json::{Value, json};
use tidings_client::protocol::{AgentStatus, Data, EventType, NewEvent};

use super::script::Script;
use super::stage::StageError;

const ANSWER: &str = "The upload fails because the token expires after an hour while large \
    files take longer than that. I moved the renewal into the retry loop, added a test that \
    holds the clock still, and both suites pass. The patch is attached.";

pub(super) async fn run(script: &Script) -> Result<(), StageError> {
    script
        .say(NewEvent::task_started("Find out why uploads fail"))
        .await?;
    script
        .say(agent("planner", AgentStatus::Working, "Reading the report"))
        .await?;
    script.say(agent("coder", AgentStatus::Idle, None)).await?;
    script.say(NewEvent::progress(5.0, "Planning")).await?;
    script
        .after(
            900,
            agent("planner", AgentStatus::Waiting, "Waiting for the coder"),
        )
        .await?;

    script
        .say(agent(
            "coder",
            AgentStatus::Working,
            "Looking for the cause",
        ))
        .await?;
    let input = json!({ "pattern": "token_expired", "path": "src/" });
    let output = json!({ "matches": ["src/upload.rs:88", "src/token.rs:41"] });
    tool(script, "call_1", "search", input, 700, output).await?;
    script
        .say(NewEvent::progress(30.0, "Found two places"))
        .await?;
    let input = json!({ "path": "src/upload.rs", "lines": [70, 110] });
    let output = json!({ "text": "let token = session.token();\nloop { .. }" });
    tool(script, "call_2", "read_file", input, 500, output).await?;
    script.say(NewEvent::progress(50.0, "Fixing")).await?;

    // One call fails, and the agent continues its work.
    let input = json!({ "command": "cargo test upload" });
    script
        .say(NewEvent::tool_call_started(
            "call_3",
            "shell",
            input.clone(),
        ))
        .await?;
    script
        .after(
            900,
            NewEvent::tool_call_failed("call_3", "1 of 12 tests failed"),
        )
        .await?;
    script
        .say(agent(
            "coder",
            AgentStatus::Working,
            "One test failed; trying again",
        ))
        .await?;
    tool(
        script,
        "call_4",
        "shell",
        input,
        1_100,
        json!({ "passed": 12 }),
    )
    .await?;
    script
        .say(NewEvent::progress(75.0, "Writing the answer"))
        .await?;
    script
        .say(agent("coder", AgentStatus::Idle, "Done"))
        .await?;

    script
        .say(agent("planner", AgentStatus::Working, "Writing the answer"))
        .await?;
    for word in ANSWER.split_inclusive(' ') {
        script
            .after(60, NewEvent::output_delta("answer", word))
            .await?;
    }
    script
        .say(NewEvent::output_completed("answer", ANSWER))
        .await?;
    script.say(patch()).await?;
    script
        .say(agent("planner", AgentStatus::Idle, "Done"))
        .await?;
    script.say(NewEvent::progress(100.0, "Done")).await?;
    script
        .say(NewEvent::task_completed(
            json!({ "answer": "answer", "artifacts": 1 }),
        ))
        .await
}

fn agent<'a>(id: &str, status: AgentStatus, message: impl Into<Option<&'a str>>) -> NewEvent {
    NewEvent::agent_status(id, status, message)
}

/// Simulates a tool call that succeeds after this time.
async fn tool(
    script: &Script,
    id: &str,
    tool: &str,
    input: Value,
    ms: u64,
    output: Value,
) -> Result<(), StageError> {
    script
        .say(NewEvent::tool_call_started(id, tool, input))
        .await?;
    script
        .after(ms, NewEvent::tool_call_completed(id, output, ms))
        .await
}

fn patch() -> NewEvent {
    let data = json!({
        "artifact_id": "patch",
        "name": "renew-token.patch",
        "media_type": "text/x-diff",
        "data": "--- a/src/upload.rs\n+++ b/src/upload.rs\n@@ -88 +88 @@\n-let token = session.token();\n+let token = session.renewed_token();\n",
    });
    let data = Data::from_value(data).expect("an object of a few short texts");
    NewEvent::new(EventType::Artifact, data)
}
