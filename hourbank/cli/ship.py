"""Commands to ship it: before a deployment, for a pull request, and for other tools."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hourbank.cli.options import AsJson, OwnRegion, StackName, not_empty, running_deployment
from hourbank.local.machine import shut_off_this_process
from hourbank.local.shutdown import end_at
from hourbank.names import stack_name
from hourbank.terminal import put

commands = typer.Typer()
PANEL = "Ship"


class WorkflowName(StrEnum):
    """What can be drawn."""

    request = "ServiceRequestWorkflow"
    escrow = "EscrowManagementWorkflow"


class Format(StrEnum):
    """What a picture is written as."""

    svg = "svg"
    mermaid = "mermaid"


@commands.command(rich_help_panel=PANEL)
def doctor(
    stack: StackName = None,
    region: OwnRegion = None,
    amplify: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Propose a stack's configuration for this Amplify project.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that the account has what a stack needs, before it is deployed and after, and say what to do."""
    if amplify is not None and as_json:
        raise typer.BadParameter("a configuration is YAML: leave out --json", param_hint="--amplify")
    if amplify is None and stack is None:
        shut_off_this_process()
    from rich.console import Console

    from hourbank.account.stack import errors_in_words

    with errors_in_words():
        if amplify is not None:
            from hourbank.account.amplify_project import propose

            put(propose(amplify, stack, region) + "\n")
            return
        from hourbank.account.doctor import doctor as examine

        if not examine(Console(), stack, region, as_json=as_json):
            raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def verify(
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack", metavar="NAME", help="A stack that is deployed; else before any is.", callback=not_empty
        ),
    ] = None,
    region: OwnRegion = None,
    stories: Annotated[bool, typer.Option("--stories", help="Also play the demo's stories on the stack.")] = False,
    yes_prod: Annotated[bool, typer.Option("--yes-prod", help="Play them on the stack prod, too.")] = False,
    as_json: AsJson = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report as Markdown: no account id, no token in it.")
    ] = None,
) -> None:
    """Ask AWS itself whether it does what the program expects: for nothing, and nothing is made but by --stories."""
    if stories and stack is None:
        raise typer.BadParameter("they are played on a stack: give --stack", param_hint="--stories")
    if stories and stack and stack_name(stack) == "prod" and not yes_prod:
        raise typer.BadParameter("to play them on prod, beside people's hours, add --yes-prod", param_hint="--stories")
    from hourbank.account.stack import errors_in_words

    with errors_in_words():
        from hourbank.verify.command import verify as ask

        if not ask(stack, region, plays_stories=stories, as_json=as_json, report=report):
            raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def cost(
    requests_per_month: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=10**9, help="A month's bill with so many, and the quotas it meets."),
    ] = None,
    waiting_days: Annotated[
        float | None, typer.Option(metavar="D", min=0, max=365, help="How long each is open: 7 days by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a request costs on AWS, path by path, measured here in half a minute; or a month, in a moment."""
    if waiting_days is not None and requests_per_month is None:
        raise typer.BadParameter("of how many requests? give --requests-per-month", param_hint="--waiting-days")
    shut_off_this_process()
    if requests_per_month is not None:
        from rich.console import Console

        from hourbank.cost.month import WAITING_DAYS, print_month

        days = WAITING_DAYS if waiting_days is None else waiting_days
        print_month(Console(), requests_per_month, days, as_json=as_json)
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        end_at(number, "interrupted; nothing is left running", 128 + number)
    from rich.console import Console

    from hourbank.cost.report import cost as measure_and_print

    measure_and_print(Console(), Console(stderr=True), as_json=as_json)


@commands.command(rich_help_panel=PANEL)
def plan(
    base: Annotated[str, typer.Option(metavar="REF", help="The branch, tag or commit that this is a change of.")],
    head: Annotated[str | None, typer.Option(metavar="REF", help="The change; else the files as they are.")] = None,
    stack: Annotated[str, typer.Option(metavar="NAME", help="The stack, or `all`.", callback=not_empty)] = "dev",
) -> None:
    """Say what a change of the program changes in what is deployed, as Markdown for a pull request; asks no account."""
    from hourbank.review.plan import plan as compare

    put(compare(base, head, stack))


@commands.command(rich_help_panel=PANEL)
def simulate(
    seed: Annotated[int | None, typer.Option(help="Play the longer run of this seed again, and tell it.")] = None,
    again: Annotated[str | None, typer.Option(help="Play one run again, as a violation names it, and tell it.")] = None,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of faults for each story that has them.")] = 300,
    wander: Annotated[int, typer.Option(min=0, help="Longer runs at random.")] = 500,
    draw: Annotated[int, typer.Option(help="What pairs and longer runs are drawn with.")] = 0,
    share: Annotated[int, typer.Option(min=1, help="Only every n-th of the single faults of each path.")] = 1,
    turn: Annotated[int, typer.Option(min=0, help="Which of the shares: all of 0 to n - 1 are all faults.")] = 0,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Only stories whose name contains this.")] = "",
    processes: Annotated[int | None, typer.Option(min=1, help="How many; by default one a core.")] = None,
) -> None:
    """Try every fault at every point of every path, on this machine, and say what broke."""
    shut_off_this_process()
    from rich.console import Console

    from hourbank.simulate import campaign

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    if seed is not None or again is not None:
        is_right = campaign.replay(console, seed=seed, again=again or "")
    else:
        is_right = campaign.simulate(
            console, pair_count=pairs, wander_count=wander, draw=draw, share=share, turn=turn, only=only,
            processes=processes,
        )  # fmt: skip
    if not is_right:
        raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def diagram(
    workflow: Annotated[WorkflowName | None, typer.Argument(metavar="WORKFLOW", help="One of them; else both.")] = None,
    form: Annotated[Format, typer.Option("--format", help="An SVG, or Mermaid for Markdown.")] = Format.svg,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER|FILE", help="Where it goes; else to standard output.")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option("--request", metavar="REQUEST_ID", help="Light up the way of a request of `up`'s.")
    ] = None,
) -> None:
    """Draw the workflows from their definitions: an SVG that is light or dark as its reader is, or Mermaid."""
    from hourbank.drawing import pictures

    classes: dict[str, dict[str, str]] = {}
    if request_id is not None:
        deployment = running_deployment()
        from hourbank.local.records import find

        asked = [workflow.value] if workflow else list(pictures.DEFINITIONS)
        request_id = find(deployment, request_id)
        classes = pictures.lit(request_id, deployment.ways(request_id), asked)
    names = [workflow.value] if workflow else list(classes or pictures.DEFINITIONS)
    made = pictures.draw(names, form, classes)
    if out is not None:
        for path in pictures.put(made, form, out):
            typer.echo(path)
    elif len(made) > 1 and form is Format.svg:
        raise typer.BadParameter("two pictures need a folder, or name a workflow", param_hint="--out")
    else:
        put("\n".join(made.values()))


@commands.command(rich_help_panel=PANEL)
def adopt(
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME", help="The stack that takes over, such as dev.", callback=not_empty)
    ],
    region: OwnRegion = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the file goes.")] = Path("adopt.json"),
) -> None:
    """Write the file with which `pulumi import` takes over what our template made: see docs/operate/migrate.md."""
    from shlex import quote

    from hourbank.account import adopt

    count = adopt.write(out, stack, region)
    typer.echo(f"{out}: {count} resources; next:")
    typer.echo(f"  pulumi import --file {quote(str(out))} --stack {stack} --generate-code=false --protect=false")
