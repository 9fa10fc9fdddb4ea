"""`hourbank show`: a request's whole story, of what `hourbank up` left running or of a stack on AWS.

How it is found and judged is in `story`; here it is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.text import Text

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item
from handlers.bank import requests
from handlers.bank.faults import kind_of
from handlers.bank.hours import in_words
from handlers.bank.requests import OWNER
from hourbank.account.stack import Stack, is_refusal
from hourbank.drawing.flow import flow_of
from hourbank.drawing.lanes import Passage, lanes
from hourbank.drawing.layout import rows
from hourbank.drawing.pictures import DEFINITIONS
from hourbank.operate.executions import DescribedExecution, Step, is_own, workflow_of
from hourbank.operate.remedies import Remedy
from hourbank.operate.report import print_remedy
from hourbank.operate.story import RequestStory, failure, story_of, wait_of, what_is_wrong, what_waits
from hourbank.operate.stuck import own_time_to_answer
from hourbank.operate.waits import asks_people, own_wait, present
from hourbank.terminal import at, duration, print_json, say, short_duration, title

SECRET = frozenset({"taskToken", "taskTokenAttempt"})
STATUSES = {
    "PENDING": "nobody has begun with it",
    "VALIDATING": "its execution checks the record",
    "ESCROWED": "the hours are held, and the provider is asked next",
    "AWAITING_PROVIDER": "the provider was asked",
    "NEGOTIATING": "the requester was shown the provider's offer",
    "IN_PROGRESS": "the provider accepted, and the hours are held until the service is received or given up",
    "COMPLETED": "the service was received, and the provider has the hours",
    "REJECTED": "it could not be served, and no hours are held",
    "DECLINED": "it was declined, and the requester has the hours back",
    "CANCELLED": "it was called off, and the requester has the hours back",
    "TIMED_OUT": "nobody answered in time, and the requester has the hours back",
    "FAILED": "a step failed, and no hours are held",
}
# the record's attributes that are told in words
TOLD = frozenset(
    {
        *("id", "status", "requesterId", "providerId", "serviceId", "estimatedHours", "offeredHours", "failureReason"),
        *("counterOfferHours", "providerResponse", "requesterResponse", "providerResponseTimeoutSeconds", "__typename"),
        *("failureCode", "createdAt", "updatedAt", OWNER),
    }
)


def show_request(console: Console, stack: Stack, request_id: str, *, as_json: bool = False) -> None:
    """Print a request's story: record, hours, executions, and what can be done next.

    Raises
    ------
    HourBankError
        If nothing is known of such a request.
    IllegalSetting
        If the stack was told no time from which requests are its own: then nobody can say what waits.
    """
    story = story_of(stack, request_id)
    case, runs = story.case, story.runs
    if as_json:
        print_json(console, stack=stack.env, region=stack.region, ok=True, rows=[_in_json(stack, story)])
        return
    _print_record(console, story)
    _print_hours(console, story)
    for run in runs:
        _print_run(console, stack, story, run)
    foreign = (case.request or {}).get(OWNER)
    if foreign and not is_own(stack, str(foreign)):
        say(console, f"The record names an execution that is none of stack {stack.env}: {foreign}")
    if runs and not story.paths:
        say(console, ("AWS does not allow GetExecutionHistory: the path through the states is left out", "dim"))
    title(console, "Now")
    _print_lines(console, (*what_waits(stack, story), *what_is_wrong(stack, story)))


def _print_lines(console: Console, lines: Iterable[str | Remedy]) -> None:
    for line in lines:
        if isinstance(line, Remedy):
            print_remedy(console, *line)
        else:
            say(console, f"  {line}")


def _in_json(stack: Stack, story: RequestStory) -> dict[str, Any]:
    """The story as plain values, without what is secret in the record."""
    case, request = story.case, story.case.request
    now = (*what_waits(stack, story), *what_is_wrong(stack, story))
    return {
        "requestId": case.request_id,
        "request": request and {name: value for name, value in request.items() if name not in SECRET},
        "available": {
            name: (_balance_row((request or {}).get(name)) or {}).get("availableBalance")
            for name in ("requesterId", "providerId")
        },
        "escrow": case.escrow,
        "log": case.entries,
        "executions": [
            {
                "executionArn": run.arn,
                "status": run.status,
                "error": run.error,
                "started": run.started,
                "ended": run.ended,
                "order": run.order,
                "states": [
                    {"name": step.state, "entered": step.entered, "left": step.left}
                    for step in story.paths.get(run.arn, ())
                ],
                **_split(failure(stack, story, run)),
            }
            for run in story.runs
        ],
        **_split(now),
    }


def _split(lines: Iterable[str | Remedy]) -> dict[str, Any]:
    """What is said, and the commands that help."""
    lines = list(lines)
    return {
        "says": [line for line in lines if not isinstance(line, Remedy)],
        "remedies": [line._asdict() for line in lines if isinstance(line, Remedy)],
    }


def _print_record(console: Console, story: RequestStory) -> None:
    case, request = story.case, story.case.request
    if request is None:
        say(console, ("The request is gone", "bold"), f"  {case.request_id}")
        return
    status = requests.status_of(request)
    reason = request.get("failureReason")
    words = STATUSES.get(status, "not a status of the workflows'")
    say(console, (status, "bold"), f"  {words}{f': {reason}' if reason else ''}")
    _field(console, "id", case.request_id)
    _field(console, "service", request.get("serviceId"))
    for who, field in (("requester", "requesterId"), ("provider", "providerId")):
        _field(console, who, request.get(field), _balance(request.get(field)))
    _field(console, "hours", request.get("estimatedHours"))
    for who, answer in _answers(request):
        _field(console, who, answer)
    if own := own_time_to_answer(request):
        _field(console, "time to answer", duration(own), "the request's own")
    _field(console, "created", at(requests.moment(request, "createdAt")))
    _field(console, "last change", at(requests.moment(request, "updatedAt")))
    for name in sorted(set(request) - TOLD - SECRET):
        _field(console, name, request[name])


def _answers(request: Item) -> Iterator[tuple[str, Any]]:
    """Who said what, and what the workflow made of it."""
    if response := request.get("providerResponse"):
        offer = request.get("counterOfferHours")
        yield "provider said", f"{response}{f' of {_hours(offer)}' if response == 'COUNTER_OFFER' else ''}"
    if (offered := request.get("offeredHours")) is not None:
        yield "offer", f"{_hours(offered)}, which the requester was shown"
    if response := request.get("requesterResponse"):
        yield "requester said", response


def _print_hours(console: Console, story: RequestStory) -> None:
    case = story.case
    title(console, "Hours")
    if case.escrow is None:
        say(console, "  none were held")
        return
    _field(console, "escrow", f"{case.escrow.get('status')}, {_hours(case.escrow.get('hours'))}")
    for entry in sorted(case.entries, key=lambda entry: str(entry.get("createdAt"))):
        accounts = f"{entry.get('fromAccount')} → {entry.get('toAccount')}"
        accounts = accounts.replace(f"escrow:{case.request_id}", "escrow")
        _field(
            console,
            at(requests.moment(entry, "createdAt")),
            f"{kind_of(case, entry)}: {_hours(entry.get('hours'))}, {accounts}",
        )


def _print_run(console: Console, stack: Stack, story: RequestStory, run: DescribedExecution) -> None:
    machine, name = workflow_of(stack, run.arn), run.arn.rpartition(":")[2]
    console.print()
    ended = f", {at(run.started)} to {at(run.ended)}" if run.ended else f" since {at(run.started)}"
    say(console, (machine, "bold"), f"  {name}  ", (run.status, "bold"), ended)
    if run.order:
        say(console, f"  an operator's word: {run.order}")
    _print_way(console, stack, story, run, DEFINITIONS[machine])
    _print_lines(console, failure(stack, story, run))


def _print_way(
    console: Console, stack: Stack, story: RequestStory, run: DescribedExecution, definition: Mapping[str, Any]
) -> None:
    """Print the states, those that were passed with when and for how long."""
    steps = story.paths.get(run.arn)
    if not steps:
        return
    waits = ""
    if story.case.request and run.status == "RUNNING":
        if wait := own_wait(stack, run.arn, steps):
            waits = f"until {at(wait.until)}" if wait.until else ""
        elif present(steps) and asks_people(stack, run.arn, steps):
            waits = f"until {at(wait_of(story, story.case.request)[1])}"
    drawn = lanes(definition, [Passage([step.state for step in steps], run.status)], waits=waits).split("\n")
    order = rows(flow_of(definition))
    # a state of an older definition is in no picture
    older = [step.state for step in steps if step.state not in order]
    for state, line in zip([*order, *older], [*drawn, *(Text(f"✓ {state}") for state in older)], strict=True):
        passed = [step for step in steps if step.state == state]
        when = f"{at(passed[0].entered)}  {_took(passed[-1], run):>8}" if passed else ""
        console.print(Text.assemble((f"  {when:<35}", "dim"), line), soft_wrap=True)


def _took(step: Step, run: DescribedExecution) -> str:
    if step.left is None:
        return "…" if run.status == "RUNNING" else ""
    return short_duration(step.left - step.entered)


def _balance(person: Any) -> str:
    """What a person can spend in words, where it is known and AWS allows to see it."""
    if (row := _balance_row(person)) is None:
        return ""
    balance = row.get("availableBalance")
    return f"has {_hours(balance)}" if balance is not None else "has no balance"


def _balance_row(person: Any) -> Item | None:
    """A person's row in UserBalance, empty if there is none; None where that is not known."""
    if not dynamodb.is_key(person):
        return None
    try:
        return dynamodb.read("UserBalance", person) or {}
    except ClientError as error:
        if is_refusal(error):
            return None
        raise


def _hours(value: Any) -> str:
    """Hours as a client may have written them."""
    return f"{in_words(value)} h" if isinstance(value, Decimal) else str(value)


def _field(console: Console, name: str, value: object, more: str = "") -> None:
    if value is not None:
        words = in_words(value) if isinstance(value, Decimal) else str(value)
        say(console, (f"  {name:<25}", "dim"), words, (f"  {more}" if more else "", "dim"))
