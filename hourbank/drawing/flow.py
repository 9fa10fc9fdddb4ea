"""What a picture of a state machine needs: its states and transitions, with their words.

What is inside of a Map or a Parallel stays one state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hourbank.drawing import graph
from hourbank.drawing.graph import Cause, Way

# A state that so many others fall to, whatever fails in them, is drawn with one arrow for all of them.
SHARED_BY = 3
ANY_ERROR = "any other error"
LONGEST = 48
ARROW = " → "

_COMPARISONS = {
    "Equals": "{}",
    "LessThan": "< {}",
    "GreaterThan": "> {}",
    "LessThanEquals": "≤ {}",
    "GreaterThanEquals": "≥ {}",
    "Matches": "like {}",
}
_TESTS = {
    "IsPresent": "there",
    "IsNull": "null",
    "IsString": "a string",
    "IsNumeric": "a number",
    "IsBoolean": "a boolean",
    "IsTimestamp": "a time",
}


@dataclass(frozen=True)
class State:
    """A state.

    Attributes
    ----------
    kind : str
        task, wait (for a task token, or for a time), choice, pass, group (Map, Parallel), succeed or fail.
    ends : bool
        Whether the execution ends with it.
    notes : tuple of str
        What stands under its name, a line each.
    comment : str
        What it is for.
    """

    name: str
    kind: str
    ends: bool
    notes: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class Edge:
    """All transitions from a state to another, or to itself.

    Attributes
    ----------
    words : tuple of str
        When it is taken: an answer, an error in words. Empty if always.
    is_catch : bool
        Whether only errors lead this way.
    """

    source: str
    target: str
    words: tuple[str, ...]
    is_catch: bool


@dataclass(frozen=True)
class Flow:
    """A state machine.

    Attributes
    ----------
    states : dict
        By name, as the definition has them.
    edges : tuple of Edge
        Without those of `shared`.
    happy : tuple of str
        The path if every state succeeds and every choice takes its first way.
    shared : dict
        For each state that at least three fall to whatever fails in them: those states.
    """

    states: dict[str, State]
    edges: tuple[Edge, ...]
    happy: tuple[str, ...]
    shared: dict[str, tuple[str, ...]]


def between(source: str, target: str) -> str:
    """Return the name of a transition."""
    return source + ARROW + target


def flow_of(definition: Mapping[str, Any], gone: Iterable[str] = ()) -> Flow:
    """Read a definition; a transition to a state that is not there is left out.

    Parameters
    ----------
    gone
        Among others, names of transitions that the definition no longer has, and its picture should.
    """
    raw: Mapping[str, Any] = definition.get("States", {})
    states = {name: _state(name, state) for name, state in raw.items()}
    edges: dict[tuple[str, str], Edge] = {}
    falls: dict[str, dict[str, None]] = {}  # in order, each once
    for name, state in raw.items():
        for way in graph.ways(state):
            if way.target is None or way.target not in raw:
                continue
            word, is_catch = word_of(way, state), way.cause is Cause.CATCH
            if way.name == graph.EVERY_ERROR and is_catch and way.target != name:
                falls.setdefault(way.target, {})[name] = None
                continue
            known = edges.get((name, way.target), Edge(name, way.target, (), is_catch))
            words = (*known.words, word) if word and word not in known.words else known.words
            edges[name, way.target] = Edge(name, way.target, words, known.is_catch and is_catch)
    for target, sources in falls.items():
        if len(sources) < SHARED_BY:
            for name in sources:
                known = edges.get((name, target), Edge(name, target, (), True))
                edges[name, target] = Edge(name, target, (*known.words, ANY_ERROR), known.is_catch)
    shared = {target: tuple(sources) for target, sources in falls.items() if len(sources) >= SHARED_BY}
    for name in gone:
        source, _, target = name.partition(ARROW)
        if source in raw and target in raw and source not in shared.get(target, ()):
            edges.setdefault((source, target), Edge(source, target, (), False))
    order = {name: number for number, name in enumerate(raw)}
    return Flow(
        states=states,
        edges=tuple(sorted(edges.values(), key=lambda edge: (order[edge.source], edge.is_catch))),
        happy=tuple(_happy(definition.get("StartAt", ""), raw)),
        shared=shared,
    )


def _happy(name: str, raw: Mapping[str, Any]) -> Iterator[str]:
    passed = set()
    while name in raw and name not in passed:
        passed.add(name)
        yield name
        name = next(way.target for way in graph.ways(raw[name])) or ""


def word_of(way: Way, state: Mapping[str, Any]) -> str:
    """Return when a way out of a state is taken, in words: empty if always."""
    match way.cause:
        case Cause.DONE:
            return "answered" if graph.waits_for_token(state) else ""
        case Cause.CHOICE:
            return _shorten(_rule(way.rule))
        case Cause.DEFAULT:
            return "otherwise"
        case Cause.CATCH:
            return _error(way.name, state)


def _state(name: str, state: Mapping[str, Any]) -> State:
    kind = str(state.get("Type", "Task"))
    if kind == "Task" and graph.waits_for_token(state):
        kind = "Wait"
    elif kind in graph.GROUPS:
        kind = "Group"
    notes = tuple(map(_shorten, _notes(name, state)))
    return State(name, kind.lower(), graph.ends(state), notes, str(state.get("Comment", "")))


def _notes(name: str, state: Mapping[str, Any]) -> list[str]:
    match state.get("Type"):
        case "Task" if graph.waits_for_token(state):
            return _until(state)
        case "Wait":
            return _for_how_long(state)
        case "Parallel":
            branches = _many(len(graph.insides(state)), "branch", "branches")
            return [f"{branches} at once", _many(_states_inside(state), "state", "states")]
        case "Map":
            return [f"for each item: {_many(_states_inside(state), 'state', 'states')}"]
        case "Pass" if isinstance(result := state.get("Result"), str):
            return [result]
        case "Fail" if (error := state.get("Error")) and error != name:
            return [str(error)]
    return []


def _states_inside(state: Mapping[str, Any]) -> int:
    return sum(len(inside.get("States", {})) for inside in graph.insides(state))


def _until(state: Mapping[str, Any]) -> list[str]:
    if path := state.get("TimeoutSecondsPath"):
        return ["waits, up to", _last(path)]
    if seconds := state.get("TimeoutSeconds"):
        return [f"waits, up to {_seconds(seconds)}"]
    return ["waits, without a limit"]


def _for_how_long(state: Mapping[str, Any]) -> list[str]:
    if "Seconds" in state:
        return [f"waits {_seconds(state['Seconds'])}"]
    if "SecondsPath" in state:
        return ["waits, for", _last(state["SecondsPath"])]
    return ["waits, until", str(state.get("Timestamp") or _last(state.get("TimestampPath", "")))]


def _seconds(value: Any) -> str:
    """Return a time in its largest whole unit; an expression is left as it is."""
    if not isinstance(value, int):
        return _plain(value)
    for size, one, several in ((86_400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes")):
        if value >= size and value % size == 0:
            return _many(value // size, one, several)
    return f"{value} s"


def _many(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _error(name: str, state: Mapping[str, Any]) -> str:
    if name == graph.EVERY_ERROR:
        return ANY_ERROR
    if name == "States.Timeout":
        return "nobody answers" if graph.waits_for_token(state) else "time-out"
    # InsufficientBalance: insufficient balance; an abbreviation stays one
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z_]+", _last(name))
    return " ".join(word if word.isupper() else word.lower() for word in words).strip() or name


def _rule(rule: Mapping[str, Any]) -> str:
    """Return a choice rule in words: the value alone where a string is compared, since the picture has little room."""
    if "Condition" in rule:
        return _plain(rule["Condition"])
    for name, joint in (("And", " and "), ("Or", " or ")):
        if name in rule:
            return joint.join(map(_rule, rule[name]))
    if "Not" in rule:
        return f"not {_rule(rule['Not'])}"
    variable = _last(rule.get("Variable", ""))
    for key, value in rule.items():
        if key in _TESTS:
            return f"{variable} is {'' if value else 'not '}{_TESTS[key]}"
        if test := re.fullmatch(r"(String|Numeric|Boolean|Timestamp)([A-Z]\w*?)(Path)?", key):
            return _comparison(variable, test[1], test[2], _last(value) if test[3] else value)
    return variable


def _comparison(variable: str, kind: str, operator: str, value: Any) -> str:
    if kind == "Boolean" and isinstance(value, bool):
        return variable if value else f"not {variable}"
    words = _COMPARISONS.get(operator, operator + " {}").format(value)
    if kind == "String":
        return words
    return f"{variable} = {words}" if operator == "Equals" else f"{variable} {words}"


def _last(path: Any) -> str:
    return str(path).rpartition(".")[2]


def _plain(expression: Any) -> str:
    """Return an expression of JSONata without its brackets."""
    return re.sub(r"^\{%\s*|\s*%\}$", "", str(expression))


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
