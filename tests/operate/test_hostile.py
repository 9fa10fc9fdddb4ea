"""Operators' commands over tables in which anybody wrote anything: none dies, and none speaks to the terminal."""

import io
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from rich.console import Console

from components.models import MODELS
from handlers.bank import requests
from hourbank.account.stack import errors_in_words
from hourbank.errors import HourBankError
from hourbank.operate.audit import show_audit
from hourbank.operate.listing import show_list
from hourbank.operate.show import show_request
from hourbank.operate.stuck import show_stuck
from hourbank.simulate.tables import Tables, answering
from tests.helpers.bank import KEYS, VARIABLES
from tests.operate.test_show import DEV, OWN

INDEXES = {model.name: {model.index.name: model.index.attribute} for model in MODELS.values() if model.index}
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
WORDS = (*requests.TRANSITIONS, "HELD", "RELEASED", "ACCEPTED", "WITHDRAWN", "COUNTER_OFFER", "CANCELLED", "ana", OWN)
TEXTS = ("", "\x9b2J\x1b[2J", "\u202e", "x" * 3000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", *WORDS)
NUMBERS = ("0", "-1", "2.5", "1" + "0" * 50)
VALUES: tuple[dict[str, Any], ...] = (
    *({"S": text} for text in TEXTS),
    # what no key can be, for those who look it up
    *[{"S": "x" * 2049}] * 4,
    *({"N": number} for number in NUMBERS),
    *({"NULL": True}, {"BOOL": True}, {"L": [{"N": "1"}]}, {"M": {"a": {"S": "b"}}}),
    *({"SS": ["a", "b"]}, {"NS": ["1", "2"]}, {"B": b"AA"}),
)
IDS = ("r1", "é\n", "-x", "x" * 2048, "{{a}}", "a'b", "\x9b2J", "x" * 1500, "order-1", "$(id)")
FIELDS = {
    "ServiceRequest": (
        *("status", "createdAt", "updatedAt", "touchedAt", "startedAt", "askedAt", "taskToken", "taskTokenAttempt"),
        *("providerResponse", "requesterResponse", "counterOfferHours", "offeredHours", "estimatedHours", "serviceId"),
        *(
            "requesterId",
            "providerId",
            "failureReason",
            "failureCode",
            "providerResponseTimeoutSeconds",
            requests.OWNER,
        ),
    ),
    "Escrow": ("status", "hours", "executionArn", "requesterId", "providerId", "updatedAt", "requestId"),
    "TransactionLog": ("hours", "fromAccount", "toAccount", "createdAt", "reason", "type"),
    "UserBalance": ("availableBalance", "updatedAt"),
}
INPUTS = (
    *('{"requestId": "r1"}', "{}", "[]", '{"requestId": "\\ud800"}', '{"requestId": ""}', '{"requestId": ["a"]}'),
    *(f'{{"requestId": {"1" * 5000}}}', '{"requestId": "r1", "decision": "RELEASE", "by": ["x"], "reason": 5}'),
)


class HostileAws:
    """What a stack's services answer, drawn with a seed; the tables are an engine's."""

    def __init__(self, tables: Tables, dice: random.Random) -> None:
        self._tables, self._dice = tables, dice

    def fill(self) -> None:
        for id_ in self._dice.sample(IDS, 6):
            self._put("ServiceRequest", id_, open={"S": "OPEN"})
            self._put("Escrow", id_)
            for kind in ("ESCROW_HOLD", "ESCROW_REFUND", "GRANT"):
                self._put("TransactionLog", f"{id_}#{kind}")
        for user in ("ana", "ben", "\x9b"):
            self._put("UserBalance", user)

    def _put(self, model: str, key: str, **more: Any) -> None:
        if len(key.encode()) > 2048 or self._dice.random() < 0.2:
            return
        row = {name: self._dice.choice(VALUES) for name in FIELDS[model] if self._dice.random() < 0.8}
        if model == "Escrow" and not row.get("status", {}).get("S"):
            row.pop("status", None)  # of an index's attribute, DynamoDB takes nothing but a text
        self._tables.answer("PutItem", {"TableName": model, "Item": {KEYS[model]: {"S": key}} | more | row})

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "DescribeExecution" if self._dice.random() < 0.5:
                raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, operation)
            case "DescribeExecution":
                status = self._dice.choice(["RUNNING", "FAILED", "ABORTED", "TIMED_OUT", "SUCCEEDED"])
                told = {"error": self._dice.choice(["ReleaseRefused", "\x9b"]), "input": self._dice.choice(INPUTS)}
                times = {"startDate": MOMENT, "stopDate": MOMENT, "redriveStatus": "REDRIVABLE"}
                return {"executionArn": asked["executionArn"], "status": status, **told, **times}
            case "ListExecutions":
                arn = asked["stateMachineArn"].replace(":stateMachine:", ":execution:")
                names = self._dice.sample(["service-request-r1", "a'b", "escrow-release-r1"], 2)
                more = {"status": asked["statusFilter"], "startDate": MOMENT, "stopDate": MOMENT}
                return {"executions": [{"executionArn": f"{arn}:{name}", "name": name, **more} for name in names]}
            case "GetExecutionHistory":
                entered = {"name": "RefundEscrow", "input": '{"states": {"x": {"Error": "y", "Cause": "\\u009b"}}}'}
                event = {"timestamp": MOMENT, "type": "TaskStateEntered", "id": 1, "stateEnteredEventDetails": entered}
                return {"events": [event]}
            case "GetFunctionConfiguration":
                told = {"PROVIDER_RESPONSE_TIMEOUT_SECONDS": "60", "USER_BALANCE_TABLE_NAME": "UserBalance"}
                return {"Environment": {"Variables": told}}
            case "GetQueueUrl":
                return {"QueueUrl": "queue"}
        return {}


