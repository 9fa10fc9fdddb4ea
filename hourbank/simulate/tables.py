"""DynamoDB in the process, as far as what is ours uses it, and exact where it can hurt.

Numbers come back as plain digits, at most 38 of them; an item has at most 400 KB, a page 1 MB; what a transaction does
happens as a whole or not at all. `Tables.answer` stands in for boto3's call, refusals included. `tests/contention`
plays the same calls on DynamoDB Local and compares the answers. All calls stand in one file, beside what they work on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Context, Decimal
from functools import cached_property
from typing import Any
from unittest import mock

from boto3.dynamodb.types import TypeDeserializer
from botocore.client import BaseClient

from hourbank.laws import Item
from hourbank.simulate.expressions import (
    DynamoDBRefusal,
    Expression,
    Illegal,
    Image,
    Scope,
    Value,
    apply,
    condition,
    invalid,
    number,
    update,
)

LARGEST_ITEM = 400 * 1024
LARGEST_KEY = 2048
_STORED = Context(prec=300)
PAGE = 1024 * 1024
_UNUSED = "Value provided in ExpressionAttribute{} unused in expressions: keys: {{{}}}"
_TYPES: dict[str, Any] = {"S": str, "N": str, "B": (bytes, bytearray), "BOOL": bool, "NULL": bool, "L": list, "M": dict}
_deserialize: Callable[[Any], Any] = TypeDeserializer().deserialize


class Row:
    """One version of an item, which nobody changes: a write makes another."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @cached_property
    def plain(self) -> Item:
        """Plain Python values; numbers are Decimals of any size."""
        return {name: plain_value(value) for name, value in self.image.items()}

    @cached_property
    def size(self) -> int:
        """Bytes, as DynamoDB counts them."""
        return sum(len(_bytes(name)) + size_of(value) for name, value in self.image.items())


class SimulatedTable:
    """The items of a table by their key, and the attributes by which its indexes have them."""

    def __init__(self, key: str, indexes: Mapping[str, str]) -> None:
        self.key, self.indexes = key, indexes
        self.rows: dict[str, Row] = {}

    def scanned(self) -> list[str]:
        """Return the keys in the order of a scan: neither that of their names nor that of their writing."""
        return sorted(self.rows, key=_place)


