"""What a task reports, and how it ends."""

from __future__ import annotations

import logging
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import DEADLINE, Script, Server, events, types, until

import tidings


def test_a_block_reports_its_start_its_parts_and_its_end(client: tidings.Client) -> None:
    with client.task("render-7", name="Render", total=4, source="tests") as task:
        assert tidings.current() is task
        task.progress(40, "linking")
        task.progress(current=2, total=4)
        with task.step("link") as step:
            with step.step("objects"):
                pass
            step.result = {"objects": 3}
        with task.tool("search", {"q": "x"}) as call:
            call.output = ["y"]
        with task.output("answer") as output:
            assert output.write("Hello, ") == 7
            print("world", file=output)
        task.log("a line", level="warn")
        task.agent("worker", "working", "at it")
        task.artifact("film", media_type="video/mp4", url="/film.mp4")
        task.report("frame", {"number": 7})
        with task.child("render-7-sound", name="Sound") as child:
            assert tidings.current() is child
        assert tidings.current() is task
        task.result = {"frames": 12}
    assert tidings.current() is None

    state = client.wait("render-7", DEADLINE)
    assert (state.status, state.name, state.progress) == ("completed", "Render", 100)
    assert state.result == {"frames": 12}
    assert [(step.name, step.state) for step in state.steps] == [
        ("link", "completed"),
        ("objects", "completed"),
    ]
    assert [call.tool for call in state.tool_calls] == ["search"]
    assert [(o.text, o.complete) for o in state.outputs] == [("Hello, world\n", True)]
    assert [agent.status for agent in state.agents] == ["working"]
    assert [artifact.artifact_id for artifact in state.artifacts] == ["film"]
    found = events(client, "render-7", "task_completed")
    # The server itself says what the child of this task does.
    own = [event for event in found if event.event_type != "children_update"]
    assert {event.source for event in own} == {"tests"}
    assert [event.data for event in found if event.event_type == "frame"] == [{"number": 7}]
    assert client.wait("render-7-sound", DEADLINE).parent_task_id == "render-7"


def test_an_exception_fails_the_task_with_its_traceback_and_goes_on(
    client: tidings.Client,
) -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise ValueError("x" * 100_000)
        deep(depth - 1)

    with pytest.raises(ValueError):
        with client.task("bad") as task:
            with task.step("deep"):
                deep(100)
    state = client.wait("bad", DEADLINE)
    assert state.status == "failed"
    assert state.error is not None and state.error.code == "ValueError"
    assert state.error.message.startswith("ValueError: xxx")
    assert len(state.error.message) < 3_000
    end = events(client, "bad", "task_failed")[-1]
    assert "xxx" in end.data["traceback"] and len(end.data["traceback"]) <= 8_000
    assert state.steps[0].state == "failed"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "cancelled"),
        (SystemExit(0), "completed"),
        (SystemExit(3), "failed"),
        (tidings.Cancelled("as asked"), "cancelled"),
    ],
)
def test_how_a_block_ends_is_how_the_task_ends(
    client: tidings.Client, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)):
        with client.task("t"):
            raise error
    assert client.wait("t", DEADLINE).status == status


def test_a_task_that_is_forgotten_has_failed(client: tidings.Client) -> None:
    client.task("forgotten")
    state = client.wait("forgotten", DEADLINE)
    assert state.error is not None and state.error.code == "dropped"


def test_reporting_never_raises(client: tidings.Client) -> None:
    circle: list[object] = []
    circle.append(circle)
    with client.task("odd") as task:
        task.progress(float("nan"))
        task.progress(1e400, "\ud800 half a pair")
        task.log("\ud800 half a pair")
        task.output().write("\ud800 half a pair")
        task.report("own", {"circle": circle, 1: {2, 3}, "at": time, "nan": float("nan")})
        task.report("Not a type", {})
        task.report("own", ["not", "an", "object"])  # type: ignore[arg-type]
        task.agent("a", "not a status")
        task.result = circle
    state = client.wait("odd", DEADLINE)
    assert state.status == "completed"
    own = [event for event in events(client, "odd", "task_completed") if event.event_type == "own"]
    assert own[0].data["nan"] is None and own[0].data["1"] == [2, 3]
    task.progress(50)
    task.log("after the end")
    task.complete()


