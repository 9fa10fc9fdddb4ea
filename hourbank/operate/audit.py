"""`hourbank audit`: the auditor's look at a stack, now."""

from __future__ import annotations

from rich.console import Console

from handlers.bank.audit import Audit, load
from hourbank.account.stack import Stack
from hourbank.operate.executions import owner_of
from hourbank.operate.remedies import Remedy, Trouble, remedies
from hourbank.operate.report import in_rows, live, many, print_findings, print_total
from hourbank.terminal import duration, in_hours, print_json, say


def show_audit(
    console: Console,
    stack: Stack,
    *,
    touch: bool,
    only_open: bool = False,
    limit: int = 1000,
    as_json: bool = False,
) -> bool:
    """Hold requests, escrows, log and executions against each other; print what does not fit, return if all does.

    Parameters
    ----------
    only_open : bool
        Look at what can still change alone, by the tables' indexes.
    limit : int
        How many findings to print, and to look up what helps for.
    """
    run = Audit(touch=touch, again=touch, machine=stack.requests_arn)
    findings, more = [], 0
    with live(lambda: f"{many(run.requests, 'request')} read, {many(len(findings) + more, 'finding')}"):
        for found in run.open_findings() if only_open else run.findings():
            if len(findings) == limit:
                more += 1
                continue
            case = load(found.request_id)
            helps = remedies(stack, case, owner_of(stack, case))
            if found.kind == "MISSED":
                helps = (Remedy("", found.remedy), *helps)
            findings.append(
                Trouble(
                    kind=found.kind,
                    what=found.problem,
                    request_id=found.request_id,
                    hours=found.hours,
                    remedies=helps,
                )
            )
    fits = not findings and (touch or not run.missed)
    if as_json:
        looked_at = {
            "requests": run.requests,
            "held": run.held,
            "oldestWaitSeconds": int(run.oldest_wait.total_seconds()),
        }
        missed = {"missed": run.missed, "touched": touch}
        print_json(
            console,
            stack=stack.env,
            region=stack.region,
            ok=fits,
            rows=in_rows(findings),
            **looked_at,
            **missed,
            more=bool(more),
        )
        return fits
    print_findings(console, findings, "" if run.missed else "nothing that does not fit")
    if more:
        say(console, (f"and {more} more, --limit shows more", "dim"))
    held, oldest = in_hours(run.held), duration(run.oldest_wait)
    say(console, f"{many(run.requests, 'request')} read, {held} held; the oldest wait is {oldest}")
    if run.missed:
        again = stack.command("audit", options=" --touch")
        done = "shown to the stream's reader again" if touch else f"missed by the stream: {again}"
        say(console, f"{many(run.missed, 'record')} {done}")
    if run.missed and not touch:
        print_total(console, findings, "")
    else:
        print_total(console, findings, "everything else fits" if run.missed else "everything fits")
    return fits
