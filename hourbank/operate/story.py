"""A request's whole story: what there is about it, where its executions are, what waits, and what is wrong.

Everything is found by key: records by the request's id, executions by their names and by the ARNs in the records. The
history of an execution can have a task token in it: it is asked for without data, and only the names of states, times
and time-outs of it are read.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from botocore.exceptions import ClientError

from handlers.aws import environment
from handlers.aws.dynamodb import Item
from handlers.bank import faults, requests
from handlers.bank.case import Case, load
from handlers.bank.missed import PATIENCE, is_missed, missed_in_words
from handlers.bank.requests import OWNER
from hourbank.account.stack import Stack, is_refusal
from hourbank.drawing import graph
from hourbank.drawing.pictures import DEFINITIONS
from hourbank.errors import HourBankError
from hourbank.local import people
from hourbank.operate.executions import (
    UNSUCCESSFUL,
    DescribedExecution,
    Step,
    is_unfinished,
    owner_of,
    path,
    refusal_of,
    runs_of,
)
from hourbank.operate.remedies import Remedy, remedies, state_of, touch
from hourbank.operate.stuck import own_time_to_answer, time_to_answer, variables, waiting
from hourbank.operate.waits import asks_people, own_wait, present
from hourbank.terminal import at, duration, in_hours


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


def story_of(stack: Stack, request_id: str) -> RequestStory:
    """Return all that there is about a request; it raises as `show_request` does."""
    requests.start_requests_from()
    told = variables(stack)
    os.environ.setdefault("USER_BALANCE_TABLE_NAME", told["USER_BALANCE_TABLE_NAME"])
    case = load(request_id)
    runs = sorted(runs_of(stack, case), key=lambda run: run.started or datetime.min.replace(tzinfo=UTC))
    if not (case.request or case.escrow or runs):
        raise HourBankError(
            f"no request has the id {request_id} in stack {stack.env}: give its whole id, as it is in the table"
        )
    paths = {run.arn: steps for run in runs if (steps := path(run.arn)) is not None}
    problem = faults.mismatch(case) if case.request else None
    if case.held and not case.is_owner:
        problem = f"{in_hours(case.held)} are held, and {state_of(case)}"
    return RequestStory(case, runs, paths, time_to_answer(told), datetime.now(UTC), problem)


def failure(stack: Stack, story: RequestStory, run: DescribedExecution) -> Iterator[str | Remedy]:
    """Why an execution did not succeed, in words. Its cause is not shown: it can have a task token in it."""
    if run.status not in UNSUCCESSFUL:
        return
    steps = story.paths.get(run.arn, [])
    failed = failed_step(steps)
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


def failed_step(steps: list[Step]) -> Step | None:
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


def what_waits(stack: Stack, story: RequestStory) -> Iterator[str | Remedy]:
    """Who can do what, since when it waits, and until when."""
    case, request = story.case, story.case.request
    if request is None or story.problem or is_missed(request):
        return
    status, run = requests.status_of(request), str(request.get(OWNER))
    steps = story.paths.get(run, [])
    if wait := own_wait(stack, run, steps):
        until = f", until {at(wait.until)}" if wait.until else ""
        yield f"{wait.state} waits since {at(wait.since)}{until}; its definition says what comes next"
    if status in requests.WAITS and (wait or not asks_people(stack, run, steps)):
        if not wait:
            yield "the workflow goes on by itself"
        return
    if status in requests.WAITS:
        since, until = wait_of(story, request)
        left = until - story.now
        ends = f"in {duration(left)}" if left > timedelta(0) else f"{duration(-left)} ago"
        yield f"waits since {at(since)}, until {at(until)} ({ends}); then the hours go back"
    elif status == "IN_PROGRESS" and case.escrow:
        days = timedelta(days=environment.confirmation_days())
        reported = f"; the auditor reports it from {at(story.now - faults.in_progress_for(case, story.now) + days)}"
        yield f"waits until somebody ends the service; nobody is timed out{reported}"
    for deed in people.DEEDS.get(status, ()):
        person = "the provider" if deed.who == "providerId" else "the requester"
        yield f"{person} {request.get(deed.who)} can write {deed.writes}"
        if stack.is_local:
            yield Remedy(deed.played(shlex.quote(case.request_id)), "plays that")
    if not wait and status not in people.DEEDS and requests.TRANSITIONS.get(status):
        yield "the workflow goes on by itself"


def wait_of(story: RequestStory, request: Item) -> tuple[datetime, datetime]:
    """When the present wait began and when it ends."""
    step = present(story.paths.get(str(request.get(OWNER)), []))
    # Without the history: the provider is asked when the hours are held, the requester with the record's last write.
    record = story.case.escrow if requests.status_of(request) == "AWAITING_PROVIDER" else request
    since = (step.asked or step.entered) if step else requests.moment(record or {}, "updatedAt") or story.now
    # the emulator times out after the stack's default, whatever a request says
    own = own_time_to_answer(request)
    seconds = timedelta(seconds=step.seconds) if step and step.seconds else None
    return since, since + (seconds or own or story.default)


def what_is_wrong(stack: Stack, story: RequestStory) -> Iterator[str | Remedy]:
    """What does not fit, waits too long or was missed, and the commands that help; else that nothing is left to do."""
    case = story.case
    confirmation = timedelta(days=environment.confirmation_days())
    waited, too_long = waiting(case, story.now, story.default, confirmation)
    run = str((case.request or {}).get(OWNER))
    if own_wait(stack, run, story.paths.get(run, [])):
        too_long = ""
    if story.problem:
        yield story.problem
        yield from remedies(stack, case, owner_of(stack, case))
    elif left := [run for run in story.runs if is_unfinished(stack, case, run)]:
        yield f"{left[-1].words}, and {in_hours(case.held)} are still held"
        yield from remedies(stack, case, left[-1])
    elif case.request and is_missed(case.request):
        yield missed_in_words(case.request)
        if too_long:
            yield from touch(stack)
        else:
            yield f"since {duration(waited)}: the stream has {duration(PATIENCE)} before the auditor shows it again"
    elif too_long:
        yield f"{too_long} (since {duration(waited)})"
        yield from remedies(stack, case, owner_of(stack, case))
    elif case.request is None or not requests.TRANSITIONS.get(requests.status_of(case.request)):
        yield "nothing is left to do"
