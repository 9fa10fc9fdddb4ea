"""Records of any size and any type: none raises in front of others, and hours that are held can always be given back.

Each test runs on the simulator's tables and, in `make test-all`, on DynamoDB Local, with the same outcome.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from handlers import (
    adjust_escrow,
    create_escrow,
    notify_provider,
    process_escrow_release,
    process_negotiation,
    refund_escrow,
    reject_request,
    route_service_request,
    start_service_execution,
    timeout_request,
    validate_escrow_release,
    validate_service_request,
)
from handlers.aws import dynamodb
from handlers.bank import endings, events, execution, hours, ledger, requests
from handlers.bank.errors import IllegalOffer, NotOwner, Refusal, ReleaseRefused, ValidationFailed
from tests.helpers.bank import (
    ARN,
    CONTEXT,
    KEYS,
    Bank,
    awaiting,
    escrowed,
    event,
    in_process,
    in_progress,
    negotiating,
    opened,
    release_event,
    run,
    validated,
)
from tests.helpers.dynamodb_local import DynamoDBLocal

OWN = ARN + "service-request-r1"
NOT_HOURS = [
    *(Decimal(number) for number in ("1E+50", "-1E+50", "9.99E+125", "1E-130", "1" * 38, "0", "-2.5", "0.001")),
    *(Decimal("1000000.01"), "2.5", True, None, ..., b"2", [Decimal(1)], {"a": Decimal(1)}, {"1"}, {Decimal(1)}),
]
ODD = [*NOT_HOURS, "", "x" * 3000]
# What a balance can be that takes no hours, or none exactly.
NOT_A_BALANCE = [
    *("ten", True, [Decimal(1)]),
    *(Decimal("1E+50"), Decimal(10**37 + 1), Decimal("1E-60")),
]


@pytest.fixture(scope="module", params=["in process", pytest.param("DynamoDB Local", marks=pytest.mark.thorough)])
def local(request: pytest.FixtureRequest) -> Iterator[Any]:
    """DynamoDB Local's client, which the handlers use too; None for the simulator's tables."""
    if request.param == "in process":
        yield None
        return
    with DynamoDBLocal() as engine, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", engine.endpoint)
        dynamodb.client.cache_clear()
        yield dynamodb.client("dynamodb")
        dynamodb.client.cache_clear()


@pytest.fixture
def bank(local: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    if local is None:
        with in_process(monkeypatch) as bank:
            yield bank
        return
    for model, key in KEYS.items():
        local.create_table(
            TableName=model,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    with opened(local, monkeypatch) as bank:
        yield bank
    for model in KEYS:
        local.delete_table(TableName=model)


def set_field(bank: Bank, model: str, field: str, value: Any, key: str = "r1") -> None:
    """What nobody but an administrator, or a client of another schema, can do: any type in any field."""
    item = {name: old for name, old in bank.get(model, key).items() if name != field}
    bank.put(model, **item | ({} if value is ... else {field: value}))


def fill(bank: Bank, left: int = 0) -> None:
    """Makes the record as large as DynamoDB takes it, but for ``left`` bytes."""
    bank.change(note="")
    room = dynamodb.LARGEST_ITEM_BYTES - dynamodb.size(bank.get("ServiceRequest", "r1"))
    bank.change(note="x" * (room - left))


def refused(error: Refusal, state: str) -> dict[str, Any]:
    """What the state leaves in ``$.states`` where it refuses."""
    cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
    return {state: {"Error": type(error).__name__, "Cause": cause}}


def refusal_of(attempt: Callable[[], Any]) -> str | None:
    """The short words with which it was refused; anything but a refusal or a foreseen failure is an error."""
    try:
        attempt()
    except (Refusal, dynamodb.Contended, dynamodb.Unwritable, requests.IllegalMove) as error:
        words = str(error)
    else:
        return None
    assert 10 < len(words) < 200
    return words


def settled(monkeypatch: pytest.MonkeyPatch, decision: str, owner: str = "FAILED", **order: Any) -> str:
    """Runs the release workflow with an operator's order; the outcome."""
    describe = SimpleNamespace(describe_execution=lambda **_: {"status": owner})
    monkeypatch.setattr(execution, "client", lambda _: describe)
    given = {"decision": decision, "by": "olga", "reason": "the code was wrong"} | order
    decided = validate_escrow_release.handler(release_event("ValidateEscrowRelease", given=given), CONTEXT)["decision"]
    if decided == "RELEASE":
        return process_escrow_release.handler(release_event("ProcessEscrowRelease", given=given), CONTEXT)
    if decided == "REFUND":
        return refund_escrow.handler(release_event("RefundEscrow", given=given, decision=decided), CONTEXT)
    return "NOTHING_TO_DO"


