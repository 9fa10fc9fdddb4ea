"""`hourbank show`: a request's whole story, of what `hourbank up` left running or of a stack on AWS.

Everything is found by key: records by the request's id, executions by their names and by the ARNs in the records. The
history of an execution can have a task token in it: it is asked for without data, and only the names of states, times
and time-outs of it are read.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from rich.console import Console
from rich.text import Text

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Item, client
from handlers.bank import audit, requests
from handlers.bank.audit import PATIENCE, Case
from handlers.bank.hours import in_words
from handlers.bank.requests import OWNER
from hourbank.account.stack import Stack, is_refusal
from hourbank.drawing import graph
from hourbank.drawing.flow import flow_of
from hourbank.drawing.lanes import Passage, lanes
from hourbank.drawing.layout import rows
from hourbank.drawing.pictures import DEFINITIONS
from hourbank.errors import HourBankError
from hourbank.local import people
from hourbank.operate.executions import (
    UNSUCCESSFUL,
    DescribedExecution,
    is_own,
    is_unfinished,
    owner_of,
    refusal_of,
    runs_of,
)
from hourbank.operate.remedies import Remedy, remedies, state_of, touch
from hourbank.operate.report import print_remedy
from hourbank.operate.stuck import own_time_to_answer, time_to_answer, variables, waiting
from hourbank.terminal import at, duration, in_hours, say, short_duration, title

SECRET = frozenset({"taskToken", "taskTokenAttempt"})
STATUSES = {
    "PENDING": "nobody has begun with it",
    "VALIDATING": "its execution checks the record",
    "ESCROWED": "the hours are held, and the provider is asked next",
    "AWAITING_PROVIDER": "the provider was asked",
    "NEGOTIATING": "the requester was shown the provider's offer",
    "IN_PROGRESS": "the provider accepted, and the hours are held until the service is received or given up",
    "COMPLETED": "the service was received, and the provider has the hours",
    "REJECTED": "it could not be served, and no hours are held",
    "DECLINED": "it was declined, and the requester has the hours back",
    "CANCELLED": "it was called off, and the requester has the hours back",
    "TIMED_OUT": "nobody answered in time, and the requester has the hours back",
    "FAILED": "a step failed, and no hours are held",
}
# the record's attributes that are told in words
TOLD = frozenset(
    {
        *("id", "status", "requesterId", "providerId", "serviceId", "estimatedHours", "offeredHours", "failureReason"),
        *("counterOfferHours", "providerResponse", "requesterResponse", "providerResponseTimeoutSeconds", "__typename"),
        *("createdAt", "updatedAt", OWNER),
    }
)


class Step(NamedTuple):
    """A state that an execution entered."""

    state: str
    entered: datetime
    left: datetime | None = None
    asked: datetime | None = None
    """When its task, or the last try of it, was begun."""
    seconds: int | None = None
    """How long that try may take, where Step Functions says so."""


class RequestStory(NamedTuple):
    """All that there is about a request, and what the stack's people have."""

    case: Case
    runs: list[DescribedExecution]
    paths: dict[str, list[Step]]
    """By execution; none where AWS does not allow to see histories."""
    default: timedelta
    """How long people have where the request does not say."""
    now: datetime
    problem: str | None
    """What does not fit, in words."""


