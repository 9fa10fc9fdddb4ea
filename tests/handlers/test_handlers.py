"""Each handler alone on a DynamoDB engine: the right input, bad input, run twice, crashed after its commit.

What only shows in a whole workflow is in test_paths.py.
"""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handlers import (
    adjust_escrow,
    create_escrow,
    notify_provider,
    process_escrow_release,
    process_negotiation,
    refund_escrow,
    reject_request,
    start_service_execution,
    timeout_request,
    validate_escrow_release,
    validate_service_request,
)
from handlers.aws import dynamodb
from handlers.bank import endings, events, execution, hours, ledger, requests
from handlers.bank.errors import (
    IllegalOffer,
    InsufficientBalance,
    NotOwner,
    OfferNotAffordable,
    ReleaseRefused,
    ValidationFailed,
)
from handlers.bank.execution import REQUEST_PREFIX, execution_name
from tests.helpers.bank import (
    ARN,
    CONTEXT,
    Bank,
    awaiting,
    escrowed,
    event,
    in_process,
    in_progress,
    negotiating,
    release_event,
    run,
    validated,
)


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    with in_process(monkeypatch) as bank:
        yield bank


# --- ValidateRequest ------------------------------------------------------------------------------


def test_validation_claims_the_record_and_says_how_long_the_provider_has(bank: Bank) -> None:
    bank.request(providerResponseTimeoutSeconds=3600)

    assert run(validate_service_request, "ValidateRequest") == {"providerResponseTimeoutSeconds": 3600}

    request = bank.get("ServiceRequest", "r1")
    assert request["status"] == "VALIDATING"
    assert request["stepFunctionExecutionArn"] == ARN + "service-request-r1"
    assert request["updatedAt"] > "2026-11-01" and request["createdAt"] == "2026-11-01T00:00:00.000Z"


def test_the_stacks_time_out_is_the_default(bank: Bank) -> None:
    bank.request()
    assert run(validate_service_request, "ValidateRequest") == {"providerResponseTimeoutSeconds": 604800}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"estimatedHours": None}, "estimatedHours"),
        ({"estimatedHours": ...}, "estimatedHours"),
        ({"estimatedHours": 0}, "estimatedHours"),
        ({"estimatedHours": -1}, "estimatedHours"),
        ({"estimatedHours": "two"}, "estimatedHours"),
        ({"estimatedHours": True}, "estimatedHours"),
        ({"estimatedHours": [2]}, "estimatedHours"),
        ({"estimatedHours": Decimal("0.001")}, "estimatedHours"),
        ({"estimatedHours": Decimal("1.2345678901234567890123456789012345678")}, "estimatedHours"),
        ({"requesterId": "ben"}, "same person"),
        ({"requesterId": None}, "requesterId"),
        ({"requesterId": 7}, "requesterId"),
        ({"providerId": ...}, "providerId"),
        ({"providerId": ""}, "providerId"),
        ({"serviceId": None}, "serviceId"),
        ({"serviceId": "s" * 1025}, "longer than 1024 bytes"),
        ({"providerId": "é" * 513}, "longer than 1024 bytes"),
        ({"estimatedHours": Decimal("1000000.01")}, "at most 1000000"),
        ({"providerResponseTimeoutSeconds": 59}, "from 60 to 2592000"),
        ({"providerResponseTimeoutSeconds": 2592001}, "from 60 to 2592000"),
        ({"providerResponseTimeoutSeconds": Decimal("60.5")}, "whole number"),
        ({"providerResponseTimeoutSeconds": "3600"}, "whole number"),
        ({"providerResponseTimeoutSeconds": Decimal("1E+30")}, "whole number"),
    ],
)
def test_a_bad_record_is_refused_in_words_and_rejected(bank: Bank, changes: dict[str, Any], reason: str) -> None:
    bank.request(**changes)

    with pytest.raises(ValidationFailed, match=reason) as refusal:
        run(validate_service_request, "ValidateRequest")
    cause = json.dumps({"errorMessage": str(refusal.value), "errorType": "ValidationFailed"})
    outcome = run(
        reject_request, "RejectRequest", states={"ValidateRequest": {"Error": "ValidationFailed", "Cause": cause}}
    )

    request = bank.get("ServiceRequest", "r1")
    assert (outcome, request["status"]) == ("REJECTED", "REJECTED")
    assert reason in request["failureReason"]
    assert bank.balance("ana") == 10 and not bank.all("Escrow") and not bank.all("TransactionLog")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"estimatedHours": Decimal("10.01")}, "Not enough hours: 10.01 needed$"),
        ({"estimatedHours": Decimal(1_000_000)}, "Not enough hours: 1000000 needed$"),
        ({"requesterId": "nobody"}, "Not enough hours: 2.5 needed$"),
        ({"requesterId": "odd"}, "The requester's balance is not one that hours can be taken from$"),
    ],
)
def test_too_few_hours_are_refused_in_words(bank: Bank, changes: dict[str, Any], reason: str) -> None:
    bank.give("odd", "ten")
    bank.request(**changes)
    with pytest.raises(InsufficientBalance, match=reason):
        run(validate_service_request, "ValidateRequest")


@pytest.mark.parametrize(
    "given",
    [
        {"estimatedHours": 99},
        {"estimatedHours": "2.5"},
        {"requesterId": "mallory"},
        {"serviceId": ["s1"]},
        {"providerResponseTimeoutSeconds": 60},
    ],
)
def test_an_input_that_differs_from_the_record_is_refused(bank: Bank, given: dict[str, Any]) -> None:
    bank.request()
    with pytest.raises(ValidationFailed, match="input"):
        run(validate_service_request, "ValidateRequest", given=given)


def test_the_seeds_input_is_welcome_where_it_agrees(bank: Bank) -> None:
    bank.request()
    seed = {"serviceId": "s1", "requesterId": "ana", "providerId": "ben", "estimatedHours": 2.5, "note": "hi"}
    run(validate_service_request, "ValidateRequest", given=seed | {"providerResponseTimeoutSeconds": None})
    assert bank.get("ServiceRequest", "r1")["status"] == "VALIDATING"


@pytest.mark.parametrize("name", ["by-hand", "service-request-r2", "service-request-r1-0", "service-request-r1-x"])
def test_an_execution_by_another_name_is_not_the_owner(bank: Bank, name: str) -> None:
    before = bank.request()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", name=name)
    assert bank.get("ServiceRequest", "r1") == before


