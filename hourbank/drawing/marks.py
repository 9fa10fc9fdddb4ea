"""What can be said of states and transitions: the way of an execution, and what differs between two definitions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hourbank.drawing.flow import Edge, Flow, between, flow_of

# What can be said of a state or a transition: of an execution, and of a comparison. The mark is for those to whom
# colours say nothing.
MARKS = {"taken": "✓", "current": "▶", "failed": "✗", "added": "+", "removed": "−", "changed": "±"}


def lit(definition: Mapping[str, Any], path: Sequence[str], status: str) -> dict[str, str]:
    """Return the classes of an execution.

    Parameters
    ----------
    path
        The names of the states that it entered, in order.
    status
        Of the execution, as Step Functions says it: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, PENDING_REDRIVE.
    """
    ways = {between(source, target) for source, target in _ways(flow_of(definition))}
    taken = dict.fromkeys(path, "taken")
    taken |= dict.fromkeys(
        (way for way in itertools.starmap(between, itertools.pairwise(path)) if way in ways), "taken"
    )
    if path and status != "SUCCEEDED":
        taken[path[-1]] = "current" if status == "RUNNING" else "failed"
    return taken


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a definition with the states of both, and what was added, removed and changed in it.

    A state has changed if anything in it has, but for where it leads: that is said of the transitions.
    """
    old, new = before.get("States", {}), after.get("States", {})
    merged = dict(after) | {"States": {**new, **{name: state for name, state in old.items() if name not in new}}}
    classes = dict.fromkeys((name for name in new if name not in old), "added")
    classes |= dict.fromkeys((name for name in old if name not in new), "removed")
    classes |= dict.fromkeys(
        (name for name in new if name in old and _inside(new[name]) != _inside(old[name])), "changed"
    )
    ways = {way: edge.words if edge else None for way, edge in _ways(flow_of(after)).items()}
    were = {way: edge.words if edge else None for way, edge in _ways(flow_of(before)).items()}
    for way in {**ways, **were}:
        if way not in were:
            classes[between(*way)] = "added"
        elif way not in ways:
            classes[between(*way)] = "removed"
            source, target = way
            if source in new:  # what is caught no longer is still drawn as what it was
                caught = [catch for catch in old[source].get("Catch", []) if catch.get("Next") == target]
                state = merged["States"][source]
                merged["States"][source] = state | {"Catch": [*state.get("Catch", []), *caught]}
        elif ways[way] != were[way]:
            classes[between(*way)] = "changed"
    return merged, classes


def _inside(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in ("Next", "End", "Catch", "Choices", "Default")}


def _ways(flow: Flow) -> dict[tuple[str, str], Edge | None]:
    ways: dict[tuple[str, str], Edge | None] = {(edge.source, edge.target): edge for edge in flow.edges}
    shared = {(source, target): None for target, sources in flow.shared.items() for source in sources}
    return shared | ways


def marked(name: str, classes: Mapping[str, str]) -> str:
    """Return the name of a state with the mark of what is said of it, if anything is."""
    mark = MARKS.get(classes.get(name, ""))
    return f"{mark} {name}" if mark else name
