"""How many requests a second the router takes, and a burst of 10,000 in a minute: `make bench ARGS=--router`.

The router's own work is measured: its handler and all of boto3 with a batch of new requests, each call answered as soon
as it would be sent. The burst is taken in by the same handler in virtual time (`hourbank/simulate/burst.py`), under the
quotas that AWS publishes and with the mapping that the program declares.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from botocore.awsrequest import AWSResponse
from rich.console import Console
from rich.table import Table

from handlers import route_service_request
from handlers.aws import dynamodb
from hourbank.simulate.burst import LARGE, OTHER, ROUTER, Intake, Pace, Quotas, StreamReader, take_in
from hourbank.simulate.cases import NOBODY
from hourbank.simulate.executions import LambdaContext
from hourbank.simulate.program import recorded

# the processor's share that comes with the memory:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MEMORY_MB, MEMORY_OF_ONE_PROCESSOR_MB = 512, 1769
BATCHES = 40
REQUESTS = 10_000
SECONDS = 60.0
# How late a start may be beyond the quotas: a look at the shard, a cold start, and what lanes are unevenly filled.
MOST_SECONDS_LATE = 10.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """A burst that was taken in."""

    where: str
    shards: int
    at_once: int
    """Batches of a shard."""
    refused: int
    attempts: int
    given_up: int
    never_started: int
    slowest: float
    late: float

    @property
    def words(self) -> tuple[str, ...]:
        return (
            self.where,
            str(self.shards),
            str(self.at_once),
            f"{self.refused:,}",
            str(self.attempts),
            f"{self.given_up:,}",
            f"{self.never_started:,}",
            f"{self.slowest:.1f} s",
            f"{self.late:.1f} s",
        )


HEADINGS = (
    "region",
    "shards",
    "batches at once",
    "refused calls",
    "deliveries at most",
    "records given up",
    "requests not started",
    "slowest start",
    "late beyond the quota",
)


@dataclass(frozen=True, kw_only=True)
class WayIn:
    """All figures."""

    own_milliseconds: float
    """The router's own work for a request, on this machine's processor."""
    pace: Pace
    reader: StreamReader
    rows: Sequence[Row]
    unwaiting: Row
    """The same where the router gives back to the stream what Step Functions refuses."""

    @property
    def is_missed(self) -> bool:
        declared = [row for row in self.rows if row.at_once == self.reader.parallelization]
        return any(row.given_up or row.never_started or row.late > MOST_SECONDS_LATE for row in declared)


# --- the router's own work


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


def answered(request: Any, **_: Any) -> AWSResponse:
    """Step Functions' answer to StartExecution, without a network."""
    body = json.dumps({"executionArn": "arn:aws:states:us-east-1:1:execution:m:n", "startDate": 1.0}).encode()
    headers: Any = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse(request.url, 200, headers, _Body(body))


def new_requests(number: int) -> dict[str, Any]:
    """An event of the stream with so many new requests."""
    record = {
        "__typename": "ServiceRequest",
        "serviceId": "gardening",
        "requesterId": "ann",
        "providerId": "bob",
        "estimatedHours": 3,
        "createdAt": "2026-11-20T00:00:00.000Z",
        "updatedAt": "2026-11-20T00:00:00.000Z",
    }
    images = [
        {name: dynamodb.typed(value) for name, value in {"id": f"request-{n}", **record}.items()} for n in range(number)
    ]
    return {
        "Records": [
            {
                "eventSource": "aws:dynamodb",
                "eventName": "INSERT",
                "dynamodb": {"NewImage": image, "SequenceNumber": str(n)},
            }
            for n, image in enumerate(images)
        ]
    }


def work() -> float:
    """The milliseconds of processor time for a request: the median of many batches after a first."""
    context = LambdaContext(ROUTER, "1")
    size, taken = StreamReader.declared().batch_size, []
    with mock.patch.dict(os.environ, NOBODY | recorded().environment[ROUTER]):
        dynamodb.client("stepfunctions").meta.events.register("before-send.stepfunctions", answered)
        event = new_requests(size)
        for _ in range(BATCHES + 1):
            begin = time.process_time()
            answer = route_service_request.handler(event, context)
            taken.append((time.process_time() - begin) * 1000 / size)
            if answer["batchItemFailures"]:
                raise SystemExit("bench: the router failed on a new request")
    return statistics.median(taken[1:])


def own_work() -> float:
    """The same in a process of its own, whose log is nobody's."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.router"],
        cwd=Path(__file__).parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


# --- the burst


def row(where: str, intake: Intake, quotas: Quotas, shards: int, at_once: int) -> Row:
    """One row of the table."""
    return Row(
        where=where,
        shards=shards,
        at_once=at_once,
        refused=intake.refused,
        attempts=intake.attempts,
        given_up=len(intake.given_up),
        never_started=len(intake.written) - len(intake.started),
        slowest=intake.slowest,
        late=intake.late(quotas),
    )


def measure(requests: int, say: Any) -> WayIn:
    """Measure the router's own work, then let bursts be taken in at that pace."""
    say("the router's own work")
    own = own_work()
    pace = Pace(record=own / 1000 * MEMORY_OF_ONE_PROCESSOR_MB / MEMORY_MB)
    reader, rows = StreamReader.declared(), []
    seconds = SECONDS * requests / REQUESTS
    for quotas in (LARGE, OTHER):
        for shards, at_once in ((1, 1), (1, reader.parallelization), (4, reader.parallelization)):
            say(f"a burst in {quotas.where}: {shards} shards, {at_once} batches of each at once")
            intake = take_in(requests, quotas, seconds=seconds, shards=shards, pace=pace, parallelization=at_once)
            rows.append(row(quotas.where, intake, quotas, shards, at_once))
    say("a burst whose refused calls are given back to the stream")
    with mock.patch.object(route_service_request, "_is_passing", return_value=False):
        intake = take_in(requests, OTHER, seconds=seconds, pace=pace)
    unwaiting = row(f"{OTHER.where}, refused calls given back", intake, OTHER, 1, reader.parallelization)
    return WayIn(own_milliseconds=own, pace=pace, reader=reader, rows=rows, unwaiting=unwaiting)


def sentences(way: WayIn) -> Iterator[str]:
    """What the figures say of one shard."""
    each = way.pace.record + way.pace.call
    yield (
        f"The router's own work for a request is {way.own_milliseconds:.2f} ms of this machine's processor, "
        f"{way.pace.record * 1000:.1f} ms at the share that {MEMORY_MB} MB have. With {way.pace.call * 1000:.0f} ms "
        f"for a call, batches one after the other take {1 / each:.0f} requests a second from a shard, "
        f"{way.reader.parallelization} at once {way.reader.parallelization / each:.0f}."
    )


def draw(console: Console, way: WayIn) -> None:
    """Print the figures for a person."""
    for sentence in sentences(way):
        console.print(sentence)
    table = Table(title="10,000 requests in a minute", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for one in (*way.rows, way.unwaiting):
        table.add_row(*one.words)
    console.print(table)


def markdown(way: WayIn) -> str:
    """The figures for the page."""
    lines = [*sentences(way), "", f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    return "\n".join([*lines, *(f"| {' | '.join(one.words)} |" for one in (*way.rows, way.unwaiting))])


if __name__ == "__main__":
    print(work())
