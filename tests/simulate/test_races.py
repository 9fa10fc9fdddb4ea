"""Races: every order in which two or three functions can make their calls to AWS, one call at a time.

Each function is the real handler; it stops before each of its calls, and a schedule says whose call is next. All
schedules are played, whatever the functions do in answer to what the others did: exactly one wins, and the others say
what won.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from handlers.aws.dynamodb import client
from hourbank.simulate.cases import in_silence
from hourbank.simulate.executions import Invocation, LambdaError, Moment, SimulatedExecution
from hourbank.simulate.program import TABLES
from hourbank.simulate.world import World, deployed, typed

RELEASE_ARN = "arn:aws:states:us-east-1:123456789012:execution:EscrowManagementWorkflow-test:"
Contender = tuple[str, Mapping[str, Any]]
"""A function and its event; the function `person` writes the fields that its event gives."""


def person(event: dict[str, Any], context: Any) -> None:
    """Answer as a client does, as one more function whose call can come at any moment."""
    client("dynamodb").update_item(
        TableName=TABLES["ServiceRequest"],
        Key=typed({"id": "r1"}),
        UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in event),
        ExpressionAttributeValues=typed({f":{name}": value for name, value in event.items()}),
    )


@pytest.fixture
def world() -> Iterator[World]:
    """A world in which ann has asked bob for 3 of her 10 hours, and bob is asked."""
    with in_silence(), deployed(handlers={"person": person}, permissions=None) as world:
        world.grant("ann", 10)
        world.submit("r1")
        world.settle()
        yield world


def task(execution: SimulatedExecution | str, state: str, attempt: int = 0, **more: Any) -> dict[str, Any]:
    """Return the event of a state's function; an execution of the release workflow is given by its name."""
    if isinstance(execution, SimulatedExecution):
        arn, name, given = execution.arn, execution.name, {"requestId": "r1"}
    else:
        arn, name, given = RELEASE_ARN + execution, execution, {"requestId": "r1"}
    order = {key: more.pop(key) for key in ("by", "reason") if key in more}
    if order:
        given = {**given, "decision": more["decision"], **order}
    return {
        "execution": {"Id": arn, "Name": name, "Input": given},
        "state": {"Name": state, "RetryCount": attempt},
        **more,
    }


def order(decision: str) -> Contender:
    """Return the state that an operator's word ends in."""
    said = {"decision": decision, "by": "operator", "reason": "raced"}
    function, state = (
        ("processEscrowRelease", "ProcessEscrowRelease") if decision == "RELEASE" else ("refundEscrow", "RefundEscrow")
    )
    return function, task(f"settle-{decision}", state, **said)


def every_order(world: World, *contenders: Contender, at_most: int = 150) -> Iterator[list[Any]]:
    """Play every schedule of the contenders' calls from the world as it is; yield what they answered in each.

    Where there are more than `at_most`, so many of them are drawn.
    """
    restore, dice = world.snapshot(), random.Random(0)
    todo: list[tuple[int, ...]] = [()]
    for _ in range(at_most):
        if not todo:
            return
        prefix = todo.pop(dice.randrange(len(todo)))
        restore()
        runs = [world.begin(function, event) for function, event in contenders]
        picked: list[int] = []
        while alive := [number for number, run in enumerate(runs) if not run.ended]:
            position = len(picked)
            pick = prefix[position] if position < len(prefix) else alive[0]
            if position >= len(prefix):
                todo += [(*picked, other) for other in alive if other != pick]
            picked.append(pick)
            runs[pick].step()
        world.assert_lawful()
        yield [run.answer for run in runs]


def state_of(world: World) -> tuple[Any, str, Decimal, Decimal]:
    """Return the request's status, the escrow's, and what ann and bob can spend."""
    ledger = world.ledger()
    status = ledger.requests["r1"]["status"] if "r1" in ledger.requests else None
    return status, ledger.escrows["r1"]["status"], ledger.balance("ann"), ledger.balance("bob")


def ends(world: World, event: str = "RequestEnded") -> set[str]:
    return {told["Detail"]["status"] for told in world.events if told["DetailType"] == event}


