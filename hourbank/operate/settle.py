"""`hourbank settle`: hours that an execution left held go to the provider or back; a request without any is ended."""

from __future__ import annotations

import json
import time

from rich.console import Console

from handlers.aws.dynamodb import client
from handlers.bank import ledger, requests
from handlers.bank.case import Case, load
from handlers.bank.execution import RELEASE_PREFIX, execution_name
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError
from hourbank.operate.executions import MOST_NAMES, DescribedExecution, describe, is_own, owner_of, refusal_of
from hourbank.operate.orders import Confirm, caller, log
from hourbank.operate.remedies import state_of, stop
from hourbank.operate.report import live, so_far
from hourbank.terminal import in_hours, say

SETTLE_SECONDS = 15 * 60


def settle_hours(
    console: Console, stack: Stack, request_id: str, decision: str, *, by: str | None, reason: str, confirm: Confirm
) -> bool:
    """Give the hours that are held for a request to its provider or back, and return whether they went there.

    Parameters
    ----------
    decision : str
        RELEASE or REFUND.
    by, reason, confirm
        As for `redrive_executions`.

    Raises
    ------
    HourBankError
        If there is nothing to settle, the execution still runs, or there is no yes.
    """
    case = load(request_id)
    if not ledger.is_unfinished(case.request, case.escrow):
        if case.escrow:
            raise HourBankError(f"nothing is held for {request_id}: its hours were {case.escrow.get('status')} before")
        why = state_of(case) if case.request else "give the request's whole id, as it is in the table"
        raise HourBankError(f"nothing is held for {request_id}: {why}")
    if not case.held and decision == "RELEASE":
        raise HourBankError(f"nothing is held for {request_id} that its provider could get: give --refund to end it")
    owner = owner_of(stack, case)
    if owner.status == "RUNNING":
        how = stop(stack, owner.arn)
        raise HourBankError(f"the execution of this request still runs; let it end, or stop it first: {how}")

    moves = f"nothing is held for {request_id}"
    done = "nothing was held"
    if case.escrow and case.held:
        role, person = ("provider", "providerId") if decision == "RELEASE" else ("requester", "requesterId")
        to = f"the {role} {case.escrow.get(person)}"
        moves = f"{in_hours(case.held)} go from escrow:{request_id} to {to}"
        done = f"{to} has {in_hours(case.held)} more"
    say(console, moves)
    say(console, f"{state_of(case)}{_status_after(case, decision)}; its execution is {_state_of_owner(stack, owner)}")
    if not confirm("Settle it so?"):
        raise HourBankError("nothing was done")

    who = by or caller()
    arn = _start(stack, request_id, {"requestId": request_id, "decision": decision, "by": who, "reason": reason})
    look = stack.command("show", request_id)
    with so_far(lambda: f"{arn.rpartition(':')[2]} was started: see how it ends with `{look}`"):
        with live(lambda: f"{arn.rpartition(':')[2]} runs"):
            run = _wait(arn)
        after = load(request_id)
    if case.held:
        settled = "RELEASED" if decision == "RELEASE" else "REFUNDED"
        is_settled = after.escrow is not None and after.escrow.get("status") == settled
    else:
        is_settled = requests.status_of(after.request or {}) == "FAILED"
    outcome = f"{decision} {run.status}"
    if is_settled:
        words = f"settled: {done}; {state_of(after)}"
    elif run.status == "RUNNING":
        words = f"not yet: {arn} still runs, look again with `{stack.command('stuck')}`"
    else:
        why = "there was nothing left to do" if run.status == "SUCCEEDED" else refusal_of(run) or f"{arn} {run.status}"
        words = f"not settled, {in_hours(after.held)} held: {why}; {state_of(after)}"
    say(console, words)
    log(stack, "settle", who, reason, requestId=request_id, executionArn=arn, outcome=outcome)
    return is_settled


def _state_of_owner(stack: Stack, owner: DescribedExecution) -> str:
    if not owner.arn or is_own(stack, owner.arn):
        return owner.status
    return f"{owner.status}: {owner.arn} is none of this stack, see that it does not run elsewhere"


def _status_after(case: Case, decision: str) -> str:
    if case.request is None or (case.held and not case.is_owner):
        return ""
    current = requests.status_of(case.request)
    undone = "CANCELLED" if current == "IN_PROGRESS" else "FAILED"
    status = "COMPLETED" if decision == "RELEASE" else undone
    return f" and becomes {status}" if status in requests.TRANSITIONS.get(current, ()) else " and stays so"


def _start(stack: Stack, request_id: str, order: dict[str, str]) -> str:
    """Start the release workflow under the first name that is free, and return the execution's ARN."""
    states = client("stepfunctions")
    for number in range(1, MOST_NAMES):
        name = execution_name(RELEASE_PREFIX, request_id, number)
        try:
            arn: str = states.start_execution(stateMachineArn=stack.releases_arn, name=name, input=json.dumps(order))[
                "executionArn"
            ]
        except states.exceptions.ExecutionAlreadyExists:
            continue
        return arn
    raise HourBankError(f"{MOST_NAMES} executions have tried to settle {request_id}: look at them first")


def _wait(arn: str) -> DescribedExecution:
    deadline, pause = time.monotonic() + SETTLE_SECONDS, 0.2
    while (run := describe(arn)).status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, 5)
    return run
