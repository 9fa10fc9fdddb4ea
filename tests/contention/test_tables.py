"""The simulator's DynamoDB answers as Amazon's own engine does: the same calls, one after the other, on both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from components.models import Model, TableIndex
from hourbank.simulate.expressions import DynamoDBRefusal
from hourbank.simulate.tables import LARGEST_ITEM, Tables
from tests.helpers.dynamodb_local import DynamoDBLocal, MissingEngineError

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("end-to-end")]

TABLE = "ServiceRequest-api-test"
INDEX = TableIndex(name="byOpen", attribute="open")
NUMBERS = (
    "1e50", "1E-130", "1e-131", "9.9e125", "1e126", "1e999999", "1e-999999", "-0", "0.0010", "-1.50", "00012", "+5",
    "1" * 38, "1" * 39, "12" * 19 + "00", "abc", "1e", " 1", "", ".5", "5.", "-1e50", "NaN", "Infinity", "1_0",
)  # fmt: skip
VALUES: dict[str, dict[str, Any]] = {
    "number": {"N": "1"}, "text": {"S": "b"}, "nothing": {"NULL": True}, "yes": {"BOOL": True},
    "list": {"L": [{"N": "1e3"}, {"S": "ab"}]}, "map": {"M": {"k": {"S": "v"}, "n": {"N": "1.0"}}},
    "texts": {"SS": ["ab", "c"]}, "numbers": {"NS": ["1.0", "2"]}, "bytes": {"B": b"ab"}, "empty": {"S": ""},
}  # fmt: skip
CONDITIONS = tuple(
    pattern.format(name)
    for name in ("absent", *(f"#{name}" for name in VALUES))
    for pattern in (
        "{0} = :one", "{0} <> :one", "NOT {0} = :one", "{0} < :two", "NOT {0} > :one", "{0} >= :one",
        "{0} IN (:one, :b)",
        "{0} BETWEEN :one AND :two", "attribute_exists({0})", "attribute_not_exists({0}) OR attribute_type({0}, :null)",
        "begins_with({0}, :b)", "contains({0}, :b)", "size({0}) = :one", "attribute_type({0}, :b)", "{0} = :nothing",
        "attribute_exists(id) AND (NOT {0} = :b OR {0} = :b) AND {0} <= :b",
    )
)  # fmt: skip
GIVEN: dict[str, dict[str, Any]] = {
    ":one": {"N": "1.00"}, ":two": {"N": "2"}, ":b": {"S": "b"}, ":null": {"S": "NULL"}, ":nothing": {"NULL": True},
}  # fmt: skip
NAMES = {"ExpressionAttributeNames": {"#open": "open"}}
UPDATES = (
    "SET #number = #number + :one",
    "SET #number = #number - :two",
    "SET absent = absent + :one",
    "SET #text = #text + :one",
    "SET #number = :b REMOVE #text, absent",
    "SET absent = #text",
    "SET #text = absent",
    "REMOVE #number SET #text = :b",
    "SET absent = if_not_exists(#number, :b), fresh = if_not_exists(nowhere, :b)",
    "ADD #number :two",
    "ADD absent :two",
    "SET #list = list_append(#list, #list)",
    "SET #number = :b, #number = :one",
    "SET id = :b",
    "REMOVE id",
    "SET",
    "SET x",
)


class Both:
    """The same calls on both engines."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._ours = Tables({TABLE: "id"}, indexes={TABLE: {INDEX.name: INDEX.attribute}})

    def call(self, operation: str, **parameters: Any) -> Any:
        """Return what both answered: the answer, or the code of the refusal."""
        snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in operation).lstrip("_")
        try:
            real: Any = getattr(self._real, snake)(**parameters)
            del real["ResponseMetadata"]
        except ClientError as error:
            reasons = error.response.get("CancellationReasons", [])
            real = error.response["Error"]["Code"], [reason["Code"] for reason in reasons]
        try:
            ours: Any = self._ours.answer(operation, parameters)
        except DynamoDBRefusal as refusal:
            ours = refusal.code, [reason["Code"] for reason in refusal.reasons or []]
        assert comparable(ours) == comparable(real), (operation, parameters)
        return ours

    def put(self, **values: Any) -> Any:
        return self.call("PutItem", TableName=TABLE, Item={"id": {"S": "a"}, **values})

    def get(self, key: str = "a", exactly: str = "") -> Any:
        asked: dict[str, Any] = {"TableName": TABLE, "Key": {"id": {"S": key}}, "ConsistentRead": True}
        ours = self.call("GetItem", **asked).get("Item", {}).get(exactly)
        assert ours == self._real.get_item(**asked).get("Item", {}).get(exactly)

    def update(self, expression: str, key: str = "a", **more: Any) -> Any:
        return self.call("UpdateItem", **written(expression, key, **more), ReturnValues="ALL_NEW")


