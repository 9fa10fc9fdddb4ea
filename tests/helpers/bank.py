"""A bank for tests of handlers: the four tables on an engine, what people did to them, and what was told on the bus.

The functions below take a request as far as their name says, by the handlers themselves.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from handlers import (
    create_escrow,
    notify_provider,
    process_negotiation,
    start_service_execution,
    validate_service_request,
)
from handlers.aws import dynamodb
from handlers.bank import events
from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, execution_name
from hourbank.simulate.tables import Tables, answering

ARN = "arn:aws:states:us-east-1:123456789012:execution:ServiceRequestWorkflow-test:"
CONTEXT = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=256,
    invoked_function_arn="arn:aws:lambda:::function:f",
    aws_request_id="1",
    get_remaining_time_in_millis=lambda: 60_000,
)
VARIABLES = {
    "SERVICE_REQUEST_TABLE_NAME": "ServiceRequest",
    "ESCROW_TABLE_NAME": "Escrow",
    "USER_BALANCE_TABLE_NAME": "UserBalance",
    "TRANSACTION_LOG_TABLE_NAME": "TransactionLog",
    "EVENT_BUS_NAME": "bus",
    "PROVIDER_RESPONSE_TIMEOUT_SECONDS": "604800",
    "MINIMUM_RESPONSE_TIMEOUT_SECONDS": "60",
    "POWERTOOLS_SERVICE_NAME": "hourbank-test",
    "POWERTOOLS_METRICS_NAMESPACE": "HourBank",
}


KEYS = {"ServiceRequest": "id", "Escrow": "id", "UserBalance": "userId", "TransactionLog": "id"}


class Bank:
    """Four tables of an engine, what people and workflows did to them, and what was told on the bus."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.told: list[dict[str, Any]] = []
        self.give("ana", 10)

    def put(self, model: str, **item: Any) -> None:
        self._client.put_item(TableName=model, Item={name: dynamodb.typed(value) for name, value in item.items()})

    def get(self, model: str, key: str) -> dict[str, Any]:
        return plain(self._client.get_item(TableName=model, Key={KEYS[model]: {"S": key}}).get("Item", {}))

    def all(self, model: str) -> list[dict[str, Any]]:
        return [plain(image) for image in self._client.scan(TableName=model)["Items"]]

    def remove(self, model: str, key: str) -> None:
        self._client.delete_item(TableName=model, Key={KEYS[model]: {"S": key}})

    def give(self, person: str, amount: Any) -> None:
        self.put("UserBalance", userId=person, availableBalance=amount)

    def balance(self, person: str) -> Any:
        return self.get("UserBalance", person).get("availableBalance")

    def request(self, request_id: str = "r1", **changes: Any) -> dict[str, Any]:
        """A request as Amplify creates it, with explicit nulls; a change to ... leaves the attribute out."""
        item = {
            "id": request_id,
            "__typename": "ServiceRequest",
            "serviceId": "s1",
            "requesterId": "ana",
            "providerId": "ben",
            "estimatedHours": Decimal("2.5"),
            "providerResponseTimeoutSeconds": None,
            "status": None,
            "providerResponse": None,
            "counterOfferHours": None,
            "requesterResponse": None,
            "taskToken": None,
            "createdAt": "2026-11-01T00:00:00.000Z",
            "updatedAt": "2026-11-01T00:00:00.000Z",
        } | changes
        self.put("ServiceRequest", **{name: value for name, value in item.items() if value is not ...})
        return item

    def change(self, request_id: str = "r1", **changes: Any) -> None:
        self.put("ServiceRequest", **self.get("ServiceRequest", request_id) | changes)

    def delete(self, request_id: str = "r1") -> None:
        self.remove("ServiceRequest", request_id)

    def everything(self) -> dict[str, Any]:
        """All tables without the moments of their writes."""
        return {
            model: sorted(
                ({name: value for name, value in item.items() if name != "updatedAt"} for item in self.all(model)),
                key=str,
            )
            for model in ("ServiceRequest", "Escrow", "UserBalance", "TransactionLog")
        }

    def total(self) -> Decimal:
        held = [escrow["hours"] for escrow in self.all("Escrow") if escrow["status"] == "HELD"]
        return sum(held, Decimal(0)) + sum((row["availableBalance"] for row in self.all("UserBalance")), Decimal(0))


def plain(image: dict[str, Any]) -> dict[str, Any]:
    """An item with its explicit nulls, which the handlers do not see."""
    return {name: dynamodb.plain(value) for name, value in image.items()}


@contextmanager
def opened(client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    """A bank on this engine's tables, which are there and empty; the handlers' environment and bus are the bank's."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    bank = Bank(client)

    def put_events(Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        bank.told += [{"event": entry["DetailType"]} | json.loads(entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{}]}

    monkeypatch.setattr(events, "client", lambda service: SimpleNamespace(put_events=put_events))
    yield bank


@contextmanager
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    """A bank on the simulator's tables."""
    with answering(Tables(KEYS)), opened(boto3.client("dynamodb"), monkeypatch) as bank:
        yield bank


def event(
    state: str,
    request_id: Any = "r1",
    *,
    name: str | None = None,
    retry: int = 0,
    redrive: int | None = None,
    given: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    name = name or execution_name(REQUEST_PREFIX, str(request_id))
    execution: dict[str, Any] = {"Id": ARN + name, "Name": name, "Input": {"requestId": request_id} | (given or {})}
    if redrive is not None:
        execution["RedriveCount"] = redrive
    return {"execution": execution, "state": {"Name": state, "RetryCount": retry}} | more


def run(handler: Any, state: str, request_id: Any = "r1", **more: Any) -> Any:
    return handler.handler(event(state, request_id, **more), CONTEXT)


def validated(bank: Bank, **request: Any) -> None:
    bank.request(**request)
    run(validate_service_request, "ValidateRequest")


def escrowed(bank: Bank, **request: Any) -> None:
    validated(bank, **request)
    run(create_escrow, "EscrowHours")


def awaiting(bank: Bank, **request: Any) -> None:
    escrowed(bank, **request)
    run(notify_provider, "WaitForProviderResponse", taskToken="token-1")


def negotiating(bank: Bank, offer: Any = Decimal(4), **request: Any) -> None:
    awaiting(bank, **request)
    bank.change(providerResponse="COUNTER_OFFER", counterOfferHours=offer)
    run(process_negotiation, "ProcessNegotiation", taskToken="token-2")


def in_progress(bank: Bank, **answers: Any) -> None:
    awaiting(bank)
    run(start_service_execution, "StartServiceExecution")
    bank.change(**answers)


def release_event(state: str, **more: Any) -> dict[str, Any]:
    return event(state, name=execution_name(RELEASE_PREFIX, "r1"), **more)
