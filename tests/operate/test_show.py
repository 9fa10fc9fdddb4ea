"""`hourbank show` on recorded shapes of AWS: what it asks for, what it says, and what it never says.

With deployed functions it is played in tests/operate/test_operations.py and tests/cli/test_cli.py.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from rich.console import Console

from handlers.aws import dynamodb
from handlers.bank import requests
from handlers.bank.case import ENTRIES
from handlers.bank.execution import execution_name
from hourbank import names
from hourbank.account.stack import Stack
from hourbank.cli import try_it
from hourbank.cost.paths import walk
from hourbank.drawing import pictures
from hourbank.errors import HourBankError
from hourbank.local.people import DEEDS, item
from hourbank.operate import executions, orders, story, stuck
from hourbank.operate.show import STATUSES, show_request
from workflows import escrow_management, service_request

TOKEN = "SECRET-TOKEN"
BEGAN = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ARN = "arn:aws:states:eu-west-1:123456789012:%s:%s"
DEV = Stack(
    env="dev",
    region="eu-west-1",
    requests_arn=ARN % ("stateMachine", "ServiceRequestWorkflow-dev"),
    releases_arn=ARN % ("stateMachine", "EscrowManagementWorkflow-dev"),
    queue="hourbank-routeServiceRequest-failures-dev",
    options=" --stack dev",
    is_local=False,
)
OWN = ARN % ("execution", "ServiceRequestWorkflow-dev:service-request-r1")
REQUEST = {
    "id": "r1",
    "status": "AWAITING_PROVIDER",
    "serviceId": "gardening",
    "requesterId": "ana",
    "providerId": "ben",
    "estimatedHours": Decimal(2),
    "stepFunctionExecutionArn": OWN,
    "taskToken": TOKEN,
    "taskTokenAttempt": 0,
    "createdAt": "2026-11-20T09:59:58.000Z",
    "updatedAt": "2026-11-20T10:00:02.000Z",
    "color": "green",
}
ESCROW = {
    "id": "r1",
    "requestId": "r1",
    "requesterId": "ana",
    "providerId": "ben",
    "hours": Decimal(2),
    "executionArn": OWN,
    "status": "HELD",
    "updatedAt": "2026-11-20T10:00:01.000Z",
}
HOLD = {
    "id": "r1#ESCROW_HOLD",
    "type": "ESCROW_HOLD",
    "hours": Decimal(2),
    "fromAccount": "user:ana",
    "toAccount": "escrow:r1",
    "createdAt": "2026-11-20T10:00:01.000Z",
}


class Aws:
    """A stack of which one request is asked for; calls that are not expected fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        services = ("stepfunctions", "dynamodb", "lambda")
        self.clients = {name: boto3.client(name, region_name="eu-west-1") for name in services}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        for module in (executions, stuck, dynamodb):
            monkeypatch.setattr(module, "client", self.clients.__getitem__)
        monkeypatch.setattr("handlers.bank.execution.client", self.clients.__getitem__)
        monkeypatch.setattr(names, "command", lambda: "hourbank")
        for model in ("SERVICE_REQUEST", "ESCROW", "TRANSACTION_LOG", "USER_BALANCE"):
            monkeypatch.setenv(f"{model}_TABLE_NAME", model)
        monkeypatch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")
        monkeypatch.setenv("CONFIRMATION_DAYS", "14")
        told = {"PROVIDER_RESPONSE_TIMEOUT_SECONDS": "604800", "USER_BALANCE_TABLE_NAME": "USER_BALANCE"}
        self.stubs["lambda"].add_response(
            "get_function_configuration",
            {"Environment": {"Variables": told}},
            {"FunctionName": "hourbank-validateServiceRequest-dev"},
        )

    def has(self, request: dict | None, escrow: dict | None, *entries: dict, request_id: str = "r1") -> None:
        """The records, as the transaction of reads that every look at a request is."""
        found = [request, escrow, *entries, *[None] * (4 - len(entries))]
        keys = [request_id, request_id, *(f"{request_id}#{entry}" for entry in ENTRIES)]
        models = ["SERVICE_REQUEST", "ESCROW", *["TRANSACTION_LOG"] * 4]
        asked = [
            {"Get": {"TableName": model, "Key": {"id": {"S": key}}}} for model, key in zip(models, keys, strict=True)
        ]
        self.stubs["dynamodb"].add_response(
            "transact_get_items",
            {"Responses": [{"Item": item(one)} if one else {} for one in found]},
            {"TransactItems": asked},
        )
        for who in [
            one for one in ("ana", "ben") if request and one in (request["requesterId"], request["providerId"])
        ]:
            asked_for = {"TableName": "USER_BALANCE", "Key": {"userId": {"S": who}}, "ConsistentRead": True}
            if who == "ben":  # and who asks may not see this one
                self.stubs["dynamodb"].add_client_error("get_item", "AccessDeniedException", expected_params=asked_for)
                continue
            balance = {"Item": item({"userId": who, "availableBalance": Decimal("7.50")})}
            self.stubs["dynamodb"].add_response("get_item", balance, asked_for)

    def runs(self, *described: dict[str, Any], request_id: str = "r1") -> None:
        """The executions by name; the next name of each machine is nobody's."""
        for machine, prefix in (("ServiceRequest", "service-request-"), ("EscrowManagement", "escrow-release-")):
            own = [one for one in described if f":{machine}Workflow-dev:" in one["executionArn"]]
            for one in own:
                self.stubs["stepfunctions"].add_response(
                    "describe_execution", one, {"executionArn": one["executionArn"]}
                )
            name = execution_name(prefix, request_id, len(own) + 1)
            self.stubs["stepfunctions"].add_client_error(
                "describe_execution",
                "ExecutionDoesNotExist",
                expected_params={"executionArn": ARN % ("execution", f"{machine}Workflow-dev:{name}")},
            )

    def is_(self, status: str, arn: str = OWN) -> None:
        """The auditor's own look at an execution."""
        self.stubs["stepfunctions"].add_response("describe_execution", execution(status, arn), {"executionArn": arn})

    def went(self, *events: dict, arn: str = OWN) -> None:
        numbered = [{"id": number, **event} for number, event in enumerate(events, 1)]
        asked = {"executionArn": arn, "includeExecutionData": False}
        self.stubs["stepfunctions"].add_response("get_execution_history", {"events": numbered}, asked)

    def hides_histories(self) -> None:
        self.stubs["stepfunctions"].add_client_error("get_execution_history", "AccessDeniedException")

    def show(self, request_id: str = "r1", *, as_json: bool = False) -> str:
        out = Console(file=StringIO(), width=60)
        show_request(out, DEV, request_id, as_json=as_json)
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()
        assert TOKEN not in out.file.getvalue()
        return out.file.getvalue()