class Tables:
    """Tables by name, and whoever is told of each change.

    Parameters
    ----------
    keys
        The name of the key's attribute of each table.
    indexes
        Of each table that has any: the attribute of an index by its name. An index has no other attributes than keys.
    on_change
        Called with the table, the old and the new version of an item (None: there is none) after each write.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        on_change: Callable[[str, Row | None, Row | None], None] = lambda *_: None,
        indexes: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.tables = {name: SimulatedTable(key, (indexes or {}).get(name, {})) for name, key in keys.items()}
        self._on_change = on_change

    def answer(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call as boto3 returns it.

        Raises
        ------
        Refusal
            If DynamoDB would refuse it.
        """
        try:
            return _OPERATIONS[operation](self, **parameters)
        except KeyError as error:
            if operation not in _OPERATIONS:
                raise ValueError(f"nothing of ours calls {operation} of DynamoDB") from None
            raise DynamoDBRefusal("ResourceNotFoundException", f"Requested resource not found: {error}") from None

    # --- reads

    def _get_item(self, TableName: str, Key: Image, **_: Any) -> dict[str, Any]:  # noqa: N803  boto3's names
        row = self._row(TableName, Key)
        return {"Item": dict(row.image)} if row else {}

    def _batch_get_item(self, RequestItems: Mapping[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        found: dict[str, list[Any]] = {}
        left: dict[str, Any] = {}
        room = 16 * PAGE
        for name, asked in RequestItems.items():
            keys = asked["Keys"]
            if len({str(key) for key in keys}) < len(keys):
                raise invalid("Provided list of item keys contains duplicates")
            found[name] = []
            for key in keys:
                row = self._row(name, key)
                if row is None:
                    continue
                room -= row.size
                if room >= 0:
                    found[name].append(dict(row.image))
                else:
                    left.setdefault(name, {**asked, "Keys": []})["Keys"].append(key)
        return {"Responses": found, "UnprocessedKeys": left}

    def _transact_get_items(self, TransactItems: Iterable[Mapping[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        rows = [self._row(item["Get"]["TableName"], item["Get"]["Key"]) for item in TransactItems]
        return {"Responses": [{"Item": dict(row.image)} if row else {} for row in rows]}

    def _scan(self, TableName: str, **asked: Any) -> dict[str, Any]:  # noqa: N803
        table = self.tables[TableName]
        test = _Asked(asked, "FilterExpression", "ProjectionExpression")
        return self._paged(table, table.scanned(), test, asked)

    def _query(self, TableName: str, IndexName: str, **asked: Any) -> dict[str, Any]:  # noqa: N803
        table = self.tables[TableName]
        if IndexName not in table.indexes:
            raise invalid(f"The table does not have the specified index: {IndexName}")
        test = _Asked(asked, "KeyConditionExpression", "ProjectionExpression")
        shown = {table.key, table.indexes[IndexName]}
        keys = [key for key in table.scanned() if test.holds(table.rows[key].image)]
        return self._paged(table, keys, test, asked, shown)

    @staticmethod
    def _paged(
        table: SimulatedTable, keys: list[str], test: _Asked, asked: Mapping[str, Any], shown: set[str] | None = None
    ) -> dict[str, Any]:
        start = asked.get("ExclusiveStartKey")
        if parts := asked.get("TotalSegments"):
            segment = asked["Segment"]
            keys = [key for key in keys if _place(key)[0] * parts // 256 == segment]
            if start and _place(start[table.key]["S"])[0] * parts // 256 != segment:
                raise invalid("The provided starting key is invalid: Please use ExclusiveStartKey with correct Segment")
        if start:
            keys = [key for key in keys if _place(key) > _place(start[table.key]["S"])]
        looked, room, items = 0, PAGE, []
        for key in keys:
            row = table.rows[key]
            if looked == asked.get("Limit", len(keys)) or (looked and row.size > room):
                break
            looked, room = looked + 1, room - row.size
            if test.holds(row.image):
                kept = row.image if shown is None else {name: row.image[name] for name in row.image if name in shown}
                items.append(test.projected(kept))
        answer: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": looked}
        if looked and (looked < len(keys) or looked == asked.get("Limit")):
            last = table.rows[keys[looked - 1]].image
            answer["LastEvaluatedKey"] = {name: last[name] for name in (table.key, *(shown or ()))}
        return answer

    # --- writes

    def _put_item(self, **asked: Any) -> dict[str, Any]:
        return self._write_one("Put", asked)

    def _update_item(self, **asked: Any) -> dict[str, Any]:
        return self._write_one("Update", asked)

    def _delete_item(self, **asked: Any) -> dict[str, Any]:
        return self._write_one("Delete", asked)

    def _write_one(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        write = _Write(self, kind, asked)
        if not write.is_allowed:
            raise DynamoDBRefusal("ConditionalCheckFailedException", "The conditional request failed")
        try:
            new = write.result()
        except Illegal as illegal:
            raise invalid(str(illegal)) from None
        old = write.row
        self._store(write, new)
        wanted = asked.get("ReturnValues", "NONE")
        shown = {"ALL_OLD": old, "ALL_NEW": new}.get(wanted)
        if wanted not in ("NONE", "ALL_OLD", "ALL_NEW"):
            raise ValueError(f"nothing of ours asks for ReturnValues {wanted}")
        return {"Attributes": dict(shown.image)} if shown else {}

    def _transact_write_items(self, TransactItems: list[Mapping[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        writes = [_Write(self, kind, asked) for item in TransactItems for kind, asked in item.items()]
        if len({(write.table_name, write.key) for write in writes}) < len(writes):
            raise invalid("Transaction request cannot include multiple operations on one item")
        reasons, results = [], []
        for write in writes:
            result, reason = write.row, {"Code": "None"}
            if not write.is_allowed:
                reason = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
            else:
                try:
                    result = write.result()
                except Illegal as illegal:
                    reason = {"Code": "ValidationError", "Message": str(illegal)}
            reasons.append(reason)
            results.append(result)
        if any(reason["Code"] != "None" for reason in reasons):
            codes = ", ".join(reason["Code"] for reason in reasons)
            words = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
            raise DynamoDBRefusal("TransactionCanceledException", words, reasons)
        for write, result in zip(writes, results, strict=True):
            if write.kind != "ConditionCheck":
                self._store(write, result)
        return {}

    def _store(self, write: _Write, new: Row | None) -> None:
        rows = write.table.rows
        if new is None:
            rows.pop(write.key, None)
        else:
            rows[write.key] = new
        # a write that changes nothing is in no stream
        if (new and new.image) != (write.row and write.row.image):
            self._on_change(write.table_name, write.row, new)

    def _row(self, table_name: str, key: Image) -> Row | None:
        table = self.tables[table_name]
        return table.rows.get(key_of(table, key))


_OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "GetItem": Tables._get_item,
    "BatchGetItem": Tables._batch_get_item,
    "TransactGetItems": Tables._transact_get_items,
    "Scan": Tables._scan,
    "Query": Tables._query,
    "PutItem": Tables._put_item,
    "UpdateItem": Tables._update_item,
    "DeleteItem": Tables._delete_item,
    "TransactWriteItems": Tables._transact_write_items,
}


class _Asked:
    """The expressions of one call, with its placeholders."""

    def __init__(self, asked: Mapping[str, Any], test: str, *others: str) -> None:
        self.names: Mapping[str, str] = asked.get("ExpressionAttributeNames", {})
        self.values = {name: normal(value) for name, value in asked.get("ExpressionAttributeValues", {}).items()}
        self._test = condition(asked[test]) if test in asked else Expression()
        self.change = update(asked["UpdateExpression"]) if "UpdateExpression" in asked else Expression()
        self._shown = [text.strip() for name in others if name in asked for text in asked[name].split(",")]
        used = self._test.names | self.change.names | {name for name in self._shown if name.startswith("#")}
        self._check(used, self.names.keys(), "Names")
        self._check(self._test.values | self.change.values, self.values.keys(), "Values")

    @staticmethod
    def _check(used: set[str], given: Iterable[str], kind: str) -> None:
        if missing := used - set(given):
            raise invalid(f"Invalid expression: An expression attribute {kind.lower()} is not defined: {missing}")
        if unused := set(given) - used:
            raise invalid(_UNUSED.format(kind, ", ".join(sorted(unused))))

    def holds(self, image: Image) -> bool:
        return self._test.holds(Scope(image, self.names, self.values))

    def projected(self, image: Image) -> dict[str, Value]:
        if not self._shown:
            return dict(image)
        shown = [self.names.get(name, name) for name in self._shown]
        return {name: image[name] for name in shown if name in image}


class _Write(_Asked):
    """One write: its item as it was, whether it is allowed, and the item as it would be."""

    def __init__(self, tables: Tables, kind: str, asked: Mapping[str, Any]) -> None:
        super().__init__(asked, "ConditionExpression")
        self.kind, self.table_name = kind, asked["TableName"]
        self.table = tables.tables[self.table_name]
        self._new = {name: normal(value) for name, value in asked.get("Item", {}).items()}
        self.key = key_of(self.table, self._new if kind == "Put" else asked["Key"], is_whole=kind != "Put")
        self.row = self.table.rows.get(self.key)
        self.is_allowed = self.holds(self.row.image if self.row else {})
        if any(self.names.get(str(path[0]), path[0]) == self.table.key for _, path, _ in self.change.steps):
            raise invalid(f"Cannot update attribute {self.table.key}. This attribute is part of the key")
        if kind == "Put" and Row(self._new).size > LARGEST_ITEM:
            raise invalid("Item size has exceeded the maximum allowed size")
        if kind == "Put":
            try:
                self._check_indexes(self._new)
            except Illegal as illegal:
                raise invalid(str(illegal)) from None

    def result(self) -> Row | None:
        if self.kind == "Delete":
            return None
        if self.kind != "Update":
            return Row(self._new) if self.kind == "Put" else self.row
        image = self.row.image if self.row else {self.table.key: {"S": self.key}}
        row = Row(apply(self.change, Scope(image, self.names, self.values)))
        if row.size > LARGEST_ITEM:
            raise Illegal("Item size to update has exceeded the maximum allowed size")
        self._check_indexes(row.image)
        return row

    def _check_indexes(self, image: Image) -> None:
        for index, name in self.table.indexes.items():
            if name in image and not image[name].get("S"):
                kind = next(iter(image[name]))
                what = "an empty string" if kind == "S" else f"Type mismatch for Index Key {name} Actual: {kind}"
                raise Illegal(f"One or more parameter values are not valid: {what} IndexName: {index}")


def key_of(table: SimulatedTable, given: Image, *, is_whole: bool = True) -> str:
    """Return the key in what is given, or refuse it."""
    value = given.get(table.key)
    if value is None or "S" not in value or (is_whole and len(given) != 1):
        raise invalid("The provided key element does not match the schema")
    if not value["S"]:
        raise invalid(f"The AttributeValue for a key attribute cannot contain an empty string value. Key: {table.key}")
    if len(_bytes(value["S"])) > LARGEST_KEY:
        raise invalid("Hash primary key values must be under 2048 bytes")
    return value["S"]


def normal(value: Value) -> Value:
    """Return a value as DynamoDB gives it back: each number in plain digits.

    Raises
    ------
    Refusal
        If it is none that DynamoDB stores.
    """
    kind: str = next(iter(value))
    content: Any = value[kind]
    if kind in _TYPES and not isinstance(content, _TYPES[kind]):
        raise TypeError(f"{kind} holds {content!r}, which boto3 refuses to send")
    if kind == "N":
        return {"N": number(content)}
    if kind == "L":
        return {"L": [normal(part) for part in content]}
    if kind == "M":
        return {"M": {name: normal(part) for name, part in content.items()}}
    if kind in ("SS", "NS", "BS"):
        content = [number(part) for part in content] if kind == "NS" else list(content)
        if not content:
            raise invalid("One or more parameter values were invalid: A set may not be empty")
        if len(set(content)) < len(content):
            raise invalid(f"One or more parameter values were invalid: Input collection {content} contains duplicates")
        return {kind: content}
    return value


def size_of(value: Value) -> int:
    """Return how many bytes a value takes."""
    [(kind, content)] = value.items()
    if kind in ("NULL", "BOOL"):
        return 1
    if kind == "N":
        _, digits, exponent = Decimal(content).normalize(_STORED).as_tuple()
        pairs = (len(digits) + int(exponent) % 2 + 1) // 2  # two digits a byte, counted from the point
        return 1 + pairs + content.startswith("-") if digits != (0,) else 1
    if kind == "L":
        return 3 + sum(1 + size_of(part) for part in content)
    if kind == "M":
        return 3 + sum(1 + len(_bytes(name)) + size_of(part) for name, part in content.items())
    if kind in ("SS", "NS", "BS"):
        return sum(size_of({kind[0]: part}) for part in content)
    return len(_bytes(content))


def plain_value(value: Value) -> Any:
    """Return plain Python of a value, whatever the size of its numbers."""
    [(kind, content)] = value.items()
    if kind == "N":
        return Decimal(content)
    if kind == "L":
        return [plain_value(part) for part in content]
    if kind == "M":
        return {name: plain_value(part) for name, part in content.items()}
    return _deserialize(value) if kind != "NS" else {plain_value({"N": part}) for part in content}


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _place(key: str) -> bytes:
    return hashlib.md5(_bytes(key), usedforsecurity=False).digest()


def raised(client: BaseClient, operation: str, refusal: DynamoDBRefusal) -> Exception:
    """Return what boto3 raises for a refusal."""
    response: dict[str, Any] = {"Error": {"Code": refusal.code, "Message": refusal.message}}
    if refusal.reasons is not None:
        response["CancellationReasons"] = refusal.reasons
    kind: Any = client.exceptions.from_code(refusal.code)
    return kind(response, operation)


@contextmanager
def answering(tables: Tables) -> Iterator[Tables]:
    """Let every boto3 client of DynamoDB in this process be answered by these tables."""
    call = vars(BaseClient)["_make_api_call"]

    def make_api_call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name != "dynamodb":
            return call(client, operation, parameters)
        try:
            return tables.answer(operation, parameters)
        except DynamoDBRefusal as refusal:
            raise raised(client, operation, refusal) from None

    with mock.patch.object(BaseClient, "_make_api_call", make_api_call):
        yield tables
