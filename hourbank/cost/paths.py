"""The paths that a request can take, as the decisions on its way, and the states that a definition then passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hourbank.drawing import graph

Definition = Mapping[str, Any]
# A state, and how it is left: an error that it catches, or what a Choice compares with.
Ways = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Path:
    """What becomes of a request.

    Attributes
    ----------
    story : str
        The title of the story that plays it.
    request, release : mapping
        The ways out of the states of ServiceRequestWorkflow, and of EscrowManagementWorkflow where it is started.
    """

    name: str
    story: str
    request: Ways
    release: Ways | None = None


ACCEPTED = {"CheckProviderResponse": "ACCEPTED"}
OFFERED = {"CheckProviderResponse": "COUNTER_OFFER"}
PATHS = (
    Path(
        name="accepted and released",
        story="Accepted, completed and released",
        request=ACCEPTED,
        release={"CheckDecision": "RELEASE"},
    ),
    Path(
        name="declined",
        story="Declined",
        request={"CheckProviderResponse": "REJECTED"},
    ),
    Path(
        name="timed out",
        story="Nobody answers",
        request={"WaitForProviderResponse": "States.Timeout", "CheckProviderResponse": "TIMED_OUT"},
    ),
    Path(
        name="counter-offer accepted and released",
        story="Counter-offer, accepted and adjusted",
        request=OFFERED | {"CheckRequesterResponse": "ACCEPTED"},
        release={"CheckDecision": "RELEASE"},
    ),
    Path(
        name="counter-offer declined",
        story="Counter-offer, declined",
        request=OFFERED | {"CheckRequesterResponse": "Default"},
    ),
    Path(
        name="cancelled",
        story="Cancelled before an answer",
        request={"CheckProviderResponse": "CANCELLED"},
    ),
    Path(
        name="withdrawn",
        story="Withdrawn while in progress",
        request=ACCEPTED,
        release={"CheckDecision": "REFUND"},
    ),
    Path(
        name="not enough hours",
        story="Not enough hours",
        request={"ValidateRequest": "InsufficientBalance"},
    ),
    Path(
        name="invalid",
        story="Invalid",
        request={"ValidateRequest": "ValidationFailed"},
    ),
)


class NoSuchWayError(Exception):
    """A definition has no such path; the message says where it ends."""


def walk(definition: Definition, ways: Ways) -> list[str]:
    """Return the states that an execution passes.

    A Choice that `ways` does not name is left by its Default.

    Raises
    ------
    NoSuchWayError
        A state is not there, or cannot be left in that way.
    """
    passed: list[str] = []
    state: str | None = definition["StartAt"]
    while state is not None:
        if state in passed:
            raise NoSuchWayError(f"comes to {state} again")
        if state not in definition["States"]:
            raise NoSuchWayError(f"there is no {state}")
        passed.append(state)
        state = next_state(state, definition["States"][state], ways.get(state))
    missing = sorted(set(ways) - set(passed))
    if missing:
        raise NoSuchWayError(f"does not come to {missing[0]}")
    return passed


def next_state(name: str, state: Definition, way: str | None) -> str | None:
    if graph.insides(state):
        raise NoSuchWayError(f"{name} runs several states at once")
    # of two of one name the first is taken
    exits = {out.name: out.target for out in reversed(list(graph.ways(state)))}
    way = way or (graph.DEFAULT if state["Type"] == "Choice" else graph.NEXT)
    if way not in exits:
        raise NoSuchWayError(f"{name} has no {way}")
    return exits[way]


def calls(definition: Definition, states: Sequence[str]) -> int:
    """Return how many of the states call a function."""
    return sum(definition["States"][state]["Type"] == "Task" for state in states)
