"""Many requests in a minute, taken in by the router in virtual time: what the mapping does, and AWS's quotas allow.

The records are those of a world's stream, the mapping is as the program declares it, the router is the real handler,
and Step Functions' starts come out of a bucket. Where AWS says nothing, the model takes the worse: what is delivered
again comes at once, and all that is left of a batch has been tried as often as the batch.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest import mock

from aws_lambda_powertools.utilities.batch import BatchProcessor

from handlers import route_service_request
from hourbank.simulate.cases import in_silence
from hourbank.simulate.clock import VirtualClock
from hourbank.simulate.executions import Call, Killed, LambdaContext, Moment
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.program import recorded
from hourbank.simulate.world import World, deployed

ROUTER = "routeServiceRequest"
# Lambda looks into each shard four times a second:
# https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
POLL_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """What AWS allows an account in a region: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

    where: str
    bucket: int
    """StartExecution calls that may come at once."""
    refill: float
    """And as many more in each second."""
    concurrency: int = 1000
    """Functions that run at once: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


# us-east-1, us-west-2 and eu-west-1 on the one hand
LARGE = Quotas(where="Virginia, Oregon, Ireland", bucket=1300, refill=300)
OTHER = Quotas(where="elsewhere", bucket=800, refill=150)


@dataclass(frozen=True, kw_only=True)
class StreamReader:
    """How the event source mapping reads the stream, as the program declares it."""

    batch_size: int
    parallelization: int
    attempts: int
    """Deliveries of a record at most, the first one included."""
    oldest_seconds: float
    bisects: bool
    function_seconds: float

    @classmethod
    def declared(cls) -> StreamReader:
        program = recorded()
        mapping = program.mapping
        return cls(
            batch_size=mapping["batchSize"],
            parallelization=mapping["parallelizationFactor"],
            attempts=mapping["maximumRetryAttempts"] + 1,
            oldest_seconds=mapping["maximumRecordAgeInSeconds"],
            bisects=mapping["bisectBatchOnFunctionError"],
            function_seconds=program.timeout_seconds[ROUTER],
        )


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things take that are not simulated, in seconds."""

    call: float = 0.03
    """One call of Step Functions, from the function and back: assumed."""
    record: float = 0.007
    """The router's own work for a record at its memory's share of a processor: `make bench ARGS=--router`."""
    cold: float = 1.0
    """The start of a function that was not there: assumed."""


@dataclass
class Intake:
    """What became of a burst."""

    written: dict[str, float] = field(default_factory=dict)
    """When each request was written, by its id, in seconds."""
    asked: list[float] = field(default_factory=list)
    """When each record was written that asks for a start; of some requests there are several."""
    taken: list[float] = field(default_factory=list)
    """When each start was taken, also of what was started before."""
    started: dict[str, float] = field(default_factory=dict)
    """When its execution was started."""
    starts: Counter[str] = field(default_factory=Counter)
    """How many executions there are of it."""
    given_up: list[str] = field(default_factory=list)
    """What went to the failure queue."""
    refused: int = 0
    """Calls that Step Functions refused for how many there were."""
    deliveries: int = 0
    again: int = 0
    """Deliveries of what had been delivered before."""
    attempts: int = 0
    """How often the record that was delivered most was."""
    busiest: int = 0
    """How many routers ran at once at most."""
    throttled: int = 0
    """Deliveries that had to wait because no function was free."""
    order: dict[str, list[int]] = field(default_factory=dict)
    """The sequence numbers of each request's records, in the order in which the router was done with them."""

    def late(self, quotas: Quotas) -> float:
        """Return the seconds by which a start came after the one that the quotas allow, of the worst."""
        return max(
            start - allowed for start, allowed in zip(sorted(self.taken), earliest(self.asked, quotas), strict=False)
        )

    @property
    def slowest(self) -> float:
        """The seconds between a request and its start, of the one that waited longest."""
        return max(start - self.written[key] for key, start in self.started.items())