@pytest.fixture(params=range(6))
def hostile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileAws]:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    for name, value in {"START_REQUESTS_FROM": "2020-01-01T00:00:00Z", "CONFIRMATION_DAYS": "14"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with answering(Tables(KEYS, indexes=INDEXES)) as tables:
        aws = HostileAws(tables, random.Random(request.param))
        aws.fill()
        of_tables: Callable[..., Any] = vars(BaseClient)["_make_api_call"]

        def call(client: BaseClient, operation: str, asked: dict[str, Any]) -> Any:
            is_table = client.meta.service_model.service_name == "dynamodb"
            return of_tables(client, operation, asked) if is_table else aws.answer(operation, asked)

        with mock.patch.object(BaseClient, "_make_api_call", call):  # undone before the tables' own
            yield aws


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.usefixtures("hostile")
def test_no_command_dies_of_a_row_or_speaks_to_the_terminal(as_json: bool) -> None:
    commands: list[Callable[[Console], object]] = [
        lambda out: show_list(out, DEV, person=None, status=None, limit=5, most=100, as_json=as_json),
        lambda out: show_list(out, DEV, person="ana", status="PENDING", limit=5, most=3, as_json=as_json),
        lambda out: show_stuck(out, DEV, 5, as_json=as_json),
        lambda out: show_audit(out, DEV, touch=False, limit=9, as_json=as_json),
        lambda out: show_audit(out, DEV, touch=True, only_open=True, limit=9, as_json=as_json),
    ]
    commands += [lambda out, id_=id_: show_request(out, DEV, id_, as_json=as_json) for id_ in IDS]  # type: ignore[misc]
    for command in commands:
        out, refused = io.StringIO(), ""
        try:
            with errors_in_words():
                command(Console(file=out, width=100))
        except HourBankError as error:
            refused = str(error)
        text = out.getvalue()
        assert text or refused.startswith("no request has the id")
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)
        if as_json and text:
            json.loads(text)