@pytest.mark.parametrize("states", [{"AdjustEscrow": {"Error": "OfferNotAffordable"}}, {}, None, "x", []])
def test_an_execution_that_brings_results_along_is_not_the_owner(bank: Bank, states: Any) -> None:
    before = bank.request()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", given={"states": states})
    assert run(refund_escrow, "RefundAfterFailure", given={"states": states}, states={}) == "NOT_OWNER"
    assert bank.get("ServiceRequest", "r1") == before


@pytest.mark.parametrize("request_id", [None, "", 7, ["r1"], {"id": "r1"}])
def test_an_execution_without_a_request_is_not_the_owner(bank: Bank, request_id: Any) -> None:
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", request_id)
    assert run(refund_escrow, "RefundAfterFailure", request_id, states={}) == "NOT_OWNER"


@pytest.mark.parametrize(
    "status", ["ESCROWED", "AWAITING_PROVIDER", "IN_PROGRESS", "COMPLETED", "FAILED", "made up", 5, {"a": 1}]
)
def test_a_status_that_a_client_wrote_is_left_alone(bank: Bank, status: Any) -> None:
    bank.request(status=status)
    before = bank.everything()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest")
    assert bank.everything() == before


def test_a_second_execution_does_not_touch_a_live_request(bank: Bank) -> None:
    awaiting(bank)
    before = bank.everything()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", name="service-request-r1-2")
    for handler, state in ((refund_escrow, "RefundAfterFailure"), (reject_request, "RejectRequest")):
        assert run(handler, state, name="service-request-r1-2", states={}) == "NOT_OWNER"
    assert bank.everything() == before


def test_the_arn_that_the_seeds_browser_writes_before_the_claim_does_no_harm(bank: Bank) -> None:
    bank.request(stepFunctionExecutionArn=ARN + "service-request-r1")
    run(validate_service_request, "ValidateRequest")
    assert bank.get("ServiceRequest", "r1")["status"] == "VALIDATING"


def test_an_id_that_is_too_long_for_the_log_is_rejected(bank: Bank) -> None:
    bank.request("x" * 1025)
    with pytest.raises(ValidationFailed, match="id is longer than 1024 bytes"):
        run(validate_service_request, "ValidateRequest", "x" * 1025)
    states = {"ValidateRequest": {"Error": "ValidationFailed", "Cause": "{}"}}
    assert run(reject_request, "RejectRequest", "x" * 1025, states=states) == "REJECTED"


def test_an_execution_with_a_huge_input_is_not_the_owner(bank: Bank) -> None:
    bank.request()
    with pytest.raises(NotOwner):
        run(validate_service_request, "ValidateRequest", given={"junk": "x" * 70_000})


def test_an_id_that_was_used_before_is_refused(bank: Bank) -> None:
    awaiting(bank)
    bank.delete()
    bank.request()
    with pytest.raises(ValidationFailed, match="used before"):
        run(validate_service_request, "ValidateRequest", name="service-request-r1-2")
    with pytest.raises(ValidationFailed, match="used before"):
        run(create_escrow, "EscrowHours", name="service-request-r1-2")
    states = {"ValidateRequest": {"Error": "ValidationFailed", "Cause": json.dumps({"errorMessage": "used before"})}}
    assert run(reject_request, "RejectRequest", name="service-request-r1-2", states=states) == "REJECTED"
    assert bank.balance("ana") == Decimal("7.5") and bank.get("Escrow", "r1")["status"] == "HELD"


# --- EscrowHours ----------------------------------------------------------------------------------


def test_hours_are_held_in_one_transaction(bank: Bank) -> None:
    validated(bank)

    assert run(create_escrow, "EscrowHours") == {"hours": "2.5"}

    escrow = bank.get("Escrow", "r1")
    assert {name: escrow[name] for name in ("requestId", "requesterId", "providerId", "hours", "status")} == {
        "requestId": "r1", "requesterId": "ana", "providerId": "ben", "hours": Decimal("2.5"), "status": "HELD",
    }  # fmt: skip
    assert escrow["executionArn"] == ARN + "service-request-r1"
    assert escrow["__typename"] == "Escrow" and escrow["createdAt"] == escrow["updatedAt"]
    entry = bank.get("TransactionLog", "r1#ESCROW_HOLD")
    assert (entry["fromAccount"], entry["toAccount"], entry["hours"]) == ("user:ana", "escrow:r1", Decimal("2.5"))
    assert entry["type"] == "ESCROW_HOLD" and entry["requestId"] == "r1" and entry["__typename"] == "TransactionLog"
    assert bank.balance("ana") == Decimal("7.5")
    assert bank.get("ServiceRequest", "r1")["status"] == "ESCROWED"


def test_hours_are_exact(bank: Bank) -> None:
    bank.give("ana", Decimal("12345678901234567890123456.67"))
    validated(bank, estimatedHours=Decimal("0.01"))
    run(create_escrow, "EscrowHours")
    assert bank.balance("ana") == Decimal("12345678901234567890123456.66")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"estimatedHours": Decimal(11)}, InsufficientBalance),
        ({"estimatedHours": None}, ValidationFailed),
        ({"providerId": "ana"}, ValidationFailed),
        ({"status": "PENDING"}, NotOwner),
        ({"stepFunctionExecutionArn": "other"}, NotOwner),
    ],
)
def test_a_record_changed_after_validation_holds_nothing(bank: Bank, change: dict[str, Any], error: type) -> None:
    validated(bank)
    bank.change(**change)
    with pytest.raises(error):
        run(create_escrow, "EscrowHours")
    assert bank.balance("ana") == 10 and not bank.all("Escrow") and not bank.all("TransactionLog")


def test_a_record_deleted_after_validation_holds_nothing(bank: Bank) -> None:
    validated(bank)
    bank.delete()
    with pytest.raises(NotOwner):
        run(create_escrow, "EscrowHours")
    assert bank.balance("ana") == 10 and not bank.all("ServiceRequest")


