"""What the auditor does over a million requests: `make bench ARGS=--scale`.

The tables are made up as they are asked for, each record from its number, so that a past of any length takes no memory
and no hour to fill. What the auditor reads is counted by AWS's rule; `tests/contention/test_scale.py` holds the same
tables, small, in DynamoDB Local and compares. Calls, units and memory are therefore true, seconds are this machine's
processor time; the time in which a call waits for DynamoDB is assumed.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table

from handlers.aws import dynamodb
from handlers.bank import case
from handlers.bank.audit import HELD_ESCROWS, OPEN_REQUESTS, Audit
from handlers.bank.cursor import SHARES, Cursor
from hourbank.cost import prices
from hourbank.local.processes.meter import size_of, units_read
from hourbank.simulate.expressions import DynamoDBRefusal

NOW = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = int(NOW.timestamp()) // 3600
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:ServiceRequestWorkflow-prod"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:ServiceRequestWorkflow-prod:service-request-"
VARIABLES = {
    "SERVICE_REQUEST_TABLE_NAME": "ServiceRequest",
    "ESCROW_TABLE_NAME": "Escrow",
    "TRANSACTION_LOG_TABLE_NAME": "TransactionLog",
    "USER_BALANCE_TABLE_NAME": "UserBalance",
    "START_REQUESTS_FROM": "2026-01-01T00:00:00Z",
    "CONFIRMATION_DAYS": "14",
    "AWS_DEFAULT_REGION": "us-east-1",
}
# what DynamoDB takes for a call as a rule, in the same region: https://aws.amazon.com/dynamodb/features/
CALL_SECONDS = 0.01
MEMORY_GB = 0.5
PAGE_BYTES = 1024 * 1024
# the first half ask, the others provide
USERS = 10_000
# the entries that an escrow can have here
KINDS = ("ESCROW_HOLD", "ESCROW_RELEASE", "ESCROW_REFUND")
# how much more an hour's look at what can still change may cost where the past is longer
MOST_RATIO = 1.2
WEEKS_A_MONTH = prices.HOURS_A_MONTH / SHARES

Image = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many requests there are: made and ended, waiting for people, in progress; and which have a fault."""

    past: int
    waiting: int
    in_progress: int
    faults: frozenset[int] = frozenset()

    @property
    def open(self) -> int:
        return self.waiting + self.in_progress


def id_of(number: int) -> str:
    """As long as Amplify's."""
    return f"5e7b3a10-0000-4000-8000-{number:012d}"


