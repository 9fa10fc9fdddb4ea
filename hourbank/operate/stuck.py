"""`hourbank stuck`: what did not succeed, what waits too long, and what the stream's reader gave up on.

Nothing is changed here.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from rich.console import Console

from handlers.aws import environment
from handlers.aws.dynamodb import Item, client
from handlers.bank import requests
from handlers.bank.case import Case, age
from handlers.bank.faults import NEEDS_OWNER, in_progress_for
from handlers.bank.missed import is_left_alone, is_missed, missed_in_words
from handlers.bank.requests import LONGEST_RESPONSE_TIMEOUT_SECONDS, OWNER
from hourbank.account.stack import Stack
from hourbank.operate.executions import (
    DescribedExecution,
    as_described,
    is_own,
    left_by,
    open_cases,
    owner_of,
    path,
    unsuccessful,
)
from hourbank.operate.remedies import Trouble, remedies, state_of, touch
from hourbank.operate.report import (
    SCREEN,
    Foremost,
    TroubleTally,
    in_row,
    live,
    print_findings,
    print_groups,
    print_more,
    print_remedy,
    print_total,
    read_so_far,
    so_far,
)
from hourbank.operate.stream import of_stream, queue_url
from hourbank.operate.waits import has_own, own_wait
from hourbank.terminal import json_document, say, title

# Beyond what a wait may last: between waits an execution is busy for minutes, however often it retries.
BUSY = timedelta(hours=1)


class Stuck:
    """What is stuck among the requests that have not ended and the hours that are held, counted, and the first of it.

    Attributes
    ----------
    tally
        What executions that did not succeed have left behind (EXECUTION), and what waits longer than it should (WAIT).
    """

    def __init__(self, stack: Stack, limit: int) -> None:
        self._stack = stack
        self.tally = TroubleTally()
        self._newest: Foremost[tuple[DescribedExecution, Case]] = Foremost(limit)
        self._longest: Foremost[tuple[timedelta, str, Case]] = Foremost(limit)

    def look(
        self,
        runs: Mapping[str, DescribedExecution],
        now: datetime,
        confirmation: timedelta,
        seen: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Look at all of them, where `runs` are the executions that did not succeed."""
        self._now, default = now, time_to_answer(variables(self._stack))
        for case in open_cases(seen):
            if run := left_by(self._stack, runs, case):
                what = f"its execution {run.status}; {state_of(case)}"
                self.tally.add("EXECUTION", what, case.request_id, case.held)
                self._newest.add(run.ended.timestamp() if run.ended else 0, (run, case))
            elif case.request:
                waited, what = waiting(case, now, default, confirmation)
                if what:
                    self.tally.add("WAIT", what, case.request_id, case.held)
                    self._longest.add(waited.total_seconds(), (waited, what, case))

    def of_executions(self) -> Iterator[Trouble]:
        """What executions have left behind, those that ended last first, with what helps."""
        for listed, case in self._newest:
            run = as_described(self._stack, listed)
            yield Trouble(
                kind="EXECUTION",
                what=f"{run.words}; {state_of(case)}",
                request_id=case.request_id,
                hours=case.held,
                since=run.ended,
                remedies=remedies(self._stack, case, run),
            )

    def of_waits(self) -> Iterator[Trouble]:
        """What waits too long, longest first, with what helps; not where it waits as its workflow means it to."""
        may_wait = has_own()
        for waited, what, case in self._longest:
            if may_wait and _is_in_own_wait(self._stack, case.request or {}):
                self.tally.drop("WAIT", what, case.request_id, case.held)
                continue
            is_touched = is_missed(case.request or {})
            helps = touch(self._stack) if is_touched else remedies(self._stack, case, owner_of(self._stack, case))
            yield Trouble(
                kind="WAIT",
                what=what,
                request_id=case.request_id,
                hours=case.held,
                since=self._now - waited,
                remedies=helps,
            )

    def beside(self, records: Iterable[Trouble]) -> Iterator[Trouble]:
        """Those that were not found before, counted as well."""
        for trouble in records:
            if trouble.request_id not in self.tally:
                self.tally.add(trouble.kind, trouble.what, trouble.request_id, trouble.hours)
                yield trouble


def _is_in_own_wait(stack: Stack, request: Item) -> bool:
    """Whether a request waits where its workflow means it to, as far as AWS shows that."""
    run = str(request.get(OWNER))
    return is_own(stack, run) and own_wait(stack, run, path(run) or []) is not None


def variables(stack: Stack) -> dict[str, str]:
    """Return what the stack tells its first function: how long people have, and the table of their balances."""
    function = f"hourbank-validateServiceRequest-{stack.env}"
    told: dict[str, str] = client("lambda").get_function_configuration(FunctionName=function)["Environment"][
        "Variables"
    ]
    return told


