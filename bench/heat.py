"""What many moves of hours of one person at once come to: `make bench ARGS=--heat`.

Two parts. The first is measured: real threads, the handlers' own code, Amazon's own engine (DynamoDB Local), as it is
and with AWS's rule that a transaction is refused while another one writes the same item. The second is in virtual time:
the same code's tries and pauses and the retriers of the definition, against an item that is busy for an assumed time
with each transaction; it says how many executions would fail.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Plan
from handlers.bank import ledger
from hourbank import laws
from hourbank.simulate.burst import Bucket
from hourbank.simulate.clock import VirtualClock
from hourbank.simulate.program import definition_of
from tests.helpers.contention import Bank
from tests.helpers.dynamodb_local import DynamoDBLocal, MissingEngineError
from workflows import service_request

LEVELS = (1, 10, 100, 1000)
# more threads that try again keep this process and the engine so busy that it is them that is measured
MOST_REFUSED_THREADS = 100
# the balance's item, for how long a transaction keeps it: nobody publishes it, so the figures are for several
BUSY_SECONDS = (0.01, 0.025, 0.05, 0.1)
# three reads before the write
READ_SECONDS = 0.015
REFUSAL_SECONDS = 0.01
# what one partition takes in a second, and a transaction's write of one item up to 1 KB:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
PARTITION_UNITS, WRITE_UNITS = 1000, 2
STATE = "EscrowHours"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """So many moves at once of one person's hours, on a real engine."""

    what: str
    at_once: int
    conflicts: int
    tries: float
    """Transactions for each move, refused ones included."""
    given_up: int
    """Runs of a function that ended without a write, after which the workflow runs it again."""
    median: float
    slowest: float
    seconds: float

    @property
    def words(self) -> tuple[str, ...]:
        return (
            self.what,
            f"{self.at_once:,}",
            f"{self.conflicts:,}",
            f"{self.tries:.1f}",
            f"{self.given_up:,}",
            f"{self.median:.2f} s",
            f"{self.slowest:.2f} s",
            f"{self.at_once / self.seconds:.0f}",
        )


@dataclass(frozen=True, kw_only=True)
class Derived:
    """So many executions at once that move one person's hours, in virtual time."""

    busy: float
    at_once: int
    tries: float
    most_runs: int
    """Of the function, for one execution."""
    seconds: float
    """Until the last of them has moved its hours."""
    failed: int
    failed_before: int
    """The same without a retrier that names `Contended`."""

    @property
    def words(self) -> tuple[str, ...]:
        return (
            f"{self.busy * 1000:.0f} ms",
            f"{self.at_once:,}",
            f"{self.tries:.1f}",
            f"{self.most_runs:,}",
            f"{self.seconds:.0f} s",
            f"{self.failed:,}",
            f"{self.failed_before:,}",
        )


MEASURED = ("what", "at once", "conflicts", "tries each", "given up", "median", "slowest", "a second")
DERIVED = (
    "the item is busy for",
    "at once",
    "tries each",
    "runs at most",
    "all done in",
    "failed",
    "without the retrier",
)


@dataclass(frozen=True, kw_only=True)
class Heat:
    """All figures."""

    measured: Sequence[Measured]
    derived: Sequence[Derived]


# --- on a real engine


def held(bank: Bank, number: int) -> list[Any]:
    """One person asks for so many services at once."""
    bank.give(ana=str(number), ben="0")
    runs = bank.requests(*[("ana", "ben", "1")] * number)
    return [partial(bank.task, ledger.hold, run) for run in runs]


def released(bank: Bank, number: int) -> list[Any]:
    """So many people pay one provider at once."""
    people = {f"p{n}": "1" for n in range(number)}
    bank.give(**people, ben="0")
    runs = bank.requests(*[(person, "ben", "1") for person in people])
    bank.at_once([partial(bank.task, ledger.hold, run) for run in runs])
    bank.at_once([partial(bank.move, run, "IN_PROGRESS", requesterResponse="COMPLETED") for run in runs])
    return [partial(bank.task, ledger.release, run.request_id) for run in runs]


CASES = {"one requester": held, "one provider": released}


def measured(endpoint: str, what: str, number: int, *, conflicts: bool) -> Measured:
    """Let as many threads move hours.

    Raises
    ------
    SystemExit
        A law does not hold afterwards.
    """
    bank = Bank(what, endpoint, conflicts=conflicts, threads=number)
    with bank.asked():
        steps = CASES[what](bank, number)
        bank.taken, bank.seconds, bank.exhausted = [], 0.0, 0
        bank.client.counted.clear()
        bank.at_once(steps)
        now = bank.ledger()
        if broken := [*laws.hours_lost(now, bank.granted), *laws.entries_that_do_not_add_up(now, bank.granted)]:
            raise SystemExit(f"bench: {what}, {number} at once: {broken[0]}")
    counted = bank.client.counted
    return Measured(
        what=f"{what}, {'refused as on AWS' if conflicts else 'the engine as it is'}",
        at_once=number,
        conflicts=counted["conflicts"],
        tries=(counted["transactions"] + counted["refused"]) / number,
        given_up=bank.exhausted,
        median=statistics.median(bank.taken),
        slowest=max(bank.taken),
        seconds=bank.seconds,
    )


