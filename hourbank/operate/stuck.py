"""What is stuck: executions that did not succeed, requests that wait too long, and what the stream's reader gave up on.

Nothing is changed here. Each finding comes with the hours at stake and the commands that help. The output and cause of
an execution and the records of the stream can have a task token in them: nothing of them is shown but names and ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item, client
from handlers.bank import ledger, requests
from handlers.bank.audit import (
    LONGEST_ARN,
    NEEDS_OWNER,
    PATIENCE,
    UNKNOWN_EXECUTION,
    Case,
    age,
    in_progress_for,
    is_left_alone,
    is_missed,
    missed_in_words,
)
from handlers.bank.errors import ReleaseRefused
from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, execution_name, given_to
from handlers.bank.requests import LONGEST_RESPONSE_TIMEOUT_SECONDS, OWNER, is_short
from hourbank.account.stack import Stack

UNSUCCESSFUL = ("FAILED", "TIMED_OUT", "ABORTED")
# Beyond what a wait may last: between waits an execution is busy for minutes, however often it retries.
BUSY = timedelta(hours=1)
# How long the queue hides a message that is looked at, should this process not live to show it again.
HIDDEN_SECONDS = 60
# GetRecords may give empty pages; a batch has at most 25 records.
_MOST_PAGES = 100
MOST_NAMES = 1000


class Remedy(NamedTuple):
    """A command, and what it is for."""

    command: str
    use: str


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that is wrong or stuck, the hours at stake, and what helps."""

    what: str
    request_id: str
    hours: Decimal
    since: datetime | None = None
    remedies: tuple[Remedy, ...] = ()


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


class Failure(NamedTuple):
    """What Lambda queued about a batch of stream records that the router could not process; not the records."""

    condition: str
    arrived: datetime | None
    size: int
    place: dict[str, str]


# ---- executions that did not succeed


def describe(execution_arn: str) -> DescribedExecution:
    """Return an execution; its status is ``forgotten`` where Step Functions does not know it (any more)."""
    try:
        found = client("stepfunctions").describe_execution(executionArn=execution_arn)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ExecutionDoesNotExist", "InvalidArn"):
            raise
        return DescribedExecution(execution_arn, "forgotten")
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


def unsuccessful(stack: Stack, limit: int) -> tuple[list[DescribedExecution], bool]:
    """Return the newest executions of both machines that did not succeed, and whether there are more than ``limit``."""
    listed: list[dict[str, Any]] = []
    for machine in (stack.requests_arn, stack.releases_arn):
        for status in UNSUCCESSFUL:
            pages = client("stepfunctions").get_paginator("list_executions")
            bounds = {"MaxItems": limit + 1}
            for page in pages.paginate(stateMachineArn=machine, statusFilter=status, PaginationConfig=bounds):
                listed += page["executions"]
    listed.sort(key=lambda execution: execution["stopDate"], reverse=True)
    return [describe(execution["executionArn"]) for execution in listed[:limit]], len(listed) > limit


def unfinished(stack: Stack, runs: Iterable[DescribedExecution]) -> list[tuple[DescribedExecution, Case]]:
    """Return the executions with hours still held or work unfinished, in the given order, with what there is of it."""
    # whoever may start executions can give them any input, under any name
    named = [run for run in runs if dynamodb.is_key(run.request_id) and is_short(run.request_id)]
    cases = load_cases({run.request_id for run in named})
    newest: dict[tuple[bool, str], DescribedExecution] = {}
    for run in named:
        if is_unfinished(stack, cases[run.request_id], run):
            newest.setdefault((is_release(stack, run), run.request_id), run)
    return [(run, cases[request_id]) for (_, request_id), run in newest.items()]


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
            if (run := describe(arn)).status == "forgotten":
                break
            runs[arn] = run
    for owner in ((case.escrow or {}).get("executionArn"), (case.request or {}).get(OWNER)):
        # what a copied table names is another stack's
        if not isinstance(owner, str) or not is_own(stack, owner) or owner in runs:
            continue
        if (run := describe(owner)).status != "forgotten":
            runs[owner] = run
    return list(runs.values())


