"""The made-up tables of `make bench ARGS=--scale` cost what the same tables cost in Amazon's own engine."""

import itertools
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bench import scale
from components.models import MODELS
from handlers.bank import audit
from handlers.bank.audit import Audit
from handlers.bank.case import ENTRIES
from handlers.bank.cursor import Cursor
from hourbank.local import emulator

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("end-to-end")]
SIZE = scale.Size(past=700, waiting=150, in_progress=30, faults=frozenset({5, 160, 400}))


class Paid:
    """Amazon's engine, whose answers say what they cost."""

    def __init__(self, client: Any, executions: scale.MadeUp) -> None:
        self._client, self.list_executions = client, executions.list_executions
        self.exceptions = SimpleNamespace()
        self.units = 0.0

    def __getattr__(self, name: str) -> Any:
        def call(**asked: Any) -> Any:
            answer = getattr(self._client, name)(**asked, ReturnConsumedCapacity="TOTAL")
            consumed = answer["ConsumedCapacity"]
            self.units += sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))
            return answer

        return call


def fill(client: Any, table: str, items: Iterable[Any]) -> None:
    left = iter(items)
    while some := list(itertools.islice(left, 25)):
        client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}} for item in some]})


# the emulator's figures for reads are its own
@pytest.mark.parametrize("engine", ["DynamoDB Local"], indirect=True)
def test_units_are_those_of_amazons_engine(engine: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    client, made_up = emulator.client(engine[1], "dynamodb"), scale.MadeUp(SIZE)
    monkeypatch.setattr(scale, "USERS", 200)
    for model in MODELS.values():
        client.create_table(TableName=model.name, BillingMode="PAY_PER_REQUEST", **model.keys())
    numbers = range(SIZE.open + SIZE.past)
    fill(client, "ServiceRequest", map(made_up.request, numbers))
    fill(client, "Escrow", map(made_up.escrow, numbers))
    fill(client, "UserBalance", map(made_up.balance, range(scale.USERS)))
    kinds = itertools.product(numbers, ENTRIES)
    fill(client, "TransactionLog", filter(None, (made_up.entry(number, kind) for number, kind in kinds)))
    # one share is the whole past, whose order is another in each engine
    monkeypatch.setattr(audit, "SHARES", 1)
    found, units = [], []
    for asked in (made_up, Paid(client, made_up)):
        with scale.asked(asked):
            run = Audit(touch=False, machine=scale.MACHINE, now=scale.NOW + timedelta(minutes=1))
            found.append(sorted(finding.key for finding in run.scheduled(Cursor(scale.HOUR))))
        assert run.requests == SIZE.open + SIZE.past and run.unindexed == []
        units.append(asked.units)
    assert found[0] == found[1] == [scale.id_of(number) for number in sorted(SIZE.faults)]
    # this engine asks nothing for what is not there, AWS does
    assert units[0] - made_up.missing == pytest.approx(units[1], rel=0.02)
