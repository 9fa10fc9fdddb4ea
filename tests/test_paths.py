"""Every path of both workflows, driven through the real definitions and handlers with time skipped.

Paths are enumerated from the definitions: a path is how each of its states is left (``Next``, an error that is caught,
a branch of a Choice, ``Default``). Each such way has a lever, which is how the world makes an execution take it; a new
way without a lever fails. Ways that no execution takes one after the other are listed with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from tests.time_skipping import (
    SEVEN_DAYS,
    Execution,
    Invocation,
    LambdaError,
    Moment,
    World,
    definition_of,
    deployed,
)
from workflows import escrow_management, service_request

WORKFLOWS = {"ServiceRequestWorkflow": service_request, "EscrowManagementWorkflow": escrow_management}
Definition = dict[str, Any]
Way = tuple[str, str]
"""A state, and how it is left."""

# --- paths ------------------------------------------------------------------------------------------------------------


def ways_out(state: Definition) -> Iterator[tuple[str, str | None]]:
    """Yield how a state can be left, and where to (None: the execution ends)."""
    if state["Type"] == "Choice":
        yield from ((choice["StringEquals"], choice["Next"]) for choice in state["Choices"])
        yield "Default", state["Default"]
    else:
        yield "Next", state.get("Next")
        for catch in state.get("Catch", []):
            yield from ((error, catch["Next"]) for error in catch["ErrorEquals"])


def paths(definition: Definition, start: str | None = None) -> Iterator[tuple[Way, ...]]:
    """Yield every path from `start` (by default the first state) to an end."""
    state = start or definition["StartAt"]
    for way, target in ways_out(definition["States"][state]):
        if target is None:
            yield ((state, way),)
        else:
            yield from (((state, way), *rest) for rest in paths(definition, target))


# --- levers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lever:
    """How the world makes an execution leave a state in one way.

    Attributes
    ----------
    record
        What the request says when it is created.
    before
        What happens in the world just before the state's function is called.
    answer
        What people write while the execution waits.
    late
        The wait runs out; what `answer` of the next state says is stored by then, but the stream delivers it later.
    fails
        The state's function fails, and fails again however often it is tried.
    ends
        Status and the beginning of failureReason that the request ends with, if nothing newer decides.
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[World], None] | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    late: bool = False
    fails: bool = False
    ends: tuple[str, str] | None = None


def spend(world: World) -> None:
    world.grant("ann", -8)


def delete(world: World) -> None:
    world.delete("r1")


def say(**values: Any) -> Callable[[World], None]:
    return lambda world: world.update("r1", **values)


