"""Executions that somebody starts by hand, and records with fields that only the workflow writes: they move no hour.

Whoever may start executions of the request workflow is the intruder here, and a client that a schema lets write what it
likes. The emulator's side, with real rights, is in test_intruders.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from hourbank.simulate.executions import Call, Moment, SimulatedExecution
from hourbank.simulate.world import World, deployed

OWN = "arn:aws:states:us-east-1:123456789012:execution:ServiceRequestWorkflow-test:service-request-r1"
ANOTHERS = OWN.replace("-r1", "-r2")


@pytest.fixture
def world() -> Iterator[World]:
    with deployed() as world:
        world.grant("ann", 10)
        world.grant("eve", 10)
        yield world
        assert world.dead_letters == []


def squat(world: World, given: Any = None, name: str = "service-request-r1") -> SimulatedExecution:
    return world.start("ServiceRequestWorkflow", name, {"requestId": "r1"} if given is None else given)


def owner(world: World, request_id: str = "r1") -> str:
    return world.ledger().requests[request_id]["stepFunctionExecutionArn"].rpartition(":")[2]


def settle(world: World, execution: SimulatedExecution | None = None) -> None:
    """Settle, or let a wait expire; a client may have written a token where there can be none."""
    problems: list[str] = []
    try:
        world.expire(execution) if execution else world.settle()
    except AssertionError as broken:
        problems = str(broken).splitlines()
    assert [problem for problem in problems if "has a task token in" not in problem] == []


def assert_served_by(world: World, name: str) -> None:
    """The request waits, with its own hours held by the execution of that name, and ends as its provider says."""
    assert owner(world) == name
    assert world.ledger().requests["r1"]["status"] == "AWAITING_PROVIDER"
    assert world.ledger().held() == {"r1": 3}
    world.update("r1", providerResponse="REJECTED")
    world.settle()
    assert world.execution(name).output["outcome"] == "DECLINED"
    assert_nothing_moved(world)


def assert_nothing_moved(world: World) -> None:
    ledger = world.ledger()
    assert ledger.held() == {}
    assert {user: ledger.balance(user) for user in ("ann", "bob", "eve")} == {"ann": 10, "bob": 0, "eve": 10}


# --- a squatted name --------------------------------------------------------------------------------------------------


def test_an_execution_started_in_the_routers_place_serves_the_record_alone(world: World) -> None:
    world.submit("r1")
    squat(world)
    world.settle()
    assert len(world.executions) == 1
    assert_served_by(world, "service-request-r1")


def test_an_execution_from_before_the_record_is_followed_by_the_next_name(world: World) -> None:
    early = squat(world)
    world.settle()
    assert early.output["outcome"] == "NOT_OWNER"
    world.submit("r1")
    world.settle()
    assert_served_by(world, "service-request-r1-2")


def test_an_execution_that_ends_just_as_the_router_looks_is_followed_at_the_next_touch(world: World) -> None:
    # Given an execution that has looked for the record, and runs on while the record comes and the router looks
    def on_call(call: Call, moment: Moment) -> None:
        if call.invocation.function == "validateServiceRequest" and moment == "after":
            world.on_call = None
            world.submit("r1")
            world.deliver()

    world.on_call = on_call
    early = squat(world)
    world.settle()
    assert early.output["outcome"] == "NOT_OWNER"
    assert world.ledger().requests["r1"].get("status") is None
    # Then the auditor's touch starts the next
    world.update("r1", updatedAt="2026-11-23T12:00:00.000Z")
    world.settle()
    assert_served_by(world, "service-request-r1-2")


def test_an_execution_under_one_name_cannot_serve_another_request(world: World) -> None:
    world.submit("r1")
    world.submit("r2", requesterId="eve")
    world.lose_stream()
    before = world.ledger().requests["r2"]
    squatter = squat(world, {"requestId": "r2"})
    world.settle()
    assert squatter.output["outcome"] == "NOT_OWNER"
    assert world.ledger().requests["r2"] == before
    world.update("r1", updatedAt="2026-11-23T12:00:00.000Z")
    world.settle()
    assert_served_by(world, "service-request-r1-2")


def test_two_executions_of_a_request_have_one_owner(world: World) -> None:
    world.submit("r1")
    squat(world, name="service-request-r1-7")
    second = squat(world, name="service-request-r1-8")
    world.settle()
    assert second.output["outcome"] == "NOT_OWNER"
    assert_served_by(world, "service-request-r1-7")


# --- a spoofed input --------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("field", ["requesterId", "providerId", "serviceId", "estimatedHours"])
@pytest.mark.parametrize("value", ["eve", 0.01, 10**9, ["ann"], {"S": "ann"}, True])
def test_input_that_differs_from_the_record_moves_nothing(world: World, field: str, value: Any) -> None:
    world.submit("r1")
    squat(world, {"requestId": "r1", field: value})
    world.settle()
    assert world.ledger().requests["r1"]["status"] == "REJECTED"
    assert world.ledger().escrows == {}
    assert_nothing_moved(world)


@pytest.mark.parametrize(
    "more",
    [
        {"decision": "RELEASE", "by": "eve", "reason": "mine"},
        {"decision": "REFUND", "by": "eve", "reason": "mine"},
        {"outcome": "COMPLETED", "status": "IN_PROGRESS", "providerResponse": "ACCEPTED", "answer": "ACCEPTED"},
        {"taskToken": "made up", "offeredHours": 9, "executionArn": ANOTHERS, "stepFunctionExecutionArn": ANOTHERS},
    ],
)
def test_what_else_an_input_says_is_not_read(world: World, more: dict[str, Any]) -> None:
    world.submit("r1")
    squat(world, {"requestId": "r1", **more})
    world.settle()
    assert_served_by(world, "service-request-r1")


@pytest.mark.parametrize(
    "states",
    [
        {"WaitForProviderResponse": {"answer": "ACCEPTED"}},
        {"ValidateRequest": {"providerResponseTimeoutSeconds": 1}, "EscrowHours": {"hours": "3"}},
        {},
        None,
        "x",
        [],
    ],
)
def test_an_execution_that_brings_results_along_leaves_the_request_to_the_next(world: World, states: Any) -> None:
    world.submit("r1")
    squatter = squat(world, {"requestId": "r1", "states": states})
    world.settle()
    # where a state's error cannot be written into it, it fails, and sets off the alarm
    assert squatter.status == "FAILED" or squatter.output["outcome"] == "NOT_OWNER"
    assert_served_by(world, "service-request-r1-2")


@pytest.mark.parametrize("given", [["r1"], "r1", 1, {}, {"requestId": ["r1"]}, {"id": "r1"}])
def test_an_input_without_a_request_leaves_it_to_the_next(world: World, given: Any) -> None:
    world.submit("r1")
    squat(world, given)
    world.settle()
    assert_served_by(world, "service-request-r1-2")


# --- fields that only the workflow writes -----------------------------------------------------------------------------

STATUSES = ("VALIDATING", "ESCROWED", "AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS", "COMPLETED", "FAILED")


@pytest.mark.thorough
@pytest.mark.parametrize("status", STATUSES)
def test_a_record_that_begins_with_a_status_moves_nothing(world: World, status: str) -> None:
    world.submit(
        "r1",
        status=status,
        taskToken="made up",
        stepFunctionExecutionArn=OWN,
        offeredHours=Decimal(3),
        providerResponse="ACCEPTED",
        requesterResponse="COMPLETED",
    )
    settle(world)
    assert world.ledger().requests["r1"]["status"] == status
    assert world.ledger().escrows == {}
    assert_nothing_moved(world)


@pytest.mark.thorough
@pytest.mark.parametrize("status", [None, "PENDING"])
@pytest.mark.parametrize("execution", [OWN, ANOTHERS, "x"])
def test_a_record_that_begins_with_an_execution_is_not_begun_with(
    world: World, status: str | None, execution: str
) -> None:
    world.submit("r1", status=status, stepFunctionExecutionArn=execution)
    world.settle()
    assert world.executions == []
    assert world.ledger().requests["r1"]["status"] == status


def test_a_token_and_an_offer_from_before_are_replaced(world: World) -> None:
    world.submit("r1", taskToken="made up", taskTokenAttempt=10**12, offeredHours=Decimal(9))
    settle(world)
    world.update("r1", providerResponse="COUNTER_OFFER", counterOfferHours=Decimal(2))
    world.settle()
    world.update("r1", requesterResponse="ACCEPTED")
    world.settle()
    assert world.ledger().held() == {"r1": 2}
    assert "taskToken" not in world.ledger().requests["r1"]


@pytest.mark.thorough
@pytest.mark.parametrize("answer", ["ACCEPTED", "REJECTED", "WITHDRAWN", None])
@pytest.mark.parametrize(
    "written",
    [
        *({"status": status} for status in (None, "PENDING", *STATUSES)),
        {"stepFunctionExecutionArn": ANOTHERS},
        {"taskToken": "made up"},
        {"taskToken": None},
        {"requesterId": "bob", "providerId": "ann"},
        {"requesterId": "eve"},
        {"estimatedHours": Decimal(1), "offeredHours": Decimal(1)},
    ],
    ids=str,
)
def test_nothing_that_is_written_while_a_request_waits_pays_its_provider(
    world: World, written: dict[str, Any], answer: str | None
) -> None:
    world.submit("r1")
    world.settle()
    execution = world.execution("service-request-r1")
    world.update("r1", **written)
    settle(world)
    if answer:
        world.update("r1", providerResponse=answer)
        settle(world)
    if not execution.ended:
        settle(world, execution)
    # Then the hours are with the requester, or still held; where they are held, the service is in progress, as it may
    # be, or the execution has failed for all to see
    ledger = world.ledger()
    assert ledger.balance("bob") == 0
    assert ledger.balance("eve") == 10
    assert ledger.balance("ann") == (7 if ledger.held() else 10)
    if ledger.held():
        assert execution.status == "FAILED" or ledger.requests["r1"]["status"] == "IN_PROGRESS"