def execution_arn(machine: str, name: str) -> str:
    """Return the ARN of a machine's execution."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


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


def of_executions(stack: Stack, limit: int) -> tuple[list[Trouble], bool]:
    """Return what unsuccessful executions have left behind, newest first, and whether there were more to look at."""
    runs, more = unsuccessful(stack, limit)
    return [
        Trouble(
            what=f"{run.words}; {state_of(case)}",
            request_id=case.request_id,
            hours=case.held,
            since=run.ended,
            remedies=remedies(stack, case, run),
        )
        for run, case in unfinished(stack, runs)
    ], more


def state_of(case: Case) -> str:
    """Return what there is of a request, in words."""
    if case.request is None:
        return "the request is gone"
    is_others = case.escrow is not None and not case.is_owner
    return f"the request is {requests.status_of(case.request)}{', of another execution' if is_others else ''}"


# ---- requests that wait too long


def of_waits(stack: Stack, now: datetime, confirmation: timedelta) -> list[Trouble]:
    """Return the requests that wait longer than they should, longest first."""
    default = time_to_answer(variables(stack))
    findings = []
    for page in dynamodb.pages("ServiceRequest"):
        escrows = dynamodb.read_many("Escrow", [request["id"] for request in page])
        for request in page:
            case = Case(request["id"], request, escrows.get(request["id"]), [])
            waited, what = waiting(case, now, default, confirmation)
            if what:
                helps = touch(stack) if is_missed(request) else remedies(stack, case, owner_of(stack, case))
                findings.append(
                    Trouble(what=what, request_id=case.request_id, hours=case.held, since=now - waited, remedies=helps)
                )
    return sorted(findings, key=lambda finding: finding.since or now)


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


# ---- records that the stream's reader gave up on


def of_stream(stack: Stack, limit: int) -> tuple[list[Trouble], list[str], bool]:
    """Return the requests whose records were given up on and are still to be processed, a line on each message of the
    queue, and whether there are more messages than ``limit``.
    """
    failures, more = peek(stack, limit)
    lines: list[str] = []
    pending: dict[str, Case] = {}
    for failure in failures:
        records = f"{failure.size} record{'s' if failure.size != 1 else ''}"
        line = f"{failure.arrived:%Y-%m-%d %H:%M} UTC, " if failure.arrived else ""
        line += f"{records} ({failure.condition}): "
        ids = resolve(failure)
        if ids is None:
            lines.append(line + "no longer in the stream; `audit --touch` finds what they asked for")
            continue
        cases = load_cases(ids)
        due = {id_: case for id_, case in cases.items() if case.request and is_missed(case.request)}
        pending |= due
        done = (
            f"{', '.join(sorted(cases.keys() - due.keys()))} has nothing left to do"
            if cases.keys() - due.keys()
            else ""
        )
        lines.append(line + ", ".join(filter(None, (*due, done))))
    return (
        [
            Trouble(what=missed_in_words(case.request or {}), request_id=id_, hours=case.held, remedies=touch(stack))
            for id_, case in pending.items()
        ],
        lines,
        more,
    )


def peek(stack: Stack, limit: int) -> tuple[list[Failure], bool]:
    """Return what the queue says, and whether there is more; every message is there again for others at once."""
    queue, sqs, seen = queue_url(stack), client("sqs"), {}
    try:
        while len(seen) <= limit:
            answer = sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS, WaitTimeSeconds=1
            )
            if not answer.get("Messages"):
                break
            seen |= {message["MessageId"]: message for message in answer["Messages"]}
    finally:
        handles = [message["ReceiptHandle"] for message in seen.values()]
        for start in range(0, len(handles), 10):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(handles[start : start + 10])
            ]
            sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    return [failure_of(message["Body"]) for message in list(seen.values())[:limit]], len(seen) > limit


def queue_url(stack: Stack) -> str:
    """Return the address of the queue of failures."""
    url: str = client("sqs").get_queue_url(QueueName=stack.queue)["QueueUrl"]
    return url


def failure_of(body: str) -> Failure:
    """Return what a message of the queue says.

    Its form: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    """
    try:
        message = json.loads(body)
        batch = message["DDBStreamBatchInfo"]
        return Failure(
            condition=message["requestContext"]["condition"],
            arrived=datetime.fromisoformat(batch["approximateArrivalOfFirstRecord"]).astimezone(UTC),
            size=batch["batchSize"],
            place={name: batch[name] for name in ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")},
        )
    except (KeyError, TypeError, ValueError):
        return Failure("not a message of Lambda's", None, 0, {})


def resolve(failure: Failure) -> list[str] | None:
    """Return the ids of the requests whose records these were; None where the stream (24 hours) has lost them."""
    if not failure.place:
        return None
    streams, found, last = client("dynamodbstreams"), [], int(failure.place["endSequenceNumber"])
    gone = (
        streams.exceptions.ExpiredIteratorException,
        streams.exceptions.ResourceNotFoundException,
        streams.exceptions.TrimmedDataAccessException,
    )
    try:
        iterator = streams.get_shard_iterator(
            StreamArn=failure.place["streamArn"],
            ShardId=failure.place["shardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=failure.place["startSequenceNumber"],
        ).get("ShardIterator")
        for _ in range(_MOST_PAGES):
            if not iterator:
                break
            page = streams.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                if int(record["dynamodb"]["SequenceNumber"]) > last:
                    return found
                if (request_id := record["dynamodb"]["Keys"]["id"]["S"]) not in found:
                    found.append(request_id)
                if int(record["dynamodb"]["SequenceNumber"]) == last:
                    return found
            iterator = page.get("NextShardIterator")
    except gone:
        return None
    return found or None


# ---- what helps


def touch(stack: Stack) -> tuple[Remedy, ...]:
    """Return the remedy for what the stream's reader has missed."""
    use = f"from {PATIENCE.seconds // 60} minutes after its last change, its record is shown to the reader again"
    return (Remedy(stack.command("audit", options=" --touch"), use),)


