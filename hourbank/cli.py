"""The command line `hourbank`. What a command needs is imported in it: `hourbank --help` must not import Pulumi."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hourbank.export.package import export
from hourbank.local.machine import shut_off_this_process
from hourbank.local.shutdown import STOPPED, end_at
from hourbank.terminal import print_in_any_locale, put

if TYPE_CHECKING:
    from rich.console import Console

    from hourbank.account.stack import Stack
    from hourbank.local.deployment import Deployment

TRY = "Try it on this machine"
OPERATE = "Operate a stack"
SHIP = "Ship"
# What is not this program's fault: no room, no right, no more files, processes or memory.
MACHINE = {
    *(errno.EACCES, errno.EAGAIN, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC),
    *(errno.EPERM, errno.EROFS),
}
app = typer.Typer(
    help="HourBank: hold, pay and give back the hours of a time bank, beside AWS Amplify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


class WorkflowName(StrEnum):
    """What can be drawn."""

    request = "ServiceRequestWorkflow"
    escrow = "EscrowManagementWorkflow"


class Format(StrEnum):
    """What a picture is written as."""

    svg = "svg"
    mermaid = "mermaid"


def hours(text: str) -> Decimal:
    """Parse hours, exactly, by the rule of the functions."""
    from hourbank.hours import parse_hours

    try:
        return parse_hours(text)
    except ValueError as error:
        raise typer.BadParameter(str(error).removesuffix(".")) from None


def minutes(text: str) -> float:
    """Parse the minutes that people have to answer."""
    with contextlib.suppress(ValueError):
        if 0.05 <= (value := float(text)) <= 43200:
            return value
    raise typer.BadParameter(f"{text} is not a number of minutes from 0.05 to 43200, such as 15 or 0.1")


def not_empty(value: str | None) -> str | None:
    """Refuse an empty text, such as that of a variable that a script has not set."""
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty")
    return value


Hours = Annotated[Decimal, typer.Option(parser=hours, metavar="HOURS", help="Such as 2 or 1.5.")]
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request's id, or how it begins.")]

StackName = Annotated[
    str | None,
    typer.Option(
        "--stack",
        metavar="NAME",
        help="A stack on AWS, such as dev; without it, what `hourbank up` runs.",
        callback=not_empty,
    ),
]
Region = Annotated[str | None, typer.Option(metavar="REGION", help="AWS's region; else AWS_REGION, or the profile's.")]
OwnRegion = Annotated[str | None, typer.Option(metavar="REGION", help="AWS's region; else the stack's own.")]
Reason = Annotated[str, typer.Option(metavar="WHY", help="Why: it is kept in the log.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; else the caller, as AWS knows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, max=10000, help="How many executions and messages to look at.")]


app.add_typer(export, name="export", rich_help_panel=SHIP)


@app.command(rich_help_panel=TRY)
def demo() -> None:
    """Play every story of a service request, then account for every hour."""
    shut_off_this_process()
    for number in (signal.SIGINT, signal.SIGTERM):
        end_at(number, "interrupted; nothing is left running", 128 + number)
    from rich.console import Console

    from hourbank.stories.demo import play

    if not play(Console()):
        raise typer.Exit(1)


@app.command(rich_help_panel=TRY)
def up(
    given: Annotated[
        float,
        typer.Option("--minutes", parser=minutes, metavar="MINUTES", help="That people have to answer, also 0.1."),
    ] = 15,
) -> None:
    """Leave a deployment running, to play with from other terminals."""
    shut_off_this_process()
    for number in (signal.SIGINT, signal.SIGTERM):  # `down` is as good an end as Ctrl-C
        end_at(number, STOPPED, 0)
    from rich.console import Console

    from hourbank.local.up import serve

    serve(Console(), given)


@app.command(rich_help_panel=TRY)
def down() -> None:
    """End what `hourbank up` left running."""
    shut_off_this_process()
    from hourbank.local.up import down as end

    typer.echo(end())


@app.command(rich_help_panel=TRY)
def request(
    requester: Annotated[str, typer.Option("--from", help="Who asks, and pays: ana, ben or chloé.")],
    provider: Annotated[str, typer.Option("--to", help="Who is asked, and is paid.")],
    amount: Annotated[Decimal, typer.Option("--hours", parser=hours, metavar="HOURS", help="Such as 2 or 1.5.")],
    service: Annotated[str, typer.Option(help="What for.")] = "a service",
) -> None:
    """Ask somebody for a service."""
    deployment = _running()
    from hourbank.local import people

    people.check_has_balance(deployment.client("dynamodb"), deployment.tables, requester)
    record = people.request_record(requester=requester, provider=provider, hours=amount, service=service)
    request_id = people.submit(deployment.client("dynamodb"), deployment.tables, record)
    typer.echo(request_id)
    # what follows goes to standard error, so that a script can take the id from standard output
    wanted = ("AWAITING_PROVIDER", "NEGOTIATING", "IN_PROGRESS")  # where the provider is quick
    _watch(deployment, request_id, None, wanted, passing=("PENDING", "VALIDATING", "ESCROWED"))


@app.command(rich_help_panel=TRY)
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
    # written earlier, it would be taken for an answer that is none, and end the request
    status = "IN_PROGRESS" if says is Answer.withdraw else None

    def write(deployment: Deployment, request_id: str) -> None:
        from hourbank.local.people import provider_says

        dynamodb = deployment.client("dynamodb")
        provider_says(dynamodb, deployment.tables, request_id, word, counter_offer=amount, status=status)

    _say(request_id, write, wanted)


@app.command(rich_help_panel=TRY)
def respond(request_id: RequestId, says: Annotated[Response, typer.Argument(help="What the requester says.")]) -> None:
    """Respond to a counter-offer as the requester: accept or reject."""
    _requester_says(
        request_id, *{"accept": ("ACCEPTED", "IN_PROGRESS"), "reject": ("REJECTED", "DECLINED")}[says.value]
    )


@app.command(rich_help_panel=TRY)
def cancel(request_id: RequestId) -> None:
    """Cancel a request as its requester, while the provider has not answered."""
    _requester_says(request_id, "CANCELLED", "CANCELLED")


@app.command(rich_help_panel=TRY)
def confirm(request_id: RequestId) -> None:
    """Confirm as the requester that the service was received: the provider is paid."""
    _requester_says(request_id, "COMPLETED", "COMPLETED")


@app.command(rich_help_panel=OPERATE)
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
) -> None:
    """Show a request's whole story: its record, its hours, its way through the states, and what can be done next."""
    with _operate(stack, region) as (console, found):
        from hourbank.local.up import running
        from hourbank.operate import show as view

        view.show(console, found, request_id if stack else view.find(running(), request_id))


