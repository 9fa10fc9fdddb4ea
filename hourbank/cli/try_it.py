"""Commands to try it on this machine: the demo, a deployment that is left running, and what people say to it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Collection
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hourbank.cli.options import hours, running_deployment
from hourbank.local.machine import shut_off_this_process
from hourbank.local.shutdown import STOPPED, end_at

if TYPE_CHECKING:
    from hourbank.local.deployment import Deployment

commands = typer.Typer()
PANEL = "Try it on this machine"


class Answer(StrEnum):
    """What a provider can say."""

    accept = "accept"
    decline = "decline"
    counter = "counter"
    withdraw = "withdraw"


class Response(StrEnum):
    """What a requester can say to a counter-offer."""

    accept = "accept"
    reject = "reject"


def minutes(text: str) -> float:
    """Parse the minutes that people have to answer."""
    with contextlib.suppress(ValueError):
        if 0.05 <= (value := float(text)) <= 43200:
            return value
    raise typer.BadParameter(f"{text} is not a number of minutes from 0.05 to 43200, such as 15 or 0.1")


RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request's id, or how it begins.")]


@commands.command(rich_help_panel=PANEL)
def demo() -> None:
    """Play every story of a service request, then account for every hour."""
    shut_off_this_process()
    for number in (signal.SIGINT, signal.SIGTERM):
        end_at(number, "interrupted; nothing is left running", 128 + number)
    from rich.console import Console

    from hourbank.stories.demo import play

    if not play(Console()):
        raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def up(
    given: Annotated[
        float,
        typer.Option("--minutes", parser=minutes, metavar="MINUTES", help="That people have to answer, also 0.1."),
    ] = 15,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what happens, and go on with it when started again with --keep.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Take up handlers, workflows and components when their files change.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Let a debugger stop in handlers, on port 5678.")] = False,
) -> None:
    """Leave a deployment running, to play with from other terminals."""
    shut_off_this_process()
    for number in (signal.SIGINT, signal.SIGTERM):  # `down` is as good an end as Ctrl-C
        end_at(number, STOPPED, 0)
    from rich.console import Console

    from hourbank.local.up import serve

    serve(Console(), given, keep=keep, watch=watch, debug=debug)


@commands.command(rich_help_panel=PANEL)
def down() -> None:
    """End what `hourbank up` left running."""
    shut_off_this_process()
    from hourbank.local.running import down as end

    typer.echo(end())


@commands.command(rich_help_panel=PANEL)
def request(
    requester: Annotated[str, typer.Option("--from", help="Who asks, and pays: ana, ben or chloé.")],
    provider: Annotated[str, typer.Option("--to", help="Who is asked, and is paid.")],
    amount: Annotated[Decimal, typer.Option("--hours", parser=hours, metavar="HOURS", help="Such as 2 or 1.5.")],
    service: Annotated[str, typer.Option(help="What for.")] = "a service",
) -> None:
    """Ask somebody for a service."""
    deployment = running_deployment()
    from hourbank.local import people

    people.check_has_balance(deployment.client("dynamodb"), deployment.tables, requester)
    record = people.request_record(requester=requester, provider=provider, hours=amount, service=service)
    request_id = people.submit(deployment.client("dynamodb"), deployment.tables, record)
    typer.echo(request_id)
    # what follows goes to standard error, so that a script can take the id from standard output
    wanted = ("AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS")  # where the provider is quick
    _watch(deployment, request_id, None, wanted, passing=("PENDING", "VALIDATING", "ESCROWED"))


@commands.command(rich_help_panel=PANEL)
def answer(
    request_id: RequestId,
    says: Annotated[Answer, typer.Argument(help="What the provider says.")],
    amount: Annotated[
        Decimal | None, typer.Option("--hours", parser=hours, metavar="HOURS", help="For counter.")
    ] = None,
) -> None:
    """Answer a request as its provider: accept, decline, counter --hours 3, or withdraw from a service in progress."""
    if (says is Answer.counter) != (amount is not None):
        raise typer.BadParameter("a counter-offer, and nothing else, takes --hours", param_hint="--hours")
    word, wanted = {
        "accept": ("ACCEPTED", "IN_PROGRESS"),
        "decline": ("REJECTED", "DECLINED"),
        "counter": ("COUNTER_OFFER", "NEGOTIATING"),
        "withdraw": ("WITHDRAWN", "CANCELLED"),
    }[says.value]

    def write(deployment: Deployment, request_id: str) -> None:
        from hourbank.local.people import provider_says

        dynamodb = deployment.client("dynamodb")
        provider_says(dynamodb, deployment.tables, request_id, word, counter_offer=amount, if_heard=True)

    _say(request_id, write, wanted)


@commands.command(rich_help_panel=PANEL)
def respond(request_id: RequestId, says: Annotated[Response, typer.Argument(help="What the requester says.")]) -> None:
    """Respond to a counter-offer as the requester: accept or reject."""
    _requester_says(
        request_id, *{"accept": ("ACCEPTED", "IN_PROGRESS"), "reject": ("REJECTED", "DECLINED")}[says.value]
    )


@commands.command(rich_help_panel=PANEL)
def cancel(request_id: RequestId) -> None:
    """Cancel a request as its requester, while the provider has not answered."""
    _requester_says(request_id, "CANCELLED", "CANCELLED")


@commands.command(rich_help_panel=PANEL)
def confirm(request_id: RequestId) -> None:
    """Confirm as the requester that the service was received: the provider is paid."""
    _requester_says(request_id, "COMPLETED", "COMPLETED")


def _requester_says(request_id: str, word: str, wanted: str) -> None:
    def write(deployment: Deployment, request_id: str) -> None:
        from hourbank.local.people import requester_says

        requester_says(deployment.client("dynamodb"), deployment.tables, request_id, word, if_heard=True)

    _say(request_id, write, wanted)


def _say(beginning: str, write: Callable[[Deployment, str], None], wanted: str) -> None:
    """Write what a person says, and tell what it led to; exit status 1 where that is not the `wanted` status."""
    deployment = running_deployment()
    from hourbank.local.records import find, record_of

    request_id = find(deployment, beginning)
    before = record_of(deployment, request_id).get("status")
    write(deployment, request_id)
    _watch(deployment, request_id, before, (wanted,))


def _watch(
    deployment: Deployment,
    request_id: str,
    before: str | None,
    wanted: Collection[str],
    *,
    passing: Collection[str] = (),
) -> None:
    """Print each new status until one that is not `passing`, or until nothing can change it, or does for minutes.

    Exits with 1 unless the last status is `wanted`.
    """
    from hourbank.local.patience import Patience
    from hourbank.local.records import is_going_on, record_of

    status, patience = before, Patience()
    while not patience.is_over(status):
        can_change = is_going_on(deployment, request_id)
        record = record_of(deployment, request_id)
        if record.get("status") != status:
            status = record.get("status")
            typer.echo(": ".join(filter(None, (status, record.get("failureReason")))), err=True)
            if status not in passing:
                if status not in wanted:
                    raise typer.Exit(1)
                return
        elif not can_change:
            break
        time.sleep(0.1)
    typer.echo(f"written, but nothing waits for it: the request stays {status or 'as it is'}", err=True)
    raise typer.Exit(1)