def show_request(console: Console, stack: Stack, request_id: str) -> None:
    """Print a request's story: record, hours, executions, and what can be done next.

    Raises
    ------
    HourBankError
        If nothing is known of such a request.
    IllegalSetting
        If the stack was told no time from which requests are its own: then nobody can say what waits.
    """
    requests.start_requests_from()
    told = variables(stack)
    os.environ.setdefault("USER_BALANCE_TABLE_NAME", told["USER_BALANCE_TABLE_NAME"])
    case = audit.load(request_id)
    runs = sorted(runs_of(stack, case), key=lambda run: run.started or datetime.min.replace(tzinfo=UTC))
    if not (case.request or case.escrow or runs):
        raise HourBankError(
            f"no request has the id {request_id} in stack {stack.env}: give its whole id, as it is in the table"
        )
    paths = {run.arn: steps for run in runs if (steps := path(run.arn)) is not None}
    problem = audit.mismatch(case) if case.request else None
    if case.held and not case.is_owner:
        problem = f"{in_hours(case.held)} are held, and {state_of(case)}"
    story = RequestStory(case, runs, paths, time_to_answer(told), datetime.now(UTC), problem)
    _print_record(console, story)
    _print_hours(console, story)
    for run in runs:
        _print_run(console, stack, story, run)
    foreign = (case.request or {}).get(OWNER)
    if foreign and not is_own(stack, str(foreign)):
        say(console, f"The record names an execution that is none of stack {stack.env}: {foreign}")
    if runs and not paths:
        say(console, ("AWS does not allow GetExecutionHistory: the path through the states is left out", "dim"))
    title(console, "Now")
    for line in (*_what_waits(stack, story), *_what_is_wrong(stack, story)):
        if isinstance(line, Remedy):
            print_remedy(console, *line)
        else:
            say(console, f"  {line}")


def path(execution_arn: str) -> list[Step] | None:
    """Return the states that an execution entered, in order; None where AWS does not allow to see them."""
    steps: list[Step] = []
    history = client("stepfunctions").get_paginator("get_execution_history")
    try:
        for page in history.paginate(executionArn=execution_arn, includeExecutionData=False):
            for event in page["events"]:
                at = event["timestamp"]
                if entered := event.get("stateEnteredEventDetails"):
                    steps.append(Step(entered["name"], at))
                elif steps and "stateExitedEventDetails" in event:
                    steps[-1] = steps[-1]._replace(left=at)
                elif steps and event["type"].endswith("Scheduled"):
                    details = event.get("taskScheduledEventDetails") or event.get("lambdaFunctionScheduledEventDetails")
                    steps[-1] = steps[-1]._replace(asked=at, seconds=(details or {}).get("timeoutInSeconds"))
    except ClientError as error:
        if is_refusal(error):
            return None
        raise
    return steps


def _print_record(console: Console, story: RequestStory) -> None:
    case, request = story.case, story.case.request
    if request is None:
        say(console, ("The request is gone", "bold"), f"  {case.request_id}")
        return
    status = requests.status_of(request)
    reason = request.get("failureReason")
    words = STATUSES.get(status, "not a status of the workflows'")
    say(console, (status, "bold"), f"  {words}{f': {reason}' if reason else ''}")
    _field(console, "id", case.request_id)
    _field(console, "service", request.get("serviceId"))
    for who, field in (("requester", "requesterId"), ("provider", "providerId")):
        _field(console, who, request.get(field), _balance(request.get(field)))
    _field(console, "hours", request.get("estimatedHours"))
    for who, answer in _answers(request):
        _field(console, who, answer)
    if own := own_time_to_answer(request):
        _field(console, "time to answer", duration(own), "the request's own")
    _field(console, "created", at(requests.moment(request, "createdAt")))
    _field(console, "last change", at(requests.moment(request, "updatedAt")))
    for name in sorted(set(request) - TOLD - SECRET):
        _field(console, name, request[name])


def _answers(request: Item) -> Iterator[tuple[str, Any]]:
    """Who said what, and what the workflow made of it."""
    if response := request.get("providerResponse"):
        offer = request.get("counterOfferHours")
        yield "provider said", f"{response}{f' of {_hours(offer)}' if response == 'COUNTER_OFFER' else ''}"
    if (offered := request.get("offeredHours")) is not None:
        yield "offer", f"{_hours(offered)}, which the requester was shown"
    if response := request.get("requesterResponse"):
        yield "requester said", response


def _print_hours(console: Console, story: RequestStory) -> None:
    case = story.case
    title(console, "Hours")
    if case.escrow is None:
        say(console, "  none were held")
        return
    _field(console, "escrow", f"{case.escrow.get('status')}, {_hours(case.escrow.get('hours'))}")
    for entry in sorted(case.entries, key=lambda entry: str(entry.get("createdAt"))):
        accounts = f"{entry.get('fromAccount')} → {entry.get('toAccount')}"
        accounts = accounts.replace(f"escrow:{case.request_id}", "escrow")
        _field(
            console,
            at(requests.moment(entry, "createdAt")),
            f"{audit.kind_of(case, entry)}: {_hours(entry.get('hours'))}, {accounts}",
        )


