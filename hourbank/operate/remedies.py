"""What an operator reads of a trouble: what is wrong, the hours at stake, and the commands that help."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from handlers.bank import ledger, requests
from handlers.bank.case import Case
from handlers.bank.missed import PATIENCE
from hourbank.account.stack import Stack
from hourbank.operate.executions import DescribedExecution


class Remedy(NamedTuple):
    """A command, and what it is for."""

    command: str
    use: str


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that is wrong or stuck, the hours at stake, and what helps."""

    kind: str
    """Of an audit MISMATCH, MISSED, UNCONFIRMED or UNEXPLAINED; EXECUTION, WAIT or STREAM of what is stuck."""
    what: str
    request_id: str
    """Of an audit's finding about an entry or a balance, its key."""
    hours: Decimal
    since: datetime | None = None
    remedies: tuple[Remedy, ...] = ()


def state_of(case: Case) -> str:
    """Return what there is of a request, in words."""
    if case.request is None:
        return "the request is gone"
    is_others = case.escrow is not None and not case.is_owner
    return f"the request is {requests.status_of(case.request)}{', of another execution' if is_others else ''}"


def touch(stack: Stack) -> tuple[Remedy, ...]:
    """Return the remedy for what the stream's reader has missed."""
    use = f"from {PATIENCE.seconds // 60} minutes after its last change, its record is shown to the reader again"
    return (Remedy(stack.command("audit", options=" --touch"), use),)


def stop(stack: Stack, execution_arn: str) -> str:
    """Return the command that stops an execution."""
    return f"aws stepfunctions stop-execution --execution-arn {execution_arn} --region {stack.region}"


def remedies(stack: Stack, case: Case, run: DescribedExecution) -> tuple[Remedy, ...]:
    """Return what helps with what an execution has left, or keeps, unfinished."""
    found: list[Remedy] = []
    if run.status == "RUNNING":
        found.append(Remedy(stop(stack, run.arn), "its execution still runs: to settle, stop it first"))
    elif run.can_go_on:
        again = stack.command("redrive", case.request_id, ' --reason "WHY"')
        found.append(Remedy(again, "if the cause has passed: it goes on where it failed, with the code it began with"))
    back, paid = (
        stack.command("settle", case.request_id, f' {way} --reason "WHY"') for way in ("--refund", "--release")
    )
    otherwise = "otherwise: " if run.can_go_on else ""
    if (case.escrow or {}).get("status") == "HELD" and not case.held:
        found.append(Remedy("", "the escrow does not say how many hours it holds: let an administrator mend it"))
    elif case.held:
        found.append(Remedy(back, f"{otherwise}the hours go back to the requester"))
        found.append(Remedy(paid, "if the service was received: the provider is paid"))
    elif ledger.is_unfinished(case.request, case.escrow):
        found.append(Remedy(back, f"{otherwise}nothing is held, and the request becomes FAILED"))
    elif not found:
        found.append(Remedy("", "no hours are held and no command helps: look at its records and its execution"))
    return tuple(found)