class MadeUp:
    """Four tables and a workflow: the open requests have the first numbers, those that ended the others."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.calls: Counter[str] = Counter()
        self.units = 0.0
        self.missing = 0.0
        """Of the units, those for records that are not there, for which AWS asks as well."""
        self.exceptions = SimpleNamespace()

    # --- the records, which are those that the workflows leave

    def number(self, key: str) -> int | None:
        if not re.fullmatch(rf"{id_of(0)[:-12]}\d{{12}}", key):
            return None
        number = int(key[-12:])
        return number if number < self.size.open + self.size.past else None

    def status(self, number: int) -> str:
        if number < self.size.waiting:
            return "AWAITING_PROVIDER"
        return "IN_PROGRESS" if number < self.size.open else "COMPLETED"

    def request(self, number: int) -> Image:
        status, moment = self.status(number), dynamodb.date_time(NOW - timedelta(days=2))
        item = {
            "id": id_of(number),
            "__typename": "ServiceRequest",
            "serviceId": id_of(number % 1000),
            "requesterId": id_of(number % (USERS // 2)),
            "providerId": id_of(USERS // 2 + number % (USERS // 2)),
            "estimatedHours": 2,
            "status": status,
            "stepFunctionExecutionArn": EXECUTION + id_of(number),
            "createdAt": moment,
            "updatedAt": moment,
        }
        if status == "AWAITING_PROVIDER":
            item |= {"open": "OPEN", "taskToken": "A" * 700, "taskTokenAttempt": "0#0"}
        else:
            item |= {"providerResponse": "ACCEPTED", "startedAt": moment}
        if status == "IN_PROGRESS":
            item |= {"open": "OPEN"}
        if status == "COMPLETED":
            item |= {"requesterResponse": "COMPLETED"}
        return {name: dynamodb.typed(value) for name, value in item.items()}

    def escrow(self, number: int) -> Image:
        moment = dynamodb.date_time(NOW - timedelta(days=2))
        item = {
            "id": id_of(number),
            "__typename": "Escrow",
            "requestId": id_of(number),
            "requesterId": id_of(number % (USERS // 2)),
            "providerId": id_of(USERS // 2 + number % (USERS // 2)),
            "hours": 2,
            "executionArn": EXECUTION + id_of(number),
            "status": "RELEASED" if number >= self.size.open else "HELD",
            "createdAt": moment,
            "updatedAt": moment,
        }
        return {name: dynamodb.typed(value) for name, value in item.items()}

    def entry(self, number: int, kind: str) -> Image | None:
        is_there = {"ESCROW_HOLD": True, "ESCROW_RELEASE": number >= self.size.open}
        if number in self.size.faults:
            is_there |= {"ESCROW_REFUND": True}
        if not is_there.get(kind):
            return None
        moment = dynamodb.date_time(NOW - timedelta(days=2))
        held, requester = f"escrow:{id_of(number)}", f"user:{id_of(number % (USERS // 2))}"
        item = {
            "id": f"{id_of(number)}#{kind}",
            "__typename": "TransactionLog",
            "requestId": id_of(number),
            "type": kind,
            "hours": 2,
            "fromAccount": requester if kind == "ESCROW_HOLD" else held,
            "toAccount": held if kind == "ESCROW_HOLD" else f"user:{id_of(USERS // 2 + number % (USERS // 2))}",
            "createdAt": moment,
            "updatedAt": moment,
        }
        return {name: dynamodb.typed(value) for name, value in item.items()}

    def balance(self, number: int) -> Image | None:
        """It has more than its entries say: what users were given at first is in none."""
        if number >= USERS:
            return None
        moment = dynamodb.date_time(NOW - timedelta(days=2))
        item = {"userId": id_of(number), "__typename": "UserBalance", "availableBalance": 1000}
        return {name: dynamodb.typed(value) for name, value in (item | {"updatedAt": moment}).items()}

    def item(self, table: str, key: str) -> Image | None:
        if table == "UserBalance":
            return self.balance(int(key[-12:])) if key.startswith(id_of(0)[:-12]) else None
        id_, _, kind = key.partition("#")
        if (number := self.number(id_)) is None:
            return None
        if table == "TransactionLog":
            return self.entry(number, kind)
        return self.request(number) if table == "ServiceRequest" else self.escrow(number)

    # --- what the auditor asks

    def answer(self, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call of DynamoDB, and count it.

        Raises
        ------
        DynamoDBRefusal
            The table has no such index.
        """
        answer: dict[str, Any] = {
            "Query": self._query,
            "Scan": self._scan,
            "GetItem": self._get_item,
            "BatchGetItem": self._batch_get_item,
            "TransactGetItems": self._transact_get_items,
        }[operation](**asked)
        self.calls[operation] += 1
        self.units += answer.pop("Units", None) or units_read(operation, asked, answer) or 0
        return answer

    def _query(self, TableName: str, IndexName: str, **asked: Any) -> dict[str, Any]:  # noqa: N803  boto3's names
        index = {"ServiceRequest": OPEN_REQUESTS, "Escrow": HELD_ESCROWS}[TableName]
        if index.name != IndexName:
            raise DynamoDBRefusal("ValidationException", "The table does not have the specified index")
        start = asked.get("ExclusiveStartKey")
        begin = int(start["id"]["S"][-12:]) + 1 if start else 0
        key = {"id": {"S": id_of(0)}, index.attribute: {"S": index.value}}
        end = min(begin + PAGE_BYTES // size_of(key), self.size.open)
        answer: dict[str, Any] = {"Items": [{"id": {"S": id_of(number)}} for number in range(begin, end)]}
        if end < self.size.open:
            answer["LastEvaluatedKey"] = key | {"id": {"S": id_of(end - 1)}}
        # the index has its own key besides what is projected
        return answer | {"Units": units_read("Query", {}, {"Items": [key] * (end - begin)})}

    def _scan(
        self,
        TableName: str,  # noqa: N803
        Segment: int = 0,  # noqa: N803
        TotalSegments: int = 1,  # noqa: N803
        Limit: int = PAGE_BYTES,  # noqa: N803
        **asked: Any,
    ) -> dict[str, Any]:
        name = "userId" if TableName == "UserBalance" else "id"
        start, items, room = asked.get("ExclusiveStartKey"), [], PAGE_BYTES
        begin = self._place(start[name]["S"]) + TotalSegments if start else Segment
        for place in range(begin, self._places(TableName), TotalSegments):
            if item := self._at(TableName, place):
                items.append(item)
                room -= size_of(item)
                if room < 0 or len(items) == Limit:
                    return {"Items": items, "LastEvaluatedKey": {name: item[name]}}
        return {"Items": items}

    # The order of a table's items: that of their numbers, of the log kind by kind. In DynamoDB, too, the entries of one
    # escrow are not beside each other.
    def _places(self, table: str) -> int:
        every = self.size.open + self.size.past
        return {"UserBalance": USERS, "TransactionLog": len(KINDS) * every}.get(table, every)

    def _place(self, key: str) -> int:
        id_, _, kind = key.partition("#")
        return int(id_[-12:]) + (KINDS.index(kind) * (self.size.open + self.size.past) if kind else 0)

    def _at(self, table: str, place: int) -> Image | None:
        if table == "TransactionLog":
            kind, number = divmod(place, self.size.open + self.size.past)
            return self.entry(number, KINDS[kind])
        return self.item(table, id_of(place))

    def _get_item(self, TableName: str, Key: Image, **_: Any) -> dict[str, Any]:  # noqa: N803
        [key] = Key.values()
        item = self.item(TableName, key["S"])
        return {"Item": item} if item else {}

    def _batch_get_item(self, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        found = {
            table: [item for key in asked["Keys"] if (item := self.item(table, key["id"]["S"]))]
            for table, asked in RequestItems.items()
        }
        missing = sum(len(asked["Keys"]) - len(found[table]) for table, asked in RequestItems.items())
        self.missing += missing / 2
        return {"Responses": found}

    def _transact_get_items(self, TransactItems: Any) -> dict[str, Any]:  # noqa: N803
        items = [self.item(one["Get"]["TableName"], one["Get"]["Key"]["id"]["S"]) for one in TransactItems]
        return {"Responses": [{"Item": item} if item else {} for item in items]}

    # boto3's methods, of both services
    def get_item(self, **asked: Any) -> dict[str, Any]:
        return self.answer("GetItem", asked)

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        return self.answer("BatchGetItem", asked)

    def transact_get_items(self, **asked: Any) -> dict[str, Any]:
        return self.answer("TransactGetItems", asked)

    def query(self, **asked: Any) -> dict[str, Any]:
        return self.answer("Query", asked)

    def scan(self, **asked: Any) -> dict[str, Any]:
        return self.answer("Scan", asked)

    def list_executions(self, *, nextToken: str = "0", **_: Any) -> dict[str, Any]:  # noqa: N803
        self.calls["ListExecutions"] += 1
        begin, end = int(nextToken), min(int(nextToken) + 1000, self.size.waiting)
        page = {"executions": [{"executionArn": EXECUTION + id_of(number)} for number in range(begin, end)]}
        return page | ({"nextToken": str(end)} if end < self.size.waiting else {})


@contextmanager
def asked(engine: Any) -> Iterator[None]:
    """Let the auditor ask these tables and this workflow."""
    before, environment = (dynamodb.client, case.client), dict(os.environ)
    dynamodb.client = case.client = lambda _: engine  # type: ignore[assignment]
    os.environ.update(VARIABLES)
    try:
        yield
    finally:
        dynamodb.client, case.client = before  # type: ignore[assignment]
        os.environ.clear()
        os.environ.update(environment)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What runs of the auditor did."""

    what: str
    looked_at: int
    calls: Mapping[str, int]
    units: float
    seconds: float
    """Of this machine's processor."""
    peak_mb: float
    found: Mapping[str, int]
    """In which run each fault was listed first."""

    def dollars(self, runs: float) -> float:
        """What so many such runs cost: units that are read, and Lambda's time, in which calls wait one by one."""
        time_ = self.seconds + sum(self.calls.values()) * CALL_SECONDS
        each = self.units * prices.READ.each + time_ * MEMORY_GB * prices.GB_SECOND.each
        return runs * each


def most_memory() -> float:
    """The most that this process had, in MB.

    Linux counts the memory of whoever started a process among the process's own in getrusage, not in its status.
    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    if (status := Path("/proc/self/status")).exists():
        return int(re.findall(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def play(what: str, size: Size, hours: int, *, share: bool) -> Run:
    """Let the auditor run so many hours; without `share`, each looks at what can still change alone."""
    engine = MadeUp(size)
    cursor, found, looked_at = Cursor(HOUR if share else HOUR + 1), {}, 0
    begin = time.process_time()
    with asked(engine):
        for hour in range(hours):
            run = Audit(touch=True, machine=MACHINE, now=NOW + timedelta(hours=hour if share else 0))
            for finding in run.scheduled(cursor):
                found.setdefault(finding.key, hour)
            cursor, looked_at = run.cursor, looked_at + run.requests
    return Run(
        what=what,
        looked_at=looked_at,
        calls=dict(engine.calls),
        units=engine.units,
        seconds=time.process_time() - begin,
        peak_mb=most_memory(),
        found=found,
    )


def alone(*asked: Any, **more: Any) -> Run:
    """The same in a process of its own, whose memory is nobody else's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(play, asked, more)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The figures of one size, and of ten times its past."""

    size: Size
    times: int
    open: Run
    open_of_more: Run
    hour: Run
    hour_of_more: Run
    week: Run

    @property
    def ratio(self) -> float:
        """How much more an hour's look at what can still change costs where the past is so many times as long."""
        return self.open_of_more.dollars(1) / self.open.dollars(1)


def measure(size: Size, times: int, say: Any) -> Scale:
    """Measure the auditor over tables of this size, and over a past so many times as long.

    Raises
    ------
    SystemExit
        A fault was not found when it must be.
    """
    more = Size(past=size.past * times, waiting=size.waiting, in_progress=size.in_progress)
    named = f"{size.past:,} ended"
    say("an hour's look at what can still change")
    in_progress = size.waiting + size.in_progress // 2
    faulty = replace(size, faults=frozenset({7, in_progress}))
    now = alone("a fault in what can still change", faulty, 1, share=False)
    if now.found != {id_of(7): 0, id_of(in_progress): 0}:
        raise SystemExit(f"bench: faults in what can still change were not listed in the next hour: {now.found}")
    open_ = alone(f"what can still change, {named}", size, 1, share=False)
    open_of_more = alone(f"what can still change, {more.past:,} ended", more, 1, share=False)
    say("an hour with its share of the past")
    hour = alone(f"and this hour's share, {named}", size, 1, share=True)
    hour_of_more = alone(f"and this hour's share, {more.past:,} ended", more, 1, share=True)
    say("a week of shares, which takes minutes")
    planted = frozenset({size.past // 3, size.past - 1})
    past = Size(past=size.past, waiting=0, in_progress=0, faults=planted)
    week = alone(f"a week of shares, {named}", past, SHARES, share=True)
    if week.found.keys() != {id_of(number) for number in planted}:
        raise SystemExit(f"bench: faults of the past were not listed within a week: {week.found}")
    return Scale(
        size=size,
        times=times,
        open=open_,
        open_of_more=open_of_more,
        hour=hour,
        hour_of_more=hour_of_more,
        week=week,
    )


HEADINGS = ("run", "requests", "read units", "calls", "processor", "memory", "a month")


def rows(scale: Scale) -> Iterator[tuple[str, ...]]:
    """The figures in words, a run a row."""
    hourly = (scale.open, scale.open_of_more, scale.hour, scale.hour_of_more)
    for run, runs in (*((one, float(prices.HOURS_A_MONTH)) for one in hourly), (scale.week, WEEKS_A_MONTH)):
        calls = ", ".join(f"{count:,} {name}" for name, count in sorted(run.calls.items()))
        yield (
            run.what,
            f"{run.looked_at:,}",
            f"{run.units:,.0f}",
            calls,
            f"{run.seconds:.1f} s",
            f"{run.peak_mb:.0f} MB",
            f"${run.dollars(runs):,.2f}",
        )


def sentences(scale: Scale) -> Iterator[str]:
    """What the figures say."""
    size = scale.size
    yield (
        f"{size.waiting:,} requests wait and {size.in_progress:,} are in progress. An hour's look at them costs "
        f"{scale.ratio:.2f} times as much where {scale.times} times as many have ended."
    )
    hours = ", ".join(str(hour + 1) for hour in sorted(scale.week.found.values()))
    yield (
        "Two faults planted in what can still change were listed in the next hour; two in the past were listed in "
        f"hours {hours} of 168."
    )
    each = scale.week.dollars(WEEKS_A_MONTH) / size.past * 1000
    yield f"Every 1,000 requests that ever ended add ${each:.4f} a month."


def draw(console: Console, scale: Scale) -> None:
    """Print the figures for a person."""
    table = Table(title="The auditor", title_justify="left", show_lines=True)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows(scale):
        table.add_row(*row)
    console.print(table)
    for sentence in sentences(scale):
        console.print(sentence)


def markdown(scale: Scale) -> str:
    """The figures for the page."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows(scale)]
    return "\n".join([*lines, "", *sentences(scale)])