# --- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NOT_HOURS, ids=str)
def test_hours_that_are_none_are_refused_in_words_and_rejected(bank: Bank, value: Any) -> None:
    bank.request(estimatedHours=value)
    with pytest.raises(ValidationFailed, match=hours.LEGAL) as refusal:
        run(validate_service_request, "ValidateRequest")
    assert run(reject_request, "RejectRequest", states=refused(refusal.value, "ValidateRequest")) == "REJECTED"
    request = bank.get("ServiceRequest", "r1")
    assert request["status"] == "REJECTED" and len(request["failureReason"]) < 150
    assert bank.balance("ana") == 10 and not bank.all("Escrow")


@pytest.mark.parametrize("value", NOT_HOURS, ids=str)
def test_an_offer_that_is_none_gives_the_hours_back(bank: Bank, value: Any) -> None:
    awaiting(bank)
    set_field(bank, "ServiceRequest", "counterOfferHours", value)
    bank.change(providerResponse="COUNTER_OFFER")
    assert run(timeout_request, "TimeoutRequest") == {"answer": "COUNTER_OFFER"}
    with pytest.raises(IllegalOffer, match=hours.LEGAL) as refusal:
        run(process_negotiation, "ProcessNegotiation", taskToken="token-2")
    assert run(refund_escrow, "RefundEscrow", states=refused(refusal.value, "ProcessNegotiation")) == "DECLINED"
    request = bank.get("ServiceRequest", "r1")
    assert len(request["failureReason"]) < 150 and request.get("taskToken") is None
    assert bank.balance("ana") == bank.total() == 10


@pytest.mark.parametrize("text", ["1E+50", "-1E+50", "9.99E+125", "1E-130", "1" * 38, "12.50", "0", "-0.01"])
def test_a_number_is_read_as_it_was_written(bank: Bank, text: str) -> None:
    bank.put("ServiceRequest", id="r1", deep=[{"n": Decimal(text)}], many={Decimal(text)})
    request = requests.load("r1")
    assert request == {"id": "r1", "deep": [{"n": Decimal(text)}], "many": {Decimal(text)}}
    assert "E" not in str(dynamodb.typed(request)), "plain digits"
    # and it can be what a write rests on
    _, wrote = dynamodb.commit(
        lambda: dynamodb.Plan(
            None, (dynamodb.Change("ServiceRequest", "r1").unchanged(request, "deep", "many").write(),)
        )
    )
    assert wrote


@pytest.mark.parametrize(
    ("number", "words"),
    [("2.50", "2.5"), ("1E+3", "1000"), ("1E+50", "1e+50"), ("9" * 5000, "1e+5000"), ("1E-130", "1e-130")],
)
def test_hours_in_words_are_short(number: str, words: str) -> None:
    assert hours.in_words(Decimal(number)) == words


# --- balances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", NOT_A_BALANCE, ids=str)
def test_a_balance_that_is_none_is_refused_in_words_before_hours_are_held(bank: Bank, balance: Any) -> None:
    bank.give("ana", balance)
    bank.request(estimatedHours=Decimal("2.55"))
    with pytest.raises(Refusal, match=r"^(Not enough hours: 2\.55 needed|.* not one that hours can be taken from)$"):
        run(validate_service_request, "ValidateRequest")
    with pytest.raises(Refusal):
        run(create_escrow, "EscrowHours")
    assert bank.balance("ana") == balance and not bank.all("Escrow")


@pytest.mark.parametrize(
    ("balance", "after"),
    [
        (..., Decimal("2.5")),
        (None, Decimal("2.5")),
        (Decimal(-3), Decimal("-0.5")),
        (Decimal("9" * 36), Decimal("1" + "0" * 35 + "1.5")),
    ],
    ids=str,
)
def test_hours_go_back_where_that_is_exact(bank: Bank, balance: Any, after: Decimal) -> None:
    awaiting(bank)
    set_field(bank, "UserBalance", "availableBalance", balance, "ana")
    assert run(refund_escrow, "RefundAfterFailure", states={}) == "FAILED"
    assert bank.balance("ana") == after


