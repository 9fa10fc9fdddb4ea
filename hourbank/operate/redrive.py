"""`hourbank redrive`: executions that failed for a reason that has passed go on where they failed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from botocore.exceptions import ClientError
from rich.console import Console

from handlers.aws.dynamodb import client
from hourbank.account.stack import Stack, error_in_words
from hourbank.errors import HourBankError
from hourbank.operate.executions import (
    UNSUCCESSFUL,
    DescribedExecution,
    describe,
    is_own,
    load_cases,
    runs_of,
    unfinished,
    unsuccessful,
)
from hourbank.operate.orders import Confirm, caller, log
from hourbank.terminal import in_hours, say


def redrive_executions(
    console: Console, stack: Stack, target: str | None, *, by: str | None, reason: str, confirm: Confirm, limit: int
) -> bool:
    """Let executions that did not succeed go on where they failed; return whether all of them do.

    Parameters
    ----------
    target : str, optional
        A request's id or an execution's ARN; without one, everything unfinished that can go on.
    by, reason : str
        Who, by default the caller as AWS knows it, and why.
    confirm : callable
        Asks for a yes.

    Raises
    ------
    HourBankError
        If there is nothing that can go on, or no yes.
    """
    if stack.is_local:
        raise HourBankError("the emulator cannot redrive an execution: use `hourbank settle`, or a stack on AWS")
    runs = _all_to_redrive(stack, limit) if target is None else _to_redrive(stack, target)
    cases = load_cases({run.request_id for run in runs if isinstance(run.request_id, str)})
    for run in runs:
        held = cases[run.request_id].held if run.request_id in cases else Decimal(0)
        say(console, f"{run.arn.rpartition(':')[2]}: {run.status}, {in_hours(held)} held")
    if not confirm(f"Let {'it' if len(runs) == 1 else f'all {len(runs)}'} go on, with the code they began with?"):
        raise HourBankError("nothing was done")
    who, well = by or caller(), True
    for run in runs:
        try:
            client("stepfunctions").redrive_execution(executionArn=run.arn)
            outcome = "REDRIVEN"
        except ClientError as error:
            outcome, well = error_in_words(error), False
        say(console, f"{run.arn}: {outcome}")
        log(stack, "redrive", who, reason, requestId=run.request_id, executionArn=run.arn, outcome=outcome)
    return well


def _all_to_redrive(stack: Stack, limit: int) -> list[DescribedExecution]:
    newest, more = unsuccessful(stack, limit)
    runs = [run for run, _ in unfinished(stack, newest) if run.can_go_on]
    if not runs:
        among = f"among the newest {limit}, --limit takes more" if more else f"see `{stack.command('stuck')}`"
        raise HourBankError(f"nothing is unfinished that could go on: {among}")
    return runs


def _to_redrive(stack: Stack, target: str) -> list[DescribedExecution]:
    """Return the executions that are meant: of a request those with work unfinished, else the newest that failed."""
    if target.startswith("arn:"):
        runs = [describe(target)]
        if not is_own(stack, target):
            raise HourBankError(f"{target} is no execution of stack {stack.env} in {stack.region}")
    else:
        runs = runs_of(stack, load_cases([target])[target])
        if not runs:
            raise HourBankError(
                f"no execution of a request {target} is known: give its whole id, as it is in the table"
            )
    failed = sorted((run for run in runs if run.status in UNSUCCESSFUL), key=_ended, reverse=True)
    if not failed:
        raise HourBankError(f"{target} has nothing to redrive: {', '.join(sorted({run.status for run in runs}))}")
    chosen = [run for run, _ in unfinished(stack, failed)] or failed[:1]
    if ready := [run for run in chosen if run.can_go_on]:
        return ready
    raise HourBankError(
        f"{target} cannot go on where it failed (too old, or it ended by a refusal): see `{stack.command('stuck')}`"
    )


def _ended(run: DescribedExecution) -> datetime:
    return run.ended or datetime.min.replace(tzinfo=UTC)