WAITING = ("AWAITING_PROVIDER", "HELD", 7, 0)
TIMED_OUT = ("TIMED_OUT", "REFUNDED", 10, 0)
PAID = ("COMPLETED", "RELEASED", 7, 3)
GIVEN_UP = ("CANCELLED", "REFUNDED", 10, 0)
FAILED = ("FAILED", "REFUNDED", 10, 0)
GOING_ON = ("IN_PROGRESS", "HELD", 7, 0)


def start_service(world: World) -> None:
    world.update("r1", providerResponse="ACCEPTED")
    world.settle()
    assert state_of(world) == GOING_ON


def negotiate(world: World) -> None:
    world.update("r1", providerResponse="COUNTER_OFFER", counterOfferHours=Decimal("4.5"))
    world.settle()
    assert world.executions[0].waiting == "ProcessNegotiation"


# --- an answer and the time-out ---------------------------------------------------------------------------------------

ANSWERS = [
    ({"providerResponse": "ACCEPTED"}, "ACCEPTED"),
    ({"providerResponse": "REJECTED"}, "REJECTED"),
    ({"providerResponse": "COUNTER_OFFER", "counterOfferHours": Decimal(2)}, "COUNTER_OFFER"),
    ({"requesterResponse": "CANCELLED"}, "CANCELLED"),
]


@pytest.mark.parametrize(("said", "answer"), ANSWERS, ids=[answer for _, answer in ANSWERS])
def test_an_answer_against_the_time_out(world: World, said: dict[str, Any], answer: str) -> None:
    said = {name: str(value) if isinstance(value, Decimal) else value for name, value in said.items()}
    time_out = task(world.executions[0], "TimeoutRequest")
    seen = []
    for found, _ in every_order(world, ("timeoutRequest", time_out), ("person", said)):
        expected = (
            ("TIMED_OUT", TIMED_OUT, {"TIMED_OUT"}) if found["answer"] == "TIMED_OUT" else (answer, WAITING, set())
        )
        assert (found["answer"], state_of(world), ends(world)) == expected
        seen.append(found["answer"])
    assert set(seen) == {"TIMED_OUT", answer}


@pytest.mark.parametrize("answer", ["ACCEPTED", "REJECTED", "CANCELLED"])
def test_the_requesters_answer_against_the_negotiations_time_out(world: World, answer: str) -> None:
    negotiate(world)
    time_out = task(world.executions[0], "TimeoutNegotiation")
    seen = set()
    for found, _ in every_order(world, ("timeoutRequest", time_out), ("person", {"requesterResponse": answer})):
        expected = TIMED_OUT if found["answer"] == "TIMED_OUT" else ("NEGOTIATING", "HELD", 7, 0)
        assert state_of(world) == expected
        seen.add(found["answer"])
    assert seen == {"TIMED_OUT", answer}


@pytest.mark.thorough
def test_an_answer_against_the_time_out_and_its_retry_hundreds_of_times(world: World) -> None:
    """A time-out that was given up for dead, its retry, and the provider at the same instant."""
    runs = [("timeoutRequest", task(world.executions[0], "TimeoutRequest", attempt)) for attempt in (0, 1)]
    tries, seen = 0, set()
    for first, second, _ in every_order(world, *runs, ("person", {"providerResponse": "ACCEPTED"}), at_most=300):
        won = state_of(world)
        assert {first["answer"], second["answer"]} == ({"TIMED_OUT"} if won == TIMED_OUT else {"ACCEPTED"})
        assert won in (TIMED_OUT, WAITING)
        seen.add(won)
        tries += 1
    assert seen == {TIMED_OUT, WAITING}
    assert tries == 300


@pytest.mark.thorough
def test_both_people_against_the_time_out(world: World) -> None:
    time_out = "timeoutRequest", task(world.executions[0], "TimeoutRequest")
    people = [("person", {"providerResponse": "ACCEPTED"}), ("person", {"requesterResponse": "CANCELLED"})]
    seen = set()
    for found, _, _ in every_order(world, time_out, *people):
        assert state_of(world) == (TIMED_OUT if found["answer"] == "TIMED_OUT" else WAITING)
        seen.add(found["answer"])
    assert seen == {"TIMED_OUT", "ACCEPTED", "CANCELLED"}