@pytest.mark.parametrize("balance", [value for value in NOT_A_BALANCE if value != 10**37 + 1], ids=str)
@pytest.mark.parametrize("person", ["ana", "ben"])
def test_hours_stay_held_where_a_balance_cannot_take_them(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, balance: Any, person: str
) -> None:
    in_progress(bank, requesterResponse="COMPLETED" if person == "ben" else None, providerResponse="WITHDRAWN")
    decision, state = ("RELEASE", "ProcessEscrowRelease") if person == "ben" else ("REFUND", "RefundEscrow")
    handler = process_escrow_release if person == "ben" else refund_escrow
    bank.give(person, balance)
    before = bank.everything()
    with pytest.raises(ReleaseRefused, match=f"^The balance of {person} is no number, or one that cannot take"):
        handler.handler(release_event(state, decision=decision), CONTEXT)
    with pytest.raises(ReleaseRefused):
        settled(monkeypatch, decision)
    assert bank.everything() == before
    # Mended, the same order gives the hours
    bank.give(person, 1)
    assert settled(monkeypatch, decision) == ("COMPLETED" if person == "ben" else "CANCELLED")
    assert bank.balance(person) == Decimal("3.5")


def test_a_balance_that_changes_into_none_meanwhile_loses_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    awaiting(bank)
    monkeypatch.setattr(ledger.hours, "adds_up", lambda *_: True)
    bank.give("ana", Decimal("1E+50"))
    before = bank.everything()
    with pytest.raises(dynamodb.Unwritable):
        run(refund_escrow, "RefundAfterFailure", states={})
    assert bank.everything() == before


# --- near 400 KB -------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 30, 100, 2_000, 16_000])
@pytest.mark.parametrize("nulls", [True, False])
def test_a_record_without_room_holds_no_hours(bank: Bank, left: int, nulls: bool) -> None:
    bank.request()
    if not nulls:
        bank.delete()
        bank.put("ServiceRequest", id="r1", serviceId="s1", requesterId="ana", providerId="ben", estimatedHours=1)
    fill(bank, left)
    with pytest.raises(ValidationFailed, match="no room") as refusal:
        run(validate_service_request, "ValidateRequest")
    outcome = run(reject_request, "RejectRequest", states=refused(refusal.value, "ValidateRequest"))
    request = bank.get("ServiceRequest", "r1")
    assert (outcome, request.get("status")) in [("REJECTED", "REJECTED"), ("NOT_OWNER", None)]
    assert outcome == "REJECTED" or left < 100, "all but a record that is full to the byte says how it ended"
    assert ("failureReason" in request and request["failureReason"] is not None) or left < 2_000
    assert bank.balance("ana") == 10 and not bank.all("Escrow")


def test_a_record_with_room_for_all_that_the_workflow_writes_is_served(bank: Bank) -> None:
    bank.request(note="x" * (requests.LARGEST_REQUEST_BYTES - 1000))
    run(validate_service_request, "ValidateRequest")
    run(create_escrow, "EscrowHours")
    run(notify_provider, "WaitForProviderResponse", taskToken="t" * 2048)
    bank.change(providerResponse="COUNTER_OFFER", counterOfferHours=Decimal("999999.99"))
    run(process_negotiation, "ProcessNegotiation", taskToken="t" * 2048)
    bank.change(failureReason="x" * 1024)


@pytest.mark.parametrize("prepare", [escrowed, awaiting, negotiating])
@pytest.mark.parametrize("left", [0, 3, 200])
@pytest.mark.parametrize("way", ["decline", "fail", "time out", "settle", "pay"])
def test_a_full_record_does_not_keep_the_hours(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, prepare: Any, left: int, way: str
) -> None:
    prepare(bank)
    fill(bank, left)
    if way == "decline":
        states = {"WaitForProviderResponse": {"answer": "REJECTED"}}
        outcome = run(refund_escrow, "RefundEscrow", states=states)
    elif way == "fail":
        outcome = run(refund_escrow, "RefundAfterFailure", states={})
    elif way == "time out":
        state = "TimeoutNegotiation" if prepare is negotiating else "TimeoutRequest"
        outcome = run(timeout_request, state)["answer"]
        if prepare is negotiating:
            assert outcome == "TIMED_OUT"
    else:
        outcome = settled(monkeypatch, "RELEASE" if way == "pay" else "REFUND")
    if outcome == "COUNTER_OFFER":
        return
    assert bank.balance("ben" if way == "pay" else "ana") == (Decimal("2.5") if way == "pay" else 10)
    request = bank.get("ServiceRequest", "r1")
    # one byte more than ESCROWED does not fit a record that is full to the byte
    assert request["status"] == outcome
    assert outcome != "ESCROWED" or (prepare is escrowed and left == 0)
    assert request.get("taskToken") is None


