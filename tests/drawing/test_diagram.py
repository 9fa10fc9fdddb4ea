"""The pictures of the workflows: nothing in them lies on anything else, and they are what the definitions say."""

from __future__ import annotations

import copy
import itertools
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from hourbank.cost.paths import walk
from hourbank.drawing import pictures
from hourbank.drawing.lanes import Passage, lanes
from hourbank.drawing.marks import compared, lit
from hourbank.drawing.mermaid import mermaid
from hourbank.drawing.svg import SMALL, svg, width
from hourbank.names import ROOT
from hourbank.simulate.program import definition_of
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
        self.root = ET.fromstring(text)  # noqa: S314 - our own
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
    def _shape(what: str, group: ET.Element) -> Box:
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
    def _text(group: ET.Element) -> Box:
        texts = [(float(text.get("x")), float(text.get("y")), text.text or "") for text in group.iter(f"{SVG}text")]
        left = min(x for x, _, _ in texts)
        right = max(x + width(text, SMALL) for x, _, text in texts)
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
            yield from (f"{way} crosses {box}" for box in boxes if line.overlaps(box, gap=-1))
            yield from (f"{way} crosses the words of {label}" for label in picture.labels if line.overlaps(label))


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


# --- the workflows ----------------------------------------------------------------------------------------------------

HAPPY = walk(REQUEST, {"CheckProviderResponse": "ACCEPTED"})
NEGOTIATED = [*HAPPY[:-1], "ProcessNegotiation", "CheckRequesterResponse", "AdjustEscrow", "StartServiceExecution"]
WAITING = NEGOTIATED[: NEGOTIATED.index("ProcessNegotiation") + 1]
FAILED = [*HAPPY[: HAPPY.index("EscrowHours") + 1], "RefundAfterFailure", "RequestFailed"]
RENAMED = copy.deepcopy(REQUEST)
RENAMED["States"]["AskTheBank"] = RENAMED["States"].pop("AdjustEscrow") | {"Next": "RefundEscrow"}
RENAMED["States"]["CheckRequesterResponse"]["Choices"][0]["Next"] = "AskTheBank"
RENAMED["States"]["EscrowHours"]["TimeoutSeconds"] = 90
RENAMED["States"]["CheckProviderResponse"]["Choices"].pop(2)
LIT = {
    "nothing": (REQUEST, {}),
    "released": (RELEASE, {}),
    "negotiated": (REQUEST, lit(REQUEST, NEGOTIATED, "SUCCEEDED")),
    "waiting": (REQUEST, lit(REQUEST, WAITING, "RUNNING")),
    "failed": (REQUEST, lit(REQUEST, FAILED, "FAILED")),
    "compared": compared(REQUEST, RENAMED),
}


@pytest.mark.parametrize("which", LIT)
def test_nothing_in_a_picture_lies_on_anything_else(which: str) -> None:
    definition, classes = LIT[which]
    text = svg(definition, classes=classes)
    assert list(faults(text)) == []
    assert list(lines_on_each_other(text)) == []
    assert text == svg(definition, classes=classes)


