"""`hourbank export`: the program as files that other tools deploy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

export = typer.Typer(no_args_is_help=True, help="Write what Pulumi would deploy for CloudFormation, SAM or Amplify.")

ARCHIVE = "hourbank-functions.zip"
# The first line of what is written here, so that nothing else is ever written over.
HEADER = "# Written by `hourbank export`: change the program instead, and export again."
Retain = Annotated[
    bool, typer.Option("--retain", help="Keep every resource when it leaves the stack: before another tool takes over.")
]


class ExportError(Exception):
    """An export that is refused, in one line."""


@export.command()
def cloudformation(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The template; the functions' archive goes beside it.")],
    retain: Retain = False,
) -> None:
    """A template for SAM or CloudFormation, beside any Amplify backend."""
    from hourbank import parameterised, template_yaml

    recording = parameterised.record("cloudformation")
    made = parameterised.template(recording, code=f"./{ARCHIVE}", retain=retain)
    # cfn-lint warns that Code is a path; the commands that deploy this template upload it
    made["Metadata"]["cfn-lint"] = {"config": {"ignore_checks": ["W3002"]}}
    text = f"{HEADER}\n{template_yaml.dump(made)}"
    _, archive = parameterised.archive()
    refuse_foreign(out, HEADER)
    write(out, text.encode())
    write(out.parent / ARCHIVE, archive)
    typer.echo(f"{out}: {len(made['Resources'])} resources; {out.parent / ARCHIVE}: the functions' code")
    say_left_out(made)


def say_left_out(template: Mapping[str, Any]) -> None:
    """Tell what of the program is not in a template, and why."""
    for what, why in template["Metadata"]["HourBank"]["LeftOut"].items():
        typer.echo(f"left out: {what}: {why}")


def refuse_foreign(path: Path, header: str) -> None:
    """Refuse to write over a file that an export did not write.

    Raises
    ------
    ExportError
        The file is somebody's, or its folder is not there.
    """
    if not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder: make it, or choose another place")
    if path.is_dir():
        raise ExportError(f"{path} is a folder: give the file's name, such as {path / 'template.yaml'}")
    if path.exists() and header.encode() not in path.read_bytes()[:1000]:
        raise ExportError(f"{path} was not written by this command: remove it, or choose another name")


def write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises
    ------
    ExportError
        It cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}") from error
