"""The scheduled auditor, hour by hour: what can still change in each run, and everything else within a week."""

import itertools
import json
import random
import weakref
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from components.models import MODELS
from handlers.aws import dynamodb
from handlers.bank import audit, case, cursor, execution, ledger, requests
from handlers.bank.audit import Audit
from handlers.bank.cursor import LARGEST_BYTES, SHARES, Cursor, Subject, parsed
from handlers.bank.look import Finding
from hourbank.simulate.tables import Tables, answering

ARN = "arn:aws:states:us-east-1:123456789012:execution:ServiceRequestWorkflow-test:service-request-"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:ServiceRequestWorkflow-test"
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
KEYS = {model.name: model.hash_key for model in MODELS.values()}
INDEXES = {model.name: {model.index.name: model.index.attribute} for model in MODELS.values() if model.index}


def asked_for(request_id: str) -> Subject:
    return Subject("ServiceRequest", request_id)


class Watched(dict[str, Any]):
    """An item that can be counted while anybody still has it."""

    __hash__ = object.__hash__


class Counting(Tables):
    """Tables that count what is read of them."""

    def __init__(self, indexes: Any) -> None:
        super().__init__(KEYS, indexes=indexes)
        self.items: Counter[str] = Counter()

    def answer(self, operation: str, parameters: Any) -> dict[str, Any]:
        answer = super().answer(operation, parameters)
        asked = [one for table in parameters.get("RequestItems", {}).values() for one in table["Keys"]]
        self.items[operation] += answer.get("ScannedCount", len(asked) or 1)
        return answer


class Hours:
    """The auditor's hours, over tables in which a test writes what it likes."""

    def __init__(self, tables: Counting) -> None:
        self.tables, self._client = tables, boto3.client("dynamodb")
        self.asked: Counter[str] = Counter()
        self.running: set[str] = set()
        self.forgotten: set[str] = set()
        self.now, self.cursor = BEGIN, Cursor(int(BEGIN.timestamp()) // 3600)
        self.exceptions = SimpleNamespace()

    def list_executions(self, *, nextToken: str = "0", **asked: Any) -> dict[str, Any]:  # noqa: N803
        assert asked == {"stateMachineArn": MACHINE, "statusFilter": "RUNNING", "maxResults": 1000}
        self.asked["ListExecutions"] += 1
        begin, known = int(nextToken), sorted(self.running - self.forgotten)
        page = {"executions": [{"executionArn": arn} for arn in known[begin : begin + 1000]]}
        return page | ({"nextToken": str(begin + 1000)} if begin + 1000 < len(known) else {})

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803
        self.asked["DescribeExecution"] += 1
        return {"status": "RUNNING" if executionArn in self.running else "FAILED"}

    def put(self, model: str, **item: Any) -> None:
        self._client.put_item(TableName=model, Item={name: dynamodb.typed(value) for name, value in item.items()})

    def get(self, request_id: str) -> dict[str, Any]:
        found = self._client.get_item(TableName="ServiceRequest", Key={"id": {"S": request_id}})
        return dynamodb.from_image(found["Item"])

    def request(self, id_: str, status: str | None, *, is_listed: bool = True, **more: Any) -> None:
        is_open = is_listed and status not in requests.FINAL
        moment = dynamodb.date_time(BEGIN - timedelta(hours=3))
        item = {
            "id": id_, "status": status, "requesterId": "ana", "providerId": "ben", "createdAt": moment,
            "updatedAt": moment, "stepFunctionExecutionArn": ARN + id_,
        } | ({"open": "OPEN"} if is_open else {}) | more  # fmt: skip
        self.put("ServiceRequest", **{name: value for name, value in item.items() if value is not None})

    def escrow(self, id_: str, status: str) -> None:
        self.put(
            "Escrow", id=id_, requesterId="ana", providerId="ben", status=status, hours=2, executionArn=ARN + id_,
            updatedAt=dynamodb.date_time(BEGIN - timedelta(hours=2)),
        )  # fmt: skip

    def log(self, id_: str, kind: str, source: str, target: str) -> None:
        self.put("TransactionLog", id=f"{id_}#{kind}", hours=2, fromAccount=source, toAccount=target)

    def ended(self, *ids: str) -> None:
        for id_ in ids:
            self.request(id_, "COMPLETED")
            self.escrow(id_, "RELEASED")
            self.log(id_, "ESCROW_HOLD", "user:ana", f"escrow:{id_}")
            self.log(id_, "ESCROW_RELEASE", f"escrow:{id_}", "user:ben")

    def waiting(self, *ids: str, **more: Any) -> None:
        for id_ in ids:
            self.request(id_, "AWAITING_PROVIDER", **more)
            self.escrow(id_, "HELD")
            self.log(id_, "ESCROW_HOLD", "user:ana", f"escrow:{id_}")
            self.running.add(ARN + id_)

    def run(self, pages: float = float("inf"), *, keeps_all: bool = True) -> list[Finding]:
        """A run, which is out of time after so many questions for it; the next is an hour later.

        ``keeps_all``: what it has found has room in its place.
        """
        left = iter(range(int(pages))) if pages != float("inf") else iter(int, 1)
        self.last = Audit(touch=True, machine=MACHINE, now=self.now, is_time_up=lambda: next(left, None) is None)
        self.tables.items.clear()
        self.asked.clear()
        findings = list(self.last.scheduled(self.cursor))
        self.cursor = parsed(self.last.cursor.text(), self.last.hour)
        assert self.cursor == self.last.cursor._replace(again=self.cursor.again)
        assert set(self.cursor.again) <= set(self.last.cursor.again)
        self.now += timedelta(hours=1)
        return findings

    def ids(self, **more: Any) -> list[str]:
        return [finding.key for finding in self.run(**more)]


@pytest.fixture(params=[INDEXES])
def hours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hours]:
    for model in MODELS.values():
        monkeypatch.setenv(model.variable, model.name)
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-11-01T00:00:00Z")
    monkeypatch.setenv("CONFIRMATION_DAYS", "14")
    with answering(Counting(request.param)) as tables:
        hours = Hours(tables)
        for module in (case, execution):
            monkeypatch.setattr(module, "client", lambda _: hours)
        yield hours


