"""Every path of both workflows, and the stories that make an execution take each.

Paths are enumerated from the definitions: a path is how each of its states is left (``Next``, an error that is caught,
a branch of a Choice, ``Default``). Each such way has a lever, which is how the world makes an execution take it: where
a state is left by its end, by NotOwner or by a failure, the usual one. A new way without a lever is said to lack it.
Ways that no execution takes one after the other are listed with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

from hourbank.drawing import graph
from hourbank.simulate.executions import Invocation, Moment, SimulatedExecution
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.program import definition_of
from hourbank.simulate.world import World
from workflows import WORKFLOWS

Definition = dict[str, Any]
Way = tuple[str, str]
"""A state, and how it is left."""

# --- paths ------------------------------------------------------------------------------------------------------------


def paths(definition: Definition, start: str | None = None) -> Iterator[tuple[Way, ...]]:
    """Yield every path from `start` (by default the first state) to an end."""
    state = start or definition["StartAt"]
    for way in graph.ways(definition["States"][state]):
        if way.target is None:
            yield ((state, way.name),)
        else:
            yield from (((state, way.name), *rest) for rest in paths(definition, way.target))


@cache
def caught(machine: str) -> frozenset[str]:
    """Return the states where a function that fails for good must not leave work for an operator."""
    states = definition_of(WORKFLOWS[machine])["States"]
    return frozenset(
        name for name, state in states.items() if any(way.name == "States.ALL" for way in graph.ways(state))
    )


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


def say(**values: Any) -> Callable[[World], None]:
    """Return a change of the request by people, as long as it is there."""

    def act(world: World) -> None:
        if "r1" in world.ledger().requests:
            with suppress(DynamoDBRefusal):  # there is no room for it
                world.update("r1", **values)

    return act


def delete(world: World) -> None:
    """Remove the request."""
    if "r1" in world.ledger().requests:
        world.delete("r1")


ON = Lever()
BREAKS = Lever(fails=True, ends=("FAILED", "A technical failure; the hours were given back"))
GONE = Lever(before=delete)
LEVERS: dict[Way, Lever] = {
    ("ValidateRequest", "ValidationFailed"): Lever(
        record={"estimatedHours": Decimal(0)}, ends=("REJECTED", "estimatedHours must be")
    ),
    ("ValidateRequest", "InsufficientBalance"): Lever(
        record={"estimatedHours": Decimal("10.01")},
        ends=("REJECTED", "Not enough hours: 10.01 needed"),
    ),
    ("EscrowHours", "ValidationFailed"): Lever(
        before=say(estimatedHours="three"), ends=("REJECTED", "estimatedHours must be")
    ),
    ("EscrowHours", "InsufficientBalance"): Lever(
        before=lambda world: world.give("ann", -8), ends=("REJECTED", "Not enough hours: 3 needed")
    ),
    ("WaitForProviderResponse", "States.Timeout"): Lever(late=True),
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
    ("ProcessNegotiation", "States.Timeout"): Lever(late=True),
    ("ProcessNegotiation", "IllegalOffer"): Lever(
        before=say(counterOfferHours=Decimal("4.125")), ends=("DECLINED", "The counter-offer must be")
    ),
    ("CheckRequesterResponse", "ACCEPTED"): Lever(answer={"requesterResponse": "ACCEPTED"}),
    ("CheckRequesterResponse", "TIMED_OUT"): Lever(
        ends=("TIMED_OUT", "The requester did not answer the counter-offer")
    ),
    ("CheckRequesterResponse", "Default"): Lever(
        answer={"requesterResponse": "REJECTED"}, ends=("DECLINED", "The requester declined the counter-offer")
    ),
    ("AdjustEscrow", "OfferNotAffordable"): Lever(
        before=lambda world: world.give("ann", -6), ends=("DECLINED", "Not enough hours: 1.5 more needed")
    ),
    ("StartServiceExecution", "Next"): Lever(ends=("IN_PROGRESS", "")),
}
REPLACED = Lever(before=say(providerId="eve"), ends=("IN_PROGRESS", ""))
RELEASE_LEVERS: dict[Way, Lever] = {
    ("ValidateEscrowRelease", "ReleaseRefused"): REPLACED,
    ("CheckDecision", "RELEASE"): Lever(answer={"requesterResponse": "COMPLETED"}, ends=("COMPLETED", "")),
    ("CheckDecision", "REFUND"): Lever(
        answer={"providerResponse": "WITHDRAWN"}, ends=("CANCELLED", "The provider withdrew")
    ),
    ("CheckDecision", "Default"): Lever(ends=("IN_PROGRESS", "")),
    ("ProcessEscrowRelease", "ReleaseRefused"): REPLACED,
    ("RefundEscrow", "ReleaseRefused"): REPLACED,
}
ALL_LEVERS = {"ServiceRequestWorkflow": LEVERS, "EscrowManagementWorkflow": RELEASE_LEVERS}
# how an execution is made to take a way that any state may have, where the tables above say nothing else
USUAL = {"Next": ON, "NotOwner": GONE, "States.ALL": BREAKS}

# Pairs of ways that no execution takes one after the other.
INFEASIBLE: dict[tuple[Way, Way], str] = {
    (("WaitForProviderResponse", "Next"), ("CheckProviderResponse", "TIMED_OUT")): (
        "the router never answers TIMED_OUT: only TimeoutRequest writes it there"
    ),
    (("ProcessNegotiation", "Next"), ("CheckRequesterResponse", "TIMED_OUT")): (
        "the router never answers TIMED_OUT: only TimeoutNegotiation writes it there"
    ),
}


def lever_of(machine: str, way: Way) -> Lever | None:
    """Return what makes an execution leave a state in a way; None: nobody has written it."""
    return ALL_LEVERS[machine].get(way, USUAL.get(way[1]))


def missing_levers(machine: str, definition: Definition) -> list[str]:
    """Return, for each way out of a state that no lever makes an execution take, what to write."""
    ways = dict.fromkeys(way for path in paths(definition) for way in path)
    return [
        f"write into hourbank/simulate/paths.py, levers of {machine}, how an execution leaves {state} by {way}"
        for state, way in ways
        if lever_of(machine, (state, way)) is None
    ]


def is_feasible(path: tuple[Way, ...]) -> bool:
    return not any(pair in INFEASIBLE for pair in pairwise(path))


# --- stories ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PathStory:
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
        return {way[0]: lever for way in self.path if (lever := lever_of(self.machine, way))}

    def ends(self) -> tuple[str, str] | None:
        """Return status and reason of the newest event that decides; None: the record is gone."""
        levers = list(self.levers.values())
        if GONE in levers:
            return None
        if self.fails == "after" and ("StartServiceExecution", "States.ALL") in self.path:
            return "IN_PROGRESS", ""
        return next(lever.ends for lever in reversed(levers) if lever.ends)


@cache
def stories() -> list[PathStory]:
    """Return the stories of all feasible paths but those that no levers make an execution take."""
    found = []
    for machine, workflow in WORKFLOWS.items():
        for path in filter(is_feasible, paths(definition_of(workflow))):
            if any(lever_of(machine, way) is None for way in path):
                continue
            fails: tuple[Moment | None, ...] = (
                ("before", "after") if any(w == "States.ALL" for _, w in path) else (None,)
            )
            found += [PathStory(machine, path, moment) for moment in fails]
    return found


def pull(world: World, story: PathStory, trouble: Callable[[Invocation, Moment], None] | None = None) -> None:
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


def drive(world: World, story: PathStory) -> SimulatedExecution:
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
