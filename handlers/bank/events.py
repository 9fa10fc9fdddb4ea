"""Events on the bus, at least once: whoever listens drops an eventId that it has seen."""

import json
from typing import Any

from handlers.aws import environment
from handlers.aws.dynamodb import client, is_key
from handlers.bank.ledger import Ended
from handlers.bank.requests import TRANSITIONS


class EventRefused(Exception):
    """EventBridge took the call but not the event: the workflow retries the Task."""


def publish(event: str, request_id: str, user_id: Any, status: str) -> None:
    """Tells ``user_id`` about a request, always after the write that made it so.

    The detail is ``{requestId, userId, status, eventId}`` with eventId ``<requestId>#<status>``; userId is null where
    the record names nobody.
    """
    known = user_id if is_key(user_id) else None
    detail = {"requestId": request_id, "userId": known, "status": status, "eventId": f"{request_id}#{status}"}
    answer = client("events").put_events(
        Entries=[
            {
                "EventBusName": environment.event_bus(),
                "Source": "hourbank.workflows",
                "DetailType": event,
                "Detail": json.dumps(detail),
            }
        ]
    )
    if answer["FailedEntryCount"]:
        raise EventRefused(f"EventBridge refused {event}: {answer['Entries'][0].get('ErrorCode')}")


def publish_end(request_id: str, ended: Ended) -> None:
    """RequestEnded, if it has."""
    if TRANSITIONS.get(ended.outcome) == frozenset():
        publish("RequestEnded", request_id, ended.requester_id, ended.outcome)