without_indexes = pytest.mark.parametrize("hours", [{}], indirect=True)
both_ways = pytest.mark.parametrize("hours", [INDEXES, {}], indirect=True, ids=["index", "no index"])
PAST = [f"p{number}" for number in range(300)]


def test_a_fault_of_the_past_is_found_within_a_week_and_told_until_it_is_mended(hours: Hours) -> None:
    hours.ended(*PAST)
    hours.log("p7", "ESCROW_REFUND", "escrow:p7", "user:ana")
    hours.request("p70", "DECLINED")
    hours.put("ServiceRequest", id="p170", status="COMPLETED", **{requests.OWNER: "another"})
    found = [set(hours.ids()) for _ in range(SHARES)]
    assert found[-1] == {"p7", "p70", "p170"}
    # each from the hour of its share on
    assert all(earlier <= later for earlier, later in itertools.pairwise(found))
    assert hours.last.cursor.behind(hours.last.hour) == 0
    hours.ended("p70")
    assert set(hours.ids()) == {"p7", "p170"}
    hours.ended("p170")
    hours._client.delete_item(TableName="TransactionLog", Key={"id": {"S": "p7#ESCROW_REFUND"}})
    assert hours.ids() == [] and hours.cursor.again == ()


@pytest.mark.thorough
def test_everything_is_looked_at_once_in_a_week(hours: Hours) -> None:
    hours.ended(*PAST)
    read = []
    for _ in range(SHARES):
        hours.run()
        read.append(hours.last.requests)
    assert sum(read) == len(PAST)
    assert max(read) < 15, "in equal shares"