@app.command(rich_help_panel=SHIP)
def doctor(
    stack: StackName = None,
    region: OwnRegion = None,
    amplify: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Propose a stack's configuration for this Amplify project.")
    ] = None,
) -> None:
    """Check that the account has what a stack needs, before it is deployed and after, and say what to do."""
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

        if not examine(Console(), stack, region):
            raise typer.Exit(1)


@app.command(rich_help_panel=SHIP)
def cost(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False) -> None:
    """Say what a request costs on AWS, path by path, and an idle month: measured on this machine, in half a minute."""
    shut_off_this_process()
    for number in (signal.SIGINT, signal.SIGTERM):
        end_at(number, "interrupted; nothing is left running", 128 + number)
    from rich.console import Console

    from hourbank.cost.report import cost as measure_and_print

    measure_and_print(Console(), Console(stderr=True), as_json=as_json)


@app.command(rich_help_panel=SHIP)
def plan(
    base: Annotated[str, typer.Option(metavar="REF", help="The branch, tag or commit that this is a change of.")],
    head: Annotated[str | None, typer.Option(metavar="REF", help="The change; else the files as they are.")] = None,
    stack: Annotated[str, typer.Option(metavar="NAME", help="The stack, or `all`.", callback=not_empty)] = "dev",
) -> None:
    """Say what a change of the program changes in what is deployed, as Markdown for a pull request; asks no account."""
    from hourbank.review.plan import plan as compare

    put(compare(base, head, stack))


@app.command(rich_help_panel=SHIP)
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


@app.command(rich_help_panel=SHIP)
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
        deployment = _running()
        from hourbank.operate.show import find

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


@app.command(rich_help_panel=OPERATE)
def audit(
    stack: StackName = None,
    region: Region = None,
    touch: Annotated[bool, typer.Option("--touch", help="Show the stream again what it missed.")] = False,
) -> None:
    """Check that requests, escrows, log and executions fit, as the scheduled auditor does; only --touch writes."""
    with _operate(stack, region) as (console, found):
        from hourbank.operate import operations

        if not operations.audit(console, found, touch=touch):
            raise typer.Exit(1)


