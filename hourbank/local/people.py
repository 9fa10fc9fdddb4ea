"""What people do, as Amplify's API would write it: the only fields that the contract lets a client set."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from boto3.dynamodb.types import TypeSerializer

from handlers.aws.dynamodb import now
from handlers.bank import requests
from hourbank import names
from hourbank.errors import HourBankError
from hourbank.local.functions import FunctionFailed, invoked
from hourbank.local.tables import plain, scan

# Fields a client may leave out: Amplify's create writes them as explicit NULLs.
OPTIONAL = (
    "providerResponseTimeoutSeconds",
    "providerResponse",
    "counterOfferHours",
    "requesterResponse",
    "status",
    "failureReason",
)


class Deed(NamedTuple):
    """What a person can do: who, what they write, and how `hourbank` plays it on this machine."""

    who: str
    writes: str
    command: str
    rest: str = ""

    def played(self, request_id: str) -> str:
        """Return the command line that does it."""
        return f"{names.command()} {self.command} {request_id} {self.rest}".rstrip()


# by the status that waits for it
DEEDS = {
    "AWAITING_PROVIDER": (
        Deed(
            "providerId",
            "providerResponse: ACCEPTED, REJECTED, or COUNTER_OFFER with counterOfferHours",
            "answer",
            "accept  (or: decline, counter --hours 3)",
        ),
        Deed("requesterId", "requesterResponse: CANCELLED", "cancel"),
    ),
    "NEGOTIATING": (
        Deed("requesterId", "requesterResponse: ACCEPTED, REJECTED or CANCELLED", "respond", "accept  (or: reject)"),
    ),
    "IN_PROGRESS": (
        Deed("requesterId", "requesterResponse: COMPLETED", "confirm"),
        Deed("providerId", "providerResponse: WITHDRAWN", "answer", "withdraw"),
    ),
}


def item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as a DynamoDB item; None becomes NULL."""
    return {name: TypeSerializer().serialize(value) for name, value in values.items()}


def request_record(
    *,
    requester: str,
    provider: str,
    hours: Decimal,
    service: str = "a service",
    created: str = "",
    seconds_to_answer: int | None = None,
) -> dict[str, Any]:
    """Return a new request in plain values, with every field that Amplify's create writes."""
    created = created or now()
    return dict.fromkeys(OPTIONAL) | {
        "__typename": "ServiceRequest",
        "id": str(uuid.uuid4()),
        "serviceId": service,
        "requesterId": requester,
        "providerId": provider,
        "estimatedHours": hours,
        "providerResponseTimeoutSeconds": seconds_to_answer,
        "open": "OPEN",
        "createdAt": created,
        "updatedAt": created,
    }


def submit(dynamodb: Any, tables: Mapping[str, str], record: Mapping[str, Any]) -> str:
    """Create the request and return its id."""
    dynamodb.put_item(
        TableName=tables["serviceRequest"], Item=item(record), ConditionExpression="attribute_not_exists(id)"
    )
    return str(record["id"])


def ask_for_hours(functions: Any, env: str, user: str, hours: Decimal, reason: str) -> dict[str, str]:
    """Let a stack's grantHours give a user hours of the bank, and return its answer, as the app's backend may.

    Returns
    -------
    `outcome`, GRANTED or REFUSED, and a `message` in words.

    Raises
    ------
    HourBankError
        If there is no such function, or it failed: whether it granted them nobody knows.
    """
    name, event = f"hourbank-grantHours-{env}", {"userId": user, "hours": str(hours), "reason": reason}
    try:
        answer: dict[str, str] = invoked(functions, name, event)
    except functions.exceptions.ResourceNotFoundException:
        raise HourBankError(f"stack {env} has no function {name}: deploy this version first") from None
    except FunctionFailed as failed:
        message = f"{name} failed: {failed}: give the same again, it is granted once for each reason"
        raise HourBankError(message) from None
    return answer


