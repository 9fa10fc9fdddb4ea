"""Executions as Step Functions describes them: which have left hours or work behind, and whose they are.

The output and cause of an execution can have a task token in them: nothing of them is shown but names and ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from handlers.aws import dynamodb
from handlers.aws.dynamodb import client
from handlers.bank import ledger, requests
from handlers.bank.audit import Audit
from handlers.bank.case import UNSUCCESSFUL, Case, in_hundreds
from handlers.bank.errors import ReleaseRefused
from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, UNKNOWN, described, execution_name, given_to
from handlers.bank.faults import NEEDS_OWNER
from handlers.bank.requests import OWNER
from hourbank.account.stack import Stack, is_refusal
from hourbank.names import execution_arn

MOST_NAMES = 1000
# How many attempts to release the hours of one request are looked for among those that did not succeed.
MOST_RELEASES = 10
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
REDRIVABLE = timedelta(days=14)


class DescribedExecution(NamedTuple):
    """An execution, as Step Functions describes it."""

    arn: str
    status: str
    error: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    request_id: Any = None
    can_go_on: bool = False
    """Whether a redrive would be accepted, and could change something."""
    order: str | None = None
    """What an operator decided, who and why, where one started it."""

    @property
    def words(self) -> str:
        return f"{self.arn.rpartition(':')[2]} is {self.status}{f' ({self.error})' if self.error else ''}"


def describe(execution_arn: str) -> DescribedExecution:
    """Return an execution; its status is ``unknown`` where Step Functions does not know it (any more)."""
    found = described(execution_arn)
    if found["status"] == UNKNOWN:
        return DescribedExecution(execution_arn, UNKNOWN)
    given = given_to(found.get("input"))
    return DescribedExecution(
        arn=execution_arn,
        status=found["status"],
        error=found.get("error"),
        started=found["startDate"],
        ended=found.get("stopDate"),
        request_id=given.get("requestId"),
        # A refusal is how its execution means to end: going on from there ends it again.
        can_go_on=found.get("redriveStatus") == "REDRIVABLE" and found.get("error") != "ReleaseRefused",
        order=f"{given['decision']} by {given.get('by')}: {given.get('reason')}" if "decision" in given else None,
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


def unsuccessful(
    stack: Stack, now: datetime, seen: Callable[[int], None] = lambda _: None
) -> dict[str, DescribedExecution]:
    """Return by ARN the executions of both machines that did not succeed and have not been forgotten (90 days).

    They are listed, a thousand a call, and none is described: error and input are not known, and that one can go on is
    told by its age alone; a release, which may have been refused, is to be described first.

    Parameters
    ----------
    seen : callable
        Told how many more were listed, page by page.
    """
    found: dict[str, DescribedExecution] = {}
    for machine in (stack.requests_arn, stack.releases_arn):
        for status in UNSUCCESSFUL:
            pages = client("stepfunctions").get_paginator("list_executions")
            asked = {"stateMachineArn": machine, "statusFilter": status, "PaginationConfig": {"PageSize": 1000}}
            for page in pages.paginate(**asked):
                seen(len(page["executions"]))
                for one in page["executions"]:
                    found[one["executionArn"]] = DescribedExecution(
                        arn=one["executionArn"],
                        status=status,
                        started=one["startDate"],
                        ended=one["stopDate"],
                        can_go_on=machine == stack.requests_arn and now - one["stopDate"] < REDRIVABLE,
                    )
    return found


def open_cases(seen: Callable[[int], None] = lambda _: None) -> Iterator[Case]:
    """Yield what can still change, without the log: requests that have not ended, then hours held for none of them."""
    audit, open_ids = Audit(touch=False), set()
    for keys in in_hundreds(audit.open_keys("ServiceRequest")):
        seen(len(keys))
        open_ids.update(keys)
        yield from load_cases(keys).values()
    for keys in in_hundreds(key for key in audit.open_keys("Escrow") if key not in open_ids):
        seen(len(keys))
        yield from load_cases(keys).values()


def left_by(stack: Stack, runs: Mapping[str, DescribedExecution], case: Case) -> DescribedExecution | None:
    """Return the execution that has left a request's hours or work unfinished, of those that did not succeed."""
    if is_release_due(case):
        names = (execution_name(RELEASE_PREFIX, case.request_id, number) for number in range(1, MOST_RELEASES))
        tried = [run for name in names if (run := runs.get(execution_arn(stack.releases_arn, name)))]
        if tried:
            return max(tried, key=lambda run: run.ended or datetime.min.replace(tzinfo=UTC))
    for owner in ((case.escrow or {}).get("executionArn"), (case.request or {}).get(OWNER)):
        if isinstance(owner, str) and (run := runs.get(owner)) and is_abandoned(case, run):
            return run
    return None


