"""A state machine as an SVG that needs nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from hourbank.drawing.flow import ANY_ERROR, Flow, State, between, flow_of
from hourbank.drawing.layout import Box, Item, Layout, Size, arrange
from hourbank.drawing.marks import MARKS, marked

NAME, SMALL = 14, 12
LINE = 16
PAD_X, PAD_Y = 14, 9
# Widths of DejaVu Sans, which is wider than what most systems have: what fits in it fits.
_WIDTHS: dict[str, float] = {
    **dict.fromkeys("iIjl.,:;|!'", 0.3),
    **dict.fromkeys("ft/()[]r -", 0.4),
    **dict.fromkeys("cksvxyz_", 0.57),
    **dict.fromkeys("wDGHNOQ<>≤≥=+", 0.82),
    **dict.fromkeys("mMW@%…→", 1.0),
}


def width(text: str, size: float) -> float:
    """Return the pixels that a text takes at most, as far as fonts can be foreseen."""
    return size * sum(_WIDTHS.get(letter, 0.66 if letter < "ɐ" else 1.05) for letter in text)


def svg(definition: Mapping[str, Any], *, classes: Mapping[str, str] = {}) -> str:
    """Draw a state machine.

    Parameters
    ----------
    definition
        In Amazon States Language.
    classes
        What to say of a state, by its name, or of a transition, by `between(source, target)`: a key of `MARKS`.

    Returns
    -------
    str
        An SVG that needs nothing else: light or dark as its reader is, no script. Each state is a group with
        `data-state`, each transition one with `data-from` and `data-to` (its words are a second one); a page that holds
        the SVG can add the classes of `MARKS` to them as well. Where many states fall to one whatever fails in them,
        each has a dot for that, and the one arrow of all has an empty `data-from`.
    """
    flow = flow_of(definition, classes)
    layout = arrange(flow, lambda item: _size(flow, item, classes))
    about = _text(str(definition.get("Comment") or "A state machine"))
    wide, high = f"{layout.width:.0f}", f"{layout.height:.0f}"
    size = f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="hourbank-diagram" role="img" {size}>',
        f"<title>{about}</title>",
        f"<desc>{_text(_in_words(flow, classes))}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{wide}" height="{high}" rx="10"/>',
    ]
    edges = {(edge.source, edge.target): edge for edge in flow.edges}
    shown = dict(classes) | dict.fromkeys(_shared_and_taken(flow, classes), "taken")
    drawn = [(way, _edge_classes(way, edges, shown)) for way in layout.lines]
    for way, names in sorted(drawn, key=lambda entry: _is_said(entry[1])):  # what is said of one line lies on top
        parts.append(_edge(way, names, layout))
    for name, state in flow.states.items():
        parts.append(_box(state, layout.boxes[name], classes))
    for target, sources in flow.shared.items():
        parts.append(_note(layout.notes[target]))
        parts += [_dot(source, target, layout.boxes[source], classes) for source in sources]
    for way, box in layout.labels.items():
        if edges[way].words:
            parts.append(_label(way, edges[way].words, box, _edge_classes(way, edges, classes)))
    return "\n".join([*parts, "</svg>", ""])


def _text(text: str) -> str:
    """Escape, and leave out what XML cannot have."""
    return escape(re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", text))


def _size(flow: Flow, item: Item, classes: Mapping[str, str]) -> Size:
    if item.role == "note":
        wide = width(ANY_ERROR, SMALL) + 2 * PAD_X + 12
        return Size(wide / 2, wide / 2, 28)
    if item.role == "label":
        words = next(edge.words for edge in flow.edges if (edge.source, edge.target) == (item.of, item.to))
        lines = _wrap(words)
        return Size(2, 7 + max((width(line, SMALL) for line in lines), default=0), len(lines) * LINE)
    state = flow.states[item.of]
    wide = max([width(marked(item.of, classes), NAME) * 1.06, *(width(note, SMALL) for note in state.notes), 70])
    if state.kind == "wait":
        wide = max(wide, width(marked(item.of, classes), NAME) * 1.06 + 22)
    half = wide / 2 + PAD_X + (10 if state.kind == "choice" else 0)
    return Size(half, half, LINE + 2 * PAD_Y + LINE * len(state.notes) - (2 if not state.notes else 0))


def _wrap(words: Sequence[str], limit: int = 22) -> list[str]:
    """Return lines of about so many letters, broken after a comma, or between words where that is not enough."""
    lines: list[str] = []
    for number, word in enumerate(words, 1):
        first, *more = textwrap.wrap(word + ("," if number < len(words) else ""), limit) or [""]
        if lines and len(lines[-1]) + 1 + len(first) <= limit:
            lines[-1] += " " + first
        else:
            lines.append(first)
        lines += more
    return lines


def _edge_classes(way: tuple[str, str], edges: Mapping[tuple[str, str], Any], classes: Mapping[str, str]) -> list[str]:
    said = classes.get(between(*way), "")
    kind = ["next"] if way in edges and not edges[way].is_catch else ["catch"] if way in edges else ["catch", "shared"]
    return ["edge", *kind, *([said] if said in MARKS else [])]


def _shared_and_taken(flow: Flow, classes: Mapping[str, str]) -> Iterator[str]:
    """Give the arrows of notes that an execution has gone along, from whichever state."""
    for target, sources in flow.shared.items():
        if any(classes.get(between(source, target)) == "taken" for source in sources):
            yield between("", target)


def _is_said(names: Sequence[str]) -> bool:
    return bool(set(names) & set(MARKS))


def _edge(way: tuple[str, str], names: Sequence[str], layout: Layout) -> str:
    points = layout.lines[way]
    (x1, y1), (x2, y2) = points[-2:]
    dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
    tip = f"M{x2:.1f} {y2:.1f}l{-8 * dx - 4.5 * dy:.1f} {-8 * dy - 4.5 * dx:.1f}"
    tip += f"l{9 * dy:.1f} {9 * dx:.1f}z"
    # drawn from its end, so that dashes of lines that have come together fall on each other
    return (
        f'<g class="{" ".join(names)}" data-from="{_text(way[0])}" data-to="{_text(way[1])}">'
        f'<path class="line" d="{_rounded(points[::-1])}"/><path class="tip" d="{tip}"/></g>'
    )


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """Return a path whose corners are round, as far as there is room."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1), (x2, y2) in zip(points, points[1:], points[2:], strict=False):
        before, after = abs(x1 - x0) + abs(y1 - y0), abs(x2 - x1) + abs(y2 - y1)
        radius = min(6, before / 2, after / 2)
        if radius < 0.5:
            parts.append(f"L{x1:.1f} {y1:.1f}")
            continue
        xa, ya = x1 + (x0 - x1) * radius / before, y1 + (y0 - y1) * radius / before
        xb, yb = x1 + (x2 - x1) * radius / after, y1 + (y2 - y1) * radius / after
        parts.append(f"L{xa:.1f} {ya:.1f}Q{x1:.1f} {y1:.1f} {xb:.1f} {yb:.1f}")
    parts.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(parts)