@pytest.mark.parametrize("answers", [{"requesterResponse": "COMPLETED"}, {"providerResponse": "WITHDRAWN"}])
def test_a_service_in_progress_ends_whose_record_is_full(bank: Bank, answers: dict[str, str]) -> None:
    in_progress(bank, **answers)
    fill(bank)
    if "requesterResponse" in answers:
        assert process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT) == "COMPLETED"
    else:
        assert refund_escrow.handler(release_event("RefundEscrow", decision="REFUND"), CONTEXT) == "CANCELLED"
    assert bank.get("Escrow", "r1")["status"] != "HELD" and bank.total() == 10


def test_a_token_that_does_not_fit_gives_the_hours_back(bank: Bank) -> None:
    escrowed(bank)
    fill(bank)
    with pytest.raises(dynamodb.Unwritable, match="maximum allowed size"):
        run(notify_provider, "WaitForProviderResponse", taskToken="t" * 1000)
    assert run(refund_escrow, "RefundAfterFailure", states={"WaitForProviderResponse": {}}) == "FAILED"
    assert bank.balance("ana") == 10 and bank.get("ServiceRequest", "r1")["status"] == "FAILED"


@pytest.mark.parametrize(
    ("state", "writes"),
    [
        ("TimeoutRequest", {"requesterResponse": ("ACCEPTED", "REJECTED")}),
        ("TimeoutNegotiation", {"providerResponse": ("ACCEPTED", "REJECTED"), "counterOfferHours": (7, 8)}),
        ("TimeoutNegotiation", {"requesterResponse": ("COMPLETED", None)}),
        ("start", {"requesterResponse": ("ACCEPTED", "CANCELLED"), "providerResponse": ("ACCEPTED", "REJECTED")}),
        ("release", {"providerResponse": ("ACCEPTED", "WITHDRAWN")}),
        ("withdraw", {"requesterResponse": ("ACCEPTED", "REJECTED"), "counterOfferHours": (7, 8)}),
    ],
)
def test_whoever_writes_all_the_time_keeps_no_step_from_being_taken(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, state: str, writes: dict[str, tuple[Any, Any]]
) -> None:
    """An answer that decides nothing is not looked at again: a client can write a new one before each try."""
    flood = itertools.cycle([{name: values[turn] for name, values in writes.items()} for turn in (0, 1)])
    if state == "TimeoutNegotiation":
        negotiating(bank)
    elif state in ("TimeoutRequest", "start"):
        awaiting(bank)
    else:
        in_progress(
            bank, **{"requesterResponse": "COMPLETED"} if state == "release" else {"providerResponse": "WITHDRAWN"}
        )
    written = dynamodb._written

    def after_another_answer(decided: Any) -> bool:
        bank.change(**next(flood))
        return written(decided)

    monkeypatch.setattr(dynamodb, "_written", after_another_answer)
    monkeypatch.setattr(dynamodb, "pause", lambda _: None)
    if state == "start":
        assert run(start_service_execution, "StartServiceExecution") == "IN_PROGRESS"
    elif state == "release":
        assert process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT) == "COMPLETED"
        assert bank.balance("ben") == Decimal("2.5")
    elif state == "withdraw":
        assert refund_escrow.handler(release_event("RefundEscrow", decision="REFUND"), CONTEXT) == "CANCELLED"
        assert bank.balance("ana") == 10
    else:
        assert run(timeout_request, state) == {"answer": "TIMED_OUT"}
        assert bank.balance("ana") == 10


@pytest.mark.parametrize(
    ("reason", "refused"),
    [("x" * 1025, "longer than 1024 bytes"), ("é" * 513, "longer than 1024 bytes"), ("x" * 512 + "\udcff", "no text")],
)
def test_an_operators_reason_is_a_short_text(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, reason: str, refused: str
) -> None:
    awaiting(bank)
    with pytest.raises(ReleaseRefused, match=refused):
        settled(monkeypatch, "REFUND", reason=reason)
    assert settled(monkeypatch, "REFUND", reason=reason[:512]) == "FAILED"


# --- any type in any field ---------------------------------------------------------------------------

FIELDS = [
    *("serviceId", "requesterId", "providerId", "estimatedHours", "providerResponseTimeoutSeconds"),
    *("providerResponse", "counterOfferHours", "requesterResponse", "status", "offeredHours"),
    *("stepFunctionExecutionArn", "failureReason", "failureCode"),
    *("taskToken", "taskTokenAttempt", "createdAt", "updatedAt"),
]


