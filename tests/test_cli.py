"""The command line, as a person meets it: one line an error, and no process left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hourbank.stories import STORIES

HOURBANK = [sys.executable, "-c", "from hourbank.cli import main; main()"]


@pytest.fixture
def environment(tmp_path):
    return os.environ | {"HOURBANK_STATE": str(tmp_path), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def run(environment: dict, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*HOURBANK, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def start(environment: dict, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*HOURBANK, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_until(process: subprocess.Popen, text: str) -> str:
    """Read lines until one has the text; fails at the end of the output."""
    seen = ""
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
    deadline = time.monotonic() + 10
    alive = pids
    while alive and time.monotonic() < deadline:
        rows = subprocess.run(["ps", "-axo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
        running = {int(line.split()[0]) for line in rows.splitlines() if not line.split()[1].startswith("Z")}
        alive = pids & running
        time.sleep(0.05)
    assert alive == set()


def test_help_is_grouped_and_imports_nothing_heavy():
    code = "import sys, hourbank.cli; print({'pulumi', 'boto3', 'botocore'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    shown = run(dict(os.environ), "--help").stdout
    assert "Try it on this machine" in shown
    assert {"demo", "up", "down", "request", "answer", "respond", "cancel", "confirm", "show"} <= set(shown.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "x"], "hourbank: nothing is running: start it with `make up`"),
        (["request", "--from", "ana", "--to", "ben", "--hours", "two"], "two is not a number of hours"),
        (["request", "--from", "ana", "--to", "ben", "--hours", "1e200"], "1e200 is not a number of hours"),
        (["request", "--from", "ana", "--to", "ben", "--hours", "inf"], "inf is not a number of hours"),
        (["request", "--from", "ana"], "Missing option '--to': see `"),
        (["answer", "x", "counter"], "a counter-offer, and nothing else, takes --hours"),
        (["answer", "x", "accept", "--hours", "2"], "a counter-offer, and nothing else, takes --hours"),
        (["answer", "x", "maybe"], "'maybe' is not one of"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_a_users_mistake_is_one_line(environment, arguments, says):
    ended = run(environment, *arguments)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_missing_emulator_is_one_line(environment, tmp_path):
    ended = run(environment | {"HOURBANK_EMULATOR_PYTHON": str(tmp_path / "none")}, "demo")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "run `make .venv-emulator`" in ended.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
class TestRunning:
    """With an emulator."""

    def test_up_is_found_by_other_terminals_and_ended_by_down(self, environment):
        with start(environment, "up") as up:
            read_until(up, "request --from ana --to ben")
            everything = descendants(up.pid)
            assert everything

            second = run(environment, "up")
            assert (second.returncode, second.stderr.count("\n")) == (1, 1)
            assert "already running" in second.stderr

            asked = run(environment, "request", "--from", "ana", "--to", "ben", "--hours", "2.5")
            request_id = asked.stdout.strip()
            assert re.fullmatch(r"[0-9a-f-]{36}", request_id)
            assert asked.stderr.split()[-1] == "AWAITING_PROVIDER"
            assert "taskToken" not in run(environment, "show", request_id[:8]).stdout
            assert run(environment, "answer", request_id[:8], "accept").stderr == "IN_PROGRESS\n"
            assert run(environment, "confirm", request_id).stderr == "COMPLETED\n"

            shown = run(environment, "show", request_id).stdout
            for text in ("COMPLETED", "RELEASED, 2.5 h", "ESCROW_RELEASE", "ProcessEscrowRelease"):
                assert text in shown
            assert re.search(r"ben has\s+12\.5 h", shown)
            assert "no request begins with nope" in run(environment, "show", "nope").stderr

            ended = run(environment, "down")
            assert (ended.returncode, ended.stdout) == (0, "stopped\n")
            assert up.wait(10) == 0
        assert_gone(everything)
        assert run(environment, "down").stdout == "nothing was running\n"

    def test_what_a_killed_up_left_is_not_taken_for_running(self, environment, tmp_path):
        with start(environment, "up") as up:
            read_until(up, "request --from ana --to ben")
            everything = descendants(up.pid)
            up.kill()
        assert_gone(everything)
        assert (tmp_path / "up.json").exists()
        assert "nothing is running" in run(environment, "show", "x").stderr
        assert not Path(tmp_path / "up.json").exists()

    def test_the_demo_plays_every_story_and_accounts_for_every_hour(self, environment):
        ended = run(environment, "demo")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "All stories ended as they must" in ended.stdout
        assert ended.stdout.count("✓ ") == 3 + len(STORIES) + 4
        assert "✗" not in ended.stdout
        assert re.search(r"gus +0 +3.25 +\+3.25", ended.stdout)

    def test_a_demo_that_is_interrupted_leaves_nothing(self, environment):
        with start(environment, "demo") as demo:
            read_until(demo, "AWAITING_PROVIDER")
            everything = descendants(demo.pid)
            assert len(everything) > 2  # the emulator and Lambda processes
            demo.send_signal(signal.SIGINT)
            rest = demo.stdout.read()
            assert demo.wait(10) == 128 + signal.SIGINT
        assert "Traceback" not in rest
        assert_gone(everything)
