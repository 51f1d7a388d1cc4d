"""The callback handler, with real LangChain and LangGraph."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import DEADLINE

import tidings

pytest.importorskip("langgraph")
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel  # noqa: E402
from langchain_core.messages import AIMessage  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langgraph.graph import END, START, StateGraph  # noqa: E402
from typing_extensions import TypedDict  # noqa: E402

from tidings.langchain import Handler  # noqa: E402


class State(TypedDict):
    answer: str


@tool
def search(query: str) -> str:
    """Searches."""
    if query == "nothing":
        raise ValueError("found nothing")
    return f"found {query}"


def graph(query: str) -> Any:
    def think(state: State) -> State:
        model = GenericFakeChatModel(messages=iter([AIMessage(content="Hello there friend")]))
        words = "".join(str(part.content) for part in model.stream("hi"))
        return {"answer": words}

    def look(state: State) -> State:
        return {"answer": state["answer"] + search.invoke({"query": query})}

    built = StateGraph(State)
    built.add_node("think", think)
    built.add_node("look", look)
    built.add_edge(START, "think")
    built.add_edge("think", "look")
    built.add_edge("look", END)
    return built.compile()


def test_a_graph_is_a_task_with_steps_tools_and_words(client: tidings.Client) -> None:
    handler = Handler(task_id="answer-7", client=client)
    graph("film").invoke({"answer": ""}, config={"callbacks": [handler]})
    state = client.wait("answer-7", DEADLINE)
    assert state.status == "completed"
    assert [(step.name, step.state) for step in state.steps] == [
        ("think", "completed"),
        ("look", "completed"),
    ]
    assert [(call.tool, call.state) for call in state.tool_calls] == [("search", "completed")]
    assert [(o.text, o.complete) for o in state.outputs] == [("Hello there friend", True)]
    assert state.agents[0].status == "idle"


def test_a_graph_that_fails(client: tidings.Client) -> None:
    handler = Handler(task_id="answer-8", client=client)
    with pytest.raises(ValueError):
        graph("nothing").invoke({"answer": ""}, config={"callbacks": [handler]})
    state = client.wait("answer-8", DEADLINE)
    assert state.error is not None and state.error.message == "ValueError: found nothing"
    assert [step.state for step in state.steps] == ["completed", "failed"]
    assert state.tool_calls[0].state == "failed" and state.agents[0].status == "error"


def test_a_run_in_a_block_belongs_to_its_task(client: tidings.Client) -> None:
    with client.task("whole") as task:
        graph("film").invoke({"answer": ""}, config={"callbacks": [Handler()]})
        task.progress(50)
    state = client.wait("whole", DEADLINE)
    assert state.status == "completed" and len(state.steps) == 2
