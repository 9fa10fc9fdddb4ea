"""The command line as a process of its own, and what is left of processes."""

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from unittest import mock

import pytest

from hourbank.cli import main
from hourbank.local import running
from hourbank.local.deployment import Deployment
from tests.helpers.waiting import ENDLESS_SECONDS, until

HOURBANK = [sys.executable, "-c", "from hourbank.cli import main; main()"]


def run(environment: dict, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*HOURBANK, *arguments], env=environment, capture_output=True, text=True, timeout=ENDLESS_SECONDS, check=False
    )


def left_running(folder: str | Path, deployment: Deployment, *, pid: int = 0, console: str = "x") -> IO[str]:
    """Leave what `hourbank up` leaves while it runs, until the file that is returned is closed."""
    folder = Path(folder)
    lock = (folder / running.LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    state = {"pid": pid, "console": console, "deployment": deployment.to_json()}
    (folder / "up.json").write_text(json.dumps(state), encoding="utf-8")
    return lock


@contextmanager
def start(environment: dict, *arguments: str) -> Iterator[subprocess.Popen]:
    """Start it as under `nohup` or `setsid`, in the background: with SIGINT ignored; where the test fails, end it."""
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*ignoring, *HOURBANK, *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def config_of(page: str) -> dict:
    """What the local server tells its page."""
    connection = http.client.HTTPConnection(page.removeprefix("http://"), timeout=ENDLESS_SECONDS)
    connection.request("GET", "/local/config")
    return json.load(connection.getresponse())


def run_here(state: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in this process, for what says its words before it does anything."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            mock.patch.object(sys, "argv", ["hourbank", *arguments]),
            mock.patch.object(running, "STATE", state / "up.json"),
            mock.patch.dict(os.environ, COLUMNS="200"),
            warnings.catch_warnings(),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)


def read_until(process: subprocess.Popen, text: str) -> str:
    """Read lines until one has the text; fails at the end of the output."""
    seen = ""
    assert process.stdout
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"{text!r} was not printed: {seen}")


def descendants(pid: int) -> set[int]:
    """Process ids of everything that a process started, and what that started."""
    rows = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = dict(zip(map(int, rows[::2]), map(int, rows[1::2]), strict=True))
    found, ahead = set(), {pid}
    while ahead:
        ahead = {child for child, parent in parents.items() if parent in ahead}
        found |= ahead
    return found


def assert_gone(pids: set[int]) -> None:
    """Wait for the ends of processes; one that only waits to be waited for is gone."""

    def running() -> set[int]:
        rows = subprocess.run(["ps", "-axo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
        return pids & {int(line.split()[0]) for line in rows.splitlines() if not line.split()[1].startswith("Z")}

    until(lambda: not running(), moving=running, what="the end of the processes")


def group_members(group: int) -> list[str]:
    """The command lines of a process group's live members."""
    listed = subprocess.run(["ps", "-axwwo", "pgid=,stat=,command="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def assert_group_gone(group: int) -> None:
    until(lambda: not group_members(group), moving=lambda: group_members(group), what="the end of the group")
