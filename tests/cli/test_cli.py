"""The command line, as a person meets it: one line an error, and no process left behind."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pulumi
import pytest
import typer
from botocore.exceptions import ClientError, EndpointConnectionError
from rich.console import Console
from rich.spinner import Spinner

from hourbank import cli
from hourbank.errors import HourBankError, UnreachableError
from hourbank.local.deployment import Deployment
from hourbank.names import ROOT
from hourbank.stories import demo
from hourbank.stories.stage import Performance
from hourbank.stories.stories import DEMO
from tests.helpers.processes import HOURBANK, assert_gone, config_of, descendants, read_until, run, run_here, start
from tests.helpers.waiting import ENDLESS_SECONDS, until


@pytest.fixture
def environment(tmp_path):
    return os.environ | {"HOURBANK_STATE": str(tmp_path), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


FILES_REFUSED = ("/nowhere is not a folder, as 2 pictures need", "pyproject.toml was not written by this")


def test_help_is_grouped_and_imports_nothing_heavy():
    code = "import sys, hourbank.cli; print({'pulumi', 'boto3', 'botocore'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    shown = run(dict(os.environ), "--help").stdout
    assert "Try it on this machine" in shown
    assert {
        "demo",
        "up",
        "down",
        "request",
        "answer",
        "respond",
        "cancel",
        "confirm",
        "show",
        "list",
        "events",
        "stuck",
    } <= set(shown.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "x"], "hourbank: nothing is running: start it with `"),
        (["request", "--from", "ana", "--to", "ben", "--hours", "two"], '"two" is not a number of hours'),
        (["request", "--from", "ana", "--to", "ben", "--hours", "1e200"], '"1e200" is not a number of hours'),
        (["request", "--from", "ana", "--to", "ben", "--hours", "1,000"], '"1,000" could mean 1000 or 1: leave out'),
        (["request", "--from", "ana", "--to", "ben", "--hours", "-1"], "The hours must be above 0"),
        (["request", "--from", "ana", "--to", "ben", "--hours", "1.234"], "at most 2 decimals"),
        (["answer", "x", "counter", "--hours", "0"], "The hours must be above 0: see `"),
        (["request", "--from", "ana"], "Missing option '--to': see `"),
        (["answer", "x", "counter"], "a counter-offer, and nothing else, takes --hours"),
        (["answer", "x", "accept", "--hours", "2"], "a counter-offer, and nothing else, takes --hours"),
        (["answer", "x", "maybe"], "Invalid value for 'says': 'maybe' is not one of 'accept', 'decline'"),
        (["up", "--minutes", "0.01"], "0.01 is not a number of minutes from 0.05 to 43200"),
        (["up", "--minutes", "nan"], "nan is not a number of minutes"),
        (["up", "--minutes", "soon"], "soon is not a number of minutes"),
        (["diagram"], "two pictures need a folder, or name a workflow"),
        (["diagram", "--out", "/nowhere"], FILES_REFUSED[0]),
        (["diagram", "Request"], "'Request' is not one of 'ServiceRequestWorkflow', 'EscrowManagementWorkflow'"),
        (["diagram", "EscrowManagementWorkflow", "--out", "pyproject.toml"], FILES_REFUSED[1]),
        (["diagram", "--request", "x"], "nothing is running: start it with `"),
        (["doctor", "--amplify", ".", "--json"], "a configuration is YAML: leave out --json"),
        (["list", "--status", "nope"], "NOPE is not one of PENDING, VALIDATING,"),
        (["list", "--person", ""], "Invalid value for '--person': it is empty"),
        (["nonsense"], "No such command 'nonsense'"),
        (["--stack", "dev", "audit"], "No such option: --stack, and those of a command stand behind it: see `"),
        (["show", "x", "--stak", "dev"], "No such option: --stak (Possible options: --stack): see `"),
        (["audit", "--stack", ""], "Invalid value for '--stack': it is empty: see `"),
        (["doctor", "--stack", " "], "Invalid value for '--stack': it is empty"),
        (["adopt", "--stack", ""], "Invalid value for '--stack': it is empty"),
        (["plan", "--base", "HEAD", "--stack", ""], "Invalid value for '--stack': it is empty"),
        (["settle", "", "--refund", "--reason", "x"], "Invalid value for 'REQUEST_ID': it is empty"),
        (["redrive", "", "--reason", "x"], "Invalid value for 'REQUEST_ID|EXECUTION_ARN': it is empty"),
        (["show", "", "--stack", "dev"], "Invalid value for 'REQUEST_ID': it is empty"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, capsys, arguments, says):
    ended = run_here(tmp_path, capsys, *arguments)
    # an emulator that is not there has a status of its own, and so has a command line that is not understood
    refused = 1 if says in FILES_REFUSED else 2
    assert ended.returncode == (3 if "nothing is running" in says else refused)
    assert ended.stdout == ""
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(environment, shell):
    words = {"COMP_WORDS": "hourbank se", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "hourbank se"}
    asked = environment | words | {"_HOURBANK_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    code = "import sys; sys.argv = ['hourbank']; from hourbank.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "settle" in ended.stdout and "audit" not in ended.stdout


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), 3),
        (ClientError({"Error": {"Code": "Throttled"}}, "Scan"), 3),
        (UnreachableError("nothing is running"), 3),
        (HourBankError("it does not fit"), 1),
        (pulumi.RunError("the program refuses its stack"), 1),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1),
        (typer.BadParameter("wrong"), 2),
    ],
)
def test_each_kind_of_refusal_has_its_status(monkeypatch, capsys, error, status):
    def refuse(**_):
        raise error

    monkeypatch.setattr(cli, "app", refuse)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err.count("\n")) == (status, 1)


def test_an_error_quotes_nothing_that_speaks_to_a_terminal(monkeypatch, capsys):
    def refuse(**_: object) -> None:
        raise HourBankError("no request \x1b[2J\x9b2J\u202e é")

    monkeypatch.setattr(cli, "app", refuse)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "hourbank: no request \ufffd[2J\ufffd2J\ufffd é\n"


def test_the_version_is_that_of_the_project(environment):
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert run(environment, "--version").stdout == f"hourbank {version}\n"


@pytest.mark.parametrize("command", ["--help", "--version", "diagram --format mermaid", "show --help"])
def test_whoever_reads_no_further_reads_no_error(environment, command):
    reading, writing = os.pipe()
    os.close(reading)
    # what is short is written at the end, what is long on the way
    ended = subprocess.run(
        [*HOURBANK, *command.split()], env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


def test_whose_region_is_meant_is_said(environment):
    for command in ("adopt", "doctor"):
        assert "AWS's region; else the stack's own." in run(environment, command, "--help").stdout
    assert "else AWS_REGION, or the profile's" in run(environment, "audit", "--help").stdout


def test_a_missing_emulator_is_one_line(environment, tmp_path):
    ended = run(environment | {"HOURBANK_EMULATOR_PYTHON": str(tmp_path / "none")}, "demo")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "none: see HOURBANK_EMULATOR_PYTHON, or unset it" in ended.stderr


def test_no_status_is_cut_on_a_narrow_terminal():
    # Given every story at its longest status, and one that says much
    performances = [
        Performance(story, 0, "id", {"status": "AWAITING_PROVIDER"}, doing="says " * 30, seconds=12.3) for story in DEMO
    ]
    console = Console(width=80, force_terminal=True, color_system=None)
    # When the live table is drawn
    with console.capture() as capture:
        console.print(demo._progress(SimpleNamespace(performances=performances), Spinner("dots")))
    # Then a story is a line, and what is being done gives way
    lines = capture.get().splitlines()
    assert len(lines) == len(DEMO)
    for line, story in zip(lines, DEMO, strict=True):
        assert story.title in line
        assert "AWAITING_PROVIDER" in line
        assert "…" in line
        assert line.endswith("12.3 s")


@pytest.mark.thorough
@pytest.mark.xdist_group("processes")
class TestRunning:
    """With an emulator."""

    def test_up_is_found_by_other_terminals_and_ended_by_down(self, environment, tmp_path):
        with start(environment, "up", "--minutes", "90.5") as up:
            printed = read_until(up, "request --from ana --to ben")
            everything = descendants(up.pid)
            assert everything
            page = json.loads((tmp_path / "up.json").read_text())["console"]
            assert printed.startswith(f"open {page}/ in a browser\n")
            assert f"{page.replace('http', 'HTTP')}/graphql" in printed
            assert config_of(page)["responseTimeoutSeconds"] == 5430
            name = config_of(page)["run"]

            second = run(environment, "up")
            assert (second.returncode, second.stderr.count("\n")) == (1, 1)
            assert f"already running on {page} " in second.stderr

            stranger = run(environment, "request", "--from", "zoe", "--to", "ben", "--hours", "2.5")
            assert (stranger.returncode, stranger.stdout) == (1, "")
            assert stranger.stderr.endswith("nobody has a balance of that name: people are ana, ben, chloé\n")
            dear = run(environment, "request", "--from", "ana", "--to", "ben", "--hours", "10.01")
            assert (dear.returncode, dear.stderr.split("\n")[-2]) == (
                1,
                "REJECTED: Not enough hours: 10.01 needed",
            )

            asked = run(environment, "request", "--from", "ana", "--to", "ben", "--hours", "2.5")
            assert asked.returncode == 0
            request_id = asked.stdout.strip()
            assert re.fullmatch(r"[0-9a-f-]{36}", request_id)
            assert asked.stderr.split()[-1] == "AWAITING_PROVIDER"
            early = run(environment, "answer", request_id, "withdraw")
            assert (early.returncode, early.stderr.count("\n")) == (1, 1)
            assert "not written: WITHDRAWN is for a request IN_PROGRESS" in early.stderr
            waits = run(environment, "show", request_id[:8]).stdout
            assert "taskToken" not in waits
            assert f"answer {request_id} accept  (or: decline, counter --hours 3)" in waits
            wait = re.search(r"waits since (.*) UTC, until (.*) UTC \(in \d+ min\); then the hours go back", waits)
            since, deadline = map(datetime.fromisoformat, wait.groups())
            assert timedelta(minutes=90) <= deadline - since <= timedelta(minutes=91)
            not_yet = run(environment, "diagram", "EscrowManagementWorkflow", "--request", request_id)
            assert (not_yet.returncode, not_yet.stdout) == (1, "")
            assert "has no execution of EscrowManagementWorkflow yet" in not_yet.stderr
            with start(environment, "events", "--follow", "--json") as listening:
                read_until(listening, "listening to hourbank-event-bus-local, until Ctrl-C")
                assert run(environment, "answer", request_id[:8], "accept").stderr == "IN_PROGRESS\n"
                told = [json.loads(read_until(listening, "ServiceStarted")) for _ in range(2)]
                assert {(one["requestId"], one["userId"], one["role"], one["status"]) for one in told} == {
                    (request_id, "ana", "requester", "IN_PROGRESS"),
                    (request_id, "ben", "provider", "IN_PROGRESS"),
                }
                listening.send_signal(signal.SIGINT)
                assert listening.stdout.read() == ""
                assert listening.wait(ENDLESS_SECONDS) == 128 + signal.SIGINT
            made = Deployment(**json.loads((tmp_path / "up.json").read_text())["deployment"])
            assert "hourbank-events-" not in str(
                made.client("events").list_rules(EventBusName="hourbank-event-bus-local")
            )
            assert "hourbank-events-" not in str(made.client("sqs").list_queues())
            assert request_id in run(environment, "list", "--person", "ben", "--status", "in_progress").stdout
            assert run(environment, "confirm", request_id).stderr == "COMPLETED\n"
            for late in (["cancel"], ["confirm"], ["answer", "decline"], ["answer", "withdraw"], ["respond", "reject"]):
                refused = run(environment, late[0], request_id, *late[1:])
                assert refused.returncode == 1
                assert refused.stderr == f"hourbank: not written: {request_id} has ended, it is COMPLETED\n"

            shown = run(environment, "show", request_id).stdout
            for text in ("COMPLETED", "RELEASED, 2.5 h", "ESCROW_RELEASE", "ProcessEscrowRelease"):
                assert text in shown
            assert re.search(r"provider\s+ben  has 12\.5 h\n", shown)
            assert shown.endswith("Now\n  nothing is left to do\n")

            granted = run(environment, "grant", "--to", "ben", "--hours", "1.5", "--reason", "helped", "--yes")
            assert granted.stdout.endswith("ben was granted 1.5 h: helped\n")
            assert '"outcome": "GRANTED"' in granted.stderr
            other = run(environment, "grant", "--to", "ben", "--hours", "2", "--reason", "helped", "--yes")
            assert (other.returncode, "refused: ben was granted 1.5 h" in other.stdout) == (1, True)
            explained = run(environment, "grant", "--opening", "--yes", "--json")
            assert json.loads(explained.stdout)["rows"] == []  # the local run's own people have their hours by grants
            assert "no request begins with nope" in run(environment, "show", "nope").stderr
            assert "REQUEST_ID': it is empty" in run(environment, "show", "").stderr

            drawn = run(environment, "diagram", "ServiceRequestWorkflow", "--request", request_id[:8]).stdout
            assert 'class="state task end taken" data-state="StartServiceExecution"' in drawn
            assert 'class="state task" data-state="RefundAfterFailure"' in drawn
            assert (
                run(environment, "diagram", "--request", request_id, "--out", str(tmp_path)).stdout.count(".svg") == 2
            )

            ended = run(environment, "down")
            assert (ended.returncode, ended.stdout) == (0, "stopped\n")
            assert up.wait(ENDLESS_SECONDS) == 0
            # another run may have the port by now
            with contextlib.suppress(ConnectionRefusedError):
                assert config_of(page)["run"] != name
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
        ended = run(environment | {"COLUMNS": "80"}, "demo")
        assert (ended.returncode, ended.stderr) == (0, "")
        # in a file: one clock, no spaces at the ends of lines, and what does not fit in a line is indented
        clock = [float(line.split()[0]) for line in ended.stdout.splitlines() if re.match(r" *\d+\.\d s  ", line)]
        assert len(clock) > len(DEMO)
        assert clock == sorted(clock)
        assert not re.search(r" $", ended.stdout, re.MULTILINE)
        stories = ended.stdout.partition("through the states\n")[2].partition("\n\n")[0]
        assert all(line.startswith(("✓ ", "    ")) for line in stories.splitlines())
        assert "1 2 3 4 5 6 7\n✓ ✓ ✓ ✓ ✓ ✓ ✓ ValidateRequest\n✓ ✓ ✓ ✓ ✓ ✓ │ EscrowHours\n" in ended.stdout
        assert "All stories ended as they must" in ended.stdout
        assert len(re.findall(r"^✓ \w", ended.stdout, re.MULTILINE)) == 4 + len(DEMO) + 4
        assert "✗" not in ended.stdout
        assert re.search(r"gus +0 +3.25 +\+3.25", ended.stdout)

    def test_a_demo_that_is_interrupted_leaves_nothing(self, environment):
        with start(environment, "demo") as playing:
            read_until(playing, "AWAITING_PROVIDER")
            everything = descendants(playing.pid)
            assert len(everything) > 2  # the emulator and Lambda processes
            playing.send_signal(signal.SIGINT)
            rest = playing.stdout.read()
            assert playing.wait(ENDLESS_SECONDS) == 128 + signal.SIGINT
        assert "Traceback" not in rest
        assert rest.endswith("interrupted; nothing is left running\n")
        assert_gone(everything)

    @pytest.mark.parametrize("when", ["it deploys", "it runs"])
    def test_ctrl_c_is_a_good_end_of_up(self, environment, tmp_path, when):
        with start(environment, "up") as up:
            if when == "it runs":
                read_until(up, "request --from ana --to ben")
            everything = until(lambda: descendants(up.pid), what="the emulator")
            up.send_signal(signal.SIGINT)
            rest = up.stdout.read()
            assert up.wait(ENDLESS_SECONDS) == 0
        assert rest.endswith("HourBank has stopped; nothing is left running.\n")
        assert "Traceback" not in rest
        assert_gone(everything)
        assert not (tmp_path / "up.json").exists()
