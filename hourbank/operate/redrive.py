"""`hourbank redrive`: executions that failed for a reason that has passed go on where they failed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from botocore.exceptions import ClientError
from rich.console import Console

from handlers.aws import dynamodb
from handlers.aws.dynamodb import client
from handlers.bank.case import UNSUCCESSFUL, Case
from handlers.bank.requests import is_short
from hourbank.account.stack import Stack, error_in_words
from hourbank.errors import HourBankError
from hourbank.operate.executions import (
    DescribedExecution,
    as_described,
    describe,
    is_own,
    is_release,
    is_unfinished,
    left_by,
    load_cases,
    open_cases,
    runs_of,
    unsuccessful,
)
from hourbank.operate.orders import Confirm, caller, log
from hourbank.operate.remedies import state_of
from hourbank.operate.report import (
    SCREEN,
    Foremost,
    TroubleTally,
    aside,
    live,
    print_groups,
    print_total,
    read_so_far,
    so_far,
)
from hourbank.terminal import in_hours, say

# What is to be said of one execution; anything else concerns all of them.
REFUSALS = ("ExecutionNotRedrivable", "ExecutionDoesNotExist", "InvalidArn", "ValidationException")
Left = tuple[DescribedExecution, Case]


def redrive_executions(
    console: Console, stack: Stack, target: str | None, *, by: str | None, reason: str, confirm: Confirm, limit: int
) -> bool:
    """Let executions that did not succeed go on where they failed; return whether all of them do.

    Parameters
    ----------
    target : str, optional
        A request's id or an execution's ARN; without one, everything unfinished that can go on.
    limit : int
        How many at most, where everything is meant.
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
    left = _all_to_redrive(stack, limit) if target is None else _to_redrive(stack, target)
    _tell(console, left)
    if not confirm(f"Let {'it' if len(left) == 1 else f'all {len(left)}'} go on, with the code they began with?"):
        raise HourBankError("nothing was done")
    return _let_go_on(console, stack, left, by or caller(), reason)


def _tell(console: Console, left: list[Left]) -> None:
    """Print what is to go on: a screen of it, and how much there is of what."""
    tally = TroubleTally()
    for number, (run, case) in enumerate(left):
        tally.add("EXECUTION", f"{run.status}; {state_of(case)}", case.request_id, case.held)
        if number < SCREEN:
            say(console, f"{run.arn.rpartition(':')[2]}: {run.status}, {in_hours(case.held)} held")
    if len(left) > SCREEN:
        say(console, (f"and {len(left) - SCREEN} more", "dim"))
        print_groups(console, tally)
        print_total(console, tally, "")


def _let_go_on(console: Console, stack: Stack, left: list[Left], who: str, reason: str) -> bool:
    """Ask for one after the other; return whether all go on. What goes on is no longer among what did not succeed."""
    done, well = 0, 0

    def words() -> str:
        return f"{done} of {len(left)} asked, {well} go on"

    with so_far(lambda: f"{words()}; give it again for the others"), live(words) as line:
        for run, case in left:
            outcome = _redrive(run)
            done, well = done + 1, well + (outcome == "REDRIVEN")
            with aside(line):
                if len(left) <= SCREEN or outcome != "REDRIVEN":
                    say(console, f"{run.arn}: {outcome}")
                log(stack, "redrive", who, reason, requestId=case.request_id, executionArn=run.arn, outcome=outcome)
    if len(left) > SCREEN:
        say(console, f"{words()}, {done - well} refused")
    return well == done


def _redrive(run: DescribedExecution) -> str:
    """Let an execution go on, and return REDRIVEN, or why it does not."""
    try:
        client("stepfunctions").redrive_execution(executionArn=run.arn)
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return error_in_words(error)
    return "REDRIVEN"


def _all_to_redrive(stack: Stack, limit: int) -> list[Left]:
    """Return what can go on, that ended last first; of what ended as early or earlier a next call takes the rest."""
    read: Counter[str] = Counter()
    newest: Foremost[Left] = Foremost(limit)
    with so_far(lambda: f"{read_so_far(read)}; nothing was done: give it again"), live(lambda: read_so_far(read)):
        runs = unsuccessful(stack, datetime.now(UTC), lambda number: read.update(executions=number))
        for case in open_cases(lambda number: read.update(requests=number)):
            run = left_by(stack, runs, case)
            if run and (run := as_described(stack, run)).can_go_on:
                newest.add(run.ended.timestamp() if run.ended else 0, (run, case))
    if left := list(newest):
        return left
    raise HourBankError(f"nothing is unfinished that could go on: see `{stack.command('stuck')}`")


def _to_redrive(stack: Stack, target: str) -> list[Left]:
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
    about = {run.arn: _case_of(run) for run in failed}
    chosen = [run for run in failed if is_unfinished(stack, about[run.arn], run)] or failed[:1]
    # of each workflow the newest
    chosen = list({is_release(stack, run): run for run in reversed(chosen)}.values())
    if ready := [(run, about[run.arn]) for run in chosen if run.can_go_on]:
        return ready
    raise HourBankError(
        f"{target} cannot go on where it failed (too old, or it ended by a refusal): see `{stack.command('stuck')}`"
    )


def _case_of(run: DescribedExecution) -> Case:
    """What there is of the request that an execution was started for, whoever started it with whatever input."""
    if dynamodb.is_key(run.request_id) and is_short(run.request_id):
        return load_cases([run.request_id])[run.request_id]
    return Case(str(run.request_id), None, None, [])


def _ended(run: DescribedExecution) -> datetime:
    return run.ended or datetime.min.replace(tzinfo=UTC)
