"""The ways of executions through a state machine, for a terminal: its states from top to bottom, a lane each."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from hourbank.drawing.flow import ANY_ERROR, Flow, flow_of
from hourbank.drawing.layout import rows
from hourbank.drawing.marks import MARKS, lit

STYLES = {"taken": "green", "current": "bold yellow", "failed": "bold red"}


class Passage(NamedTuple):
    """An execution.

    Attributes
    ----------
    path : sequence of str
        The names of the states that it entered, in order.
    status : str
        As Step Functions says it, such as RUNNING.
    name : str
        What stands over its lane: a few letters, where there are several.
    """

    path: Sequence[str]
    status: str
    name: str = ""


def lanes(definition: Mapping[str, Any], passages: Sequence[Passage], *, waits: str = "") -> Text:
    """Return a line for every state: marked in each lane that passed it, dim where none did.

    One lane alone also has the words that led on: an answer, an error.

    Parameters
    ----------
    definition
        In Amazon States Language.
    waits
        What to say of the state that an execution which runs is in, such as `until 14:05, in 12 min`; without it, what
        the definition says.

    Returns
    -------
    Text
        Lines of at most about 80 letters, to print whole: `console.print(text, soft_wrap=True)`. Marks and words say
        all that the colours say.
    """
    flow = flow_of(definition)
    order = rows(flow)
    columns = [_lane(definition, passage, order) for passage in passages]
    wide = [max(len(passage.name), 1) for passage in passages]
    lines = []
    if any(passage.name for passage in passages):
        heads = [passage.name.ljust(size) for passage, size in zip(passages, wide, strict=True)]
        lines.append(Text(" ".join(heads).rstrip(), "dim"))
    for number, name in enumerate(order):
        line = Text()
        for column, size in zip(columns, wide, strict=True):
            mark, style = column[number]
            line.append(mark.ljust(size) + " ", style)
        passed = any(name in passage.path for passage in passages)
        line.append(f"{'' if name in flow.happy else '  '}{name}", "" if passed else "dim")
        if passed and len(passages) == 1 and (words := _words(flow, name, passages[0], waits)):
            line.append(f"  {words}", "dim")
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


def _lane(definition: Mapping[str, Any], passage: Passage, order: Sequence[str]) -> list[tuple[str, str]]:
    """Return a mark and its style for every state; a line joins the marks, so that the eye finds the next."""
    classes = lit(definition, passage.path, passage.status)
    places = [number for number, name in enumerate(order) if name in classes]
    return [
        (MARKS[classes[name]], STYLES[classes[name]])
        if name in classes
        else ("│" if places and places[0] < number < places[-1] else " ", "dim")
        for number, name in enumerate(order)
    ]


def _words(flow: Flow, name: str, passage: Passage, waits: str) -> str:
    if name == passage.path[-1] and passage.status == "RUNNING":
        return waits or " ".join(flow.states[name].notes)
    times = Counter(passage.path)[name]
    return ", ".join(
        filter(None, (f"{times} times" if times > 1 else "", *dict.fromkeys(_led_on(flow, name, passage))))
    )


def _led_on(flow: Flow, name: str, passage: Passage) -> Iterator[str]:
    for way in itertools.pairwise(passage.path):
        if way[0] == name:
            if name in flow.shared.get(way[1], ()):
                yield ANY_ERROR
            yield from (", ".join(edge.words) for edge in flow.edges if (edge.source, edge.target) == way)
