"""Who says what, when, and in which order: whole requests through stream, router and workflows with time skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from handlers import route_service_request
from hourbank.simulate.executions import Call, Invocation, LambdaError, Moment, SimulatedExecution
from hourbank.simulate.program import SEVEN_DAYS
from hourbank.simulate.world import World, deployed


@pytest.fixture
def world() -> Iterator[World]:
    with deployed() as world:
        world.grant("ann", 10)
        yield world
        assert world.dead_letters == []


def status(world: World, request_id: str = "r1") -> Any:
    return world.ledger().requests[request_id]["status"]


def wait_for_provider(world: World, **record: Any) -> SimulatedExecution:
    world.submit("r1", **record)
    world.settle()
    [execution] = world.executions
    assert execution.waiting == "WaitForProviderResponse"
    return execution


def negotiate(world: World, hours: str = "4.5") -> SimulatedExecution:
    execution = wait_for_provider(world)
    world.update("r1", providerResponse="COUNTER_OFFER", counterOfferHours=Decimal(hours))
    world.settle()
    assert execution.waiting == "ProcessNegotiation"
    return execution


def start_service(world: World) -> SimulatedExecution:
    execution = wait_for_provider(world)
    world.update("r1", providerResponse="ACCEPTED")
    world.settle()
    assert status(world) == "IN_PROGRESS"
    return execution


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ({"providerResponse": "ACCEPTED"}, "IN_PROGRESS"),
        ({"providerResponse": "REJECTED"}, "DECLINED"),
        ({"requesterResponse": "CANCELLED"}, "CANCELLED"),
        ({"providerResponse": "ACCEPTED", "requesterResponse": "CANCELLED"}, "IN_PROGRESS"),
    ],
)
def test_an_answer_from_before_the_token_is_seen_with_the_token(world: World, answer: dict[str, str], end: str) -> None:
    world.submit("r1")
    world.settle(until="WaitForProviderResponse")
    world.update("r1", **answer)
    world.deliver()
    world.go_on(world.executions[0])
    assert status(world) == end


def test_the_providers_answer_beats_a_cancellation(world: World) -> None:
    wait_for_provider(world)
    world.update("r1", requesterResponse="CANCELLED", providerResponse="ACCEPTED")
    world.settle()
    assert status(world) == "IN_PROGRESS"


def test_confirmed_beats_withdrawn(world: World) -> None:
    start_service(world)
    world.update("r1", requesterResponse="COMPLETED", providerResponse="WITHDRAWN")
    world.settle()
    assert status(world) == "COMPLETED"
    assert world.ledger().balance("bob") == 3


def test_of_two_answers_at_once_the_first_counts_and_the_second_does_no_harm(world: World) -> None:
    wait_for_provider(world)
    world.update("r1", providerResponse="ACCEPTED")
    world.update("r1", providerResponse="REJECTED")
    world.settle()
    assert status(world) == "IN_PROGRESS"
    assert world.redelivered == []


def test_a_cancellation_from_before_ends_a_negotiation_at_once(world: World) -> None:
    execution = wait_for_provider(world)
    world.update(
        "r1", requesterResponse="CANCELLED", providerResponse="COUNTER_OFFER", counterOfferHours=Decimal("4.5")
    )
    world.settle()
    assert status(world) == "CANCELLED"
    assert "ProcessNegotiation" in execution.states


def test_a_yes_from_before_the_offer_is_no_answer_to_it(world: World) -> None:
    execution = wait_for_provider(world)
    world.update("r1", requesterResponse="ACCEPTED")
    world.settle()
    assert execution.waiting == "WaitForProviderResponse"
    world.update("r1", providerResponse="COUNTER_OFFER", counterOfferHours=Decimal("9.99"))
    world.settle()
    assert execution.waiting == "ProcessNegotiation"
    assert world.ledger().requests["r1"].get("requesterResponse") is None
    world.update("r1", requesterResponse="ACCEPTED")
    world.settle()
    assert world.ledger().held() == {"r1": Decimal("9.99")}


def test_what_the_requester_was_shown_is_what_is_held(world: World) -> None:
    negotiate(world)
    world.update("r1", counterOfferHours=Decimal(9))
    world.update("r1", requesterResponse="ACCEPTED")
    world.settle()
    assert status(world) == "IN_PROGRESS"
    assert world.ledger().held() == {"r1": Decimal("4.5")}


def test_less_than_was_held_gives_the_rest_back(world: World) -> None:
    negotiate(world, "0.01")
    world.update("r1", requesterResponse="ACCEPTED")
    world.settle()
    assert world.ledger().held() == {"r1": Decimal("0.01")}
    assert world.ledger().balance("ann") == Decimal("9.99")


def test_a_service_cannot_be_confirmed_before_it_began(world: World) -> None:
    wait_for_provider(world)
    world.update("r1", requesterResponse="COMPLETED")
    world.settle()
    world.update("r1", providerResponse="ACCEPTED")
    world.settle()
    assert status(world) == "IN_PROGRESS"
    world.update("r1", requesterResponse="COMPLETED")
    world.settle()
    assert status(world) == "COMPLETED"


@pytest.mark.parametrize("answer", ["ACCEPTED", "REJECTED", "PERHAPS", "COMPLETED", None])
def test_the_requester_cannot_answer_for_the_provider(world: World, answer: str | None) -> None:
    execution = wait_for_provider(world)
    world.update("r1", requesterResponse=answer)
    world.settle()
    assert execution.waiting == "WaitForProviderResponse"
    world.expire(execution)
    assert status(world) == "TIMED_OUT"


@pytest.mark.parametrize("answer", ["COMPLETED", "PERHAPS", "", None])
def test_an_offer_is_accepted_or_it_is_not(world: World, answer: str | None) -> None:
    execution = negotiate(world)
    world.update("r1", requesterResponse=answer)
    world.settle()
    assert execution.waiting == "ProcessNegotiation"
    world.expire(execution)
    assert status(world) == "TIMED_OUT"
    assert world.ledger().balance("ann") == 10


# --- too late, twice, or lost -----------------------------------------------------------------------------------------


def test_an_answer_after_the_end_changes_nothing(world: World) -> None:
    execution = wait_for_provider(world)
    world.expire(execution)
    assert execution.seconds == SEVEN_DAYS
    world.update("r1", providerResponse="ACCEPTED")
    world.settle()
    assert status(world) == "TIMED_OUT"
    assert world.ledger().balance("ann") == 10
    assert world.redelivered == []


def test_the_stream_may_deliver_everything_twice() -> None:
    def twice(event: Any, context: Any) -> Any:
        route_service_request.handler(event, context)
        return route_service_request.handler(event, context)

    with deployed(handlers={"routeServiceRequest": twice}) as world:
        world.grant("ann", 10)
        start_service(world)
        world.update("r1", requesterResponse="COMPLETED")
        world.settle()
        assert status(world) == "COMPLETED"
        assert [execution.name for execution in world.executions] == ["service-request-r1", "escrow-release-r1"]
        assert world.redelivered == []


@pytest.mark.parametrize(
    ("before", "end"),
    [
        ({"status": None}, "AWAITING_PROVIDER"),
        ({"providerResponse": "ACCEPTED"}, "IN_PROGRESS"),
        ({"requesterResponse": "COMPLETED"}, "COMPLETED"),
    ],
)
def test_touching_a_record_repairs_what_the_stream_lost(world: World, before: dict[str, Any], end: str) -> None:
    if "status" in before:
        world.submit("r1")
    else:
        (wait_for_provider if "providerResponse" in before else start_service)(world)
        world.update("r1", **before)
    world.lose_stream()
    world.settle()
    assert status(world) != end
    world.update("r1", updatedAt="2026-11-23T12:00:00.000Z")
    world.settle()
    assert status(world) == end


def test_one_bad_record_is_given_up_and_the_others_go_on(world: World) -> None:
    for request_id in ("r1", "r2", "r3"):
        world.submit(request_id, estimatedHours=Decimal(1))

    def on_call(call: Call, moment: Moment) -> None:
        if call.operation == "StartExecution" and call.parameters["name"] == "service-request-r2":
            raise ConnectionError("no route")

    world.on_call = on_call
    world.settle()
    assert [status(world, request_id) for request_id in ("r1", "r2", "r3")] == [
        "AWAITING_PROVIDER",
        None,
        "AWAITING_PROVIDER",
    ]
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in world.dead_letters] == ["r2"]
    world.dead_letters.clear()
    world.on_call = None
    world.update("r2", updatedAt="2026-11-23T12:00:00.000Z")
    world.settle()
    assert status(world, "r2") == "AWAITING_PROVIDER"


def test_a_decision_taken_back_in_time_moves_nothing(world: World) -> None:
    start_service(world)
    world.update("r1", providerResponse="WITHDRAWN")
    world.settle(until="RefundEscrow")
    world.update("r1", requesterResponse="COMPLETED")
    world.go_on(world.executions[-1])
    assert world.execution("escrow-release-r1").output["outcome"] == "NOTHING_TO_DO"
    assert world.execution("escrow-release-r1-2").output["outcome"] == "COMPLETED"
    assert world.ledger().balance("bob") == 3


def test_a_confirmation_wins_against_a_withdrawal_that_comes_while_it_is_paid(world: World) -> None:
    start_service(world)
    world.update("r1", requesterResponse="COMPLETED")
    world.settle(until="ProcessEscrowRelease")
    world.update("r1", providerResponse="WITHDRAWN")
    world.go_on(world.executions[-1])
    assert status(world) == "COMPLETED"
    assert world.ledger().balance("bob") == 3


# --- between a step's read and its write ------------------------------------------------------------------------------


def just_before_the_write(world: World, state: str, act: Callable[[], Any]) -> None:
    """Let something happen when the function of a state has read and decided, and is about to write."""
    done: list[str] = []

    def on_call(call: Call, moment: Moment) -> None:
        writes = call.operation in ("TransactWriteItems", "UpdateItem")
        if writes and moment == "before" and call.invocation.state == state and not done:
            done.append(state)
            act()

    world.on_call = on_call


def test_an_answer_while_the_time_out_is_written_counts(world: World) -> None:
    execution = wait_for_provider(world)
    just_before_the_write(world, "TimeoutRequest", lambda: world.update("r1", providerResponse="ACCEPTED"))
    world.expire(execution)
    assert status(world) == "IN_PROGRESS"


def test_a_yes_while_the_negotiations_time_out_is_written_counts(world: World) -> None:
    execution = negotiate(world)
    just_before_the_write(world, "TimeoutNegotiation", lambda: world.update("r1", requesterResponse="ACCEPTED"))
    world.expire(execution)
    assert status(world) == "IN_PROGRESS"
    assert world.ledger().held() == {"r1": Decimal("4.5")}


def test_a_hold_that_was_given_up_for_dead_cannot_slip_in_after_the_refund(world: World) -> None:
    dead: list[Invocation] = []

    def on_invoke(invocation: Invocation, moment: Moment) -> None:
        if invocation.state == "EscrowHours" and not holding:
            dead.append(invocation)
            raise TimeoutError

    holding: list[bool] = []

    def hold() -> None:
        holding.append(True)
        world.invoke("createEscrow", dead[0].event, machine=dead[0].machine, state="EscrowHours")

    world.on_invoke = on_invoke
    just_before_the_write(world, "RefundAfterFailure", hold)
    world.submit("r1")
    world.settle()
    assert status(world) == "FAILED"
    assert world.ledger().escrows["r1"]["status"] == "REFUNDED"
    assert world.ledger().balance("ann") == 10


def test_a_confirmation_taken_back_while_it_is_paid_is_not_paid(world: World) -> None:
    start_service(world)
    just_before_the_write(world, "ProcessEscrowRelease", lambda: world.update("r1", requesterResponse=None))
    world.update("r1", requesterResponse="COMPLETED")
    world.settle()
    assert world.execution("escrow-release-r1").output["outcome"] == "NOTHING_TO_DO"
    assert status(world) == "IN_PROGRESS"
    assert world.ledger().held() == {"r1": 3}


def test_hours_spent_while_they_are_held_are_not_held(world: World) -> None:
    just_before_the_write(world, "EscrowHours", lambda: world.give("ann", -8))
    world.submit("r1")
    world.settle()
    assert status(world) == "REJECTED"
    assert world.ledger().balance("ann") == 2


def test_an_offer_changed_while_it_is_fixed_is_read_again(world: World) -> None:
    just_before_the_write(world, "ProcessNegotiation", lambda: world.update("r1", counterOfferHours=Decimal(5)))
    negotiate(world)
    assert world.ledger().requests["r1"]["offeredHours"] == 5


def test_a_request_deleted_while_it_starts_gives_the_hours_back(world: World) -> None:
    just_before_the_write(world, "StartServiceExecution", lambda: world.delete("r1"))
    wait_for_provider(world)
    world.update("r1", providerResponse="ACCEPTED")
    world.settle()
    assert world.executions[0].output["outcome"] == "CANCELLED"
    assert world.ledger().balance("ann") == 10


# --- whose request ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["service-request-r1-2", "by-hand", "service-request-r2"])
def test_a_second_execution_touches_nothing(world: World, name: str) -> None:
    first = wait_for_provider(world)
    before = world.ledger()
    second = world.start("ServiceRequestWorkflow", name, {"requestId": "r1"})
    world.settle()
    assert second.states == ["ValidateRequest", "NotOwner"]
    assert second.output["outcome"] == "NOT_OWNER"
    assert world.ledger() == before
    world.update("r1", providerResponse="ACCEPTED")
    world.settle()
    assert first.output["outcome"] == "IN_PROGRESS"


def test_a_request_that_was_started_by_hand_is_not_started_again(world: World) -> None:
    world.submit("r1")
    world.start("ServiceRequestWorkflow", "service-request-r1", {"requestId": "r1", "serviceId": "gardening"})
    world.deliver()
    assert [execution.name for execution in world.executions] == ["service-request-r1"]
    world.settle()
    assert status(world) == "AWAITING_PROVIDER"
    assert world.redelivered == []


@pytest.mark.parametrize("given", [{}, {"requestId": None}, {"requestId": ["r1"]}, {"requestId": ""}, {"requestId": 1}])
def test_an_execution_without_a_request_touches_nothing(world: World, given: dict[str, Any]) -> None:
    execution = world.start("ServiceRequestWorkflow", "by-hand", given)
    world.settle()
    assert execution.output["outcome"] == "NOT_OWNER"


@pytest.mark.parametrize("more", [{"estimatedHours": 2}, {"requesterId": "eve"}, {"providerId": "ann"}])
def test_input_that_differs_from_the_record_is_refused(world: World, more: dict[str, Any]) -> None:
    world.submit("r1")
    world.lose_stream()
    world.start("ServiceRequestWorkflow", "service-request-r1", {"requestId": "r1", **more})
    world.settle()
    assert status(world) == "REJECTED"
    assert world.ledger().requests["r1"]["failureReason"].startswith("The execution's input")


def test_input_that_says_what_the_record_says_is_fine(world: World) -> None:
    world.submit("r1", estimatedHours=Decimal("2.50"))
    world.lose_stream()
    given = {
        "requestId": "r1",
        "estimatedHours": 2.5,
        "requesterId": "ann",
        "providerId": "bob",
        "serviceId": "gardening",
    }
    world.start("ServiceRequestWorkflow", "service-request-r1", given)
    world.settle()
    assert status(world) == "AWAITING_PROVIDER"


@pytest.mark.parametrize("state", ["WaitForProviderResponse", "ProcessNegotiation"])
def test_a_request_deleted_while_it_waits_gives_the_hours_back(world: World, state: str) -> None:
    execution = wait_for_provider(world) if state == "WaitForProviderResponse" else negotiate(world)
    world.delete("r1")
    world.settle()
    world.expire(execution)
    assert execution.status == "SUCCEEDED"
    assert world.ledger().balance("ann") == 10


def test_an_id_is_used_once(world: World) -> None:
    first = wait_for_provider(world)
    world.delete("r1")
    world.submit("r1", requesterId="eve", estimatedHours=Decimal(1))
    world.grant("eve", 5)
    world.settle()
    assert len(world.executions) == 1
    world.expire(first)
    assert world.ledger().balance("ann") == 10
    world.update("r1", updatedAt="2026-11-23T12:00:00.000Z")
    world.settle()
    assert status(world) == "REJECTED"
    assert "used before" in world.ledger().requests["r1"]["failureReason"]
    assert world.ledger().balance("eve") == 5


def test_a_replaced_request_does_not_pay_somebody_else(world: World) -> None:
    start_service(world)
    world.update("r1", providerId="eve", requesterResponse="COMPLETED")
    world.settle()
    release = world.execution("escrow-release-r1")
    assert (release.status, release.error) == ("FAILED", "ReleaseRefused")
    assert world.ledger().held() == {"r1": 3}


# --- an operator's word -----------------------------------------------------------------------------------------------


def fail_at_giving_back(world: World) -> SimulatedExecution:
    """Let a declined request fail at its ending, so that its hours stay held."""
    execution = wait_for_provider(world)

    def on_invoke(invocation: Invocation, moment: Moment) -> None:
        if invocation.state == "RefundEscrow" and invocation.machine == "ServiceRequestWorkflow":
            raise LambdaError("KeyError")

    world.on_invoke = on_invoke
    world.update("r1", providerResponse="REJECTED")
    world.settle()
    world.on_invoke = None
    assert execution.status == "FAILED"
    assert world.ledger().held() == {"r1": 3}
    return execution


def settle_by_hand(world: World, decision: Any, by: Any = "op", reason: Any = "broken code") -> SimulatedExecution:
    given = {"requestId": "r1", "decision": decision, "by": by, "reason": reason}
    execution = world.start("EscrowManagementWorkflow", f"settle-{len(world.executions)}", given)
    world.settle()
    return execution


@pytest.mark.parametrize(
    ("decision", "end", "ann", "bob"), [("REFUND", "FAILED", 10, 0), ("RELEASE", "COMPLETED", 7, 3)]
)
def test_an_operator_settles_what_failed(world: World, decision: str, end: str, ann: int, bob: int) -> None:
    failed = fail_at_giving_back(world)
    for _ in range(2):
        settle_by_hand(world, decision)
        assert status(world) == end
        assert (world.ledger().balance("ann"), world.ledger().balance("bob")) == (ann, bob)
    settle_by_hand(world, "REFUND" if decision == "RELEASE" else "RELEASE")
    world.redrive(failed)
    assert failed.status == "SUCCEEDED"
    assert status(world) == end
    assert (world.ledger().balance("ann"), world.ledger().balance("bob")) == (ann, bob)


@pytest.mark.parametrize(("decision", "end"), [("REFUND", "FAILED"), ("RELEASE", "COMPLETED")])
def test_a_time_out_that_an_operator_forestalled_says_how_the_request_ended(
    world: World, decision: str, end: str
) -> None:
    execution = wait_for_provider(world)

    def on_invoke(invocation: Invocation, moment: Moment) -> None:
        if invocation.state == "TimeoutRequest":
            raise LambdaError("KeyError")

    world.on_invoke = on_invoke
    world.expire(execution)
    world.on_invoke = None
    settle_by_hand(world, decision)
    world.redrive(execution)
    assert execution.output["outcome"] == status(world) == end


@pytest.mark.parametrize("decision", ["REFUND", "RELEASE"])
def test_an_operator_settles_a_service_whose_request_is_gone(world: World, decision: str) -> None:
    start_service(world)
    world.delete("r1")
    assert settle_by_hand(world, decision).status == "SUCCEEDED"
    assert world.ledger().held() == {}
    assert world.ledger().balance("bob") == (3 if decision == "RELEASE" else 0)


def test_an_operator_ends_a_request_that_was_left_without_a_hold(world: World) -> None:
    world.submit("r1")
    world.settle(until="EscrowHours")
    [left] = world.executions
    world.stop(left)
    assert settle_by_hand(world, "RELEASE").error == "ReleaseRefused"
    assert status(world) == "VALIDATING"
    for _ in range(2):
        settle_by_hand(world, "REFUND")
        assert (status(world), world.ledger().requests["r1"]["failureReason"]) == ("FAILED", "broken code")
    world.redrive(left)
    assert (left.status, left.output["outcome"], status(world)) == ("SUCCEEDED", "NOT_OWNER", "FAILED")
    assert world.ledger().balance("ann") == 10
    assert not world.audit().findings


def test_an_operator_waits_for_an_execution_that_runs(world: World) -> None:
    wait_for_provider(world)
    assert settle_by_hand(world, "REFUND").error == "ReleaseRefused"
    assert world.ledger().held() == {"r1": 3}


@pytest.mark.parametrize(
    ("decision", "by", "reason"),
    [("REFUND", None, "why"), ("REFUND", "op", " "), ("REFUND", 5, "why"), ("BURN", "op", "why"), (None, "op", "why")],
)
def test_an_operators_word_has_a_name_and_a_reason(world: World, decision: Any, by: Any, reason: Any) -> None:
    fail_at_giving_back(world)
    assert settle_by_hand(world, decision, by, reason).error == "ReleaseRefused"
    assert world.ledger().held() == {"r1": 3}


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_id",
    ["x", "i" * 200, "Zoë-λ-猫", "a b/c:d*e?<f>", "order-2", "r-007", "a\nb", "-", "1"],
    ids=["short", "long", "unicode", "forbidden", "ends-in-a-number", "ends-in-zeros", "newline", "dash", "digit"],
)
def test_any_id_goes_all_the_way(world: World, request_id: str) -> None:
    world.submit(request_id)
    world.settle()
    world.update(request_id, providerResponse="ACCEPTED")
    world.settle()
    world.update(request_id, requesterResponse="COMPLETED")
    world.settle()
    assert status(world, request_id) == "COMPLETED"
    assert all(len(execution.name) <= 80 for execution in world.executions)
    assert len(world.executions) == 2


@pytest.mark.parametrize("seconds", [60, 3600, 30 * 24 * 3600])
def test_a_request_has_its_own_time_out(world: World, seconds: int) -> None:
    execution = wait_for_provider(world, providerResponseTimeoutSeconds=Decimal(seconds))
    assert execution.wait_seconds == seconds
    world.expire(execution)
    assert status(world) == "TIMED_OUT"
    assert execution.seconds == seconds


@pytest.mark.parametrize(
    "record",
    [
        {"estimatedHours": None},
        {"estimatedHours": Decimal(-1)},
        {"estimatedHours": "3"},
        {"estimatedHours": Decimal("0.001")},
        {"estimatedHours": Decimal("1e30")},
        {"estimatedHours": True},
        {"estimatedHours": [Decimal(3)]},
        {"requesterId": None},
        {"requesterId": ""},
        {"requesterId": "bob"},
        {"requesterId": "nobody"},
        {"requesterId": Decimal(1)},
        {"providerId": None},
        {"providerId": {"id": "bob"}},
        {"serviceId": None},
        {"providerResponseTimeoutSeconds": Decimal(59)},
        {"providerResponseTimeoutSeconds": Decimal("60.5")},
        {"providerResponseTimeoutSeconds": Decimal(30 * 24 * 3600 + 1)},
        {"providerResponseTimeoutSeconds": "3600"},
    ],
    ids=str,
)
def test_a_bad_record_is_rejected_in_words(world: World, record: dict[str, Any]) -> None:
    world.submit("r1", **record)
    world.settle()
    request = world.ledger().requests["r1"]
    assert request["status"] == "REJECTED"
    assert len(request["failureReason"].split()) >= 3
    assert world.executions[0].status == "SUCCEEDED"
    assert world.ledger().escrows == {}
    assert world.redelivered == []


@pytest.mark.parametrize("created", ["2025-12-31T23:59:59.999Z", None, "yesterday", "", Decimal(5), "2026-11-23"])
def test_old_and_undated_records_are_left_alone(world: World, created: Any) -> None:
    world.submit("r1", createdAt=created)
    world.settle()
    assert world.executions == []
    assert world.redelivered == []


def test_a_provider_without_a_balance_gets_one(world: World) -> None:
    start_service(world)
    world.update("r1", requesterResponse="COMPLETED")
    world.settle()
    row = world.ledger().balances["bob"]
    assert row["availableBalance"] == 3
    assert {"__typename", "createdAt", "updatedAt"} <= row.keys()


def test_of_two_requests_for_the_same_hours_one_is_refused(world: World) -> None:
    world.submit("r1", estimatedHours=Decimal(6))
    world.submit("r2", estimatedHours=Decimal(6))
    world.settle()
    assert sorted([status(world, "r1"), status(world, "r2")]) == ["AWAITING_PROVIDER", "REJECTED"]


def test_hours_are_exact(world: World) -> None:
    world.grant("ann", "0.3")
    for number, hours in enumerate(["0.1", "0.2", "9.99", "0.01"]):
        world.submit(f"exact{number}x", estimatedHours=Decimal(hours))
        world.settle()
    assert world.ledger().balance("ann") == 0
    assert sum(world.ledger().held().values()) == Decimal("10.3")


# --- names nobody may see ---------------------------------------------------------------------------------------------


def test_a_task_token_is_in_no_log_and_no_event(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = []

    def on_invoke(invocation: Invocation, moment: Moment) -> None:
        if "taskToken" in invocation.event:
            tokens.append(invocation.event["taskToken"])
            if moment == "after" and len(tokens) == 2:
                raise LambdaError("ConnectionError")

    world.on_invoke = on_invoke
    execution = negotiate(world)
    world.update("r1", requesterResponse="ACCEPTED")
    world.settle()
    assert execution.status == "SUCCEEDED"
    assert len(set(tokens)) >= 3
    said = capsys.readouterr().out + repr(world.events)
    assert "HoursHeld" in said
    assert not [token for token in tokens if token in said]