class Mute(Exception):
    """It raises when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_text_stays_the_programs_own(client: tidings.Client) -> None:
    with pytest.raises(Mute):
        with client.task("mute") as task:
            with task.step("step"), task.tool("tool"):
                raise Mute
    state = client.wait("mute", DEADLINE)
    assert state.error is not None and state.error.code == "Mute"
    assert state.steps[0].state == "failed" and state.tool_calls[0].state == "failed"
    with pytest.raises(SystemExit):
        with client.task("exit"):
            raise SystemExit(Mute())
    assert client.wait("exit", DEADLINE).status == "failed"


def test_a_result_without_a_text_is_no_failure(client: tidings.Client) -> None:
    circle: list[object] = []
    circle.extend([circle] * 20)
    for result in (Mute(), {"a": [Mute()]}, {Mute(): 1}, 10**5000, circle):
        with client.task("good") as task:
            task.result = result
        assert not task.complete().wait(DEADLINE)
        assert client.wait("good", DEADLINE).status == "completed"
        assert client.snapshot("good").result is not None


def test_any_text_is_reported(client: tidings.Client) -> None:
    odd = "\ud800 half a pair"
    with client.task("odd", name=odd, source=odd, parent="of") as task:
        task.progress(40, odd, stage=odd)
        task.log(odd, odd)
        with task.step(odd) as step:
            step.result = odd
        with task.tool(odd, odd):
            pass
        with task.output(odd):
            pass
        task.agent("agent", "working", odd)
        task.artifact("film", name=Path("film"), url=odd)  # type: ignore[arg-type]
        task.report("own", {"text": odd, odd: 1, "whole": "🎬"})
        task.progress(50, 7, stage=Path("stage"))  # type: ignore[arg-type]
        task.result = odd
        for name in (Path("a path"), 7):
            client.task("named", name=name).complete()  # type: ignore[arg-type]
    assert not task.complete().wait(DEADLINE)
    state = client.wait("odd", DEADLINE)
    told = "? half a pair"
    assert (state.name, state.result, state.steps[0].name) == (told, told, told)
    assert (state.message, state.stage) == ("7", "stage")
    found = events(client, "odd", "task_completed")
    own = [event.data for event in found if event.event_type == "own"]
    assert own == [{"text": told, told: 1, "whole": "🎬"}]


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://localhost", "http://", "http://a b", "http://a:port"]
)
def test_a_wrong_url_is_refused_at_once(url: str) -> None:
    for kind in (tidings.Client, tidings.aio.Client):
        with pytest.raises(ValueError, match="not the URL"):
            kind(url)


def test_a_refused_question_is_not_waited_for(client: tidings.Client) -> None:
    with client.task("asking") as task:
        with pytest.raises(tidings.Refused):
            task.ask("q", {"type": "nonsense"})
        with pytest.raises(tidings.Refused):
            task.ask("q", choices=[])
        with pytest.raises(ValueError, match="65536"):
            task.ask("q", {"description": "x" * 100_000})
        other = pickle.loads(pickle.dumps(task))
        with pytest.raises(tidings.Refused):
            other.ask("q", {"type": "nonsense"})


def test_a_timeout_may_be_infinite(client: tidings.Client) -> None:
    forever = float("inf")
    client.publish("t", "own", {}, timeout=forever)
    assert client.snapshot("t", forever).task_id == "t"
    assert client.flush(forever) == 0
    with client.watch("t") as watch:
        assert watch.next(forever) is not None
    assert not client.task("done").complete().wait(forever)


def test_a_watch_that_is_closed_ends_in_another_thread(client: tidings.Client) -> None:
    watch = client.watch("never")
    begun = threading.Event()

    def follow() -> None:
        for _ in watch:
            begun.set()

    other = threading.Thread(target=follow, daemon=True)
    other.start()
    assert begun.wait(DEADLINE)
    watch.close()
    other.join(DEADLINE)
    assert not other.is_alive()


def test_threads_that_share_a_watch_take_every_update_and_end_together(
    client: tidings.Client,
) -> None:
    watch = client.watch("t")
    assert isinstance(watch.next(DEADLINE), tidings.Snapshot)
    taken: list[tidings.Update] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(watch), daemon=True) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    with client.task("t") as task:
        for number in range(200):
            task.report("frame", {"number": number})
    until("everything is taken", lambda: len(taken) >= 202)
    watch.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    offsets = [update.offset for update in taken if isinstance(update, tidings.Event)]
    assert sorted(offsets) == list(range(1, 203))


def test_a_task_that_another_worker_does(client: tidings.Client) -> None:
    with client.task("busy", exclusive=True) as task:
        with pytest.raises(tidings.Refused) as refused:
            client.task("busy", exclusive=True)
        assert refused.value.code == "invalid_transition"
        second = client.task("busy")
        second.progress(99)
        with pytest.raises(tidings.Refused):
            second.complete().wait(DEADLINE)
        assert not task.complete().wait(DEADLINE)
    assert types(events(client, "busy", "task_completed")) == ["task_started", "task_completed"]


def test_a_program_that_ends_at_once_has_reported_everything(
    server: Server, client: tidings.Client
) -> None:
    script = """
