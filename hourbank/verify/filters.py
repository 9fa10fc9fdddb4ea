"""The stream's filters, asked of EventBridge, whose patterns Lambda's filters are: images of each kind, and removals.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hourbank.account.checks import Account
from hourbank.verify.verdicts import Verdict, found

FILTERS = "filters of the stream"
FIX = "the filters in components/stream_trigger.py do not do on AWS what they must: correct them, and report this"
NULL = None
ASKED = {"status": "AWAITING_PROVIDER", "taskToken": "t"}
OFFERED = {"status": "NEGOTIATING", "taskToken": "t", "providerResponse": "COUNTER_OFFER"}
STARTED = {"status": "IN_PROGRESS", "providerResponse": "ACCEPTED"}

# What a record says beside its id, and whether the router has anything to do for it; None is of type NULL, as Amplify
# writes what was left out. A test holds each against the router itself.
IMAGES: tuple[tuple[str, Mapping[str, str | None], bool], ...] = (
    ("a new request, its status missing", {}, True),
    ("a new request, its status NULL", {"status": NULL}, True),
    ("a new request, PENDING", {"status": "PENDING"}, True),
    ("a new request, all left out NULL", {"status": NULL, "providerResponse": NULL, "requesterResponse": NULL}, True),
    ("one that is being validated", {"status": "VALIDATING"}, False),
    ("asked, no answer", ASKED, False),
    ("asked, the answers NULL", ASKED | {"providerResponse": NULL, "requesterResponse": NULL}, False),
    ("accepted", ASKED | {"providerResponse": "ACCEPTED", "requesterResponse": NULL}, True),
    ("declined", ASKED | {"providerResponse": "REJECTED"}, True),
    ("an offer", ASKED | {"providerResponse": "COUNTER_OFFER"}, True),
    ("accepted before the token was stored", {"status": "AWAITING_PROVIDER", "providerResponse": "ACCEPTED"}, False),
    ("accepted, the token NULL", ASKED | {"taskToken": NULL, "providerResponse": "ACCEPTED"}, False),
    ("cancelled before an answer", ASKED | {"providerResponse": NULL, "requesterResponse": "CANCELLED"}, True),
    ("an offer, no answer", OFFERED, False),
    ("an offer accepted", OFFERED | {"requesterResponse": "ACCEPTED"}, True),
    ("an offer declined", OFFERED | {"requesterResponse": "REJECTED"}, True),
    ("an offer cancelled", OFFERED | {"requesterResponse": "CANCELLED"}, True),
    ("in progress", STARTED | {"requesterResponse": NULL}, False),
    ("received", STARTED | {"requesterResponse": "COMPLETED"}, True),
    ("given up", {"status": "IN_PROGRESS", "providerResponse": "WITHDRAWN", "requesterResponse": NULL}, True),
    ("completed", STARTED | {"status": "COMPLETED", "requesterResponse": "COMPLETED"}, False),
    ("timed out", {"status": "TIMED_OUT", "taskToken": NULL}, False),
)


def image(said: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a record's image in DynamoDB's JSON."""
    return {"id": {"S": "verify"}} | {
        name: {"NULL": True} if value is None else {"S": value} for name, value in said.items()
    }


def events() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Records as the stream has them, and whether the router is to be called."""
    for what, said, is_wanted in IMAGES:
        yield what, {"dynamodb": {"NewImage": image(said)}}, is_wanted
    yield "a removal", {"dynamodb": {"Keys": {"id": {"S": "verify"}}, "OldImage": image({"status": "PENDING"})}}, False


def passed(client: Any, patterns: Sequence[str], account: Account) -> Iterator[Verdict]:
    """Ask for each record whether a filter lets it through."""
    for what, record, is_wanted in events():
        event = {
            "id": "verify",
            "account": account.id,
            "source": "hourbank.verify",
            "time": "2026-01-01T00:00:00Z",
            "region": account.region,
            "resources": [],
            "detail-type": "verify",
            # where a bus's event has what is its own; Lambda has no such frame
            "detail": record,
        }
        is_passed = any(
            client.test_event_pattern(EventPattern=f'{{"detail": {pattern}}}', Event=json.dumps(event))["Result"]
            for pattern in patterns
        )
        wrong = "no filter lets it through" if is_wanted else "a filter lets it through"
        yield found(FILTERS, what, "" if is_passed == is_wanted else wrong, FIX)
