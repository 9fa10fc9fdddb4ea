"""Where an execution waits: for people, as the workflows have it, or in a state that somebody added to a definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from handlers.bank import requests
from hourbank.account.stack import Stack
from hourbank.drawing import graph
from hourbank.drawing.pictures import DEFINITIONS
from hourbank.operate.executions import Step, workflow_of

# The functions that ask people, and store the token with which they are answered.
ASKING = frozenset({"notifyProvider", "processNegotiation"})


class OwnWait(NamedTuple):
    """A wait in a state that is not the workflows' own."""

    state: str
    since: datetime
    until: datetime | None
    """None where only the execution's input says it, which is not read."""


def present(steps: Sequence[Step]) -> Step | None:
    """Return the state in which an execution is; None where its way is not known, or it is between two."""
    return steps[-1] if steps and steps[-1].left is None else None


def asks_people(stack: Stack, execution_arn: str, steps: Sequence[Step]) -> bool:
    """Whether an execution waits for people, as far as is known: its way may not be, or be by another definition."""
    state = _state(stack, execution_arn, step) if (step := present(steps)) else None
    return state is None or _asks(state)


def own_wait(stack: Stack, execution_arn: str, steps: Sequence[Step]) -> OwnWait | None:
    """Return the wait in which an execution is, unless it is one for people."""
    step = present(steps)
    state = _state(stack, execution_arn, step) if step else None
    if step is None or state is None or not is_own(state):
        return None
    since = step.asked or step.entered
    seconds = step.seconds or state.get("Seconds", state.get("TimeoutSeconds"))
    until = requests.moment(state, "Timestamp")
    if isinstance(seconds, int):
        until = since + timedelta(seconds=seconds)
    return OwnWait(step.state, since, until)


def is_own(state: Mapping[str, Any]) -> bool:
    """Whether an execution waits in this state for something else than an answer of people."""
    return state.get("Type") == "Wait" or (graph.waits_for_token(state) and not _asks(state))


def has_own() -> bool:
    """Whether there is such a state in the definition of the request workflow."""
    return any(is_own(place.state) for place in graph.places(DEFINITIONS["ServiceRequestWorkflow"]).values())


def _asks(state: Mapping[str, Any]) -> bool:
    return graph.waits_for_token(state) and graph.called(state) in ASKING


def _state(stack: Stack, execution_arn: str, step: Step) -> Mapping[str, Any] | None:
    """What the definition says of a state; None of one that it does not have (any more)."""
    place = graph.places(DEFINITIONS.get(workflow_of(stack, execution_arn), {})).get(step.state)
    return place.state if place else None
