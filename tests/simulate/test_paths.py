"""Every path of both workflows, driven through the real definitions and handlers with time skipped."""

from __future__ import annotations

import copy
from decimal import Decimal
from itertools import pairwise

import pytest

from hourbank.simulate.executions import Invocation, LambdaError, Moment, SimulatedExecution
from hourbank.simulate.paths import (
    INFEASIBLE,
    Definition,
    PathStory,
    caught,
    drive,
    missing_levers,
    paths,
    pull,
    stories,
)
from hourbank.simulate.program import SEVEN_DAYS, definition_of
from hourbank.simulate.world import World, deployed
from workflows import WORKFLOWS, service_request


@pytest.mark.parametrize("machine", WORKFLOWS)
def test_every_way_out_of_a_state_has_a_lever(machine: str) -> None:
    missing = missing_levers(machine, definition_of(WORKFLOWS[machine]))
    assert not missing, "; ".join(missing)


def test_a_new_branch_without_a_lever_is_found() -> None:
    definition = copy.deepcopy(definition_of(service_request))
    choices = definition["States"]["CheckProviderResponse"]["Choices"]
    choices.append({"Variable": choices[0]["Variable"], "StringEquals": "LATER", "Next": "RefundEscrow"})
    missing = missing_levers("ServiceRequestWorkflow", definition)
    assert any(line.endswith("how an execution leaves CheckProviderResponse by LATER") for line in missing)


def test_what_is_called_infeasible_is_there() -> None:
    pairs = {pair for workflow in WORKFLOWS.values() for p in paths(definition_of(workflow)) for pair in pairwise(p)}
    assert pairs >= INFEASIBLE.keys()


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.thorough)], ids=["once", "twice"])
@pytest.mark.parametrize("story", stories(), ids=str)
def test_path(story: PathStory, times: int) -> None:
    """Given the story's world, when an execution runs, then it takes the story's path and ends as the story says."""
    with deployed(times=times) as world:
        execution = drive(world, story)
        assert execution.states == story.states
        assert_ended(world, execution, story)
        assert_retried(execution, story)
        assert world.redelivered == []


def assert_ended(world: World, execution: SimulatedExecution, story: PathStory) -> None:
    ledger = world.ledger()
    last = story.states[-1]
    expected_failure = {"RequestFailed": "RequestFailed", "ReleaseRefused": "ReleaseRefused"}.get(last)
    assert (execution.status, execution.error) == ("FAILED" if expected_failure else "SUCCEEDED", expected_failure)
    request, ends = ledger.requests.get("r1"), story.ends()
    if ends is None:
        assert request is None
        outcome = "CANCELLED" if last == "RefundEscrow" else "NOT_OWNER"
    else:
        outcome, reason = ends
        assert request is not None
        assert request["status"] == outcome
        assert (request["failureReason"] or "").startswith(reason)
        assert bool(request["failureReason"]) == bool(reason) == bool(request.get("failureCode"))
    if last == "NothingToDo":
        outcome = "NOTHING_TO_DO"
    if execution.status == "SUCCEEDED":
        assert execution.output["outcome"] == outcome
    held = Decimal("4.5") if ("AdjustEscrow", "Next") in story.path else Decimal(3)
    assert ledger.held() == ({"r1": held} if ends and ends[0] == "IN_PROGRESS" else {})
    assert ledger.balance("bob") == (3 if ends and ends[0] == "COMPLETED" else 0)
    ended = {event["Detail"]["eventId"] for event in world.events if event["DetailType"] == "RequestEnded"}
    if ends:
        was_asked = any(event["DetailType"] == "ProviderAsked" for event in world.events)
        people = ["requester", "provider"] if was_asked else ["requester"]
        assert ended == ({f"r1#{ends[0]}#{role}" for role in people} if ends[0] != "IN_PROGRESS" else set())


def assert_retried(execution: SimulatedExecution, story: PathStory) -> None:
    failing = [state for state, lever in story.levers.items() if lever.fails]
    assert execution.pauses == [(state, pause) for state in failing for pause in (2, 4, 8)]
    assert execution.transitions == len(story.states) + 3 * len(failing)
    waited = sum(lever.late for lever in story.levers.values()) * SEVEN_DAYS
    assert execution.seconds == waited + 14 * len(failing)