def _box(state: State, box: Box, classes: Mapping[str, str]) -> str:
    left, top, right, _ = box
    names = ["state", state.kind, *(["end"] if state.ends else [])]
    if (said := classes.get(state.name, "")) in MARKS:
        names.append(said)
    x, y = (left + right) / 2, top + PAD_Y + LINE - 4 - (1 if not state.notes else 0)
    name = marked(state.name, classes)
    texts = []
    if state.kind == "wait":
        half = width(name, NAME) * 1.06 / 2
        texts.append(_hourglass(x - half - 4, y - 5))
        x += 9
    texts.append(f'<text class="name" x="{x:.1f}" y="{y:.1f}">{_text(name)}</text>')
    x = (left + right) / 2
    for number, note in enumerate(state.notes, 1):
        texts.append(f'<text class="note" x="{x:.1f}" y="{y + number * LINE:.1f}">{_text(note)}</text>')
    tip = f"<title>{_text(state.name)}: {_text(state.comment)}</title>" if state.comment else ""
    return (
        f'<g class="{" ".join(names)}" data-state="{_text(state.name)}">{tip}{_outline(state, box)}{"".join(texts)}</g>'
    )


def _outline(state: State, box: Box) -> str:
    left, top, right, bottom = box
    if state.kind == "choice":
        middle = (top + bottom) / 2
        return (
            f'<path class="shape" d="M{left:.1f} {middle:.1f}L{left + 12:.1f} {top:.1f}H{right - 12:.1f}'
            f'L{right:.1f} {middle:.1f}L{right - 12:.1f} {bottom:.1f}H{left + 12:.1f}z"/>'
        )
    if state.kind == "group":  # one sheet on another
        size = f'width="{right - left - 4:.1f}" height="{bottom - top - 4:.1f}" rx="6"'
        return (
            f'<rect class="shape" x="{left + 4:.1f}" y="{top + 4:.1f}" {size}/>'
            f'<rect class="shape" x="{left:.1f}" y="{top:.1f}" {size}/>'
        )
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}" rx="{16 if state.ends else 6}"'
    return f'<rect class="shape" x="{left:.1f}" y="{top:.1f}" {size}/>'


