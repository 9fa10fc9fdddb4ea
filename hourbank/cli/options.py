"""Arguments and options that several commands share, and how they reach what they work on."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from hourbank.local.machine import shut_off_this_process

if TYPE_CHECKING:
    from hourbank.local.deployment import Deployment


def hours(text: str) -> Decimal:
    """Parse hours, exactly, by the rule of the functions."""
    from hourbank.hours import parse_hours

    try:
        return parse_hours(text)
    except ValueError as error:
        raise typer.BadParameter(str(error).removesuffix(".")) from None


def not_empty(value: str | None) -> str | None:
    """Refuse an empty text, such as that of a variable that a script has not set."""
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty")
    return value


Hours = Annotated[Decimal, typer.Option(parser=hours, metavar="HOURS", help="Such as 2 or 1.5.")]
StackName = Annotated[
    str | None,
    typer.Option(
        "--stack",
        metavar="NAME",
        help="A stack on AWS, such as dev; without it, what `hourbank up` runs.",
        callback=not_empty,
    ),
]
OwnRegion = Annotated[str | None, typer.Option(metavar="REGION", help="AWS's region; else the stack's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def running_deployment() -> Deployment:
    """Return what `hourbank up` left running, for a process that follows no setting of the user's.

    To be called before anything that imports boto3, which looks for some of them when it is imported.
    """
    shut_off_this_process()
    from hourbank.local.running import running

    return running()
