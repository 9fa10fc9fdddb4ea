"""What the operators' commands do over a million requests, ten thousand of them stuck: `make bench ARGS=--operators`.

Each command is called as a shell calls it, in a process of its own. The tables are made up as they are asked for
(`bench/scale.py`), and so are executions: those of the stuck requests have failed, and run once they are redriven.
Calls, units, memory and what is printed are therefore true, seconds are this machine's processor time; how long AWS
takes follows from the time that a call is assumed to take, and from Step Functions' published quotas.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO, TextIOBase
from typing import Any
from unittest import mock

from botocore.client import BaseClient
from rich.console import Console
from rich.table import Table

from bench.scale import CALL_SECONDS, EXECUTION, MACHINE, VARIABLES, Image, MadeUp, Size, id_of, most_memory
from hourbank.names import ROOT
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.tables import raised

REGION = "us-east-1"
ACCOUNT = MACHINE.split(":")[4]
RELEASE = EXECUTION.replace("ServiceRequestWorkflow", "EscrowManagementWorkflow").replace("service-request", "release")
PERSON = "arn:aws:iam::123456789012:user/olga"
# How many calls at once, and then a second, of the account's in us-east-1, us-west-2 and eu-west-1:
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
QUOTAS = {
    "DescribeExecution": (300, 15),
    "GetExecutionHistory": (400, 20),
    "ListExecutions": (200, 5),
    "RedriveExecution": (1300, 300),
    "StartExecution": (1300, 300),
}
WHY = ("--reason", "the table was throttled", "--yes")
# What is measured; the first ones are about one request.
ONE = (
    ("show", id_of(7)),
    ("redrive", id_of(7), *WHY),
    ("settle", id_of(7), "--refund", *WHY),
    ("grant", "--to", id_of(7), "--hours", "1", *WHY),
)
MANY = (
    ("stuck",),
    ("stuck", "--limit", "10000", "--json"),
    ("redrive", "--all", *WHY),
    ("list",),
    ("list", "--status", "IN_PROGRESS"),
    ("audit", "--open"),
    ("audit",),
    ("grant", "--opening", "--yes"),
)
# How much more memory a command may take where the past is ten times as long.
MOST_GROWTH = 1.2
TIMES = 10


class Operated(MadeUp):
    """The tables, made up, with what operators ask of them beside what the auditor does; and AWS around them.

    Parameters
    ----------
    stuck
        How many of the requests that wait for their provider have executions that failed.
    """

    def __init__(self, size: Size, stuck: int) -> None:
        super().__init__(size)
        self.stuck = stuck
        self.redriven: set[int] = set()
        self.settled: set[int] = set()
        self.entered: dict[str, Image] = {}
        self.now = datetime.now(UTC)

    def call(self, service: str, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call of any service, and count it.

        Raises
        ------
        DynamoDBRefusal
            As AWS refuses it, also where it is none of DynamoDB's.
        """
        if service == "dynamodb":
            return self.answer(operation, asked)
        self.calls[operation] += 1
        return _ANSWERS[operation](self, asked)

    def answer(self, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """As of any tables, and a write as well."""
        if operation == "TransactWriteItems":
            self.calls[operation] += 1
            for put in (one["Put"] for one in asked["TransactItems"] if "Put" in one):
                self.entered[put["Item"]["id"]["S"]] = put["Item"]
            return {}
        return super().answer(operation, asked)

    def item(self, table: str, key: str) -> Image | None:
        """With the entries that were made, which explain balances."""
        if key in self.entered:
            return self.entered[key]
        return super().item(table, key)

    def request(self, number: int) -> Image:
        """As it is, once its hours were given back."""
        return super().request(number) | ({"status": {"S": "FAILED"}} if number in self.settled else {})

    def escrow(self, number: int) -> Image:
        """As it is, once its hours were given back."""
        return super().escrow(number) | ({"status": {"S": "REFUNDED"}} if number in self.settled else {})

    # --- Step Functions

    def failed(self, number: int) -> bool:
        """Whether a request's execution did not succeed."""
        return number < self.stuck and number not in self.redriven

    def status_of(self, number: int) -> str:
        """What its execution is."""
        if self.failed(number):
            return "FAILED"
        return "RUNNING" if number < self.size.waiting else "SUCCEEDED"

    def listed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A page of executions of the request workflow; the other one has none."""
        ended = self.now - timedelta(hours=1)
        wanted = asked["statusFilter"] if asked["stateMachineArn"] == MACHINE else ""
        begin, end = {"FAILED": (0, self.stuck), "RUNNING": (0, self.size.waiting)}.get(wanted, (0, 0))
        begin, most = int(asked.get("nextToken", begin)), asked.get("maxResults", 100)
        page, number = [], begin
        while number < end and len(page) < most:
            if self.status_of(number) == wanted:
                one = {"executionArn": EXECUTION + id_of(number), "startDate": ended - timedelta(days=1)}
                page.append(one | ({"stopDate": ended} if wanted != "RUNNING" else {}))
            number += 1
        return {"executions": page} | ({"nextToken": str(number)} if number < end else {})

    def described(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """One execution, by the ARN that the records have, or one that was started."""
        arn = asked["executionArn"]
        if arn.startswith(RELEASE) and int(arn[-12:]) in self.settled:
            return {"executionArn": arn, "status": "SUCCEEDED", "startDate": self.now, "stopDate": self.now}
        if not arn.startswith(EXECUTION) or not arn[len(EXECUTION) :].startswith(id_of(0)[:-12]):
            raise DynamoDBRefusal("ExecutionDoesNotExist", f"Execution Does Not Exist: {arn}")
        status = self.status_of(int(arn[-12:]))
        ended = {} if status == "RUNNING" else {"stopDate": self.now}
        if status == "FAILED":
            ended |= {"error": "States.TaskFailed", "redriveStatus": "REDRIVABLE"}
        given = json.dumps({"requestId": arn.removeprefix(EXECUTION)})
        return {"executionArn": arn, "status": status, "startDate": self.now, "input": given} | ended

    def start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Give hours back at once."""
        id_ = json.loads(asked["input"])["requestId"]
        self.settled.add(int(id_[-12:]))
        return {"executionArn": RELEASE + id_, "startDate": self.now}

    def redrive(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Let one go on."""
        self.redriven.add(int(asked["executionArn"][-12:]))
        return {"redriveDate": self.now}


_ANSWERS: dict[str, Callable[[Operated, Mapping[str, Any]], dict[str, Any]]] = {
    "ListExecutions": Operated.listed,
    "DescribeExecution": Operated.described,
    "RedriveExecution": Operated.redrive,
    "StartExecution": Operated.start,
    "GetExecutionHistory": lambda *_: {"events": []},
    "GetCallerIdentity": lambda *_: {"Account": ACCOUNT, "Arn": PERSON, "UserId": "olga"},
    "GetQueueUrl": lambda *_: {"QueueUrl": "https://sqs/queue"},
    "ReceiveMessage": lambda *_: {},
    "Invoke": lambda *_: {"Payload": BytesIO(b'{"outcome": "GRANTED", "message": "granted"}')},
    "GetFunctionConfiguration": lambda _, asked: {
        "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{asked['FunctionName']}",
        "Environment": {"Variables": VARIABLES | {"PROVIDER_RESPONSE_TIMEOUT_SECONDS": str(30 * 86400)}},
    },
}


@contextmanager
def operated(account: Operated) -> Iterator[None]:
    """Let every boto3 client of this process be answered by this account."""

    def make_api_call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        try:
            return account.call(client.meta.service_model.service_name, operation, parameters)
        except DynamoDBRefusal as refusal:
            raise raised(client, operation, refusal) from None

    before = dict(os.environ)
    own = {"AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "up", "AWS_CONFIG_FILE": os.devnull}
    os.environ.update(own | {"AWS_SHARED_CREDENTIALS_FILE": os.devnull})
    try:
        with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Counted(TextIOBase):
    """Counts what is printed, and keeps its last line."""

    def __init__(self) -> None:
        self.lines, self.last = 0, ""

    def write(self, text: str) -> int:
        """Count it."""
        self.lines += text.count("\n")
        self.last = (self.last + text)[-2000:]
        return len(text)


@dataclass(frozen=True, kw_only=True)
class Called:
    """What one call of a command did.

    Attributes
    ----------
    units
        Read units of DynamoDB.
    seconds
        Of this machine's processor.
    peak_mb
        Of the process, all of it.
    lines
        That were printed, on standard output.
    """

    command: str
    calls: Mapping[str, int]
    units: float
    seconds: float
    peak_mb: float
    lines: int
    status: int
    last: str
    """The last line."""

    @property
    def on_aws(self) -> float:
        """Seconds that it takes at least: its calls one by one, and where a quota makes them wait."""
        waits = [(self.calls.get(name, 0) - at_once) / each for name, (at_once, each) in QUOTAS.items()]
        return max(self.seconds + sum(self.calls.values()) * CALL_SECONDS, *waits)


def play(arguments: Sequence[str], size: Size, stuck: int) -> Called:
    """Call a command as a shell does."""
    from hourbank.cli import app  # what a command imports is among what it takes

    account, out, status = Operated(size, stuck), Counted(), 0
    begin = time.process_time()
    with operated(account), redirect_stdout(out), redirect_stderr(Counted()):
        try:
            status = app([*arguments, "--stack", "prod"], standalone_mode=False) or 0
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Called(
        command=" ".join(arguments),
        calls=dict(account.calls),
        units=account.units,
        seconds=time.process_time() - begin,
        peak_mb=most_memory(),
        lines=out.lines,
        status=status,
        last=out.last.strip().rpartition("\n")[2],
    )


def alone(arguments: Sequence[str], size: Size, stuck: int) -> Called:
    """The same in a process of its own, whose memory is nobody else's: nor that of what else is measured."""
    called = f"operators.play({list(arguments)!r}, scale.{size!r}, {stuck})"
    code = f"import json\nfrom bench import operators, scale\nprint(json.dumps(vars({called})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(arguments)} fails: {done.stderr.strip().rpartition(chr(10))[2]}")
    return Called(**json.loads(done.stdout))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A command over the whole past, and over a tenth of it."""

    is_about_one: bool
    now: Called
    of_less: Called

    @property
    def grows(self) -> bool:
        """Whether one about one request asks for more where the past is longer; or the memory of any grows."""
        is_more = self.is_about_one and self.now.calls != self.of_less.calls
        return is_more or self.now.peak_mb > self.of_less.peak_mb * MOST_GROWTH


def measure(size: Size, stuck: int, say: Callable[[str], None]) -> list[Measured]:
    """Call each command over tables of this size, of which so many of those that wait are stuck."""
    less = replace(size, past=size.past // TIMES)
    found = []
    for arguments in (*ONE, *MANY):
        say(f"hourbank {' '.join(arguments)}")
        found.append(
            Measured(
                is_about_one=arguments in ONE,
                now=alone(arguments, size, stuck),
                of_less=alone(arguments, less, stuck),
            )
        )
    return found


HEADINGS = ("command", "calls", "read units", "on AWS at least", "processor", "memory", "with a tenth", "lines")


def in_words(command: str) -> str:
    """A command without what is the same for all."""
    return command.replace(" ".join(WHY), "").replace(id_of(7), "REQUEST_ID").replace("--yes", "").strip()


def rows(found: Sequence[Measured], *, named: bool) -> Iterator[tuple[str, ...]]:
    """The figures in words, a command a row; with the calls by their names."""
    for one in found:
        calls = [f"{count:,} {name}" for name, count in sorted(one.now.calls.items())]
        yield (
            f"`{in_words(one.now.command)}`" if named else in_words(one.now.command),
            ", ".join(calls) if named else f"{sum(one.now.calls.values()):,}",
            f"{one.now.units:,.0f}",
            f"{one.now.on_aws:,.0f} s",
            f"{one.now.seconds:.1f} s",
            f"{one.now.peak_mb:.0f} MB",
            f"{one.of_less.peak_mb:.0f} MB",
            f"{one.now.lines:,}",
        )


def sentences(found: Sequence[Measured], size: Size, stuck: int) -> Iterator[str]:
    """What the figures say."""
    yield (
        f"{size.past:,} requests have ended, {size.waiting - stuck:,} wait, {size.in_progress:,} are in progress, and "
        f"{stuck:,} are stuck: their executions have failed."
    )
    more = [one for one in found if one.is_about_one and one.now.calls != one.of_less.calls]
    about = ", ".join(f"`{in_words(one.now.command)}`" for one in more)
    is_same = f"but for {about}, which is a fault" if about else "call for call"
    yield f"What is about one request asks for the same where {TIMES} times as many have ended, {is_same}."
    growth = max(one.now.peak_mb / one.of_less.peak_mb for one in found)
    yield f"No command takes more than {growth:.2f} times the memory that it takes over a tenth of the past."


def draw(console: Console, found: Sequence[Measured], size: Size, stuck: int) -> None:
    """Print the figures for a person."""
    table = Table(title="Operators' commands", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows(found, named=False):
        table.add_row(*row)
    console.print(table)
    for sentence in sentences(found, size, stuck):
        console.print(sentence)


def markdown(found: Sequence[Measured], size: Size, stuck: int) -> str:
    """The figures for the page."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows(found, named=True)]
    return "\n".join([*lines, "", *sentences(found, size, stuck)])
