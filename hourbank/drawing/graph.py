"""The state language as a graph: the states of a definition, and how each can be left.

All that reads definitions reads them here: pictures, prices, `hourbank plan` and the simulator. Any definition in
Amazon States Language can be read, JSONPath or JSONata, also one that AWS would refuse.
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Definition = Mapping[str, Any]
"""A state machine, or what runs inside of a Parallel or a Map."""

NEXT = "Next"
DEFAULT = "Default"
EVERY_ERROR = "States.ALL"
GROUPS = ("Parallel", "Map")


class Cause(Enum):
    """What makes an execution leave a state in a way."""

    DONE = "it has done what it is for"
    CHOICE = "a rule of a Choice is true"
    DEFAULT = "no rule of a Choice is true"
    CATCH = "an error is caught"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way out of a state."""

    cause: Cause
    name: str
    """Of the ways of one state: Next, Default, an error, what a rule compares with (else the rule, as JSON)."""
    target: str | None
    """The next state; None where the execution, or the branch, ends."""
    rule: Mapping[str, Any]
    """What says so in the definition: a rule of a Choice, a catcher; else the state."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A state where it stands."""

    state: Mapping[str, Any]
    within: str = ""
    """The Parallel or Map that it is a part of; empty for a state of the machine itself."""


def ways(state: Mapping[str, Any]) -> Iterator[Way]:
    """Give every way out of a state, in order; a Choice without a Default ends where no rule is true."""
    if state.get("Type") == "Choice":
        for rule in state.get("Choices", ()):
            yield Way(cause=Cause.CHOICE, name=name_of(rule), target=rule.get("Next"), rule=rule)
        yield Way(cause=Cause.DEFAULT, name=DEFAULT, target=state.get("Default"), rule=state)
    else:
        yield Way(cause=Cause.DONE, name=NEXT, target=state.get("Next"), rule=state)
    for catcher in state.get("Catch", ()):
        for error in catcher.get("ErrorEquals") or ("",):
            yield Way(cause=Cause.CATCH, name=error, target=catcher.get("Next"), rule=catcher)


def name_of(rule: Mapping[str, Any]) -> str:
    """What a rule of a Choice compares with, if that is a text; else all of it but where it leads."""
    if isinstance(compared := rule.get("StringEquals"), str):
        return compared
    return json.dumps({key: value for key, value in rule.items() if key != "Next"}, sort_keys=True)


def insides(state: Mapping[str, Any]) -> list[Definition]:
    """What runs inside of a state: the branches of a Parallel, or what a Map does for each item."""
    if state.get("Type") == "Parallel":
        return list(state.get("Branches", ()))
    if state.get("Type") == "Map":
        return [state.get("ItemProcessor", state.get("Iterator", {}))]
    return []


def places(definition: Definition, within: str = "") -> dict[str, Place]:
    """Every state by its name, those inside of others too; of a second one of a name, which AWS refuses, by both."""
    placed: dict[str, Place] = {}
    for name, state in definition.get("States", {}).items():
        inner = [pair for inside in insides(state) for pair in places(inside, name).items()]
        for own, place in [(name, Place(state=state, within=within)), *inner]:
            placed[f"{own} in {place.within}" if own in placed else own] = place
    return placed


def ends(state: Mapping[str, Any]) -> bool:
    """Whether the execution, or the branch, ends with it."""
    return state.get("End") is True or state.get("Type") in ("Succeed", "Fail")


def waits_for_token(state: Mapping[str, Any]) -> bool:
    """Whether a Task waits for somebody to answer with its token."""
    return str(state.get("Resource", "")).endswith(".waitForTaskToken")


def called(state: Mapping[str, Any]) -> str:
    """What a Task calls: the function where its parameters name one, else its resource."""
    parameters = state.get("Parameters") or state.get("Arguments") or {}
    return str(parameters.get("FunctionName", state.get("Resource", "")) if isinstance(parameters, Mapping) else "")
