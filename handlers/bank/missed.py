"""What the stream's reader has missed, and how it is shown again.

A record that is touched is in the stream once more. Since when it has been shown again, and for what, stays in the
record: nobody but the auditor moves that clock, and it begins anew for an answer that is a new one.
"""

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Change, Item, Plan
from handlers.bank import requests
from handlers.bank.case import age

# How long the stream has for a record before it is touched; how long it has after that before it is a finding.
PATIENCE = timedelta(minutes=15)
PATIENCE_AFTER_TOUCH = timedelta(hours=1)
# What is still missed is touched again each day, for when the stream is read again; after a week by operators alone.
TOUCH_AGAIN = timedelta(days=1)
TOUCHES_END = timedelta(days=7)


def is_missed(request: Item) -> bool:
    """Whether the router has something to do here."""
    return requests.asks_for(request).kind in ("START", "DELIVER", "FINISH")


def is_left_alone(request: Item, now: datetime) -> bool:
    """Whether the stream has had its time for a record's last change; one that does not say when has had it."""
    last = requests.moment(request, "updatedAt") or requests.moment(request, "createdAt")
    return last is None or not now - PATIENCE < last < now + PATIENCE


def missed_in_words(request: Item) -> str:
    """What the stream's reader has not done about a record that it has missed."""
    match requests.asks_for(request):
        case ("START", _):
            return "PENDING, and not started"
        case ("DELIVER", answer):
            return f"{requests.status_of(request)}, and the answer {answer} was not delivered"
    received = requests.decision(request) == "RELEASE"
    return f"IN_PROGRESS, and though the service was {'received' if received else 'given up'} the hours are still held"


def matter(request: Item) -> str:
    """What the router has to do for a record that it has missed: an answer to deliver, or how to end, or to start."""
    kind, about = requests.asks_for(request)
    return requests.decision(request) if kind == "FINISH" else about or kind


def shown_since(request: Item) -> datetime | None:
    """Since when the stream has been shown a record again for what is missed now; None: it has not yet.

    What an older version of the function has touched does not say for what: it counts for anything.
    """
    words = request.get(requests.TOUCHED_FOR)
    is_shown = words is None or (isinstance(words, str) and matter(request) in words.split())
    return requests.moment(request, requests.TOUCHED) if is_shown else None


def is_kept_from_rest(request: Item, now: datetime) -> bool:
    """Whether people have written what is missed again and again for a day, so that it is never left alone."""
    first = shown_since(request)
    return first is not None and now - first >= TOUCH_AGAIN


def is_to_be_marked(request: Item, now: datetime) -> bool:
    """Whether to note of a record that is not left alone that it is missed: its status is not a new one either."""
    entered = requests.STARTED if requests.status_of(request) == "IN_PROGRESS" else requests.ASKED
    since = requests.moment(request, "createdAt" if requests.asks_for(request).kind == "START" else entered)
    return shown_since(request) is None and (since is None or now - since >= PATIENCE)


def is_touch_due(request: Item, now: datetime, *, again: bool) -> bool:
    """Whether to show a record to the stream that it has missed: at once, then each day for a week, then never."""
    first = shown_since(request)
    if first is None or again:
        return True
    return age(now, request) >= TOUCH_AGAIN and now - first < TOUCHES_END


def touch(request_id: str, status: str, *, is_news: bool = True) -> bool:
    """Makes the stream show a record again, while its status is what it was and is missed; whether it was written.

    When it was done first for this answer stays in the record until its status moves, or until nothing is missed any
    more; the same answer written again moves it no more than another touch does. Without ``is_news`` only that is
    written, and the time of the last change stays what it is.
    """

    def plan(request: Item, change: Change) -> Plan:
        if not is_missed(request):
            return Plan(None)
        if shown_since(request) is None:
            before = request.get(requests.TOUCHED_FOR)
            words = before.split() if isinstance(before, str) else []
            change.set(**{requests.TOUCHED: dynamodb.now(), requests.TOUCHED_FOR: " ".join([*words, matter(request)])})
        elif not is_news:
            return Plan(None)
        return Plan(None, (change.write(is_news=is_news),))

    return _while_in(request_id, status, plan)


def forget(request_id: str, status: str) -> None:
    """Takes away since when a record has been shown again, once nothing about it is missed: an answer taken back."""

    def plan(request: Item, change: Change) -> Plan:
        if is_missed(request) or not is_marked(request):
            return Plan(None)
        change.unchanged(request, *requests.ANSWERS).remove(*requests.MARKS)
        return Plan(None, (change.write(is_news=False),))

    with contextlib.suppress(dynamodb.Contended):
        _while_in(request_id, status, plan)


def is_marked(request: Item) -> bool:
    """Whether a record says that it was shown to the stream again."""
    return any(name in request for name in requests.MARKS)


def correct_index(request_id: str, status: str) -> None:
    """Puts a record into the index of what can still change, or out of it, while its status is this.

    One from before there was the index, or whose creator wrote something else into it.
    """

    def plan(request: Item, change: Change) -> Plan:
        is_open = requests.is_open(request)
        change = change.set(**{requests.OPEN: requests.IS_OPEN}) if is_open else change.remove(requests.OPEN)
        # A record that is full stays out: it is looked at in its turn.
        return Plan(None, (change.write(is_news=False),), otherwise=Plan(None))

    # one that keeps changing is left to the next run
    with contextlib.suppress(dynamodb.Contended):
        _while_in(request_id, status, plan)


def _while_in(request_id: str, status: str, plan: Callable[[Item, Change], Plan]) -> bool:
    """Carries out what is planned for a record, while it is there and its status is this; whether it was written."""

    def planned() -> Plan:
        request = requests.load(request_id)
        if request is None or requests.status_of(request) != status:
            return Plan(None)
        return plan(request, Change("ServiceRequest", request_id).exists().unchanged(request, "status"))

    return dynamodb.commit(planned)[1]