@pytest.mark.parametrize("field", FIELDS)
def test_hours_can_be_settled_whatever_the_request_says(
    bank: Bank, local: Any, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    for number, value in enumerate(ODD):
        both = ("REFUND", "RELEASE")
        # what differs on Amazon's engine is how the value is kept, which one decision shows
        for decision in both if local is None else (both[number % 2],):
            for model in ("Escrow", "TransactionLog", "ServiceRequest"):
                for item in bank.all(model):
                    bank.remove(model, item["id"])
            bank.give("ana", 10)
            bank.remove("UserBalance", "ben")
            negotiating(bank)
            set_field(bank, "ServiceRequest", field, value)
            about = (number, value, decision)
            outcome = settled(monkeypatch, decision)
            written = bank.get("ServiceRequest", "r1").get("status")
            assert outcome in (written, "UNKNOWN" if field == "status" else "", "FAILED", "COMPLETED", "PENDING"), about
            assert outcome not in ("FAILED", "COMPLETED") or field == "stepFunctionExecutionArn" or outcome == written
            assert bank.balance("ana" if decision == "REFUND" else "ben") == (10 if decision == "REFUND" else 2.5), (
                about
            )
            assert bank.get("Escrow", "r1")["status"] != "HELD" and bank.total() == 10, about


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_hours_can_be_settled_where_the_request_cannot_be_read(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    awaiting(bank)

    def refuse(request_id: str) -> None:
        raise ClientError({"Error": {"Code": code}}, "GetItem")

    monkeypatch.setattr(requests, "load", refuse)
    assert settled(monkeypatch, "REFUND") == "FAILED"
    assert bank.balance("ana") == 10


@pytest.mark.parametrize("field", ["status", "hours", "requesterId", "providerId", "executionArn"])
@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:20])
def test_an_escrow_of_any_kind_is_refused_in_words_or_settled(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, field: str, value: Any
) -> None:
    awaiting(bank)
    set_field(bank, "Escrow", field, value)
    before = bank.everything()
    for attempt in (
        lambda: run(validate_service_request, "ValidateRequest"),
        lambda: run(create_escrow, "EscrowHours"),
        lambda: run(adjust_escrow, "AdjustEscrow"),
        lambda: validate_escrow_release.handler(release_event("ValidateEscrowRelease"), CONTEXT),
        lambda: process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT),
        lambda: refund_escrow.handler(release_event("RefundEscrow", decision="REFUND"), CONTEXT),
    ):
        refusal_of(attempt)
        assert bank.everything() == before
    amount = value if field == "hours" and hours.is_amount(value) else Decimal("2.5")
    person = value if field == "requesterId" and dynamodb.is_key(value) else "ana"
    had = bank.balance(person) or 0
    refusal = refusal_of(lambda: settled(monkeypatch, "REFUND"))
    assert (bank.everything() == before) if refusal else (bank.balance(person) == had + amount)


TEXT = st.text(max_size=20)
NUMBER = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**7), max_value=10**7),
    st.sampled_from([value for value in NOT_HOURS if isinstance(value, Decimal)]),
)
WORDS = st.sampled_from(
    [
        *requests.TRANSITIONS,
        *(
            "ACCEPTED",
            "REJECTED",
            "COUNTER_OFFER",
            "WITHDRAWN",
            "CANCELLED",
            "COMPLETED",
            "HELD",
            "RELEASED",
            "REFUNDED",
        ),
        *("2026-11-02T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-W01-1", OWN, "token"),
    ]
)
SIMPLE = st.one_of(WORDS, TEXT, NUMBER, st.booleans(), st.none(), st.binary(max_size=5))
VALUES = st.one_of(
    WORDS,
    SIMPLE,
    st.lists(SIMPLE, max_size=2),
    st.dictionaries(TEXT, SIMPLE, max_size=2),
    st.sets(TEXT, min_size=1, max_size=2),
    st.sets(NUMBER, min_size=1, max_size=2),
    st.sets(st.binary(max_size=3), min_size=1, max_size=2),
)
RECORDS = st.dictionaries(st.sampled_from(FIELDS), VALUES)
ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


