"""What an operator does with a stack: audit its books, see what is stuck, let an execution go on, settle held hours.

What is changed on somebody's word is told on standard error as a line of JSON, with who and why, to be kept.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from handlers.aws import environment
from handlers.aws.dynamodb import client, now
from handlers.bank import ledger, requests
from handlers.bank.audit import Audit, Case, load
from handlers.bank.execution import RELEASE_PREFIX, execution_name
from handlers.bank.hours import in_words
from hourbank.account.stack import Stack, error_in_words
from hourbank.errors import HourBankError
from hourbank.operate import stuck
from hourbank.operate.stuck import UNSUCCESSFUL, DescribedExecution, Remedy, Trouble
from hourbank.terminal import duration, in_hours, say, title

SETTLE_SECONDS = 15 * 60
Confirm = Callable[[str], bool]


def audit(console: Console, stack: Stack, *, touch: bool) -> bool:
    """Hold requests, escrows, log and executions against each other; print what does not fit, return if all does."""
    run = Audit(touch=touch, again=touch)
    findings = []
    with _live(lambda: f"{_many(run.requests, 'request')} read, {_many(len(findings), 'finding')}"):
        for found in run.findings():
            case = load(found.request_id)
            helps = stuck.remedies(stack, case, stuck.owner_of(stack, case))
            if found.kind == "MISSED":
                helps = (Remedy("", found.remedy), *helps)
            findings.append(Trouble(what=found.problem, request_id=found.request_id, hours=found.hours, remedies=helps))
    _print_findings(console, findings, "" if run.missed else "nothing that does not fit")
    held, oldest = in_hours(run.held), duration(run.oldest_wait)
    say(console, f"{_many(run.requests, 'request')} read, {held} held; the oldest wait is {oldest}")
    if run.missed:
        again = stack.command("audit", options=" --touch")
        done = "shown to the stream's reader again" if touch else f"missed by the stream: {again}"
        say(console, f"{_many(run.missed, 'record')} {done}")
    if run.missed and not touch:
        _print_total(console, findings, "")
        return False
    _print_total(console, findings, "everything else fits" if run.missed else "everything fits")
    return not findings


def show_stuck(console: Console, stack: Stack, limit: int) -> bool:
    """Print what is stuck, and return whether nothing is."""
    requests.start_requests_from()  # refused at once, not after half of what there is to say
    confirmation = timedelta(days=environment.confirmation_days())
    with _live(lambda: "looking at executions"):
        executions, more = stuck.of_executions(stack, limit)
    title(console, "Executions that did not succeed, and left hours or work behind")
    _print_findings(console, executions)
    if more:
        line = f"only the newest {limit} were looked at, --limit takes more; `audit` looks at every request"
        say(console, (line, "dim"))

    with _live(lambda: "reading requests"):
        seen = {finding.request_id for finding in executions}
        waits = [one for one in stuck.of_waits(stack, datetime.now(UTC), confirmation) if one.request_id not in seen]
    title(console, "Requests that wait too long")
    _print_findings(console, waits[:limit])
    if len(waits) > limit:
        say(console, (f"and {len(waits) - limit} younger ones, --limit shows more", "dim"))

    with _live(lambda: "looking at the queue"):
        records, messages, more = stuck.of_stream(stack, limit)
        seen |= {finding.request_id for finding in waits}
        records = [one for one in records if one.request_id not in seen]
    title(console, "Records that the stream's reader gave up on")
    for message in messages:
        say(console, message)
    if more:
        say(console, (f"and more messages: only {limit} were looked at, --limit takes more", "dim"))
    _print_findings(console, records, or_else="" if messages else "none")
    if messages:
        empty = f"aws sqs purge-queue --queue-url {stuck.queue_url(stack)} --region {stack.region}"
        print_remedy(console, empty, "once all of it is done: the messages stay, and alarm, until they are removed")

    console.print()
    _print_total(console, [*executions, *waits, *records], "nothing is stuck" if not messages else "")
    return not (executions or waits or messages)


def redrive(
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
    cases = stuck.load_cases({run.request_id for run in runs if isinstance(run.request_id, str)})
    for run in runs:
        held = cases[run.request_id].held if run.request_id in cases else Decimal(0)
        say(console, f"{run.arn.rpartition(':')[2]}: {run.status}, {in_hours(held)} held")
    if not confirm(f"Let {'it' if len(runs) == 1 else f'all {len(runs)}'} go on, with the code they began with?"):
        raise HourBankError("nothing was done")
    who, well = by or _caller(), True
    for run in runs:
        try:
            client("stepfunctions").redrive_execution(executionArn=run.arn)
            outcome = "REDRIVEN"
        except ClientError as error:
            outcome, well = error_in_words(error), False
        say(console, f"{run.arn}: {outcome}")
        _log(stack, "redrive", who, reason, requestId=run.request_id, executionArn=run.arn, outcome=outcome)
    return well


def _all_to_redrive(stack: Stack, limit: int) -> list[DescribedExecution]:
    runs = [run for run, _ in stuck.unfinished(stack, stuck.unsuccessful(stack, limit)[0]) if run.can_go_on]
    if not runs:
        raise HourBankError(f"nothing is unfinished that could go on: see `{stack.command('stuck')}`")
    return runs


def _to_redrive(stack: Stack, target: str) -> list[DescribedExecution]:
    """Return the executions that are meant: of a request those with work unfinished, else the newest that failed."""
    if target.startswith("arn:"):
        runs = [stuck.describe(target)]
        if not stuck.is_own(stack, target):
            raise HourBankError(f"{target} is no execution of stack {stack.env} in {stack.region}")
    else:
        runs = stuck.runs_of(stack, stuck.load_cases([target])[target])
        if not runs:
            raise HourBankError(
                f"no execution of a request {target} is known: give its whole id, as it is in the table"
            )
    failed = sorted((run for run in runs if run.status in UNSUCCESSFUL), key=_ended, reverse=True)
    if not failed:
        raise HourBankError(f"{target} has nothing to redrive: {', '.join(sorted({run.status for run in runs}))}")
    chosen = [run for run, _ in stuck.unfinished(stack, failed)] or failed[:1]
    if ready := [run for run in chosen if run.can_go_on]:
        return ready
    raise HourBankError(
        f"{target} cannot go on where it failed (too old, or it ended by a refusal): see `{stack.command('stuck')}`"
    )


def _ended(run: DescribedExecution) -> datetime:
    return run.ended or datetime.min.replace(tzinfo=UTC)


def settle(
    console: Console, stack: Stack, request_id: str, decision: str, *, by: str | None, reason: str, confirm: Confirm
) -> bool:
    """Give the hours that are held for a request to its provider or back, and return whether they went there.

    Parameters
    ----------
    decision : str
        RELEASE or REFUND.
    by, reason, confirm
        As for `redrive`.

    Raises
    ------
    HourBankError
        If there is nothing to settle, the execution still runs, or there is no yes.
    """
    case = load(request_id)
    if not ledger.is_unfinished(case.request, case.escrow):
        if case.escrow:
            raise HourBankError(f"nothing is held for {request_id}: its hours were {case.escrow.get('status')} before")
        why = stuck.state_of(case) if case.request else "give the request's whole id, as it is in the table"
        raise HourBankError(f"nothing is held for {request_id}: {why}")
    if not case.held and decision == "RELEASE":
        raise HourBankError(f"nothing is held for {request_id} that its provider could get: give --refund to end it")
    owner = stuck.owner_of(stack, case)
    if owner.status == "RUNNING":
        stop = f"aws stepfunctions stop-execution --execution-arn {owner.arn} --region {stack.region}"
        raise HourBankError(f"the execution of this request still runs; let it end, or stop it first: {stop}")

    moves = f"nothing is held for {request_id}"
    done = "nothing was held"
    if case.escrow and case.held:
        role, person = ("provider", "providerId") if decision == "RELEASE" else ("requester", "requesterId")
        to = f"the {role} {case.escrow.get(person)}"
        moves = f"{in_hours(case.held)} go from escrow:{request_id} to {to}"
        done = f"{to} has {in_hours(case.held)} more"
    say(console, moves)
    say(console, f"{stuck.state_of(case)}{_status_after(case, decision)}; its execution is {owner.status}")
    if not confirm("Settle it so?"):
        raise HourBankError("nothing was done")

    who = by or _caller()
    arn = _start(stack, request_id, {"requestId": request_id, "decision": decision, "by": who, "reason": reason})
    with _live(lambda: f"{arn.rpartition(':')[2]} runs"):
        run = _wait(arn)
    after = load(request_id)
    if case.held:
        settled = "RELEASED" if decision == "RELEASE" else "REFUNDED"
        is_settled = after.escrow is not None and after.escrow.get("status") == settled
    else:
        is_settled = requests.status_of(after.request or {}) == "FAILED"
    outcome = f"{decision} {run.status}"
    if is_settled:
        words = f"settled: {done}; {stuck.state_of(after)}"
    elif run.status == "RUNNING":
        words = f"not yet: {arn} still runs, look again with `{stack.command('stuck')}`"
    else:
        why = "there was nothing left to do" if run.status == "SUCCEEDED" else refusal_of(run) or f"{arn} {run.status}"
        words = f"not settled, {in_hours(after.held)} held: {why}; {stuck.state_of(after)}"
    say(console, words)
    _log(stack, "settle", who, reason, requestId=request_id, executionArn=arn, outcome=outcome)
    return is_settled


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
    for number in range(1, stuck.MOST_NAMES):
        name = execution_name(RELEASE_PREFIX, request_id, number)
        try:
            arn: str = states.start_execution(stateMachineArn=stack.releases_arn, name=name, input=json.dumps(order))[
                "executionArn"
            ]
        except states.exceptions.ExecutionAlreadyExists:
            continue
        return arn
    raise HourBankError(f"{stuck.MOST_NAMES} executions have tried to settle {request_id}: look at them first")


def _wait(arn: str) -> DescribedExecution:
    deadline, pause = time.monotonic() + SETTLE_SECONDS, 0.2
    while (run := stuck.describe(arn)).status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, 5)
    return run


def refusal_of(run: DescribedExecution) -> str | None:
    """Return why the release workflow refused, in its own words: nothing in its history is secret."""
    if run.error != "ReleaseRefused":
        return None
    history = client("stepfunctions").get_execution_history(executionArn=run.arn, reverseOrder=True, maxResults=10)
    for event in history["events"]:
        given = json.loads(event.get("stateEnteredEventDetails", {}).get("input", "{}"))
        for result in given.get("states", {}).values():
            if isinstance(result, dict) and result.get("Error") == "ReleaseRefused":
                return str(json.loads(result["Cause"])["errorMessage"])
    return None


def asker(*, yes: bool) -> Confirm:
    """Return what asks for a yes; where it was given before, nobody is asked.

    Raises
    ------
    HourBankError
        When it asks and there is nobody at a terminal.
    """

    def confirm(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise HourBankError("nobody is there to say yes: add --yes")
        print(f"{question} [y/N] ", end="", flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return confirm


def _caller() -> str:
    arn: str = client("sts").get_caller_identity()["Arn"]
    return arn


def _log(stack: Stack, command: str, by: str, reason: str, **more: Any) -> None:
    line = {"timestamp": now(), "message": command, "stack": stack.env, "region": stack.region}
    print(json.dumps(line | {"by": by, "reason": reason} | more, ensure_ascii=False), file=sys.stderr, flush=True)


def _live(text: Callable[[], str]) -> Live:
    """A line that says what goes on, while it goes on; on standard error, and at a terminal only."""
    spinner = Spinner("dots")

    def render() -> Spinner:
        spinner.update(text=text())
        return spinner

    return Live(get_renderable=render, console=Console(stderr=True), transient=True, refresh_per_second=8)


def _print_findings(console: Console, findings: Sequence[Trouble], or_else: str = "none") -> None:
    """Print a line on each finding and one on each remedy."""
    if not findings:
        if or_else:
            say(console, (or_else, "dim"))
        return
    say(console, (f"{'hours':>8}  request", "dim"))
    for finding in findings:
        since = f", since {finding.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if finding.since else ""
        about = f"  {finding.request_id}  {finding.what}"
        say(console, (f"{in_words(finding.hours):>8}", "bold"), about, (since, "dim"))
        for remedy in finding.remedies:
            print_remedy(console, *remedy)


def print_remedy(console: Console, command: str, use: str) -> None:
    say(console, " " * 10, (f"{command}  " if command else "", "cyan"), (f"# {use}", "dim"))


def _print_total(console: Console, findings: Iterable[Trouble], none: str) -> None:
    """Print how many requests are concerned and the hours at stake, those of each request once."""
    by_request = {finding.request_id: finding.hours for finding in findings}
    if by_request:
        total = sum(by_request.values(), Decimal(0))
        say(console, (f"{_many(len(by_request), 'request')}, {in_hours(total)} at stake", "bold red"))
    elif none:
        say(console, (none, "bold green"))


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
