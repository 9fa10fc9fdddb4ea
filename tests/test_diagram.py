"""The pictures of the workflows: nothing in them lies on anything else, and they are what the definitions say."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hourbank import diagram
from hourbank.diagram import between, compared, lit, mermaid, svg
from tests.time_skipping import definition_of
from workflows import escrow_management, service_request

SVG = "{http://www.w3.org/2000/svg}"
REQUEST, RELEASE = definition_of(service_request), definition_of(escrow_management)
WORKFLOWS = {"ServiceRequestWorkflow": REQUEST, "EscrowManagementWorkflow": RELEASE}

Point = tuple[float, float]


class Box(NamedTuple):
    """What something covers."""

    what: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box, gap: float = 0) -> bool:
        return (
            self.left < other.right + gap
            and other.left < self.right + gap
            and self.top < other.bottom + gap
            and other.top < self.bottom + gap
        )


class Picture:
    """What an SVG shows, read from the SVG alone."""

    def __init__(self, text: str) -> None:
        self.root = ElementTree.fromstring(text)
        self.states, self.notes, self.labels = [], [], []
        self.lines: dict[tuple[str, str], list[Point]] = {}
        for group in self.root.iter(f"{SVG}g"):
            names = group.get("class", "").split()
            if "state" in names:
                self.states.append(self._shape(group.get("data-state", ""), group))
            elif "note-box" in names:
                self.notes.append(self._shape("note", group))
            elif "label" in names:
                self.labels.append(self._text(group))
            elif "edge" in names and "mark" not in names:
                path = group.find(f"{SVG}path")
                self.lines[group.get("data-from", ""), group.get("data-to", "")] = numbers(path.get("d"))

    @staticmethod
    def _shape(what: str, group: ElementTree.Element) -> Box:
        shapes = [*group.iter(f"{SVG}rect")] or [*group.iter(f"{SVG}path")]
        if "choice" in group.get("class", ""):
            # M left,middle L … V: the corners of a hexagon
            values = [float(number) for number in re.findall(r"-?\d+\.?\d*", shapes[0].get("d"))]
            left, _, _, top, _, right, _, _, bottom, _ = values
            return Box(what, left, top, right, bottom)
        corners = [[float(shape.get(key)) for key in ("x", "y", "width", "height")] for shape in shapes]
        return Box(
            what,
            min(x for x, _, _, _ in corners),
            min(y for _, y, _, _ in corners),
            max(x + wide for x, _, wide, _ in corners),
            max(y + high for _, y, _, high in corners),
        )

    @staticmethod
    def _text(group: ElementTree.Element) -> Box:
        texts = [(float(text.get("x")), float(text.get("y")), text.text or "") for text in group.iter(f"{SVG}text")]
        left = min(x for x, _, _ in texts)
        right = max(x + diagram.width(text, diagram.SMALL) for x, _, text in texts)
        what = f"{group.get('data-from')} → {group.get('data-to')}"
        return Box(what, left, min(y for _, y, _ in texts) - 10, right, max(y for _, y, _ in texts) + 3)


def numbers(path: str) -> list[Point]:
    values = [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]
    return list(zip(values[::2], values[1::2], strict=True))


def faults(text: str) -> Iterator[str]:
    """Give whatever lies on something else, or outside."""
    picture = Picture(text)
    boxes = picture.states + picture.notes
    for one, other in itertools.combinations(boxes + picture.labels, 2):
        if one.overlaps(other, gap=2):
            yield f"{one} overlaps {other}"
    _, _, wide, high = (float(number) for number in picture.root.get("viewBox", "").split())
    for box in boxes + picture.labels:
        if box.left < 0 or box.top < 0 or box.right > wide or box.bottom > high:
            yield f"{box} is not all in the picture"
    for way, points in picture.lines.items():
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            line = Box(str(way), min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
            for box in boxes:
                if line.overlaps(box, gap=-1):
                    yield f"{way} crosses {box}"
            for label in picture.labels:
                if line.overlaps(label):
                    yield f"{way} crosses the words of {label}"


def lines_on_each_other(text: str) -> Iterator[str]:
    """Give lines that lead to different states, and lie on each other for a way."""
    stretches = [
        (way, min(a, b), max(a, b)) for way, line in Picture(text).lines.items() for a, b in itertools.pairwise(line)
    ]
    for (one, a, b), (other, c, d) in itertools.combinations(stretches, 2):
        if one[1] == other[1] or {*one} == {*other}:
            continue
        for along, across in ((0, 1), (1, 0)):
            same = abs(a[across] - b[across]) + abs(c[across] - d[across]) < 1 and abs(a[across] - c[across]) < 3
            if same and min(b[along], d[along]) - max(a[along], c[along]) > 3:
                yield f"{one} lies on {other}"


# --- any state machine ------------------------------------------------------------------------------------------------

NAMES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x4E2D, exclude_categories=["C"]), min_size=1, max_size=80
)
PLAIN = st.sampled_from([*"ABCDEFGHIJ", "CheckTheAnswerOfSomebodyElse", "end", "graph", "Wait For It", "a → b"])
WORDS = st.text(max_size=60)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(PLAIN | NAMES, min_size=1, max_size=9, unique=True))
    anywhere = st.sampled_from([*names, "not there"])
    catches = st.lists(
        st.builds(
            lambda errors, to: {"ErrorEquals": errors, "Next": to},
            st.just(["States.ALL"]) | st.lists(st.sampled_from(["States.Timeout", "NotOwner", "HTTPError", "x"])),
            anywhere,
        ),
        max_size=3,
    )
    rules = st.one_of(
        st.builds(lambda value, to: {"Variable": "$.a.b", "StringEquals": value, "Next": to}, WORDS, anywhere),
        st.builds(
            lambda value, to: {"Variable": "$.n", "NumericLessThanEquals": value, "Next": to}, st.floats(), anywhere
        ),
        st.builds(lambda value, to: {"Condition": f"{{% {value} %}}", "Next": to}, WORDS, anywhere),
        st.builds(
            lambda to: {
                "Not": {"And": [{"Variable": "$.a", "IsPresent": False}, {"Variable": "$.b", "BooleanEquals": True}]},
                "Next": to,
            },
            anywhere,
        ),
    )
    states: dict[str, Any] = {}
    for name in names:
        kind = draw(st.sampled_from(["Task", "Token", "Choice", "Wait", "Pass", "Fail", "Succeed", "Parallel", "Map"]))
        state: dict[str, Any] = {"Type": "Task" if kind == "Token" else kind, "Comment": draw(WORDS)}
        if kind == "Choice":
            state["Choices"] = draw(st.lists(rules, max_size=3))
            if draw(st.booleans()):
                state["Default"] = draw(anywhere)
        elif kind not in ("Fail", "Succeed"):
            state |= {"Next": draw(anywhere)} if draw(st.booleans()) else {"End": True}
        if kind in ("Task", "Token", "Parallel", "Map"):
            state["Catch"] = draw(catches)
        state |= {
            "Token": {"Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 3600},
            "Wait": draw(st.sampled_from([{"Seconds": 5}, {"TimestampPath": "$.until"}, {"Seconds": "{% $n %}"}])),
            "Parallel": {"Branches": [{"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}]},
            "Map": {"ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}},
            "Fail": {"Error": draw(WORDS)},
        }.get(kind, {})
        states[name] = state
    return {"StartAt": draw(anywhere), "States": states}


@settings(max_examples=100, deadline=None)
@given(definitions())
def test_any_state_machine_is_drawn_with_nothing_on_anything_else(definition: dict[str, Any]) -> None:
    text = svg(definition)
    assert list(faults(text)) == []
    assert list(lines_on_each_other(text)) == []
    assert {box.what for box in Picture(text).states} == set(definition["States"])
    assert mermaid(definition).startswith("flowchart TD\n")

