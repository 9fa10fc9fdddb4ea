"""`hourbank up`: a deployment that is left running for other terminals."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from handlers.bank.hours import in_words
from hourbank import names
from hourbank.errors import HourBankError
from hourbank.local import mails, running
from hourbank.local.deployment import APPSYNC_ENDPOINT, Deployment
from hourbank.local.develop import debugger
from hourbank.local.develop.watch import Watcher
from hourbank.local.emulator import Emulator
from hourbank.local.people import DEEDS
from hourbank.local.running import RunningState
from hourbank.local.shutdown import STOPPED, end_at
from hourbank.local.tables import plain, scan

if TYPE_CHECKING:
    from hourbank.local.page import server as page

PEOPLE = {"ana": Decimal(10), "ben": Decimal(10), "chloé": Decimal(10)}
LOOK_EVERY_SECONDS = 0.5
# the older AWS CLI reads AWS_DEFAULT_REGION alone
CREDENTIALS = (
    "AWS_REGION=us-east-1",
    "AWS_DEFAULT_REGION=us-east-1",
    "AWS_ACCESS_KEY_ID=local",
    "AWS_SECRET_ACCESS_KEY=local",
)


def serve(console: Console, minutes: float, *, keep: bool = False, watch: bool = False, debug: bool = False) -> None:
    """Deploy, tell how to use it, and print what happens until the process is ended.

    Parameters
    ----------
    minutes : float
        How long people have to answer.
    keep : bool
        Whether to go on with the state that an earlier run has kept, and to keep this one's.
    watch : bool
        Whether to deploy again what is edited meanwhile.
    debug : bool
        Whether a debugger can stop in handlers.
    """
    from hourbank.local import deploy, kept
    from hourbank.local.page import realtime
    from hourbank.local.page import server as page

    seconds = round(minutes * 60)
    with contextlib.ExitStack() as at_end:
        at_end.enter_context(running.only_one())
        earlier = kept.read() if keep else None
        state = earlier or kept.new()
        emulator = at_end.enter_context(Emulator())
        with console.status("Deploying to an emulator of AWS on this machine"):
            tables = deploy.create_tables(emulator)
            # before the stack: its router reads the stream from the beginning, and does what nobody has begun with
            kept.put_back(emulator, state.items)
            config = {
                "hourbank:startRequestsFrom": state.began,
                "hourbank:appsyncEndpoint": APPSYNC_ENDPOINT,
                **mails.prepare(emulator, PEOPLE),
            }
            options: dict[str, Any] = {"response_timeout_seconds": seconds, "config": config}
            if debug:
                options["debugger"] = str(at_end.enter_context(debugger.listening(emulator.directory)))
            watcher = Watcher({"port": emulator.port, **options}) if watch else None
            deployment = deploy.deploy(emulator, **options)
            deploy.start_a_function(deployment)
            kept.put_back(emulator, {name: state.items[name] for name in state.items.keys() - tables.values()})
            going_on = kept.let_executions_go_on(emulator, state.executions)
            deploy.grant_hours(deployment, PEOPLE)
        save = kept.Keeper(emulator, state).save if keep else lambda: None
        save()
        shown = page.Console(deployment, seconds, state.run)
        at_end.enter_context(realtime.listening(deployment, shown.realtime))
        warn = partial(console.print, style="yellow", highlight=False, soft_wrap=True)
        address = at_end.enter_context(page.serve(shown, warn=warn))
        for number in (signal.SIGINT, signal.SIGTERM):
            end_at(number, STOPPED, 0, forget=running.STATE, at_last=save)
        running.remember(RunningState(os.getpid(), address, deployment))
        is_built = (page.PAGES / "index.html").exists()
        _explain(console, deployment, address, minutes, to_build="" if is_built else page.TO_BUILD)
        if keep:
            _tell_what_is_kept(console, kept.file(), going_on if earlier else None)
        known = {plain(item)["id"]: plain(item).get("status") for item in state.items.get(tables["serviceRequest"], ())}
        looks = [save]
        if watcher:
            looks.append(partial(_take_up, console, watcher, shown))
        if debug:
            console.print(
                f"a debugger can attach to 127.0.0.1:{debugger.PORT} and stop in handlers (docs/develop.md)\n",
                highlight=False,
            )
        _follow(console, deployment, known, looks)


def _explain(console: Console, deployment: Deployment, address: str, minutes: float, *, to_build: str) -> None:
    call = names.command()
    balances = scan(deployment.client("dynamodb"), deployment.tables["userBalance"])
    hours = {str(one["userId"]): f"{in_words(one['availableBalance'])} h" for one in balances}
    lines = [
        # in capitals Amplify's client asks for a WebSocket without TLS
        ("GraphQL", f"{address.replace('http', 'HTTP')}/graphql (stands in for Amplify's API: docs/try.md)"),
        ("endpoint", f"{deployment.endpoint} (all of AWS)"),
        *((f"table {name}", table) for name, table in deployment.tables.items()),
        ("requests", deployment.outputs["serviceRequestWorkflowArn"]),
        ("releases", deployment.outputs["escrowManagementWorkflowArn"]),
        ("bus", deployment.outputs["eventBusName"]),
        ("people", ", ".join(f"{user} ({hours[user]})" for user in sorted(hours))),
    ]
    console.print(f"open [bold]{address}/[/] in a browser", highlight=False, soft_wrap=True)
    if to_build:
        console.print(f"  (its page is not built: {to_build})", highlight=False)
    console.print(f"[bold green]HourBank runs on this machine[/] until Ctrl-C or `{call} down`", highlight=False)
    console.print(f"{minutes:g} minutes to answer\n", highlight=False)
    if console.is_terminal:
        table = Table.grid(Column(style="dim", no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
        for name, value in lines:
            table.add_row(f"  {name}", value)
        console.print(table, highlight=False)
    else:
        for name, value in lines:
            console.print(f"  {name:<22}{value}", highlight=False, soft_wrap=True)
    console.print("\nIn another terminal, for the AWS CLI and for an app:", highlight=False)
    for variable in (f"AWS_ENDPOINT_URL={deployment.endpoint}", *CREDENTIALS):
        console.print(f"  export {variable}", highlight=False, soft_wrap=True)
    console.print("\nOr, to play a person:", highlight=False)
    console.print(f"  [bold]{call} request --from ana --to ben --hours 2[/]\n", highlight=False, soft_wrap=True)


def _tell_what_is_kept(console: Console, file: Path, going_on: int | None) -> None:
    text = f"kept in {file}"
    if going_on is not None:
        text = f"goes on with what was {text}"
    if going_on:
        number = "1 execution goes" if going_on == 1 else f"{going_on} executions go"
        text += f": {number} on where they were, and who is asked has all the time again"
    console.print(f"{text}\n", highlight=False, soft_wrap=True)


def _take_up(console: Console, watcher: Watcher, shown: page.Console) -> None:
    """Deploy what was edited since the last look, and say so in one line."""
    if not (names := watcher.changed()):
        return
    edited = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    try:
        watcher.redeploy()
    except HourBankError as error:
        _tell(console, f"not taken up, what was deployed before goes on: {error}", style="yellow")
    else:
        shown.read_definitions()
        _tell(console, f"{edited}: taken up", style="green")


def _tell(console: Console, text: str, *, style: str = "") -> None:
    console.print(Text.assemble((time.strftime("%H:%M:%S  "), "dim"), (text, style)), soft_wrap=True)


def _follow(
    console: Console, deployment: Deployment, seen: dict[str, Any], looks: Iterable[Callable[[], None]]
) -> None:
    """Print what happens to requests whose status is not the one seen, and look at what else there is to look at."""
    dynamodb, table = deployment.client("dynamodb"), deployment.tables["serviceRequest"]
    mailed = 0
    while True:
        for look in looks:
            look()
        for request in scan(dynamodb, table):
            status = request.get("status")
            if status and seen.get(request["id"]) != status:
                seen[request["id"]] = status
                console.print(_news(request), soft_wrap=True)
        for mail in list(mails.sent(deployment.endpoint))[mailed:]:
            mailed += 1
            _tell(console, f"mail to {mail.to}: {mail.subject}")
        time.sleep(LOOK_EVERY_SECONDS)


def _news(request: Mapping[str, Any]) -> Text:
    status, short = request["status"], request["id"][:8]
    asked = f"{request.get('requesterId')} → {request.get('providerId')}, {request.get('estimatedHours')} h"
    text = Text.assemble((time.strftime("%H:%M:%S  "), "dim"), f"{short}  {asked}  ", (status, "cyan"))
    if deeds := DEEDS.get(status):
        text.append("".join(f"\n    {deed.played(short)}" for deed in deeds), "dim")
    elif reason := request.get("failureReason"):
        text.append(f"\n    {reason}", "dim")
    return text