def execution(status: str, arn: str = OWN, **more: Any) -> dict[str, Any]:
    ended = {} if status == "RUNNING" else {"stopDate": BEGAN + timedelta(days=1), "redriveStatus": "REDRIVABLE"}
    return {
        "executionArn": arn,
        "stateMachineArn": DEV.requests_arn,
        "status": status,
        "startDate": BEGAN,
        "input": json.dumps({"requestId": "r1"}),
        "cause": TOKEN,
        "output": TOKEN,
        **ended,
        **more,
    }


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def passed(state: str, entered: float, left: float) -> Iterator[dict[str, Any]]:
    name, details = {"name": state}, {"resourceType": "lambda", "resource": "invoke", "region": "eu-west-1"}
    secret = json.dumps({"Payload": {"taskToken": TOKEN}})
    scheduled = details | {"parameters": secret, "timeoutInSeconds": 60}
    yield {"timestamp": at(entered), "type": "TaskStateEntered", "stateEnteredEventDetails": name | {"input": TOKEN}}
    yield {"timestamp": at(entered), "type": "TaskScheduled", "taskScheduledEventDetails": scheduled}
    yield {"timestamp": at(left), "type": "TaskStateExited", "stateExitedEventDetails": name | {"output": TOKEN}}


def waiting(state: str, entered: float, seconds: int) -> Iterator[dict[str, Any]]:
    """Entered, and begun once more after a minute."""
    first, scheduled, _ = passed(state, entered, 0)
    details = scheduled["taskScheduledEventDetails"] | {"timeoutInSeconds": seconds}
    yield first
    yield scheduled
    yield scheduled | {"timestamp": at(entered + 60), "taskScheduledEventDetails": details}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return BEGAN + timedelta(hours=3)

    monkeypatch.setattr(story, "datetime", Now)
    return Aws(monkeypatch)


