"""Commands to operate a stack: one on AWS, or what `hourbank up` left running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from hourbank.cli.options import AsJson, StackName, hours, not_empty
from hourbank.local.machine import shut_off_this_process

if TYPE_CHECKING:
    from rich.console import Console

    from hourbank.account.stack import Stack

commands = typer.Typer()
PANEL = "Operate a stack"

Region = Annotated[
    str | None,
    typer.Option(metavar="REGION", help="AWS's region; else the stack's own, else AWS_REGION, or the profile's."),
]
Reason = Annotated[str, typer.Option(metavar="WHY", help="Why: it is kept in the log.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; else the caller, as AWS knows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, max=100000, help="How many to print, each with what helps.")]


@commands.command(rich_help_panel=PANEL)
def show(
    request_id: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST_ID",
            help="The request's id; how it begins is enough without --stack.",
            callback=not_empty,
        ),
    ],
    stack: StackName = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Show a request's whole story: its record, its hours, its way through the states, and what can be done next."""
    with operating(stack, region, as_json=as_json) as (console, found):
        from hourbank.local.records import find
        from hourbank.local.running import running
        from hourbank.operate.show import show_request

        show_request(console, found, request_id if stack else find(running(), request_id), as_json=as_json)


@commands.command("list", rich_help_panel=PANEL)
def list_requests(
    person: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this requester's or provider's.", callback=not_empty)
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only these, such as IN_PROGRESS.", callback=not_empty)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="How many to print.")] = 20,
    read: Annotated[
        int, typer.Option(min=1, help="How many records to read for it, of a table without order.")
    ] = 10000,
    stack: StackName = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """List requests, newest first: reads ServiceRequest record by record (a scan), up to --read of them."""
    if stack is None:
        shut_off_this_process()
    from handlers.bank.requests import TRANSITIONS

    if status is not None and (status := status.upper()) not in TRANSITIONS:
        raise typer.BadParameter(f"{status} is not one of {', '.join(TRANSITIONS)}", param_hint="--status")
    with operating(stack, region, as_json=as_json) as (console, found):
        from hourbank.operate.listing import show_list

        show_list(console, found, person=person, status=status, limit=limit, most=read, as_json=as_json)


@commands.command(rich_help_panel=PANEL)
def events(
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C, not to the next event alone.")] = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each instead.")] = False,
) -> None:
    """Print what the stack's bus tells people from now on, by a rule and a queue that are removed at the end."""
    with operating(stack, region, as_json=as_json) as (console, found):
        from hourbank.operate.events import show_events

        show_events(console, found, follow=follow, as_json=as_json)


