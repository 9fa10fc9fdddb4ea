"""How a request ends: one table from what happened last to the status and the reason that people read."""

import json
from typing import Any

GONE = ("CANCELLED", "The request was deleted or replaced")
FAILED = ("FAILED", "A technical failure; the hours were given back")

# (state, its answer or the name of its error) -> status and failureReason; None: the error's own message. The states
# are in the workflow's order, last first, because the newest event decides.
ENDINGS: dict[tuple[str, str], tuple[str, str | None]] = {
    ("StartServiceExecution", "NotOwner"): GONE,
    ("AdjustEscrow", "OfferNotAffordable"): ("DECLINED", None),
    ("AdjustEscrow", "NotOwner"): GONE,
    ("ProcessNegotiation", "REJECTED"): ("DECLINED", "The requester declined the counter-offer"),
    ("ProcessNegotiation", "CANCELLED"): ("CANCELLED", "The requester cancelled"),
    ("ProcessNegotiation", "IllegalOffer"): ("DECLINED", None),
    ("ProcessNegotiation", "NotOwner"): GONE,
    ("WaitForProviderResponse", "REJECTED"): ("DECLINED", "The provider declined"),
    ("WaitForProviderResponse", "CANCELLED"): ("CANCELLED", "The requester cancelled"),
    ("WaitForProviderResponse", "UNKNOWN"): ("DECLINED", "The provider's answer was not understood"),
    ("WaitForProviderResponse", "NotOwner"): GONE,
    ("EscrowHours", "InsufficientBalance"): ("REJECTED", None),
    ("EscrowHours", "ValidationFailed"): ("REJECTED", None),
    ("ValidateRequest", "InsufficientBalance"): ("REJECTED", None),
    ("ValidateRequest", "ValidationFailed"): ("REJECTED", None),
}
TIME_OUTS = {
    "TimeoutRequest": "The provider did not answer in time",
    "TimeoutNegotiation": "The requester did not answer the counter-offer in time",
}


def ending(state: str, states: dict[str, Any]) -> tuple[str, str]:
    """Status and failureReason for an ending.

    Parameters
    ----------
    state
        The ending itself: ``RefundAfterFailure`` always means FAILED.
    states
        ``$.states``: what each state left, a result or an error.
    """
    if state == "RefundAfterFailure":
        return FAILED
    for (name, cause), (status, reason) in ENDINGS.items():
        event = states.get(name)
        if isinstance(event, dict) and cause in (event.get("Error"), event.get("answer")):
            return status, reason or _message(event)
    return FAILED


def never_held(states: dict[str, Any]) -> bool:
    """Whether the workflow ended before the state that holds the hours: its first one left an error."""
    first = states.get("ValidateRequest")
    return isinstance(first, dict) and "Error" in first


def _message(event: dict[str, Any]) -> str:
    """The message of a Lambda error, which Step Functions passes on as JSON in Cause."""
    try:
        return str(json.loads(event["Cause"])["errorMessage"])
    except (KeyError, TypeError, ValueError):
        return str(event.get("Error"))
