"""How a request ends: one table from what happened last to the status and the reason that people read."""

import json
from typing import Any, NamedTuple


class Reason(NamedTuple):
    """Why a request ended, for programs and for people: `failureCode` and `failureReason`.

    A code that was written once keeps its meaning; the words may change.
    """

    code: str
    words: str

    def attributes(self) -> dict[str, str]:
        return {"failureCode": self.code, "failureReason": self.words}


ID_USED_BEFORE = Reason("ID_USED_BEFORE", "The id of this request was used before")
PROVIDER_WITHDREW = Reason("PROVIDER_WITHDREW", "The provider withdrew")
_CANCELLED = Reason("REQUESTER_CANCELLED", "The requester cancelled")
# without words of its own: the error's message
_ILLEGAL = Reason("REQUEST_ILLEGAL", "")
_NOT_ENOUGH = Reason("NOT_ENOUGH_HOURS", "")

GONE = ("CANCELLED", Reason("REQUEST_GONE", "The request was deleted or replaced"))
FAILED = ("FAILED", Reason("TECHNICAL_FAILURE", "A technical failure; the hours were given back"))

# (state, its answer or the name of its error) -> status and reason. The states are in the workflow's order, last first,
# because the newest event decides.
ENDINGS: dict[tuple[str, str], tuple[str, Reason]] = {
    ("StartServiceExecution", "NotOwner"): GONE,
    ("AdjustEscrow", "OfferNotAffordable"): ("DECLINED", Reason("OFFER_NOT_AFFORDABLE", "")),
    ("AdjustEscrow", "NotOwner"): GONE,
    ("ProcessNegotiation", "REJECTED"): (
        "DECLINED",
        Reason("OFFER_DECLINED", "The requester declined the counter-offer"),
    ),
    ("ProcessNegotiation", "CANCELLED"): ("CANCELLED", _CANCELLED),
    ("ProcessNegotiation", "IllegalOffer"): ("DECLINED", Reason("OFFER_ILLEGAL", "")),
    ("ProcessNegotiation", "NotOwner"): GONE,
    ("WaitForProviderResponse", "REJECTED"): ("DECLINED", Reason("PROVIDER_DECLINED", "The provider declined")),
    ("WaitForProviderResponse", "CANCELLED"): ("CANCELLED", _CANCELLED),
    ("WaitForProviderResponse", "UNKNOWN"): (
        "DECLINED",
        Reason("ANSWER_NOT_UNDERSTOOD", "The provider's answer was not understood"),
    ),
    ("WaitForProviderResponse", "NotOwner"): GONE,
    ("EscrowHours", "InsufficientBalance"): ("REJECTED", _NOT_ENOUGH),
    ("EscrowHours", "ValidationFailed"): ("REJECTED", _ILLEGAL),
    ("ValidateRequest", "InsufficientBalance"): ("REJECTED", _NOT_ENOUGH),
    ("ValidateRequest", "ValidationFailed"): ("REJECTED", _ILLEGAL),
}
TIME_OUTS = {
    "TimeoutRequest": Reason("PROVIDER_TIMED_OUT", "The provider did not answer in time"),
    "TimeoutNegotiation": Reason("REQUESTER_TIMED_OUT", "The requester did not answer the counter-offer in time"),
}


def by_operator(words: str) -> Reason:
    """The reason of who settles, in their own words."""
    return Reason("OPERATOR_DECIDED", words)


def ending(state: str, states: dict[str, Any]) -> tuple[str, Reason]:
    """Status and reason for an ending.

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
            return status, reason if reason.words else _in_words(reason, event)
    return FAILED


def never_held(states: dict[str, Any]) -> bool:
    """Whether the workflow ended before the state that holds the hours: its first one left an error."""
    first = states.get("ValidateRequest")
    return isinstance(first, dict) and "Error" in first


def _in_words(reason: Reason, event: dict[str, Any]) -> Reason:
    """The reason with the message of a Lambda error, which Step Functions passes on as JSON in Cause."""
    try:
        words = str(json.loads(event["Cause"])["errorMessage"])
    except (KeyError, TypeError, ValueError):
        words = str(event.get("Error"))
    return ID_USED_BEFORE if words == ID_USED_BEFORE.words else Reason(reason.code, words)