ON = Lever()
BREAKS = Lever(fails=True, ends=("FAILED", "A technical failure; the hours were given back"))
GONE = Lever(before=delete)
LEVERS: dict[Way, Lever] = {
    ("ValidateRequest", "Next"): ON,
    ("ValidateRequest", "ValidationFailed"): Lever(
        record={"estimatedHours": Decimal(0)}, ends=("REJECTED", "estimatedHours must be")
    ),
    ("ValidateRequest", "InsufficientBalance"): Lever(
        record={"estimatedHours": Decimal("10.01")},
        ends=("REJECTED", "Not enough hours: 10.01 needed, 10 available"),
    ),
    ("ValidateRequest", "NotOwner"): GONE,
    ("ValidateRequest", "States.ALL"): BREAKS,
    ("EscrowHours", "Next"): ON,
    ("EscrowHours", "ValidationFailed"): Lever(
        before=say(estimatedHours="three"), ends=("REJECTED", "estimatedHours must be")
    ),
    ("EscrowHours", "InsufficientBalance"): Lever(
        before=spend, ends=("REJECTED", "Not enough hours: 3 needed, 2 available")
    ),
    ("EscrowHours", "NotOwner"): GONE,
    ("EscrowHours", "States.ALL"): BREAKS,
    ("WaitForProviderResponse", "Next"): ON,
    ("WaitForProviderResponse", "States.Timeout"): Lever(late=True),
    ("WaitForProviderResponse", "NotOwner"): GONE,
    ("WaitForProviderResponse", "States.ALL"): BREAKS,
    ("TimeoutRequest", "Next"): ON,
    ("CheckProviderResponse", "ACCEPTED"): Lever(answer={"providerResponse": "ACCEPTED"}),
    ("CheckProviderResponse", "REJECTED"): Lever(
        answer={"providerResponse": "REJECTED"}, ends=("DECLINED", "The provider declined")
    ),
    ("CheckProviderResponse", "CANCELLED"): Lever(
        answer={"requesterResponse": "CANCELLED"}, ends=("CANCELLED", "The requester cancelled")
    ),
    ("CheckProviderResponse", "COUNTER_OFFER"): Lever(
        answer={"providerResponse": "COUNTER_OFFER", "counterOfferHours": Decimal("4.5")}
    ),
    ("CheckProviderResponse", "TIMED_OUT"): Lever(ends=("TIMED_OUT", "The provider did not answer in time")),
    ("CheckProviderResponse", "Default"): Lever(
        answer={"providerResponse": "PERHAPS"}, ends=("DECLINED", "The provider's answer was not understood")
    ),
    ("ProcessNegotiation", "Next"): ON,
    ("ProcessNegotiation", "States.Timeout"): Lever(late=True),
    ("ProcessNegotiation", "IllegalOffer"): Lever(
        before=say(counterOfferHours=Decimal("4.125")), ends=("DECLINED", "The counter-offer must be")
    ),
    ("ProcessNegotiation", "NotOwner"): GONE,
    ("ProcessNegotiation", "States.ALL"): BREAKS,
    ("TimeoutNegotiation", "Next"): ON,
    ("CheckRequesterResponse", "ACCEPTED"): Lever(answer={"requesterResponse": "ACCEPTED"}),
    ("CheckRequesterResponse", "TIMED_OUT"): Lever(
        ends=("TIMED_OUT", "The requester did not answer the counter-offer")
    ),
    ("CheckRequesterResponse", "Default"): Lever(
        answer={"requesterResponse": "REJECTED"}, ends=("DECLINED", "The requester declined the counter-offer")
    ),
    ("AdjustEscrow", "Next"): ON,
    ("AdjustEscrow", "OfferNotAffordable"): Lever(
        before=lambda world: world.grant("ann", -6), ends=("DECLINED", "Not enough hours: 1.5 more needed, 1 available")
    ),
    ("AdjustEscrow", "NotOwner"): GONE,
    ("AdjustEscrow", "States.ALL"): BREAKS,
    ("StartServiceExecution", "Next"): Lever(ends=("IN_PROGRESS", "")),
    ("StartServiceExecution", "NotOwner"): GONE,
    ("StartServiceExecution", "States.ALL"): BREAKS,
    ("TimedOut", "Next"): ON,
    ("NotOwner", "Next"): ON,
    ("RefundEscrow", "Next"): ON,
    ("RejectRequest", "Next"): ON,
    ("RefundAfterFailure", "Next"): ON,
    ("RequestFailed", "Next"): ON,
}
REPLACED = Lever(before=say(providerId="eve"), ends=("IN_PROGRESS", ""))
RELEASE_LEVERS: dict[Way, Lever] = {
    ("ValidateEscrowRelease", "Next"): ON,
    ("ValidateEscrowRelease", "ReleaseRefused"): REPLACED,
    ("CheckDecision", "RELEASE"): Lever(answer={"requesterResponse": "COMPLETED"}, ends=("COMPLETED", "")),
    ("CheckDecision", "REFUND"): Lever(
        answer={"providerResponse": "WITHDRAWN"}, ends=("CANCELLED", "The provider withdrew")
    ),
    ("CheckDecision", "Default"): Lever(ends=("IN_PROGRESS", "")),
    ("ProcessEscrowRelease", "Next"): ON,
    ("ProcessEscrowRelease", "ReleaseRefused"): REPLACED,
    ("RefundEscrow", "Next"): ON,
    ("RefundEscrow", "ReleaseRefused"): REPLACED,
    ("NothingToDo", "Next"): ON,
    ("ReleaseRefused", "Next"): ON,
}
ALL_LEVERS = {"ServiceRequestWorkflow": LEVERS, "EscrowManagementWorkflow": RELEASE_LEVERS}