@both_ways
def test_a_fault_in_what_can_still_change_is_found_in_the_next_hour(hours: Hours) -> None:
    hours.ended(*PAST)
    hours.waiting("r1", "r2", "r3", "r4")
    assert hours.ids() == []
    hours.log("r1", "ESCROW_REFUND", "escrow:r1", "user:ana")
    hours.running.remove(ARN + "r2")
    hours._client.delete_item(TableName="ServiceRequest", Key={"id": {"S": "r3"}})
    hours.request("r4", "REJECTED", stepFunctionExecutionArn=ARN + "r4-2")
    assert sorted(hours.ids()) == ["r1", "r2", "r3", "r4"]
    assert sorted(hours.ids()) == ["r1", "r2", "r3", "r4"]


def test_what_the_past_has_grown_to_is_not_read_each_hour(hours: Hours) -> None:
    hours.waiting(*(f"r{number}" for number in range(50)))
    hours.cursor = hours.cursor._replace(hour=hours.cursor.hour + 1)  # this hour's share is done
    hours.run()
    before = dict(hours.tables.items)
    hours.ended(*PAST)
    hours.cursor = hours.cursor._replace(hour=hours.cursor.hour + 1)
    hours.run()
    assert dict(hours.tables.items) == before
    assert hours.last.requests == 50 and hours.last.held == 100 and hours.last.has_sum


@without_indexes
def test_a_table_without_the_index_is_read_whole_and_says_so(hours: Hours) -> None:
    hours.ended(*PAST)
    hours.waiting("r1")
    hours.request("new", None, stepFunctionExecutionArn=None)
    hours.run()
    assert hours.last.unindexed == ["ServiceRequest", "Escrow"]
    assert hours.last.touched == 1 and hours.last.held == 2
    assert "touchedAt" in hours.get("new")


def test_what_was_missed_is_touched_in_the_next_hour(hours: Hours) -> None:
    hours.request("new", None, stepFunctionExecutionArn=None)
    hours.request("old", None, stepFunctionExecutionArn=None, createdAt="2026-10-01T00:00:00Z")
    assert hours.ids() == [] and hours.last.touched == 1
    assert "open" in hours.get("new") and "open" not in hours.get("old"), "nothing comes of the older one"
    hours.now += timedelta(hours=1)
    hours.put("ServiceRequest", **hours.get("new") | {"touchedAt": dynamodb.date_time(BEGIN)})
    assert hours.ids() == ["new"]


def test_what_is_in_no_index_comes_into_it_within_a_week_and_a_final_one_never(hours: Hours) -> None:
    hours.waiting("r1", is_listed=False)
    hours.waiting("r2", open="something else")
    hours.request("old", None, is_listed=False, stepFunctionExecutionArn=None, createdAt="2026-10-01T00:00:00Z")
    hours.ended("p1")
    hours.request("p2", "REJECTED", open="OPEN")
    changed = hours.get("r1")["updatedAt"]
    for _ in range(SHARES):
        assert hours.ids() == []
    assert [hours.get(id_).get("open") for id_ in ("r1", "r2", "old", "p1", "p2")] == ["OPEN", "OPEN", None, None, None]
    assert hours.get("r1")["updatedAt"] == changed, "no news to people"
    assert hours.last.requests == 2


@pytest.mark.parametrize("request_id", ["r{}", "{}"], ids=["request", "escrow of a request that is in no index"])
def test_what_is_read_at_once_does_not_grow_with_the_text_of_clients(
    hours: Hours, monkeypatch: pytest.MonkeyPatch, request_id: str
) -> None:
    """A hundred records near 400 KB are 40 MB, four times that with one emoji in each, and the function has 512 MB."""
    ids = [request_id.format(number) for number in range(100)]
    hours.waiting(*ids, is_listed=request_id != "{}", serviceId="x" * 380_000)
    alive, most = weakref.WeakSet[Watched](), 0

    def from_image(image: dict[str, Any]) -> Any:
        nonlocal most
        item = Watched(plain(image))
        if len(item.get("serviceId", "")) == 380_000:
            alive.add(item)
            most = max(most, len(alive))
        return item

    plain = dynamodb.from_image
    monkeypatch.setattr(dynamodb, "from_image", from_image)
    monkeypatch.setattr(audit, "SHARES", 10_000)  # a share of the week has none of them
    assert hours.ids() == [] and hours.last.held == 200
    # what DynamoDB gives in a call is 16 MB at most; the one before it is the only other
    assert 40 < most <= 2 * 45