def _hourglass(x: float, y: float) -> str:
    return (
        f'<path class="glass" d="M{x - 4.5:.1f} {y - 6:.1f}h9M{x - 4.5:.1f} {y + 6:.1f}h9'
        f'M{x - 3.5:.1f} {y - 6:.1f}c0 4 3 4 3 6s-3 2-3 6M{x + 3.5:.1f} {y - 6:.1f}c0 4-3 4-3 6s3 2 3 6"/>'
    )


def _note(box: Box) -> str:
    middle = (box.top + box.bottom) / 2
    size = f'width="{box.right - box.left:.1f}" height="{box.bottom - box.top:.1f}"'
    return (
        f'<g class="note-box"><rect x="{box.left:.1f}" y="{box.top:.1f}" {size} rx="4"/>'
        f'<circle class="dot" cx="{box.left + 16:.1f}" cy="{middle:.1f}" r="4"/>'
        f'<text x="{box.left + 28:.1f}" y="{middle + 4:.1f}">{ANY_ERROR}</text></g>'
    )


def _dot(source: str, target: str, box: Box, classes: Mapping[str, str]) -> str:
    names = ["edge", "catch", "mark"]
    if (said := classes.get(between(source, target), "")) in MARKS:
        names.append(said)
    return (
        f'<g class="{" ".join(names)}" data-from="{_text(source)}" data-to="{_text(target)}">'
        f"<title>{ANY_ERROR}: {_text(target)}</title>"
        f'<circle class="dot" cx="{box.right:.1f}" cy="{(box.top + box.bottom) / 2:.1f}" r="4"/></g>'
    )


def _label(way: tuple[str, str], words: Sequence[str], box: Box, names: Sequence[str]) -> str:
    lines = _wrap(words)
    top = (box.top + box.bottom - len(lines) * LINE) / 2
    texts = "".join(
        f'<text x="{box.left + 9:.1f}" y="{top + number * LINE + 12:.1f}">{_text(line)}</text>'
        for number, line in enumerate(lines)
    )
    return f'<g class="label {" ".join(names)}" data-from="{_text(way[0])}" data-to="{_text(way[1])}">{texts}</g>'