def test_a_change_between_reading_and_writing_is_read_again(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    validated(bank)
    read = dynamodb.read
    reads: list[str] = []

    def read_and_change(model: str, key: str) -> Any:
        item = read(model, key)
        reads.append(model)
        if reads == ["ServiceRequest", "UserBalance", "Escrow"]:
            bank.change(estimatedHours=Decimal(3))
        return item

    monkeypatch.setattr(dynamodb, "read", read_and_change)
    assert run(create_escrow, "EscrowHours") == {"hours": "3"}
    assert bank.balance("ana") == 7


def test_what_keeps_changing_is_given_up_loudly(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    validated(bank)
    slept: list[float] = []
    monkeypatch.setattr(dynamodb.random, "uniform", lambda _, most: most)
    monkeypatch.setattr(dynamodb.time, "sleep", slept.append)
    monkeypatch.setattr(dynamodb, "_written", lambda _: False)
    with pytest.raises(dynamodb.Contended):
        run(create_escrow, "EscrowHours")
    assert 10 < sum(slept) < 15, "a function has 30 seconds"


@pytest.mark.parametrize("operation", ["get_item", "transact_write_items"])
def test_what_is_throttled_is_tried_again(bank: Bank, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    validated(bank)
    call, refusals = getattr(dynamodb.client("dynamodb"), operation), [1, 2, 3]

    def busy(**asked: Any) -> Any:
        if refusals:
            refusals.pop()
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, operation)
        return call(**asked)

    monkeypatch.setattr(dynamodb.client("dynamodb"), operation, busy)
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    assert run(create_escrow, "EscrowHours") == {"hours": "2.5"}
    assert not refusals and bank.balance("ana") == Decimal("7.5")


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_others_are_in_the_way_of_is_tried_again(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    validated(bank)
    write, refusals = dynamodb.client("dynamodb").transact_write_items, [1, 2, 3]

    def busy(**asked: Any) -> Any:
        if refusals:
            refusals.pop()
            cancelled = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": code}]}
            raise ClientError(cancelled, "TransactWriteItems")  # type: ignore[arg-type]
        return write(**asked)

    monkeypatch.setattr(dynamodb.client("dynamodb"), "transact_write_items", busy)
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    assert run(create_escrow, "EscrowHours") == {"hours": "2.5"}
    assert not refusals and bank.balance("ana") == Decimal("7.5")


# --- the waits ------------------------------------------------------------------------------------


def test_the_provider_is_asked_after_token_and_status_are_stored(bank: Bank) -> None:
    awaiting(bank)
    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["taskToken"]) == ("AWAITING_PROVIDER", "token-1")
    assert bank.told == [
        {
            "event": "ProviderAsked", "requestId": "r1", "userId": "ben", "role": "provider",
            "status": "AWAITING_PROVIDER", "eventId": "r1#AWAITING_PROVIDER#provider",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        ({"retry": 0}, {"retry": 1}, "second"),
        ({"retry": 1}, {"retry": 0}, "first"),
        ({"retry": 1}, {"retry": 1}, "first"),
        ({"retry": 3}, {"retry": 0, "redrive": 1}, "second"),
        ({"retry": 0, "redrive": 1}, {"retry": 3}, "first"),
    ],
)
def test_only_a_later_attempt_replaces_a_token(
    bank: Bank, first: dict[str, int], second: dict[str, int], stays: str
) -> None:
    escrowed(bank)
    run(notify_provider, "WaitForProviderResponse", taskToken="first", **first)
    run(notify_provider, "WaitForProviderResponse", taskToken="second", **second)
    assert bank.get("ServiceRequest", "r1")["taskToken"] == stays


def test_entering_the_negotiation_replaces_the_token_and_fixes_the_offer(bank: Bank) -> None:
    awaiting(bank)
    bank.change(
        providerResponse="COUNTER_OFFER", counterOfferHours=Decimal(4), requesterResponse="ACCEPTED", taskTokenAttempt=9
    )

    run(process_negotiation, "ProcessNegotiation", taskToken="token-2")

    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["taskToken"], request["offeredHours"]) == ("NEGOTIATING", "token-2", 4)
    assert "requesterResponse" not in request, "an answer from before is not an answer to the offer"
    assert bank.told[-1] == {
        "event": "RequesterAsked", "requestId": "r1", "userId": "ana", "role": "requester", "status": "NEGOTIATING",
        "eventId": "r1#NEGOTIATING#requester",
    }  # fmt: skip


def test_a_cancellation_from_before_the_offer_stays(bank: Bank) -> None:
    awaiting(bank)
    bank.change(providerResponse="COUNTER_OFFER", counterOfferHours=Decimal(4), requesterResponse="CANCELLED")
    run(process_negotiation, "ProcessNegotiation", taskToken="token-2")
    assert bank.get("ServiceRequest", "r1")["requesterResponse"] == "CANCELLED"


def test_a_retry_in_the_negotiation_keeps_the_offer_and_the_answer(bank: Bank) -> None:
    negotiating(bank)
    bank.change(counterOfferHours=Decimal(9), requesterResponse="ACCEPTED")
    run(process_negotiation, "ProcessNegotiation", taskToken="token-3", retry=1)
    request = bank.get("ServiceRequest", "r1")
    assert (request["offeredHours"], request["requesterResponse"], request["taskToken"]) == (4, "ACCEPTED", "token-3")


@pytest.mark.parametrize("offer", [None, 0, -2, "four", Decimal("1.005"), Decimal("1E+7"), Decimal("1E+125")])
def test_an_illegal_offer_is_refused_and_the_request_declined(bank: Bank, offer: Any) -> None:
    with pytest.raises(IllegalOffer):
        negotiating(bank, offer)
    cause = json.dumps({"errorMessage": "The counter-offer must be legal"})
    states = {
        "WaitForProviderResponse": {"answer": "COUNTER_OFFER"},
        "ProcessNegotiation": {"Error": "IllegalOffer", "Cause": cause},
    }
    assert run(refund_escrow, "RefundEscrow", states=states) == "DECLINED"
    assert bank.get("ServiceRequest", "r1")["failureReason"] == "The counter-offer must be legal"
    assert bank.balance("ana") == 10


def test_an_event_that_the_bus_refuses_is_an_error(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure"}]}
    monkeypatch.setattr(events, "client", lambda _: SimpleNamespace(put_events=lambda Entries: refused))  # noqa: N803
    with pytest.raises(events.EventRefused, match="ProviderAsked: InternalFailure"):
        awaiting(bank)


# --- AdjustEscrow ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "moved", "from_account", "to_account"),
    [
        (Decimal(4), Decimal("1.5"), "user:ana", "escrow:r1"),
        (Decimal("0.25"), Decimal("2.25"), "escrow:r1", "user:ana"),
        (Decimal(10), Decimal("7.5"), "user:ana", "escrow:r1"),
    ],
)
def test_the_hold_becomes_the_offer(
    bank: Bank, offer: Decimal, moved: Decimal, from_account: str, to_account: str
) -> None:
    negotiating(bank, offer)

    assert run(adjust_escrow, "AdjustEscrow") == {"hours": hours.in_words(offer)}

    assert (bank.get("Escrow", "r1")["hours"], bank.balance("ana")) == (offer, 10 - offer)
    entry = bank.get("TransactionLog", "r1#ESCROW_ADJUST")
    assert (entry["hours"], entry["fromAccount"], entry["toAccount"]) == (moved, from_account, to_account)


def test_an_offer_of_the_same_hours_moves_nothing(bank: Bank) -> None:
    negotiating(bank, Decimal("2.50"))
    assert run(adjust_escrow, "AdjustEscrow") == {"hours": "2.5"}
    assert not bank.get("TransactionLog", "r1#ESCROW_ADJUST") and bank.balance("ana") == Decimal("7.5")


def test_the_offer_that_was_shown_counts_not_a_later_one(bank: Bank) -> None:
    negotiating(bank)
    bank.change(counterOfferHours=Decimal(9))
    assert run(adjust_escrow, "AdjustEscrow") == {"hours": "4"}


def test_an_offer_that_nobody_can_pay_is_refused(bank: Bank) -> None:
    negotiating(bank, Decimal("10.01"))
    with pytest.raises(OfferNotAffordable, match=r"Not enough hours: 7.51 more needed$"):
        run(adjust_escrow, "AdjustEscrow")
    assert bank.get("Escrow", "r1")["hours"] == Decimal("2.5")


@pytest.mark.parametrize(
    "change", [{"stepFunctionExecutionArn": "other"}, {"requesterId": "eve"}, {"offeredHours": None}]
)
def test_a_record_changed_during_the_negotiation_adjusts_nothing(bank: Bank, change: dict[str, Any]) -> None:
    negotiating(bank)
    bank.change(**change)
    with pytest.raises(NotOwner):
        run(adjust_escrow, "AdjustEscrow")
    assert bank.get("Escrow", "r1")["hours"] == Decimal("2.5") and bank.total() == 10


# --- StartServiceExecution ------------------------------------------------------------------------


def test_a_service_starts_without_token_and_without_a_confirmation_from_before(bank: Bank) -> None:
    awaiting(bank)
    bank.change(providerResponse="ACCEPTED", requesterResponse="COMPLETED")

    assert run(start_service_execution, "StartServiceExecution") == "IN_PROGRESS"

    request = bank.get("ServiceRequest", "r1")
    assert request["status"] == "IN_PROGRESS"
    assert not {"taskToken", "taskTokenAttempt", "requesterResponse"} & request.keys()
    told = [(event["event"], event["role"], event["userId"]) for event in bank.told[-2:]]
    assert told == [("ServiceStarted", "requester", "ana"), ("ServiceStarted", "provider", "ben")]


def test_a_confirmation_after_the_start_survives_a_second_run(bank: Bank) -> None:
    in_progress(bank, requesterResponse="COMPLETED")
    run(start_service_execution, "StartServiceExecution")
    assert bank.get("ServiceRequest", "r1")["requesterResponse"] == "COMPLETED"


# --- the endings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("state_and_cause", "expected"), endings.ENDINGS.items(), ids=str)
def test_the_newest_event_decides_how_a_request_ends(
    state_and_cause: tuple[str, str], expected: tuple[str, endings.Reason]
) -> None:
    state, cause = state_and_cause
    order = list(dict.fromkeys(name for name, _ in endings.ENDINGS))
    older = {name: {"Error": "NotOwner"} for name in order[order.index(state) + 1 :]}
    error = {"Error": cause, "Cause": json.dumps({"errorMessage": "in words"})}
    status, reason = expected
    told = reason if reason.words else endings.Reason(reason.code, "in words")
    assert endings.ending("RefundEscrow", older | {state: error}) == (status, told)
    assert endings.ending("RefundAfterFailure", older | {state: error})[0] == "FAILED"


@pytest.mark.parametrize(
    "states", [{}, {"ValidateRequest": None}, {"EscrowHours": {"Error": "Surprise"}}, {"AdjustEscrow": {"hours": "4"}}]
)
def test_an_ending_that_nobody_foresaw_is_a_failure(states: dict[str, Any]) -> None:
    assert endings.ending("RefundEscrow", states)[0] == "FAILED"


def test_a_cause_that_is_not_lambdas_json_still_ends_the_request() -> None:
    states = {"ProcessNegotiation": {"Error": "IllegalOffer", "Cause": "no json"}}
    assert endings.ending("RefundEscrow", states) == ("DECLINED", ("OFFER_ILLEGAL", "IllegalOffer"))


def test_an_id_that_was_used_before_has_a_code_of_its_own() -> None:
    cause = json.dumps({"errorMessage": endings.ID_USED_BEFORE.words})
    states = {"EscrowHours": {"Error": "ValidationFailed", "Cause": cause}}
    assert endings.ending("RejectRequest", states) == ("REJECTED", endings.ID_USED_BEFORE)


DECLINED = {"WaitForProviderResponse": {"answer": "REJECTED"}}


def test_a_refund_gives_back_and_ends_in_one_transaction(bank: Bank) -> None:
    awaiting(bank)

    assert run(refund_escrow, "RefundEscrow", states=DECLINED) == "DECLINED"

    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["failureReason"]) == ("DECLINED", "The provider declined")
    assert request["failureCode"] == "PROVIDER_DECLINED"
    assert "taskToken" not in request
    assert bank.get("Escrow", "r1")["status"] == "REFUNDED" and bank.balance("ana") == 10
    entry = bank.get("TransactionLog", "r1#ESCROW_REFUND")
    assert (entry["fromAccount"], entry["toAccount"], entry["hours"]) == ("escrow:r1", "user:ana", Decimal("2.5"))
    event = {"event": "RequestEnded", "requestId": "r1", "status": "DECLINED"}
    assert bank.told[-2:] == [
        event | {"userId": "ana", "role": "requester", "eventId": "r1#DECLINED#requester"},
        event | {"userId": "ben", "role": "provider", "eventId": "r1#DECLINED#provider"},
    ]