# --- what goes wrong on the way ---------------------------------------------------------------------------------------


def tasks(machine: str) -> dict[str, Definition]:
    states = definition_of(WORKFLOWS[machine])["States"]
    return {name: state for name, state in states.items() if state["Type"] == "Task"}


ALL_TASKS = [(machine, state) for machine in WORKFLOWS for state in tasks(machine)]
# a task that lets an error pass fails the execution at itself, so that a redrive resumes there
OPEN_TASKS = [(machine, state) for machine, state in ALL_TASKS if state not in caught(machine)]


def story_through(machine: str, state: str) -> PathStory:
    """Return the shortest story in which a state's function has nothing to refuse."""
    through = [story for story in stories() if story.machine == machine and (state, "Next") in story.path]
    return min(through, key=lambda story: (len(story.states), str(story)))


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("machine", "state"), OPEN_TASKS)
def test_a_task_that_lets_errors_pass_can_be_redriven(machine: str, state: str, moment: Moment) -> None:
    story = story_through(machine, state)
    broken = True

    def trouble(invocation: Invocation, now: Moment) -> None:
        if broken and invocation.state == state and now == moment:
            raise ConnectionError("broken")

    with deployed() as world:
        pull(world, story, trouble)
        execution = drive(world, story)
        at = story.states.index(state) + 1
        assert execution.status == "FAILED"
        assert execution.error == "ConnectionError"
        assert execution.states == story.states[:at]
        tried = [pause for paused, pause in execution.pauses if paused == state]
        assert tried == ([2, 4, 8] if state == "ValidateEscrowRelease" else [30, 60, 120])

        broken = False
        world.redrive(execution)
        assert execution.states == story.states[:at] + story.states[at - 1 :]
        assert_ended(world, execution, story)


@pytest.mark.thorough
@pytest.mark.parametrize("error", ["Lambda.TooManyRequestsException", "Lambda.Unknown"])
@pytest.mark.parametrize(("machine", "state"), ALL_TASKS)
def test_what_is_transient_only_costs_time(machine: str, state: str, error: str) -> None:
    story = story_through(machine, state)

    def trouble(invocation: Invocation, moment: Moment) -> None:
        # a throttled call never began, one that ran out of time or memory may have done its work
        done = "before" if error == "Lambda.TooManyRequestsException" else "after"
        if invocation.state == state and moment == done and invocation.attempt < 6:
            raise LambdaError(error)

    with deployed() as world:
        pull(world, story, trouble)
        execution = drive(world, story)
        assert execution.states == story.states
        assert_ended(world, execution, story)
        pauses = [pause for paused, pause in execution.pauses if paused == state]
        assert len(pauses) == 6
        assert all(0 <= pause <= longest for pause, longest in zip(pauses, (2, 4, 8, 16, 32, 60), strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("machine", "state"), [(m, s) for m, s in ALL_TASKS if not tasks(m)[s]["Resource"].endswith("waitForTaskToken")]
)
def test_a_task_that_hangs_is_tried_again(machine: str, state: str) -> None:
    story = story_through(machine, state)

    def trouble(invocation: Invocation, moment: Moment) -> None:
        if invocation.state == state and moment == "after" and invocation.attempt < 3:
            raise TimeoutError

    with deployed() as world:
        pull(world, story, trouble)
        execution = drive(world, story)
        assert execution.states == story.states
        assert_ended(world, execution, story)
        assert len([pause for paused, pause in execution.pauses if paused == state]) == 3


@pytest.mark.parametrize("wait", ["WaitForProviderResponse", "ProcessNegotiation"])
def test_the_answer_goes_to_the_attempt_that_waits(wait: str) -> None:
    story = next(s for s in stories() if (wait, "Next") in s.path and s.path[-1] == ("StartServiceExecution", "Next"))
    tokens: list[str] = []

    def trouble(invocation: Invocation, moment: Moment) -> None:
        if invocation.state == wait and moment == "after":
            tokens.append(invocation.event["taskToken"])
            if len(tokens) < 3:
                raise ConnectionError("the answer of the function is lost")

    with deployed() as world:
        pull(world, story, trouble)
        execution = drive(world, story)
        assert len(set(tokens)) == 3
        assert execution.states == story.states
        assert_ended(world, execution, story)