def _in_words(flow: Flow, classes: Mapping[str, str]) -> str:
    said: dict[str, list[str]] = {}
    for name in flow.states:
        if (word := classes.get(name, "")) in MARKS:
            said.setdefault(word, []).append(name)
    parts = [f"{len(flow.states)} states; if all goes well: {', '.join(flow.happy)}."]
    parts += [f"{word.capitalize()}: {', '.join(names)}." for word, names in said.items()]
    return " ".join(parts)


STYLE = """
.hourbank-diagram{--paper:#fff;--box:#f6f8fa;--ink:#1f2328;--soft:#59636e;--line:#818b98;--edge:#d1d9e0;
--wait:#9a6700;--wait-box:#fff8c5;--end:#0969da;--end-box:#ddf4ff;--bad:#cf222e;--bad-box:#ffebe9;--good:#1a7f37;--good-box:#dafbe1;--new:#8250df;--new-box:#fbefff}
@media(prefers-color-scheme:dark){.hourbank-diagram{--paper:#0d1117;--box:#151b23;--ink:#f0f6fc;--soft:#9198a1;--line:#656c76;
--edge:#3d444d;--wait:#d29922;--wait-box:#272115;--end:#4493f8;--end-box:#121d2f;--bad:#f85149;--bad-box:#25171c;--good:#3fb950;--good-box:#12261e;--new:#ab7df8;--new-box:#211c31}}
.hourbank-diagram{max-width:100%;height:auto;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
.hourbank-diagram .paper{fill:var(--paper)}
.hourbank-diagram text{font-size:12px;fill:var(--soft)}
.hourbank-diagram .state text{text-anchor:middle}
.hourbank-diagram .state .name{font-size:14px;font-weight:600;fill:var(--ink)}
.hourbank-diagram .shape{fill:var(--box);stroke:var(--line);stroke-width:1.25}
.hourbank-diagram .wait .shape{fill:var(--wait-box);stroke:var(--wait)}
.hourbank-diagram .glass{fill:none;stroke:var(--wait);stroke-width:1.4;stroke-linecap:round}
.hourbank-diagram .end .shape{fill:var(--end-box);stroke:var(--end)}
.hourbank-diagram .fail .shape{fill:var(--bad-box);stroke:var(--bad)}
.hourbank-diagram .line{fill:none;stroke:var(--line);stroke-width:1.5}
.hourbank-diagram .catch .line{stroke-dasharray:5 4}
.hourbank-diagram .tip{fill:var(--line)}
.hourbank-diagram .dot{fill:var(--paper);stroke:var(--bad);stroke-width:1.75}
.hourbank-diagram .note-box rect{fill:none;stroke:var(--edge)}
.hourbank-diagram :is(.taken,.added) .shape{fill:var(--good-box);stroke:var(--good);stroke-width:2.5}
.hourbank-diagram :is(.taken,.added) .line{stroke:var(--good);stroke-width:2.5}
.hourbank-diagram :is(.taken,.added) .tip{fill:var(--good)}
.hourbank-diagram :is(.taken,.added) .dot{fill:var(--good);stroke:var(--good)}
.hourbank-diagram .current .shape{fill:var(--wait-box);stroke:var(--wait);stroke-width:3}
.hourbank-diagram :is(.failed,.removed) .shape{fill:var(--bad-box);stroke:var(--bad);stroke-width:2.5}
.hourbank-diagram :is(.failed,.removed) .line{stroke:var(--bad);stroke-width:2.5}
.hourbank-diagram :is(.failed,.removed) .tip{fill:var(--bad)}
.hourbank-diagram :is(.failed,.removed) .dot{fill:var(--bad)}
.hourbank-diagram .removed .shape,.hourbank-diagram .removed .line{stroke-dasharray:6 4}
.hourbank-diagram .changed .shape{fill:var(--new-box);stroke:var(--new);stroke-width:2.5}
.hourbank-diagram .changed .line{stroke:var(--new);stroke-width:2.5}
.hourbank-diagram .changed .tip{fill:var(--new)}
"""