@pytest.mark.parametrize("definition", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_picture_has_every_state_and_every_transition(definition: dict[str, Any]) -> None:
    root = ET.fromstring(svg(definition))  # noqa: S314 - our own
    ways = {
        (name, target)
        for name, state in definition["States"].items()
        for target in [state.get("Next"), state.get("Default"), *(to["Next"] for to in ways_out(state))]
        if target
    }
    assert {group.get("data-state") for group in root.iter(f"{SVG}g")} - {None} == set(definition["States"])
    shown = {(group.get("data-from"), group.get("data-to")) for group in root.iter(f"{SVG}g") if group.get("data-from")}
    assert shown == ways


def ways_out(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [*state.get("Catch", []), *state.get("Choices", [])]


def test_the_happy_path_goes_straight_down_the_first_column() -> None:
    picture = Picture(svg(REQUEST))
    boxes = {box.what: box for box in picture.states}
    middles = {round((boxes[name].left + boxes[name].right) / 2) for name in HAPPY}
    assert len(middles) == 1
    assert [boxes[name].top for name in HAPPY] == sorted(boxes[name].top for name in HAPPY)
    beside = [box for box in picture.states if box.what not in HAPPY]
    for box in beside:
        assert box.left > boxes["CheckProviderResponse"].left, f"{box} stands left of the happy path"
        assert (box.left + box.right) / 2 > max(middles)
    for way in itertools.pairwise(HAPPY):
        assert {round(x) for x, _ in picture.lines[way]} == middles


def test_a_wait_says_how_long() -> None:
    waits = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "End": True}
    states = {
        "A": waits | {"TimeoutSeconds": 604_800},
        "B": waits,
        "C": waits | {"TimeoutSecondsPath": "$.states.X.patience"},
        "D": {"Type": "Wait", "Seconds": 90, "End": True},
    }
    for text in (svg({"StartAt": "A", "States": states}), mermaid({"StartAt": "A", "States": states})):
        for words in ("waits, up to 7 days", "waits, without a limit", "patience", "waits 90 s"):
            assert words in text
    assert svg(REQUEST).count(">providerResponseTimeoutSeconds<") == 2


def test_an_svg_needs_nothing_else_and_has_words_for_those_who_do_not_see_it() -> None:
    text = svg(REQUEST, classes=lit(REQUEST, FAILED, "FAILED"))
    assert not re.search(r"<script|\bon\w+=|href|url\(|@import", text)
    assert 'role="img"' in text
    assert f"<title>{REQUEST['Comment']}</title>" in text
    assert f"Taken: {', '.join(FAILED[:-1])}. Failed: RequestFailed.</desc>" in text
    assert "prefers-color-scheme:dark" in text
    ids = re.findall(r'\bid="', text)
    assert ids == [], "two pictures in one page would share them"


def test_an_execution_lights_what_it_passed_and_nothing_else() -> None:
    first, second, third = HAPPY[:3]
    assert lit(REQUEST, HAPPY[:3], "RUNNING") == {
        first: "taken",
        second: "taken",
        third: "current",
        f"{first} → {second}": "taken",
        f"{second} → {third}": "taken",
    }
    root = ET.fromstring(svg(REQUEST, classes=lit(REQUEST, FAILED, "FAILED")))  # noqa: S314 - our own
    lines = {
        (group.get("data-from"), group.get("data-to")): group.get("class", "").split() for group in root.iter(f"{SVG}g")
    }
    assert "taken" in lines["EscrowHours", "RefundAfterFailure"]
    assert "taken" in lines["", "RefundAfterFailure"]
    assert "taken" in lines["RefundAfterFailure", "RequestFailed"]
    assert "taken" not in lines["ValidateRequest", "RefundAfterFailure"]
    assert "taken" not in lines["EscrowHours", "WaitForProviderResponse"]
    assert lit(REQUEST, [], "RUNNING") == {}
    assert lit(REQUEST, HAPPY[:2], "TIMED_OUT")[HAPPY[1]] == "failed"


def test_a_comparison_says_what_is_new_gone_and_changed() -> None:
    merged, classes = compared(REQUEST, RENAMED)
    assert {name: word for name, word in classes.items() if " → " not in name} == {
        "AskTheBank": "added",
        "AdjustEscrow": "removed",
        "EscrowHours": "changed",
    }
    assert classes["CheckRequesterResponse → AskTheBank"] == "added"
    assert classes["CheckRequesterResponse → AdjustEscrow"] == "removed"
    assert classes["AdjustEscrow → RefundAfterFailure"] == "removed"
    assert classes["CheckProviderResponse → RefundEscrow"] == "changed"
    # the arrow that is gone is drawn, though no definition has it
    text = mermaid(merged, classes=classes)
    number = [line for line in text.splitlines() if "-->" in line or "-.->" in line].index(
        '    CheckRequesterResponse -->|"−"| AdjustEscrow'
    )
    assert f"    linkStyle {number} stroke:#cf222e" in text
    assert "    class AskTheBank added\n" in text
    assert "    class AdjustEscrow removed\n" in text
    assert compared(REQUEST, REQUEST) == (REQUEST, {})


def test_an_error_that_is_caught_no_longer_is_drawn_as_an_error() -> None:
    without = copy.deepcopy(REQUEST)
    del without["States"]["AdjustEscrow"]["Catch"]
    merged, classes = compared(REQUEST, without)
    text = mermaid(merged, classes=classes)
    assert "− AdjustEscrow" in text.partition("any other error in")[2].partition("]")[0]
    assert not [line for line in text.splitlines() if "AdjustEscrow -->" in line and "−" in line]
    assert [line for line in text.splitlines() if line.startswith('    AdjustEscrow -.->|"− ')]
    assert without["States"]["AdjustEscrow"].get("Catch") is None


@pytest.mark.parametrize("name", WORKFLOWS)
def test_committed_pictures_are_of_these_definitions(name: str) -> None:
    for form, suffix in pictures.SUFFIXES.items():
        path = ROOT / "docs" / "pictures" / f"{name}{suffix}"
        made = pictures.draw([name], form)[name]
        assert path.read_text(encoding="utf-8") == made, f"{path.name} is out of date: run `make docs`"


# --- in a terminal ----------------------------------------------------------------------------------------------------


def printed(text: Text) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(text, soft_wrap=True)
    return capture.get().splitlines()


def test_a_terminal_shows_every_state_and_marks_the_way_without_colours() -> None:
    lines = printed(lanes(REQUEST, [Passage(WAITING, "RUNNING")], waits="until 14:05, in 12 min"))
    assert len(lines) == len(REQUEST["States"]) <= 24, "a terminal has 24 lines"
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line[0] not in "│ "] == [
        *(f"✓ {state}" for state in WAITING[: WAITING.index("WaitForProviderResponse")]),
        "✓ WaitForProviderResponse  answered",
        "✓ CheckProviderResponse  COUNTER_OFFER",
        "▶   ProcessNegotiation  until 14:05, in 12 min",
    ]