# --- in virtual time


class HotItem:
    """An item that takes one transaction at a time, refuses those that meet it, and so many units a second."""

    def __init__(self, clock: VirtualClock, busy: float) -> None:
        self._clock, self._busy = clock, busy
        self._free_at = 0.0
        self._units = Bucket(PARTITION_UNITS, PARTITION_UNITS)
        self.tries = 0

    def write(self, _writes: Any) -> bool:
        """Take a transaction; return whether it was written."""
        self.tries += 1
        is_free = self._clock.now >= self._free_at
        # what is refused costs as well
        paid = [self._units.take(self._clock.now) for _ in range(WRITE_UNITS)]
        if not is_free or not all(paid):
            self._clock.sleep(REFUSAL_SECONDS)
            return False
        self._free_at = self._clock.now + self._busy
        self._clock.sleep(self._busy)
        return True


def retriers(*, without: str | None = None) -> list[Mapping[str, Any]]:
    """The retriers of the state that holds hours, as the definition has them."""
    found = definition_of(service_request)["States"][STATE]["Retry"]
    return [one | {"ErrorEquals": [name for name in one["ErrorEquals"] if name != without]} for one in found]


def derived(busy: float, number: int, retry: Sequence[Mapping[str, Any]], seed: int = 1) -> tuple[Counter[str], float]:
    """Let as many executions hold hours of one person: counts of `tries` and `failed`, the most `runs`; the seconds."""
    clock, chance = VirtualClock(), random.Random(seed)
    item, counts = HotItem(clock, busy), Counter[str]()
    done: list[float] = []

    def plan() -> Plan:
        clock.sleep(READ_SECONDS)
        return Plan(None, ({},))

    def execute() -> None:
        used: Counter[int] = Counter()
        for runs in itertools.count(1):
            counts["runs"] = max(counts["runs"], runs)
            try:
                dynamodb.commit(plan)
            except dynamodb.Contended:
                number, retrier = next(
                    (n, one)
                    for n, one in enumerate(retry)
                    if {"Contended", "States.TaskFailed"} & {*one["ErrorEquals"]}
                )
            else:
                done.append(clock.now)
                return
            if used[number] == retrier["MaxAttempts"]:
                counts["failed"] += 1
                return
            most = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** used[number]
            most = min(most, retrier.get("MaxDelaySeconds", most))
            used[number] += 1
            clock.sleep(chance.uniform(0, most) if retrier.get("JitterStrategy") == "FULL" else most)

    for _ in range(number):
        clock.start(execute)
    with (
        mock.patch.object(dynamodb, "_written", item.write),
        mock.patch.object(time, "sleep", clock.sleep),
        mock.patch.object(random, "uniform", chance.uniform),
    ):
        clock.run()
    counts["tries"] = item.tries
    return counts, max(done, default=0.0)


def row(busy: float, number: int) -> Derived:
    """One row: with the definition's retriers, and as it would be without the one for contention."""
    counts, seconds = derived(busy, number, retriers())
    before, _ = derived(busy, number, retriers(without="Contended"))
    return Derived(
        busy=busy,
        at_once=number,
        tries=counts["tries"] / number,
        most_runs=counts["runs"],
        seconds=seconds,
        failed=counts["failed"],
        failed_before=before["failed"],
    )


# --- both


def measure(levels: Sequence[int], say: Any) -> Heat:
    """Measure and derive.

    Raises
    ------
    SystemExit
        DynamoDB Local cannot run here.
    """
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(DynamoDBLocal())
        except MissingEngineError as error:
            raise SystemExit(f"bench: {error}") from error
        found = []
        for what, conflicts, number in itertools.product(CASES, (False, True), levels):
            if conflicts and number > MOST_REFUSED_THREADS:
                continue
            say(f"{what}, {number:,} at once")
            found.append(measured(engine.endpoint, what, number, conflicts=conflicts))
    rows = []
    for busy, number in itertools.product(BUSY_SECONDS, levels):
        say(f"{number:,} executions at once, in virtual time")
        rows.append(row(busy, number))
    return Heat(measured=found, derived=rows)


def tables(heat: Heat) -> Iterator[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """Title, headings and rows of each table."""
    yield "Measured", MEASURED, [one.words for one in heat.measured]
    yield "Derived", DERIVED, [one.words for one in heat.derived]


def draw(console: Console, heat: Heat) -> None:
    """Print the figures for a person."""
    for title, headings, rows in tables(heat):
        table = Table(*headings, title=title, title_justify="left")
        for words in rows:
            table.add_row(*words)
        console.print(table)


def markdown(heat: Heat) -> str:
    """The figures for the page."""
    lines: list[str] = []
    for _, headings, rows in tables(heat):
        lines += ["", f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
        lines += [f"| {' | '.join(words)} |" for words in rows]
    return "\n".join(lines[1:])