def meets_a_twin(monkeypatch: pytest.MonkeyPatch, twin: Callable[[], Any]) -> None:
    """Right after the next read, the same step runs to its end elsewhere."""
    read, twins = dynamodb.read, [twin]

    def read_and_step_aside(model: str, key: str) -> Any:
        item = read(model, key)
        if twins:
            twins.pop()()
        return item

    monkeypatch.setattr(dynamodb, "read", read_and_step_aside)


@pytest.mark.parametrize(
    ("handler", "state", "states", "status"),
    [
        (refund_escrow, "RefundEscrow", DECLINED, "DECLINED"),
        (refund_escrow, "RefundAfterFailure", {}, "FAILED"),
        (timeout_request, "TimeoutRequest", {}, "TIMED_OUT"),
    ],
)
def test_an_ending_that_meets_itself_says_how_it_ended(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, handler: Any, state: str, states: Any, status: str
) -> None:
    awaiting(bank)
    meets_a_twin(monkeypatch, lambda: run(handler, state, states=states))

    run(handler, state, states=states)

    ends = [(told["status"], told["role"]) for told in bank.told if told["event"] == "RequestEnded"]
    assert ends == [(status, "requester"), (status, "provider")] * 2
    assert bank.get("ServiceRequest", "r1")["status"] == status and bank.balance("ana") == 10


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_a_request_that_is_gone_gets_its_hours_back(bank: Bank, gone: str) -> None:
    awaiting(bank)
    bank.delete()
    if gone == "replaced":
        bank.request(requesterId="eve", stepFunctionExecutionArn=None)
    before = bank.all("ServiceRequest")

    run(refund_escrow, "RefundEscrow", states={"WaitForProviderResponse": {"Error": "NotOwner"}})

    assert bank.balance("ana") == 10 and bank.get("Escrow", "r1")["status"] == "REFUNDED"
    assert bank.all("ServiceRequest") == before