def written(expression: str, key: str = "a", **more: Any) -> dict[str, Any]:
    """Return an update's parameters with the placeholders that its expressions use."""
    text = expression + more.get("ConditionExpression", "")
    names = {f"#{name}": name for name in VALUES if f"#{name}" in text}
    values = {name: value for name, value in GIVEN.items() if name in text.replace(":nothing", "")}
    if ":nothing" in text:
        values[":nothing"] = GIVEN[":nothing"]
    asked: dict[str, Any] = {"TableName": TABLE, "Key": {"id": {"S": key}}, "UpdateExpression": expression}
    asked |= {"ExpressionAttributeNames": names} if names else {}
    return asked | ({"ExpressionAttributeValues": values} if values else {}) | more


def comparable(answer: Any) -> Any:
    """Return an answer without what may differ.

    Numbers by their value, because DynamoDB Local gives those within a list or map as they came; sets and pages in an
    order; a transaction that does not fit its items as a refusal, which AWS calls cancelled and DynamoDB Local invalid.
    """
    if isinstance(answer, tuple):
        return ("ValidationException", []) if "ValidationError" in answer[1] else answer
    if isinstance(answer, dict):
        if answer.keys() == {"N"}:
            return {"N": Decimal(answer["N"])}
        return {
            name: sorted(map(Decimal, value) if name == "NS" else value) if name in ("SS", "NS") else comparable(value)
            for name, value in answer.items()
            if name != "LastEvaluatedKey"
        }
    if isinstance(answer, list):
        return (
            sorted(map(comparable, answer), key=str) if answer and "id" in answer[0] else list(map(comparable, answer))
        )
    return answer


@pytest.fixture(scope="module")
def real() -> Iterator[Any]:
    try:
        with DynamoDBLocal() as running:
            client = boto3.client(
                "dynamodb",
                endpoint_url=running.endpoint,
                region_name="us-east-1",
                aws_access_key_id="100000000777",
                aws_secret_access_key="x",
            )
            client.create_table(
                TableName=TABLE,
                BillingMode="PAY_PER_REQUEST",
                **Model(name="", hash_key="id", variable="", index=INDEX).keys(),
            )
            yield client
    except MissingEngineError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def both(real: Any) -> Both:
    for item in real.scan(TableName=TABLE, ProjectionExpression="id")["Items"]:
        real.delete_item(TableName=TABLE, Key=item)
    return Both(real)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_comes_back_in_plain_digits_or_is_refused(both: Both, number: str) -> None:
    both.put(n={"N": number}, l={"L": [{"M": {"n": {"N": number}}}]})
    both.get(exactly="n")


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_holds_on_both_or_on_neither(both: Both, text: str) -> None:
    both.put(**VALUES)
    both.update("SET w = :b", ConditionExpression=text)
    both.call("TransactWriteItems", TransactItems=[{"Update": written("SET z = :b", ConditionExpression=text)}])
    both.get()


@pytest.mark.parametrize("text", UPDATES)
def test_an_update_changes_the_same(both: Both, text: str) -> None:
    both.put(**VALUES)
    both.update(text)
    both.update(text, "nobody")
    other = {"Update": written("SET w = :b", "other")}
    both.call("TransactWriteItems", TransactItems=[{"Update": written(text)}, other])
    both.get()
    both.get("other")


@pytest.mark.parametrize(("has", "gets"), [("1e37", "0.1"), ("1e37", "0.01"), ("9.99e125", "9e125"), ("1e50", "-1e50")])
def test_a_sum_has_at_most_38_digits(both: Both, has: str, gets: str) -> None:
    both.put(n={"N": has})
    both.update("SET n = n + :v", ExpressionAttributeValues={":v": {"N": gets}})
    both.get()


@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
@pytest.mark.parametrize("beyond", [0, 1])
def test_an_item_has_at_most_400_kb(both: Both, value: dict[str, Any], beyond: int) -> None:
    from hourbank.simulate.tables import size_of

    room = LARGEST_ITEM - len("ida" + "text" + "more") - size_of(value) + beyond
    both.put(text={"S": "x" * (room + (8 if "N" in value or "NS" in value else 0) * beyond)}, more=value)
    both.put(text={"S": "x" * room})
    both.update("SET more = :one, w = :b")
    both.update("REMOVE #text SET more = :b")
    both.get()