def _print_run(console: Console, stack: Stack, story: RequestStory, run: DescribedExecution) -> None:
    machine, _, name = run.arn.rpartition(":execution:")[2].partition(":")
    machine = machine.removesuffix(f"-{stack.env}")
    console.print()
    ended = f", {at(run.started)} to {at(run.ended)}" if run.ended else f" since {at(run.started)}"
    say(console, (machine, "bold"), f"  {name}  ", (run.status, "bold"), ended)
    if run.order:
        say(console, f"  an operator's word: {run.order}")
    _print_way(console, story, run, DEFINITIONS[machine])
    for line in _failure(stack, story, run):
        if isinstance(line, Remedy):
            print_remedy(console, *line)
        else:
            say(console, f"  {line}")


def _print_way(console: Console, story: RequestStory, run: DescribedExecution, definition: Mapping[str, Any]) -> None:
    """Print the states, those that were passed with when and for how long."""
    steps = story.paths.get(run.arn)
    if not steps:
        return
    waits = ""
    if story.case.request and run.status == "RUNNING":
        waits = f"until {at(_wait(story, story.case.request)[1])}"
    drawn = lanes(definition, [Passage([step.state for step in steps], run.status)], waits=waits).split("\n")
    order = rows(flow_of(definition))
    # a state of an older definition is in no picture
    older = [step.state for step in steps if step.state not in order]
    for state, line in zip([*order, *older], [*drawn, *(Text(f"✓ {state}") for state in older)], strict=True):
        passed = [step for step in steps if step.state == state]
        when = f"{at(passed[0].entered)}  {_took(passed[-1], run):>8}" if passed else ""
        console.print(Text.assemble((f"  {when:<35}", "dim"), line), soft_wrap=True)


def _took(step: Step, run: DescribedExecution) -> str:
    if step.left is None:
        return "…" if run.status == "RUNNING" else ""
    return short_duration(step.left - step.entered)


def _failure(stack: Stack, story: RequestStory, run: DescribedExecution) -> Iterator[str | Remedy]:
    """Why an execution did not succeed, in words. Its cause is not shown: it can have a task token in it."""
    if run.status not in UNSUCCESSFUL:
        return
    steps = story.paths.get(run.arn, [])
    failed = _failed(steps)
    if run.error == "ReleaseRefused":
        yield f"refused: {refused(run) or 'request and escrow do not belong together'}"
    elif run.status == "ABORTED":
        yield f"stopped by hand{f' in {failed.state}' if failed else ''}"
    elif failed:
        given_back = any(step.state == "RequestFailed" for step in steps)
        gave_back = "; what was held was given back" if given_back else f" ({run.error})"
        yield f"{failed.state} failed{gave_back}"
        function = functions().get(failed.state)
        if function and not stack.is_local:
            begin, end = (int(at.timestamp() * 1000) for at in (failed.entered, failed.left or run.ended or story.now))
            # not by the request's id: what Lambda itself logs of an exception has none
            command = (
                f"aws logs filter-log-events --log-group-name /aws/lambda/hourbank-{function}-{stack.env} "
                f"--start-time {begin} --end-time {end + 1000} --filter-pattern ERROR "
                f"--query 'events[].message' --output text --region {stack.region}"
            )
            yield Remedy(command, "the errors that its function logged at that time")
    else:
        yield f"it failed ({run.error})"


def _failed(steps: list[Step]) -> Step | None:
    """The state that failed: the last one, or the one before the hours were given back."""
    for before, step in itertools.pairwise(steps):
        if step.state == "RefundAfterFailure":
            return step if step is steps[-1] else before
    return steps[-1] if steps else None


def refused(run: DescribedExecution) -> str | None:
    """Return why a release was refused, where AWS allows to see it."""
    try:
        return refusal_of(run)
    except ClientError as error:
        if is_refusal(error):
            return None
        raise


def functions() -> dict[str, str]:
    """The function that each Task of both machines calls."""
    return {
        name: graph.called(place.state)
        for definition in DEFINITIONS.values()
        for name, place in graph.places(definition).items()
        if place.state["Type"] == "Task"
    }


