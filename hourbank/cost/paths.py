"""The states that a definition passes on the path of a story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hourbank.drawing import graph
from hourbank.stories.stories import Ways

Definition = Mapping[str, Any]


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
