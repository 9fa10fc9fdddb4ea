"""The harness itself: a world notices what breaks a law, and what stands in for AWS behaves as AWS does."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.eval.environment import Environment

from handlers.aws.dynamodb import client
from hourbank.simulate.executions import Invocation, LambdaError, SimulatedExecution
from hourbank.simulate.stream import matches
from hourbank.simulate.world import World, deployed

# --- a world notices what a handler does wrong ------------------------------------------------------------------------


def lose_hours(event: Any, context: Any) -> dict[str, str]:
    client("dynamodb").update_item(
        TableName="UserBalance-api-test",
        Key={"userId": {"S": "ann"}},
        UpdateExpression="SET availableBalance = :zero",
        ExpressionAttributeValues={":zero": {"N": "0"}},
    )
    return {"hours": "3"}


def leap(event: Any, context: Any) -> dict[str, str]:
    client("dynamodb").update_item(
        TableName="ServiceRequest-api-test",
        Key={"id": {"S": "r1"}},
        UpdateExpression="SET #status = :completed",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":completed": {"S": "COMPLETED"}},
    )
    return {"hours": "3"}


def read_somebody_elses_table(event: Any, context: Any) -> dict[str, str]:
    client("dynamodb").get_item(TableName="TransactionLog-api-test", Key={"id": {"S": "r1#ESCROW_HOLD"}})
    return {"hours": "3"}


ANSWERS = iter(range(1000))


@pytest.mark.parametrize(
    ("handler", "times", "said"),
    [
        (lose_hours, 1, "0 hours in all, but 10 were granted"),
        (leap, 1, "createEscrow: status went from VALIDATING to COMPLETED"),
        (read_somebody_elses_table, 1, "createEscrow may not dynamodb:GetItem TransactionLog"),
        (lambda event, context: {"hours": str(next(ANSWERS))}, 2, "createEscrow run again answered"),
    ],
)
def test_what_a_handler_does_wrong_is_said(handler: Any, times: int, said: str) -> None:
    with deployed(handlers={"createEscrow": handler}, times=times) as world:
        world.grant("ann", 10)
        world.submit("r1")
        with pytest.raises(AssertionError, match=said):
            world.settle()


def test_a_function_has_only_its_own_environment() -> None:
    def handler(event: Any, context: Any) -> dict[str, str]:
        return {"hours": os.environ.get("EVENT_BUS_NAME", "none")}

    with deployed(handlers={"createEscrow": handler}) as world:
        world.grant("ann", 10)
        world.submit("r1")
        world.settle()
        assert '"hours":"none"' in str(world.executions[0].history)


# --- what stands in for AWS -------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> Iterator[World]:
    with deployed() as world:
        world.grant("ann", 10)
        world.submit("r1")
        world.settle()
        yield world


def test_a_token_works_once(world: World) -> None:
    token = world.ledger().requests["r1"]["taskToken"]
    client("stepfunctions").send_task_success(taskToken=token, output='{"answer": "ACCEPTED"}')
    with pytest.raises(ClientError, match="TaskTimedOut"):
        client("stepfunctions").send_task_success(taskToken=token, output='{"answer": "REJECTED"}')
    with pytest.raises(ClientError, match="InvalidToken"):
        client("stepfunctions").send_task_success(taskToken="unknown", output="{}")


def test_a_token_ends_with_its_wait(world: World) -> None:
    token = world.ledger().requests["r1"]["taskToken"]
    world.expire(world.executions[0])
    with pytest.raises(ClientError, match="TaskTimedOut"):
        client("stepfunctions").send_task_success(taskToken=token, output='{"answer": "ACCEPTED"}')


def test_a_world_leaves_no_thread_and_no_patch_behind() -> None:
    before, sleep = threading.active_count(), time.sleep
    with deployed() as world:
        world.grant("ann", 10)
        world.submit("r1")
        world.settle()
        assert threading.active_count() == before + 1
        assert time.sleep is not sleep
    assert threading.active_count() == before
    assert time.sleep is sleep


def test_every_run_is_the_same_run() -> None:
    def run() -> list[tuple[str, str | None]]:
        with deployed() as world:
            world.grant("ann", 10)
            for number in range(5):
                world.submit(f"r{number}x", estimatedHours=Decimal(2))
            world.settle()
            world.update("r3x", providerResponse="ACCEPTED")
            world.update("r1x", providerResponse="REJECTED")
            world.settle()
            return [(invocation.function, invocation.state) for invocation in world.invocations]

    assert run() == run()


@pytest.mark.parametrize(
    ("pattern", "image", "passes"),
    [
        ({"status": {"S": ["A", "B"]}}, {"status": {"S": "B"}}, True),
        ({"status": {"S": ["A", "B"]}}, {"status": {"S": "C"}}, False),
        ({"status": {"S": ["A"]}}, {"status": {"NULL": True}}, False),
        ({"status": {"S": ["A"]}}, {}, False),
        ({"status": {"S": [{"exists": False}, "A"]}}, {"status": {"NULL": True}}, True),
        ({"status": {"S": [{"exists": False}, "A"]}}, {"status": {"S": "A"}}, True),
        ({"status": {"S": [{"exists": False}, "A"]}}, {"status": {"S": "B"}}, False),
        ({"id": {"S": [{"exists": True}]}}, {}, False),
        ({"id": {"S": [{"exists": True}]}, "status": {"S": ["A"]}}, {"id": {"S": "x"}, "status": {"S": "B"}}, False),
    ],
)
def test_filters(pattern: dict[str, Any], image: dict[str, Any], passes: bool) -> None:
    assert matches({"dynamodb": {"NewImage": pattern}}, {"dynamodb": {"NewImage": image}}) == passes


def test_a_removal_has_no_image() -> None:
    pattern = {"dynamodb": {"NewImage": {"status": {"S": [{"exists": False}]}}}}
    removal = {"eventName": "REMOVE", "dynamodb": {"Keys": {"id": {"S": "x"}}}}
    assert matches(pattern, removal)
    pattern["dynamodb"]["NewImage"]["id"] = {"S": [{"exists": True}]}
    assert not matches(pattern, removal)


def test_a_comparison_that_is_not_emulated_is_refused() -> None:
    with pytest.raises(ValueError, match="prefix"):
        matches({"status": [{"prefix": "A"}]}, {"status": "AB"})


def test_a_world_that_is_closed_leaves_nothing_behind() -> None:
    """Tens of thousands of worlds are opened in one process: what each leaves is gigabytes in the end."""

    def executions() -> int:
        gc.collect()
        return sum(isinstance(one, SimulatedExecution | Environment) for one in gc.get_objects())

    with deployed() as world:
        before = executions()
        world.grant("ann", 10)
        world.submit("r1", requesterId="ann", providerId="bob", estimatedHours=Decimal(3))
        world.settle()
        assert executions() > before
    del world
    assert executions() <= before


def test_an_execution_that_was_stopped_in_a_pause_goes_on_without_it() -> None:
    """A pause that nothing ends would be waited for again when the execution has ended: for ever."""
    with deployed() as world:
        world.grant("ann", 10)
        world.on_invoke = fail_once
        world.submit("r1", requesterId="ann", providerId="bob", estimatedHours=Decimal(3))
        world.deliver()
        execution = world.execution("service-request-r1")
        world.go_a_stretch(execution)
        assert execution.is_pausing
        world.stop(execution)
        assert not execution.is_pausing
        with pytest.raises(ValueError, match="has ended"):
            execution.resume()
        world.redrive(execution)
        world.expire(execution)
        assert execution.status == "SUCCEEDED"


def fail_once(invocation: Invocation, moment: str) -> None:
    if invocation.state == "ValidateRequest" and invocation.attempt == 0 and moment == "before":
        raise LambdaError("Lambda.TooManyRequestsException")
