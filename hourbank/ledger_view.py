"""What the four tables say: balances, escrows, the log, and whether the two laws of moving hours hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from handlers.bank.hours import in_words

Item = dict[str, Any]


@dataclass(frozen=True)
class LedgerView:
    """The tables at one moment; hours are exact decimals.

    Attributes
    ----------
    balances : dict
        availableBalance by userId.
    escrows, requests : dict
        Items by id.
    entries : list
        The transaction log.
    """

    balances: dict[str, Decimal]
    escrows: dict[str, Item]
    requests: dict[str, Item]
    entries: list[Item]

    @property
    def held(self) -> Decimal:
        """Hours in escrows that are `HELD`."""
        return sum((escrow["hours"] for escrow in self.escrows.values() if escrow["status"] == "HELD"), Decimal(0))

    @property
    def total(self) -> Decimal:
        """All hours there are: available and held. The first law says that it never changes."""
        return sum(self.balances.values(), self.held)


def plain(item: Mapping[str, Any]) -> Item:
    """Return DynamoDB's item (`{"id": {"S": ...}}`) as plain Python; NULL becomes None."""
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}


def scan(dynamodb: Any, table: str) -> list[Item]:
    """Return all items of a table, read consistently."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [plain(item) for page in pages for item in page["Items"]]


def read(dynamodb: Any, tables: Mapping[str, str]) -> LedgerView:
    """Read the four tables, whose names are under serviceRequest, escrow, userBalance and transactionLog."""
    balances = scan(dynamodb, tables["userBalance"])
    return LedgerView(
        balances={item["userId"]: item["availableBalance"] for item in balances},
        escrows={item["id"]: item for item in scan(dynamodb, tables["escrow"])},
        requests={item["id"]: item for item in scan(dynamodb, tables["serviceRequest"])},
        entries=scan(dynamodb, tables["transactionLog"]),
    )


def broken_conservation(before: LedgerView, after: LedgerView) -> list[str]:
    """The first law: available plus held hours are constant, and each escrow is what its log entries say."""
    broken = []
    if before.total != after.total:
        broken.append(f"{in_words(before.total)} hours before, {in_words(after.total)} after")
    for request_id, escrow in after.escrows.items():
        account, logged = f"escrow:{request_id}", Decimal(0)
        for entry in after.entries:
            logged += entry["hours"] * ((entry["toAccount"] == account) - (entry["fromAccount"] == account))
        expected = escrow["hours"] if escrow["status"] == "HELD" else Decimal(0)
        if logged != expected:
            broken.append(f"escrow {request_id} is {escrow['status']} with {expected} hours, its log says {logged}")
    return broken


def broken_holds(after: LedgerView, statuses: Mapping[str, str]) -> list[str]:
    """The second law: an execution that succeeded leaves hours held only where the service is in progress.

    Parameters
    ----------
    statuses : mapping
        The status of each execution by its ARN, as DescribeExecution gives it.
    """
    broken = []
    for request_id, escrow in after.escrows.items():
        status = after.requests.get(request_id, {}).get("status", "gone")
        ended_well = statuses.get(escrow["executionArn"]) == "SUCCEEDED"
        if escrow["status"] == "HELD" and ended_well and status != "IN_PROGRESS":
            broken.append(f"escrow {request_id} still holds {escrow['hours']} hours, its request is {status}")
    return broken
