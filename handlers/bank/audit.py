"""Holds requests, escrows, the log and executions against each other: what is wrong, and what the stream has missed.

What is wrong with one request is a function of what there is about it (``Case``). A row is whatever somebody wrote: one
that makes no sense is a finding, and never hides another. Tables are read page by page, so their size does not matter
to the memory.

All of it stands in one file: what a run looks at, and what can be wrong with it, are read together. The scheduled
auditor looks at what can still change in each run, and at a share of the rest: what it costs does not
grow with the past. An operator looks at everything at once.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Change, Index, Item, Page, Plan, client
from handlers.bank import hours, requests
from handlers.bank.cursor import MODELS, SHARES, Cursor
from handlers.bank.execution import UNKNOWN, described
from handlers.bank.requests import OWNER

T = TypeVar("T")
# What can still change, in Amplify's tables: amplify/schema.graphql declares both indexes.
OPEN_REQUESTS = Index("byOpen", requests.OPEN, requests.IS_OPEN)
HELD_ESCROWS = Index("byStatus", "status", "HELD")

ENTRIES = ("ESCROW_HOLD", "ESCROW_ADJUST", "ESCROW_REFUND", "ESCROW_RELEASE")
# What a request's status may be beside an escrow of its own in each status, or beside none.
STATUSES = {
    None: {"PENDING", "VALIDATING", "REJECTED", "FAILED"},
    "HELD": {"ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS"},
    # REJECTED: an id that was used before, whose older execution had the same name
    "RELEASED": {"COMPLETED", "REJECTED"},
    "REFUNDED": {"REJECTED", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED"},
}
# The entries that say how an escrow ended.
ENDED_BY = {"HELD": set(), "RELEASED": {"ESCROW_RELEASE"}, "REFUNDED": {"ESCROW_REFUND"}}
NEEDS_OWNER = {"VALIDATING", "ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING"}
# of the provider, and then of the requester
LONGEST_WAITS = timedelta(seconds=2 * requests.LONGEST_RESPONSE_TIMEOUT_SECONDS)
THROTTLED_TRIES = 10
# How long the stream has for a record before it is touched; how long it has after that before it is a finding.
PATIENCE = timedelta(minutes=15)
PATIENCE_AFTER_TOUCH = timedelta(hours=1)
# What is still missed is touched again each day, for when the stream is read again; after a week by operators alone.
TOUCH_AGAIN = timedelta(days=1)
TOUCHES_END = timedelta(days=7)

INSPECT = "`hourbank show` says what there is, and what helps"
READ_THE_STREAM = (
    "see that routeServiceRequest reads the table's stream (`hourbank doctor`), then `hourbank audit --touch`; "
    "where a release is refused, `hourbank settle`"
)
MEND_THE_RECORD = "nothing can be done with this record: let an administrator of the tables mend or remove it"
ASK_PEOPLE = "ask its people to end the service, or decide with `hourbank settle`"


class Finding(NamedTuple):
    """Something that is wrong, and the hours at stake.

    ``kind`` is MISMATCH (hours or states that do not fit), MISSED (what the stream was shown again, in vain) or
    UNCONFIRMED (a service nobody ends).
    """

    kind: str
    request_id: str
    problem: str
    hours: Decimal
    remedy: str


class Case(NamedTuple):
    """All that there is about one request."""

    request_id: str
    request: Item | None
    escrow: Item | None
    entries: list[Item]

    @property
    def held(self) -> Decimal:
        """The hours that are held; 0 where the escrow does not say how many."""
        amount = (self.escrow or {}).get("hours")
        is_held = (self.escrow or {}).get("status") == "HELD"
        return amount if is_held and hours.is_amount(amount) else Decimal(0)

    @property
    def is_owner(self) -> bool:
        """Whether request and escrow are of the same execution."""
        owner = (self.escrow or {}).get("executionArn")
        return owner is not None and (self.request or {}).get(OWNER) == owner


@dataclass
class Audit:
    """One run; the counts are complete once its findings are exhausted.

    Attributes
    ----------
    touch
        Whether to touch what the stream may have missed; otherwise it is only counted.
    again
        Whether to touch also what was touched before, as an operator does who knows that the stream is read again.
    machine
        The ARN of the workflow that owns requests, for asking once which executions run; without, each is asked for.
    is_time_up
        Asked again and again; a run that is out of time ends where it is.
    cursor
        Where the next scheduled run goes on.
    is_complete
        Whether a scheduled run has looked at all that can still change.
    has_sum
        Whether ``held`` is that of all escrows.
    unindexed
        The tables that have no index of what can still change, so that all of it was read.
    """

    touch: bool
    again: bool = False
    machine: str | None = None
    is_time_up: Callable[[], bool] = lambda: False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    requests: int = 0
    missed: int = 0
    touched: int = 0
    oldest_wait: timedelta = timedelta(0)
    held: Decimal = Decimal(0)
    cursor: Cursor = field(default_factory=lambda: Cursor(0))
    is_complete: bool = False
    has_sum: bool = False
    unindexed: list[str] = field(default_factory=list)
    _is_scheduled: bool = False
    _looked_at: dict[str, set[str]] = field(default_factory=lambda: {model: set() for model in MODELS})
    _found: set[str] = field(default_factory=set)

    @property
    def hour(self) -> int:
        """Which hour it is, since 1970."""
        return int(self.now.timestamp() // 3600)

    def open_findings(self) -> Iterator[Finding]:
        """As ``findings``, of what can still change alone."""
        requests.start_requests_from()
        yield from self._open()

    def findings(self) -> Iterator[Finding]:
        """Every problem that is still there when all its records are looked at again, at one moment."""
        requests.start_requests_from()  # refused also where no record asks for it: nothing could be started
        for page in dynamodb.pages("ServiceRequest"):
            yield from self._about_requests(page)
        # An escrow whose request is gone or another's is in no request's case.
        for page in dynamodb.pages("Escrow"):
            yield from self._about_escrows(page)
        self.is_complete = self.has_sum = True

    def scheduled(self, cursor: Cursor) -> Iterator[Finding]:
        """As ``findings``, of what can still change, and of the shares of the rest that are due by now.

        ``cursor`` is where the last run was; that about which something was found is looked at again.
        """
        requests.start_requests_from()
        self.cursor, self._is_scheduled = cursor, True
        yield from self._open()
        if self.is_complete:
            yield from self._once_more(cursor.again)
            yield from self._shares()

    def _open(self) -> Iterator[Finding]:
        """About what can still change: from the beginning, or from where time ran out."""
        begin = self.cursor if self.cursor.part == "OPEN" else Cursor(self.cursor.hour)
        stages = {"ServiceRequest": self._about_open_requests, "Escrow": self._about_escrows}
        for model in MODELS[MODELS.index(begin.model) :]:
            after = begin.after if begin.model == model else None
            for keys in in_hundreds(self.open_keys(model, after)):
                new = [key for key in keys if key not in self._looked_at[model]]
                items = list(dynamodb.read_many(model, new, consistent=False).values())
                self._looked_at[model].update(new)
                yield from self._noted(stages[model](items))
                if self.is_time_up():
                    self.cursor = self.cursor._replace(part="OPEN", model=model, after=keys[-1])
                    return
        if self.cursor.part == "OPEN":
            self.cursor = self.cursor._replace(part="SHARE", model="ServiceRequest", after=None)
        self.is_complete, self.has_sum = True, begin == Cursor(begin.hour)

    def open_keys(self, model: str, after: str | None = None) -> Iterator[str]:
        """The keys of what can still change, by the index, or where the table has none, by reading all of it."""
        index = OPEN_REQUESTS if model == "ServiceRequest" else HELD_ESCROWS
        try:
            yield from _keys(dynamodb.listed(model, index, after))
        except dynamodb.NoIndex:
            self.unindexed.append(environment.table(model))
            is_request = model == "ServiceRequest"
            values = sorted(requests.FINAL) if is_request else [HELD_ESCROWS.value]
            yield from _keys(dynamodb.filtered(model, "status", values, others=is_request, after=after))

    def _once_more(self, again: Iterable[str]) -> Iterator[Finding]:
        """About what was found before: it is looked at in each run until it fits."""
        for request_id in again:
            if request_id not in self._found and not (findings := list(self._about_one(request_id))):
                left = tuple(id_ for id_ in self.cursor.again if id_ != request_id)
                self.cursor = self.cursor._replace(again=left)
            elif request_id not in self._found:
                self._found.add(request_id)
                yield from findings

    def _about_one(self, request_id: str) -> Iterator[Finding]:
        case = Case(request_id, None, None, [])
        try:
            case = load(request_id)
            if case.request:
                yield from self._about(case)
            yield from self._about_orphan(case)
        except Exception as error:  # noqa: BLE001  one record must not hide the others, whatever it is
            yield could_not_be_audited(case, error)

    def _shares(self) -> Iterator[Finding]:
        """About the shares that are due: this hour's, and those that were missed."""
        self.cursor = self.cursor.caught_up(self.hour)
        held = self.held
        stages = {"ServiceRequest": self._about_requests, "Escrow": self._about_escrows}
        while self.cursor.hour <= self.hour and not self.is_time_up():
            begin = self.cursor
            for model in MODELS[MODELS.index(begin.model) :]:
                after = begin.after if begin.model == model else None
                for page in dynamodb.share(model, begin.hour % SHARES, SHARES, after):
                    new = [item for item in page.items if item["id"] not in self._looked_at[model]]
                    for items in in_hundreds(new):
                        yield from self._noted(stages[model](items))
                    if page.after is not None and self.is_time_up():
                        self.cursor = self.cursor._replace(model=model, after=page.after)
                        return
            self.cursor = Cursor(begin.hour + 1, again=self.cursor.again)
        self.held = held  # those of a share that are held were counted before

    def _noted(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings, whose requests the next runs look at again; each request once."""
        for finding in findings:
            if finding.request_id in self._found:
                continue
            self._found.add(finding.request_id)
            if finding.request_id not in self.cursor.again:
                self.cursor = self.cursor._replace(again=(*self.cursor.again, finding.request_id))
            yield finding

    def _about_open_requests(self, items: list[Item]) -> Iterator[Finding]:
        for case in self._cases(items):
            if case.is_owner:
                self._looked_at["Escrow"].add(case.request_id)
                self.held = hours.total([self.held, case.held])
            yield from self._guarded(case)

    def _about_requests(self, items: list[Item]) -> Iterator[Finding]:
        for case in self._cases(items):
            yield from self._guarded(case)

    def _cases(self, items: list[Item]) -> Iterator[Case]:
        self.requests += len(items)
        yield from cases(items)

    def _guarded(self, case: Case) -> Iterator[Finding]:
        try:
            yield from self._about(case)
        except Exception as error:  # noqa: BLE001  one record must not hide the others, whatever it is
            yield could_not_be_audited(case, error)

    def _about_escrows(self, items: list[Item]) -> Iterator[Finding]:
        owners = dynamodb.read_many("ServiceRequest", [escrow["id"] for escrow in items], consistent=False)
        for escrow in items:
            case = Case(escrow["id"], owners.get(escrow["id"]), escrow, [])
            self.held = hours.total([self.held, case.held])
            if case.is_owner:
                continue
            try:
                yield from self._about_orphan(load(escrow["id"]))
            except Exception as error:  # noqa: BLE001  as above
                yield could_not_be_audited(case, error)

    def _about(self, case: Case) -> Iterator[Finding]:
        request = case.request or {}
        if requests.status_of(request) in requests.WAITS:
            self.oldest_wait = max(self.oldest_wait, age(self.now, case.escrow))
        if mismatch(case, self._execution_status):
            again = load(case.request_id)
            if again.request and (problem := mismatch(again, self._execution_status)):
                yield Finding("MISMATCH", case.request_id, problem, again.held, INSPECT)
            # Not touched: what does not fit is refused each time, and every touch would start one more execution.
            return
        if is_missed(request) and is_left_alone(request, self.now):
            yield from self._about_missed(case, request)
        if (asked := requests.asks_for(request)).kind == "REFUSE":
            yield Finding("MISSED", case.request_id, requests.WHY_REFUSED[asked.about], case.held, MEND_THE_RECORD)
        since = in_progress_for(case, self.now)
        if since >= timedelta(days=environment.confirmation_days()):
            problem = f"Nobody has ended this service for {since.days} days"
            yield Finding("UNCONFIRMED", case.request_id, problem, case.held, ASK_PEOPLE)
        is_listed = request.get(requests.OPEN) == requests.IS_OPEN
        if (self._is_scheduled or self.again) and self.touch and requests.is_open(request) != is_listed:
            correct_index(case.request_id, requests.status_of(request))

    def _about_missed(self, case: Case, request: Item) -> Iterator[Finding]:
        self.missed += 1
        what = missed_in_words(request)
        if self.touch and is_touch_due(request, self.now, again=self.again):
            try:
                self.touched += touch(case.request_id, requests.status_of(request))
            except dynamodb.Unwritable:
                problem = f"{what}; the record is so full that it cannot be shown to the stream again"
                yield Finding("MISSED", case.request_id, problem, case.held, MEND_THE_RECORD)
                return
        first = requests.moment(request, requests.TOUCHED)
        if self.again or not first or self.now - first < PATIENCE_AFTER_TOUCH:
            return
        problem = f"{what}, though the stream was shown it again"
        yield Finding("MISSED", case.request_id, problem, case.held, READ_THE_STREAM)

    def _about_orphan(self, case: Case) -> Iterator[Finding]:
        if case.escrow is None or case.is_owner:
            return
        held = "Hours are held for a request that is gone or belongs to another execution" if case.held else None
        if problem := held or check_escrow(case) or check_log(case):
            yield Finding("MISMATCH", case.request_id, problem, case.held, INSPECT)

    def _execution_status(self, execution_arn: Any) -> str:
        return "RUNNING" if execution_arn in self._running else execution_status(execution_arn)

    @cached_property
    def _running(self) -> frozenset[str]:
        """The executions that run, asked for once, when one of them matters; those begun since are asked for alone."""
        try:
            return frozenset(running(self.machine) if self.machine else ())
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return frozenset()  # whoever may not list them may describe each


def _keys(pages: Iterable[Page]) -> Iterator[str]:
    for page in pages:
        yield from (item["id"] for item in page.items)


def in_hundreds(items: Iterable[T]) -> Iterator[list[T]]:
    """As many as DynamoDB gives at once."""
    left = iter(items)
    while some := list(itertools.islice(left, 100)):
        yield some


def could_not_be_audited(case: Case, error: Exception) -> Finding:
    # by its name alone: the message of an error of AWS can quote what must be in no log
    problem = f"The request could not be audited ({type(error).__name__})"
    return Finding("MISMATCH", case.request_id, problem, case.held, INSPECT)


def cases(page: list[Item]) -> Iterator[Case]:
    """What there was about each request of a page a moment ago, in a few calls; not all at one moment."""
    # An id that is too long for the log was rejected or never begun with: asking for its entries would be an error.
    ids = [request["id"] for request in page if requests.is_short(request["id"])]
    escrows = dynamodb.read_many("Escrow", ids, consistent=False)
    keys = [f"{id_}#{entry}" for id_ in ids for entry in ENTRIES]
    log = dynamodb.read_many("TransactionLog", keys, consistent=False)
    for request in page:
        entries = [log[key] for entry in ENTRIES if (key := f"{request['id']}#{entry}") in log]
        yield Case(request["id"], request, escrows.get(request["id"]), entries)


def load(request_id: str) -> Case:
    """What there is about a request, all of it at one moment."""
    if not requests.is_short(request_id):
        return Case(request_id, requests.load(request_id), dynamodb.read("Escrow", request_id), [])
    keys = [("TransactionLog", f"{request_id}#{entry}") for entry in ENTRIES]
    request, escrow, *entries = dynamodb.snapshot(("ServiceRequest", request_id), ("Escrow", request_id), *keys)
    return Case(request_id, request, escrow, [entry for entry in entries if entry])


def mismatch(case: Case, status_of: Callable[[Any], str] | None = None) -> str | None:
    """What does not fit about status, escrow, log and owner, in words; ``status_of`` an execution, else as AWS says."""
    request = case.request or {}
    is_older = OWNER not in request and case.escrow is None and requests.was_there_before(request)
    if not is_older and (problem := check_status(case)):
        return problem
    # an escrow of another execution is in no request's case
    if (case.escrow is None or case.is_owner) and (problem := check_people(case) or check_log(case)):
        return problem
    status = requests.status_of(request)
    if not is_older and status in NEEDS_OWNER:
        execution = (status_of or execution_status)(request.get(OWNER))
        if execution != "RUNNING":
            return f"The request is {status}, but its execution is {execution}"
    return None


def check_status(case: Case) -> str | None:
    request = case.request or {}
    if case.is_owner and (problem := check_escrow(case)):
        return problem
    status = requests.status_of(request)
    escrow_status = (case.escrow or {}).get("status") if case.is_owner else None
    if status not in STATUSES[escrow_status]:
        beside = f"its escrow is {escrow_status}" if escrow_status else "it has no escrow"
        return f"The request is {status}, but {beside}"
    if status == "PENDING" and OWNER in request:
        return "The request is PENDING, but has an execution: none can begin with it"
    return None


def check_escrow(case: Case) -> str | None:
    """What makes no sense about the escrow by itself."""
    escrow = case.escrow or {}
    if not isinstance(escrow.get("status"), str) or escrow["status"] not in ENDED_BY:
        return "The escrow is neither HELD nor RELEASED nor REFUNDED"
    if not hours.is_amount(escrow.get("hours")):
        return "The escrow does not say how many hours it is for"
    for attribute in ("executionArn", "requesterId", "providerId"):
        if not isinstance(escrow.get(attribute), str) or not escrow[attribute]:
            return f"The escrow has no {attribute}"
    return None


def check_people(case: Case) -> str | None:
    request, escrow = case.request or {}, case.escrow or {}
    if not case.held:
        return None  # settled: nobody can be paid wrongly any more
    same = all(request.get(person) == escrow.get(person) for person in ("requesterId", "providerId"))
    return None if same else "The request names other people than its escrow"


def check_log(case: Case) -> str | None:
    """What does not fit about the entries: what they add up to, between whom they are, and how the escrow ended."""
    for entry in case.entries:
        if not hours.is_amount(entry.get("hours")):
            return f"The entry {kind_of(case, entry)} does not say how many hours it is about"
    account = f"escrow:{case.request_id}"
    into = (entry["hours"] for entry in case.entries if entry.get("toAccount") == account)
    out = (entry["hours"].copy_negate() for entry in case.entries if entry.get("fromAccount") == account)
    total = hours.total([*into, *out])
    if total != case.held:
        return f"{hours.in_words(case.held)} hours are held, but the log says {hours.in_words(total)}"
    if case.escrow is None:
        return None
    allowed = accounts(case.escrow, account)
    kinds = set()
    for entry in case.entries:
        kinds.add(kind := kind_of(case, entry))
        if (entry.get("fromAccount"), entry.get("toAccount")) not in allowed.get(kind, ()):
            return f"The entry {kind} is not between the people of the escrow"
    if kinds - {"ESCROW_ADJUST"} != {"ESCROW_HOLD"} | ENDED_BY.get(str(case.escrow.get("status")), set()):
        return (
            f"The escrow is {case.escrow.get('status')}, but its entries are {', '.join(sorted(kinds)) or 'not there'}"
        )
    return None


def kind_of(case: Case, entry: Item) -> str:
    """What an entry is by its key, which nothing can change."""
    return str(entry["id"]).removeprefix(f"{case.request_id}#")


def accounts(escrow: Item, held: str) -> dict[str, set[tuple[str, str]]]:
    """From where to where each entry of an escrow may go; the requester's own hours, and never another's."""
    requester, provider = f"user:{escrow.get('requesterId')}", f"user:{escrow.get('providerId')}"
    return {
        "ESCROW_HOLD": {(requester, held)},
        "ESCROW_ADJUST": {(requester, held), (held, requester)},
        "ESCROW_REFUND": {(held, requester)},
        "ESCROW_RELEASE": {(held, provider)},
    }


def age(now: datetime, item: Item | None) -> timedelta:
    """How long ago an item was last written, 0 where it does not say."""
    item = item or {}
    moment = requests.moment(item, "updatedAt") or requests.moment(item, "createdAt")
    return now - moment if moment else timedelta(0)


def in_progress_for(case: Case, now: datetime) -> timedelta:
    """For how long a service has been in progress, by a time that neither people nor a touch can move; else 0."""
    request = case.request or {}
    if requests.status_of(request) != "IN_PROGRESS":
        return timedelta(0)
    if started := requests.moment(request, requests.STARTED):
        return now - started
    # Begun by an older version, or in a record that was full: the hold is older than the service, by both waits at
    # most, and the record's last change may be newer.
    held = age(now, case.escrow)
    return max(min(held, age(now, request)), held - LONGEST_WAITS)


def is_missed(request: Item) -> bool:
    """Whether the router has something to do here."""
    return requests.asks_for(request).kind in ("START", "DELIVER", "FINISH")


def is_left_alone(request: Item, now: datetime) -> bool:
    """Whether the stream has had its time for a record's last change; one that does not say when has had it."""
    last = requests.moment(request, "updatedAt") or requests.moment(request, "createdAt")
    return last is None or not now - PATIENCE < last < now + PATIENCE


def missed_in_words(request: Item) -> str:
    """What the stream's reader has not done about a record that it has missed."""
    match requests.asks_for(request):
        case ("START", _):
            return "PENDING, and not started"
        case ("DELIVER", answer):
            return f"{requests.status_of(request)}, and the answer {answer} was not delivered"
    received = requests.decision(request) == "RELEASE"
    return f"IN_PROGRESS, and though the service was {'received' if received else 'given up'} the hours are still held"


def is_touch_due(request: Item, now: datetime, *, again: bool) -> bool:
    """Whether to show a record to the stream that it has missed: at once, then each day for a week, then never."""
    first = requests.moment(request, requests.TOUCHED)
    if first is None or again:
        return True
    return age(now, request) >= TOUCH_AGAIN and now - first < TOUCHES_END


def touch(request_id: str, status: str) -> bool:
    """Makes the stream show a record again, while it is there and its status is what it was; whether it was written.

    When it was done first stays in the record until its status moves.
    """

    def plan() -> Plan:
        request = requests.load(request_id)
        if request is None or requests.status_of(request) != status:
            return Plan(None)
        change = Change("ServiceRequest", request_id).exists().unchanged(request, "status")
        if requests.moment(request, requests.TOUCHED) is None:
            change.set(**{requests.TOUCHED: dynamodb.now()})
        return Plan(None, (change.write(),))

    return dynamodb.commit(plan)[1]


def correct_index(request_id: str, status: str) -> None:
    """Puts a record into the index of what can still change, or out of it, while its status is this.

    One from before there was the index, or whose creator wrote something else into it.
    """

    def plan() -> Plan:
        request = requests.load(request_id)
        if request is None or requests.status_of(request) != status:
            return Plan(None)
        change = Change("ServiceRequest", request_id).exists().unchanged(request, "status")
        is_open = requests.is_open(request)
        change = change.set(**{requests.OPEN: requests.IS_OPEN}) if is_open else change.remove(requests.OPEN)
        # A record that is full stays out: it is looked at in its turn.
        return Plan(None, (change.write(is_news=False),), otherwise=Plan(None))

    # one that keeps changing is left to the next run
    with contextlib.suppress(dynamodb.Contended):
        dynamodb.commit(plan)


def execution_status(execution_arn: Any) -> str:
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, or ``unknown``, also where it is none of this deployment's."""
    try:
        return _patiently(partial(described, execution_arn))["status"]
    except ClientError as error:
        # the ARN of another machine, such as of the environment that a table was copied from
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return UNKNOWN
        raise


def running(machine_arn: str) -> Iterator[str]:
    """The ARNs of a workflow's executions that run, a thousand a call."""
    asked = {"stateMachineArn": machine_arn, "statusFilter": "RUNNING", "maxResults": 1000}
    while True:
        page = _patiently(partial(client("stepfunctions").list_executions, **asked))
        yield from (execution["executionArn"] for execution in page["executions"])
        if "nextToken" not in page:
            return
        asked["nextToken"] = page["nextToken"]


def _patiently(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A call of Step Functions, which allows a few a second, so that being throttled is no news."""
    for attempt in range(THROTTLED_TRIES):
        try:
            return call()
        except ClientError as error:
            if not dynamodb.is_throttled(error) or attempt == THROTTLED_TRIES - 1:
                raise
            dynamodb.pause(attempt)
    raise AssertionError