def as_described(stack: Stack, run: DescribedExecution) -> DescribedExecution:
    """Return a listed execution with all that is to be known of it: a release that was refused is not to go on."""
    return describe(run.arn) if is_release(stack, run) else run


def is_unfinished(stack: Stack, case: Case, run: DescribedExecution) -> bool:
    """Whether an execution that did not succeed has left hours held or work unfinished."""
    if run.status not in UNSUCCESSFUL:
        return False
    return is_release_due(case) if is_release(stack, run) else is_abandoned(case, run)


def load_cases(request_ids: Iterable[str]) -> dict[str, Case]:
    """Return requests and escrows, without the log, by request id."""
    ids = sorted(request_ids)
    found, escrows = dynamodb.read_many("ServiceRequest", ids), dynamodb.read_many("Escrow", ids)
    return {id_: Case(id_, found.get(id_), escrows.get(id_), []) for id_ in ids}


def runs_of(stack: Stack, case: Case) -> list[DescribedExecution]:
    """Return the executions that a request has or had: those named after it, and those that it or its escrow names."""
    runs: dict[str, DescribedExecution] = {}
    for machine, prefix in ((stack.requests_arn, REQUEST_PREFIX), (stack.releases_arn, RELEASE_PREFIX)):
        for number in range(1, MOST_NAMES):
            arn = execution_arn(machine, execution_name(prefix, case.request_id, number))
            if (run := describe(arn)).status == UNKNOWN:
                break
            runs[arn] = run
    for owner in ((case.escrow or {}).get("executionArn"), (case.request or {}).get(OWNER)):
        # what a copied table names is another stack's
        if not isinstance(owner, str) or not is_own(stack, owner) or owner in runs:
            continue
        if (run := describe(owner)).status != UNKNOWN:
            runs[owner] = run
    return list(runs.values())


def workflow_of(stack: Stack, execution_arn: str) -> str:
    """Return the name of an execution's workflow; one of another stack keeps that in its machine's name."""
    return execution_arn.rpartition(":execution:")[2].partition(":")[0].removesuffix(f"-{stack.env}")


def is_own(stack: Stack, arn: str) -> bool:
    """Whether an ARN is that of an execution of this stack."""
    return arn.startswith((execution_arn(stack.requests_arn, ""), execution_arn(stack.releases_arn, "")))


def is_release(stack: Stack, run: DescribedExecution) -> bool:
    """Whether an execution is of the release workflow."""
    return run.arn.startswith(execution_arn(stack.releases_arn, ""))


def is_release_due(case: Case) -> bool:
    """Whether hours are held that somebody has decided about, or that nobody can because the records do not match."""
    if not case.held:
        return False
    try:
        return requests.decision(ledger.matched(case.request, case.escrow)[0]) != "NOTHING"
    except ReleaseRefused:
        return True


def is_abandoned(case: Case, run: DescribedExecution) -> bool:
    """Whether an execution of the request workflow has left hours or a request behind that nobody else will finish."""
    request = case.request or {}
    owned, status = request.get(OWNER) == run.arn, requests.status_of(request)
    if case.held and (case.escrow or {}).get("executionArn") == run.arn:
        # a service in progress is ended by its people
        return not (owned and status == "IN_PROGRESS")
    return owned and status in NEEDS_OWNER


def owner_of(stack: Stack, case: Case) -> DescribedExecution:
    """Return the execution that must finish a request: its hours' owner, else its own.

    One of another stack is ``unknown`` unless AWS shows it: where two stacks read the same tables, it may run.
    """
    owner = (case.escrow if case.escrow and case.held else case.request) or {}
    arn = owner.get("executionArn" if owner is case.escrow else OWNER)
    if not isinstance(arn, str):
        return DescribedExecution("", UNKNOWN)
    if is_own(stack, arn):
        return describe(arn)
    try:
        run = describe(arn)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return DescribedExecution(arn, UNKNOWN)
    return run if run.status == "RUNNING" else DescribedExecution(arn, UNKNOWN)


def refusal_of(run: DescribedExecution) -> str | None:
    """Return why the release workflow refused, in its own words: nothing in its history is secret."""
    if run.error != "ReleaseRefused":
        return None
    history = client("stepfunctions").get_execution_history(executionArn=run.arn, reverseOrder=True, maxResults=10)
    for event in history["events"]:
        given = json.loads(event.get("stateEnteredEventDetails", {}).get("input", "{}"))
        for result in given.get("states", {}).values():
            if isinstance(result, dict) and result.get("Error") == "ReleaseRefused":
                return str(json.loads(result["Cause"])["errorMessage"])
    return None