def test_executions_are_asked_for_once(hours: Hours) -> None:
    hours.waiting(*(f"r{number}" for number in range(1500)))
    hours.run()
    assert hours.asked == {"ListExecutions": 2}
    hours.forgotten.add(ARN + "r7")  # begun since the list was asked for
    assert hours.ids() == []
    assert hours.asked == {"ListExecutions": 2, "DescribeExecution": 1}


def test_nothing_waits_and_nothing_is_asked(hours: Hours) -> None:
    hours.ended("p1")
    hours.run()
    assert hours.asked == {}


def test_a_run_that_is_out_of_time_goes_on_where_it_was(hours: Hours) -> None:
    hours.waiting(*(f"r{number}" for number in range(250)))
    hours.run(pages=0)
    seen, is_complete = hours.last.requests, hours.last.is_complete
    assert (seen, is_complete, hours.cursor.part, hours.cursor.model) == (100, False, "OPEN", "ServiceRequest")
    hours.run(pages=1)
    assert (hours.last.requests, hours.last.is_complete) == (150, False)
    assert hours.cursor.part == "OPEN"
    hours.run()
    assert hours.last.is_complete and not hours.last.has_sum, "the sum of some is none"
    assert hours.cursor.part == "SHARE"
    hours.run()
    assert hours.last.requests == 250 and hours.last.has_sum