def test_a_request_that_waits(aws: Aws) -> None:
    aws.has(REQUEST, ESCROW, HOLD)
    aws.runs(execution("RUNNING"))
    definition = service_request.definition(functions=defaultdict(str))
    happy = walk(definition, {"CheckProviderResponse": "ACCEPTED"})
    before = happy[: happy.index("EscrowHours")]
    aws.went(
        *(event for state in before for event in passed(state, 0, 0.25)),
        *passed("EscrowHours", 1, 13),
        *waiting("WaitForProviderResponse", 13, 7200),
    )
    aws.is_("RUNNING")
    shown = aws.show()
    others = "".join(re.findall(r"^ {37,}\w+\n", shown, re.MULTILINE))
    assert len(others.split()) == len(definition["States"]) - len(before) - 2
    way_there = "".join(f"  2026-11-20 10:00:00 UTC     0.2 s  ✓ {state}\n" for state in before)
    assert shown == (
        "AWAITING_PROVIDER  the provider was asked\n"
        "  id                       r1\n"
        "  service                  gardening\n"
        "  requester                ana  has 7.5 h\n"
        "  provider                 ben\n"
        "  hours                    2\n"
        "  created                  2026-11-20 09:59:58 UTC\n"
        "  last change              2026-11-20 10:00:02 UTC\n"
        "  color                    green\n"
        "\n"
        "Hours\n"
        "  escrow                   HELD, 2 h\n"
        "  2026-11-20 10:00:01 UTC  ESCROW_HOLD: 2 h, user:ana → escrow\n"
        "\n"
        "ServiceRequestWorkflow  service-request-r1  RUNNING since 2026-11-20 10:00:00 UTC\n"
        f"{way_there}"
        "  2026-11-20 10:00:01 UTC      12 s  ✓ EscrowHours\n"
        "  2026-11-20 10:00:13 UTC         …  ▶ WaitForProviderResponse  until 2026-11-20 12:01:13 UTC\n"
        f"{others}"
        "\n"
        "Now\n"
        "  waits since 2026-11-20 10:01:13 UTC, until 2026-11-20 12:01:13 UTC (58 min ago); then the hours go back\n"
        "  the provider ben can write providerResponse: ACCEPTED, REJECTED, or COUNTER_OFFER with counterOfferHours\n"
        "  the requester ana can write requesterResponse: CANCELLED\n"
    )