class Steps:
    """Step Functions that takes what the real one takes, and knows every name already where ``is_full``."""

    class ExecutionAlreadyExists(Exception):
        pass

    exceptions = SimpleNamespace(ExecutionAlreadyExists=ExecutionAlreadyExists)

    def __init__(self, *, is_full: bool = False) -> None:
        self.is_full = is_full
        self.calls: list[str] = []

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:  # noqa: A002, N803
        assert 0 < len(name) <= 80 and name.isascii()
        self.calls.append(name)
        if self.is_full:
            raise self.ExecutionAlreadyExists

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803
        return {"status": "RUNNING", "input": '{"requestId": "another"}'}

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803
        assert isinstance(taskToken, str) and 0 < len(taskToken) <= 2048
        self.calls.append(json.loads(output)["answer"])


def image(**item: Any) -> dict[str, Any]:
    """A record of the stream, whose binary data is text."""
    text = json.dumps({name: dynamodb.typed(value) for name, value in item.items()}, default=lambda data: data.hex())
    return {
        "eventID": "1",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"NewImage": json.loads(text), "SequenceNumber": "1"},
    }


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("SERVICE_REQUEST_WORKFLOW_ARN", "ESCROW_MANAGEMENT_WORKFLOW_ARN"):
        monkeypatch.setenv(name, "arn:aws:states:us-east-1:123456789012:stateMachine:M")
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-11-01T00:00:00Z")

    def call(*images: dict[str, Any], is_full: bool = False) -> list[str]:
        steps = Steps(is_full=is_full)
        for module in (route_service_request, execution):
            monkeypatch.setattr(module, "client", lambda _: steps)
        assert route_service_request.handler({"Records": list(images)}, CONTEXT) == {"batchItemFailures": []}
        return steps.calls

    with in_process(monkeypatch) as bank:
        call.bank = bank  # type: ignore[attr-defined]
        yield call


@ONCE
@given(item=RECORDS, id_=st.one_of(TEXT, VALUES), is_full=st.booleans())
@example(item={"createdAt": "2026-11-02T00:00:00Z"}, id_="x", is_full=True)
@example(item={"status": "AWAITING_PROVIDER", "providerResponse": b"", "taskToken": Decimal(1)}, id_="x", is_full=False)
def test_the_router_never_raises_and_never_asks_again_for_what_a_record_is(
    route: Any, item: dict[str, Any], id_: Any, is_full: bool
) -> None:
    route.bank.remove("ServiceRequest", "x")
    if dynamodb.is_key(id_):
        route.bank.put("ServiceRequest", **item | {"id": id_})
    route(image(**item, id=id_), is_full=is_full)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"createdAt": "yesterday"}, "createdAt"),
        ({"note": "x" * (dynamodb.LARGEST_ITEM_BYTES - 100)}, "size"),
        ({"status": "AWAITING_PROVIDER", "providerResponse": "ACCEPTED", "taskToken": "t" * 2049}, "taskToken"),
        ({"status": "NEGOTIATING", "requesterResponse": "ACCEPTED", "taskToken": [Decimal(1)]}, "taskToken"),
        ({"id": ""}, "id"),
        ({"id": Decimal(7)}, "id"),
        ({"id": "x" * 2049}, "id"),
    ],
)
def test_what_is_refused_for_what_it_is_costs_one_attempt_and_the_others_go_on(
    route: Any, log: pytest.CaptureFixture[str], item: dict[str, Any], reason: str
) -> None:
    new = {"id": "r1", "createdAt": "2026-11-02T00:00:00Z", "estimatedHours": Decimal("1E+50")}
    assert route(image(**new | item), image(**new | {"id": "r2"})) == ["service-request-r2"]
    lines = [json.loads(line) for line in log.readouterr().out.splitlines()]
    assert [line["reason"] for line in lines if "RequestIgnored" in line] == [reason]
    assert route_service_request.WHY_IGNORED[reason] in [line.get("message") for line in lines]


def test_an_execution_that_runs_for_another_request_is_not_this_ones(
    route: Any, log: pytest.CaptureFixture[str]
) -> None:
    new = {"id": "r1", "createdAt": "2026-11-02T00:00:00Z"}
    route.bank.put("ServiceRequest", **new)
    names = route(image(**new), is_full=True)
    assert names[:9] == ["service-request-r1", *(f"service-request-r1-{number}" for number in range(2, 10))]
    assert len(names) == 19 and "RequestIgnored" in log.readouterr().out


STATES = [
    (validate_service_request, "ValidateRequest"),
    (create_escrow, "EscrowHours"),
    (notify_provider, "WaitForProviderResponse"),
    (process_negotiation, "ProcessNegotiation"),
    (adjust_escrow, "AdjustEscrow"),
    (start_service_execution, "StartServiceExecution"),
    (timeout_request, "TimeoutRequest"),
    (timeout_request, "TimeoutNegotiation"),
    (refund_escrow, "RefundEscrow"),
    (refund_escrow, "RefundAfterFailure"),
    (reject_request, "RejectRequest"),
]


