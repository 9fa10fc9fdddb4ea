"""`hourbank diagram`: pictures of the workflows, and of the way that a request has taken through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from hourbank.drawing import marks
from hourbank.drawing.mermaid import mermaid
from hourbank.drawing.svg import svg
from hourbank.errors import HourBankError
from hourbank.files import refuse_foreign, write
from workflows import WORKFLOWS


def _definition(workflow: ModuleType) -> dict[str, Any]:
    definition: dict[str, Any] = workflow.definition(functions={name: name for name in workflow.FUNCTIONS})
    return definition


# By their names on AWS, without the stack's; functions stand for themselves.
DEFINITIONS = {name: _definition(workflow) for name, workflow in WORKFLOWS.items()}


SUFFIXES = {"svg": ".svg", "mermaid": ".md"}
# what every picture begins with, so that nothing else is ever written over
BEGINNINGS = {"svg": 'class="hourbank-diagram"', "mermaid": "```mermaid\nflowchart TD\n"}


def draw(names: Iterable[str], form: str, classes: Mapping[str, Mapping[str, str]] = {}) -> dict[str, str]:
    """Return pictures by workflow.

    Parameters
    ----------
    form
        svg, or mermaid: that in the fence which Markdown wants.
    classes
        By workflow, as `svg` takes them.
    """
    if form == "svg":
        return {name: svg(DEFINITIONS[name], classes=classes.get(name, {})) for name in names}
    return {name: f"```mermaid\n{mermaid(DEFINITIONS[name], classes=classes.get(name, {}))}```\n" for name in names}


def lit(request_id: str, ways: Iterable[tuple[str, list[str], str]], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the classes of the ways that a request has taken, by workflow; of the newest execution of each.

    Parameters
    ----------
    ways
        Of each execution, oldest first: its workflow, the states that it entered, its status.

    Raises
    ------
    HourBankError
        If it has no execution, or none of one of these workflows where only that is asked for.
    """
    classes = {name: marks.lit(DEFINITIONS[name], path, status) for name, path, status in ways}
    if not classes.keys() & set(names):
        raise HourBankError(
            f"request {request_id} has no execution of {' or '.join(names)} yet: `hourbank show` tells where it is"
        )
    return classes


def put(pictures: Mapping[str, str], form: str, out: Path) -> list[Path]:
    """Write pictures into a folder, or one into a file; return the files.

    Raises
    ------
    HourBankError
        There is no such place, or something else is there.
    """
    suffix = SUFFIXES[form]
    if len(pictures) > 1 and not out.is_dir():
        raise HourBankError(f"{out} is not a folder, as {len(pictures)} pictures need: make it, or name a workflow")
    files = {out / f"{name}{suffix}" if out.is_dir() else out: text for name, text in pictures.items()}
    for path in files:
        refuse_foreign(path, BEGINNINGS[form])
    for path, text in files.items():
        write(path, text.encode())
    return list(files)