def test_a_balance_that_is_gone_is_made_again(bank: Bank) -> None:
    awaiting(bank)
    bank.remove("UserBalance", "ana")
    run(refund_escrow, "RefundEscrow", states=DECLINED)
    row = bank.get("UserBalance", "ana")
    assert row["availableBalance"] == Decimal("2.5") and row["__typename"] == "UserBalance" and row["createdAt"]


def test_a_balance_of_null_is_a_balance_of_nothing(bank: Bank) -> None:
    awaiting(bank)
    bank.put("UserBalance", userId="ana", availableBalance=None, createdAt=None)
    run(refund_escrow, "RefundEscrow", states=DECLINED)
    assert bank.balance("ana") == Decimal("2.5") and bank.get("UserBalance", "ana")["createdAt"]


def test_a_failure_before_the_claim_still_ends_the_request(bank: Bank) -> None:
    bank.request()
    assert run(refund_escrow, "RefundAfterFailure", states={"ValidateRequest": {"Error": "Lambda.Unknown"}}) == "FAILED"
    request = bank.get("ServiceRequest", "r1")
    assert request["status"] == "FAILED" and "technical" in request["failureReason"]
    with pytest.raises(NotOwner):
        run(create_escrow, "EscrowHours")
    assert bank.balance("ana") == 10


def test_a_hold_that_comes_after_the_rejection_holds_nothing(bank: Bank) -> None:
    validated(bank)
    run(reject_request, "RejectRequest", states={"EscrowHours": {"Error": "InsufficientBalance"}})
    with pytest.raises(NotOwner):
        run(create_escrow, "EscrowHours")
    assert bank.balance("ana") == 10 and not bank.all("Escrow")


def test_a_rejection_that_meets_a_hold_gives_it_back(bank: Bank) -> None:
    escrowed(bank)
    states = {"EscrowHours": {"Error": "InsufficientBalance", "Cause": "{}"}}
    assert run(reject_request, "RejectRequest", states=states) == "REJECTED"
    assert bank.balance("ana") == 10 and bank.get("Escrow", "r1")["status"] == "REFUNDED"


def test_a_service_in_progress_is_not_refunded_by_the_request_workflow(bank: Bank) -> None:
    in_progress(bank)
    assert run(refund_escrow, "RefundAfterFailure", states={}) == "IN_PROGRESS"
    assert bank.get("Escrow", "r1")["status"] == "HELD" and bank.get("ServiceRequest", "r1")["status"] == "IN_PROGRESS"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"providerResponse": "ACCEPTED"}, "ACCEPTED"),
        ({"providerResponse": "REJECTED", "requesterResponse": "CANCELLED"}, "REJECTED"),
        ({"requesterResponse": "CANCELLED"}, "CANCELLED"),
        ({"providerResponse": "perhaps"}, "UNKNOWN"),
        ({"providerResponse": "WITHDRAWN"}, "UNKNOWN"),
        ({"providerResponse": 5}, "UNKNOWN"),
    ],
)
def test_an_answer_that_was_stored_beats_the_time_out(bank: Bank, answers: dict[str, Any], found: str) -> None:
    awaiting(bank)
    bank.change(**answers)
    before = bank.everything()
    assert run(timeout_request, "TimeoutRequest") == {"answer": found}
    assert bank.everything() == before


@pytest.mark.parametrize("response", [None, "ACCEPTED", "COMPLETED"])
def test_silence_times_out_and_gives_the_hours_back(bank: Bank, response: str | None) -> None:
    awaiting(bank)
    bank.change(requesterResponse=response)
    assert run(timeout_request, "TimeoutRequest") == {"answer": "TIMED_OUT"}
    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["failureReason"]) == ("TIMED_OUT", "The provider did not answer in time")
    assert bank.balance("ana") == 10 and bank.told[-1]["status"] == "TIMED_OUT"


def test_a_wait_that_ran_out_before_its_token_was_stored_times_out_too(bank: Bank) -> None:
    escrowed(bank)
    assert run(timeout_request, "TimeoutRequest") == {"answer": "TIMED_OUT"}
    with pytest.raises(requests.IllegalMove, match="TIMED_OUT to AWAITING_PROVIDER"):
        run(notify_provider, "WaitForProviderResponse", taskToken="late")
    assert bank.balance("ana") == 10


def test_the_negotiation_times_out_on_the_requesters_silence_alone(bank: Bank) -> None:
    negotiating(bank)
    assert run(timeout_request, "TimeoutNegotiation") == {"answer": "TIMED_OUT"}
    assert "requester" in bank.get("ServiceRequest", "r1")["failureReason"] and bank.balance("ana") == 10