# Pairs of ways that no execution takes one after the other.
INFEASIBLE: dict[tuple[Way, Way], str] = {
    (("WaitForProviderResponse", "Next"), ("CheckProviderResponse", "TIMED_OUT")): (
        "the router never answers TIMED_OUT: only TimeoutRequest writes it there"
    ),
    (("ProcessNegotiation", "Next"), ("CheckRequesterResponse", "TIMED_OUT")): (
        "the router never answers TIMED_OUT: only TimeoutNegotiation writes it there"
    ),
}


def missing_levers(machine: str, definition: Definition) -> set[Way]:
    """Return each way out of a state that no lever makes an execution take."""
    ways = {way for path in paths(definition) for way in path}
    return ways - ALL_LEVERS[machine].keys()


def is_feasible(path: tuple[Way, ...]) -> bool:
    return not any(pair in INFEASIBLE for pair in pairwise(path))


# --- stories ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """One path, and whether what fails on it (if anything) fails before or after it has done its work."""

    machine: str
    path: tuple[Way, ...]
    fails: Moment | None = None

    def __str__(self) -> str:
        turns = [f"{state}.{way}" if way != "States.ALL" else f"{state}.fails-{self.fails}" for state, way in self.path]
        return ">".join(turn.removesuffix(".Next") for turn in turns if not turn.endswith(".Next")) or "straight"

    @property
    def states(self) -> list[str]:
        return [state for state, _ in self.path]

    @property
    def levers(self) -> dict[str, Lever]:
        levers = ALL_LEVERS[self.machine]
        missing = [way for way in self.path if way not in levers]
        assert not missing, f"no lever makes an execution take {missing}"
        return {way[0]: levers[way] for way in self.path}

    def ends(self) -> tuple[str, str] | None:
        """Return status and reason of the newest event that decides; None: the record is gone."""
        levers = list(self.levers.values())
        if GONE in levers:
            return None
        if self.fails == "after" and ("StartServiceExecution", "States.ALL") in self.path:
            return "IN_PROGRESS", ""
        return next(lever.ends for lever in reversed(levers) if lever.ends)


@cache
def stories() -> list[Story]:
    found = []
    for machine, workflow in WORKFLOWS.items():
        for path in filter(is_feasible, paths(definition_of(workflow))):
            fails: tuple[Moment | None, ...] = (
                ("before", "after") if any(w == "States.ALL" for _, w in path) else (None,)
            )
            found += [Story(machine, path, moment) for moment in fails]
    return found


def pull(world: World, story: Story, trouble: Callable[[Invocation, Moment], None] | None = None) -> None:
    """Let the levers act when their state's function is called; `trouble` may raise what else goes wrong."""
    done: set[str] = set()

    def on_invoke(invocation: Invocation, moment: Moment) -> None:
        if invocation.machine != story.machine or invocation.state not in story.levers:
            return
        lever = story.levers[invocation.state]
        if moment == "before" and lever.before and invocation.state not in done:
            done.add(invocation.state)
            lever.before(world)
        if lever.fails and moment == story.fails:
            raise ConnectionError("broken")
        if trouble:
            trouble(invocation, moment)

    world.on_invoke = on_invoke


def drive(world: World, story: Story) -> Execution:
    """Play a story from the request's creation to its end; return the execution of the story's machine."""
    if not world.on_invoke:
        pull(world, story)
    levers = story.levers
    record = {name: value for lever in levers.values() for name, value in lever.record.items()}
    world.grant("ann", 10)
    world.submit("r1", **record)
    world.settle()
    request = world.executions[0]
    if story.machine == "EscrowManagementWorkflow":
        world.update("r1", providerResponse="ACCEPTED")
        world.settle()
        confirm_or_withdraw(world, levers)
        # a record that is touched after a refusal is tried again, under the next name
        return world.execution("escrow-release-r1")
    for wait, check in (
        ("WaitForProviderResponse", "CheckProviderResponse"),
        ("ProcessNegotiation", "CheckRequesterResponse"),
    ):
        if request.waiting == wait:
            assert request.wait_seconds == SEVEN_DAYS
            if answer := levers[check].answer:
                world.update("r1", **answer)
            if levers[wait].late:
                world.expire(request)
            else:
                world.settle()
    return request


