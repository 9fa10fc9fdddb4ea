"""auditLedger: on a schedule, holds requests, escrows and the log against each other, and moves no hours.

What the stream may have missed is touched, so that the router sees it again. All else that does not fit is a finding: a
line of the log and a metric with an alarm. Tables are read page by page, so their size does not matter to the memory; a
run that is out of time says so.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Change, Item, Plan, client
from handlers.aws.telemetry import count, gauge, logger, measure
from handlers.bank import requests
from handlers.bank.requests import OWNER

ENTRIES = ("ESCROW_HOLD", "ESCROW_ADJUST", "ESCROW_REFUND", "ESCROW_RELEASE")
# What a request's status may be beside an escrow of its own in each status, or beside none.
STATUSES = {
    None: {"PENDING", "VALIDATING", "REJECTED", "FAILED"},
    "HELD": {"ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS"},
    "RELEASED": {"COMPLETED"},
    "REFUNDED": {"REJECTED", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED"},
}
NEEDS_OWNER = {"VALIDATING", "ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING"}
# AccessDenied: the ARN of another machine, such as of the environment that a table was copied from.
UNKNOWN_EXECUTION = ("ExecutionDoesNotExist", "InvalidArn", "ValidationException", "AccessDeniedException")
THROTTLED_TRIES = 10
# How long the stream has for a record before the auditor touches it.
PATIENCE = timedelta(minutes=15)


class Finding(NamedTuple):
    """``kind`` is MISMATCH (hours or states that do not fit) or UNCONFIRMED (a service nobody ends); hours at stake."""

    kind: str
    request_id: str
    problem: str
    hours: Decimal


class Case(NamedTuple):
    """All that there is about one request."""

    request_id: str
    request: Item | None
    escrow: Item | None
    entries: list[Item]

    @property
    def held(self) -> Decimal:
        return self.escrow["hours"] if self.escrow and self.escrow["status"] == "HELD" else Decimal(0)

    @property
    def is_owner(self) -> bool:
        return bool(self.request and self.escrow and self.request.get(OWNER) == self.escrow["executionArn"])


@dataclass
class Audit:
    """One run; the counts are complete once ``findings`` is exhausted.

    Attributes
    ----------
    touch
        Whether to touch what the stream may have missed; otherwise it is only counted.
    is_time_up
        Asked before each page.
    """

    touch: bool
    is_time_up: Callable[[], bool] = lambda: False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    requests: int = 0
    missed: int = 0
    oldest_wait: timedelta = timedelta(0)
    held: Decimal = Decimal(0)
    is_complete: bool = True

    def findings(self) -> Iterator[Finding]:
        """Every problem that is still there when all its records are looked at again, at one moment."""
        requests.start_requests_from()  # refused also where no record asks for it: nothing could be started
        for page in self._pages("ServiceRequest"):
            self.requests += len(page)
            for case in cases(page):
                try:
                    yield from self._about(case)
                except (ClientError, dynamodb.Contended) as error:
                    # one record that cannot be looked at must not hide the others
                    problem = f"The request could not be audited ({type(error).__name__})"
                    yield Finding("MISMATCH", case.request_id, problem, case.held)
        # An escrow whose request is gone or another's is in no request's case.
        for page in self._pages("Escrow"):
            owners = dynamodb.read_many("ServiceRequest", [escrow["id"] for escrow in page])
            for escrow in page:
                case = Case(escrow["id"], owners.get(escrow["id"]), escrow, [])
                self.held += case.held
                if not case.is_owner:
                    yield from self._about_orphan(load(escrow["id"]))

    def _pages(self, model: str) -> Iterator[list[Item]]:
        for page in dynamodb.pages(model):
            yield page
            if self.is_time_up():
                self.is_complete = False
                return

    def _about(self, case: Case) -> Iterator[Finding]:
        request = case.request or {}
        status, since = requests.status_of(request), age(self.now, case.escrow)
        if status in requests.WAITS:
            self.oldest_wait = max(self.oldest_wait, since)
        if mismatch(case):
            again = load(case.request_id)
            if again.request and (problem := mismatch(again)):
                yield Finding("MISMATCH", case.request_id, problem, again.held)
            # Not touched: what does not fit is refused each time, and every touch would start one more execution.
            return
        if is_missed(request) and age(self.now, request) >= PATIENCE:
            self.missed += 1
            if self.touch:
                touch(case.request_id, status)
        # The hold is older than the service, and the record's last change may be newer: the younger one counts.
        since = min(since, age(self.now, request))
        if status == "IN_PROGRESS" and since >= timedelta(days=int(os.environ["CONFIRMATION_DAYS"])):
            problem = f"Nobody has ended this service for {since.days} days"
            yield Finding("UNCONFIRMED", case.request_id, problem, case.held)

    def _about_orphan(self, case: Case) -> Iterator[Finding]:
        held = "Hours are held for a request that is gone or belongs to another execution" if case.held else None
        if not case.is_owner and (problem := held or check_log(case)):
            yield Finding("MISMATCH", case.request_id, problem, case.held)


def cases(page: list[Item]) -> Iterator[Case]:
    """What there is about each request of a page, in a few calls; not all at one moment."""
    # An id that is too long for the log was rejected or never begun with: asking for its entries would be an error.
    ids = [request["id"] for request in page if requests.is_short(request["id"])]
    escrows = dynamodb.read_many("Escrow", ids)
    log = dynamodb.read_many("TransactionLog", [f"{id_}#{entry}" for id_ in ids for entry in ENTRIES])
    for request in page:
        entries = [log[key] for entry in ENTRIES if (key := f"{request['id']}#{entry}") in log]
        yield Case(request["id"], request, escrows.get(request["id"]), entries)


def load(request_id: str) -> Case:
    """What there is about a request, all of it at one moment."""
    if not requests.is_short(request_id):
        return Case(request_id, requests.load(request_id), None, [])
    keys = [("TransactionLog", f"{request_id}#{entry}") for entry in ENTRIES]
    request, escrow, *entries = dynamodb.snapshot(("ServiceRequest", request_id), ("Escrow", request_id), *keys)
    return Case(request_id, request, escrow, [entry for entry in entries if entry])


def mismatch(case: Case) -> str | None:
    """What does not fit about status, escrow, log and owner, in words."""
    request = case.request or {}
    if OWNER not in request and case.escrow is None and requests.was_there_before(request):
        return None  # a request from before the workflows, whatever its status meant then
    status = requests.status_of(request)
    escrow_status = case.escrow["status"] if case.escrow and case.is_owner else None
    if status not in STATUSES.get(escrow_status, ()):
        beside = f"its escrow is {escrow_status}" if escrow_status else "it has no escrow"
        return f"The request is {status}, but {beside}"
    if status == "PENDING" and OWNER in request:
        return "The request is PENDING, but has an execution: none can begin with it"
    if case.is_owner and (problem := check_people(case) or check_log(case)):
        return problem
    if status in NEEDS_OWNER and (execution := execution_status(request.get(OWNER))) != "RUNNING":
        return f"The request is {status}, but its execution is {execution}"
    return None


def check_people(case: Case) -> str | None:
    request, escrow = case.request or {}, case.escrow or {}
    if not case.held:
        return None  # settled: nobody can be paid wrongly any more
    same = all(request.get(person) == escrow.get(person) for person in ("requesterId", "providerId"))
    return None if same else "The request names other people than its escrow"


def check_log(case: Case) -> str | None:
    account = f"escrow:{case.request_id}"
    total = sum((entry["hours"] for entry in case.entries if entry["toAccount"] == account), Decimal(0))
    total -= sum((entry["hours"] for entry in case.entries if entry["fromAccount"] == account), Decimal(0))
    return None if total == case.held else f"{case.held} hours are held, but the log says {total}"


def age(now: datetime, item: Item | None) -> timedelta:
    """How long ago an item was last written, 0 where it does not say."""
    item = item or {}
    moment = requests.moment(item, "updatedAt") or requests.moment(item, "createdAt")
    return now - moment if moment else timedelta(0)


def is_missed(request: Item) -> bool:
    """Whether the router has something to do here."""
    return requests.is_due(request) or requests.is_answered(request) or requests.is_decided(request)


def touch(request_id: str, status: str) -> None:
    """Makes the stream show a record again, while it is there and its status is what it was."""

    def plan() -> Plan:
        request = requests.load(request_id)
        if request is None or requests.status_of(request) != status:
            return Plan(None)
        return Plan(None, (Change("ServiceRequest", request_id).exists().unchanged(request, "status").write(),))

    dynamodb.commit(plan)


def execution_status(execution_arn: Any) -> str:
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, or ``unknown``: not ours, or forgotten after 90 days.

    Step Functions allows some 15 descriptions a second, so being throttled is no news.
    """
    for attempt in range(THROTTLED_TRIES):
        try:
            return client("stepfunctions").describe_execution(executionArn=str(execution_arn))["status"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in UNKNOWN_EXECUTION:
                return "unknown"
            if code != "ThrottlingException" or attempt == THROTTLED_TRIES - 1:
                raise
            dynamodb.pause(attempt)
    raise AssertionError


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What a run found, in numbers; each finding is a line of the log."""
    audit = Audit(touch=True, is_time_up=lambda: context.get_remaining_time_in_millis() < 30_000)
    found = {"MISMATCH": 0, "UNCONFIRMED": 0}
    for finding in audit.findings():
        found[finding.kind] += 1
        logger.set_correlation_id(finding.request_id)
        logger.error(finding.problem, kind=finding.kind, hours=str(finding.hours))
    numbers = {
        "AuditMismatches": found["MISMATCH"],
        "UnconfirmedServices": found["UNCONFIRMED"],
        "RecordsTouched": audit.missed,
        "OldestWaitSeconds": int(audit.oldest_wait.total_seconds()),
        "RequestsAudited": audit.requests,
    }
    for metric, value in numbers.items():
        gauge(metric, value)
    if audit.is_complete:  # else it is the sum of some
        measure("HoursInEscrow", audit.held)
    count("AuditCompleted" if audit.is_complete else "AuditIncomplete")
    return numbers | {"complete": audit.is_complete}