def test_an_acceptance_of_the_offer_beats_the_time_out(bank: Bank) -> None:
    negotiating(bank)
    bank.change(requesterResponse="ACCEPTED")
    assert run(timeout_request, "TimeoutNegotiation") == {"answer": "ACCEPTED"}


def test_an_acceptance_from_before_the_offer_was_shown_is_none(bank: Bank) -> None:
    awaiting(bank)
    bank.change(providerResponse="COUNTER_OFFER", counterOfferHours=Decimal(4), requesterResponse="ACCEPTED")
    assert run(timeout_request, "TimeoutNegotiation") == {"answer": "TIMED_OUT"}
    assert bank.balance("ana") == 10


# --- the release workflow -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "decision"),
    [
        ({"requesterResponse": "COMPLETED"}, "RELEASE"),
        ({"providerResponse": "WITHDRAWN"}, "REFUND"),
        ({"requesterResponse": "COMPLETED", "providerResponse": "WITHDRAWN"}, "RELEASE"),
        ({"providerResponse": "ACCEPTED"}, "NOTHING"),
    ],
)
def test_the_answers_decide_about_the_hours(bank: Bank, answers: dict[str, Any], decision: str) -> None:
    in_progress(bank, **answers)
    assert validate_escrow_release.handler(release_event("ValidateEscrowRelease"), CONTEXT) == {"decision": decision}


@pytest.mark.parametrize("row", [None, 1])
def test_the_provider_is_paid(bank: Bank, row: int | None) -> None:
    if row:
        bank.give("ben", row)
    in_progress(bank, requesterResponse="COMPLETED")

    assert process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT) == "COMPLETED"

    assert bank.balance("ben") == Decimal("2.5") + (row or 0)
    assert bank.get("ServiceRequest", "r1")["status"] == "COMPLETED"
    assert bank.get("Escrow", "r1")["status"] == "RELEASED"
    entry = bank.get("TransactionLog", "r1#ESCROW_RELEASE")
    assert (entry["fromAccount"], entry["toAccount"], entry["hours"]) == ("escrow:r1", "user:ben", Decimal("2.5"))
    assert bank.told[-1]["status"] == "COMPLETED"


def test_a_withdrawal_gives_the_hours_back(bank: Bank) -> None:
    in_progress(bank, providerResponse="WITHDRAWN")
    assert refund_escrow.handler(release_event("RefundEscrow", decision="REFUND"), CONTEXT) == "CANCELLED"
    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["failureReason"]) == ("CANCELLED", "The provider withdrew")
    assert request["failureCode"] == "PROVIDER_WITHDREW"
    assert bank.balance("ana") == 10


@pytest.mark.parametrize("answers", [{"requesterResponse": None}, {"requesterResponse": "CANCELLED"}])
def test_a_confirmation_taken_back_pays_nobody(bank: Bank, answers: dict[str, Any]) -> None:
    in_progress(bank, **answers)
    before = bank.everything()
    assert process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT) == "NOTHING_TO_DO"
    assert bank.everything() == before


def test_a_withdrawal_that_meets_a_confirmation_refunds_nothing(bank: Bank) -> None:
    in_progress(bank, providerResponse="WITHDRAWN", requesterResponse="COMPLETED")
    before = bank.everything()
    assert refund_escrow.handler(release_event("RefundEscrow", decision="REFUND"), CONTEXT) == "NOTHING_TO_DO"
    assert bank.everything() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stepFunctionExecutionArn": "other"}, "another execution"),
        ({"providerId": "mallory"}, "other people"),
        ({"requesterId": "mallory"}, "other people"),
    ],
)
def test_a_request_that_does_not_fit_its_escrow_pays_nobody(bank: Bank, change: dict[str, Any], reason: str) -> None:
    in_progress(bank, requesterResponse="COMPLETED", **change)
    before = bank.everything()
    for handler, state in (
        (validate_escrow_release, "ValidateEscrowRelease"),
        (process_escrow_release, "ProcessEscrowRelease"),
    ):
        with pytest.raises(ReleaseRefused, match=reason):
            handler.handler(release_event(state), CONTEXT)
    assert bank.everything() == before


def test_no_escrow_no_release(bank: Bank) -> None:
    bank.request(status="IN_PROGRESS", requesterResponse="COMPLETED")
    with pytest.raises(ReleaseRefused, match="No hours are held"):
        validate_escrow_release.handler(release_event("ValidateEscrowRelease"), CONTEXT)


def test_hours_without_a_request_stay_held(bank: Bank) -> None:
    in_progress(bank, requesterResponse="COMPLETED")
    bank.delete()
    with pytest.raises(ReleaseRefused, match="gone"):
        process_escrow_release.handler(release_event("ProcessEscrowRelease"), CONTEXT)
    assert bank.get("Escrow", "r1")["status"] == "HELD"


@pytest.mark.parametrize("request_id", [None, "", 3])
def test_a_release_of_nothing_is_refused(bank: Bank, request_id: Any) -> None:
    with pytest.raises(ReleaseRefused, match="requestId"):
        validate_escrow_release.handler(event("ValidateEscrowRelease", request_id), CONTEXT)


# --- twice is once --------------------------------------------------------------------------------

STEPS = {
    "ValidateRequest": (lambda bank: bank.request(), validate_service_request, {}),
    "EscrowHours": (validated, create_escrow, {}),
    "WaitForProviderResponse": (escrowed, notify_provider, {"taskToken": "t"}),
    "ProcessNegotiation": (negotiating, process_negotiation, {"taskToken": "token-2"}),
    "AdjustEscrow": (negotiating, adjust_escrow, {}),
    "StartServiceExecution": (awaiting, start_service_execution, {}),
    "TimeoutRequest": (awaiting, timeout_request, {}),
    "TimeoutNegotiation": (negotiating, timeout_request, {}),
    "RefundEscrow": (awaiting, refund_escrow, {"states": DECLINED}),
    "RefundAfterFailure": (escrowed, refund_escrow, {"states": {}}),
    "RejectRequest": (validated, reject_request, {"states": {"EscrowHours": {"Error": "InsufficientBalance"}}}),
    "ProcessEscrowRelease": (lambda bank: in_progress(bank, requesterResponse="COMPLETED"), process_escrow_release, {}),
    "withdrawal": (
        lambda bank: in_progress(bank, providerResponse="WITHDRAWN"), refund_escrow, {"decision": "REFUND"},
    ),
}  # fmt: skip