def grant_hours(functions: Any, env: str, balances: Mapping[str, Decimal], *, reason: str = "first hours") -> None:
    """Let a stack's grantHours give people hours, each once for the reason.

    Raises
    ------
    HourBankError
        If it fails, or refuses somebody.
    """
    for user, hours in balances.items():
        answer = ask_for_hours(functions, env, user, hours, reason)
        if answer["outcome"] != "GRANTED":
            raise HourBankError(f"no hours for {user}: {answer['message']}")


def check_has_balance(dynamodb: Any, tables: Mapping[str, str], user: str) -> None:
    """Raise HourBankError, in one line, unless the user has a balance, be it 0."""
    people = [str(balance["userId"]) for balance in scan(dynamodb, tables["userBalance"])]
    if user not in people:
        raise HourBankError(f"{user!r}: nobody has a balance of that name: people are {', '.join(sorted(people))}")


def is_heard(status: str, field: str, word: str) -> bool:
    """Whether the workflows do what a word says, now or as soon as they have got to asking.

    Parameters
    ----------
    status : str
        The request's.
    field : str
        providerResponse or requesterResponse.
    """
    begins = status in ("PENDING", "VALIDATING", "ESCROWED")
    request = {"status": "AWAITING_PROVIDER" if begins else status, field: word}
    return requests.answer_awaited(request) not in (None, "UNKNOWN") or requests.decision(request) != "NOTHING"


def provider_says(
    dynamodb: Any,
    tables: Mapping[str, str],
    request_id: str,
    response: str,
    *,
    counter_offer: Decimal | None = None,
    if_heard: bool = False,
) -> None:
    """Write the provider's answer, ACCEPTED, REJECTED, COUNTER_OFFER or WITHDRAWN; a counter-offer with its hours.

    Parameters
    ----------
    if_heard : bool
        Write nothing where no workflow does what the answer says: it would only replace what was said before.

    Raises
    ------
    HourBankError
        If there is no such request, or nobody hears it; nothing is written.
    """
    answer: dict[str, Any] = {"providerResponse": response}
    if counter_offer is not None:
        answer["counterOfferHours"] = counter_offer
    _update(dynamodb, tables, request_id, answer, if_heard=if_heard)


def requester_says(
    dynamodb: Any, tables: Mapping[str, str], request_id: str, response: str, *, if_heard: bool = False
) -> None:
    """Write the requester's answer, CANCELLED, ACCEPTED, REJECTED or COMPLETED; the rest is as for `provider_says`."""
    _update(dynamodb, tables, request_id, {"requesterResponse": response}, if_heard=if_heard)


def _update(
    dynamodb: Any, tables: Mapping[str, str], request_id: str, answer: Mapping[str, Any], *, if_heard: bool
) -> None:
    values = {**answer, "updatedAt": now()}
    names = {f"#{name}": name for name in values}
    parameters = {f":{name}": value for name, value in item(values).items()}
    condition = "attribute_exists(id)"
    field, word = next(iter(answer.items()))
    heard = [status for status in requests.TRANSITIONS if is_heard(status, field, word)]
    if if_heard:
        names["#status"] = "status"
        parameters |= {f":{status}": {"S": status} for status in heard}
        among = [f"#status = :{status}" for status in heard]
        if "PENDING" in heard:  # which is also that of a record without one
            parameters[":null"] = {"S": "NULL"}
            among += ["attribute_not_exists(#status)", "attribute_type(#status, :null)"]
        condition += f" AND ({' OR '.join(among)})"
    try:
        dynamodb.update_item(
            TableName=tables["serviceRequest"],
            Key={"id": {"S": request_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=parameters,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException as error:
        if not (found := error.response.get("Item")):
            raise HourBankError(f"no request has the id {request_id}") from None
        status = requests.status_of(plain(found))
        if requests.TRANSITIONS.get(status) == frozenset():
            raise HourBankError(f"not written: {request_id} has ended, it is {status}") from None
        asked = " or ".join(one for one in heard if one in DEEDS)
        raise HourBankError(f"not written: {word} is for a request {asked}, and {request_id} is {status}") from None