import tidings
with tidings.client().task("short") as task:
    for number in range(100):
        task.log(f"line {number}")
"""
    Script(script, server.url).succeeds()
    lines = [e for e in events(client, "short", "task_completed") if e.event_type == "log"]
    assert "\n".join(line.data["message"] for line in lines).count("line") == 100


def test_a_program_ends_without_a_server() -> None:
    script = """
import tidings
with tidings.Client("http://127.0.0.1:9", exit_timeout=1000).task("t") as task:
    task.progress(1)
"""
    Script(script, "").succeeds()


def test_ctrl_c_ends_a_wait_and_cancels_the_task(server: Server, client: tidings.Client) -> None:
    # A shell without job control has its background commands ignore SIGINT.
    script = """
import signal, tidings
signal.signal(signal.SIGINT, signal.default_int_handler)
client = tidings.client()
with client.task("interrupted") as task:
    client.wait("never")
"""
    program = Script(script, server.url)
    until("it runs", lambda: client.snapshot("interrupted").status == "running")
    # The program may not wait yet, but is in the block.
    time.sleep(0.1)
    program.process.send_signal(signal.SIGINT)
    status, output = program.wait()
    assert status != 0 and "KeyboardInterrupt" in output
    assert client.wait("interrupted", DEADLINE).status == "cancelled"


def test_commands_are_answered(client: tidings.Client) -> None:
    with client.task("agent") as task:
        client.command("agent", "dance", {"steps": 3})
        client.command("agent", "cancel")
        commands = task.commands
        dance = next(commands)
        assert (dance.name, dance.args) == ("dance", {"steps": 3})
        dance.reject("no legs")
        cancel = next(commands)
        cancel.accept()
        cancel.complete({"done": True})
        assert commands.next(0.01) is None
    found = events(client, "agent", "task_completed")
    assert "command_rejected" in types(found) and "command_completed" in types(found)


def test_a_task_hears_that_it_is_cancelled(client: tidings.Client) -> None:
    def cancel() -> None:
        until("it runs", lambda: client.snapshot("long").status == "running")
        client.command("long", "cancel")

    other = threading.Thread(target=cancel)
    other.start()
    with pytest.raises(tidings.Cancelled):
        with client.task("long") as task:
            until("it is cancelled", lambda: task.cancelled)
            task.raise_if_cancelled()
    other.join()
    state = client.wait("long", DEADLINE)
    assert state.status == "cancelled" and state.pending_commands == []


def test_a_tree_is_weighted_and_commanded(client: tidings.Client) -> None:
    with client.task("release") as release:
        build, tests = release.child("build"), release.child("tests", weight=3)
        for wrong in (-1, 0.0001, 2_000_000, float("nan")):
            with pytest.raises(ValueError, match="the weight must be 0"):
                release.child("wrong", weight=wrong)
        tests.progress(40)
        until("it is weighted", lambda: client.snapshot("release").progress == 30)
        asked = client.command_tree("release", "dance", {"steps": 3}, timeout=DEADLINE)
        assert [task.task_id for task in asked] == ["build", "tests", "release"]
        for task in asked:
            assert task.published is not None and task.code is None
            pending = client.snapshot(task.task_id).pending_commands
            assert pending[0].command_id == task.command_id
        build.complete()
        tests.complete()
    with pytest.raises(tidings.Refused) as refused:
        client.command_tree("nowhere", "dance", timeout=DEADLINE)
    assert refused.value.code == "task_not_found"


def test_a_question_is_answered_by_who_watches(client: tidings.Client) -> None:
    def answer() -> None:
        state = until("it asks", lambda: client.snapshot("asking").pending_inputs)
        assert state[0].prompt == "Go on?"
        data = {"input_id": state[0].input_id, "value": True, "by": "tests"}
        client.publish("asking", "input_provided", data)

    other = threading.Thread(target=answer)
    other.start()
    with client.task("asking") as task:
        assert task.ask("Go on?", {"type": "boolean"}, timeout=DEADLINE) is True
        with pytest.raises(TimeoutError):
            task.ask("Nobody?", timeout=0.01)
    other.join()


def test_many_threads_share_a_client(client: tidings.Client) -> None:
    def work(number: int) -> None:
        with client.task(f"thread-{number}") as task:
            for line in range(50):
                task.log(str(line))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(16):
        assert client.wait(f"thread-{number}", DEADLINE).status == "completed"


def test_losing_the_server_is_logged_once(
    server: Server, client: tidings.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tidings")
    client.connect(DEADLINE)
    server.kill()
    until("it is missed", lambda: "no connection" in caplog.text)
    server.start()
    until("it is back", lambda: "connected to" in caplog.text)
    assert caplog.text.count("no connection") == 1


def test_the_first_answer_to_a_question_wins(client: tidings.Client) -> None:
    question = {"input_id": "confirm", "prompt": "Deploy?", "choices": ["yes", "no"]}
    client.publish("deploy", "input_required", question, timeout=DEADLINE)
    with pytest.raises(tidings.Refused):
        client.answer("deploy", "confirm", "perhaps", timeout=DEADLINE)
    client.answer("deploy", "confirm", "yes", timeout=DEADLINE)
    with pytest.raises(tidings.Refused) as refused:
        client.answer("deploy", "confirm", "no", timeout=DEADLINE)
    assert refused.value.code == "already_answered"


def test_data_that_json_parsers_refuse_are_reported_plainly(
    client: tidings.Client, caplog: pytest.LogCaptureFixture
) -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    with client.task("t") as task:
        task.report("frame", {"huge": 10**400, "small": 7})
        task.report("frame", {"deep": deep, "small": 8})
        task.result = {"huge": 10**400, "deep": deep, "small": 9}
        copy = pickle.loads(pickle.dumps(task))
        copy.report("frame", {"huge": 10**400, "small": 10})
        # The copy has a connection of its own.
        assert copy._client.flush(DEADLINE) == 0
    assert task.complete().wait(DEADLINE) == tidings.Losses()
    found = events(client, "t", "task_completed")
    frames = [event.data for event in found if event.event_type == "frame"]
    assert sorted(data["small"] for data in frames) == [7, 8, 10]
    assert {data["huge"] for data in frames if "huge" in data} == {"1" + "0" * 400}
    assert found[-1].data["result"]["small"] == 9

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    task.report(Odd(), {})  # type: ignore[arg-type]
    assert "<Odd without a text> of t was not reported" in caplog.text


class Waits(logging.Handler):
    """A log handler that uses the client, as a program may have one."""

    def __init__(self, client: tidings.Client) -> None:
        super().__init__()
        self.client = client
        self.told: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.client.task("from-the-handler").complete()
        for wait in (
            lambda: self.client.publish("t", "note"),
            lambda: self.client.task("also").complete().wait(),
            lambda: next(self.client.watch("never-there")),
            lambda: self.client.watch("never-there").next() and self.client.watch("x").next(),
            lambda: self.client.flush(),
        ):
            try:
                wait()
            except BaseException as error:
                self.told.append(error)
        raise KeyError("the handler has a fault of its own")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_callback_on_the_clients_thread_cannot_wait_for_the_client(
    server: Server, client: tidings.Client
) -> None:
    first = client.task("busy", exclusive=True)
    handler = Waits(client)
    logger = logging.getLogger("tidings")
    logger.addHandler(handler)
    try:
        with server.stalled():
            end = client.task("busy").complete()
        # The refusal comes later, so the client logs it on its own thread.
        with pytest.raises(tidings.Refused):
            end.wait(DEADLINE)
    finally:
        logger.removeHandler(handler)
    assert handler.told
    for error in handler.told:
        assert isinstance(error, RuntimeError) and "cannot wait" in str(error)
    assert first.complete().wait(DEADLINE) == tidings.Losses()
    assert client.wait("from-the-handler", DEADLINE).status == "completed"


def test_the_fault_of_a_token_function_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([ZeroDivisionError("my fault"), None, "two\nlines", "good"])

    def token() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    with tidings.Client(server.url, token=token) as client:
        client.connect(DEADLINE)
    assert "there is no token: ZeroDivisionError('my fault')" in caplog.text
    assert caplog.text.count("there is no token: ValueError(") == 2
