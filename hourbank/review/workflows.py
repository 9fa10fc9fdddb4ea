"""What changes in the definitions of workflows: state by state, as a picture, and in what ends executions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hourbank.drawing import graph
from hourbank.drawing.flow import ANY_ERROR, flow_of, word_of
from hourbank.drawing.graph import Cause
from hourbank.drawing.marks import compared
from hourbank.drawing.mermaid import mermaid
from hourbank.program.resource_types import MACHINE
from hourbank.review.compare import StackDifference
from hourbank.review.markdown import code, fenced
from hourbank.review.values import differing, from_to, value

MAY_CATCH = ("Task", *graph.GROUPS)
CATCHES_NOTHING = "catches nothing: an error"
NO_DEFAULT = "has no Default: what no rule is for"
CATCHES_SOME = "does not catch every error: an error"
# Of a state, by what differs: which of its ways say so.
CAUSES = {"Catch": Cause.CATCH, "Choices": Cause.CHOICE}


def less_caught(difference: StackDifference) -> Iterator[str]:
    """The states that end an execution now, by an error that nothing catches or an answer that no rule is for."""
    if not difference.before.resources:  # nothing runs yet
        return
    for machine in sorted(resource.name for resource in difference.after.of_type(MACHINE)):
        were = unguarded(difference.before.definition(machine))
        for name, left in unguarded(difference.after.definition(machine)).items():
            if were.get(name) not in (left, CATCHES_NOTHING):
                yield f"State {code(name)} of {code(machine)} {left} ends the execution, hours held."


def unguarded(definition: Mapping[str, Any] | None) -> dict[str, str]:
    """What ends an execution in a state of the machine, with nothing done about it; endings have nothing to do.

    Inside of a Parallel or a Map an error ends all of it, so it is this which must catch.
    """
    left = {}
    for name, state in (definition or {}).get("States", {}).items():
        if state["Type"] == "Choice" and "Default" not in state:
            left[name] = NO_DEFAULT
        elif state["Type"] in MAY_CATCH and ANY_ERROR not in leading("Catch", state):
            if not graph.ends(state):
                left[name] = CATCHES_SOME if state.get("Catch") else CATCHES_NOTHING
            for inner in graph.insides(state):
                left |= {one: why for one, why in unguarded(inner).items() if why == NO_DEFAULT}
    return left


def workflows(difference: StackDifference) -> Iterator[str]:
    """Each definition that differs: state by state, and as a picture."""
    machines = {resource.name for stack in (difference.before, difference.after) for resource in stack.of_type(MACHINE)}
    for machine in sorted(machines):
        before, after = difference.before.definition(machine) or {}, difference.after.definition(machine) or {}
        if before == after:
            continue
        yield f"**{code(machine)}**"
        lines = list(states(before, after))
        yield "\n".join(lines)
        merged, classes = compared(before or {"States": {}, "StartAt": ""}, after or {"States": {}, "StartAt": ""})
        if any(said in ("added", "removed", "changed") for said in classes.values()):
            yield fenced("mermaid", mermaid(merged, classes=classes))


def states(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What differs state by state, also inside of a Parallel or a Map."""
    were, now = graph.places(before), graph.places(after)
    for path, old, new in differing({**before, "States": None}, {**after, "States": None}):
        yield f"- {code(path)}: {from_to(old, new)}"
    for name in sorted({*were, *now}):
        if name not in were:
            yield f"- {titled(name, now[name])} is added: {', '.join(inside(name, now[name].state))}"
        elif name not in now:
            yield f"- {titled(name, were[name])} is removed"
        else:
            yield from changed_state(name, were[name], now[name])


def titled(name: str, place: graph.Place) -> str:
    """Such as "state `A`", or "state `A` in `B`"."""
    return f"state {code(name)} in {code(place.within)}" if place.within else f"state {code(name)}"


def changed_state(name: str, before: graph.Place, after: graph.Place) -> Iterator[str]:
    title = titled(name, after)
    if before.within != after.within:
        yield f"- {title}: it was {f'in {code(before.within)}' if before.within else 'in no other state'}"
    were, now = without_insides(before.state), without_insides(after.state)
    for path, old, new in differing(were, now):
        led = [] if path not in ("Catch", "Choices") else list(leads(path, were, now))
        yield from (f"- {title}: {line}" for line in led)
        if not led or others(path, were, now):
            yield f"- {title}, {code(path)}: {from_to(old, new)}"


def without_insides(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state without the states inside of it, which are compared by themselves; branches by their number."""
    inner = [{key: part for key, part in inside.items() if key != "States"} for inside in graph.insides(state)]
    if not inner:
        return dict(state)
    if state["Type"] == "Parallel":
        return {**state, "Branches": {str(number): branch for number, branch in enumerate(inner, 1)}}
    return {**state, "ItemProcessor" if "ItemProcessor" in state else "Iterator": inner[0]}


def inside(name: str, state: Mapping[str, Any]) -> Iterator[str]:
    """What there is to know of a new state."""
    yield code(state["Type"])
    if call := graph.called(state):
        yield f"calls {code(call)}"
    drawn = flow_of({"States": {name: state}}).states[name]
    if drawn.kind == "group":
        yield from map(words, drawn.notes)
    elif drawn.notes:
        yield words(" ".join(drawn.notes))
    elif "TimeoutSeconds" in state:
        yield f"{code('TimeoutSeconds')} {value(state['TimeoutSeconds'])}"
    if state["Type"] in MAY_CATCH and "Catch" not in state:
        yield "catches nothing"


def words(text: str) -> str:
    """Words of flow's as they are, and as code what may have come from a definition."""
    return text if re.fullmatch(r"[a-z0-9 ,:-]+", text) else code(text)


def leading(key: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Where the ways of a state lead by its Catch or its Choices, by their words; the first of each counts."""
    ways = [way for way in graph.ways(state) if way.cause is CAUSES[key]]
    return {word_of(way, state): str(way.target) for way in reversed(ways)}


def leads(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Which errors or answers lead elsewhere than before."""
    led, lead = leading(key, before), leading(key, after)
    for word in dict.fromkeys([*reversed(led), *reversed(lead)]):
        old, new = led.get(word), lead.get(word)
        if old == new:
            continue
        if new is None:
            yield f"{words(word)} no longer leads to {code(str(old))}"
        elif old is None:
            yield f"{words(word)} now leads to {code(new)}"
        else:
            yield f"{words(word)} now leads to {code(new)}, no longer to {code(old)}"


def others(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether more differs in the ways that both versions have than where they lead, such as their order."""
    both = leading(key, before).keys() & leading(key, after).keys()

    def kept(state: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [
            (word, {name: part for name, part in way.rule.items() if name not in ("Next", "ErrorEquals")})
            for way in graph.ways(state)
            if way.cause is CAUSES[key] and (word := word_of(way, state)) in both
        ]

    return kept(before) != kept(after)
