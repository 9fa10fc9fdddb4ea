"""`hourbank stuck`: what did not succeed, what waits too long, and what the stream's reader gave up on.

Nothing is changed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from rich.console import Console

from handlers.aws import environment
from handlers.aws.dynamodb import Item, client
from handlers.bank import requests
from handlers.bank.audit import (
    NEEDS_OWNER,
    Audit,
    Case,
    age,
    in_hundreds,
    in_progress_for,
    is_left_alone,
    is_missed,
    missed_in_words,
)
from handlers.bank.requests import LONGEST_RESPONSE_TIMEOUT_SECONDS, OWNER
from hourbank.account.stack import Stack
from hourbank.operate.executions import is_own, load_cases, owner_of, path, unfinished, unsuccessful
from hourbank.operate.remedies import Trouble, remedies, state_of, touch
from hourbank.operate.report import in_rows, live, many, print_findings, print_remedy, print_total
from hourbank.operate.stream import of_stream, queue_url
from hourbank.operate.waits import has_own, own_wait
from hourbank.terminal import print_json, say, title

# Beyond what a wait may last: between waits an execution is busy for minutes, however often it retries.
BUSY = timedelta(hours=1)


def of_executions(stack: Stack, limit: int) -> tuple[list[Trouble], bool]:
    """Return what unsuccessful executions have left behind, newest first, and whether there were more to look at."""
    runs, more = unsuccessful(stack, limit)
    return [
        Trouble(
            kind="EXECUTION",
            what=f"{run.words}; {state_of(case)}",
            request_id=case.request_id,
            hours=case.held,
            since=run.ended,
            remedies=remedies(stack, case, run),
        )
        for run, case in unfinished(stack, runs)
    ], more


def of_waits(
    stack: Stack, now: datetime, confirmation: timedelta, limit: int = 200, seen: Callable[[int], None] = lambda _: None
) -> list[Trouble]:
    """Return the requests that wait longer than they should, longest first; what helps is looked up for so many."""
    default, may_wait = time_to_answer(variables(stack)), has_own()
    waits: list[tuple[timedelta, str, Case]] = []
    for keys in in_hundreds(Audit(touch=False).open_keys("ServiceRequest")):
        seen(len(keys))
        for case in load_cases(keys).values():
            if case.request:
                waited, what = waiting(case, now, default, confirmation)
                waits += [(waited, what, case)] if what else []
    findings = []
    for waited, what, case in sorted(waits, key=lambda wait: wait[0], reverse=True):
        remedies_ = ()
        if len(findings) < limit:
            if may_wait and _is_in_own_wait(stack, case.request or {}):
                continue
            is_touched = is_missed(case.request or {})
            remedies_ = touch(stack) if is_touched else remedies(stack, case, owner_of(stack, case))
        findings.append(
            Trouble(
                kind="WAIT",
                what=what,
                request_id=case.request_id,
                hours=case.held,
                since=now - waited,
                remedies=remedies_,
            )
        )
    return findings


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
    """Print what is stuck, and return whether nothing is."""
    requests.start_requests_from()  # refused at once, not after half of what there is to say
    confirmation = timedelta(days=environment.confirmation_days())
    with live(lambda: "looking at executions"):
        executions, more_executions = of_executions(stack, limit)
    seen = {finding.request_id for finding in executions}
    read: Counter[str] = Counter()
    with live(lambda: f"{many(read['requests'], 'request')} read"):
        found = of_waits(stack, datetime.now(UTC), confirmation, limit, lambda number: read.update(requests=number))
        waits = [one for one in found if one.request_id not in seen]
    seen |= {finding.request_id for finding in waits}
    with live(lambda: "looking at the queue"):
        records, messages, more_messages = of_stream(stack, limit)
        records = [one for one in records if one.request_id not in seen]
    nothing = not (executions or waits or messages)
    if as_json:
        rows = in_rows([*executions, *waits[:limit], *records])
        more = more_executions or more_messages or len(waits) > limit
        print_json(console, stack=stack.env, region=stack.region, ok=nothing, rows=rows, messages=messages, more=more)
        return nothing

    title(console, "Executions that did not succeed, and left hours or work behind")
    print_findings(console, executions)
    if more_executions:
        line = f"only the newest {limit} were looked at, --limit takes more; `audit` looks at every request"
        say(console, (line, "dim"))
    title(console, "Requests that wait too long")
    print_findings(console, waits[:limit])
    if len(waits) > limit:
        say(console, (f"and {len(waits) - limit} younger ones, --limit shows more", "dim"))
    title(console, "Records that the stream's reader gave up on")
    for message in messages:
        say(console, message)
    if more_messages:
        say(console, (f"and more messages: only {limit} were looked at, --limit takes more", "dim"))
    print_findings(console, records, or_else="" if messages else "none")
    if messages:
        empty = f"aws sqs purge-queue --queue-url {queue_url(stack)} --region {stack.region}"
        print_remedy(console, empty, "once all of it is done: the messages stay, and alarm, until they are removed")

    console.print()
    print_total(console, [*executions, *waits, *records], "nothing is stuck" if not messages else "")
    return nothing
