"""A state machine as a Mermaid flowchart, for where text is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hourbank.drawing.flow import ANY_ERROR, State, between, flow_of
from hourbank.drawing.marks import MARKS, marked

# GitHub's Mermaid draws light or dark; a class that sets all three colours is readable in both.
_MERMAID_CLASSES = {
    "wait": "fill:#fff8c5,stroke:#9a6700,color:#1f2328",
    "ending": "fill:#ddf4ff,stroke:#0969da,color:#1f2328",
    "fail": "fill:#ffebe9,stroke:#cf222e,color:#1f2328",
    "note": "fill:none,stroke:#cf222e,stroke-dasharray:4 4",
    "taken": "fill:#dafbe1,stroke:#1a7f37,color:#1f2328,stroke-width:3px",
    "current": "fill:#fff8c5,stroke:#9a6700,color:#1f2328,stroke-width:3px",
    "failed": "fill:#ffebe9,stroke:#cf222e,color:#1f2328,stroke-width:3px",
    "added": "fill:#dafbe1,stroke:#1a7f37,color:#1f2328,stroke-width:3px",
    "removed": "fill:#ffebe9,stroke:#cf222e,color:#1f2328,stroke-width:3px,stroke-dasharray:6 4",
    "changed": "fill:#fbefff,stroke:#8250df,color:#1f2328,stroke-width:3px",
}
_MERMAID_LINES = {
    "taken": "stroke:#1a7f37,stroke-width:3px",
    "current": "stroke:#9a6700,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:3px",
    "added": "stroke:#1a7f37,stroke-width:3px",
    "removed": "stroke:#cf222e,stroke-width:3px,stroke-dasharray:6 4",
    "changed": "stroke:#8250df,stroke-width:3px",
}


def mermaid(definition: Mapping[str, Any], *, classes: Mapping[str, str] = {}) -> str:
    """Draw a state machine as a Mermaid flowchart, without the fence; `definition` and `classes` as for `svg`."""
    flow = flow_of(definition, classes)
    ids = _ids(flow.states)
    used: dict[str, list[str]] = {}
    nodes, arrows, styles = [], [], []
    for name, state in flow.states.items():
        text = "<br/>".join(map(_quoted, [marked(name, classes), *state.notes]))
        opening, closing = _shape(state)
        nodes.append(f'    {ids[name]}{opening}"{text}"{closing}')
        look = classes.get(name, "")
        look = (
            look if look in MARKS else state.kind if state.kind in ("wait", "fail") else "ending" if state.ends else ""
        )
        if look:
            used.setdefault(look, []).append(ids[name])
    for edge in flow.edges:
        said = classes.get(between(edge.source, edge.target), "")
        words = _quoted(", ".join(edge.words))
        if said in MARKS:
            styles.append(f"    linkStyle {len(arrows)} {_MERMAID_LINES[said]}")
            words = f"{MARKS[said]} {words}".rstrip()
        arrow = "-.->" if edge.is_catch else "-->"
        label = f'|"{words}"|' if words else ""
        arrows.append(f"    {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
    for number, (target, sources) in enumerate(flow.shared.items()):
        lines = [f"{ANY_ERROR} in", *(_marked_way(source, target, classes) for source in sources)]
        nodes.append(f'    any_{number}["{"<br/>".join(map(_quoted, lines))}"]')
        used.setdefault("note", []).append(f"any_{number}")
        arrows.append(f"    any_{number} -.-> {ids[target]}")
    for look, members in used.items():
        styles += [f"    classDef {look} {_MERMAID_CLASSES[look]}", f"    class {','.join(members)} {look}"]
    return "\n".join(["flowchart TD", *nodes, *arrows, *styles, ""])


def _marked_way(source: str, target: str, classes: Mapping[str, str]) -> str:
    mark = MARKS.get(classes.get(between(source, target), ""))
    return f"{mark} {source}" if mark else source


def _ids(names: Iterable[str]) -> dict[str, str]:
    """Return Mermaid's names: the states' own, where it cannot take them for something else."""
    return {
        name: name if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*", name) else f"state_{number}"
        for number, name in enumerate(names)
    }


def _quoted(text: str) -> str:
    return re.sub(r"[^\w ,:=≤≥+−±✓✗▶…/()]", lambda found: f"#{ord(found[0])};", text)


def _shape(state: State) -> tuple[str, str]:
    if state.ends:
        return "([", "])"
    return {"choice": ("{{", "}}"), "group": ("[[", "]]")}.get(state.kind, ("[", "]"))