@pytest.mark.parametrize("function", ["timeoutRequest", "routeServiceRequest"])
def test_of_both_at_once_the_provider_is_heard(world: World, function: str) -> None:
    world.update("r1", requesterResponse="CANCELLED", providerResponse="ACCEPTED")
    if function == "timeoutRequest":
        world.expire(world.executions[0])
    world.settle()
    assert world.executions[0].output["outcome"] == "IN_PROGRESS"
    assert state_of(world) == GOING_ON


def test_an_answer_that_is_delivered_while_the_wait_runs_out(world: World) -> None:
    """The stream's delivery, at each call of the time-out's function, is late: it changes nothing and says so."""
    for index in range(4):
        with deployed() as other:
            other.grant("ann", 10)
            other.submit("r1")
            other.settle()
            calls = iter(range(100))

            def on_call(call: Any, moment: Moment, calls: Iterator[int] = calls, other: World = other) -> None:
                if call.invocation.state == "TimeoutRequest" and moment == "before" and next(calls) == index:  # noqa: B023
                    with other.as_client():
                        other.update("r1", providerResponse="ACCEPTED")
                        other.deliver()

            other.on_call = on_call
            other.expire(other.executions[0])
            assert other.executions[0].output["outcome"] == other.ledger().requests["r1"]["status"]
            assert state_of(other) in (GOING_ON, TIMED_OUT)
            assert other.redelivered == []


# --- two people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", sorted(set(permutations(["accept", "cancel", "deliver", "deliver"]))), ids="-".join)
def test_cancel_against_accept(world: World, steps: tuple[str, ...]) -> None:
    """The first record of the stream with an answer decides, however late it comes."""
    said = {"accept": {"providerResponse": "ACCEPTED"}, "cancel": {"requesterResponse": "CANCELLED"}}
    for step in steps:
        world.update("r1", **said[step]) if step in said else world.deliver(at_most=1)
    world.settle()
    first = next(step for step in steps if step in said)
    outcome = world.executions[0].output["outcome"]
    assert outcome == ("CANCELLED" if first == "cancel" else "IN_PROGRESS")
    assert state_of(world) == (GIVEN_UP if first == "cancel" else GOING_ON)
    assert world.ledger().requests["r1"]["status"] == outcome
    assert world.redelivered == []


@pytest.mark.thorough
def test_complete_against_withdraw(world: World) -> None:
    start_service(world)
    world.update("r1", providerResponse="WITHDRAWN")
    withdraw = "refundEscrow", task("escrow-release-r1", "RefundEscrow", decision="REFUND")
    release = "processEscrowRelease", task("escrow-release-r1-2", "ProcessEscrowRelease")
    confirm = "person", {"requesterResponse": "COMPLETED"}
    seen = set()
    for withdrawn, released, _ in every_order(world, withdraw, release, confirm, at_most=300):
        won = state_of(world)
        expected = {
            PAID: [("NOTHING_TO_DO", "COMPLETED")],
            GIVEN_UP: [("CANCELLED", "NOTHING_TO_DO")],
            # the confirmation came after both had looked: the stream starts the next release
            GOING_ON: [("NOTHING_TO_DO", "NOTHING_TO_DO")],
        }
        assert (withdrawn, released) in expected[won]
        assert ends(world) == ({won[0]} if won != GOING_ON else set())
        seen.add(won)
    assert {PAID, GIVEN_UP} <= seen


def test_a_confirmation_that_is_cleared_during_the_release(world: World) -> None:
    start_service(world)
    world.update("r1", requesterResponse="COMPLETED")
    release = "processEscrowRelease", task("escrow-release-r1", "ProcessEscrowRelease")
    seen = set()
    for released, _ in every_order(world, release, ("person", {"requesterResponse": None})):
        assert (released, state_of(world)) in [("COMPLETED", PAID), ("NOTHING_TO_DO", GOING_ON)]
        seen.add(released)
    assert seen == {"COMPLETED", "NOTHING_TO_DO"}