def test_hours_that_only_a_share_shows_are_in_no_sum(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    hours.waiting("r1")
    monkeypatch.setattr(dynamodb, "listed", lambda *_: iter(()))
    monkeypatch.setattr(audit, "SHARES", 1)
    hours.run()
    assert (hours.last.requests, hours.last.held) == (1, 0), "held since, or counted already"


@pytest.mark.thorough
def test_shares_that_were_missed_are_caught_up_with(hours: Hours) -> None:
    hours.ended(*PAST)
    hours.run(pages=0)
    assert hours.last.cursor.behind(hours.last.hour) == 1, "no time was left for this hour's share"
    hours.now += timedelta(hours=9)
    hours.run(pages=0)
    assert hours.last.cursor.behind(hours.last.hour) == 11
    hours.run()
    assert hours.last.cursor.behind(hours.last.hour) == 0
    hours.now += timedelta(days=100)
    hours.run()
    assert hours.last.requests <= 2 * len(PAST), "a hundred days are not gone through"
    assert hours.last.cursor.behind(hours.last.hour) == 0


def test_a_share_goes_on_after_the_page_that_was_looked_at(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "_SHARE_PAGE", 2)
    monkeypatch.setattr(audit, "SHARES", 10)
    hours.ended(*PAST)
    seen, behind = [], []
    for _ in range(4):
        hours.run(pages=4)
        seen.append(hours.last.requests)
        behind.append(hours.last.cursor.behind(hours.last.hour))
    assert behind == [1, 2, 3, 4] and all(seen)
    hours.run()
    in_shares = 0
    for hour in range(int(BEGIN.timestamp()) // 3600, hours.cursor.hour):
        share = {"TotalSegments": 10, "Segment": hour % 10}
        in_shares += hours.tables.answer("Scan", {"TableName": "ServiceRequest", **share})["Count"]
    assert sum((*seen, hours.last.requests)) == in_shares


def test_a_place_that_dynamodb_refuses_is_begun_anew(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as after an upgrade that has other shares: refused once, it would be in each run from then on."""
    monkeypatch.setattr(dynamodb, "_SHARE_PAGE", 2)
    monkeypatch.setattr(audit, "SHARES", 2)
    hours.ended(*PAST)
    hours.run(pages=1)
    place = hours.cursor
    assert place.after is not None
    monkeypatch.setattr(audit, "SHARES", 3)
    for later in range(3):
        hours.now = BEGIN + timedelta(hours=later)
        hours.cursor = place._replace(hour=place.hour + later)
        hours.run()
        assert hours.last.cursor.behind(hours.last.hour) == 0


def test_what_nobody_can_begin_with_is_not_read_each_hour_for_ever(hours: Hours) -> None:
    """Each costs a client a call, and the bank 400 KB an hour; as many as there is room for are told until they fit."""
    for number in range(150):
        request_id, text = f"{number:036}", "x" * (399 * 1024)
        hours.request(request_id, None, stepFunctionExecutionArn=None, serviceId=text)
    hours.cursor = hours.cursor._replace(hour=hours.cursor.hour + 1)  # this hour's share is done
    assert len(hours.ids(keeps_all=False)) == 150
    assert "open" not in hours.get(f"{0:036}")
    told = hours.ids(keeps_all=False)
    assert 80 < len(told) < 110
    assert hours.last.requests < 10, "those of the share alone"


def test_what_is_shown_again_anyway_does_not_crowd_out_a_fault_of_the_past(
    hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients can make any number of findings, such as services that nobody ends; the alarm must last all the same."""
    monkeypatch.setattr(audit, "SHARES", 5)
    past = 36 * "p"
    hours.ended(past)
    hours.log(past, "ESCROW_REFUND", f"escrow:{past}", "user:ana")
    unended = [f"{number:036}" for number in range(200)]
    hours.waiting(*unended)
    for id_ in unended:
        hours.request(id_, "IN_PROGRESS", startedAt="2026-10-01T00:00:00Z")
    told = [set(hours.ids(keeps_all=False)) for _ in range(8)]
    assert all(len(found - {past}) == 200 for found in told)
    first = next(hour for hour, found in enumerate(told) if past in found)
    assert all(past in found for found in told[first:])


@pytest.mark.parametrize(
    "text",
    [
        None, 5, "", "{}", "[]", "null", "begin", '{"hour": 5}', '{"hour": "5", "again": []}',
        '{"hour": -1, "again": []}',
        '{"hour": 1e99, "again": []}', '{"hour": 5, "again": [5]}', '{"hour": 5, "again": "abc", "part": "NONE"}',
        '{"hour": 5, "again": [], "model": "UserBalance", "part": "OPEN"}', '{"hour": 5, "again": [["Users", "a"]]}',
        '{"hour": 5, "again": [["Escrow"]]}', '{"hour": 5, "again": [], "after": 7}',
        '{"hour": 5, "again": [], "part": [], "more": 1}', '{"hour": 500000, "again": []}',
        '{"hour": 5, "again": [], "after": "\\ud800"}', '{"hour": 5, "again": [""]}',
        pytest.param("[" * 4096, id="deep"),
        pytest.param(json.dumps({"hour": 5, "again": [], "after": 2049 * "x"}), id="a key that DynamoDB refuses"),
    ],
)  # fmt: skip
def test_a_cursor_that_is_none_begins_anew(text: Any) -> None:
    assert parsed(text, 100) == Cursor(100)


def test_a_cursor_comes_back_as_it_went(hours: Hours) -> None:
    ids = ('"', "{{ssm:secret}}", "\\", "é\u0000", "x" * 300)
    subjects = (*map(asked_for, ids), Subject("UserBalance", "{{x}}"), Subject("TransactionLog", "a#b"))
    place = Cursor(99, "OPEN", "Escrow", "{{a}}", subjects)
    assert parsed(place.text(), 100) == place
    assert "{{" not in place.text() and "}}" not in place.text()


def test_a_cursor_that_is_too_long_keeps_what_fits() -> None:
    many = tuple(asked_for(f"{number:036}") for number in range(1000))
    kept = parsed(Cursor(99, after="a", again=many).text(), 100)
    assert kept.after == "a" and 80 < len(kept.again) < 110 and kept.again == many[: len(kept.again)]
    kept = parsed(Cursor(99, after="\u0000" * 2000, again=many).text(), 100)
    assert kept.after is None and kept.again == many[: len(kept.again)]
    assert parsed(Cursor(99, again=tuple(map(asked_for, ("x" * 5000, "{" * 700, "a", "b")))).text(), 100).again == (
        asked_for("a"),
        asked_for("b"),
    )
    for _ in range(50):
        text = Cursor(99, after="{" * random.randrange(2000), again=(asked_for("é" * random.randrange(2000)),)).text()
        assert len(text.encode()) <= LARGEST_BYTES and json.loads(text)


@pytest.mark.thorough
def test_as_many_findings_as_an_outage_leaves_are_noted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function has 30 s left when it saves its place: it does not write all of it once for each finding."""
    place, written = Cursor(99), 0

    def dumps(value: Any) -> str:
        nonlocal written
        text = json.JSONEncoder().encode(value)
        written += len(text)
        return text

    for number in range(10_000):
        place = place.noting(asked_for(f"{number:036}"), first=number == 9_999)
    assert len(place.again) == cursor.MOST_AGAIN and place.again[0] == asked_for(f"{9_999:036}")
    monkeypatch.setattr(cursor, "json", SimpleNamespace(dumps=dumps))
    assert len(place.text()) <= LARGEST_BYTES
    assert written < 20 * LARGEST_BYTES


@pytest.mark.parametrize("code", ["ParameterNotFound", "AccessDeniedException", "ThrottlingException"])
def test_a_place_that_cannot_be_read_or_kept_is_no_error(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise cursor.ClientError({"Error": {"Code": code}}, "GetParameter")

    monkeypatch.setenv("AUDIT_CURSOR_NAME", "cursor")
    monkeypatch.setattr(cursor, "client", lambda _: SimpleNamespace(get_parameter=refuse, put_parameter=refuse))
    assert cursor.load(100) == Cursor(100)
    cursor.save(Cursor(100))


# --- the log and balances ---------------------------------------------------------------------------------------------


def test_what_nobody_has_a_request_for_is_found_within_a_week_and_told_until_it_is_gone(hours: Hours) -> None:
    hours.ended(*PAST)
    hours.log("gone", "ESCROW_HOLD", "user:ana", "escrow:gone")
    hours.log("gone", "ESCROW_RELEASE", "escrow:gone", "user:ben")
    hours.log("p5", "BONUS", "bank", "user:ana")
    hours.put("UserBalance", userId="eve", availableBalance="ten")
    found = [set(hours.ids()) for _ in range(SHARES)]
    assert found[-1] == {"gone", "p5#BONUS", "eve"}
    assert all(earlier <= later for earlier, later in itertools.pairwise(found))
    assert set(hours.cursor.again) == {
        Subject("ServiceRequest", "gone"), Subject("TransactionLog", "p5#BONUS"), Subject("UserBalance", "eve")
    }  # fmt: skip
    for key in ("gone#ESCROW_HOLD", "gone#ESCROW_RELEASE", "p5#BONUS"):
        hours._client.delete_item(TableName="TransactionLog", Key={"id": {"S": key}})
    hours.put("UserBalance", userId="eve", availableBalance=10)
    assert hours.ids() == [] and hours.cursor.again == ()


@pytest.mark.thorough
def test_every_entry_and_every_balance_is_read_once_in_a_week(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SHARE_OF_BOOKS", -1)
    hours.ended(*PAST)
    for number in range(100):
        hours.put("UserBalance", userId=f"u{number}", availableBalance=1)
    entries = []
    for _ in range(SHARES):
        hours.run()
        entries.append(hours.last.entries)
    assert sum(entries) == 2 * len(PAST) and max(entries) < 25, "in equal shares"


def test_balances_are_compared_once_a_week(hours: Hours) -> None:
    hours.put("UserBalance", userId="ana", availableBalance=3, updatedAt=dynamodb.date_time(BEGIN))
    compared, found = [], []
    for number in range(SHARES):
        if number == 1:
            key = f"{ledger.grant_id('ana', 'welcome')}#GRANT"
            hours.put("TransactionLog", id=key, type="GRANT", hours=2, fromAccount="bank", toAccount="user:ana",
                      reason="welcome")  # fmt: skip
        found += hours.run()
        compared.append(hours.last.is_compared)
    assert compared.count(True) == 1 and compared.count(None) == SHARES - 1
    at = compared.index(True)
    assert (int(BEGIN.timestamp()) // 3600 + at) % SHARES == audit.SHARE_OF_BOOKS
    assert [(one.kind, one.key) for one in found] == [("UNEXPLAINED", "ana")]
    assert hours.cursor.again == (), "one balance cannot be compared alone"


def test_a_comparison_that_is_out_of_time_is_left_to_an_operator(hours: Hours) -> None:
    hours.now += timedelta(hours=-(int(BEGIN.timestamp()) // 3600) % SHARES)
    hours.cursor = Cursor(int(hours.now.timestamp()) // 3600)
    hours.put("UserBalance", userId="ana", availableBalance=3)
    hours.run(pages=1)
    assert hours.last.is_compared is False and hours.last.cursor.behind(hours.last.hour) == 0
    hours.run()
    assert hours.last.is_compared is None, "not each hour again"


def test_somebody_who_writes_an_answer_every_ten_minutes_hides_nothing_for_ever(hours: Hours) -> None:
    """Each write is in the stream, which nobody reads; the record is never left alone."""
    hours.waiting("r1", askedAt=dynamodb.date_time(BEGIN - timedelta(hours=2)), taskToken="t")
    found = []
    for _ in range(30):
        row = {name: value for name, value in hours.get("r1").items() if value is not None}
        written = dynamodb.date_time(hours.now - timedelta(minutes=3))
        hours.put("ServiceRequest", **row | {"providerResponse": "ACCEPTED", "updatedAt": written})
        if "touchedAt" in row:  # by the clock of the auditor, not of this machine
            first = dynamodb.date_time(BEGIN)
            hours.put("ServiceRequest", **hours.get("r1") | {"touchedAt": first})
        found.append([finding.kind for finding in hours.run()])
        assert hours.get("r1")["updatedAt"] == written, "no news to people"
    assert found[:24] == [[]] * 24 and found[24:] == [["MISSED"]] * 6


def test_an_answer_that_was_just_given_after_a_question_that_was_just_asked_is_left_alone(hours: Hours) -> None:
    now = dynamodb.date_time(BEGIN - timedelta(minutes=1))
    hours.waiting("r1", askedAt=now, updatedAt=now, taskToken="t", providerResponse="ACCEPTED")
    hours.request("new", None, stepFunctionExecutionArn=None, createdAt=now, updatedAt=now)
    before = hours.get("r1"), hours.get("new")
    assert hours.run() == []
    assert (hours.get("r1"), hours.get("new")) == before


@without_indexes
def test_a_table_that_is_read_whole_is_left_in_time_also_where_nothing_in_it_can_still_change(
    hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours.ended(*PAST)
    hours.waiting("r1")
    pages = dynamodb._pages

    def few(operation: str, model: str, asked: Any, *start: Any) -> Any:
        return pages(operation, model, asked | {"Limit": 10}, *start)

    monkeypatch.setattr(dynamodb, "_pages", few)
    seen, runs = 0, 0
    while not runs or not hours.last.is_complete:
        hours.run(pages=2)
        seen, runs = seen + hours.last.requests, runs + 1
        assert runs < 60
    assert seen == 1 and runs > 10, "each asks for the time after a page, of which there are sixty"
