"""The way into DynamoDB: consistent reads, and writes that are conditional on what was read.

Every change is read, decided and committed while what the decision was based on is unchanged; where it did change,
everything is read and decided again. A second run of the same step therefore finds its work done and answers the same.
All of it stands in one file: nothing else knows how DynamoDB is asked.
"""

import functools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeGuard

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from handlers.aws import environment

Item = dict[str, Any]
Write = dict[str, dict[str, Any]]

# As components/models.py has them: the archive holds nothing but handlers. A test of the program keeps both alike.
_KEY = {"ServiceRequest": "id", "Escrow": "id", "UserBalance": "userId", "TransactionLog": "id"}

# Of a share, so that what is read at once fits into the memory whatever the records' size.
_SHARE_PAGE = 500

# Refusals that trying again can cure; anything else in a cancelled transaction is for the workflow to retry or fail.
_PASSING = {"ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "None"}
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html, and Step Functions' own
_THROTTLED = {
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "ExecutionLimitExceeded",
}
_REFUSED = "ValidationError"
# Enough for 50 transactions at once on one balance, yet given up (after 14 s of pauses at most) before the function's
# time is up: then the workflow retries the Task, for which it waits without a function. `make bench ARGS=--heat`
_TRIES = 14

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
LARGEST_ITEM_BYTES = 400 * 1024
_LONGEST_KEY_BYTES = 2048
# Wide enough for each number that DynamoDB keeps (1E-130 to 9.99E+125), so that none is rounded.
_AS_STORED = Context(prec=300)


class Contended(Exception):
    """What was read kept changing: the workflow retries the Task."""


class Unwritable(Exception):
    """DynamoDB refuses a write for what it is: the item would be larger than 400 KB, or a sum longer than 38 digits."""


class NoIndex(Exception):
    """The table has no such index, or none that is filled yet: the tables are Amplify's, and so are their indexes."""


class Index(NamedTuple):
    """A table's index by one attribute, of which the items with one value are asked for."""

    name: str
    attribute: str
    value: str


class Page(NamedTuple):
    """Some items, and the key after which the next page begins; None: there is no other."""

    items: list[Item]
    after: str | None


class Plan(NamedTuple):
    """What a step answers, and the writes that must happen for the answer to be true (none: it is true already).

    ``otherwise`` is the plan where DynamoDB refuses these writes for what they are, such as one that makes the record
    grow less.
    """

    answer: Any
    writes: tuple[Write, ...] = ()
    otherwise: "Plan | None" = None


@functools.cache
def client(service: str) -> Any:
    """The boto3 client of a service, made once; its calls end well before the function's time is up.

    Each is tried three times, but where AWS_MAX_ATTEMPTS says otherwise: an operator's process has more time.
    """
    config = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard"})
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def date_time(moment: datetime) -> str:
    """A moment as Amplify writes it (AWSDateTime): ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The time as Amplify writes it."""
    return date_time(datetime.now(UTC))


def from_image(image: dict[str, Any]) -> Item:
    """Plain values of DynamoDB's JSON; an attribute of type NULL is absent."""
    item = {name: plain(value) for name, value in image.items()}
    return {name: value for name, value in item.items() if value is not None}


def plain(value: dict[str, Any]) -> Any:
    """A value of DynamoDB's JSON: numbers are exact Decimals whatever their size, binary data is as it was given.

    boto3's own deserializer raises where DynamoDB answers 1E+50, as a 1 and 50 zeros:
    https://github.com/boto/boto3/issues/2500
    """
    ((kind, content),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return _number(content)
        case "NS":
            return {_number(text) for text in content}
        case "SS" | "BS":
            return set(content)
        case "L":
            return [plain(one) for one in content]
        case "M":
            return {name: plain(one) for name, one in content.items()}
    return content


def _number(text: str) -> Any:
    try:
        return Decimal(text).normalize(_AS_STORED)
    except InvalidOperation:
        return text  # no number: of a wrong type for whoever reads it


def typed(value: Any) -> dict[str, Any]:
    """A plain value as DynamoDB's JSON: the way back of ``plain``."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": f"{Decimal(value):f}"}  # plain digits, which stand-ins for DynamoDB read too
        case list():
            return {"L": [typed(one) for one in value]}
        case dict():
            return {"M": {name: typed(one) for name, one in value.items()}}
        case set():
            ((kind, _),) = typed(next(iter(value))).items()
            return {f"{kind}S": [typed(one)[kind] for one in value]}
    return {"B": value}


def size(item: Item) -> int:
    """The bytes that DynamoDB counts for an item; what is NULL was dropped when it was read, so it is not counted.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(_bytes(name) + _size(value) for name, value in item.items())


def _size(value: Any) -> int:
    match value:
        case None | bool():
            return 1
        case str():
            return _bytes(value)
        case int() | Decimal():
            _, digits, exponent = Decimal(value).normalize(_AS_STORED).as_tuple()
            # two digits a byte, counted from the point
            pairs = (len(digits) + int(exponent) % 2 + 1) // 2 if value else 0
            return 1 + pairs + (value < 0)
        case dict():
            return 3 + sum(1 + _bytes(name) + _size(one) for name, one in value.items())
        case list():
            return 3 + sum(1 + _size(one) for one in value)
        case set():
            return sum(_size(one) for one in value)
    return len(value)


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def is_key(value: Any) -> TypeGuard[str]:
    """Whether DynamoDB takes this as a key of one of the tables."""
    if not isinstance(value, str):
        return False
    try:
        return 0 < len(value.encode()) <= _LONGEST_KEY_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False


def read(model: str, key: str) -> Item | None:
    """The item as it is now, or None; numbers are Decimals."""
    answer = client("dynamodb").get_item(
        TableName=environment.table(model), Key={_KEY[model]: {"S": key}}, ConsistentRead=True
    )
    return from_image(answer["Item"]) if "Item" in answer else None


def key_of(model: str, item: Item) -> str:
    """The key that an item of a model's table has."""
    key: str = item[_KEY[model]]
    return key


def pages(model: str, size: int = 100) -> Iterator[list[Item]]:
    """The whole table, consistently read, a page at a time."""
    for page in _pages("scan", model, {"ConsistentRead": True, "Limit": size}):
        yield page.items


def share(model: str, number: int, of: int, after: str | None = None) -> Iterator[Page]:
    """One of as many shares of a table, as it was a moment ago, from after a key: all of them are the whole table."""
    start = {_KEY[model]: {"S": after}} if after is not None else None
    yield from _pages("scan", model, {"Segment": number, "TotalSegments": of, "Limit": _SHARE_PAGE}, start)


def listed(model: str, index: Index, after: str | None = None) -> Iterator[Page]:
    """The keys of the items that an index had a moment ago, from after a key.

    Raises
    ------
    NoIndex
        The table has no such index.
    """
    value = {"S": index.value}
    start = {index.attribute: value, _KEY[model]: {"S": after}} if after is not None else None
    asked = {
        "IndexName": index.name,
        "KeyConditionExpression": "#index = :value",
        "ProjectionExpression": "#key",
        "ExpressionAttributeNames": {"#index": index.attribute, "#key": _KEY[model]},
        "ExpressionAttributeValues": {":value": value},
    }
    try:
        yield from _pages("query", model, asked, start)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":
            raise NoIndex(f"{environment.table(model)} has no index {index.name}") from error
        raise


def filtered(
    model: str, attribute: str, values: Iterable[str], *, others: bool = False, after: str | None = None
) -> Iterator[Page]:
    """The keys of all items whose attribute is one of these, or with ``others`` none of them, by reading every item."""
    name, named = _KEY[model], {f":v{number}": {"S": value} for number, value in enumerate(values)}
    among = f"#attribute IN ({', '.join(named)})"
    asked = {
        "FilterExpression": f"attribute_not_exists(#attribute) OR NOT {among}" if others else among,
        "ProjectionExpression": "#key",
        "ExpressionAttributeNames": {"#attribute": attribute, "#key": name},
        "ExpressionAttributeValues": named,
    }
    yield from _pages("scan", model, asked, {name: {"S": after}} if after is not None else None)


def _pages(operation: str, model: str, asked: dict[str, Any], start: Item | None = None) -> Iterator[Page]:
    """From after a key; where DynamoDB does not take that one, such as another share's, from the beginning."""
    is_given = start is not None
    while True:
        more = {"ExclusiveStartKey": start} if start else {}
        try:
            page = getattr(client("dynamodb"), operation)(TableName=environment.table(model), **asked, **more)
        except ClientError as error:
            if not is_given or error.response["Error"]["Code"] != "ValidationException":
                raise
            start, is_given = None, False
            continue
        is_given = False
        start = page.get("LastEvaluatedKey")
        yield Page([from_image(image) for image in page["Items"]], start[_KEY[model]]["S"] if start else None)
        if not start:
            return


def read_pages(model: str, keys: list[str], *, consistent: bool = True) -> Iterator[list[Item]]:
    """The items that are there, as many at a time as DynamoDB gives: 100, and 16 MB, however large clients make them.

    Each is as it is now, or was a moment ago, but not all at one moment.
    """
    table, name = environment.table(model), _KEY[model]
    left = [{name: {"S": key}} for key in keys]
    for attempt in range(len(keys) + _TRIES):
        if not left:
            return
        asked, left = left[:100], left[100:]
        answer = client("dynamodb").batch_get_item(RequestItems={table: {"Keys": asked, "ConsistentRead": consistent}})
        yield [from_image(image) for image in answer["Responses"].get(table, [])]
        if refused := answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys"):
            left += refused
            pause(attempt)
    if left:
        raise Contended(f"{table} did not give {len(left)} items")


def read_many(model: str, keys: list[str], *, consistent: bool = True) -> dict[str, Item]:
    """As ``read_pages``, all of them by key."""
    return {item[_KEY[model]]: item for page in read_pages(model, keys, consistent=consistent) for item in page}


def snapshot(*keys: tuple[str, str]) -> list[Item | None]:
    """Items, given as (model, key), as they all were at one moment."""
    gets = [{"Get": {"TableName": environment.table(model), "Key": {_KEY[model]: {"S": key}}}} for model, key in keys]
    for attempt in range(_TRIES):
        try:
            answer = client("dynamodb").transact_get_items(TransactItems=gets)
        except client("dynamodb").exceptions.TransactionCanceledException:
            pause(attempt)
        else:
            return [from_image(found["Item"]) if found.get("Item") else None for found in answer["Responses"]]
    raise Contended(f"{keys[0][1]} kept changing while it was read ({_TRIES} tries)")


def put(model: str, item: Item) -> Write:
    """Creates an item that must not be there, with what Amplify needs to read it; what is None is left out."""
    moment = now()
    item = item | {"__typename": model, "createdAt": moment, "updatedAt": moment}
    return {
        "Put": {
            "TableName": environment.table(model),
            "Item": {name: typed(value) for name, value in item.items() if value is not None},
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": _KEY[model]},
        }
    }


class Change:
    """One item's part of a commit: what must still be so, what to set, what to remove.

    >>> Change("ServiceRequest", "r1").unchanged(request, "status").set(status="ESCROWED").write()
    """

    def __init__(self, model: str, key: str) -> None:
        self._model, self._key = model, key
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._conditions: list[str] = []
        self._sets: list[str] = []
        self._removes: list[str] = []

    def _name(self, attribute: str) -> str:
        self._names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def _value(self, value: Any) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = typed(value)
        return placeholder

    def _is_null(self, attribute: str) -> str:
        self._values[":null"] = {"S": "NULL"}
        name = self._name(attribute)
        return f"(attribute_not_exists({name}) OR attribute_type({name}, :null))"

    def exists(self) -> "Change":
        self._conditions.append(f"attribute_exists({self._name(_KEY[self._model])})")
        return self

    def unchanged(self, item: Item | None, *attributes: str) -> "Change":
        """These attributes are as they were read; absent stays absent (missing or NULL)."""
        for attribute in attributes:
            if item is None or attribute not in item:
                self._conditions.append(self._is_null(attribute))
            else:
                self._conditions.append(f"{self._name(attribute)} = {self._value(item[attribute])}")
        return self

    def differs(self, attribute: str, value: Any) -> "Change":
        """The item is missing, or this attribute is not the value."""
        name = self._name(attribute)
        self._conditions.append(f"(attribute_not_exists({name}) OR NOT {name} = {self._value(value)})")
        return self

    def none_of(self, values: Iterable[tuple[str, Any]]) -> "Change":
        """As ``differs``, for each attribute and value."""
        for attribute, value in values:
            self.differs(attribute, value)
        return self

    def at_least(self, attribute: str, number: Any) -> "Change":
        self._conditions.append(f"{self._name(attribute)} >= {self._value(number)}")
        return self

    def set(self, **attributes: Any) -> "Change":
        for attribute, value in attributes.items():
            self._sets.append(f"{self._name(attribute)} = {self._value(value)}")
        return self

    def add(self, attribute: str, number: Any) -> "Change":
        """Adds to a number that is there: DynamoDB's own exact decimal arithmetic."""
        name = self._name(attribute)
        self._sets.append(f"{name} = {name} + {self._value(number)}")
        return self

    def remove(self, *attributes: str) -> "Change":
        self._removes += [self._name(attribute) for attribute in attributes]
        return self

    def _request(self) -> dict[str, Any]:
        request = {
            "TableName": environment.table(self._model),
            "Key": {_KEY[self._model]: {"S": self._key}},
            "ConditionExpression": " AND ".join(self._conditions),
            "ExpressionAttributeNames": self._names,
        }
        return request | ({"ExpressionAttributeValues": self._values} if self._values else {})

    def write(self, *, is_news: bool = True) -> Write:
        """The write; what is no news to people leaves the time of the last change alone."""
        if is_news:
            self.set(updatedAt=now())
        parts = (("SET", self._sets), ("REMOVE", self._removes))
        expression = " ".join(f"{verb} {', '.join(what)}" for verb, what in parts if what)
        return {"Update": self._request() | {"UpdateExpression": expression}}

    def check(self) -> Write:
        """Only the condition: part of a transaction that leaves this item alone."""
        return {"ConditionCheck": self._request()}


def commit(plan: Callable[[], Plan]) -> tuple[Any, bool]:
    """Reads, decides and writes as one; ``plan`` is called again whenever something changed in between.

    Returns
    -------
    The plan's answer, and whether this call wrote it (False: it was true already).

    Raises
    ------
    Contended
        after 14 tries; what ``plan`` raises passes through, nothing written.
    Unwritable
        DynamoDB takes neither the plan's writes nor those it has otherwise; nothing written.
    """
    for attempt in range(_TRIES):
        if attempt:
            pause(attempt)
        try:
            decided, written = _carried_out(plan())
        except ClientError as error:
            if not is_throttled(error):
                raise
            continue
        if written or not decided.writes:
            return decided.answer, written
    raise Contended(f"The records kept changing while they were read ({_TRIES} tries)")


def _carried_out(decided: Plan) -> tuple[Plan, bool]:
    """The first plan that DynamoDB does not refuse for what it is, and whether it was written."""
    try:
        return decided, bool(decided.writes) and _written(decided.writes)
    except Unwritable:
        if decided.otherwise is None:
            raise
        return _carried_out(decided.otherwise)


def is_throttled(error: ClientError) -> bool:
    """Whether AWS refused a call for how many there are, so that the same call may succeed in a moment."""
    return error.response["Error"]["Code"] in _THROTTLED


def pause(attempt: int) -> None:
    """Sleeps before another try: up to 25 ms at first, 1.5 s at most, at random so that two do not meet again."""
    time.sleep(random.uniform(0, min(1.5, 0.025 * 2 ** min(attempt, 10))))


def _written(writes: Iterable[Write]) -> bool:
    writes = list(writes)
    try:
        if len(writes) == 1 and "Update" in writes[0]:
            client("dynamodb").update_item(**writes[0]["Update"])
        else:
            client("dynamodb").transact_write_items(TransactItems=writes)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in ("ConditionalCheckFailedException", "TransactionConflictException"):
            return False
        cancelled = error.response.get("CancellationReasons", [])
        reasons = {reason.get("Code", "None") for reason in cancelled}
        refused = [reason.get("Message", "") for reason in cancelled if reason.get("Code") == _REFUSED]
        if code == "ValidationException" or (refused and reasons <= {_REFUSED, "None"}):
            raise Unwritable(" ".join(refused) or message) from error
        # Beside a change, what was refused may be so no more when all is read again.
        if reasons and reasons <= _PASSING | {_REFUSED}:
            return False
        raise
    return True