def test_a_terminal_says_what_failed() -> None:
    lines = printed(lanes(REQUEST, [Passage(FAILED, "FAILED")]))
    assert "✓ EscrowHours  any other error" in lines
    assert lines[-2:] == ["✓   RefundAfterFailure", "✗   RequestFailed"]


def test_each_execution_has_a_lane() -> None:
    first, *more = HAPPY[: HAPPY.index("CheckProviderResponse")]
    passages = [Passage(HAPPY, "SUCCEEDED", "1"), Passage([first, "RejectRequest"], "SUCCEEDED", "2")]
    lines = printed(lanes(REQUEST, passages))
    assert lines[: len(more) + 3] == [
        "1 2",
        f"✓ ✓ {first}",
        *(f"✓ │ {state}" for state in more),
        "│ ✓   RejectRequest",
    ]


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


@given(definitions())
def test_any_state_machine_is_drawn_with_nothing_on_anything_else(definition: dict[str, Any]) -> None:
    text = svg(definition)
    assert list(faults(text)) == []
    assert list(lines_on_each_other(text)) == []
    assert {box.what for box in Picture(text).states} == set(definition["States"])
    lines = mermaid(definition).splitlines()
    assert [line for line in lines if not MERMAID.fullmatch(line)] == []


# What Mermaid's own parser was seen to take, whatever states are called: ids of ours, and text without its signs.
_ID, _TEXT = r"(?:[A-Z][A-Za-z]+|state_\d+|any_\d+)", r'"(?:[\w ,:=≤≥+−±✓✗▶…/()]|#\d+;|<br/>)*"'
MERMAID = re.compile(
    rf"flowchart TD|    {_ID}(?:\[{_TEXT}\]|\(\[{_TEXT}\]\)|\{{\{{{_TEXT}\}}\}}|\[\[{_TEXT}\]\])"
    rf"|    {_ID} (?:-->|-\.->)(?:\|{_TEXT}\|)? {_ID}|    classDef [a-z]+ [\w:#, -]+|    class {_ID}(?:,{_ID})* [a-z]+"
)


@pytest.mark.parametrize("seed", [65, 107, 133, 159, 233, *range(10)])
def test_lines_that_change_places_do_not_lie_on_each_other(seed: int) -> None:
    # the first five have lines that would, if tracks were not stacked in the one order that keeps them apart
    chance = random.Random(seed)
    names = [f"State{number}{'x' * chance.randint(0, 12)}" for number in range(chance.randint(6, 16))]
    states = {}
    for name in names:
        ways = [chance.choice(names) for _ in range(3)]
        rules = [{"Variable": "$.a", "StringEquals": chance.choice(["A", "LONGER"]), "Next": way} for way in ways]
        states[name] = chance.choice(
            [{"Type": "Choice", "Choices": rules}, {"Type": "Task", "Next": ways[0]}, {"Type": "Pass", "End": True}]
        )
    text = svg({"StartAt": names[0], "States": states})
    assert list(faults(text)) == []
    assert list(lines_on_each_other(text)) == []
