"""Holds requests, escrows, the log, balances and executions against each other, and says what does not fit.

The scheduled auditor looks at what can still change in each run, and at a share of the rest: what it costs does not
grow with the past. An operator looks at everything at once. Tables are read page by page, so their size does not matter
to the memory; what is looked at in each record is in `look.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Index, Item, Page
from handlers.bank import hours, requests
from handlers.bank.books import Books, in_words, is_unmoved
from handlers.bank.case import AT_ONCE, Case, cases, in_hundreds, past_cases
from handlers.bank.cursor import MODELS, OPEN_MODELS, SHARES, Cursor, Subject
from handlers.bank.faults import adds_up, check_balance, check_entry, is_adjustment, is_as_it_must_be, request_of
from handlers.bank.look import Finding, Look

# What can still change, in Amplify's tables: amplify/schema.graphql declares both indexes.
OPEN_REQUESTS = Index("byOpen", requests.OPEN, requests.IS_OPEN)
HELD_ESCROWS = Index("byStatus", "status", "HELD")
# The share after which all balances are held against the whole log, once a week.
SHARE_OF_BOOKS = 0
# Whose accounts have room in the function's memory: `make bench ARGS=--scale` says what one takes.
MOST_USERS = 200_000
OPEN_THE_BOOKS = (
    "look who writes balances beside the log (CloudTrail's data events, or the app); where the hours are right, "
    "`hourbank grant --opening` enters them"
)


@dataclass
class Audit(Look):
    """One run; the counts are complete once its findings are exhausted.

    Attributes
    ----------
    is_time_up
        Asked again and again; a run that is out of time ends where it is.
    cursor
        Where the next scheduled run goes on.
    is_complete
        Whether a scheduled run has looked at all that can still change.
    has_sum
        Whether ``held`` is that of all escrows.
    is_compared
        Whether all balances were held against the log; None: it was not their turn.
    unexplained
        How many of them the log does not explain, where the bank has granted nothing: the app writes them itself.
    unindexed
        The tables that have no index of what can still change, so that all of it was read.
    at
        The share in which a look at everything is.
    books
        Balances and entries, as far as they were read to be compared.
    """

    is_time_up: Callable[[], bool] = lambda: False
    requests: int = 0
    entries: int = 0
    held: Decimal = Decimal(0)
    cursor: Cursor = field(default_factory=lambda: Cursor(0))
    is_complete: bool = False
    has_sum: bool = False
    is_compared: bool | None = None
    unexplained: int = 0
    unindexed: list[str] = field(default_factory=list)
    at: int = 0
    books: Books = field(default_factory=Books)
    _looked_at: dict[str, set[str]] = field(default_factory=lambda: {model: set() for model in MODELS})
    _found: set[Subject] = field(default_factory=set)

    @property
    def hour(self) -> int:
        """Which hour it is, since 1970."""
        return int(self.now.timestamp() // 3600)

    def open_findings(self) -> Iterator[Finding]:
        """As ``findings``, of what can still change alone."""
        requests.start_requests_from()
        yield from self._open()

    def findings(self, begin: int = 0, of: int = 1) -> Iterator[Finding]:
        """Every problem that is still there when all its records are looked at again, at one moment.

        With ``of`` shares of the tables, one after the other, from the share ``begin`` on: ``at`` is where it is.
        """
        requests.start_requests_from()  # refused also where no record asks for it: nothing could be started
        stages = self._stages()
        for self.at in range(begin, of):
            for model in MODELS:
                for page in dynamodb.share(model, self.at, of):
                    for items in in_hundreds(page.items):
                        for finding in stages[model](items):
                            self._found.add(finding.subject)
                            yield finding
        self.is_complete = self.has_sum = True
        yield from self._about_books()

    def scheduled(self, cursor: Cursor) -> Iterator[Finding]:
        """As ``findings``, of what can still change, and of the shares of the rest that are due by now.

        ``cursor`` is where the last run was; that about which something was found is looked at again.
        """
        requests.start_requests_from()
        self.cursor, self.is_scheduled = cursor, True
        yield from self._open()
        if self.is_complete:
            yield from self._once_more(cursor.again)
            yield from self._shares()

    def _stages(self) -> dict[str, Callable[[list[Item]], Iterator[Finding]]]:
        """What is looked at in a page of each table."""
        return {
            "ServiceRequest": self._about_requests,
            "Escrow": self._about_escrows,
            "TransactionLog": self._about_entries,
            "UserBalance": self._about_balances,
        }

    def _open(self) -> Iterator[Finding]:
        """About what can still change: from the beginning, or from where time ran out."""
        begin = self.cursor if self.cursor.part == "OPEN" else Cursor(self.cursor.hour)
        stages = {"ServiceRequest": self._about_open_requests, "Escrow": self._about_escrows}
        for model in OPEN_MODELS[OPEN_MODELS.index(begin.model) :]:
            after = begin.after if begin.model == model else None
            for keys, last in _in_turn(self._open_pages(model, after)):
                new = [key for key in keys if key not in self._looked_at[model]]
                self._looked_at[model].update(new)
                for items in dynamodb.read_pages(model, new, consistent=False):
                    yield from self._noted(stages[model](items))
                if self.is_time_up():
                    self.cursor = self.cursor._replace(part="OPEN", model=model, after=last)
                    return
        if self.cursor.part == "OPEN":
            self.cursor = self.cursor._replace(part="SHARE", model="ServiceRequest", after=None)
        self.is_complete, self.has_sum = True, begin == Cursor(begin.hour)

    def open_keys(self, model: str, after: str | None = None) -> Iterator[str]:
        """The keys of what can still change, by the index, or where the table has none, by reading all of it."""
        for page in self._open_pages(model, after):
            yield from (item["id"] for item in page.items)

    def _open_pages(self, model: str, after: str | None) -> Iterator[Page]:
        index = OPEN_REQUESTS if model == "ServiceRequest" else HELD_ESCROWS
        try:
            yield from dynamodb.listed(model, index, after)
        except dynamodb.NoIndex:
            self.unindexed.append(environment.table(model))
            is_request = model == "ServiceRequest"
            values = sorted(requests.FINAL) if is_request else [HELD_ESCROWS.value]
            yield from dynamodb.filtered(model, "status", values, others=is_request, after=after)

    def _once_more(self, again: Iterable[Subject]) -> Iterator[Finding]:
        """About what was found before: it is looked at in each run until it fits."""
        for subject in again:
            if subject in self._found:
                continue
            if findings := list(self.about_one(subject)):
                yield from self._noted(findings, is_past=True)
            else:
                self.cursor = self.cursor.without(subject)

    def _shares(self) -> Iterator[Finding]:
        """About the shares that are due: this hour's, and those that were missed."""
        self.cursor = self.cursor.caught_up(self.hour)
        held, stages = self.held, self._stages()
        while self.cursor.hour <= self.hour and not self.is_time_up():
            begin = self.cursor
            for model in MODELS[MODELS.index(begin.model) :]:
                after = begin.after if begin.model == model else None
                for page in dynamodb.share(model, begin.hour % SHARES, SHARES, after):
                    seen = self._looked_at[model]
                    new = [item for item in page.items if dynamodb.key_of(model, item) not in seen]
                    for items in in_hundreds(new):
                        yield from self._noted(stages[model](items), is_past=True)
                    if page.after is not None and self.is_time_up():
                        self.cursor = self.cursor._replace(model=model, after=page.after)
                        return
            self.cursor = Cursor(begin.hour + 1, again=self.cursor.again)
            if begin.hour % SHARES == SHARE_OF_BOOKS:
                yield from self._about_books()
        self.held = held  # those of a share that are held were counted before

    def _noted(self, findings: Iterable[Finding], *, is_past: bool = False) -> Iterator[Finding]:
        """The findings, whose records the next runs look at again; each record once."""
        for finding in findings:
            if finding.subject in self._found:
                continue
            self._found.add(finding.subject)
            # What can still change is shown by its index as well, and clients can make any number of it a finding.
            self.cursor = self.cursor.noting(finding.subject, first=is_past and finding.kind == "MISMATCH")
            yield finding

    def _about_open_requests(self, items: list[Item]) -> Iterator[Finding]:
        self.requests += len(items)
        for case in cases(items):
            if case.is_owner:
                self._looked_at["Escrow"].add(case.request_id)
                self.held = hours.total([self.held, case.held])
            yield from self.guarded(case)

    def _about_requests(self, items: list[Item]) -> Iterator[Finding]:
        self.requests += len(items)
        for case in past_cases(items):
            yield from self.guarded(case)

    def _about_escrows(self, items: list[Item]) -> Iterator[Finding]:
        ids = [escrow["id"] for escrow in items]
        # of a request no more than whose it is: a hundred of them can be 40 MB
        owners = {
            request["id"]: {requests.OWNER: request.get(requests.OWNER)}
            for page in dynamodb.read_pages("ServiceRequest", ids, consistent=False)
            for request in page
        }
        for escrow in items:
            case = Case(escrow["id"], owners.get(escrow["id"]), escrow, [])
            self.held = hours.total([self.held, case.held])
            if not case.is_owner:
                yield from self.about_orphan_of(case.request_id)

    def _about_entries(self, items: list[Item]) -> Iterator[Finding]:
        """About entries, each by its key the one of a request or of a grant; what is not expected is read anew."""
        self.entries += len(items)
        of_requests = [(entry, request_id) for entry in items if (request_id := request_of(entry))]
        escrows = dynamodb.read_many("Escrow", sorted({id_ for _, id_ in of_requests}), consistent=False)
        adjusted = {entry["id"]: f"{id_}#ESCROW_HOLD" for entry, id_ in of_requests if is_adjustment(entry)}
        holds = dynamodb.read_many("TransactionLog", sorted(adjusted.values()), consistent=False)
        doubtful = []
        for entry, id_ in of_requests:
            escrow, hold = escrows.get(id_), holds.get(adjusted.get(entry["id"], ""))
            if not is_as_it_must_be(entry, escrow) or (is_adjustment(entry) and not adds_up(entry, hold, escrow)):
                doubtful.append(Subject("ServiceRequest", id_))
        doubtful += [Subject("TransactionLog", one["id"]) for one in items if not request_of(one) and check_entry(one)]
        yield from self._about_doubtful(doubtful)

    def _about_balances(self, items: list[Item]) -> Iterator[Finding]:
        yield from self._about_doubtful(Subject("UserBalance", row["userId"]) for row in items if check_balance(row))

    def _about_doubtful(self, subjects: Iterable[Subject]) -> Iterator[Finding]:
        for subject in dict.fromkeys(subjects):
            if subject not in self._found:
                yield from self.about_one(subject)

    def _about_books(self) -> Iterator[Finding]:
        """About balances that the log does not explain.

        One that was written while the entries were read is left to the next time: which of them it has is not known.
        """
        books = self.books = Books()
        self.is_compared = False
        for _ in books.read():
            if self.is_time_up() or (self.is_scheduled and len(books.accounts) > MOST_USERS):
                return
        due = books.due()
        if not books.grants:
            self.unexplained, self.is_compared = len(due), True
            return
        for user, account in due.items():
            if self.is_time_up():
                return
            if is_unmoved(user, account, self.now):
                problem, at_stake = in_words(account.difference), abs(account.difference)
                yield Finding("UNEXPLAINED", user, problem, at_stake, OPEN_THE_BOOKS, "UserBalance")
        self.is_compared = True


def _in_turn(pages: Iterable[Page]) -> Iterator[tuple[list[str], str]]:
    """As many keys as are read at once, and the one after which to go on.

    Fewer, or none, where a page has nothing: a table that is read whole has many of those, and time runs out there too.
    """
    left: list[str] = []
    for page in pages:
        left += [item["id"] for item in page.items]
        while len(left) >= AT_ONCE:
            yield left[:AT_ONCE], left[AT_ONCE - 1]
            left = left[AT_ONCE:]
        if not page.items and page.after is not None:
            yield left, page.after
            left = []
    if left:
        yield left, left[-1]