def confirm_or_withdraw(world: World, levers: Mapping[str, Lever]) -> None:
    decision = levers.get("CheckDecision", Lever()).answer
    # where the story does not decide anything, an answer that is taken back starts the release
    world.update("r1", **(decision or {"requesterResponse": "COMPLETED"}))
    world.deliver()
    if "CheckDecision" in levers and not decision:
        world.update("r1", requesterResponse=None)
    world.settle()


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", WORKFLOWS)
def test_every_way_out_of_a_state_has_a_lever(machine: str) -> None:
    assert missing_levers(machine, definition_of(WORKFLOWS[machine])) == set()


def test_a_new_branch_without_a_lever_is_found() -> None:
    definition = copy.deepcopy(definition_of(service_request))
    choices = definition["States"]["CheckProviderResponse"]["Choices"]
    choices.append({"Variable": choices[0]["Variable"], "StringEquals": "LATER", "Next": "RefundEscrow"})
    assert missing_levers("ServiceRequestWorkflow", definition) == {("CheckProviderResponse", "LATER")}


def test_what_is_called_infeasible_is_there() -> None:
    pairs = {pair for workflow in WORKFLOWS.values() for p in paths(definition_of(workflow)) for pair in pairwise(p)}
    assert pairs >= INFEASIBLE.keys()


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("story", stories(), ids=str)
def test_path(story: Story, times: int) -> None:
    """Given the story's world, when an execution runs, then it takes the story's path and ends as the story says."""
    with deployed(times=times) as world:
        execution = drive(world, story)
        assert execution.states == story.states
        assert_ended(world, execution, story)
        assert_retried(execution, story)
        assert world.redelivered == []


def assert_ended(world: World, execution: Execution, story: Story) -> None:
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
        assert bool(request["failureReason"]) == bool(reason)
    if last == "NothingToDo":
        outcome = "NOTHING_TO_DO"
    if execution.status == "SUCCEEDED":
        assert execution.output["outcome"] == outcome
    held = Decimal("4.5") if ("AdjustEscrow", "Next") in story.path else Decimal(3)
    assert ledger.held() == ({"r1": held} if ends and ends[0] == "IN_PROGRESS" else {})
    assert ledger.balance("bob") == (3 if ends and ends[0] == "COMPLETED" else 0)
    ended = {event["Detail"]["eventId"] for event in world.events if event["DetailType"] == "RequestEnded"}
    assert ended == ({f"r1#{outcome}"} if ends and ends[0] != "IN_PROGRESS" else ended if ends is None else set())


def assert_retried(execution: Execution, story: Story) -> None:
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
OPEN_TASKS = [
    (machine, name)
    for machine in WORKFLOWS
    for name, state in tasks(machine).items()
    if not any("States.ALL" in catch["ErrorEquals"] for catch in state.get("Catch", []))
]


def story_through(machine: str, state: str) -> Story:
    """Return the shortest story in which a state's function has nothing to refuse."""
    through = [story for story in stories() if story.machine == machine and (state, "Next") in story.path]
    return min(through, key=lambda story: (len(story.states), str(story)))


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


# --- what it costs ----------------------------------------------------------------------------------------------------


def transitions(path: str) -> int:
    """Play the story of this name, with the confirmation of a service in progress; return what AWS counts."""
    story = next(story for story in stories() if str(story) == path)
    with deployed() as world:
        drive(world, story)
        if story.ends() == ("IN_PROGRESS", ""):
            world.update("r1", requesterResponse="COMPLETED")
            world.settle()
            assert world.ledger().requests["r1"]["status"] == "COMPLETED"
        return sum(execution.transitions for execution in world.executions)


def test_no_path_takes_more_transitions_than_before() -> None:
    """The numbers are those of the definition that this one replaced: each transition is paid for."""
    timed_out = "WaitForProviderResponse.States.Timeout>CheckProviderResponse.TIMED_OUT"
    assert transitions("CheckProviderResponse.ACCEPTED") == 8
    assert transitions("CheckProviderResponse.REJECTED") <= 6
    assert transitions(timed_out) == 6
    assert transitions("ValidateRequest.ValidationFailed") == 2
    assert transitions("ValidateRequest.InsufficientBalance") <= 3
    assert transitions("EscrowHours.InsufficientBalance") <= 3
