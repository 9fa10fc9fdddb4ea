"""What people say from a terminal: written where a workflow does what it says, else refused with nothing written."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from handlers.bank.requests import TRANSITIONS
from hourbank.errors import HourBankError
from hourbank.local import people
from tests.helpers.bank import KEYS, Bank, opened

TABLES = {"serviceRequest": "ServiceRequest"}
BEGINS = {"PENDING", "VALIDATING", "ESCROWED"}
HEARD = {
    ("providerResponse", "ACCEPTED"): BEGINS | {"AWAITING_PROVIDER"},
    ("providerResponse", "REJECTED"): BEGINS | {"AWAITING_PROVIDER"},
    ("providerResponse", "COUNTER_OFFER"): BEGINS | {"AWAITING_PROVIDER"},
    ("providerResponse", "WITHDRAWN"): {"IN_PROGRESS"},
    ("requesterResponse", "CANCELLED"): BEGINS | {"AWAITING_PROVIDER", "NEGOTIATING"},
    ("requesterResponse", "ACCEPTED"): {"NEGOTIATING"},
    ("requesterResponse", "REJECTED"): {"NEGOTIATING"},
    ("requesterResponse", "COMPLETED"): {"IN_PROGRESS"},
}
SAYS = {"providerResponse": people.provider_says, "requesterResponse": people.requester_says}


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """moto's tables, which say what was there when a condition did not hold."""
    with mock_aws():
        client = boto3.client("dynamodb")
        for table, key in KEYS.items():
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        yield client


@pytest.fixture
def bank(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    with opened(engine, monkeypatch) as bank:
        yield bank


@pytest.mark.parametrize(("field", "word"), HEARD)
def test_a_word_is_written_where_a_workflow_does_what_it_says_and_nowhere_else(engine, bank, field, word):
    for status in (*TRANSITIONS, None, ..., "OTHER"):
        before = bank.request(status=status)
        heard = status in HEARD[field, word] or (status in (None, ...) and "PENDING" in HEARD[field, word])
        if heard:
            SAYS[field](engine, TABLES, "r1", word, if_heard=True)
            assert bank.get("ServiceRequest", "r1")[field] == word
            continue
        with pytest.raises(HourBankError, match=r"^not written: ") as refused:
            SAYS[field](engine, TABLES, "r1", word, if_heard=True)
        assert bank.get("ServiceRequest", "r1") == {name: value for name, value in before.items() if value is not ...}
        if TRANSITIONS.get(status) == frozenset():
            assert str(refused.value) == f"not written: r1 has ended, it is {status}"


def test_what_waits_is_named(engine, bank):
    for field, word, status, says in (
        ("providerResponse", "WITHDRAWN", "ESCROWED", "WITHDRAWN is for a request IN_PROGRESS, and r1 is ESCROWED"),
        ("requesterResponse", "CANCELLED", "IN_PROGRESS", "for a request AWAITING_PROVIDER or NEGOTIATING, and r1 is"),
    ):
        bank.request(status=status)
        with pytest.raises(HourBankError, match=says):
            SAYS[field](engine, TABLES, "r1", word, if_heard=True)
    with pytest.raises(HourBankError, match="no request has the id r2"):
        people.requester_says(engine, TABLES, "r2", "CANCELLED", if_heard=True)