@settings(parent=ONCE, max_examples=300)
@given(
    request=RECORDS,
    escrow=st.dictionaries(st.sampled_from(["status", "hours", "requesterId", "providerId", "executionArn"]), VALUES),
    balance=VALUES,
    prepare=st.sampled_from([validated, escrowed, awaiting, negotiating, in_progress]),
    state=st.sampled_from(STATES),
)
def test_no_state_dies_of_what_is_in_the_tables(
    request: dict[str, Any], escrow: dict[str, Any], balance: Any, prepare: Any, state: Any
) -> None:
    """Refused in words, or a technical failure that a person reads: never a KeyError or a TypeError."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(dynamodb, "pause", lambda _: None)
        with in_process(monkeypatch) as bank:
            prepare(bank)
            bank.change(**request)
            if bank.get("Escrow", "r1") and escrow:
                bank.put("Escrow", **bank.get("Escrow", "r1") | escrow)
            bank.give("ana", balance)
            handler, name = state
            refusal_of(lambda: run(handler, name, taskToken="token-3", states={}))


# --- ids that were used before -----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["HELD", "RELEASED", "REFUNDED"])
@pytest.mark.parametrize("owner", [OWN, "another", ...])
@pytest.mark.parametrize("state", ["ValidateRequest", "EscrowHours"])
def test_a_request_beside_any_escrow_is_an_id_used_before(bank: Bank, status: str, owner: Any, state: str) -> None:
    """Names are free again after 90 days, or with a machine made anew, so the ARN can be this execution's."""
    awaiting(bank)
    set_field(bank, "Escrow", "status", status)
    set_field(bank, "Escrow", "executionArn", owner)
    bank.delete()
    bank.request()
    before = bank.everything()
    with pytest.raises(ValidationFailed, match="used before") as refusal:
        run(validate_service_request, "ValidateRequest")
    with pytest.raises(ValidationFailed, match="used before"):
        run(create_escrow, "EscrowHours")
    assert run(reject_request, "RejectRequest", states=refused(refusal.value, state)) == "REJECTED"
    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["failureReason"]) == ("REJECTED", "The id of this request was used before")
    after = bank.everything()
    assert after.pop("ServiceRequest") != before.pop("ServiceRequest") and after == before


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_failure_before_the_hold_leaves_an_older_escrow_to_its_operator(bank: Bank, is_gone: bool) -> None:
    awaiting(bank)
    bank.delete()
    if not is_gone:
        bank.request()
    states = {"ValidateRequest": {"Error": "ConnectionError", "Cause": "{}"}}
    outcome = run(refund_escrow, "RefundAfterFailure", states=states)
    assert outcome == ("NOT_OWNER" if is_gone else "REJECTED")
    assert bank.get("Escrow", "r1")["status"] == "HELD" and bank.balance("ana") == Decimal("7.5")


@pytest.mark.parametrize("status", sorted(set(requests.TRANSITIONS) - {"PENDING", "VALIDATING"}))
def test_an_execution_whose_name_is_free_again_does_not_take_up_an_old_record(bank: Bank, status: str) -> None:
    awaiting(bank)
    bank.change(status=status)
    before = bank.everything()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest")
    assert bank.everything() == before


# --- the rest ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("response", "end"), [("COMPLETED", "COMPLETED"), ("CANCELLED", "CANCELLED")])
def test_a_service_that_ended_before_its_start_was_told_has_started(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, response: str, end: str
) -> None:
    awaiting(bank)
    bank.told.clear()
    with monkeypatch.context() as hiccup:
        hiccup.setattr(
            events, "client", lambda _: SimpleNamespace(put_events=lambda **_: {"FailedEntryCount": 1, "Entries": [{}]})
        )
        with pytest.raises(events.EventRefused):
            run(start_service_execution, "StartServiceExecution")
    if end == "COMPLETED":
        bank.change(requesterResponse="COMPLETED")
        process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT)
    else:
        bank.change(providerResponse="WITHDRAWN")
        refund_escrow.handler(release_event("RefundEscrow", decision="REFUND"), CONTEXT)
    assert run(start_service_execution, "StartServiceExecution", retry=1) == "IN_PROGRESS"
    told = sorted((event["event"], event["role"]) for event in bank.told)
    assert told == [(event, role) for event in ("RequestEnded", "ServiceStarted") for role in ("provider", "requester")]
    assert bank.get("ServiceRequest", "r1")["status"] == end and bank.total() == 10


