"""The auditor on an engine: silent about what fits, loud about what does not, and never moving an hour."""

import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from handlers import audit_ledger
from handlers.aws import dynamodb
from handlers.bank import requests
from handlers.bank.audit import Audit, load, touch
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
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-11-01T00:00:00Z")
    monkeypatch.setenv("CONFIRMATION_DAYS", "14")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "HourBank")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "hourbank-test")
    monkeypatch.setenv("SERVICE_REQUEST_WORKFLOW_ARN", "arn")
    monkeypatch.setenv("AUDIT_CURSOR_NAME", "cursor")
    with answering(Tables(dict.fromkeys(("ServiceRequest", "Escrow", "TransactionLog"), "id"))):
        books = Books(boto3.client("dynamodb"))
        for module in ("audit", "cursor", "execution"):
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
    assert (finding.kind, finding.request_id, finding.hours) == ("MISMATCH", "r1", Decimal(2))


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

    monkeypatch.setattr("handlers.bank.audit.load", settle_first)
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
    pages, alive, sizes = dynamodb.pages, weakref.WeakSet(), []

    def watched(model: str) -> Iterator[Page]:
        for page in map(Page, pages(model)):
            alive.add(page)
            sizes.append((model, len(page), len(alive)))
            yield page

    monkeypatch.setattr(dynamodb, "pages", watched)
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

    monkeypatch.setattr("handlers.bank.audit.load", fail)
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
    assert [finding.request_id for finding in run.open_findings()] == ["r1"]
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
