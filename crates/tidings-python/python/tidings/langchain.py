"""A callback handler for LangChain and LangGraph.

::

    from tidings.langchain import Handler

    graph.invoke(question, config={"callbacks": [Handler(task_id="answer-7")]})

The run is a task. Its nodes are steps, its tools are tool calls, what its models say is
an output that grows, and its agent is working, idle or in error. Inside of a task's
block the run belongs to that task; elsewhere it is a task of its own.
"""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from . import _default, _task
from ._client import Client
from ._core import text_of
from ._task import Output, Reports, Step, ToolCall, ending_of

__all__ = ["Handler"]


class Handler(BaseCallbackHandler):
    """Reports the runs of a chain or a graph. Use one handler for one run at a time."""

    #: Called in the loop's own thread: the task's block is found, and the order holds.
    run_inline = True

    def __init__(
        self,
        task: Reports | None = None,
        *,
        task_id: str | None = None,
        name: str | None = None,
        agent_id: str = "agent",
        client: Client | None = None,
        lease: float | None = None,
    ) -> None:
        self._task = task
        self._given = task
        self._begin: dict[str, Any] = {"name": name, "lease": lease}
        self._task_id = task_id
        self._agent = agent_id
        self._client = client
        self._root: UUID | None = None
        self._steps: dict[UUID, Step] = {}
        self._tools: dict[UUID, ToolCall] = {}
        self._outputs: dict[UUID, Output] = {}
        self._streamed: set[UUID] = set()
        self._owns = False

    # Chains and nodes.

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name") or (serialized or {}).get("name") or "chain"
        if self._root is None:
            self._root = run_id
            self._began(str(name))
        elif self._task is not None and name == (metadata or {}).get("langgraph_node"):
            self._steps[run_id] = self._task.step(str(name))

    def _began(self, name: str) -> None:
        self._task = self._given or (None if self._task_id else _task.current())
        if self._task is None:
            client = self._client or _default.client()
            task_id = self._task_id or f"agent-{uuid.uuid4().hex[:12]}"
            self._task = client.task(task_id, **{**self._begin, "name": self._begin["name"] or name})
            self._owns = True
        else:
            self._owns = False
        self._task.agent(self._agent, "working")

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        step = self._steps.pop(run_id, None)
        if step is not None:
            step.complete()
        elif run_id == self._root:
            self._ended(None, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        step = self._steps.pop(run_id, None)
        if step is not None:
            step.fail(error)
        elif run_id == self._root:
            self._ended(error, None)

    def _ended(self, error: BaseException | None, outputs: Any) -> None:
        task, self._root = self._task, None
        if task is None:
            return
        if error is None:
            task.agent(self._agent, "idle")
        else:
            task.agent(self._agent, "error", text_of(error)[:500])
        if self._owns:
            # What a chain gives may be anything: objects become text.
            task._end(*ending_of(error, outputs))

    # Models.

    def _model(self, run_id: UUID) -> None:
        if self._task is not None:
            self._outputs[run_id] = self._task.output(f"{self._agent}-{len(self._outputs) + 1}")

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._model(run_id)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._model(run_id)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        output = self._outputs.get(run_id)
        if output is not None and token:
            self._streamed.add(run_id)
            output.write(token if isinstance(token, str) else text_of(token))

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        output = self._outputs.get(run_id)
        if output is not None:
            # A model that does not stream says everything here.
            if run_id not in self._streamed:
                output.write("".join(g.text for gs in response.generations for g in gs))
            output.complete()

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        output = self._outputs.get(run_id)
        if output is not None:
            output.complete()

    # Tools.

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, inputs: Any = None, **kwargs: Any
    ) -> None:
        if self._task is not None:
            name = (serialized or {}).get("name") or kwargs.get("name") or "tool"
            self._tools[run_id] = self._task.tool(str(name), inputs or input_str, str(run_id))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        call = self._tools.pop(run_id, None)
        if call is not None:
            call.complete(getattr(output, "content", output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        call = self._tools.pop(run_id, None)
        if call is not None:
            call.fail(error)