def test_no_reason_tells_a_balance(bank: Bank) -> None:
    bank.give("ana", Decimal("77.31"))
    reasons = [reason.words for _, reason in endings.ENDINGS.values()]
    bank.request(estimatedHours=Decimal(100))
    with pytest.raises(Refusal) as refusal:
        run(validate_service_request, "ValidateRequest")
    reasons.append(str(refusal.value))
    bank.delete()
    negotiating(bank, offer=Decimal(500))
    with pytest.raises(Refusal) as refusal:
        run(adjust_escrow, "AdjustEscrow")
    reasons.append(str(refusal.value))
    bank.give("ben", "74.81")
    with pytest.raises(Refusal) as refusal:
        ledger.settle("r1", "RELEASE", "paid")
    reasons.append(str(refusal.value))
    assert reasons[-3:] == [
        "Not enough hours: 100 needed",
        "Not enough hours: 497.5 more needed",
        "The balance of ben is no number, or one that cannot take these hours exactly",
    ]
    assert not any("77.31" in reason or "74.81" in reason for reason in reasons)


@pytest.mark.parametrize("attempt", ["1", True, None, ..., [Decimal(1)]], ids=str)
def test_a_token_whose_attempt_is_none_is_replaced(bank: Bank, attempt: Any) -> None:
    awaiting(bank)
    set_field(bank, "ServiceRequest", "taskTokenAttempt", attempt)
    run(notify_provider, "WaitForProviderResponse", taskToken="token-2")
    assert bank.get("ServiceRequest", "r1")["taskToken"] == "token-2"


@pytest.mark.parametrize("request_id", ["\ud800", "x" * 2049, "é" * 1025])
def test_an_id_that_no_record_can_have_owns_nothing(bank: Bank, request_id: str) -> None:
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", request_id)
    assert run(refund_escrow, "RefundAfterFailure", request_id, states={}) == "NOT_OWNER"
    with pytest.raises(ReleaseRefused):
        validate_escrow_release.handler(event("ValidateEscrowRelease", request_id), CONTEXT)


def test_an_input_with_a_number_of_thousands_of_digits_owns_nothing(bank: Bank) -> None:
    bank.request()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", given={"note": 10**5000})


@pytest.mark.parametrize(
    "text", ["0", "1", "12", "123", "2.5", "0.01", "-1", "-12.5", "1E+50", "1E+51", "999999.99", "1" * 38]
)
def test_the_size_is_what_the_engine_counts(bank: Bank, text: str) -> None:
    number = Decimal(text)
    values = ["é", b"ab", True, None, [], {}, [number], {"ab": number}, {"c", "de"}, {number}, {b"a"}, number]
    item = {"id": "r1"} | {f"v{place}": value for place, value in enumerate(values)} | {"note": ""}
    note = "x" * (dynamodb.LARGEST_ITEM_BYTES - dynamodb.size(item))
    bank.put("Escrow", **item | {"note": note})
    with pytest.raises(ClientError, match="maximum allowed size"):
        bank.put("Escrow", **item | {"note": note + "x"})


@pytest.mark.parametrize("written", ["OPEN", "whatever a client wrote", None, ...])
def test_a_request_is_in_the_index_from_the_claim_to_its_end(bank: Bank, written: Any) -> None:
    seen = []
    validated(bank, open=written)
    seen.append(bank.get("ServiceRequest", "r1").get("open"))
    run(create_escrow, "EscrowHours")
    run(notify_provider, "WaitForProviderResponse", taskToken="token-1")
    seen.append(bank.get("ServiceRequest", "r1").get("open"))
    run(refund_escrow, "RefundEscrow", states={"CheckProviderResponse": {"answer": "REJECTED"}})
    assert bank.get("ServiceRequest", "r1")["status"] in requests.FINAL
    assert "open" not in bank.get("ServiceRequest", "r1")
    assert seen == ["OPEN", "OPEN"]


def test_no_status_but_a_final_one_takes_a_request_out_of_the_index(bank: Bank) -> None:
    for status, following in requests.TRANSITIONS.items():
        for after in following:
            expression = requests.move({"id": "r1", "status": status}, after)["Update"]["UpdateExpression"]
            assert ("#open" in expression.partition("REMOVE")[2]) == (after in requests.FINAL)
