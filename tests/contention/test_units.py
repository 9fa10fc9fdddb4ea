"""The units that `hourbank cost` counts are those of Amazon's own engine, or more."""

from collections.abc import Iterator
from typing import Any

import pytest

from hourbank.local import emulator
from hourbank.local.processes.meter import units_read

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("end-to-end")]

TABLES = ("Items", "Others", "Checked")
BIG = {"id": {"S": "big"}, "text": {"S": "x" * 5000}}
SMALL = {"id": {"S": "small"}, "hours": {"N": "2.5"}}


@pytest.fixture
def dynamodb(engine: tuple[str, str]) -> Iterator[Any]:
    client = emulator.client(engine[1], "dynamodb")
    for table in TABLES:
        client.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    for item in (BIG, SMALL):
        client.put_item(TableName="Items", Item=item)
    yield client
    for table in TABLES:
        client.delete_table(TableName=table)


def said(consumed: Any) -> float:
    return sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))


def key(name: str) -> dict[str, Any]:
    return {"id": {"S": name}}


def test_reads_are_counted_as_amazons_engine_does(engine: tuple[str, str], dynamodb: Any) -> None:
    asked: dict[str, dict[str, Any]] = {
        "GetItem": {"TableName": "Items", "Key": key("big"), "ConsistentRead": True},
        "BatchGetItem": {"RequestItems": {"Items": {"Keys": [key("big"), key("small")], "ConsistentRead": True}}},
        "TransactGetItems": {"TransactItems": [{"Get": {"TableName": "Items", "Key": key(n)}} for n in ("big", "no")]},
        "Scan": {"TableName": "Items", "ConsistentRead": True},
    }
    counted, engines = {}, {}
    for operation, arguments in asked.items():
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation)[1:]
        answer = getattr(dynamodb, method)(**arguments, ReturnConsumedCapacity="TOTAL")
        counted[operation] = units_read(operation, arguments, answer)
        engines[operation] = said(answer.get("ConsumedCapacity", []))
    assert counted == {"GetItem": 2, "BatchGetItem": 3, "TransactGetItems": 6, "Scan": 2}
    # the emulator's own figures would do no longer than items are small and asked for one by one
    assert (engines == counted) == (engine[0] == "DynamoDB Local")


def test_writes_are_counted_as_amazons_engine_does(dynamodb: Any) -> None:
    """In the form that the ledger writes: at most one item of each table."""
    update = {
        "TableName": "Items",
        "Key": key("big"),
        "UpdateExpression": "SET hours = :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    plain = dynamodb.update_item(**update, ReturnConsumedCapacity="TOTAL")
    assert said(plain["ConsumedCapacity"]) == 5
    check = {"TableName": "Checked", "Key": key("nobody"), "ConditionExpression": "attribute_not_exists(id)"}
    writes = [{"Update": update}, {"Put": {"TableName": "Others", "Item": SMALL}}, {"ConditionCheck": check}]
    answer = dynamodb.transact_write_items(TransactItems=writes, ReturnConsumedCapacity="TOTAL")
    assert said(answer["ConsumedCapacity"]) == 2 * (5 + 1 + 1)


def test_the_check_of_a_large_item_is_counted_as_a_write_where_amazons_engine_counts_a_read(
    engine: tuple[str, str], dynamodb: Any
) -> None:
    check = {"TableName": "Items", "Key": key("big"), "ConditionExpression": "attribute_exists(id)"}
    answer = dynamodb.transact_write_items(TransactItems=[{"ConditionCheck": check}], ReturnConsumedCapacity="TOTAL")
    assert said(answer["ConsumedCapacity"]) == 2 * (2 if engine[0] == "DynamoDB Local" else 5)
