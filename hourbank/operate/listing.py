"""`hourbank list`: the requests of a stack, newest first.

No index has them in this order. Those in a status in which a request can still change are found by the index of what is
open, all of them; for others the table is scanned, as far as is asked for.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item
from handlers.bank import requests
from handlers.bank.audit import OPEN_REQUESTS
from handlers.bank.case import in_hundreds
from handlers.bank.hours import in_words
from hourbank.account.stack import Stack
from hourbank.operate.report import live, many, so_far
from hourbank.terminal import at, print_json, say

PAGE = 100


def show_list(
    console: Console,
    stack: Stack,
    *,
    person: str | None,
    status: str | None,
    limit: int,
    most: int,
    as_json: bool = False,
) -> None:
    """Print the newest requests of a person, as requester or provider, or in a status.

    Parameters
    ----------
    limit, most : int
        How many to print, and how many records to read for that, where no index has them.
    """
    keys = _open_keys() if status and status not in requests.FINAL else None
    read, found, is_cut = 0, 0, False

    def wanted() -> Iterator[Item]:
        nonlocal read, found, is_cut
        for request in _scanned(most) if keys is None else _read(keys):
            if is_cut := keys is None and read == most:
                return
            read += 1
            is_persons = person is None or person in (request.get("requesterId"), request.get("providerId"))
            if is_persons and status in (None, requests.status_of(request)):
                found += 1
                yield request

    def words() -> str:
        return f"{many(read, 'record')} read"

    with so_far(lambda: f"{words()}: give it again"), live(words):
        newest = heapq.nlargest(limit, wanted(), key=_created)
    if as_json:
        rows, more = map(_row, newest), is_cut or found > limit
        print_json(console, stack=stack.env, region=stack.region, ok=True, rows=rows, read=read, more=more)
        return
    _print(console, newest)
    if found > limit:
        say(console, (f"and {found - limit} older, --limit shows more", "dim"))
    if is_cut:
        say(console, (f"the table has more than the {many(read, 'record')} read, --read takes more", "yellow"))
    elif not found:
        say(console, (f"none of {many(read, 'request')}", "dim"))


def _open_keys() -> list[str] | None:
    """Return the ids of all requests that can still change; None where the table has no index of them."""
    try:
        return [item["id"] for page in dynamodb.listed("ServiceRequest", OPEN_REQUESTS) for item in page.items]
    except dynamodb.NoIndex:
        return None


def _read(keys: list[str]) -> Iterator[Item]:
    for some in in_hundreds(keys):
        yield from dynamodb.read_many("ServiceRequest", some).values()


def _scanned(most: int) -> Iterator[Item]:
    return itertools.chain.from_iterable(dynamodb.pages("ServiceRequest", min(most, PAGE)))


def _print(console: Console, newest: Sequence[Item]) -> None:
    if newest:
        say(console, (f"{'created':<25}{'status':<19}{'hours':>8}  request", "dim"))
    for request in newest:
        hours = request.get("estimatedHours")
        hours = in_words(hours) if isinstance(hours, Decimal) else str(hours)
        about = f"{hours:>8}  {request['id']}  {request.get('requesterId')} → {request.get('providerId')}"
        created = at(requests.moment(request, "createdAt"))
        say(console, (f"{created:<25}", "dim"), (f"{requests.status_of(request):<19}", "cyan"), about)


def _created(request: Item) -> datetime:
    return requests.moment(request, "createdAt") or datetime.min.replace(tzinfo=UTC)


def _row(request: Item) -> Item:
    told = ("requesterId", "providerId", "serviceId", "estimatedHours", "createdAt", "updatedAt")
    return {"requestId": request["id"], "status": requests.status_of(request)} | {
        name: request.get(name) for name in told
    }