def owner_of(stack: Stack, case: Case) -> DescribedExecution:
    """Return the execution that must finish a request: its hours' owner, else its own.

    One of another stack is ``unknown`` unless AWS shows it: where two stacks read the same tables, it may run.
    """
    owner = (case.escrow if case.escrow and case.held else case.request) or {}
    arn = owner.get("executionArn" if owner is case.escrow else OWNER)
    if not isinstance(arn, str) or not 0 < len(arn) <= LONGEST_ARN:
        return DescribedExecution(str(arn or ""), "unknown")
    if is_own(stack, arn):
        return describe(arn)
    try:
        run = describe(arn)
    except ClientError as error:
        if error.response["Error"]["Code"] not in UNKNOWN_EXECUTION:
            raise
        return DescribedExecution(arn, "unknown")
    return run if run.status == "RUNNING" else DescribedExecution(arn, "unknown")


def remedies(stack: Stack, case: Case, run: DescribedExecution) -> tuple[Remedy, ...]:
    """Return what helps with what an execution has left, or keeps, unfinished."""
    found: list[Remedy] = []
    if run.status == "RUNNING":
        stop = f"aws stepfunctions stop-execution --execution-arn {run.arn} --region {stack.region}"
        found.append(Remedy(stop, "its execution still runs: to settle, stop it first"))
    elif run.can_go_on:
        again = stack.command("redrive", case.request_id, ' --reason "WHY"')
        found.append(Remedy(again, "if the cause has passed: it goes on where it failed, with the code it began with"))
    back, paid = (
        stack.command("settle", case.request_id, f' {way} --reason "WHY"') for way in ("--refund", "--release")
    )
    otherwise = "otherwise: " if run.can_go_on else ""
    if (case.escrow or {}).get("status") == "HELD" and not case.held:
        found.append(Remedy("", "the escrow does not say how many hours it holds: let an administrator mend it"))
    elif case.held:
        found.append(Remedy(back, f"{otherwise}the hours go back to the requester"))
        found.append(Remedy(paid, "if the service was received: the provider is paid"))
    elif ledger.is_unfinished(case.request, case.escrow):
        found.append(Remedy(back, f"{otherwise}nothing is held, and the request becomes FAILED"))
    elif not found:
        found.append(Remedy("", "no hours are held and no command helps: look at its records and its execution"))
    return tuple(found)
