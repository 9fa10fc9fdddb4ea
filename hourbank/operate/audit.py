"""`hourbank audit`: the auditor's look at a stack, now."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console

from handlers.bank import requests
from handlers.bank.audit import Audit
from handlers.bank.case import load
from handlers.bank.cursor import SHARES
from handlers.bank.look import FIND_THE_WRITER, Finding
from hourbank.account.stack import Stack
from hourbank.operate.executions import owner_of
from hourbank.operate.remedies import Remedy, Trouble, remedies
from hourbank.operate.report import (
    TroubleTally,
    aside,
    in_row,
    live,
    many,
    print_findings,
    print_groups,
    print_more,
    print_total,
    so_far,
)
from hourbank.operate.stuck import variables
from hourbank.terminal import JsonDocument, duration, in_hours, json_document, say

# What a finding is about, where its key is no request's.
WHAT = {"TransactionLog": "an entry of the log: ", "UserBalance": "a balance: "}


def show_audit(
    console: Console,
    stack: Stack,
    *,
    touch: bool,
    only_open: bool = False,
    begin: int = 1,
    limit: int = 200,
    as_json: bool = False,
) -> bool:
    """Hold requests, escrows, log and executions against each other; print what does not fit, return if all does.

    Parameters
    ----------
    only_open : bool
        Look at what can still change alone, by the tables' indexes.
    begin : int
        From which share of the tables on, of so many as a week has hours.
    limit : int
        How many findings to print, and to look up what helps for.
    """
    requests.start_requests_from()  # refused at once, not after what is to be asked for first
    if "USER_BALANCE_TABLE_NAME" not in os.environ:  # an auditor of an older version looks at no balances
        os.environ["USER_BALANCE_TABLE_NAME"] = variables(stack)["USER_BALANCE_TABLE_NAME"]
    run, tally = Audit(touch=touch, again=touch, machine=stack.requests_arn), TroubleTally()
    run.at = begin - 1

    def words() -> str:
        share = "" if only_open else f"share {run.at + 1} of {SHARES}, "
        books = f"{many(run.books.entries, 'entry', 'entries')} held against balances, " if run.books.entries else ""
        return f"{share}{many(run.requests, 'request')} read, {books}{many(tally.count, 'finding')}"

    def how_on() -> str:
        options = " --touch" * touch + (" --open" if only_open else f" --from {run.at + 1}")
        return f"{words()}; go on with `{stack.command('audit', options=options)}`"

    findings = run.open_findings() if only_open else run.findings(begin - 1, SHARES)
    with so_far(how_on), _document(console, stack, as_json=as_json) as document:
        with live(words) as line:
            for found in findings:
                tally.add(found.kind, found.problem, found.key, found.hours)
                if tally.count > limit:
                    continue
                trouble = _trouble(stack, found)
                with aside(line):
                    if document:
                        document.row(in_row(trouble))
                    else:
                        print_findings(console, [trouble], is_first=tally.count == 1)
        fits = not tally.count and (touch or not run.missed)
        if document:
            looked_at = {
                "requests": run.requests,
                "held": run.held,
                "oldestWaitSeconds": int(run.oldest_wait.total_seconds()),
                "missed": run.missed,
                "touched": touch,
                "entries": run.entries,
                "unexplained": run.unexplained,
            }
            document.end(ok=fits, **looked_at, more=tally.count > limit, groups=tally.rows())
            return fits
    _print_rest(console, stack, run, tally, limit)
    if begin > 1:
        say(console, f"looked at from share {begin} of {SHARES} on")
    return fits


def _document(console: Console, stack: Stack, *, as_json: bool) -> AbstractContextManager[JsonDocument | None]:
    return json_document(console, stack=stack.env, region=stack.region) if as_json else nullcontext()


def _trouble(stack: Stack, found: Finding) -> Trouble:
    """A finding with what helps."""
    return Trouble(
        kind=found.kind,
        what=f"{WHAT.get(found.model, '')}{found.problem}",
        request_id=found.key,
        hours=found.hours,
        remedies=_remedies(stack, found),
    )


def _remedies(stack: Stack, found: Finding) -> tuple[Remedy, ...]:
    if found.kind == "UNEXPLAINED":
        return (Remedy("", found.remedy), Remedy(stack.command("grant", options=" --opening"), "enters all of them"))
    if found.model != "ServiceRequest" or found.remedy == FIND_THE_WRITER:
        return (Remedy("", found.remedy),)
    case = load(found.key)
    helps = remedies(stack, case, owner_of(stack, case))
    return (Remedy("", found.remedy), *helps) if found.kind == "MISSED" else helps


def _print_rest(console: Console, stack: Stack, run: Audit, tally: TroubleTally, limit: int) -> None:
    """Print what is known at the end."""
    if not tally.count and not run.missed:
        say(console, ("nothing that does not fit", "dim"))
    print_more(console, tally.count - limit)
    print_groups(console, tally)
    if run.unexplained:
        opened = stack.command("grant", options=" --opening")
        told = f"{many(run.unexplained, 'balance')} beside the log: your app writes them itself; {opened} enters them"
        say(console, told)
    held, oldest = in_hours(run.held), duration(run.oldest_wait)
    say(console, f"{many(run.requests, 'request')} read, {held} held; the oldest wait is {oldest}")
    if run.missed:
        again = stack.command("audit", options=" --touch")
        done = "shown to the stream's reader again" if run.touch else f"missed by the stream: {again}"
        say(console, f"{many(run.missed, 'record')} {done}")
    if run.missed and not run.touch:
        print_total(console, tally, "")
    else:
        print_total(console, tally, "everything else fits" if run.missed else "everything fits")
