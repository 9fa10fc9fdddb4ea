"""`hourbank events`: what a stack's bus tells people, as it tells it.

A bus keeps nothing. The command therefore listens while it runs, and leaves nothing behind, however it ends.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from handlers.aws.dynamodb import client
from handlers.bank import requests
from hourbank.account.bus import SOURCE, Listener
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError
from hourbank.terminal import at, say

# EventBridge delivers again within 24 hours what it was not sure of, and mostly at once.
REMEMBERED = 10_000


def show_events(console: Console, stack: Stack, *, follow: bool, as_json: bool = False) -> None:
    """Print the next event of the stack's bus; or each, until the process is interrupted.

    The bus delivers at least once: an eventId that was seen is dropped.
    """
    seen: dict[str, None] = {}
    with subscribed(stack) as listener:
        say(Console(stderr=True), f"listening to {listener.bus}, until {'Ctrl-C' if follow else 'the next event'}")
        for event in received(listener):
            row = _row(event)
            if (known := str(row["eventId"] or event.get("id"))) in seen:
                continue
            seen[known] = None
            if len(seen) > REMEMBERED:
                del seen[next(iter(seen))]
            if as_json:
                console.file.write(json.dumps(row) + "\n")
            else:
                about = f"  {row['requestId']}  {row['status']}, tells {row['userId']}"
                say(console, (at(requests.moment(row, "time")), "dim"), (f"  {row['event']:<14}", "bold"), about)
            console.file.flush()
            if not follow:
                return


@contextlib.contextmanager
def subscribed(stack: Stack) -> Iterator[Listener]:
    """Listen to the stack's bus, and to nothing at the end.

    Raises
    ------
    HourBankError
        Something that was made for it could not be removed: the line says what.
    """
    listener = Listener(client, stack.env, stack.requests_arn, {"source": [SOURCE]})
    try:
        listener.subscribe()
        yield listener
    finally:
        if left := listener.remove():
            raise HourBankError("; ".join(left))


def received(listener: Listener) -> Iterator[dict[str, Any]]:
    """Yield the events as they come, without an end."""
    while True:
        yield from listener.look()


def _row(event: dict[str, Any]) -> dict[str, Any]:
    """An event as EventBridge brings it, on one level; whoever may put events on the bus may leave out what it has."""
    detail = event.get("detail")
    told = detail if isinstance(detail, dict) else {}
    return {"time": event.get("time"), "event": str(event.get("detail-type"))} | {
        name: told.get(name) for name in ("requestId", "userId", "role", "status", "eventId")
    }