@app.command(rich_help_panel=OPERATE)
def stuck(stack: StackName = None, region: Region = None, limit: Limit = 200) -> None:
    """Show failed executions, overlong waits and queued stream failures, each with its hours and what helps."""
    with _operate(stack, region) as (console, found):
        from hourbank.operate import operations

        if not operations.show_stuck(console, found, limit):
            raise typer.Exit(1)


@app.command(rich_help_panel=OPERATE)
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
    limit: Limit = 200,
) -> None:
    """Let executions that failed for a reason that has passed go on where they failed."""
    if everything == (target is not None):
        raise typer.BadParameter("give a request's id, an execution's ARN, or --all", param_hint="REQUEST_ID")
    _check_words(reason=reason, by=by)
    with _operate(stack, region) as (console, found):
        from hourbank.operate import operations

        confirm = operations.asker(yes=yes)
        if not operations.redrive(console, found, target, by=by, reason=reason, confirm=confirm, limit=limit):
            raise typer.Exit(1)


@app.command(rich_help_panel=OPERATE)
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
    with _operate(stack, region) as (console, found):
        from hourbank.operate import operations

        confirm = operations.asker(yes=yes)
        if not operations.settle(console, found, request_id, decision, by=by, reason=reason, confirm=confirm):
            raise typer.Exit(1)


@app.command(rich_help_panel=SHIP)
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


def _check_words(**words: str | None) -> None:
    for option, word in words.items():
        if word is not None and not word.strip():
            raise typer.BadParameter("an empty one says nothing", param_hint=f"--{option}")


@contextlib.contextmanager
def _operate(name: str | None, region: str | None) -> Iterator[tuple[Console, Stack]]:
    """Find the stack, and say what AWS refuses in one line; before anything is imported that imports boto3."""
    if name is None:
        shut_off_this_process()
    from rich.console import Console

    from hourbank.account.stack import connect, errors_in_words

    with errors_in_words():
        yield Console(), connect(name, region)


def _running() -> Deployment:
    """Return what `hourbank up` left running, for a process that follows no setting of the user's.

    To be called before anything that imports boto3, which looks for some of them when it is imported.
    """
    shut_off_this_process()
    from hourbank.local.up import running

    return running()


def _requester_says(request_id: str, word: str, wanted: str) -> None:
    def write(deployment: Deployment, request_id: str) -> None:
        from hourbank.local.people import requester_says

        requester_says(deployment.client("dynamodb"), deployment.tables, request_id, word)

    _say(request_id, write, wanted)


def _say(beginning: str, write: Callable[[Deployment, str], None], wanted: str) -> None:
    """Write what a person says, and tell what it led to; exit status 1 where that is not the `wanted` status."""
    deployment = _running()
    from hourbank.operate.show import find, record_of

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
    from hourbank.operate.show import is_going_on, record_of

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


def main() -> None:
    """Run the command line; every error that a user can cause is one line."""
    # A program that is ended lets go of what it started, as one that is interrupted does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Also where it was inherited as ignored, as under nohup.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print_in_any_locale()
    # Of the libraries, for whoever develops with them: PYTHONWARNINGS=error must not end a command of a user's.
    warnings.simplefilter("ignore")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        line = _in_one_line(error)
        if line is None:
            raise
        if line:
            typer.echo(f"hourbank: {line}", err=True)
        sys.exit(getattr(error, "exit_code", 1))


def _in_one_line(error: Exception) -> str | None:
    """Return what a user needs to know of an error; None if it is a fault of this program."""
    if format_message := getattr(error, "format_message", None):  # a command line that is not understood
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context else "hourbank"
        # without any argument the help has been printed, and there is nothing to say
        message = format_message().rstrip(".").replace("Value error, ", "")  # Typer's, of an enum
        return message and f"{message}: see `{help_of} --help`"
    from hourbank.errors import HourBankError
    from hourbank.terminal import one_line

    if isinstance(error, HourBankError):
        return str(error)
    if isinstance(error, OSError) and error.errno in MACHINE:
        return f"{error.filename}: {error.strerror}" if error.filename else f"this machine refuses: {error.strerror}"
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(error, HTTPClientError | NoConnection):
        return f"the emulator is not there any more: start again. {one_line(error)}"
    if isinstance(error, ClientError):
        return f"the emulator refuses {error.operation_name}: {one_line(error)}"
    return one_line(error) if isinstance(error, BotoCoreError) else None
