"""What `hourbank up --watch` takes up, and `--debug` stops in, while it runs: on a copy of the program."""

import contextlib
import itertools
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hourbank.errors import HourBankError
from hourbank.local import deploy
from hourbank.local.deployment import MACHINES, Deployment
from hourbank.local.develop import debugger, watch
from hourbank.local.records import record_of
from hourbank.names import ROOT
from tests.helpers.processes import assert_gone, descendants, read_until, run, start
from tests.helpers.waiting import ENDLESS_SECONDS

PARTS = (*watch.FOLDERS, *watch.FILES, "hourbank", "amplify")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program in another folder, to be edited."""
    folder = tmp_path / "copy"
    for part in PARTS:
        from_, to = ROOT / part, folder / part
        if from_.is_dir():
            shutil.copytree(from_, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(from_, to)
    return folder


@pytest.fixture
def environment(copy: Path, tmp_path: Path) -> dict[str, str]:
    emulator = os.environ.get("HOURBANK_EMULATOR_PYTHON", str(ROOT / ".venv-emulator" / "bin" / "python"))
    told = {
        "HOURBANK_STATE": str(tmp_path),
        "HOURBANK_EMULATOR_PYTHON": emulator,
        "PYTHONPATH": str(copy),
        "PYTHONSAFEPATH": "1",
    }
    return os.environ | told | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_what_has_changed_is_seen(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "ROOT", copy)
    watcher = watch.Watcher({})
    assert watcher.changed() == []
    handler = copy / "handlers" / "notify_provider.py"
    edit(handler, "run = ", "run =  ")
    (copy / "components" / "mine.py").write_text("")
    (copy / "handlers" / "__pycache__").mkdir()
    (copy / "handlers" / "__pycache__" / "x.pyc").write_text("")
    assert watcher.changed() == ["components/mine.py", "handlers/notify_provider.py"]
    assert watcher.changed() == []
    handler.unlink()
    assert watcher.changed() == ["handlers/notify_provider.py"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("handlers/notify_provider.py", "def (", "handlers/notify_provider.py, line 1: invalid syntax"),
        ("handlers/notify_provider.py", "\nimport nothing", "handlers/notify_provider.py, line 2: ModuleNotFoundError"),
        ("handlers/bank/hours.py", "1 / 0", "handlers/bank/hours.py, line 1: ZeroDivisionError: division by zero"),
        ("workflows/__init__.py", "(", "workflows/__init__.py, line 1: '(' was never closed"),
        ("components/functions.py", "nothing", "components/functions.py, line 1: NameError: name 'nothing'"),
    ],
)
def test_what_cannot_be_deployed_is_one_line(
    copy: Path, environment: dict[str, str], file: str, text: str, says: str
) -> None:
    (copy / file).write_text(text, encoding="utf-8")
    command = [sys.executable, "-P", "-m", "hourbank.local.develop.redeploy"]
    child = partial(subprocess.run, capture_output=True, text=True, timeout=ENDLESS_SECONDS, check=False)
    ended = child(command, env=environment, input='{"port": 9}')
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1].startswith(says)


@pytest.mark.thorough
@pytest.mark.xdist_group("processes")
def test_an_edited_file_is_taken_up_and_what_waits_goes_on(copy: Path, environment: dict[str, str]) -> None:
    def asked() -> str:
        return run(environment, "request", "--from", "ana", "--to", "ben", "--hours", "1").stdout.strip()

    handler, definition = copy / "handlers" / "reject_request.py", copy / "workflows" / "service_request.py"
    with start(environment, "up", "--watch") as up:
        read_until(up, "request --from ana")
        everything = descendants(up.pid)
        # Given a request that waits
        waiting = asked()
        # When a file is broken, then that is said, and the code before goes on
        whole = handler.read_text(encoding="utf-8")
        handler.write_text(f"{whole}\ndef (\n", encoding="utf-8")
        said = read_until(up, "not taken up").splitlines()[-1]
        assert re.search(r"goes on: handlers/reject_request.py, line \d+: invalid syntax$", said)
        dear = ("request", "--from", "ana", "--to", "ben", "--hours", "99")
        assert "REJECTED: Not enough hours: 99 needed" in run(environment, *dear).stderr
        # as it was, there is nothing to deploy
        handler.write_text(whole, encoding="utf-8")
        read_until(up, "handlers/reject_request.py: taken up")
        # When code and definition change, then both are taken up
        edit(copy / "handlers" / "bank" / "ledger.py", "Not enough hours: ", "Too few hours: ")
        read_until(up, "handlers/bank/ledger.py: taken up")
        assert "REJECTED: Too few hours: 99 needed" in run(environment, *dear).stderr
        end = '"End": True,\n            },\n            # The counter-offer'
        edit(
            definition,
            end,
            end.replace('"End": True', '"Next": "Begun"').replace("#", '"Begun": {"Type": "Succeed"}, #'),
        )
        read_until(up, "workflows/service_request.py: taken up")
        # Then what began before goes on as it began, and what begins now does not
        new = asked()
        for request_id, is_new in ((waiting, False), (new, True)):
            assert run(environment, "answer", request_id, "accept").stderr == "IN_PROGRESS\n"
            drawn = run(environment, "show", request_id).stdout
            assert ("✓ Begun" in drawn) == is_new
        assert run(environment, "audit").returncode == 0
        assert run(environment, "down").stdout == "stopped\n"
        assert up.wait(ENDLESS_SECONDS) == 0
    assert_gone(everything)


class Debugger:
    """A client of the Debug Adapter Protocol, attached: https://microsoft.github.io/debug-adapter-protocol."""

    def __init__(self, port: int, config: dict[str, Any], breakpoints: dict[Path, int]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ENDLESS_SECONDS)
        self._read, self._numbers = self._socket.makefile("rb"), itertools.count(1)
        self._later: list[Any] = []
        self.ask("initialize", adapterID="a test", pathFormat="path", linesStartAt1=True)
        attached = self._send("attach", **config)
        self.event("initialized")
        for path, line in breakpoints.items():
            self.ask("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}])
        self.ask("configurationDone")
        self._answer(attached)

    def ask(self, command: str, **arguments: Any) -> Any:
        return self._answer(self._send(command, **arguments))

    def event(self, name: str) -> Any:
        return self._until(lambda message: message.get("event") == name).get("body")

    def leave(self) -> None:
        """Whoever reads what it says comes to the end, when it has let go."""
        self._send("disconnect", terminateDebuggee=False)

    def read_to_the_end(self) -> None:
        with contextlib.suppress(EOFError):
            self._until(lambda _: False)

    def _send(self, command: str, **arguments: Any) -> int:
        number = next(self._numbers)
        message = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return number

    def _answer(self, number: int) -> Any:
        answer = self._until(lambda message: message.get("request_seq") == number)
        assert answer["success"], answer
        return answer.get("body")

    def _until(self, is_it: Callable[[Any], bool]) -> Any:
        for index, message in enumerate(self._later):
            if is_it(message):
                return self._later.pop(index)
        while not is_it(message := self._next()):
            self._later.append(message)
        return message

    def _next(self) -> Any:
        header = self._read.readline()
        if not header:
            raise EOFError
        assert self._read.readline() == b"\r\n"
        return json.loads(self._read.read(int(header.partition(b":")[2])))


class Session:
    """A debugger as VS Code is one: attached once, and then to each process that it is told of."""

    def __init__(self, port: int, path: Path, line: int) -> None:
        self._port, self._breakpoints = port, {path: line}
        self.stops: queue.SimpleQueue[tuple[Debugger, dict[str, Any]]] = queue.SimpleQueue()
        self._root = Debugger(port, {"subProcess": True}, {})
        self._children: list[tuple[Debugger, threading.Thread]] = []
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        with contextlib.suppress(EOFError):
            while config := self._root.event("debugpyAttach"):
                child = Debugger(self._port, config, self._breakpoints)
                waiting = threading.Thread(target=self._wait, args=(child,), daemon=True)
                waiting.start()
                self._children.append((child, waiting))

    def _wait(self, child: Debugger) -> None:
        with contextlib.suppress(EOFError):
            self.stops.put((child, child.event("stopped")))

    def close(self) -> None:
        self._root.leave()
        self._follower.join(ENDLESS_SECONDS)
        for child, _ in self._children:
            child.leave()
        # a process that still has one debugger does not answer the next
        for child, waiting in self._children:
            waiting.join(ENDLESS_SECONDS)
            child.read_to_the_end()


@pytest.mark.thorough
@pytest.mark.xdist_group("processes")
def test_a_debugger_stops_in_a_handler_and_no_time_out_ends_it(copy: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    edit(copy / "hourbank" / "local" / "develop" / "debugger.py", f"PORT = {debugger.PORT}", f"PORT = {port}")
    handler = copy / "handlers" / "start_service_execution.py"
    lines = handler.read_text(encoding="utf-8").splitlines()
    (line,) = (number for number, text in enumerate(lines, 1) if "run = Execution.of(event)" in text)
    with start(environment, "up", "--debug") as up:
        read_until(up, f"a debugger can attach to 127.0.0.1:{port}")
        everything = descendants(up.pid)
        told = json.loads((Path(environment["HOURBANK_STATE"]) / "up.json").read_text())
        deployment = Deployment(**told["deployment"])

        def asked() -> str:
            return run(environment, "request", "--from", "ana", "--to", "ben", "--hours", "1").stdout.strip()

        # Given a debugger that is attached, then one that is attached after it
        for _ in range(2):
            session = Session(port, handler, line)
            request_id = asked()
            with start(environment, "answer", request_id, "accept") as answer:
                # When a handler comes to the line, then it stops there
                child, stop = session.stops.get(timeout=ENDLESS_SECONDS)
                assert stop["reason"] == "breakpoint"
                frame = child.ask("stackTrace", threadId=stop["threadId"])["stackFrames"][0]
                assert (frame["name"], frame["line"], frame["source"]["path"]) == ("handler", line, str(handler))
                (event,) = (
                    one for scope in child.ask("scopes", frameId=frame["id"])["scopes"]
                    for one in child.ask("variables", variablesReference=scope["variablesReference"])["variables"]
                    if one["name"] == "event"
                )  # fmt: skip
                assert request_id in event["value"]
                assert record_of(deployment, request_id)["status"] == "AWAITING_PROVIDER"
                child.ask("continue", threadId=stop["threadId"])
                assert answer.wait(ENDLESS_SECONDS) == 0
            session.close()
        # And without one nothing stops
        assert run(environment, "confirm", request_id).stderr == "COMPLETED\n"
        assert run(environment, "answer", asked(), "accept").stderr == "IN_PROGRESS\n"
        # And what could end a handler that is stopped has a day
        functions = deployment.client("lambda").list_functions()["Functions"]
        assert {function["Timeout"] for function in functions} == {deploy.ENDLESS_SECONDS}
        states = deployment.client("stepfunctions")
        for machine in MACHINES:
            definition = states.describe_state_machine(stateMachineArn=deployment.outputs[machine])["definition"]
            assert set(re.findall(r'"TimeoutSeconds": ?(\d+)', definition)) == {str(deploy.ENDLESS_SECONDS)}
        assert run(environment, "down").stdout == "stopped\n"
        assert up.wait(ENDLESS_SECONDS) == 0
    assert_gone(everything)


def test_a_port_that_is_taken_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(debugger, "PORT", taken.getsockname()[1])
        with pytest.raises(HourBankError, match=r"port \d+ is not free for a debugger \(.*\): end what has it, or"):
            debugger.listening(tmp_path).__enter__()
