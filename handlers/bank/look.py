"""A look at one record: what is wrong with it, told only if it is still wrong when all of it is read at one moment."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Item
from handlers.bank import requests
from handlers.bank.case import UNSUCCESSFUL, Case, age, execution_status, listed, load
from handlers.bank.cursor import Subject
from handlers.bank.faults import (
    check_balance,
    check_entry,
    check_escrow,
    check_log,
    in_progress_for,
    mismatch,
    of_nothing,
)
from handlers.bank.missed import (
    PATIENCE_AFTER_TOUCH,
    correct_index,
    forget,
    is_kept_from_rest,
    is_left_alone,
    is_marked,
    is_missed,
    is_to_be_marked,
    is_touch_due,
    missed_in_words,
    shown_since,
    touch,
)

# How many executions that run no more are asked for alone, before all that did not succeed are asked for at once.
MOST_DESCRIBED = 50
INSPECT = "`hourbank show` says what there is, and what helps"
READ_THE_STREAM = (
    "see that routeServiceRequest reads the table's stream (`hourbank doctor`), then `hourbank audit --touch`; "
    "where a release is refused, `hourbank settle`"
)
MEND_THE_RECORD = "nothing can be done with this record: let an administrator of the tables mend or remove it"
ASK_PEOPLE = "ask its people to end the service, or decide with `hourbank settle`"
FIND_THE_WRITER = (
    "no command of ours wrote or mends it: find out who did, then let an administrator of the tables put back what "
    "was removed, or remove it"
)


class Finding(NamedTuple):
    """Something that is wrong, and the hours at stake.

    ``kind`` is MISMATCH (hours or states that do not fit), MISSED (what the stream was shown again, in vain),
    UNCONFIRMED (a service nobody ends) or UNEXPLAINED (a balance that its entries do not explain). ``key`` is that of
    the table of ``model``: of ServiceRequest for all that there is about a request.
    """

    kind: str
    key: str
    problem: str
    hours: Decimal
    remedy: str
    model: str = "ServiceRequest"

    @property
    def subject(self) -> Subject:
        return Subject(self.model, self.key)


@dataclass
class Look:
    """How records are looked at in one run, and what was counted.

    Attributes
    ----------
    touch
        Whether to touch what the stream may have missed; otherwise it is only counted.
    again
        Whether to touch also what was touched before, as an operator does who knows that the stream is read again.
    machine
        The ARN of the workflow that owns requests, for asking once which executions run; without, each is asked for.
    is_scheduled
        Whether the run is one of those that come every hour.
    """

    touch: bool
    again: bool = False
    machine: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    missed: int = 0
    touched: int = 0
    oldest_wait: timedelta = timedelta(0)
    is_scheduled: bool = field(default=False, init=False)
    _described: int = 0

    def about_one(self, subject: Subject) -> Iterator[Finding]:
        """About a record that may be wrong, read anew."""
        case = Case(subject.key, None, None, [])
        try:
            if subject.model == "ServiceRequest":
                case = load(subject.key)
                yield from self.about_anything(case)
            else:
                yield from self._about_row(subject)
        except Exception as error:  # noqa: BLE001  one record must not hide the others, whatever it is
            yield could_not_be_audited(subject, case, error)

    def about_anything(self, case: Case) -> Iterator[Finding]:
        """About a request, or about what there is without one."""
        if case.request:
            yield from self.about(case)
        yield from self.about_orphan(case)
        if problem := of_nothing(case):
            yield Finding("MISMATCH", case.request_id, problem, case.held, FIND_THE_WRITER)

    def _about_row(self, subject: Subject) -> Iterator[Finding]:
        row = dynamodb.read(*subject)
        check: Callable[[Item], str | None] = check_entry if subject.model == "TransactionLog" else check_balance
        if row and (problem := check(row)):
            yield Finding("MISMATCH", subject.key, problem, Decimal(0), FIND_THE_WRITER, subject.model)

    def guarded(self, case: Case) -> Iterator[Finding]:
        """As ``about``; where it raises, that is what is found."""
        try:
            yield from self.about(case)
        except Exception as error:  # noqa: BLE001  as above
            yield could_not_be_audited(Subject("ServiceRequest", case.request_id), case, error)

    def about(self, case: Case) -> Iterator[Finding]:
        """About a request that is there."""
        request = case.request or {}
        if requests.status_of(request) in requests.WAITS:
            self.oldest_wait = max(self.oldest_wait, age(self.now, case.escrow))
        if mismatch(case, self._execution_status):
            again = load(case.request_id)
            if again.request and (problem := mismatch(again, self._execution_status)):
                yield Finding("MISMATCH", case.request_id, problem, again.held, INSPECT)
            # Not touched: what does not fit is refused each time, and every touch would start one more execution.
            return
        yield from self._about_the_stream(case, request)
        if (asked := requests.asks_for(request)).kind == "REFUSE":
            yield Finding("MISSED", case.request_id, requests.WHY_REFUSED[asked.about], case.held, MEND_THE_RECORD)
        since = in_progress_for(case, self.now)
        if since >= timedelta(days=environment.confirmation_days()):
            problem = f"Nobody has ended this service for {since.days} days"
            yield Finding("UNCONFIRMED", case.request_id, problem, case.held, ASK_PEOPLE)
        is_listed = request.get(requests.OPEN) == requests.IS_OPEN
        if (self.is_scheduled or self.again) and self.touch and requests.is_open(request) != is_listed:
            correct_index(case.request_id, requests.status_of(request))

    def _about_the_stream(self, case: Case, request: Item) -> Iterator[Finding]:
        status = requests.status_of(request)
        if not is_missed(request):
            if self.touch and is_marked(request):
                forget(case.request_id, status)
        elif is_left_alone(request, self.now) or is_kept_from_rest(request, self.now):
            yield from self._about_missed(case, request)
        elif self.is_scheduled and self.touch and is_to_be_marked(request, self.now):
            try:
                touch(case.request_id, status, is_news=False)
            except dynamodb.Unwritable:
                yield too_full(case, request)

    def _about_missed(self, case: Case, request: Item) -> Iterator[Finding]:
        self.missed += 1
        if self.touch and is_touch_due(request, self.now, again=self.again):
            try:
                self.touched += touch(case.request_id, requests.status_of(request))
            except dynamodb.Unwritable:
                yield too_full(case, request)
                return
        first = shown_since(request)
        if self.again or not first or self.now - first < PATIENCE_AFTER_TOUCH:
            return
        problem = f"{missed_in_words(request)}, though the stream was shown it again"
        yield Finding("MISSED", case.request_id, problem, case.held, READ_THE_STREAM)

    def about_orphan(self, case: Case) -> Iterator[Finding]:
        """About an escrow whose request is gone or another's: it is in no request's case."""
        if case.escrow is None or case.is_owner:
            return
        held = "Hours are held for a request that is gone or belongs to another execution" if case.held else None
        if problem := held or check_escrow(case) or check_log(case):
            yield Finding("MISMATCH", case.request_id, problem, case.held, INSPECT)

    def about_orphan_of(self, request_id: str) -> Iterator[Finding]:
        """As ``about_orphan``, of what is there now."""
        case = Case(request_id, None, None, [])
        try:
            case = load(request_id)
            yield from self.about_orphan(case)
        except Exception as error:  # noqa: BLE001  as above
            yield could_not_be_audited(Subject("ServiceRequest", request_id), case, error)

    def _execution_status(self, execution_arn: Any) -> str:
        if not isinstance(execution_arn, str):
            return execution_status(execution_arn)
        if execution_arn in self._running:
            return "RUNNING"
        if self._described < MOST_DESCRIBED:
            self._described += 1
            return execution_status(execution_arn)
        return self._unsuccessful.get(execution_arn) or execution_status(execution_arn)

    @cached_property
    def _running(self) -> frozenset[str]:
        """The executions that run, asked for once, when one of them matters; those begun since are asked for alone."""
        return frozenset(self._listed("RUNNING"))

    @cached_property
    def _unsuccessful(self) -> dict[str, str]:
        """The status of each execution that did not succeed, asked for once, when many of them matter."""
        return {arn: status for status in UNSUCCESSFUL for arn in self._listed(status)}

    def _listed(self, status: str) -> Iterator[str]:
        try:
            yield from listed(self.machine, status) if self.machine else ()
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise  # whoever may not list them may describe each


def too_full(case: Case, request: Item) -> Finding:
    problem = f"{missed_in_words(request)}; the record is so full that it cannot be shown to the stream again"
    return Finding("MISSED", case.request_id, problem, case.held, MEND_THE_RECORD)


def could_not_be_audited(subject: Subject, case: Case, error: Exception) -> Finding:
    # by its name alone: the message of an error of AWS can quote what must be in no log
    what = {"TransactionLog": "entry", "UserBalance": "balance"}.get(subject.model, "request")
    problem = f"The {what} could not be audited ({type(error).__name__})"
    return Finding("MISMATCH", subject.key, problem, case.held, INSPECT, subject.model)
