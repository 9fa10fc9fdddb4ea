"""What `hourbank up --keep` keeps, and what goes on with it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hourbank import laws
from hourbank.errors import HourBankError
from hourbank.local import kept, machine, running
from hourbank.local.deployment import Deployment
from hourbank.local.tables import read_ledger
from tests.helpers.processes import assert_gone, config_of, descendants, read_until, run, start
from tests.helpers.waiting import until

REQUESTS = "ServiceRequest-local-NONE"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(running, "STATE", tmp_path / "up.json")
    return tmp_path


def in_json(**changed: object) -> str:
    return json.dumps({"format": kept.FORMAT, "run": "a", "began": "b", "items": {}, "executions": []} | changed)


def test_what_was_kept_is_read_and_nothing_is_kept_at_first(folder: Path) -> None:
    assert kept.read() is None
    kept.file().write_text(in_json(items={"a table": [{"id": {"S": "1"}}]}))
    assert kept.read() == kept.KeptState(run="a", began="b", items={"a table": [{"id": {"S": "1"}}]}, executions=[])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no kept state: remove it to begin anew"),
        (in_json()[:-20], "is no kept state: remove it"),
        ("[]", "is no kept state: remove it"),
        ("{}", "is no kept state: remove it"),
        ("\x00", "is no kept state: remove it"),
        (in_json(items=7), "is no kept state: remove it"),
        (in_json(items={"a table": {}}), "is no kept state: remove it"),
        (in_json(executions={}), "is no kept state: remove it"),
        (in_json(more=1), "is no kept state: remove it"),
        ('{"format": 0, "other": 1}', r"another version of hourbank \(format 0, this one reads 1\): remove it"),
    ],
)
def test_what_is_broken_or_of_another_version_is_refused_in_one_line(folder: Path, content: str, says: str) -> None:
    kept.file().write_text(content)
    with pytest.raises(HourBankError, match=says) as refused:
        kept.read()
    assert str(refused.value).startswith(str(kept.file()))
    assert "\n" not in str(refused.value)
    assert kept.file().read_text() == content


def test_what_is_no_file_is_one_line(folder: Path) -> None:
    kept.file().mkdir()
    with pytest.raises(HourBankError, match=r"cannot be read \(Is a directory\): remove it"):
        kept.read()


@pytest.mark.parametrize("dies_at", ["fsync", "replace"])
def test_half_a_state_is_never_found(folder: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str) -> None:
    file = kept.file()
    machine.write_whole(file, "the whole")
    assert file.stat().st_mode & 0o777 == 0o600

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync") if dies_at == "fsync" else (Path, "replace")), die)
        with pytest.raises(KeyboardInterrupt):
            machine.write_whole(file, "half")
    assert file.read_text() == "the whole"
    machine.write_whole(file, "the next")
    assert file.read_text() == "the next"
    assert list(folder.iterdir()) == [file]


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"HOURBANK_STATE": str(folder), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


class Run:
    """A `hourbank up --keep` that other terminals have found."""

    def __init__(self, environment: dict[str, str], said: str) -> None:
        self._environment, self.said = environment, said
        told = json.loads((Path(environment["HOURBANK_STATE"]) / "up.json").read_text())
        self.name: str = config_of(told["console"])["run"]
        self.deployment = Deployment(**told["deployment"])

    def says(self, *arguments: str) -> str:
        return run(self._environment, *arguments).stdout.strip()

    def status(self, request_id: str) -> Any:
        return (
            read_ledger(self.deployment.client("dynamodb"), self.deployment.tables).requests[request_id].get("status")
        )

    def ledger(self) -> laws.Ledger:
        return read_ledger(self.deployment.client("dynamodb"), self.deployment.tables)


@contextmanager
def killed(environment: dict[str, str], *options: str) -> Iterator[Run]:
    """Start it; where it is left, kill it as `kill -9` does."""
    with start(environment, "up", *options) as up:
        said = read_until(up, "play a person") + read_until(up, "kept in" if options else "request --from")
        everything = descendants(up.pid)
        yield Run(environment, said)
        up.kill()
    assert_gone(everything)


def kept_when(running: int, is_there: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
    """Wait for the file to have so many executions that run, and requests that are so."""

    def look() -> bool:
        state = kept.read()
        return (
            state is not None
            and sum(one["status"] == "RUNNING" for one in state.executions) == running
            and is_there({one["id"]["S"]: one for one in state.items[REQUESTS]})
        )

    until(look, moving=lambda: kept.file().read_bytes() if kept.file().exists() else None, what="the state in the file")


@pytest.mark.thorough
@pytest.mark.xdist_group("processes")
def test_a_run_goes_on_after_a_kill_and_after_its_end(environment: dict[str, str], folder: Path) -> None:
    # Given a run in which one person is asked, one has an offer, and a service is in progress
    with killed(environment, "--keep") as first:
        asked, offered, begun = (
            first.says("request", "--from", who, "--to", "chloé", "--hours", "2") for who in ("ana", "ben", "ana")
        )
        first.says("answer", offered, "counter", "--hours", "3")
        first.says("answer", begun, "accept")
        ledger = first.ledger()
        waiting = {asked: "AWAITING_PROVIDER", offered: "NEGOTIATING", begun: "IN_PROGRESS"}
        kept_when(2, lambda requests: {id_: one["status"]["S"] for id_, one in requests.items()} == waiting)
        # When it is killed
    # Then a run without --keep has nothing of it, and leaves it alone
    content = kept.file().read_bytes()
    with killed(environment) as other:
        assert other.name != first.name
        assert other.ledger().requests == {}
    assert kept.file().read_bytes() == content
    # And one with it goes on
    with killed(environment, "--keep") as second:
        assert second.name == first.name
        assert "2 executions go on where they were" in second.said
        until(lambda: {id_: second.status(id_) for id_ in waiting} == waiting, moving=second.ledger)
        assert second.ledger().balances == ledger.balances
        assert second.ledger().log == ledger.log
        # each is asked once more, with a token that is answered
        tokens = {id_: ledger.requests[id_]["taskToken"] for id_ in (asked, offered)}
        until(
            lambda: all(second.ledger().requests[id_]["taskToken"] != token for id_, token in tokens.items()),
            moving=second.ledger,
        )
        (execution,) = second.deployment.named_executions(asked)
        path = ["ValidateRequest", "EscrowHours", "WaitForProviderResponse"]
        assert second.deployment.path(execution["executionArn"]) == path
        second.says("answer", asked, "decline")
        second.says("respond", offered, "accept")
        second.says("confirm", begun)
        ended = {asked: "DECLINED", offered: "IN_PROGRESS", begun: "COMPLETED"}
        assert {id_: second.status(id_) for id_ in ended} == ended
        last = second.ledger()
        assert laws.hours_lost(last) + laws.entries_that_do_not_add_up(last) == []
        until(
            lambda: all(one["status"] != "RUNNING" for id_ in ended for one in second.deployment.executions(id_)),
            what="the end of what ends",
        )
        assert second.says("down") == "stopped"
    # And after an end that was asked for, nothing is lost
    with killed(environment, "--keep") as third:
        assert third.name == first.name
        assert third.said.endswith(f"goes on with what was kept in {kept.file()}\n")
        assert (third.ledger().requests, third.ledger().log) == (last.requests, last.log)


@pytest.mark.thorough
@pytest.mark.xdist_group("processes")
def test_what_was_being_done_is_done(environment: dict[str, str]) -> None:
    # Given what is left where a run dies in the midst of things
    with killed(environment, "--keep") as first:
        held, answered, confirmed, new = (
            first.says("request", "--from", "ana", "--to", "ben", "--hours", "1") for _ in range(4)
        )
        first.says("answer", confirmed, "accept")
        kept_when(3, lambda requests: requests.get(confirmed, {}).get("status", {}).get("S") == "IN_PROGRESS")
    state = json.loads(kept.file().read_text())
    requests = {one["id"]["S"]: one for one in state["items"][REQUESTS]}
    executions = {json.loads(one["input"])["requestId"]: one for one in state["executions"]}
    # a hold whose result was not noted, an answer and a confirmation that nobody has heard
    events = executions[held]["events"]
    place = [event.get("stateEnteredEventDetails", {}).get("name") for event in events].index("EscrowHours")
    del events[place + 1 :]
    requests[held]["status"] = {"S": "ESCROWED"}
    requests[held].pop("taskToken")
    requests[answered]["providerResponse"] = {"S": "ACCEPTED"}
    requests[confirmed]["requesterResponse"] = {"S": "COMPLETED"}
    # a record that nobody has begun with
    for name in ("status", "stepFunctionExecutionArn", "taskToken", "taskTokenAttempt", "askedAt"):
        requests[new].pop(name)
    state["executions"].remove(executions[new])
    for table in ("Escrow", "TransactionLog"):
        items = state["items"][f"{table}-local-NONE"]
        items[:] = [one for one in items if one.get("requestId", {}).get("S") != new]
    (ana,) = (one for one in state["items"]["UserBalance-local-NONE"] if one["userId"]["S"] == "ana")
    ana["availableBalance"]["N"] = "7"
    kept.file().write_text(json.dumps(state))
    # When a run goes on with it
    with killed(environment, "--keep") as second:
        # Then all of it is done, once
        expected = dict.fromkeys((held, new), "AWAITING_PROVIDER") | {answered: "IN_PROGRESS", confirmed: "COMPLETED"}
        until(lambda: {id_: second.status(id_) for id_ in expected} == expected, moving=second.ledger)
        last = second.ledger()
        assert laws.hours_lost(last) + laws.entries_that_do_not_add_up(last) == []