BOTH = {"requester", "provider"}
TELLS = {
    "WaitForProviderResponse": {"provider"},
    "ProcessNegotiation": {"requester"},
    "StartServiceExecution": BOTH,
    "TimeoutRequest": BOTH,
    "TimeoutNegotiation": BOTH,
    "RefundEscrow": BOTH,
    # here of a request whose provider was not asked yet
    "RefundAfterFailure": {"requester"},
    "RejectRequest": {"requester"},
    "ProcessEscrowRelease": BOTH,
    "withdrawal": BOTH,
}


@pytest.mark.parametrize("state", STEPS)
def test_a_second_run_changes_nothing_and_answers_the_same(bank: Bank, state: str) -> None:
    prepare, handler, more = STEPS[state]
    prepare(bank)
    bank.told.clear()
    first = run(handler, state, **more)
    once, told = bank.everything(), bank.told[:]
    assert {event["role"] for event in told} == TELLS.get(state, set())
    bank.told.clear()

    assert run(handler, state, **more) == first

    assert bank.everything() == once
    assert bank.told == told, "whoever missed an event gets it again, with the same eventId"
    assert bank.total() == 10


@pytest.mark.parametrize("state", STEPS)
def test_a_crash_after_the_commit_loses_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    prepare, handler, more = STEPS[state]
    prepare(bank)
    written = dynamodb._written

    def crash(writes: Any) -> bool:
        written(writes)
        raise ConnectionError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(dynamodb, "_written", crash)
        try:
            run(handler, state, **more)
        except ConnectionError:
            pass
        else:
            assert state == "ProcessNegotiation", "every other step writes"
    committed = bank.everything()
    bank.told.clear()

    run(handler, state, **more)

    assert bank.everything() == committed and bank.total() == 10
    assert {event["role"] for event in bank.told} == TELLS.get(state, set())


# --- what people and logs may see -----------------------------------------------------------------


def test_every_line_of_the_log_has_the_requests_id_and_none_the_token(
    bank: Bank, log: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    awaiting(bank)
    run(timeout_request, "TimeoutRequest")
    out = log.readouterr().out
    assert "token-1" not in out
    metrics = [line for line in map(json.loads, out.splitlines()) if "_aws" in line]
    assert {"HoursHeld": 2.5} in [{name: line[name][0] for name in line if name == "HoursHeld"} for line in metrics]
    assert any(line.get("outcome") == "TIMED_OUT" and line["RequestEnded"] == [1.0] for line in metrics)
    assert any(line.get("HoursRefunded") == [2.5] for line in metrics)


def test_what_was_done_before_is_not_counted_twice(bank: Bank, log: pytest.CaptureFixture[str]) -> None:
    validated(bank)
    run(create_escrow, "EscrowHours")
    run(create_escrow, "EscrowHours")
    assert log.readouterr().out.count('"HoursHeld":[') == 1


# --- names, hours, transitions --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_id", "plain"),
    [
        ("a", True),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("x" * 200, False),
        ("0f8fad5b-d9cb-469f-a165-123456789012", False),
        ("r-2", False),
        ("réservation", False),
        ("id with space", False),
        ("a#b", False),
        ("日本", False),
    ],
)
def test_the_names_of_executions(request_id: str, plain: bool) -> None:
    name = execution_name(REQUEST_PREFIX, request_id)
    assert (name == f"service-request-{request_id}") is plain
    for number in (1, 2, 37):
        name = execution_name(REQUEST_PREFIX, request_id, number)
        assert len(name) <= 80 and name.isascii()
        assert name.endswith(f"-{number}") is (number > 1)


def test_no_two_requests_share_a_name() -> None:
    ids = ["r", "r-2", "r-1", "r-02", "r-2-2", "R", "x" * 64, "x" * 65, "r 2"]
    names = [execution_name(REQUEST_PREFIX, id_, number) for id_ in ids for number in (1, 2, 3, 20)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "text", ["0.01", "1", "1E+1", "1000000", "999999.99", "2.50", "0.0100000000000000000000000000000000000"]
)
def test_legal_hours(text: str) -> None:
    assert hours.is_legal(Decimal(text))


@pytest.mark.parametrize(
    "value",
    [
        *(None, 1, 1.5, "1", True, Decimal(0), Decimal(-1), Decimal("0.001"), Decimal("NaN"), Decimal("Infinity")),
        *(Decimal("1000000.01"), Decimal("1E+50"), Decimal("1E-50"), Decimal("0.3" + "0" * 500 + "1")),
    ],
)
def test_illegal_hours(value: Any) -> None:
    assert not hours.is_legal(value)


def test_statuses_only_move_along_legal_transitions(bank: Bank) -> None:
    reachable = {"PENDING"}
    for _ in requests.TRANSITIONS:
        reachable |= {after for before in reachable for after in requests.TRANSITIONS[before]}
    assert reachable == set(requests.TRANSITIONS)
    for before, afters in requests.TRANSITIONS.items():
        for after in set(requests.TRANSITIONS) - afters - {before}:
            with pytest.raises(requests.IllegalMove, match=f"{before} to {after}"):
                requests.move({"id": "r1", "status": before}, after)


def test_null_is_absent_whatever_the_attribute() -> None:
    image = {name: dynamodb.typed(value) for name, value in {"a": None, "b": "", "c": Decimal(1)}.items()}
    assert dynamodb.from_image(image) == {"b": "", "c": Decimal(1)}


def test_only_the_ledger_writes_the_ledger() -> None:
    assert ledger.dynamodb is dynamodb
    for module in (validate_service_request, notify_provider, start_service_execution, process_negotiation, requests):
        text = module.__loader__.get_source(module.__name__)  # type: ignore[union-attr]
        assert not any(f'Change("{model}"' in text or f'put("{model}"' in text for model in ("Escrow", "UserBalance"))


# --- an operator settles what the workflows could not ------------------------------------------------


class Owner:
    """The execution that is to be settled, as Step Functions describes it; None: forgotten."""

    def __init__(self, status: str | None) -> None:
        self.status = status

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803
        assert executionArn == ARN + "service-request-r1"
        if self.status is None:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return {"status": self.status}


