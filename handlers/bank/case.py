"""What there is about one request: its record, its escrow, its entries in the log, and the execution that owns it.

Many are read at once as they were a moment ago; one, whose records may not fit, is read again at one moment.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item, client
from handlers.bank import hours, requests
from handlers.bank.execution import UNKNOWN, described
from handlers.bank.requests import OWNER

T = TypeVar("T")
ENTRIES = ("ESCROW_HOLD", "ESCROW_ADJUST", "ESCROW_REFUND", "ESCROW_RELEASE")
# The entries that say how an escrow ended.
ENDED_BY = {"HELD": set(), "RELEASED": {"ESCROW_RELEASE"}, "REFUNDED": {"ESCROW_REFUND"}}
THROTTLED_TRIES = 10
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
AT_ONCE = 100
UNSUCCESSFUL = ("FAILED", "TIMED_OUT", "ABORTED")


class Case(NamedTuple):
    """All that there is about one request."""

    request_id: str
    request: Item | None
    escrow: Item | None
    entries: list[Item]

    @property
    def held(self) -> Decimal:
        """The hours that are held; 0 where the escrow does not say how many."""
        amount = (self.escrow or {}).get("hours")
        is_held = (self.escrow or {}).get("status") == "HELD"
        return amount if is_held and hours.is_amount(amount) else Decimal(0)

    @property
    def is_owner(self) -> bool:
        """Whether request and escrow are of the same execution."""
        owner = (self.escrow or {}).get("executionArn")
        return owner is not None and (self.request or {}).get(OWNER) == owner


def in_hundreds(items: Iterable[T]) -> Iterator[list[T]]:
    """As many as DynamoDB gives at once."""
    left = iter(items)
    while some := list(itertools.islice(left, AT_ONCE)):
        yield some


def cases(page: list[Item]) -> Iterator[Case]:
    """What there was about each request of a few a moment ago, in a few calls; not all at one moment."""
    # An id that is too long for the log was rejected or never begun with: asking for its entries would be an error.
    ids = [request["id"] for request in page if requests.is_short(request["id"])]
    escrows = dynamodb.read_many("Escrow", ids, consistent=False)
    keys = [f"{id_}#{entry}" for id_ in ids for entry in ENTRIES]
    log = dynamodb.read_many("TransactionLog", keys, consistent=False)
    yield from _put_together(page, escrows, log)


def past_cases(page: list[Item]) -> Iterator[Case]:
    """As ``cases``, but of what is settled only the entries that must be there.

    What need not be there is looked at from the log's side; where the hold was adjusted, that entry must be there too.
    """
    ids = [request["id"] for request in page if requests.is_short(request["id"])]
    escrows = dynamodb.read_many("Escrow", ids, consistent=False)
    kinds = {id_: ("ESCROW_HOLD", *ENDED_BY.get(str(escrow.get("status")), ())) for id_, escrow in escrows.items()}
    log = dynamodb.read_many("TransactionLog", [f"{i}#{kind}" for i in kinds for kind in kinds[i]], consistent=False)
    held = {id_: log.get(f"{id_}#ESCROW_HOLD", {}).get("hours") for id_ in escrows}
    adjusted = [f"{id_}#ESCROW_ADJUST" for id_, escrow in escrows.items() if held[id_] != escrow.get("hours")]
    log |= dynamodb.read_many("TransactionLog", adjusted, consistent=False)
    yield from _put_together(page, escrows, log)


def _put_together(page: list[Item], escrows: Mapping[str, Item], log: Mapping[str, Item]) -> Iterator[Case]:
    for request in page:
        entries = [log[key] for entry in ENTRIES if (key := f"{request['id']}#{entry}") in log]
        yield Case(request["id"], request, escrows.get(request["id"]), entries)


def load(request_id: str) -> Case:
    """What there is about a request, all of it at one moment."""
    if not requests.is_short(request_id):
        return Case(request_id, requests.load(request_id), dynamodb.read("Escrow", request_id), [])
    keys = [("TransactionLog", f"{request_id}#{entry}") for entry in ENTRIES]
    request, escrow, *entries = dynamodb.snapshot(("ServiceRequest", request_id), ("Escrow", request_id), *keys)
    return Case(request_id, request, escrow, [entry for entry in entries if entry])


def age(now: datetime, item: Item | None) -> timedelta:
    """How long ago an item was last written, 0 where it does not say."""
    item = item or {}
    moment = requests.moment(item, "updatedAt") or requests.moment(item, "createdAt")
    return now - moment if moment else timedelta(0)


def execution_status(execution_arn: Any) -> str:
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, or ``unknown``, also where it is none of this deployment's."""
    try:
        return _patiently(partial(described, execution_arn))["status"]
    except ClientError as error:
        # the ARN of another machine, such as of the environment that a table was copied from
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return UNKNOWN
        raise


def listed(machine_arn: str, status: str) -> Iterator[str]:
    """The ARNs of a workflow's executions in a status, a thousand a call, as far as they ended in the last 90 days."""
    asked = {"stateMachineArn": machine_arn, "statusFilter": status, "maxResults": 1000}
    while True:
        page = _patiently(partial(client("stepfunctions").list_executions, **asked))
        yield from (execution["executionArn"] for execution in page["executions"])
        if "nextToken" not in page:
            return
        asked["nextToken"] = page["nextToken"]


def _patiently(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A call of Step Functions, which allows a few a second, so that being throttled is no news."""
    for attempt in range(THROTTLED_TRIES):
        try:
            return call()
        except ClientError as error:
            if not dynamodb.is_throttled(error) or attempt == THROTTLED_TRIES - 1:
                raise
            dynamodb.pause(attempt)
    raise AssertionError
