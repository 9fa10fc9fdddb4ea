"""The service request's record: its statuses and the moves between them, its validation, its answers.

Attributes are those of the contract; absent means missing or of type NULL.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeGuard

from botocore.exceptions import ClientError

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import Change, Item, Write
from handlers.bank import hours
from handlers.bank.errors import ValidationFailed
from handlers.bank.execution import Execution

WAITS = frozenset({"AWAITING_PROVIDER", "NEGOTIATING"})
# COMPLETED from here is an operator's: a service that was received although the workflow failed before it began.
_AFTER_THE_WAIT = frozenset({"NEGOTIATING", "IN_PROGRESS", "DECLINED", "CANCELLED", "TIMED_OUT", "FAILED", "COMPLETED"})
TRANSITIONS: dict[str, frozenset[str]] = {
    "PENDING": frozenset({"VALIDATING", "REJECTED", "FAILED"}),
    "VALIDATING": frozenset({"ESCROWED", "REJECTED", "FAILED"}),
    # A wait can end before its handler has stored the token, so all that may follow a wait may follow the hold.
    "ESCROWED": frozenset({"AWAITING_PROVIDER", "REJECTED"}) | _AFTER_THE_WAIT,
    "AWAITING_PROVIDER": _AFTER_THE_WAIT,
    "NEGOTIATING": _AFTER_THE_WAIT - {"NEGOTIATING"},
    "IN_PROGRESS": frozenset({"COMPLETED", "CANCELLED"}),
    "COMPLETED": frozenset(),
    "REJECTED": frozenset(),
    "DECLINED": frozenset(),
    "CANCELLED": frozenset(),
    "TIMED_OUT": frozenset(),
    "FAILED": frozenset(),
}
FINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
OWNER = "stepFunctionExecutionArn"
# When the provider was asked, when the service began, when the auditor first showed the record to the stream again for
# what it has missed, and for what since its status moved: all are in no GraphQL schema, so nobody but the handlers
# moves them.
ASKED = "askedAt"
STARTED = "startedAt"
TOUCHED = "touchedAt"
TOUCHED_FOR = "touchedFor"
MARKS = (TOUCHED, TOUCHED_FOR)
ANSWERS = ("providerResponse", "requesterResponse")
# Whether anything can still become of a request, for an index that has nothing else: Amplify's default sets it when a
# client creates the record, the claim again whatever the client wrote, and each final status takes it away.
OPEN = "open"
IS_OPEN = "OPEN"
# DynamoDB takes keys of 2,048 bytes, and the log's are longer than the request's.
LONGEST_ID_BYTES = 1024
# What an execution and people still write: a token (2,048 bytes at most), a reason, answers, an ARN, a time.
_ROOM_BYTES = 16 * 1024
LARGEST_REQUEST_BYTES = dynamodb.LARGEST_ITEM_BYTES - _ROOM_BYTES
# The claim alone, and what is NULL, which `size` does not count: a larger record cannot even be refused in writing.
_ROOM_TO_CLAIM_BYTES = 2 * 1024
TOO_LARGE = f"The record is larger than {LARGEST_REQUEST_BYTES} bytes, so the workflow has no room to write in it"
_LONGEST_TOKEN = 2048
LONGEST_RESPONSE_TIMEOUT_SECONDS = 30 * 24 * 3600

# to a counter-offer
_REQUESTER_ANSWERS = ("ACCEPTED", "REJECTED", "CANCELLED")
# a table that is gone, or that this deployment may not read
_NOT_GIVEN = {"ResourceNotFoundException", "AccessDeniedException"}
_COMPARED_WITH_INPUT = ("serviceId", "requesterId", "providerId", "estimatedHours", "providerResponseTimeoutSeconds")


# Why a record is left alone for what it is, by what is to blame.
WHY_REFUSED = {
    "createdAt": "Not started: createdAt is missing or not a time with its offset",
    "size": "Not started: the record is so large that the workflow cannot write in it",
    "taskToken": "Not delivered: the task token is none that Step Functions gives",
}


# Attributes, and the values that one must not have.
NoneOf = tuple[tuple[str, str], ...]


class IllegalSetting(Exception):
    """The deployment was told something that cannot be; the message is one line, and has nothing secret."""


class Ask(NamedTuple):
    """What a record asks the router to do.

    Attributes
    ----------
    kind
        START an execution; DELIVER an answer to one that waits; FINISH a service in progress; REFUSE what cannot be
        done for what the record is; or NOTHING.
    about
        The answer, or the attribute that is to blame for the refusal.
    """

    kind: Literal["START", "DELIVER", "FINISH", "REFUSE", "NOTHING"]
    about: str = ""


class IllegalMove(Exception):
    """The record's status is none from which the write may go on: somebody else wrote it."""


def is_short(id_: str) -> bool:
    """Whether an id can have an escrow and entries in the log."""
    return len(id_.encode(errors="surrogatepass")) <= LONGEST_ID_BYTES


def load(request_id: str) -> Item | None:
    return dynamodb.read("ServiceRequest", request_id)


