"""The four models of the app's schema whose tables the workflows work with: what each is called, and where.

The functions have a table of their own, in `handlers/aws/environment.py`: the archive holds nothing but handlers.
`tests/components/test_program.py` keeps the two alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TableIndex:
    """An index by one attribute that the app's schema gives a model's table, of keys alone."""

    name: str
    attribute: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """One of the four."""

    name: str
    """In Amplify's schema, in the names of its tables and in records' ``__typename``."""
    hash_key: str
    """The attribute that is its table's key, alone."""
    variable: str
    """The environment variable in which a function finds its table's name."""
    index: TableIndex | None = None
    """By which the auditor finds what can still change; it reads the whole table where there is none."""

    def keys(self) -> dict[str, Any]:
        """What CreateTable is told of its table's key and index."""
        attributes = [self.hash_key, *([self.index.attribute] if self.index else [])]
        keys = {
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in attributes],
            "KeySchema": [{"AttributeName": self.hash_key, "KeyType": "HASH"}],
        }
        if self.index is None:
            return keys
        index = {
            "IndexName": self.index.name,
            "KeySchema": [{"AttributeName": self.index.attribute, "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
        return keys | {"GlobalSecondaryIndexes": [index]}

    @property
    def export(self) -> str:
        """What the API's stacks export the table's name as, after ``<API's id>:GetAtt:``."""
        return f"{self.name}Table:Name"


# By the key that each has in `hourbank:tables` and everywhere in this program.
MODELS = {
    "serviceRequest": Model(
        name="ServiceRequest",
        hash_key="id",
        variable="SERVICE_REQUEST_TABLE_NAME",
        index=TableIndex(name="byOpen", attribute="open"),
    ),
    "escrow": Model(
        name="Escrow",
        hash_key="id",
        variable="ESCROW_TABLE_NAME",
        index=TableIndex(name="byStatus", attribute="status"),
    ),
    "userBalance": Model(name="UserBalance", hash_key="userId", variable="USER_BALANCE_TABLE_NAME"),
    "transactionLog": Model(name="TransactionLog", hash_key="id", variable="TRANSACTION_LOG_TABLE_NAME"),
}


def key_of(table: str, told: Mapping[str, str] = {}) -> str | None:
    """The key of the model that a table is of: by names told in full, by key, else by Amplify's rule for names."""
    in_full = next((key for key, name in told.items() if name == table), None)
    return in_full or next((key for key, model in MODELS.items() if table.startswith(f"{model.name}-")), None)
