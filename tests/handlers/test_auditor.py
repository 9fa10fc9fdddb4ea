"""The auditor on an engine: silent about what fits, loud about what does not, and never moving an hour."""

import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from handlers import audit_ledger
from handlers.aws import dynamodb
from handlers.bank import audit, ledger, look, requests
from handlers.bank.audit import Audit
from handlers.bank.case import load
from handlers.bank.missed import forget, touch
from hourbank.simulate.tables import Tables, answering

ARN = "arn:aws:states:us-east-1:123456789012:execution:ServiceRequestWorkflow-test:service-request-"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def ago(**units: float) -> str:
    return (NOW - timedelta(**units)).isoformat()


class Books:
    """Four tables in which a test writes what it likes, and executions as they are said to be."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.running: dict[str, str] = {}
        self.parameter = "begin"
        self.exceptions = SimpleNamespace()

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803
        if executionArn not in self.running:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return {"status": self.running[executionArn]}

    def list_executions(self, **_: Any) -> dict[str, Any]:
        return {"executions": [{"executionArn": arn} for arn, said in self.running.items() if said == "RUNNING"]}

    def get_parameter(self, **_: Any) -> dict[str, Any]:
        return {"Parameter": {"Value": self.parameter}}

    def put_parameter(self, *, Value: str, **_: Any) -> None:  # noqa: N803
        self.parameter = Value

    def put(self, model: str, **item: Any) -> None:
        self._client.put_item(TableName=model, Item={name: dynamodb.typed(value) for name, value in item.items()})

    def get(self, request_id: str = "r1") -> dict[str, Any]:
        found = self._client.get_item(TableName="ServiceRequest", Key={"id": {"S": request_id}})
        return {name: dynamodb.plain(value) for name, value in found["Item"].items()}

    def remove(self, model: str, key: str) -> None:
        self._client.delete_item(TableName=model, Key={"id": {"S": key}})

    def balance(self, user: str, hours: Any, **more: Any) -> None:
        self.put("UserBalance", userId=user, availableBalance=hours, **{"updatedAt": ago(hours=2)} | more)

    def number(self, model: str) -> int:
        return self._client.scan(TableName=model)["Count"]

    def request(self, status: str | None, request_id: str = "r1", execution: str | None = None, **more: Any) -> None:
        """A request, and the execution that owns it where it is given a status."""
        if execution:
            self.running[ARN + request_id] = execution
        item = {
            "id": request_id, "status": status, "requesterId": "ana", "providerId": "ben",
            "createdAt": ago(days=1), "updatedAt": ago(hours=1), "stepFunctionExecutionArn": ARN + request_id,
        }  # fmt: skip
        self.put("ServiceRequest", **item | more)

    def escrow(self, status: str, request_id: str = "r1", hours: int = 2, **more: Any) -> None:
        item = {
            "id": request_id, "requestId": request_id, "requesterId": "ana", "providerId": "ben", "status": status,
            "hours": hours, "executionArn": ARN + request_id, "updatedAt": ago(hours=2),
        }  # fmt: skip
        self.put("Escrow", **item | more)

    def log(self, entry: str, hours: Any = 2, request_id: str = "r1", *, out: bool = False) -> None:
        person = "user:ben" if entry == "ESCROW_RELEASE" else "user:ana"
        accounts = [f"escrow:{request_id}", person] if out else [person, f"escrow:{request_id}"]
        self.put(
            "TransactionLog",
            id=f"{request_id}#{entry}", type=entry, hours=hours, fromAccount=accounts[0], toAccount=accounts[1],
        )  # fmt: skip

    def held(self, status: str, request_id: str = "r1", execution: str = "RUNNING", **more: Any) -> None:
        self.request(status, request_id, execution, **more)
        self.escrow("HELD", request_id)
        self.log("ESCROW_HOLD", request_id=request_id)

    def refunded(self, status: str, request_id: str = "r1") -> None:
        self.request(status, request_id, "SUCCEEDED")
        self.escrow("REFUNDED", request_id)
        self.log("ESCROW_HOLD", request_id=request_id)
        self.log("ESCROW_REFUND", request_id=request_id, out=True)

    def audit(self, **more: Any) -> tuple[list[tuple[str, str]], Audit]:
        """What was found, as (kind, problem), and the audit itself."""
        audit = Audit(**{"touch": True, "now": NOW} | more)
        return [(finding.kind, finding.problem) for finding in audit.findings()], audit


def context(milliseconds: int = 900_000) -> Any:
    """What Lambda tells the function, and how much time it has left."""
    return SimpleNamespace(
        function_name="f", memory_limit_in_mb=256, invoked_function_arn="a", aws_request_id="1",
        get_remaining_time_in_millis=lambda: milliseconds,
    )  # fmt: skip


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Iterator[Books]:
    monkeypatch.setenv("SERVICE_REQUEST_TABLE_NAME", "ServiceRequest")
    monkeypatch.setenv("ESCROW_TABLE_NAME", "Escrow")
    monkeypatch.setenv("TRANSACTION_LOG_TABLE_NAME", "TransactionLog")
    monkeypatch.setenv("USER_BALANCE_TABLE_NAME", "UserBalance")
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-11-01T00:00:00Z")
    monkeypatch.setenv("CONFIRMATION_DAYS", "14")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "HourBank")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "hourbank-test")
    monkeypatch.setenv("SERVICE_REQUEST_WORKFLOW_ARN", "arn")
    monkeypatch.setenv("AUDIT_CURSOR_NAME", "cursor")
    keys = dict.fromkeys(("ServiceRequest", "Escrow", "TransactionLog"), "id") | {"UserBalance": "userId"}
    with answering(Tables(keys)):
        books = Books(boto3.client("dynamodb"))
        for module in ("case", "cursor", "execution"):
            monkeypatch.setattr(f"handlers.bank.{module}.client", lambda _: books)
        yield books


def test_books_that_agree_are_passed_in_silence(books: Books) -> None:
    books.request("VALIDATING", "r0", "RUNNING")
    for number, status in enumerate(("ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING")):
        books.held(status, f"held-{number}")
    books.held("IN_PROGRESS", "in-progress", "SUCCEEDED")
    for status in ("DECLINED", "CANCELLED", "TIMED_OUT", "FAILED", "REJECTED"):
        books.refunded(status, status)
    books.request("REJECTED", "r2", "SUCCEEDED")
    books.request("COMPLETED", "r3", "SUCCEEDED")
    books.escrow("RELEASED", "r3")
    books.log("ESCROW_HOLD", 3, "r3")
    books.log("ESCROW_ADJUST", 1, "r3", out=True)
    books.log("ESCROW_RELEASE", 2, "r3", out=True)
    # a record that was there before the workflows, and one that is only just there
    books.request(None, "old", createdAt="2020-01-01T00:00:00Z", stepFunctionExecutionArn=None)
    books.request("PENDING", "new", createdAt=ago(minutes=1), updatedAt=ago(minutes=1), stepFunctionExecutionArn=None)

    findings, audit = books.audit()

    assert findings == []
    assert (audit.requests, audit.missed, audit.is_complete) == (14, 0, True)


@pytest.mark.parametrize(
    ("status", "escrow"),
    [
        ("ESCROWED", None), ("AWAITING_PROVIDER", None), ("IN_PROGRESS", None), ("COMPLETED", None),
        ("PENDING", "HELD"), ("VALIDATING", "HELD"), ("COMPLETED", "HELD"), ("DECLINED", "HELD"), ("FAILED", "HELD"),
        ("IN_PROGRESS", "REFUNDED"), ("COMPLETED", "REFUNDED"), ("IN_PROGRESS", "RELEASED"), ("DECLINED", "RELEASED"),
        ("whatever a client wrote", None),
    ],
)  # fmt: skip
def test_a_status_that_does_not_fit_its_escrow_is_found(books: Books, status: str, escrow: str | None) -> None:
    books.request(status, execution="RUNNING", createdAt="2020-01-01T00:00:00Z")
    if escrow:
        books.escrow(escrow)
        books.log("ESCROW_HOLD")
        if escrow != "HELD":
            books.log("ESCROW_REFUND", out=True)
    ((kind, problem),) = books.audit()[0]
    assert kind == "MISMATCH" and status in problem and (escrow or "no escrow") in problem


def test_a_new_request_that_names_an_execution_is_found(books: Books) -> None:
    books.request("PENDING", stepFunctionExecutionArn="whatever a client wrote")
    (finding,), audit = books.audit()
    assert finding == ("MISMATCH", "The request is PENDING, but has an execution: none can begin with it")
    assert audit.missed == 0


@pytest.mark.parametrize("entries", [[], [3], [2, 1]])
def test_a_log_that_does_not_add_up_is_found(books: Books, entries: list[int]) -> None:
    books.held("AWAITING_PROVIDER")
    books.remove("TransactionLog", "r1#ESCROW_HOLD")
    for entry, hours in zip(("ESCROW_HOLD", "ESCROW_ADJUST"), entries, strict=False):
        books.log(entry, hours)
    assert books.audit()[0] == [("MISMATCH", f"2 hours are held, but the log says {sum(entries)}")]


def test_hours_given_back_twice_are_found(books: Books) -> None:
    books.refunded("DECLINED")
    books.log("ESCROW_RELEASE", out=True)
    assert books.audit()[0] == [("MISMATCH", "0 hours are held, but the log says -2")]


@pytest.mark.parametrize("execution", ["FAILED", "ABORTED", "TIMED_OUT", "SUCCEEDED", None])
@pytest.mark.parametrize("answer", [None, "ACCEPTED"])
def test_a_wait_whose_execution_is_gone_is_found(books: Books, execution: str | None, answer: str | None) -> None:
    books.held("AWAITING_PROVIDER", execution=execution or "", taskToken="t", providerResponse=answer)
    expected = f"The request is AWAITING_PROVIDER, but its execution is {execution or 'unknown'}"
    assert books.audit()[0] == [("MISMATCH", expected)]


@pytest.mark.parametrize("request_", ["gone", "replaced"])
def test_hours_without_their_request_are_found_with_what_is_at_stake(books: Books, request_: str) -> None:
    books.held("AWAITING_PROVIDER")
    books.remove("ServiceRequest", "r1")
    if request_ == "replaced":
        books.request("REJECTED", stepFunctionExecutionArn=ARN + "r1-2")
    (finding,) = Audit(touch=True, now=NOW).findings()
    assert (finding.kind, finding.key, finding.hours) == ("MISMATCH", "r1", Decimal(2))


def test_other_people_than_the_escrows_are_found(books: Books) -> None:
    books.held("IN_PROGRESS", providerId="mallory", requesterResponse="COMPLETED")
    assert books.audit()[0] == [("MISMATCH", "The request names other people than its escrow")]


def test_what_does_not_fit_is_not_touched(books: Books) -> None:
    books.held("IN_PROGRESS", providerId="mallory", requesterResponse="COMPLETED")
    before = books.get()
    assert books.audit()[1].missed == 0
    assert books.get() == before


def test_what_has_changed_when_looked_at_again_is_no_finding(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.held("COMPLETED")

    def settle_first(request_id: str) -> Any:
        books.escrow("RELEASED")
        books.log("ESCROW_RELEASE", out=True)
        return load(request_id)

    monkeypatch.setattr("handlers.bank.look.load", settle_first)
    assert books.audit()[0] == []


@pytest.mark.parametrize(("days", "found"), [(13.9, False), (14, True)])
def test_a_service_that_nobody_ends_is_found(books: Books, days: float, found: bool) -> None:
    books.held("IN_PROGRESS", execution="SUCCEEDED", updatedAt=ago(days=days))
    books.escrow("HELD", updatedAt=ago(days=days))
    assert books.audit()[0] == ([("UNCONFIRMED", "Nobody has ended this service for 14 days")] if found else [])


def test_the_oldest_wait_is_measured(books: Books) -> None:
    books.held("AWAITING_PROVIDER", "r1")
    books.held("NEGOTIATING", "r2")
    books.escrow("HELD", "r2", updatedAt=ago(days=9))
    books.held("IN_PROGRESS", "r3")
    books.escrow("HELD", "r3", updatedAt=ago(days=12))
    assert books.audit()[1].oldest_wait == timedelta(days=9)


MISSED = {
    "new": {"status": None, "stepFunctionExecutionArn": None},
    "pending": {"status": "PENDING", "stepFunctionExecutionArn": None},
    "answered": {"status": "AWAITING_PROVIDER", "taskToken": "t", "providerResponse": "ACCEPTED"},
    "cancelled": {"status": "AWAITING_PROVIDER", "taskToken": "t", "requesterResponse": "CANCELLED"},
    "agreed": {"status": "NEGOTIATING", "taskToken": "t", "requesterResponse": "ACCEPTED"},
    "confirmed": {"status": "IN_PROGRESS", "requesterResponse": "COMPLETED"},
    "withdrawn": {"status": "IN_PROGRESS", "providerResponse": "WITHDRAWN"},
}


def missed(books: Books, what: str, updated: str) -> None:
    item = MISSED[what] | {"updatedAt": updated}
    if item["status"] in (None, "PENDING"):
        books.request(**item)
    else:
        books.held(**item)


@pytest.mark.parametrize("what", MISSED)
def test_what_the_stream_missed_is_touched_and_nothing_else_changed(books: Books, what: str) -> None:
    missed(books, what, ago(minutes=16))
    before = books.get()

    findings, audit = books.audit()

    after = books.get()
    assert findings == [] and (audit.missed, audit.touched) == (1, 1)
    assert after["updatedAt"] > before["updatedAt"]
    assert ago(days=1) < after.pop("touchedAt") <= after["updatedAt"]
    assert after.pop("touchedFor") in ("START", "ACCEPTED", "CANCELLED", "RELEASE", "REFUND")
    assert {**after, "updatedAt": None} == {**before, "updatedAt": None}


@pytest.mark.parametrize("what", MISSED)
def test_the_stream_gets_its_time(books: Books, what: str) -> None:
    missed(books, what, ago(minutes=14))
    before = books.get()
    assert books.audit()[1].missed == 0
    assert books.get() == before


def test_without_touch_nothing_is_written(books: Books) -> None:
    missed(books, "answered", ago(hours=1))
    before = books.get()
    assert books.audit(touch=False)[1].missed == 1
    assert books.get() == before


@pytest.mark.parametrize("change", [{"status": "IN_PROGRESS"}, None])
def test_a_record_that_moved_on_or_went_is_not_touched(
    books: Books, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any] | None
) -> None:
    missed(books, "answered", ago(hours=1))
    if change:
        books.held("IN_PROGRESS")
    else:
        books.remove("ServiceRequest", "r1")
    touch("r1", "AWAITING_PROVIDER")
    if change:
        assert books.get()["updatedAt"] == ago(hours=1)
    else:
        assert books.number("ServiceRequest") == 0


def test_hours_in_escrow_are_those_of_every_hold_and_no_other(books: Books, log: pytest.CaptureFixture[str]) -> None:
    books.held("AWAITING_PROVIDER", "r1")
    books.held("IN_PROGRESS", "r2", "SUCCEEDED")
    books.escrow("HELD", "r2", hours=Decimal("3.25"))
    books.refunded("DECLINED", "r3")
    books.escrow("HELD", "gone", hours=Decimal("0.5"))
    audit_ledger.handler({}, context())
    assert '"HoursInEscrow":[5.75]' in log.readouterr().out


class Page(list):
    """A page whose end can be seen."""

    __hash__ = object.__hash__


def test_tables_of_any_size_are_read_page_by_page(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(250):
        books.refunded("DECLINED", f"r{number}")
    share, alive, sizes = dynamodb.share, weakref.WeakSet(), []

    def watched(model: str, *asked: int) -> Iterator[dynamodb.Page]:
        for page in share(model, *asked):
            items = Page(page.items)
            alive.add(items)
            sizes.append((model, len(items), len(alive)))
            yield page._replace(items=items)

    monkeypatch.setattr(dynamodb, "_SHARE_PAGE", 100)
    monkeypatch.setattr(dynamodb, "share", watched)
    findings, audit = books.audit()
    assert (findings, audit.requests) == ([], 250)
    assert [size for model, size, _ in sizes if model == "ServiceRequest"] == [100, 100, 50]
    # while a page is asked for, the one before it is the only other
    assert max(together for _, _, together in sizes) <= 2


def test_a_run_that_is_out_of_time_says_so(books: Books, log: pytest.CaptureFixture[str]) -> None:
    for number in range(120):
        books.held("IN_PROGRESS", f"r{number}")
    answer = audit_ledger.handler({}, context(milliseconds=1000))
    assert (answer["RequestsAudited"], answer["complete"]) == (100, False)
    out = log.readouterr().out
    assert "AuditIncomplete" in out
    # nor does it pass a part off as the whole
    assert "HoursInEscrow" not in out


def test_findings_are_lines_and_metrics_without_tokens(books: Books, log: pytest.CaptureFixture[str]) -> None:
    books.held("AWAITING_PROVIDER", execution="FAILED", taskToken="secret-token")
    assert audit_ledger.handler({}, context())["AuditMismatches"] == 1
    out = log.readouterr().out
    assert '"correlation_id":"r1"' in out and '"AuditMismatches":[1.0]' in out and '"AuditCompleted":[1.0]' in out
    assert "secret-token" not in out


@pytest.mark.parametrize("status", ["COMPLETED", "ACCEPTED", "IN_PROGRESS", None])
def test_a_request_from_before_the_workflows_is_none_of_its_business(books: Books, status: str | None) -> None:
    books.request(status, createdAt="2025-01-01T00:00:00Z", stepFunctionExecutionArn=None)
    assert books.audit()[0] == []


def test_an_id_that_is_too_long_for_the_log_hides_nothing(books: Books) -> None:
    books.request("REJECTED", "x" * 2040)
    books.request(None, "y" * 2040, stepFunctionExecutionArn=None)
    books.held("AWAITING_PROVIDER", execution="FAILED")
    findings, audit = books.audit()
    assert findings == [("MISMATCH", "The request is AWAITING_PROVIDER, but its execution is FAILED")]
    assert audit.missed == 1


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("AccessDeniedException", "The request is AWAITING_PROVIDER, but its execution is unknown"),
        ("InternalServerException", "The request could not be audited (ClientError)"),
    ],
)
def test_one_record_that_cannot_be_looked_at_does_not_hide_the_others(
    books: Books, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    books.held("AWAITING_PROVIDER", "r1")
    books.held("AWAITING_PROVIDER", "r2")
    describe = books.describe_execution

    def refuse_one(*, executionArn: str) -> dict[str, str]:  # noqa: N803
        if executionArn.endswith("r1"):
            raise ClientError({"Error": {"Code": code}}, "DescribeExecution")
        return describe(executionArn=executionArn)

    monkeypatch.setattr(books, "describe_execution", refuse_one)
    findings, audit = books.audit()
    assert findings == [("MISMATCH", problem)]
    assert audit.is_complete and audit.requests == 2


def test_being_throttled_is_no_news(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.held("AWAITING_PROVIDER")
    describe, throttled = books.describe_execution, [1, 2, 3]

    def throttle_first(*, executionArn: str) -> dict[str, str]:  # noqa: N803
        if throttled:
            throttled.pop()
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeExecution")
        return describe(executionArn=executionArn)

    monkeypatch.setattr(books, "describe_execution", throttle_first)
    assert books.audit()[0] == []
    assert not throttled


def shown_again(books: Books, what: str, days: float, last: float = 0.0) -> Any:
    """Audit a record that was touched first so many days ago, and was written last so many days ago."""
    missed(books, what, ago(days=last or days))
    books.put("ServiceRequest", **books.get() | {"touchedAt": ago(days=days)})
    return books.audit()


@pytest.mark.parametrize("what", MISSED)
def test_what_was_shown_again_in_vain_is_a_finding_an_hour_later(books: Books, what: str) -> None:
    findings, _ = shown_again(books, what, 59 / 60 / 24)
    assert findings == []
    findings, audit = shown_again(books, what, 1 / 24)
    [(kind, problem)] = findings
    assert kind == "MISSED" and problem.endswith("though the stream was shown it again")
    assert (audit.missed, audit.touched) == (1, 0), "not started every hour"


@pytest.mark.parametrize(
    ("first", "last", "touched"), [(0.5, 0.5, 0), (1.5, 0.9, 0), (1.5, 1.1, 1), (6.9, 1.1, 1), (7.1, 1.1, 0)]
)
def test_what_is_still_missed_is_touched_once_a_day_for_a_week(
    books: Books, first: float, last: float, touched: int
) -> None:
    findings, audit = shown_again(books, "confirmed", first, last)
    assert len(findings) == 1 and audit.touched == touched
    assert books.get()["touchedAt"] == ago(days=first), "people and touches cannot move it"


def test_an_operator_who_has_mended_the_reader_shows_everything_again(books: Books) -> None:
    missed(books, "confirmed", ago(days=1))
    books.put("ServiceRequest", **books.get() | {"touchedAt": ago(days=30)})
    findings, audit = books.audit(again=True)
    assert (findings, audit.touched) == ([], 1)
    assert books.get()["updatedAt"] > ago(days=0), "the stream shows it again"
    assert books.get()["touchedAt"] == ago(days=30), "and whoever touches each hour hides nothing"


def test_whoever_writes_the_same_answer_again_moves_no_clock(books: Books) -> None:
    books.held("IN_PROGRESS", execution="SUCCEEDED", startedAt=ago(days=14), updatedAt=ago(minutes=1))
    books.escrow("HELD", updatedAt=ago(days=60))
    assert books.audit()[0] == [("UNCONFIRMED", "Nobody has ended this service for 14 days")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"createdAt": None}, "Not started: createdAt is missing or not a time with its offset"),
        ({"createdAt": 5}, "Not started: createdAt is missing or not a time with its offset"),
    ],
)
def test_what_cannot_be_begun_with_is_a_finding_and_never_touched(
    books: Books, change: dict[str, Any], problem: str
) -> None:
    books.request(None, **{"stepFunctionExecutionArn": None, **change})
    findings, audit = books.audit()
    assert findings == [("MISSED", problem)] and audit.touched == 0


def test_a_record_that_is_too_full_to_be_touched_is_a_finding(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    missed(books, "confirmed", ago(hours=1))

    def refuse(plan: Any) -> Any:
        plan()
        raise dynamodb.Unwritable("Item size to update has exceeded the maximum allowed size")

    monkeypatch.setattr(dynamodb, "commit", refuse)
    [(kind, problem)] = books.audit()[0]
    assert kind == "MISSED" and "so full that it cannot be shown" in problem


def test_a_service_of_an_older_version_is_overdue_however_often_it_is_written(books: Books) -> None:
    books.held("IN_PROGRESS", execution="SUCCEEDED", updatedAt=ago(minutes=1))
    books.escrow("HELD", updatedAt=ago(days=74))
    assert books.audit()[0] == [("UNCONFIRMED", "Nobody has ended this service for 14 days")]


def test_nothing_that_happens_with_one_record_hides_another(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.held("AWAITING_PROVIDER", "r1", execution="FAILED")
    books.held("AWAITING_PROVIDER", "r2")
    books.remove("ServiceRequest", "r2")

    def fail(request_id: str) -> Any:
        raise {"r1": KeyError, "r2": ClientError({"Error": {"Code": "ThrottlingException"}}, "x")}[request_id]

    monkeypatch.setattr("handlers.bank.look.load", fail)
    assert [problem for _, problem in books.audit()[0]] == [
        "The request could not be audited (KeyError)",
        "The request could not be audited (ClientError)",
    ]


def test_what_was_found_before_a_table_could_not_be_read_is_told(
    books: Books, monkeypatch: pytest.MonkeyPatch, log: pytest.CaptureFixture[str]
) -> None:
    books.held("AWAITING_PROVIDER", execution="FAILED")
    listed = dynamodb.listed

    def refuse(model: str, *asked: Any) -> Any:
        if model == "Escrow":
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Query")
        return listed(model, *asked)

    monkeypatch.setattr(dynamodb, "listed", refuse)
    with pytest.raises(ClientError):
        audit_ledger.handler({}, context())
    out = log.readouterr().out
    assert '"AuditMismatches":[1.0]' in out and "AuditCompleted" not in out


def test_hours_under_an_id_that_is_too_long_for_the_log_are_found(books: Books) -> None:
    books.escrow("HELD", "y" * 1500)
    assert [kind for kind, _ in books.audit()[0]] == ["MISMATCH"]


@pytest.mark.parametrize("moment", ["yesterday", 5, None, "2099-01-01T00:00:00Z"])
def test_a_record_that_does_not_say_when_it_was_written_is_looked_after(books: Books, moment: Any) -> None:
    books.held("IN_PROGRESS", requesterResponse="COMPLETED", createdAt=moment, updatedAt=moment)
    assert books.audit()[1].touched == 1


def test_a_service_that_began_today_is_not_overdue(books: Books) -> None:
    books.held("IN_PROGRESS", updatedAt=ago(hours=1))
    books.escrow("HELD", updatedAt=ago(days=20))
    assert books.audit()[0] == []


@pytest.mark.parametrize("told", ["2026-13-45T99:99Z", "2026-11-01"])
def test_a_deployment_without_a_time_is_refused_in_words_though_nothing_is_there_yet(
    books: Books, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("START_REQUESTS_FROM", told)
    with pytest.raises(requests.IllegalSetting, match=f"^START_REQUESTS_FROM is '{told}', which is no time"):
        audit_ledger.handler({}, context())


def test_an_operator_looks_at_what_can_still_change_alone(books: Books) -> None:
    books.held("AWAITING_PROVIDER", "r1", execution="FAILED")
    books.refunded("DECLINED", "r2")
    books.log("ESCROW_RELEASE", request_id="r2", out=True)
    assert len(books.audit()[0]) == 2
    run = Audit(touch=False, now=NOW)
    assert [finding.key for finding in run.open_findings()] == ["r1"]
    assert (run.requests, run.held) == (1, 2)


def test_an_operator_who_may_not_list_executions_asks_for_each(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.held("AWAITING_PROVIDER", "r1")
    books.held("AWAITING_PROVIDER", "r2", execution="FAILED")

    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListExecutions")

    monkeypatch.setattr(books, "list_executions", refuse)
    findings, audit = books.audit(machine="arn")
    assert findings == [("MISMATCH", "The request is AWAITING_PROVIDER, but its execution is FAILED")]
    assert audit.requests == 2


def test_an_operators_touch_puts_what_is_open_into_the_index(books: Books) -> None:
    books.held("AWAITING_PROVIDER")
    books.audit(again=True, touch=False)
    assert "open" not in books.get()
    books.audit(again=True)
    assert books.get()["open"] == "OPEN"


# --- an answer that is given, taken back and given again --------------------------------------------------------------


def look_at(books: Books, **units: float) -> tuple[list[tuple[str, str]], Audit]:
    """What the auditor finds so much later; what it touches, it touches now."""
    now = datetime.now(UTC) + timedelta(**units)
    return books.audit(now=now)


def answer(books: Books, told: str | None, what: str = "requesterResponse", **units: float) -> None:
    """Somebody writes an answer so much later than now."""
    moment = dynamodb.date_time(datetime.now(UTC) + timedelta(**units))
    row = {name: value for name, value in books.get().items() if value is not None}
    books.put("ServiceRequest", **row | {what: told, "updatedAt": moment})


def test_an_answer_that_was_taken_back_and_given_again_has_its_hour_again(books: Books) -> None:
    books.held("IN_PROGRESS", requesterResponse="COMPLETED")
    assert look_at(books, hours=1)[0] == []
    first = books.get()["touchedAt"]
    answer(books, None)
    assert look_at(books, hours=1) and "touchedAt" not in books.get(), "nothing is missed any more"
    answer(books, "COMPLETED", days=3)
    findings, audit = look_at(books, days=3, minutes=20)
    assert findings == [] and audit.touched == 1 and books.get()["touchedAt"] > first, "the stream is shown the new one"
    [(kind, _)] = look_at(books, days=3, minutes=90)[0]
    assert kind == "MISSED"


def test_another_answer_has_its_hour_too_and_the_first_one_again_has_not(books: Books) -> None:
    books.held("IN_PROGRESS", providerResponse="WITHDRAWN")
    look_at(books, hours=1)
    answer(books, "COMPLETED", minutes=50)
    findings, audit = look_at(books, minutes=70)
    assert findings == [] and audit.touched == 1, "COMPLETED was shown for the first time"
    assert books.get()["touchedFor"] == "REFUND RELEASE"
    mark = books.get()["touchedAt"]
    for minutes in (130, 190):
        answer(books, None, minutes=minutes - 20)
        assert [kind for kind, _ in look_at(books, minutes=minutes)[0]] == ["MISSED"], "people move no clock"
        answer(books, "COMPLETED", minutes=minutes)
    assert books.get()["touchedAt"] == mark


def test_what_was_touched_in_another_status_is_not_what_is_missed_now(books: Books) -> None:
    """The auditor's mark can be written between a handler's read and its write."""
    marks = {"touchedAt": ago(days=9), "touchedFor": "ACCEPTED"}
    books.held("IN_PROGRESS", requesterResponse="COMPLETED", **marks)
    findings, audit = books.audit()
    assert findings == [] and audit.touched == 1 and books.get()["touchedFor"] == "ACCEPTED RELEASE"


def test_whatever_moves_the_status_takes_the_marks_away_though_it_has_not_read_them(books: Books) -> None:
    books.held("AWAITING_PROVIDER")
    request = requests.load("r1")
    books.put("ServiceRequest", **books.get() | {"touchedAt": ago(days=1), "touchedFor": "ACCEPTED"})
    assert request
    dynamodb.commit(lambda: dynamodb.Plan(None, (requests.move(request, "IN_PROGRESS"),)))
    assert books.get()["status"] == "IN_PROGRESS" and not {"touchedAt", "touchedFor"} & books.get().keys()


def test_a_mark_is_taken_away_only_while_nothing_is_missed(books: Books) -> None:
    books.held("IN_PROGRESS", touchedAt=ago(days=1), touchedFor="RELEASE")
    books.audit(touch=False)
    assert "touchedAt" in books.get(), "without touch nothing is written"
    before = books.get()
    books.audit()
    assert "touchedAt" not in books.get() and "touchedFor" not in books.get()
    assert books.get()["updatedAt"] == before["updatedAt"], "no news to people"
    books.held("IN_PROGRESS", touchedAt=ago(days=1), touchedFor="RELEASE", requesterResponse="COMPLETED")
    forget("r1", "IN_PROGRESS")
    assert "touchedAt" in books.get()


# --- the log ----------------------------------------------------------------------------------------------------------


def entry(books: Books, key: str, source: str, target: str, hours: Any = 2, **more: Any) -> None:
    books.put("TransactionLog", id=key, hours=hours, fromAccount=source, toAccount=target, **more)


def grant(books: Books, user: str, amount: Any, reason: Any = "welcome", **more: Any) -> str:
    key = f"{ledger.grant_id(user, reason)}#GRANT"
    item = {"id": key, "type": "GRANT", "hours": amount, "reason": reason}
    books.put("TransactionLog", **item | {"fromAccount": "bank", "toAccount": f"user:{user}"} | more)
    return key


def found_about(books: Books, **more: Any) -> list[tuple[str, str, str]]:
    audit = Audit(touch=True, now=NOW, **more)
    return [(finding.kind, finding.model, finding.key) for finding in audit.findings()]


@pytest.mark.parametrize("kinds", [["HOLD"], ["HOLD", "RELEASE"], ["HOLD", "REFUND"]])
def test_entries_beside_neither_a_request_nor_an_escrow_are_found(books: Books, kinds: list[str]) -> None:
    """Also those that cancel out: with two of them, hours go from one person to another past every balance check."""
    for kind in kinds:
        books.log(f"ESCROW_{kind}", out=kind != "HOLD")
    [finding] = Audit(touch=True, now=NOW).findings()
    names = ", ".join(f"ESCROW_{kind}" for kind in kinds)
    assert finding.problem == f"The log has {names} of a request of which there is neither a record nor an escrow"
    assert (finding.kind, finding.model, finding.key) == ("MISMATCH", "ServiceRequest", "r1")
    assert "find out who" in finding.remedy


def test_an_entry_of_a_kind_that_nothing_writes_is_found_also_beside_its_request(books: Books) -> None:
    books.refunded("DECLINED")
    entry(books, "r1#BONUS", "bank", "user:ana")
    entry(books, "whatever", "user:ana", "user:ben")
    entry(books, "#ESCROW_HOLD", "user:ana", "user:ben")
    entry(books, f"{'x' * 1500}#ESCROW_HOLD", "user:ana", "user:ben")
    found = found_about(books)
    assert all(about[:2] == ("MISMATCH", "TransactionLog") for about in found)
    assert sorted(key for *_, key in found) == ["#ESCROW_HOLD", "r1#BONUS", "whatever", f"{'x' * 1500}#ESCROW_HOLD"]


def test_entries_from_before_the_workflows_are_none_of_its_business(books: Books) -> None:
    books.put("TransactionLog", id="r1#ESCROW_HOLD", hours=2, createdAt="2025-01-01T00:00:00Z")
    books.put("TransactionLog", id="an app's own", amount=2, createdAt="2025-01-01T00:00:00Z")
    assert found_about(books) == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({}, ""),
        ({"hours": Decimal("1e6"), "reason": "opening balance"}, "The grant is not of the user and the reason"),
        ({"fromAccount": "user:ben"}, "The grant is not between the bank and a user"),
        ({"toAccount": "user:ben"}, "The grant is not of the user and the reason that its key stands for"),
        ({"toAccount": ["user:ana"]}, "The grant is not between the bank and a user"),
        ({"reason": None}, "The grant is not of the user and the reason that its key stands for"),
        ({"hours": Decimal(1_000_001)}, "The grant is not from the bank, or its hours are not a number"),
        ({"hours": "ten"}, "The grant is not from the bank, or its hours are not a number"),
        ({"fromAccount": "user:ana", "toAccount": "bank"}, "The grant is not from the bank"),
    ],
)
def test_grants_are_the_banks(books: Books, more: dict[str, Any], problem: str) -> None:
    key = grant(books, "ana", 10)
    books.put("TransactionLog", **{"id": key, "type": "GRANT", "hours": 10, "reason": "welcome"}
              | {"fromAccount": "bank", "toAccount": "user:ana"} | more)  # fmt: skip
    said = [finding for finding in Audit(touch=True, now=NOW).findings() if finding.kind == "MISMATCH"]
    assert [finding.key for finding in said] == ([key] if problem else [])
    assert all(finding.problem.startswith(problem) for finding in said)


def test_an_opening_balance_may_be_any_number_either_way(books: Books) -> None:
    grant(books, "ana", Decimal("1e9"), "opening balance")
    grant(books, "ben", Decimal("0.001"), "opening balance 2", fromAccount="user:ben", toAccount="bank")
    books.balance("ana", Decimal("1e9"))
    books.balance("ben", Decimal("-0.001"))
    assert found_about(books) == [("MISMATCH", "UserBalance", "ben")], "below 0, which no move makes"


def test_an_adjustment_that_makes_no_sense_is_seen_from_the_logs_side(books: Books) -> None:
    books.request("COMPLETED", execution="SUCCEEDED")
    books.escrow("RELEASED")
    books.log("ESCROW_HOLD")
    books.log("ESCROW_RELEASE", out=True)
    books.log("ESCROW_ADJUST", 1, out=True)
    assert books.audit()[0] == [("MISMATCH", "0 hours are held, but the log says -1")]


# --- balances ---------------------------------------------------------------------------------------------------------


def test_a_balance_that_the_log_explains_is_passed_in_silence(books: Books) -> None:
    grant(books, "ana", 10)
    books.refunded("DECLINED")
    books.request("COMPLETED", "r2", "SUCCEEDED")
    books.escrow("RELEASED", "r2")
    books.log("ESCROW_HOLD", request_id="r2")
    books.log("ESCROW_RELEASE", request_id="r2", out=True)
    books.held("AWAITING_PROVIDER", "r3")
    books.balance("ana", 6)
    books.balance("ben", 2)
    books.balance("without hours", None)
    findings, audit = books.audit()
    assert findings == [] and audit.is_compared is True and audit.unexplained == 0


@pytest.mark.parametrize(
    ("has", "problem", "stake"),
    [
        (13, "The balance has 3 h that no entry explains", 3),
        (Decimal("9.5"), "The balance has 0.5 h less than its entries say", Decimal("0.5")),
        (None, "The balance has 10 h less than its entries say", 10),
    ],
)
def test_a_balance_that_the_log_does_not_explain_is_found(books: Books, has: Any, problem: str, stake: Any) -> None:
    grant(books, "ana", 10)
    if has:
        books.balance("ana", has)
    [finding] = Audit(touch=True, now=NOW).findings()
    assert (finding.kind, finding.model, finding.key) == ("UNEXPLAINED", "UserBalance", "ana")
    assert (finding.problem, finding.hours) == (problem, stake)
    assert "hourbank grant --opening" in finding.remedy


def test_an_app_that_writes_balances_itself_is_told_so_and_nothing_else(books: Books) -> None:
    books.balance("ana", 10)
    books.balance("ben", -1)
    findings, audit = books.audit()
    assert audit.unexplained == 2
    assert findings == [("MISMATCH", "The balance is -1: no move takes more than there is")]


@pytest.mark.parametrize("has", ["ten", True, [10], {"hours": 10}])
def test_a_balance_that_is_no_number_is_found(books: Books, has: Any) -> None:
    grant(books, "ana", 10)
    books.balance("ana", has)
    assert books.audit()[0] == [("MISMATCH", "The balance is no number that hours can be given to")]


@pytest.mark.parametrize("moves", ["meanwhile", "just now"])
def test_a_balance_that_moves_while_the_entries_are_read_is_left_to_the_next_time(
    books: Books, monkeypatch: pytest.MonkeyPatch, moves: str
) -> None:
    """A scan can see the balance of a transaction before its entry, or the entry of a later one."""
    grant(books, "ana", 10)
    books.balance("ana", 13, **({"updatedAt": ago(seconds=20)} if moves == "just now" else {}))
    read = dynamodb.read

    def settle_first(model: str, key: str) -> Any:
        if model == "UserBalance" and moves == "meanwhile":
            books.balance("ana", 10, updatedAt=ago(seconds=1))
        return read(model, key)

    monkeypatch.setattr(dynamodb, "read", settle_first)
    findings, audit = books.audit()
    assert findings == [] and audit.is_compared is True


def test_what_an_entry_does_not_say_is_found_there_and_not_in_the_balance(books: Books) -> None:
    grant(books, "ana", "ten")
    books.balance("ana", 10)
    assert [about[1] for about in found_about(books)] == ["TransactionLog"]


def standing_hour(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the auditor's clock stand still, and return its hour."""
    now = datetime.now(UTC)

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return now.astimezone(tz)

    monkeypatch.setattr(look, "datetime", Standing)
    return int(now.timestamp() // 3600)


def test_balances_are_a_gauge_of_the_runs_that_compare_them(
    books: Books, log: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(books, "ana", 10)
    books.balance("ana", 13)
    hour = standing_hour(monkeypatch)
    monkeypatch.setattr(audit, "SHARE_OF_BOOKS", (hour + 1) % audit.SHARES)
    assert "UnexplainedBalances" not in audit_ledger.handler({}, context())
    books.parameter = "begin"
    monkeypatch.setattr(audit, "SHARE_OF_BOOKS", hour % audit.SHARES)
    assert audit_ledger.handler({}, context())["UnexplainedBalances"] == 1
    books.balance("ana", 10)
    books.parameter = "begin"
    log.readouterr()
    assert audit_ledger.handler({}, context())["UnexplainedBalances"] == 0
    assert '"UnexplainedBalances":[0.0]' in log.readouterr().out
    books.remove("TransactionLog", f"{ledger.grant_id('ana', 'welcome')}#GRANT")
    books.parameter = "begin"
    audit_ledger.handler({}, context())
    assert "1 balances have hours that no entry explains, and the bank has granted none" in log.readouterr().out


def test_more_users_than_the_memory_has_room_for_are_left_to_an_operator(
    books: Books, log: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = standing_hour(monkeypatch)
    monkeypatch.setattr(audit, "SHARE_OF_BOOKS", hour % audit.SHARES)
    monkeypatch.setattr(audit, "MOST_USERS", 2)
    for number in range(3):
        books.balance(f"u{number}", 1)
    assert "UnexplainedBalances" not in audit_ledger.handler({}, context())
    assert "`hourbank audit` does" in log.readouterr().out
    assert books.audit()[1].is_compared is True, "whose machine has more"
