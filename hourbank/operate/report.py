"""How what an operator asked for is printed, as it is found: what is kept does not grow with what is read."""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from handlers.aws.dynamodb import Contended
from handlers.bank.hours import in_words
from hourbank.account.stack import error_in_words
from hourbank.errors import UnreachableError
from hourbank.operate.remedies import Trouble
from hourbank.terminal import in_hours, say

T = TypeVar("T")
# Of more requests than a screen has room for, the groups are told at the end.
SCREEN = 20
MOST_GROUPS = 20


class Group(NamedTuple):
    """Requests with the same trouble: how many, and the hours at stake."""

    requests: int = 0
    hours: Decimal = Decimal(0)


class TroubleTally:
    """Counts what is wrong, in groups of the same words; of each request it keeps nothing but the id."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}
        self.hours = Decimal(0)
        self._ids: set[str] = set()

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, kind: str, what: str, request_id: str, hours: Decimal) -> None:
        """Count one trouble; the hours of a request are at stake once, however many it has."""
        if request_id not in self._ids:
            self._ids.add(request_id)
            self.hours += hours
        key = _key(kind, what)
        group = self.groups.get(key, Group())
        self.groups[key] = Group(group.requests + 1, group.hours + hours)

    def drop(self, kind: str, what: str, request_id: str, hours: Decimal) -> None:
        """Take back what was added."""
        self._ids.remove(request_id)
        self.hours -= hours
        key = _key(kind, what)
        group = self.groups[key]
        self.groups[key] = Group(group.requests - 1, group.hours - hours)
        if not self.groups[key].requests:
            del self.groups[key]

    @property
    def count(self) -> int:
        """How many troubles there are: a request can have several."""
        return sum(group.requests for group in self.groups.values())

    def of(self, kind: str) -> int:
        """How many troubles of a kind there are."""
        return sum(group.requests for (one, _), group in self.groups.items() if one == kind)

    def rows(self) -> list[dict[str, Any]]:
        """The groups as JSON has them, the largest first."""
        largest = sorted(self.groups.items(), key=lambda group: group[1].requests, reverse=True)
        return [{"kind": kind, "what": what, **group._asdict()} for (kind, what), group in largest]


def _key(kind: str, what: str) -> tuple[str, str]:
    return kind, re.sub(r"\d+(\.\d+)?", "…", what)


class Foremost(Generic[T]):
    """Keeps so many of what it is shown, those of the highest rank; of the same rank those that came first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = itertools.count(0, -1)

    def add(self, rank: float, what: T) -> None:
        """Keep it, or what it comes after."""
        push = heapq.heappush if len(self._heap) < self._limit else heapq.heappushpop
        push(self._heap, (rank, next(self._numbers), what))

    def __iter__(self) -> Iterator[T]:
        return (what for _, _, what in sorted(self._heap, key=lambda kept: kept[:2], reverse=True))


def live(text: Callable[[], str]) -> Live:
    """A line that says what goes on, while it goes on; on standard error, and at a terminal only."""
    spinner = Spinner("dots")

    def render() -> Spinner:
        spinner.update(text=text())
        return spinner

    return Live(get_renderable=render, console=Console(stderr=True), transient=True, refresh_per_second=8)


@contextmanager
def aside(line: Live) -> Iterator[None]:
    """Take the line away while something else is printed."""
    line.stop()
    yield
    line.start()


@contextmanager
def so_far(words: Callable[[], str]) -> Iterator[None]:
    """Say in a line how far it got and how it goes on, where it is interrupted or AWS answers no more.

    Raises
    ------
    UnreachableError
        AWS, or the way there, failed.
    """
    try:
        yield
    except (BotoCoreError, ClientError, Contended) as error:
        raise UnreachableError(f"{error_in_words(error)}; {words()}") from error
    except KeyboardInterrupt:
        say(Console(stderr=True), f"interrupted; {words()}")
        raise
    except SystemExit as ended:  # terminated
        if not isinstance(ended.__context__, BrokenPipeError):
            say(Console(stderr=True), f"terminated; {words()}")
        raise


def print_findings(
    console: Console, findings: Iterable[Trouble], or_else: str = "none", *, is_first: bool = True
) -> None:
    """Print a line on each finding and one on each remedy, as they come, with a heading above the first."""
    number = 0
    for number, finding in enumerate(findings, 1):
        if number == 1 and is_first:
            say(console, (f"{'hours':>8}  request", "dim"))
        since = f", since {finding.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if finding.since else ""
        about = f"  {finding.request_id}  {finding.what}"
        say(console, (f"{in_words(finding.hours):>8}", "bold"), about, (since, "dim"))
        for remedy in finding.remedies:
            print_remedy(console, *remedy)
    if not number and or_else:
        say(console, (or_else, "dim"))


def print_more(console: Console, number: int) -> None:
    """Say how many were left out, if any."""
    if number > 0:
        say(console, (f"and {number} more, --limit shows more", "dim"))


def in_row(finding: Trouble) -> dict[str, Any]:
    """Return a finding as a row of JSON."""
    return {
        "kind": finding.kind,
        "requestId": finding.request_id,
        "hours": finding.hours,
        "what": finding.what,
        "since": finding.since,
        "remedies": [remedy._asdict() for remedy in finding.remedies],
    }


def print_remedy(console: Console, command: str, use: str) -> None:
    say(console, " " * 10, (f"{command}  " if command else "", "cyan"), (f"# {use}", "dim"))


def print_groups(console: Console, tally: TroubleTally) -> None:
    """Print what the troubles are, where there are more than a screen has room for."""
    if len(tally) <= SCREEN:
        return
    rows = tally.rows()
    console.print()
    say(console, (f"{'hours':>10}  {'requests':>8}", "dim"))
    for row in rows[:MOST_GROUPS]:
        say(console, (f"{in_words(row['hours']):>10}", "bold"), f"  {row['requests']:>8}  {row['what']}")
    if len(rows) > MOST_GROUPS:
        say(console, (f"and {len(rows) - MOST_GROUPS} more groups, which --json prints", "dim"))


def print_total(console: Console, tally: TroubleTally, none: str) -> None:
    """Print how many requests are concerned and the hours at stake, those of each request once."""
    if len(tally):
        say(console, (f"{many(len(tally), 'request')}, {in_hours(tally.hours)} at stake", "bold red"))
    elif none:
        say(console, (none, "bold green"))


def read_so_far(read: Mapping[str, int]) -> str:
    """How much was read of a stack, in words."""
    return f"{many(read['executions'], 'failed execution')} listed, {many(read['requests'], 'request')} read"


def many(number: int, what: str, plural: str = "") -> str:
    return f"{number} {what if number == 1 else plural or f'{what}s'}"