def load_if_readable(request_id: str) -> Item | None:
    """The record for a decision that does not rest on it: None also where DynamoDB does not give it at all."""
    try:
        return load(request_id)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_GIVEN:
            raise
        return None


def status_of(request: Item) -> str:
    """The status as stored; a record that has none yet is PENDING, one of another type has none that we know."""
    status = request.get("status")
    if status is None:
        return "PENDING"
    return status if isinstance(status, str) else "UNKNOWN"


def is_owned(request: Item | None, execution_arn: Any) -> TypeGuard[Item]:
    return request is not None and execution_arn is not None and request.get(OWNER) == execution_arn


def is_claimable(request: Item | None, run: Execution) -> TypeGuard[Item]:
    """Whether no execution, or this one, has its name on a record that nobody has begun with."""
    return request is not None and status_of(request) == "PENDING" and request.get(OWNER) in (None, run.arn)


def is_begun_at_most(request: Item | None, run: Execution) -> TypeGuard[Item]:
    """Whether this execution may still end the record without a hold: claimable, or claimed by it."""
    return is_claimable(request, run) or (is_owned(request, run.arn) and status_of(request) == "VALIDATING")


def is_open(request: Item) -> bool:
    """Whether anything can still become of a request; not of one that nobody begins with."""
    if status_of(request) == "PENDING" and request.get(OWNER) is None:
        return is_due(request)
    return status_of(request) not in FINAL


def is_validating(request: Item | None) -> TypeGuard[Item]:
    return request is not None and status_of(request) == "VALIDATING"


def was_asked(request: Item) -> bool:
    """Whether the provider was asked, also of a request that has ended since."""
    # the status too: a version of the function from before the mark may have asked
    return request.get(ASKED) is not None or status_of(request) in (*WAITS, "IN_PROGRESS")


def move(
    request: Item,
    status: str,
    attributes: dict[str, Any] | None = None,
    *,
    unchanged: tuple[str, ...] = (),
    none_of: NoneOf = (),
    remove: tuple[str, ...] = (),
) -> Write:
    """The write that takes the record to a status, while its status, owner and ``unchanged`` are as they were read.

    ``none_of`` are values that attributes must not have by then. A decision rests on no more of what people answer than
    it is made of: else whoever writes fast enough could keep it from being made.

    Whoever leaves a wait takes the task token away. A repeated status is legal only within a wait (a new token).
    """
    current = status_of(request)
    if status != current and status not in TRANSITIONS.get(current, frozenset()):
        raise IllegalMove(f"A request cannot go from {current} to {status}")
    change = Change("ServiceRequest", request["id"]).exists()
    attributes = attributes or {}
    change.unchanged(request, "status", OWNER, *unchanged).none_of(none_of).set(status=status, **attributes)
    if status == "VALIDATING":
        change.set(**{OPEN: IS_OPEN})
    if status in FINAL:
        remove += (OPEN,)
    if current in WAITS and "taskToken" not in attributes:
        remove += ("taskToken", "taskTokenAttempt")
    # whether they are there or not: the auditor may write them between the read and this
    return change.remove(*remove, *MARKS).write()


def provider_answer(request: Item) -> str | None:
    """The answer to a request that awaits its provider: the provider's word beats the requester's CANCELLED."""
    if (response := request.get("providerResponse")) is not None:
        return response if response in ("ACCEPTED", "REJECTED", "COUNTER_OFFER") else "UNKNOWN"
    return "CANCELLED" if request.get("requesterResponse") == "CANCELLED" else None


def requester_answer(request: Item) -> str | None:
    """The requester's answer to a counter-offer; before there was one to answer, there is none."""
    response = request.get("requesterResponse") if status_of(request) == "NEGOTIATING" else None
    return response if response in _REQUESTER_ANSWERS else None


class Silence(NamedTuple):
    """Whether somebody has answered.

    Attributes
    ----------
    answer
        What they have; None: nothing.
    unchanged, none_of
        What must still be so for there to be no answer; as for ``move``.
    """

    answer: str | None
    unchanged: tuple[str, ...]
    none_of: NoneOf


def provider_silence(request: Item) -> Silence:
    return Silence(provider_answer(request), ("providerResponse",), (("requesterResponse", "CANCELLED"),))


def requester_silence(request: Item) -> Silence:
    asked = status_of(request) == "NEGOTIATING"
    answers = tuple(("requesterResponse", answer) for answer in _REQUESTER_ANSWERS) if asked else ()
    return Silence(requester_answer(request), (), answers)


def moment(item: Mapping[str, Any], attribute: str) -> datetime | None:
    """A time that Amplify or a handler wrote; None where there is none, or none with its offset."""
    try:
        parsed = datetime.fromisoformat(item[attribute])
    except (KeyError, TypeError, ValueError):
        return None
    if parsed.utcoffset() is None:
        return None
    try:
        return parsed.astimezone(UTC)
    except OverflowError:  # a moment of the year 1 that is before it in UTC
        return None