def time_to_answer(told: dict[str, str]) -> timedelta:
    """Return how long people have where a request does not say."""
    return timedelta(seconds=int(told["PROVIDER_RESPONSE_TIMEOUT_SECONDS"]))


def own_time_to_answer(request: Item) -> timedelta | None:
    """Return how long a request itself gives people."""
    own = request.get("providerResponseTimeoutSeconds")
    is_legal = isinstance(own, Decimal) and 0 < own <= LONGEST_RESPONSE_TIMEOUT_SECONDS
    return timedelta(seconds=int(own)) if is_legal else None


def waiting(case: Case, now: datetime, default: timedelta, confirmation: timedelta) -> tuple[timedelta, str]:
    """Return how long a request waits, and for what, in words; no words where it does not wait for too long.

    Parameters
    ----------
    default : timedelta
        How long people have to answer where the request does not say.
    confirmation : timedelta
        How long a service may be in progress.
    """
    request = case.request or {}
    status = requests.status_of(request)
    changed, held = age(now, request), age(now, case.escrow)
    if is_missed(request):
        return changed, missed_in_words(request) if is_left_alone(request, now) else ""
    if status in requests.WAITS:
        allowed = own_time_to_answer(request) or default
        # first the provider, then the requester
        allowed *= 1 if status == "AWAITING_PROVIDER" else 2
        return held, f"{status}, and nobody was timed out" if held > allowed + BUSY else ""
    if status in NEEDS_OWNER:
        return changed, f"{status}, which takes minutes at most" if changed > BUSY else ""
    if status == "IN_PROGRESS":
        lasted = in_progress_for(case, now)
        return lasted, "IN_PROGRESS, and nobody ends the service: ask its people" if lasted >= confirmation else ""
    return timedelta(0), ""


def show_stuck(console: Console, stack: Stack, limit: int, *, as_json: bool = False) -> bool:
    """Print what is stuck, and return whether nothing is.

    Parameters
    ----------
    limit : int
        How many to print of executions, of waits and of the queue's messages, and to look up what helps for.
    """
    requests.start_requests_from()  # refused at once, not after half of what there is to say
    confirmation = timedelta(days=environment.confirmation_days())
    read: Counter[str] = Counter()
    found = Stuck(stack, limit)
    with so_far(lambda: f"{read_so_far(read)}; nothing is changed: give it again"):
        with live(lambda: read_so_far(read)):
            now = datetime.now(UTC)
            runs = unsuccessful(stack, now, lambda number: read.update(executions=number))
            found.look(runs, now, confirmation, lambda number: read.update(requests=number))
        show_as = _show_json if as_json else _show
        return show_as(console, stack, found, limit)


def _show_json(console: Console, stack: Stack, found: Stuck, limit: int) -> bool:
    with json_document(console, stack=stack.env, region=stack.region) as document:
        for trouble in itertools.chain(found.of_executions(), found.of_waits()):
            document.row(in_row(trouble))
        records, messages, more = of_stream(stack, limit)
        more = more or any(found.tally.of(kind) > limit for kind in ("EXECUTION", "WAIT"))
        for trouble in found.beside(records):
            document.row(in_row(trouble))
        nothing = not (len(found.tally) or messages)
        document.end(ok=nothing, messages=messages, more=more, groups=found.tally.rows())
    return nothing


def _show(console: Console, stack: Stack, found: Stuck, limit: int) -> bool:
    title(console, "Executions that did not succeed, and left hours or work behind")
    print_findings(console, found.of_executions())
    print_more(console, found.tally.of("EXECUTION") - limit)
    title(console, "Requests that wait too long")
    print_findings(console, found.of_waits())
    print_more(console, found.tally.of("WAIT") - limit)
    title(console, "Records that the stream's reader gave up on")
    with live(lambda: "looking at the queue"):
        records, messages, more_messages = of_stream(stack, limit)
    for message in messages:
        say(console, message)
    if more_messages:
        say(console, (f"and more messages: only {limit} were looked at, --limit takes more", "dim"))
    print_findings(console, found.beside(records), or_else="" if messages else "none")
    if messages:
        empty = f"aws sqs purge-queue --queue-url {queue_url(stack)} --region {stack.region}"
        print_remedy(console, empty, "once all of it is done: the messages stay, and alarm, until they are removed")

    print_groups(console, found.tally)
    if found.tally.of("EXECUTION") > SCREEN and not stack.is_local:
        again = stack.command("redrive", options=' --all --reason "WHY"')
        print_remedy(console, again, "if the cause has passed: all that can goes on, with the code it began with")
    console.print()
    print_total(console, found.tally, "nothing is stuck" if not messages else "")
    return not (len(found.tally) or messages)