@pytest.mark.thorough
def test_a_double_confirmation_pays_once(world: World) -> None:
    start_service(world)
    world.update("r1", requesterResponse="COMPLETED")
    releases = [("processEscrowRelease", task(f"escrow-release-r1-{n}", "ProcessEscrowRelease")) for n in (2, 3)]
    for answers in every_order(world, *releases):
        assert answers == ["COMPLETED", "COMPLETED"]
        assert state_of(world) == PAID


# --- what was given up for dead, redriven or settled ------------------------------------------------------------------


def fail_at_refund(world: World) -> SimulatedExecution:
    """Let the provider decline, and the refund fail for good."""

    def on_invoke(invocation: Invocation, moment: Moment) -> None:
        if invocation.state == "RefundEscrow":
            raise LambdaError("KeyError")

    world.on_invoke = on_invoke
    world.update("r1", providerResponse="REJECTED")
    world.settle()
    world.on_invoke = None
    [execution] = world.executions
    assert (execution.status, state_of(world)) == ("FAILED", WAITING)
    return execution


def refund(execution: SimulatedExecution, attempt: int = 0) -> Contender:
    states = {"WaitForProviderResponse": {"answer": "REJECTED"}}
    return "refundEscrow", task(execution, "RefundEscrow", attempt, states=states)


@pytest.mark.thorough
def test_a_redriven_refund_against_the_one_that_was_given_up(world: World) -> None:
    execution = fail_at_refund(world)
    for answers in every_order(world, refund(execution), refund(execution, 1)):
        assert answers == ["DECLINED", "DECLINED"]
        assert state_of(world) == ("DECLINED", "REFUNDED", 10, 0)


@pytest.mark.thorough
@pytest.mark.parametrize(("decision", "settled"), [("RELEASE", PAID), ("REFUND", FAILED)])
def test_settle_against_a_redrive(world: World, decision: str, settled: tuple[Any, ...]) -> None:
    execution = fail_at_refund(world)
    declined = ("DECLINED", "REFUNDED", 10, 0)
    seen = set()
    for redriven, ordered in every_order(world, refund(execution), order(decision)):
        won = state_of(world)
        assert won in (settled, declined)
        assert redriven == won[0]
        # an operator who wanted the refund is told how it went; one who wanted to pay, that there is nothing to pay
        assert ordered == (won[0] if won == settled or decision == "REFUND" else "NOTHING_TO_DO")
        seen.add(won)
    assert seen == {settled, declined}


@pytest.mark.thorough
def test_settle_against_a_redriven_hold(world: World) -> None:
    world.submit("r2", estimatedHours=Decimal(2))
    world.settle(until="EscrowHours")
    hold = "createEscrow", _of(world.execution("service-request-r2"), "EscrowHours")
    function, event = order("REFUND")
    event["execution"]["Input"]["requestId"] = "r2"
    seen = set()
    for held, ordered in every_order(world, hold, (function, event)):
        ledger = world.ledger()
        escrow = ledger.escrows.get("r2", {}).get("status")
        assert ledger.requests["r2"]["status"] == ("ESCROWED" if escrow == "HELD" else "FAILED")
        assert ledger.balance("ann") == (5 if escrow == "HELD" else 7)
        assert type(held).__name__ == ("dict" if escrow else "NotOwner")
        # where the hold came between its two reads, there was nothing to end any more
        assert ordered == ("NOTHING_TO_DO" if escrow == "HELD" else "FAILED")
        seen.add(escrow)
    assert seen == {None, "HELD", "REFUNDED"}


@pytest.mark.thorough
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "gone"])
def test_two_operators_at_odds(world: World, is_there: bool) -> None:
    start_service(world)
    if not is_there:
        world.delete("r1")
    seen = set()
    for released, refunded in every_order(world, order("RELEASE"), order("REFUND")):
        _, escrow, ann, bob = state_of(world)
        assert (escrow, ann, bob) in [("RELEASED", 7, 3), ("REFUNDED", 10, 0)]
        assert (released == "NOTHING_TO_DO") == (escrow == "REFUNDED")
        assert (refunded == "NOTHING_TO_DO") == (escrow == "RELEASED")
        seen.add(escrow)
    assert seen == {"RELEASED", "REFUNDED"}