@commands.command(rich_help_panel=PANEL)
def audit(
    stack: StackName = None,
    region: Region = None,
    touch: Annotated[bool, typer.Option("--touch", help="Show the stream again what it missed.")] = False,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only requests that have not ended, and hours that are held.")
    ] = False,
    begin: Annotated[
        int | None,
        typer.Option("--from", min=1, max=168, help="From which share of the tables on, as an interrupted one said."),
    ] = None,
    limit: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """Check that requests, escrows, log and executions fit, as the scheduled auditor does; only --touch writes."""
    if only_open and begin is not None:
        raise typer.BadParameter("what is open is looked at as a whole", param_hint="--from")
    with operating(stack, region, as_json=as_json) as (console, found):
        from hourbank.operate.audit import show_audit

        fits = show_audit(
            console, found, touch=touch, only_open=only_open, begin=begin or 1, limit=limit, as_json=as_json
        )
        if not fits:
            raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def stuck(stack: StackName = None, region: Region = None, limit: Limit = 200, as_json: AsJson = False) -> None:
    """Show failed executions, overlong waits and queued stream failures, each with its hours and what helps."""
    with operating(stack, region, as_json=as_json) as (console, found):
        from hourbank.operate.stuck import show_stuck

        if not show_stuck(console, found, limit, as_json=as_json):
            raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def redrive(
    reason: Reason,
    target: Annotated[
        str | None,
        typer.Argument(metavar="REQUEST_ID|EXECUTION_ARN", help="What is to go on.", callback=not_empty),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is unfinished and can go on.")] = False,
    stack: StackName = None,
    region: Region = None,
    by: By = None,
    yes: Yes = False,
    limit: Annotated[
        int, typer.Option(min=1, max=100000, help="With --all: how many at once, those that ended last first.")
    ] = 10000,
) -> None:
    """Let executions that failed for a reason that has passed go on where they failed."""
    if everything == (target is not None):
        raise typer.BadParameter("give a request's id, an execution's ARN, or --all", param_hint="REQUEST_ID")
    _check_words(reason=reason, by=by)
    with operating(stack, region) as (console, found):
        from hourbank.operate.orders import asker
        from hourbank.operate.redrive import redrive_executions

        confirm = asker(yes=yes)
        if not redrive_executions(console, found, target, by=by, reason=reason, confirm=confirm, limit=limit):
            raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def settle(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The request's whole id.", callback=not_empty)
    ],
    reason: Reason,
    release: Annotated[bool, typer.Option("--release", help="The hours go to the provider.")] = False,
    refund: Annotated[bool, typer.Option("--refund", help="Hours that are held go back to the requester.")] = False,
    stack: StackName = None,
    region: Region = None,
    by: By = None,
    yes: Yes = False,
) -> None:
    """Decide about hours that an execution left held, or end a request that it left without any."""
    if release == refund:
        raise typer.BadParameter("give one of the two", param_hint="--release, --refund")
    _check_words(reason=reason, by=by)
    decision = "RELEASE" if release else "REFUND"
    with operating(stack, region) as (console, found):
        from hourbank.operate.orders import asker
        from hourbank.operate.settle import settle_hours

        confirm = asker(yes=yes)
        if not settle_hours(console, found, request_id, decision, by=by, reason=reason, confirm=confirm):
            raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def grant(
    to: Annotated[
        str | None, typer.Option("--to", metavar="SUB", help="Who gets them: a user's whole id.", callback=not_empty)
    ] = None,
    amount: Annotated[
        Decimal | None, typer.Option("--hours", parser=hours, metavar="HOURS", help="Such as 10 or 1.5.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="WHY", help="What for: each user gets hours once for each reason.")
    ] = None,
    opening: Annotated[
        bool, typer.Option("--opening", help="Enter what users were given before there were entries for it.")
    ] = False,
    stack: StackName = None,
    region: Region = None,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give a user hours of the bank, once for each reason; or enter, with --opening, what the log does not explain."""
    if opening and (to, amount, reason) != (None, None, None):
        raise typer.BadParameter("it takes no --to, --hours and --reason", param_hint="--opening")
    if not opening and (to is None or amount is None or reason is None):
        raise typer.BadParameter("give --to, --hours and --reason, or --opening", param_hint="--to")
    _check_words(reason=reason, by=by)
    if as_json and not yes:
        raise typer.BadParameter("nobody is asked where JSON is printed: add --yes", param_hint="--json")
    with operating(stack, region, as_json=as_json) as (console, found):
        from hourbank.operate.grant import grant_hours, open_books
        from hourbank.operate.orders import asker

        confirm = asker(yes=yes)
        if to is None or amount is None or reason is None:
            done = open_books(console, found, by=by, confirm=confirm, as_json=as_json)
        else:
            done = grant_hours(console, found, to, amount, by=by, reason=reason, confirm=confirm, as_json=as_json)
        if not done:
            raise typer.Exit(1)


def _check_words(**words: str | None) -> None:
    for option, word in words.items():
        if word is not None and not word.strip():
            raise typer.BadParameter("an empty one says nothing", param_hint=f"--{option}")


@contextlib.contextmanager
def operating(name: str | None, region: str | None, *, as_json: bool = False) -> Iterator[tuple[Console, Stack]]:
    """Find the stack, say first where it is, then what AWS refuses; before anything is imported that imports boto3."""
    if name is None:
        shut_off_this_process()
    from rich.console import Console

    from hourbank.account.stack import connect, errors_in_words
    from hourbank.terminal import say

    with errors_in_words():
        console, found = Console(), connect(name, region)
        if not found.is_local:
            say(Console(stderr=True) if as_json else console, f"{found.env}: {found.place}")
        yield console, found