class Bucket:
    """A token bucket: so many at once, and so many more each second."""

    def __init__(self, capacity: float, refill: float) -> None:
        self._capacity, self._refill = capacity, refill
        self._level, self._at = float(capacity), 0.0

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        self._level, self._at = min(self._capacity, self._level + (now - self._at) * self._refill), now
        if self._level < 1:
            return False
        self._level -= 1
        return True


def earliest(written: Iterable[float], quotas: Quotas) -> list[float]:
    """When each of these could be started at the earliest, if nothing but the quota were in the way."""
    level, at, times = float(quotas.bucket), 0.0, []
    for moment in sorted(written):
        now = max(at, moment)
        level, at = min(quotas.bucket, level + (now - at) * quotas.refill), now
        if level < 1:
            at += (1 - level) / quotas.refill
            level = 1.0
        level -= 1
        times.append(at)
    return times


@dataclass
class _Batch:
    records: list[dict[str, Any]]
    attempt: int = 0


class Burst:
    """A burst as it is taken in: a world's records, read by a mapping, under quotas, at a pace."""

    def __init__(self, world: World, reader: StreamReader, quotas: Quotas, pace: Pace, shards: int, seed: int) -> None:
        self._world, self._reader, self._quotas, self._pace = world, reader, quotas, pace
        self._clock, self._local = VirtualClock(), threading.local()
        self._bucket = Bucket(quotas.bucket, quotas.refill)
        self._lanes: list[deque[dict[str, Any]]] = [deque() for _ in range(shards * reader.parallelization)]
        self._running, self._warm = 0, 0
        self._random = random.Random(seed)
        self._processor = route_service_request.processor
        self._began = world.clock
        self.intake = Intake()

    def run(self, records: Sequence[dict[str, Any]]) -> Intake:
        """Let the router take in these records of the stream, each at its time."""
        for record in records:
            if self._world.is_of_interest(record):
                # a request's records are all in one shard, and in one lane of it, for their order's sake
                self._lanes[zlib.crc32(_id(record).encode()) % len(self._lanes)].append(record)
                self.intake.asked.append(self._at(record))
                self.intake.written.setdefault(_id(record), self._at(record))
        for lane in self._lanes:
            self._clock.start(lambda lane=lane: self._read(lane))
        self._world.on_call = self._on_call
        with (
            mock.patch.object(route_service_request, "processor"),
            mock.patch.object(time, "sleep", self._pass),
            mock.patch.object(random, "uniform", self._random.uniform),
            mock.patch.object(LambdaContext, "get_remaining_time_in_millis", side_effect=self._milliseconds_left),
        ):
            self._clock.run()
        self._world.on_call = None
        self.intake.starts.update(execution.request_id for execution in self._world.executions)
        return self.intake

    def _at(self, record: dict[str, Any]) -> float:
        return record["dynamodb"]["ApproximateCreationDateTime"] - self._began.timestamp()

    def _read(self, lane: deque[dict[str, Any]]) -> None:
        """Deliver a lane's records, a batch at a time."""
        while lane:
            if (wait := self._at(lane[0]) - self._clock.now) > 0:
                # as long as it takes until a look at the shard finds it
                self._clock.sleep(math.ceil((self._clock.now + wait) / POLL_SECONDS) * POLL_SECONDS - self._clock.now)
            batch = []
            while lane and len(batch) < self._reader.batch_size and self._at(lane[0]) <= self._clock.now:
                batch.append(lane.popleft())
            left = [_Batch(batch)] if batch else []
            while left:
                left[:1] = self._deliver(left[0])

    def _deliver(self, batch: _Batch) -> list[_Batch]:
        """Deliver once; return what of it is to be delivered again."""
        fresh = [r for r in batch.records if self._clock.now - self._at(r) <= self._reader.oldest_seconds]
        if batch.attempt >= self._reader.attempts or not fresh:
            self.intake.given_up += map(_id, batch.records)
            return []
        self.intake.given_up += [_id(record) for record in batch.records if record not in fresh]
        while self._running >= self._quotas.concurrency:
            # this is none of the attempts: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
            self.intake.throttled += 1
            self._clock.sleep(POLL_SECONDS)
        self.intake.deliveries += 1
        self.intake.again += batch.attempt > 0
        self.intake.attempts = max(self.intake.attempts, batch.attempt + 1)
        self._running += 1
        self.intake.busiest = max(self.intake.busiest, self._running)
        failed = self._invoke(fresh, batch.attempt)
        self._running -= 1
        if failed is None:
            for record in fresh:
                self._done(record)
            return []
        if failed < 0:
            half = len(fresh) // 2 if self._reader.bisects and len(fresh) > 1 else 0
            halves = (fresh[:half], fresh[half:]) if half else (fresh,)
            return [_Batch(records, batch.attempt + 1) for records in halves]
        for record in fresh[:failed]:
            self._done(record)
        return [_Batch(fresh[failed:], batch.attempt + 1)]

    def _done(self, record: dict[str, Any]) -> None:
        self.intake.order.setdefault(_id(record), []).append(int(record["dynamodb"]["SequenceNumber"]))

    def _invoke(self, records: Sequence[dict[str, Any]], attempt: int) -> int | None:
        """Call the router; return the first record that failed, -1 for the function itself, None for nothing."""
        if self._running > self._warm:
            self._warm = self._running
            self._clock.sleep(self._pace.cold)
        self._local.ends = self._clock.now + self._reader.function_seconds
        # each function that runs has its own, which knows nothing of other calls
        route_service_request.processor = BatchProcessor(
            event_type=self._processor.event_type,
            raise_on_entire_batch_failure=self._processor.raise_on_entire_batch_failure,
        )
        try:
            answer = self._world.invoke(ROUTER, {"Records": records}, attempt=attempt)
        except Exception:  # noqa: BLE001  as Lambda does
            return -1
        failures = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        return next((index for index, number in enumerate(numbers) if number in failures), None)

    def _left(self) -> float:
        return self._local.ends - self._clock.now

    def _milliseconds_left(self) -> float:
        return self._left() * 1000

    def _pass(self, seconds: float) -> None:
        """Let time pass in a router, while others run; it is killed at its end."""
        with self._world.as_client():
            self._clock.sleep(min(seconds, max(0.0, self._left())))
        if self._left() <= 0:
            raise Killed

    def _on_call(self, call: Call, moment: Moment) -> None:
        if moment == "before":
            self._pass(self._pace.record + self._pace.call)
            if call.operation == "StartExecution" and not self._bucket.take(self._clock.now):
                self.intake.refused += 1
                raise DynamoDBRefusal("ThrottlingException", "Rate exceeded")
        elif call.operation == "StartExecution":
            self.intake.taken.append(self._clock.now)
            self.intake.started.setdefault(json.loads(call.parameters["input"])["requestId"], self._clock.now)


def _id(record: dict[str, Any]) -> str:
    return record["dynamodb"]["Keys"]["id"]["S"]


def take_in(
    requests: int,
    quotas: Quotas,
    *,
    seconds: float = 60.0,
    shards: int = 1,
    pace: Pace | None = None,
    seed: int = 1,
    **changed: Any,
) -> Intake:
    """Let so many people ask within so many seconds, evenly; return what became of it.

    `changed` replaces fields of the `StreamReader` that the program declares. Each tenth request is changed by its
    requester once it is there, so that it has two records whose order is to be kept.
    """
    reader = replace(StreamReader.declared(), **changed)
    with in_silence(), deployed() as world:
        burst = Burst(world, reader, quotas, pace or Pace(), shards, seed)
        begin = world.clock
        for number in range(requests):
            world.clock = begin + timedelta(seconds=seconds * number / requests)
            world.submit(f"request-{number:05d}")
            if number % 10 == 0:
                world.update(f"request-{number:05d}", estimatedHours=2)
        records: list[dict[str, Any]] = []

        def take(pending: list[dict[str, Any]]) -> list[dict[str, Any]]:
            records.extend(pending)
            return []

        world.on_deliver = take
        world.deliver()
        return burst.run(records)
