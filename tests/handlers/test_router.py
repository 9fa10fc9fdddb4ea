"""The router on images of the stream: what it starts, delivers, leaves alone, and asks for again."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends
from moto.stepfunctions.models import stepfunctions_backends

from components.dashboard import IGNORED
from handlers import route_service_request
from handlers.aws import dynamodb
from handlers.bank import execution
from tests.helpers.bank import CONTEXT

REQUESTS = "arn:aws:states:us-east-1:123456789012:stateMachine:ServiceRequestWorkflow-test"
RELEASES = "arn:aws:states:us-east-1:123456789012:stateMachine:EscrowManagementWorkflow-test"
NEW = "2026-11-02T00:00:00.000Z"


class Steps:
    """Step Functions as the router sees it: moto's executions, and answers that a test may refuse."""

    def __init__(self, moto: Any) -> None:
        self._moto = moto
        for arn in (REQUESTS, RELEASES):
            self._moto.create_state_machine(
                name=arn.split(":")[-1],
                definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
                roleArn="arn:aws:iam::123456789012:role/r",
            )
        self.exceptions = self._moto.exceptions
        self.describe_execution = self._moto.describe_execution
        self.refusal: str | None = None
        self.delivered: list[tuple[str, Any]] = []

    def start_execution(self, **arguments: Any) -> Any:
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal}}, "StartExecution")
        return self._moto.start_execution(**arguments)

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal, "Message": f"bad {taskToken}"}}, "SendTaskSuccess")
        self.delivered.append((taskToken, json.loads(output)))

    def names(self, machine: str = REQUESTS) -> list[str]:
        return sorted(one["name"] for one in self._moto.list_executions(stateMachineArn=machine)["executions"])

    def stop(self, name: str, machine: str = REQUESTS) -> None:
        self._moto.stop_execution(executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:{name}")


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    """moto's Step Functions; clients are made once, because that takes longer than most tests."""
    dynamodb.client.cache_clear()
    with mock_aws():
        yield boto3.client("stepfunctions")
    dynamodb.client.cache_clear()


@pytest.fixture
def steps(moto: Any, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.setenv("SERVICE_REQUEST_TABLE_NAME", "ServiceRequest")
    monkeypatch.setenv("SERVICE_REQUEST_WORKFLOW_ARN", REQUESTS)
    monkeypatch.setenv("ESCROW_MANAGEMENT_WORKFLOW_ARN", RELEASES)
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-11-01T00:00:00Z")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "hourbank-test")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "HourBank")
    dynamodb_backends.reset()
    stepfunctions_backends.reset()
    dynamodb.client("dynamodb").create_table(
        TableName="ServiceRequest",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    steps = Steps(moto)
    for module in (route_service_request, execution):
        monkeypatch.setattr(module, "client", lambda _: steps)
    return steps


def record(number: int = 1, *, event: str = "MODIFY", **item: Any) -> dict[str, Any]:
    """A record of the stream; what an attribute is here, the table has as well."""
    item = {"id": "r1", "createdAt": NEW} | item
    image = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    dynamodb.client("dynamodb").put_item(TableName="ServiceRequest", Item=image)
    return {
        "eventID": str(number),
        "eventName": event,
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {"id": image["id"]}, "NewImage": image, "SequenceNumber": str(number)},
    }


def route(*records: dict[str, Any]) -> list[str]:
    """What must be delivered again, by sequence number."""
    answer = route_service_request.handler({"Records": list(records)}, CONTEXT)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def ignored(log: pytest.CaptureFixture[str]) -> list[str]:
    """Why records were left alone, as it was counted."""
    lines = [json.loads(line) for line in log.readouterr().out.splitlines()]
    return [line["reason"] for line in lines if "RequestIgnored" in line]


@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": "PENDING"}])
@pytest.mark.parametrize("event", ["INSERT", "MODIFY"])
def test_a_new_request_is_started_with_its_id_alone(steps: Steps, status: dict[str, Any], event: str) -> None:
    assert route(record(event=event, **status, estimatedHours=3)) == []
    assert steps.names() == ["service-request-r1"]
    started = steps.describe_execution(
        executionArn=REQUESTS.replace("stateMachine", "execution") + ":service-request-r1"
    )
    assert json.loads(started["input"]) == {"requestId": "r1"}


@pytest.mark.parametrize(
    "created",
    ["2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00", "2099-01-01T00:00:00Z"],
)
def test_a_request_from_then_on_is_started(steps: Steps, created: str) -> None:
    route(record(createdAt=created))
    assert steps.names() == ["service-request-r1"]


@pytest.mark.parametrize(
    ("created", "counted"),
    [
        ("2026-10-31T23:59:59.999Z", False),
        ("2026-11-01T00:30:00+01:00", False),
        (None, True),
        ("yesterday", True),
        ("2026-11-02", True),
        ("2026-11-02T00:00:00", True),
        (1793577600, True),
        ({"a": 1}, True),
    ],
)
def test_a_request_from_before_or_from_no_time_is_left_alone(
    steps: Steps, created: Any, counted: bool, log: pytest.CaptureFixture[str]
) -> None:
    assert route(record(createdAt=created)) == []
    assert steps.names() == []
    assert ("RequestIgnored" in log.readouterr().out) is counted


@pytest.mark.parametrize(
    "status", ["VALIDATING", "ESCROWED", "COMPLETED", "REJECTED", "FAILED", "nonsense", "", 5, {"a": 1}, ["PENDING"]]
)
def test_any_other_status_starts_nothing(steps: Steps, status: Any) -> None:
    answers = {"providerResponse": "ACCEPTED", "requesterResponse": "COMPLETED", "taskToken": "t"}
    assert route(record(status=status, **answers)) == []
    assert not steps.names() and not steps.names(RELEASES) and not steps.delivered


def test_a_removal_is_not_a_request(steps: Steps) -> None:
    removal = record(event="REMOVE")
    removal["dynamodb"]["OldImage"] = removal["dynamodb"].pop("NewImage")
    assert route(removal) == []
    assert steps.names() == []


@pytest.mark.parametrize(
    ("answers", "delivered"),
    [
        ({"providerResponse": "ACCEPTED"}, "ACCEPTED"),
        ({"providerResponse": "REJECTED"}, "REJECTED"),
        ({"providerResponse": "COUNTER_OFFER"}, "COUNTER_OFFER"),
        ({"providerResponse": "perhaps"}, "UNKNOWN"),
        ({"providerResponse": "WITHDRAWN"}, "UNKNOWN"),
        ({"requesterResponse": "CANCELLED"}, "CANCELLED"),
        ({"providerResponse": "ACCEPTED", "requesterResponse": "CANCELLED"}, "ACCEPTED"),
        ({"providerResponse": None, "requesterResponse": "CANCELLED"}, "CANCELLED"),
        ({"requesterResponse": "ACCEPTED"}, None),
        ({"providerResponse": None}, None),
        ({}, None),
    ],
)
def test_the_providers_wait_ends_with_an_answer(steps: Steps, answers: dict[str, Any], delivered: str | None) -> None:
    assert route(record(status="AWAITING_PROVIDER", taskToken="t", **answers)) == []
    assert steps.delivered == ([("t", {"answer": delivered})] if delivered else [])


@pytest.mark.parametrize(
    ("response", "delivered"),
    [("ACCEPTED", True), ("REJECTED", True), ("CANCELLED", True), ("COMPLETED", False), ("x", False), (None, False)],
)
def test_the_negotiation_ends_with_the_requesters_answer(steps: Steps, response: str | None, delivered: bool) -> None:
    route(record(status="NEGOTIATING", taskToken="t", providerResponse="COUNTER_OFFER", requesterResponse=response))
    assert steps.delivered == ([("t", {"answer": response})] if delivered else [])


def test_an_answer_that_came_before_the_token_waits_for_it(steps: Steps) -> None:
    route(record(1, status="ESCROWED", providerResponse="ACCEPTED"))
    assert steps.delivered == []
    route(record(2, status="AWAITING_PROVIDER", providerResponse="ACCEPTED", taskToken="t"))
    assert steps.delivered == [("t", {"answer": "ACCEPTED"})]


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_late_answer_is_counted_and_never_shows_the_token(
    steps: Steps, code: str, log: pytest.CaptureFixture[str]
) -> None:
    steps.refusal = code
    assert route(record(status="AWAITING_PROVIDER", taskToken="secret", providerResponse="ACCEPTED")) == []
    out = log.readouterr().out
    assert "LateAnswer" in out and "secret" not in out
    assert any(json.loads(line).get("correlation_id") == "r1" for line in out.splitlines())


@pytest.mark.parametrize("told", ["2026-13-45T99:99Z", "nope", "", "2026-11-01T00:00:00"])
def test_a_deployment_without_a_time_says_so_and_answers_arrive_all_the_same(
    steps: Steps, told: str, monkeypatch: pytest.MonkeyPatch, log: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("START_REQUESTS_FROM", told)
    waiting = {"status": "AWAITING_PROVIDER", "taskToken": "t", "providerResponse": "ACCEPTED"}
    assert route(record(1, id="r1"), record(2, id="r2", **waiting)) == ["1"]
    assert (steps.names(), steps.delivered) == ([], [("t", {"answer": "ACCEPTED"})])
    (failed,) = [line for line in map(json.loads, log.readouterr().out.splitlines()) if line.get("level") == "ERROR"]
    assert failed["error"].startswith(f"START_REQUESTS_FROM is {told!r}, which is no time")


def test_what_fails_is_asked_for_again_and_nothing_else(steps: Steps, log: pytest.CaptureFixture[str]) -> None:
    waiting = {"status": "AWAITING_PROVIDER", "taskToken": "secret", "providerResponse": "ACCEPTED"}
    steps.refusal = "AccessDeniedException"
    assert route(record(1, id="r1", status="ESCROWED"), record(2, id="r2", **waiting), record(3, id="r3")) == ["2", "3"]
    assert route(record(2, id="r2", **waiting)) == ["2"], "a batch of failures alone is no exception either"
    out = log.readouterr().out
    assert "secret" not in out
    failed = [line for line in map(json.loads, out.splitlines()) if line.get("level") == "ERROR"]
    assert [line["correlation_id"] for line in failed] == ["r2", "r3", "r2"]
    assert {line["error"] for line in failed} == {"AccessDeniedException"}
    steps.refusal = None
    assert route(record(2, id="r2", **waiting)) == []
    assert steps.delivered == [("secret", {"answer": "ACCEPTED"})]


class Busy:
    """Step Functions that answers so many calls with an error first, while the function's time goes by."""

    def __init__(self, steps: Steps, error: Exception, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._error, self._left = error, times
        self.milliseconds, self.calls = 60_000.0, 0
        for name in ("start_execution", "send_task_success"):
            monkeypatch.setattr(steps, name, self._busy(getattr(steps, name)))
        monkeypatch.setattr(dynamodb.time, "sleep", self._sleep)
        monkeypatch.setattr(CONTEXT, "get_remaining_time_in_millis", lambda: self.milliseconds)

    def _sleep(self, seconds: float) -> None:
        self.milliseconds -= seconds * 1000

    def _busy(self, call: Any) -> Any:
        def busy(**arguments: Any) -> Any:
            self.calls += 1
            self.milliseconds -= 30
            if self._left:
                self._left -= 1
                raise self._error
            return call(**arguments)

        return busy


def refused(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "StartExecution")


PASSING = [
    refused("ThrottlingException"),
    refused("ExecutionLimitExceeded"),
    refused("ServiceUnavailable", 503),
    ReadTimeoutError(endpoint_url="https://states"),
    EndpointConnectionError(endpoint_url="https://states"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_aws_is_too_busy_for_is_tried_again_within_the_functions_time(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    waiting = {"status": "AWAITING_PROVIDER", "taskToken": "t", "providerResponse": "ACCEPTED"}
    busy = Busy(steps, error, 7, monkeypatch)
    assert route(record(1, id="r1"), record(2, id="r2", **waiting)) == []
    assert steps.names() == [execution.execution_name(execution.REQUEST_PREFIX, "r1")]
    assert steps.delivered == [("t", {"answer": "ACCEPTED"})]
    assert busy.calls == 9


def test_where_the_time_is_up_the_rest_of_the_batch_is_given_back_untried(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, log: pytest.CaptureFixture[str]
) -> None:
    busy = Busy(steps, refused("ThrottlingException"), 10_000, monkeypatch)
    assert route(*(record(number, id=f"r{number}") for number in range(1, 26))) == [str(n) for n in range(1, 26)]
    assert 20_000 < busy.milliseconds < 25_000, "a call that is not answered has its time, and the function ends itself"
    assert busy.calls > 20
    lines = [json.loads(line) for line in log.readouterr().out.splitlines()]
    assert {line["error"] for line in lines if line.get("level") == "ERROR"} == {"OutOfTime"}


def test_what_stays_wrong_is_given_back_at_once_and_holds_nothing_up(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(steps, refused("AccessDeniedException"), 1, monkeypatch)
    assert route(record(1, id="r1"), record(2, id="r2")) == ["1"]
    assert busy.calls == 2 and busy.milliseconds > 59_000


@pytest.mark.parametrize(
    ("answers", "started"),
    [
        ({"requesterResponse": "COMPLETED"}, True),
        ({"providerResponse": "WITHDRAWN"}, True),
        ({"providerResponse": "ACCEPTED"}, False),
        ({"requesterResponse": "CANCELLED"}, False),
    ],
)
def test_the_end_of_a_service_starts_the_release(steps: Steps, answers: dict[str, Any], started: bool) -> None:
    assert route(record(status="IN_PROGRESS", **answers)) == []
    assert steps.names(RELEASES) == (["escrow-release-r1"] if started else [])
    assert steps.names() == []


@pytest.mark.parametrize(
    ("machine", "prefix", "item"),
    [
        (REQUESTS, "service-request-", {"status": "PENDING"}),
        (RELEASES, "escrow-release-", {"status": "IN_PROGRESS", "requesterResponse": "COMPLETED"}),
    ],
)
def test_a_record_seen_again(steps: Steps, machine: str, prefix: str, item: dict[str, Any]) -> None:
    route(record(1, **item))
    assert route(record(2, **item)) == []
    assert steps.names(machine) == [f"{prefix}r1"], "while it runs, once is enough"

    steps.stop(f"{prefix}r1", machine)
    assert route(record(3, **item)) == []
    assert steps.names(machine) == [f"{prefix}r1", f"{prefix}r1-2"], "closed with the work still due: the next name"

    old = record(4, **item)
    record(5, status="COMPLETED")
    steps.stop(f"{prefix}r1-2", machine)
    assert route(old) == []
    assert len(steps.names(machine)) == 2, "the record has moved on since"

    dynamodb.client("dynamodb").delete_item(TableName="ServiceRequest", Key={"id": {"S": "r1"}})
    assert route(old) == []
    assert len(steps.names(machine)) == 2, "the record is gone"


@pytest.mark.parametrize("request_id", ["a", "x" * 200, "ünï çødé/#", "日本", "r-2"])
def test_ids_of_any_kind_are_started(steps: Steps, request_id: str) -> None:
    assert route(record(id=request_id)) == []
    assert len(steps.names()) == 1


def test_names_that_somebody_used_up_do_not_hold_the_stream_up(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, log: pytest.CaptureFixture[str]
) -> None:
    # Given a request whose first names were all used before it was there
    for number in range(1, 40):
        name = "service-request-r1" + (f"-{number}" if number > 1 else "")
        steps.start_execution(stateMachineArn=REQUESTS, name=name, input="{}")
        steps.stop(name)
    # Then the router does not count through them
    tried = 0
    start = steps.start_execution

    def count(**arguments: Any) -> Any:
        nonlocal tried
        tried += 1
        return start(**arguments)

    monkeypatch.setattr(steps, "start_execution", count)
    assert route(record()) == []
    assert tried < 20
    assert len(steps.names()) == 40
    # And where none is left, the record is left alone and counted: the auditor looks after it
    monkeypatch.setattr(route_service_request, "_numbers", lambda: iter([1, 2]))
    assert route(record()) == []
    assert ignored(log) == ["name"]


def test_the_dashboard_shows_each_reason_to_leave_a_record_alone() -> None:
    assert IGNORED.keys() == route_service_request.WHY_IGNORED.keys()
