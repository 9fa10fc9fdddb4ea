"""Events on the bus, at least once: whoever listens drops an eventId that it has seen."""

import json
from collections.abc import Mapping
from typing import Any

from handlers.aws import environment
from handlers.aws.dynamodb import Item, client, is_key
from handlers.bank.ledger import Ended
from handlers.bank.requests import TRANSITIONS

# What is told on the way to a request's end: the status that was written just before, and whom it concerns.
TOLD: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ProviderAsked": ("AWAITING_PROVIDER", ("provider",)),
    "RequesterAsked": ("NEGOTIATING", ("requester",)),
    "ServiceStarted": ("IN_PROGRESS", ("requester", "provider")),
}


class EventRefused(Exception):
    """EventBridge took the call but not every event: the workflow retries the Task, which tells all of them again."""


def publish(event: str, request: Item) -> None:
    """Tells those whom ``TOLD`` names, always after the write that made it so."""
    status, roles = TOLD[event]
    _put(event, request["id"], status, {role: request.get(f"{role}Id") for role in roles})


def publish_end(request_id: str, ended: Ended) -> None:
    """RequestEnded, if it has: to the requester, and to a provider who was asked or paid."""
    if TRANSITIONS.get(ended.outcome) == frozenset():
        people = {"requester": ended.requester_id}
        if ended.provider_id is not None:
            people["provider"] = ended.provider_id
        _put("RequestEnded", request_id, ended.outcome, people)


def _put(event: str, request_id: str, status: str, people: Mapping[str, Any]) -> None:
    """One event for each person, in one call.

    The detail is ``{requestId, userId, role, status, eventId}`` with eventId ``<requestId>#<status>#<role>``; userId is
    null where the record names nobody.
    """
    details = [
        {
            "requestId": request_id,
            "userId": user_id if is_key(user_id) else None,
            "role": role,
            "status": status,
            "eventId": f"{request_id}#{status}#{role}",
        }
        for role, user_id in people.items()
    ]
    answer = client("events").put_events(
        Entries=[
            {
                "EventBusName": environment.event_bus(),
                "Source": "hourbank.workflows",
                "DetailType": event,
                "Detail": json.dumps(detail),
            }
            for detail in details
        ]
    )
    if answer["FailedEntryCount"]:
        codes = {entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry}
        raise EventRefused(f"EventBridge refused {event}: {', '.join(sorted(codes))}")