def settle(monkeypatch: pytest.MonkeyPatch, owner: str | None, **order: Any) -> str:
    """Runs the release workflow's states with an operator's order; the outcome."""
    monkeypatch.setattr(execution, "client", lambda _: Owner(owner))
    given = {"decision": "REFUND", "by": "olga", "reason": "the code was wrong"} | order
    decided = validate_escrow_release.handler(release_event("ValidateEscrowRelease", given=given), CONTEXT)
    if decided["decision"] == "NOTHING":
        return "NOTHING_TO_DO"
    if decided["decision"] == "RELEASE":
        return process_escrow_release.handler(release_event("ProcessEscrowRelease", given=given), CONTEXT)
    return refund_escrow.handler(release_event("RefundEscrow", given=given, decision=decided["decision"]), CONTEXT)


@pytest.mark.parametrize("prepare", [escrowed, awaiting, negotiating, in_progress])
@pytest.mark.parametrize("owner", ["FAILED", "ABORTED", "SUCCEEDED", None])
@pytest.mark.parametrize("decision", ["RELEASE", "REFUND"])
def test_an_operator_settles(
    bank: Bank,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.CaptureFixture[str],
    prepare: Any,
    owner: Any,
    decision: str,
) -> None:
    prepare(bank)
    status = "COMPLETED" if decision == "RELEASE" else "CANCELLED" if prepare is in_progress else "FAILED"

    bank.told.clear()
    assert settle(monkeypatch, owner, decision=decision) == status
    is_concerned = decision == "RELEASE" or prepare is not escrowed
    people = [("requester", "ana"), ("provider", "ben")] if is_concerned else [("requester", "ana")]
    assert [(told["role"], told["userId"]) for told in bank.told] == people

    request = bank.get("ServiceRequest", "r1")
    assert request["status"] == status and request.get("taskToken") is None
    assert request.get("failureReason") == (None if decision == "RELEASE" else "the code was wrong")
    assert request.get("failureCode") == (None if decision == "RELEASE" else "OPERATOR_DECIDED")
    assert bank.balance("ben" if decision == "RELEASE" else "ana") == (Decimal("2.5") if decision == "RELEASE" else 10)
    assert bank.total() == 10
    assert '"by":"olga","reason":"the code was wrong"' in log.readouterr().out
    settled = bank.everything()
    settle(monkeypatch, owner, decision=decision)
    assert bank.everything() == settled


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_an_operator_settles_without_the_request(bank: Bank, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    awaiting(bank)
    bank.delete()
    if gone == "replaced":
        bank.request(stepFunctionExecutionArn="other")
    before = bank.all("ServiceRequest")
    settle(monkeypatch, "FAILED")
    assert bank.balance("ana") == 10 and bank.all("ServiceRequest") == before


def test_two_settlements_at_once_say_the_same(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    awaiting(bank)
    meets_a_twin(monkeypatch, lambda: ledger.settle("r1", "REFUND", "the code was wrong"))
    assert ledger.settle("r1", "REFUND", "the code was wrong").outcome == "FAILED"
    assert bank.balance("ana") == 10


def test_nobody_settles_under_an_execution_that_runs(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    awaiting(bank)
    with pytest.raises(ReleaseRefused, match="still running"):
        settle(monkeypatch, "RUNNING")


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"by": ""}, "needs `by`"),
        ({"by": None}, "needs `by`"),
        ({"reason": "  "}, "and `reason`"),
        ({"decision": "KEEP"}, "RELEASE or REFUND"),
        ({"decision": None}, "RELEASE or REFUND"),
        ({"decision": ["REFUND"]}, "RELEASE or REFUND"),
    ],
)
def test_an_order_says_what_who_and_why(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any], reason: str
) -> None:
    awaiting(bank)
    with pytest.raises(ReleaseRefused, match=reason):
        settle(monkeypatch, "FAILED", **order)
    assert bank.get("Escrow", "r1")["status"] == "HELD"


def test_nothing_is_settled_twice(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    awaiting(bank)
    run(refund_escrow, "RefundEscrow", states=DECLINED)
    settled = bank.everything()
    assert settle(monkeypatch, "FAILED", decision="RELEASE") == "NOTHING_TO_DO"
    assert bank.everything() == settled


@pytest.mark.parametrize("decision", ["RELEASE", "REFUND"])
def test_no_hours_no_settlement(bank: Bank, monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    bank.request()
    with pytest.raises(ReleaseRefused, match="No hours are held"):
        settle(monkeypatch, "FAILED", decision=decision)


def test_a_request_that_was_left_validating_is_ended_by_a_refund_alone(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated(bank)
    with pytest.raises(ReleaseRefused, match="still running"):
        settle(monkeypatch, "RUNNING")
    with pytest.raises(ReleaseRefused, match="No hours are held"):
        settle(monkeypatch, "ABORTED", decision="RELEASE")
    assert bank.get("ServiceRequest", "r1")["status"] == "VALIDATING"

    assert settle(monkeypatch, "ABORTED") == "FAILED"

    request = bank.get("ServiceRequest", "r1")
    assert (request["status"], request["failureReason"]) == ("FAILED", "the code was wrong")
    assert request["failureCode"] == "OPERATOR_DECIDED"
    assert bank.balance("ana") == bank.total() == 10
    settled = bank.everything()
    assert ledger.settle("r1", "REFUND", "again").outcome == "FAILED"
    assert ledger.settle("r1", "RELEASE", "again").outcome == "FAILED"
    assert bank.everything() == settled


@pytest.mark.parametrize("owner", ["another", ARN + "service-request-r1"])
def test_a_request_whose_id_was_used_before_is_not_settled_for_another(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    validated(bank)
    bank.put("Escrow", id="r1", executionArn=owner, status="RELEASED", requesterId="eve", providerId="ben")
    with pytest.raises(ReleaseRefused, match="No hours are held for this request"):
        settle(monkeypatch, "ABORTED", decision="RELEASE")
    before = bank.everything()
    assert settle(monkeypatch, "ABORTED") == "FAILED"
    after = bank.everything()
    assert after.pop("ServiceRequest") != before.pop("ServiceRequest") and after == before, "only the request ended"


def test_an_execution_of_another_deployment_is_not_asked_for(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a table was copied: this deployment may not look at it."""
    awaiting(bank)
    elsewhere = ARN.replace("Workflow-test", "Workflow-prod") + "service-request-r1"
    bank.put("Escrow", **bank.get("Escrow", "r1") | {"executionArn": elsewhere})
    bank.change(stepFunctionExecutionArn=elsewhere)
    assert settle(monkeypatch, "RUNNING") == "FAILED"
    assert bank.balance("ana") == 10