def test_a_story_is_json_too(aws: Aws) -> None:
    aws.has(REQUEST, ESCROW, HOLD)
    aws.runs(execution("FAILED", error="States.TaskFailed"))
    aws.went(*passed("ValidateRequest", 0, 0.25), *passed("EscrowHours", 1, 13))
    aws.is_("FAILED")
    aws.is_("FAILED")
    document = json.loads(aws.show(as_json=True))
    (row,) = document.pop("rows")
    assert document == {"stack": "dev", "region": "eu-west-1", "ok": True}
    secret = {"taskToken", "taskTokenAttempt"}
    told = {name: str(value) for name, value in REQUEST.items() if name not in secret}
    assert row["request"] == told
    assert (row["requestId"], row["escrow"]["hours"], row["log"][0]["hours"]) == ("r1", "2", "2")
    assert row["available"] == {"requesterId": "7.5", "providerId": None}
    (run,) = row["executions"]
    logs = run.pop("remedies")
    assert run == {
        "executionArn": OWN,
        "status": "FAILED",
        "error": "States.TaskFailed",
        "started": "2026-11-20T10:00:00.000Z",
        "ended": "2026-11-21T10:00:00.000Z",
        "order": None,
        "states": [
            {"name": "ValidateRequest", "entered": "2026-11-20T10:00:00.000Z", "left": "2026-11-20T10:00:00.250Z"},
            {"name": "EscrowHours", "entered": "2026-11-20T10:00:01.000Z", "left": "2026-11-20T10:00:13.000Z"},
        ],
        "says": ["EscrowHours failed (States.TaskFailed)"],
    }
    assert logs[0]["command"].startswith("aws logs filter-log-events ")
    assert row["says"][0] == "The request is AWAITING_PROVIDER, but its execution is FAILED"
    assert "hourbank settle r1 --refund" in row["remedies"][1]["command"]


OWN_STATES = {
    "CoolOff": {"Type": "Wait", "Seconds": 172800},
    "UntilMonday": {"Type": "Wait", "Timestamp": "2026-11-23T00:00:00Z"},
    "AsLongAsTold": {"Type": "Wait", "SecondsPath": "$.seconds"},
    "AskManager": {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "TimeoutSeconds": 7200,
    },
}