@pytest.mark.thorough
def test_settle_against_a_confirmation(world: World) -> None:
    start_service(world)
    world.update("r1", requesterResponse="COMPLETED")
    release = "processEscrowRelease", task("escrow-release-r1", "ProcessEscrowRelease")
    for released, ordered in every_order(world, release, order("REFUND")):
        assert (released, ordered, state_of(world)) in [
            ("COMPLETED", "NOTHING_TO_DO", PAID),
            ("NOTHING_TO_DO", "CANCELLED", GIVEN_UP),
        ]


@pytest.mark.thorough
def test_a_hold_that_was_given_up_against_the_refund(world: World) -> None:
    world.submit("r2", estimatedHours=Decimal(2))
    world.deliver()
    execution = world.execution("service-request-r2")
    world.settle(until="EscrowHours")
    hold = "createEscrow", _of(execution, "EscrowHours")
    undo = "refundEscrow", _of(execution, "RefundAfterFailure", states={})
    for held, undone in every_order(world, hold, undo):
        ledger = world.ledger()
        assert undone == "FAILED" == ledger.requests["r2"]["status"]
        assert ledger.balance("ann") == 7
        assert ledger.escrows.get("r2", {"status": "REFUNDED"})["status"] == "REFUNDED"
        assert held == {"hours": "2"} or type(held).__name__ == "NotOwner"


def _of(execution: SimulatedExecution, state: str, **more: Any) -> dict[str, Any]:
    event = task(execution, state, **more)
    event["execution"]["Input"] = {"requestId": execution.request_id}
    return event


def test_two_requests_for_the_same_hours(world: World) -> None:
    holds = []
    for request_id in ("rx", "ry"):
        world.submit(request_id, estimatedHours=Decimal(4))
        world.deliver()
        world.settle(until="EscrowHours")
        holds.append(("createEscrow", _of(world.execution(f"service-request-{request_id}"), "EscrowHours")))
    for answers in every_order(world, *holds, at_most=300):
        assert sorted(type(answer).__name__ for answer in answers) == ["InsufficientBalance", "dict"]
        assert world.ledger().balance("ann") == 3


@pytest.mark.thorough
def test_an_adjustment_that_was_given_up_against_the_refund(world: World) -> None:
    negotiate(world)
    [execution] = world.executions
    adjust = "adjustEscrow", task(execution, "AdjustEscrow")
    undo = "refundEscrow", task(execution, "RefundAfterFailure", states={})
    for adjusted, undone in every_order(world, adjust, undo):
        assert undone == "FAILED"
        assert state_of(world) == FAILED
        assert adjusted == {"hours": "4.5"} or type(adjusted).__name__ == "NotOwner"


def test_the_newest_attempt_to_ask_keeps_its_token(world: World) -> None:
    [execution] = world.executions
    asks = [("notifyProvider", task(execution, "WaitForProviderResponse", n, taskToken=f"token-{n}")) for n in (1, 2)]
    for _ in every_order(world, *asks):
        assert world.ledger().requests["r1"]["taskToken"] == "token-2"
        assert state_of(world) == WAITING


def test_the_start_of_a_service_against_its_refund(world: World) -> None:
    [execution] = world.executions
    start = "startServiceExecution", task(execution, "StartServiceExecution")
    undo = "refundEscrow", task(execution, "RefundAfterFailure", states={})
    seen = set()
    for started, undone in every_order(world, start, undo):
        won = state_of(world)
        assert won in (GOING_ON, FAILED)
        assert undone == won[0]
        # whoever comes too late to start says that the request cannot go there
        assert started == "IN_PROGRESS" or isinstance(started, Exception) == (won == FAILED)
        seen.add(won)
    assert seen == {GOING_ON, FAILED}


def test_a_schedule_is_played_once(world: World) -> None:
    """Two functions of two calls each have six orders."""
    calls: list[str] = []

    def twice(event: dict[str, Any], context: Any) -> None:
        for _ in range(2):
            person({"serviceId": event["name"]}, context)
            calls.append(event["name"])

    world._handlers["twice"] = twice
    played: list[str] = []
    for _ in every_order(world, ("twice", {"name": "a"}), ("twice", {"name": "b"})):
        played.append("".join(calls))
        calls.clear()
    assert sorted(played) == ["aabb", "abab", "abba", "baab", "baba", "bbaa"]