def _what_waits(stack: Stack, story: RequestStory) -> Iterator[str | Remedy]:
    """Who can do what, since when it waits, and until when."""
    case, request = story.case, story.case.request
    if request is None or story.problem or audit.is_missed(request):
        return
    status = requests.status_of(request)
    if status in requests.WAITS:
        since, until = _wait(story, request)
        left = until - story.now
        ends = f"in {duration(left)}" if left > timedelta(0) else f"{duration(-left)} ago"
        yield f"waits since {at(since)}, until {at(until)} ({ends}); then the hours go back"
    elif status == "IN_PROGRESS" and case.escrow:
        days = timedelta(days=environment.confirmation_days())
        reported = f"; the auditor reports it from {at(story.now - audit.in_progress_for(case, story.now) + days)}"
        yield f"waits until somebody ends the service; nobody is timed out{reported}"
    for deed in people.DEEDS.get(status, ()):
        person = "the provider" if deed.who == "providerId" else "the requester"
        yield f"{person} {request.get(deed.who)} can write {deed.writes}"
        if stack.is_local:
            yield Remedy(deed.played(shlex.quote(case.request_id)), "plays that")
    if status not in people.DEEDS and requests.TRANSITIONS.get(status):
        yield "the workflow goes on by itself"


def _wait(story: RequestStory, request: Item) -> tuple[datetime, datetime]:
    """When the present wait began and when it ends."""
    steps = story.paths.get(str(request.get(OWNER)), [])
    step = steps[-1] if steps and steps[-1].left is None else None
    # Without the history: the provider is asked when the hours are held, the requester with the record's last write.
    record = story.case.escrow if requests.status_of(request) == "AWAITING_PROVIDER" else request
    since = (step.asked or step.entered) if step else requests.moment(record or {}, "updatedAt") or story.now
    # the emulator times out after the stack's default, whatever a request says
    own = own_time_to_answer(request)
    seconds = timedelta(seconds=step.seconds) if step and step.seconds else None
    return since, since + (seconds or own or story.default)


def _what_is_wrong(stack: Stack, story: RequestStory) -> Iterator[str | Remedy]:
    """What does not fit, waits too long or was missed, and the commands that help; else that nothing is left to do."""
    case = story.case
    confirmation = timedelta(days=environment.confirmation_days())
    waited, too_long = waiting(case, story.now, story.default, confirmation)
    if story.problem:
        yield story.problem
        yield from remedies(stack, case, owner_of(stack, case))
    elif left := [run for run in story.runs if is_unfinished(stack, case, run)]:
        yield f"{left[-1].words}, and {in_hours(case.held)} are still held"
        yield from remedies(stack, case, left[-1])
    elif case.request and audit.is_missed(case.request):
        yield audit.missed_in_words(case.request)
        if too_long:
            yield from touch(stack)
        else:
            yield f"since {duration(waited)}: the stream has {duration(PATIENCE)} before the auditor shows it again"
    elif too_long:
        yield f"{too_long} (since {duration(waited)})"
        yield from remedies(stack, case, owner_of(stack, case))
    elif case.request is None or not requests.TRANSITIONS.get(requests.status_of(case.request)):
        yield "nothing is left to do"


def _balance(person: Any) -> str:
    """What a person can spend, where it is known and AWS allows to see it."""
    if not isinstance(person, str) or not person:
        return ""
    try:
        balance = (dynamodb.read("UserBalance", person) or {}).get("availableBalance")
    except ClientError as error:
        if is_refusal(error):
            return ""
        raise
    return f"has {_hours(balance)}" if balance is not None else "has no balance"


def _hours(value: Any) -> str:
    """Hours as a client may have written them."""
    return f"{in_words(value)} h" if isinstance(value, Decimal) else str(value)


def _field(console: Console, name: str, value: object, more: str = "") -> None:
    if value is not None:
        words = in_words(value) if isinstance(value, Decimal) else str(value)
        say(console, (f"  {name:<25}", "dim"), words, (f"  {more}" if more else "", "dim"))