def test_what_else_is_refused(both: Both) -> None:
    both.put(**VALUES)
    both.call("GetItem", TableName=TABLE, Key={"id": {"S": ""}})
    both.call("GetItem", TableName=TABLE, Key={"id": {"N": "1"}})
    both.call("GetItem", TableName=TABLE, Key={"id": {"S": "é" * 1025}})
    both.call("PutItem", TableName=TABLE, Item={"id": {"S": "x" * 2049}})
    both.call("PutItem", TableName=TABLE, Item={"text": {"S": "x"}})
    both.put(texts={"SS": ["a", "a"]})
    both.put(numbers={"NS": ["1", "1.0"]})
    both.update("SET w = :b", ExpressionAttributeValues={":b": {"S": "b"}, ":unused": {"S": "b"}})
    both.update("SET w = :b", ExpressionAttributeNames={"#unused": "b"})
    both.update("SET w = :missing")
    both.update("SET #missing = :b")
    both.call("DeleteItem", TableName=TABLE, Key={"id": {"S": "a"}}, ConditionExpression="attribute_not_exists(id)")
    both.call("DeleteItem", TableName=TABLE, Key={"id": {"S": "a"}}, ReturnValues="ALL_OLD")
    both.get()


def test_a_transaction_is_all_or_nothing(both: Both) -> None:
    both.put(**VALUES)
    put = {"Put": {"TableName": TABLE, "Item": {"id": {"S": "b"}}, "ConditionExpression": "attribute_not_exists(id)"}}
    check = {"TableName": TABLE, "Key": {"id": {"S": "a"}}, "ConditionExpression": "attribute_exists(id)"}
    gone = {"Delete": {"TableName": TABLE, "Key": {"id": {"S": "c"}}}}
    for writes in ([put, {"ConditionCheck": check}], [put, {"ConditionCheck": check}], [gone, put], [gone, gone]):
        both.call("TransactWriteItems", TransactItems=writes)
    both.get("b")


def test_reads_of_many(both: Both) -> None:
    for key in "abcdefg":
        both.call("PutItem", TableName=TABLE, Item={"id": {"S": key}, **VALUES})
    keys = [{"id": {"S": key}} for key in ("a", "nobody", "g")]
    both.call("BatchGetItem", RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}})
    both.call("BatchGetItem", RequestItems={TABLE: {"Keys": [keys[0], keys[0]]}})
    both.call("TransactGetItems", TransactItems=[{"Get": {"TableName": TABLE, "Key": key}} for key in keys])
    both.call("Scan", TableName=TABLE, ConsistentRead=True)
    both.call("Scan", TableName=TABLE, ProjectionExpression="id, #n", ExpressionAttributeNames={"#n": "number"})
    both.call("Scan", TableName=TABLE, FilterExpression="id > :b", ExpressionAttributeValues={":b": {"S": "b"}})


def test_an_index_has_what_has_its_attribute(both: Both) -> None:
    for key in "abcdefg":
        is_open = {"open": {"S": "OPEN"}} if key != "c" else {}
        both.call("PutItem", TableName=TABLE, Item={"id": {"S": key}, "more": {"S": "x"}, **is_open})
    both.call("PutItem", TableName=TABLE, Item={"id": {"S": "h"}, "open": {"S": "else"}})
    both.call(**written("REMOVE #open", "d") | NAMES, operation="UpdateItem")
    asked = {
        "TableName": TABLE,
        "IndexName": INDEX.name,
        "KeyConditionExpression": "#open = :open",
        "ExpressionAttributeValues": {":open": {"S": "OPEN"}},
    } | NAMES
    both.call("Query", **asked)
    shown = asked | {"ProjectionExpression": "#id", "ExpressionAttributeNames": {"#open": "open", "#id": "id"}}
    both.call("Query", **shown)
    both.call("Query", **asked | {"IndexName": "byNothing"})
    # an update that makes such a value is refused by AWS, and by this engine not
    for value in ({"N": "1"}, {"NULL": True}, {"S": ""}, {"BOOL": True}):
        both.call("PutItem", TableName=TABLE, Item={"id": {"S": "i"}, "open": value})
    both.get("i")


def test_pages_have_everything_once() -> None:
    tables = Tables({TABLE: "id"})
    for number in range(23):
        size = LARGEST_ITEM // 2 if number % 3 else 1
        tables.answer("PutItem", {"TableName": TABLE, "Item": {"id": {"S": f"k{number}"}, "x": {"S": "x" * size}}})
    for asked in ({}, {"Limit": 2}, {"Limit": 23}):
        seen: list[str] = []
        start: dict[str, Any] = {}
        while True:
            page = tables.answer("Scan", {"TableName": TABLE, **asked, **start})
            seen += [item["id"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        assert sorted(seen) == sorted(f"k{number}" for number in range(23))
    segments = [
        tables.answer("Scan", {"TableName": TABLE, "TotalSegments": 3, "Segment": n})["Count"] for n in range(3)
    ]
    assert sum(segments) <= 23
