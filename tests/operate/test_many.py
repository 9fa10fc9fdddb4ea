"""Operators' commands over many requests, as a shell calls them: their calls are counted, and they are interrupted.

The account is that of `make bench ARGS=--operators`; the tables of one test are the simulator's, which are DynamoDB's.
"""

import json
import os
import random
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError

from bench import operators, scale
from bench.operators import MANY, ONE, WHY, Operated, operated
from bench.scale import Size, id_of
from handlers.aws import dynamodb
from handlers.bank.audit import HELD_ESCROWS, OPEN_REQUESTS
from handlers.bank.case import ENTRIES
from hourbank.account.stack import connect
from hourbank.cli import app
from hourbank.errors import HourBankError
from hourbank.local.processes.meter import units_read
from hourbank.operate.report import Foremost, TroubleTally
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.tables import Row, Tables

SIZE = Size(past=300, waiting=90, in_progress=20)
STUCK = 60
READS = {"Scan", "Query", "BatchGetItem", "GetItem", "TransactGetItems"}


@pytest.fixture(autouse=True)
def called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourbank.names.command", lambda: "hourbank")


class Answer(operators.Operated):
    """The account, which fails, or is interrupted, at a call that is told."""

    fails: Callable[[str, int], BaseException | None] = staticmethod(lambda _operation, _number: None)

    def call(self, service: str, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        if error := self.fails(operation, self.calls[operation]):
            raise error
        return super().call(service, operation, asked)


class Said:
    """What a call of a command printed, and how it ended."""

    def __init__(self, account: Operated, *arguments: str) -> None:
        out, err, self.error = StringIO(), StringIO(), ""
        with operated(account), redirect_stdout(out), redirect_stderr(err):
            try:
                self.status = app([*arguments, "--stack", "prod"], standalone_mode=False) or 0
            except HourBankError as error:
                self.status, self.error = error.exit_code, str(error)
            except KeyboardInterrupt:
                self.status = 130
            except Exception as error:
                if type(error).__name__ != "Abort":
                    raise
                self.status = 130
        self.out, self.err = out.getvalue(), err.getvalue()


def interrupted_at(operation: str, number: int, by: BaseException | None = None) -> Callable[..., BaseException | None]:
    """At one call of an operation, once."""
    left = [by or KeyboardInterrupt()]
    return lambda name, count: left.pop() if left and (name, count) == (operation, number) else None


def found_in(text: str) -> list[str]:
    """The requests of which something is said, in order."""
    return re.findall(r"^ +\d+  (5e7b3a10-\S+)", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", ONE, ids=lambda arguments: arguments[0])
def test_what_is_about_one_request_reads_no_table(arguments: tuple[str, ...]) -> None:
    counted = []
    for past in (300, 1_000_000):
        account = Operated(replace(SIZE, past=past), STUCK)
        assert Said(account, *arguments).status == 0
        counted.append((account.calls, account.units))
    assert counted[0] == counted[1]
    calls, units = counted[0]
    assert calls.keys() & {"Scan", "Query", "ListExecutions"} == set()
    assert sum(calls[name] for name in READS) <= 4 and units <= 30 and calls["DescribeExecution"] <= 5


OPEN = [asked for asked in MANY if asked[0] in ("stuck", "redrive") or {"--status", "--open"} & {*asked}]


@pytest.mark.parametrize("arguments", OPEN, ids=" ".join)
def test_what_is_about_what_can_still_change_does_not_grow_with_the_past(arguments: tuple[str, ...]) -> None:
    counted = []
    for past in (300, 1_000_000):
        account = Operated(replace(SIZE, past=past), STUCK)
        assert Said(account, *arguments).status in (0, 1)
        counted.append((account.calls, account.units))
    assert counted[0] == counted[1]
    assert "Scan" not in counted[0][0]
    assert counted[0][0]["DescribeExecution"] <= (50 + STUCK if arguments[0] == "audit" else 0)


class Simulated(Operated):
    """The same account, whose tables are the simulator's."""

    def __init__(self, size: Size, stuck: int) -> None:
        super().__init__(size, stuck)
        keys = {"ServiceRequest": "id", "Escrow": "id", "TransactionLog": "id", "UserBalance": "userId"}
        indexes = {"ServiceRequest": OPEN_REQUESTS, "Escrow": HELD_ESCROWS}
        self.tables = Tables(keys, indexes={name: {one.name: one.attribute} for name, one in indexes.items()})
        for number in range(size.open + size.past):
            id_ = id_of(number)
            rows = {"ServiceRequest": {id_: self.request(number)}, "Escrow": {id_: self.escrow(number)}}
            rows["TransactionLog"] = {f"{id_}#{kind}": self.entry(number, kind) for kind in ENTRIES}
            rows["UserBalance"] = {id_: self.item("UserBalance", id_)} if number < scale.USERS else {}
            for name, items in rows.items():
                self.tables.tables[name].rows.update({key: Row(item) for key, item in items.items() if item})

    def answer(self, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.tables.answer(operation, asked)
        self.calls[operation] += 1
        self.units += units_read(operation, asked, answer) or 0
        return answer


@pytest.mark.thorough
# what a release writes is made up
@pytest.mark.parametrize("arguments", [asked for asked in (*ONE, *MANY) if asked[0] != "settle"], ids=" ".join)
def test_what_is_counted_is_what_dynamodb_would_be_asked(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "USERS", SIZE.open + SIZE.past)
    said, calls, units = [], [], []
    for kind in (Operated, Simulated):
        account = kind(SIZE, STUCK)
        said.append(Said(account, *arguments))
        calls.append(account.calls)
        units.append(account.units)
    assert said[0].status == said[1].status
    assert len(said[0].out.splitlines()) == len(said[1].out.splitlines())
    is_whole = {"audit", "list"} & {arguments[0]} and "--open" not in arguments and "--status" not in arguments
    # the simulator has another order, so that pages end elsewhere
    some = ("Scan", "BatchGetItem") if is_whole else ("Scan",)
    assert {name: count for name, count in calls[0].items() if name not in some} == {
        name: count for name, count in calls[1].items() if name not in some
    }
    assert units[0] == pytest.approx(units[1], rel=0.1, abs=20)


def test_thousands_of_stuck_requests_fit_a_screen() -> None:
    account = Operated(replace(SIZE, waiting=3000), 2500)
    said = Said(account, "stuck", "--limit", "3")
    assert said.status == 1
    assert len(found_in(said.out)) == 3
    assert "and 2497 more, --limit shows more\n" in said.out
    assert re.search(r"^ +5000 +2500  its execution FAILED; the request is AWAITING_PROVIDER$", said.out, re.MULTILINE)
    assert 'hourbank redrive --all --reason "WHY" --stack prod  # if the cause has passed' in said.out
    assert said.out.endswith("2500 requests, 5000 hours at stake\n")
    assert account.calls["DescribeExecution"] == 0


@pytest.mark.thorough
def test_an_interrupted_audit_says_where_it_goes_on_and_all_is_found() -> None:
    faults = frozenset(random.Random(7).sample(range(SIZE.open, SIZE.open + SIZE.past), 20))
    size = replace(SIZE, faults=faults)
    whole = found_in(Said(Operated(size, 0), "audit").out)
    assert set(whole) == {id_of(number) for number in faults}
    account = Answer(size, 0)
    account.fails = interrupted_at("Scan", 150)
    first = Said(account, "audit", "--limit", "2")
    (share,) = re.findall(
        r"interrupted; share (\d+) of 168, \d+ requests read, \d+ findings?; "
        r"go on with `hourbank audit --from \1 --stack prod`\n$",
        first.err,
    )
    assert first.status == 130 and 1 < int(share) < 168
    account = Answer(size, 0)
    account.fails = interrupted_at("Scan", 150)
    before, after = Said(account, "audit"), Said(Operated(size, 0), "audit", "--from", share)
    assert set(found_in(before.out)) < set(whole)
    # what was found in the share in which it was interrupted is found again
    assert set(found_in(before.out)) | set(found_in(after.out)) == set(whole)
    assert f"looked at from share {share} of 168 on" in after.out


def test_an_interrupted_redrive_leaves_nothing_half_done_and_the_next_does_the_rest(capsys) -> None:
    account = Answer(SIZE, STUCK)
    account.fails = interrupted_at("RedriveExecution", 25)
    first = Said(account, "redrive", "--all", *WHY)
    assert first.status == 130 and len(account.redriven) == 25
    assert first.err.endswith("interrupted; 25 of 60 asked, 25 go on; give it again for the others\n")
    logged = [json.loads(line)["requestId"] for line in first.err.splitlines() if line.startswith("{")]
    assert sorted(logged) == [id_of(number) for number in sorted(account.redriven)]
    second = Said(account, "redrive", "--all", *WHY)
    assert second.status == 0 and second.out.endswith("35 of 35 asked, 35 go on, 0 refused\n")
    assert account.calls["RedriveExecution"] == STUCK == len(account.redriven)
    assert Said(account, "stuck").status == 0


EXPIRED = DynamoDBRefusal("ExpiredTokenException", "The security token included in the request is expired")
AWAY = EndpointConnectionError(endpoint_url="https://states.us-east-1.amazonaws.com")
THROTTLED = DynamoDBRefusal("ThrottlingException", "Rate exceeded")
UNTAKEN = "AWS does not take these credentials (ExpiredTokenException): "


@pytest.mark.parametrize(
    ("arguments", "call", "error", "begins", "ends"),
    [
        (("audit",), ("Scan", 100), EXPIRED, UNTAKEN, "go on with `hourbank audit --from 26 --stack prod`"),
        (
            ("audit", "--touch"),
            ("Scan", 100),
            AWAY,
            "Could not connect",
            "hourbank audit --touch --from 26 --stack prod`",
        ),
        (("audit", "--open"), ("BatchGetItem", 3), EXPIRED, UNTAKEN, "go on with `hourbank audit --open --stack prod`"),
        (
            ("stuck",),
            ("ListExecutions", 3),
            THROTTLED,
            "ListExecutions failed",
            "60 failed executions listed, 0 requests read; nothing is changed: give it again",
        ),
        (
            ("stuck", "--json"),
            ("BatchGetItem", 2),
            AWAY,
            "Could not connect",
            "60 failed executions listed, 110 requests read; nothing is changed: give it again",
        ),
        (
            ("redrive", "--all", *WHY),
            ("RedriveExecution", 7),
            EXPIRED,
            UNTAKEN,
            "7 of 60 asked, 7 go on; give it again for the others",
        ),
        (("redrive", "--all", *WHY), ("Query", 1), AWAY, "Could not connect", "nothing was done: give it again"),
        (("list",), ("Scan", 2), AWAY, "Could not connect", "200 records read: give it again"),
        (
            ("settle", id_of(7), "--refund", *WHY),
            ("DescribeExecution", 1),
            AWAY,
            "Could not connect",
            f"was started: see how it ends with `hourbank show {id_of(7)} --stack prod`",
        ),
        (
            ("grant", "--opening", "--yes"),
            ("TransactWriteItems", 9),
            EXPIRED,
            UNTAKEN,
            " entered; give it again for the others",
        ),
        (
            ("grant", "--opening", "--yes"),
            ("Scan", 1),
            AWAY,
            "Could not connect",
            " entries read; nothing was entered: give it again",
        ),
        (
            ("grant", "--to", "eva", "--hours", "1", *WHY),
            ("Invoke", 0),
            AWAY,
            "Could not connect",
            "give the same again: it is granted once for each reason",
        ),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else "",
)
def test_an_error_in_the_middle_is_one_line_that_says_how_far_it_got(
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    call: tuple[str, int],
    error: Exception,
    begins: str,
    ends: str,
) -> None:
    monkeypatch.setattr(scale, "USERS", 40)
    account = Answer(SIZE, STUCK)
    account.fails = interrupted_at(*call, error)
    said = Said(account, *arguments)
    assert said.status == 3
    assert said.error.startswith(begins) and said.error.endswith(ends), said.error
    assert "\n" not in said.error


def test_json_that_is_interrupted_is_closed_and_its_rows_can_be_read() -> None:
    account = Answer(replace(SIZE, faults=frozenset(range(SIZE.open, SIZE.open + 200, 5))), 0)
    account.fails = interrupted_at("Scan", 200)
    said = Said(account, "audit", "--json")
    assert said.status == 130
    document = json.loads(said.out)
    assert (document["ok"], document["incomplete"]) == (False, True) and document["rows"]
    # each row is a line, printed when it was found
    assert [json.loads(line.rstrip(",")) for line in said.out.splitlines()[1:-1]] == document["rows"]
    assert (
        json.loads(Said(Operated(SIZE, STUCK), "stuck", "--json", "--limit", "2").out).items()
        >= {
            "ok": False,
            "more": True,
            "groups": [
                {
                    "kind": "EXECUTION",
                    "what": "its execution FAILED; the request is AWAITING_PROVIDER",
                    "requests": STUCK,
                    "hours": str(2 * STUCK),
                }
            ],
        }.items()
    )


def test_nothing_is_begun_where_nothing_was_found() -> None:
    account = Answer(SIZE, STUCK)
    account.fails = interrupted_at("Query", 0, AWAY)
    assert Said(account, "stuck", "--json").out == ""


def test_the_first_by_rank_are_kept_and_of_the_same_rank_those_that_came_first() -> None:
    kept: Foremost[str] = Foremost(3)
    for rank, what in ((1, "a"), (5, "b"), (5, "c"), (2, "d"), (5, "e"), (5, "f")):
        kept.add(rank, what)
        assert len(list(kept)) <= 3
    assert list(kept) == ["b", "c", "e"]


def test_a_request_is_counted_once_and_words_that_differ_in_figures_are_one_group() -> None:
    tally = TroubleTally()
    tally.add("MISMATCH", "3 hours are held, but the log says 2.5", "r1", 3)
    tally.add("MISMATCH", "7 hours are held, but the log says 1", "r2", 7)
    tally.add("MISSED", "PENDING, and not started", "r1", 3)
    assert (len(tally), tally.hours, tally.count) == (2, 10, 3)
    assert [(row["what"], row["requests"]) for row in tally.rows()] == [
        ("… hours are held, but the log says …", 2),
        ("PENDING, and not started", 1),
    ]
    tally.drop("MISSED", "PENDING, and not started", "r1", 3)
    assert (len(tally), tally.hours, tally.count) == (1, 7, 2)


class Throttling:
    """An endpoint that refuses so many calls before it answers."""

    def __init__(self, times: int) -> None:
        self.left, self.asked = times, 0

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        self.asked += 1
        is_refused, self.left = self.left > 0, self.left - 1
        body = {"__type": "ThrottlingException", "message": "Rate exceeded"} if is_refused else {"executions": []}
        raw = SimpleNamespace(stream=lambda *_, **__: iter([json.dumps(body).encode()]))
        return AWSResponse(request.url, 400 if is_refused else 200, {}, raw)


def test_one_that_is_throttled_waits_for_its_turn_which_a_function_has_no_time_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    pauses: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=pauses.append))
    with operated(Operated(SIZE, STUCK)):
        stack = connect("prod", "us-east-1")
        attempts = os.environ["AWS_MAX_ATTEMPTS"]
    for told, times in ((None, 2), (attempts, 9)):
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", told) if told else monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
        for is_enough in (True, False):
            pauses.clear()
            states = dynamodb.client.__wrapped__("stepfunctions")
            states.meta.events.register("before-send", throttled := Throttling(times + (not is_enough)))
            with nullcontext() if is_enough else pytest.raises(ClientError, match="ThrottlingException"):
                states.list_executions(stateMachineArn=stack.requests_arn)
            assert throttled.asked == times + 1 and len(pauses) == times
