"""The four tables of a deployment, read as plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from hourbank.laws import Item, Ledger


def plain(item: Mapping[str, Any]) -> Item:
    """Return DynamoDB's item (`{"id": {"S": ...}}`) as plain Python; NULL becomes None."""
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}


def scan(dynamodb: Any, table: str) -> list[Item]:
    """Return all items of a table, read consistently."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [plain(item) for page in pages for item in page["Items"]]


def read_ledger(dynamodb: Any, tables: Mapping[str, str]) -> Ledger:
    """Read the four tables, whose names are under serviceRequest, escrow, userBalance and transactionLog.

    One after the other: what moves meanwhile seems lost, or to be there twice.
    """
    return Ledger(
        requests={item["id"]: item for item in scan(dynamodb, tables["serviceRequest"])},
        escrows={item["id"]: item for item in scan(dynamodb, tables["escrow"])},
        balances={item["userId"]: item for item in scan(dynamodb, tables["userBalance"])},
        log={item["id"]: item for item in scan(dynamodb, tables["transactionLog"])},
    )