@pytest.fixture
def own_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition of somebody who has added these before the provider is asked."""
    definition = pictures.DEFINITIONS["ServiceRequestWorkflow"]
    added = {name: state | {"Next": "WaitForProviderResponse"} for name, state in OWN_STATES.items()}
    states = {"States": definition["States"] | added}
    monkeypatch.setitem(pictures.DEFINITIONS, "ServiceRequestWorkflow", definition | states)


@pytest.mark.parametrize("status", ["ESCROWED", "AWAITING_PROVIDER"])
@pytest.mark.parametrize(
    ("state", "until"),
    [
        ("CoolOff", ", until 2026-11-22 10:00:13 UTC"),
        ("UntilMonday", ", until 2026-11-23 00:00:00 UTC"),
        ("AsLongAsTold", ""),
        ("AskManager", ", until 2026-11-20 12:00:13 UTC"),
    ],
)
def test_a_wait_of_ones_own_is_told_as_what_it_is(
    aws: Aws, own_states: None, status: str, state: str, until: str
) -> None:
    aws.has(REQUEST | {"status": status}, ESCROW, HOLD)
    aws.runs(execution("RUNNING"))
    entered = {"timestamp": at(13), "type": "StateEntered", "stateEnteredEventDetails": {"name": state}}
    aws.went(*passed("ValidateRequest", 0, 1), *passed("EscrowHours", 1, 13), entered)
    aws.is_("RUNNING")
    shown = aws.show()
    # nothing of the week that a provider would have, of answers that nobody waits for, or of what would be stuck
    said = f"  {state} waits since 2026-11-20 10:00:13 UTC{until}; its definition says what comes next\n"
    assert shown.partition("\nNow\n")[2] == said
    (way,) = [line for line in shown.splitlines() if f"▶   {state}" in line]
    assert way.endswith(until.removeprefix(", ") or "waits, for seconds")


def test_a_step_that_works_waits_for_nobody(aws: Aws) -> None:
    aws.has(REQUEST | {"providerResponse": "ACCEPTED"}, ESCROW, HOLD)
    aws.runs(execution("RUNNING"))
    began, scheduled, _ = passed("StartServiceExecution", 13, 0)
    aws.went(*passed("EscrowHours", 1, 13), began, scheduled)
    aws.is_("RUNNING")
    shown = aws.show()
    assert "waits since" not in shown and "until" not in shown


@pytest.mark.parametrize("state", ["CoolOff", "EscrowHours"])
def test_what_waits_where_its_definition_says_is_not_stuck(aws: Aws, own_states: None, state: str) -> None:
    escrowed = REQUEST | {"status": "ESCROWED"}
    aws.stubs["dynamodb"].add_response("query", {"Items": [item({"id": escrowed["id"]})]})
    aws.stubs["dynamodb"].add_response("batch_get_item", {"Responses": {"SERVICE_REQUEST": [item(escrowed)]}})
    aws.stubs["dynamodb"].add_response("batch_get_item", {"Responses": {"ESCROW": [item(ESCROW)]}})
    aws.went({"timestamp": at(13), "type": "StateEntered", "stateEnteredEventDetails": {"name": state}})
    aws.is_("RUNNING")
    aws.stubs["dynamodb"].add_response("query", {"Items": []})
    found = stuck.Stuck(DEV, 5)
    found.look({}, BEGAN + timedelta(hours=3), timedelta(days=14))
    waits = [one.what for one in found.of_waits()]
    assert waits == ([] if state == "CoolOff" else ["ESCROWED, which takes minutes at most"])
    assert found.tally.count == len(found.tally) == len(waits)


def test_a_state_of_an_older_definition_is_told_as_well(aws: Aws) -> None:
    aws.has(REQUEST | {"status": "IN_PROGRESS", "providerResponse": "ACCEPTED"}, ESCROW, HOLD)
    aws.runs(execution("SUCCEEDED"))
    aws.went(*passed("ValidateRequest", 0, 1), *passed("AskSomebody", 1, 3))
    assert "  2026-11-20 10:00:01 UTC     2.0 s  ✓ AskSomebody\n" in aws.show()


def test_without_the_right_to_histories_only_the_path_is_missing(aws: Aws) -> None:
    aws.has(REQUEST | {"providerResponseTimeoutSeconds": Decimal(86400)}, ESCROW, HOLD)
    aws.runs(execution("RUNNING"))
    aws.hides_histories()
    aws.is_("RUNNING")
    shown = aws.show()
    assert "AWS does not allow GetExecutionHistory: the path through the states is left out\n" in shown
    # from the hold, and by the request's own time
    assert "waits since 2026-11-20 10:00:01 UTC, until 2026-11-21 10:00:01 UTC (in 21 h)" in shown
    assert "ValidateRequest" not in shown


def test_a_step_that_failed_is_named_with_its_log(aws: Aws) -> None:
    ended = {"status": "FAILED", "failureReason": "A technical failure; the hours were given back"}
    request = {name: value for name, value in REQUEST.items() if not name.startswith("taskToken")} | ended
    release = HOLD | {"id": "r1#ESCROW_REFUND", "type": "ESCROW_REFUND", "createdAt": "2026-11-20T10:00:09.000Z"}
    back = release | {"fromAccount": "escrow:r1", "toAccount": "user:ana"}
    aws.has(request, ESCROW | {"status": "REFUNDED"}, HOLD, back)
    aws.runs(execution("FAILED", error="RequestFailed"))
    aws.went(
        *passed("ValidateRequest", 0, 1),
        *passed("EscrowHours", 1, 2),
        *passed("WaitForProviderResponse", 2, 3),
        *passed("RefundAfterFailure", 3, 4),
        {"timestamp": at(4), "type": "FailStateEntered", "stateEnteredEventDetails": {"name": "RequestFailed"}},
    )
    shown = aws.show()
    assert shown.startswith("FAILED  a step failed, and no hours are held: A technical failure; the hours were given")
    assert "ESCROW_REFUND: 2 h, escrow → user:ana" in shown
    assert "  WaitForProviderResponse failed; what was held was given back\n" in shown
    log = (
        "aws logs filter-log-events --log-group-name /aws/lambda/hourbank-notifyProvider-dev "
        "--start-time 1795168802000 --end-time 1795168804000 --filter-pattern ERROR "
        "--query 'events[].message' --output text --region eu-west-1"
    )
    assert log in shown
    assert datetime.fromtimestamp(1795168802, UTC) == at(2)
    assert shown.endswith("\nNow\n  nothing is left to do\n")


def test_an_ending_that_failed_can_go_on_or_be_settled(aws: Aws) -> None:
    aws.has(REQUEST, ESCROW, HOLD)
    aws.runs(execution("FAILED", error="States.TaskFailed"))
    aws.went(*passed("WaitForProviderResponse", 0, 1), *list(passed("RefundEscrow", 1, 2))[:2])
    for _ in range(2):
        aws.is_("FAILED")
    shown = aws.show()
    assert "  RefundEscrow failed (States.TaskFailed)\n" in shown
    assert "/aws/lambda/hourbank-refundEscrow-dev --start-time" in shown
    now = shown.partition("\nNow\n")[2]
    assert now.startswith("  The request is AWAITING_PROVIDER, but its execution is FAILED\n")
    assert 'hourbank redrive r1 --reason "WHY" --stack dev' in now
    assert 'hourbank settle r1 --refund --reason "WHY" --stack dev' in now
    assert "can write" not in now


def test_hours_without_their_request(aws: Aws) -> None:
    aws.has(None, ESCROW, HOLD)
    aws.runs(execution("ABORTED"))
    aws.hides_histories()
    aws.is_("ABORTED")
    shown = aws.show()
    assert shown.startswith("The request is gone  r1\n")
    assert "\nNow\n  2 hours are held, and the request is gone\n" in shown
    assert 'hourbank settle r1 --refund --reason "WHY" --stack dev' in shown


def test_a_record_of_another_stack_is_said_to_be_one(aws: Aws) -> None:
    other = OWN.replace("-dev", "-prod")
    aws.has(REQUEST | {"stepFunctionExecutionArn": other}, ESCROW | {"executionArn": other}, HOLD)
    aws.runs()
    # the auditor may not look at it
    asked = {"executionArn": other}
    for _ in range(2):  # nor may whoever asks
        aws.stubs["stepfunctions"].add_client_error(
            "describe_execution", "AccessDeniedException", expected_params=asked
        )
    shown = aws.show()
    assert f"The record names an execution that is none of stack dev: {other}\n" in shown
    assert "\nNow\n  The request is AWAITING_PROVIDER, but its execution is unknown\n" in shown


@pytest.mark.parametrize(
    ("escrow", "shown"),
    [
        ({"id": "r1"}, "The request is AWAITING_PROVIDER, but it has no escrow"),
        (ESCROW | {"status": None}, "The escrow is neither HELD nor RELEASED nor REFUNDED"),
        (ESCROW | {"hours": "two"}, "The escrow does not say how many hours it is for"),
        (ESCROW | {"hours": Decimal("1e100")}, "The entry ESCROW_HOLD does not say how many hours it is about"),
        (ESCROW | {"executionArn": ""}, "hours are held, and the request is AWAITING_PROVIDER, of another execution"),
        (ESCROW | {"executionArn": ["x"]}, "hours are held, and the request is AWAITING_PROVIDER, of another"),
    ],
)
def test_rows_that_make_no_sense_are_shown_as_they_are(aws: Aws, escrow: dict[str, Any], shown: str) -> None:
    aws.has(REQUEST, escrow, {"id": "r1#ESCROW_HOLD", "hours": "two"})
    aws.runs(execution("RUNNING"))
    aws.hides_histories()
    for _ in range(3):
        aws.is_("RUNNING")
    out = Console(file=StringIO(), width=200)
    show_request(out, DEV, "r1")
    assert shown in out.file.getvalue()


def test_an_answer_on_its_way_asks_nobody_again(aws: Aws) -> None:
    moment = (BEGAN + timedelta(hours=3, seconds=-20)).isoformat()
    aws.has(REQUEST | {"providerResponse": "ACCEPTED", "updatedAt": moment}, ESCROW, HOLD)
    aws.runs(execution("RUNNING"))
    aws.hides_histories()
    aws.is_("RUNNING")
    now = aws.show().partition("\nNow\n")[2]
    assert now == (
        "  AWAITING_PROVIDER, and the answer ACCEPTED was not delivered\n"
        "  since 20 s: the stream has 15 min before the auditor shows it again\n"
    )


def test_a_service_in_progress_says_when_the_auditor_reports_it(aws: Aws) -> None:
    aws.has(REQUEST | {"status": "IN_PROGRESS", "providerResponse": "ACCEPTED"}, ESCROW, HOLD)
    aws.runs(execution("SUCCEEDED"))
    aws.hides_histories()
    now = aws.show().partition("\nNow\n")[2]
    assert now == (
        "  waits until somebody ends the service; nobody is timed out; "
        "the auditor reports it from 2026-12-04 10:00:02 UTC\n"
        "  the requester ana can write requesterResponse: COMPLETED\n"
        "  the provider ben can write providerResponse: WITHDRAWN\n"
    )


def test_an_unknown_id_is_one_line(aws: Aws) -> None:
    aws.has(None, None)
    aws.runs()
    with pytest.raises(HourBankError, match=r"^no request has the id r1 in stack dev: give its whole id"):
        aws.show()


def test_what_a_client_chose_is_neither_run_nor_drawn(aws: Aws) -> None:
    odd = "a'b\n\x1b[2J"
    aws.has(REQUEST | {"id": odd, "serviceId": "\x1b]0;x"}, None, request_id=odd)
    aws.runs(request_id=odd)
    aws.is_("FAILED")
    aws.hides_histories()
    aws.is_("FAILED")
    shown = aws.show(odd)
    assert "\x1b" not in shown
    assert "a'b\ufffd\ufffd[2J" in shown


def test_a_person_whom_no_balance_can_have_is_shown_all_the_same(aws: Aws) -> None:
    """Such as 2,049 bytes that a requester gave for a provider: DynamoDB takes no such key."""
    nobody = 2049 * "x"
    aws.has(REQUEST | {"requesterId": nobody, "providerId": nobody, "status": "REJECTED"}, None)
    aws.runs(execution("SUCCEEDED"))
    aws.hides_histories()
    assert f"requester                {nobody}" in aws.show()


def test_what_is_kept_of_an_order_does_not_speak_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "r1\x9b2J\u202e"
    orders.log(DEV, "settle", "me", "why", requestId=odd)
    line = capsys.readouterr().err
    assert line.isascii() and json.loads(line)["requestId"] == odd


def test_every_status_has_words_and_every_wait_what_people_can_do() -> None:
    assert set(STATUSES) == set(requests.TRANSITIONS)
    assert set(DEEDS) == {*requests.WAITS, "IN_PROGRESS"}
    ends = {command.callback.__name__ for command in try_it.commands.registered_commands if command.callback}
    assert {one.command for row in DEEDS.values() for one in row} <= ends


def test_what_people_are_told_to_write_is_an_answer() -> None:
    """Each word, written into its field, is one that the workflows understand in that status."""
    for status, row in DEEDS.items():
        for one in row:
            field, _, words = one.writes.partition(": ")
            for word in (word for word in words.replace(",", " ").split() if word.isupper()):
                request = {"status": status, field: word}
                heard = requests.decision(request) if status == "IN_PROGRESS" else requests.answer_awaited(request)
                assert heard not in (None, "UNKNOWN", "NOTHING"), (status, word)


def test_every_task_has_a_function_whose_log_can_be_named() -> None:
    assert set(story.functions().values()) == {*service_request.FUNCTIONS, *escrow_management.FUNCTIONS}


def test_the_state_that_failed_is_the_one_before_the_hours_were_given_back() -> None:
    def failed(*states: str) -> str | None:
        step = story.failed_step([executions.Step(state, BEGAN) for state in states])
        return step and step.state

    assert failed("EscrowHours", "RefundAfterFailure", "RequestFailed") == "EscrowHours"
    assert failed("EscrowHours", "RefundAfterFailure") == "RefundAfterFailure"
    assert failed("CheckProviderResponse", "RefundEscrow") == "RefundEscrow"
    assert failed() is None