def start_requests_from() -> datetime:
    """Since when requests are the workflows'.

    Raises
    ------
    IllegalSetting
        The deployment was told no time: a template's parameter may be any text.
    """
    told = environment.start_requests_from()
    if begin := moment({"told": told}, "told"):
        return begin
    raise IllegalSetting(
        f"START_REQUESTS_FROM is {told!r}, which is no time with its offset from UTC: "
        "deploy with a legal startRequestsFrom, such as 2026-01-01T00:00:00Z"
    )


def was_there_before(request: Item) -> bool:
    """Whether the request was made before the workflows were deployed."""
    created = moment(request, "createdAt")
    return created is not None and created < start_requests_from()


def asks_for(request: Item) -> Ask:
    """What the router has to do for this record; never raises for what the record is.

    Raises
    ------
    IllegalSetting
        The deployment was told no time from which requests are the workflows'.
    """
    if status_of(request) == "PENDING" and request.get(OWNER) is None:
        return _beginning(request)
    if answer := answer_awaited(request):
        token = request.get("taskToken")
        if token is None:
            return Ask("NOTHING")
        is_token = isinstance(token, str) and 0 < len(token) <= _LONGEST_TOKEN
        return Ask("DELIVER", answer) if is_token else Ask("REFUSE", "taskToken")
    return Ask("NOTHING" if decision(request) == "NOTHING" else "FINISH")


def _beginning(request: Item) -> Ask:
    if moment(request, "createdAt") is None:
        return Ask("REFUSE", "createdAt")
    if was_there_before(request):
        return Ask("NOTHING")
    if dynamodb.size(request) > dynamodb.LARGEST_ITEM_BYTES - _ROOM_TO_CLAIM_BYTES:
        return Ask("REFUSE", "size")
    return Ask("START")


def is_due(request: Item) -> bool:
    """Whether nobody has begun with this request, it was made after the workflows were deployed, and it can be."""
    return asks_for(request).kind == "START"


def is_answered(request: Item) -> bool:
    """Whether an execution waits for an answer that is there."""
    return asks_for(request).kind == "DELIVER"


def answer_awaited(request: Item) -> str | None:
    """The answer that the request's execution waits for, if it is there."""
    return provider_answer(request) if status_of(request) == "AWAITING_PROVIDER" else requester_answer(request)


def is_decided(request: Item) -> bool:
    """Whether somebody has ended a service in progress."""
    return asks_for(request).kind == "FINISH"


# What each decision rests on: attributes that are as they were read, and values that others must not have.
DECIDED_ON: Mapping[str, tuple[tuple[str, ...], NoneOf]] = {
    "RELEASE": (("requesterResponse",), ()),
    "REFUND": (("providerResponse",), (("requesterResponse", "COMPLETED"),)),
}


def decision(request: Item) -> str:
    """What the answers say about the hours of a service in progress: COMPLETED beats WITHDRAWN."""
    if status_of(request) == "IN_PROGRESS":
        if request.get("requesterResponse") == "COMPLETED":
            return "RELEASE"
        if request.get("providerResponse") == "WITHDRAWN":
            return "REFUND"
    return "NOTHING"


def validate(request: Item, run: Execution) -> None:
    """Raises ValidationFailed with a reason that a person understands."""
    for attribute in ("id", "serviceId", "requesterId", "providerId"):
        if not isinstance(request.get(attribute), str) or not request[attribute]:
            raise ValidationFailed(f"{attribute} is missing")
        if not is_short(request[attribute]):
            raise ValidationFailed(f"{attribute} is longer than {LONGEST_ID_BYTES} bytes")
    if request["requesterId"] == request["providerId"]:
        raise ValidationFailed("Requester and provider are the same person")
    if not hours.is_legal(request.get("estimatedHours")):
        raise ValidationFailed(f"estimatedHours must be {hours.LEGAL}")
    if dynamodb.size(request) > LARGEST_REQUEST_BYTES:
        raise ValidationFailed(TOO_LARGE)
    for attribute in _COMPARED_WITH_INPUT:
        given = run.input.get(attribute)
        if given is not None and not _same(given, request.get(attribute)):
            raise ValidationFailed(f"The execution's input differs from the stored record in {attribute}")


def _same(given: Any, stored: Any) -> bool:
    if isinstance(stored, Decimal) and isinstance(given, int | float) and not isinstance(given, bool):
        return (Decimal(str(given)) if isinstance(given, float) else Decimal(given)) == stored
    return given == stored


def response_timeout_seconds(request: Item) -> int:
    """How long the provider has to answer: the request's own, else the stack's default."""
    given = request.get("providerResponseTimeoutSeconds")
    if given is None:
        return environment.response_seconds()
    shortest = environment.shortest_response_seconds()
    if (
        not isinstance(given, Decimal)
        or given != given.to_integral_value()
        or not shortest <= given <= LONGEST_RESPONSE_TIMEOUT_SECONDS
    ):
        raise ValidationFailed(
            "providerResponseTimeoutSeconds must be a whole number "
            f"from {shortest} to {LONGEST_RESPONSE_TIMEOUT_SECONDS}"
        )
    return int(given)
