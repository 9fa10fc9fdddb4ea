"""The dashboard: what it draws is there to be drawn, and nothing covers anything else.

Write one here when a metric is added: each custom metric is really emitted, by a story that is played.
"""

import json
import os
import re
from decimal import Decimal
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest

from components import dashboard
from handlers import audit_ledger, route_service_request
from handlers.bank import requests
from hourbank.export import parameterised
from hourbank.local import deploy
from hourbank.local.emulator import Emulator
from hourbank.program.recorder import Recording
from hourbank.simulate.world import deployed
from tests.helpers.recordings import recorded

# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
METRICS = {
    ("AWS/States", "StateMachineArn", "StateMachine", r"\$\{(\w+)\}"): {
        *("ExecutionsStarted", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"),
        "ExecutionTime",
    },
    ("AWS/Lambda", "FunctionName", "Function", r"\$\{(\w+)\}"): {"Errors", "Throttles", "Duration", "IteratorAge"},
    ("AWS/SQS", "QueueName", "Queue", r"\$\{(\w+)\.QueueName\}"): {"ApproximateNumberOfMessagesVisible"},
}

MAILS = {"hourbank:notifyFrom": "hours@example.com", "hourbank:userPoolId": "us-east-1_AbCdEfGhI"}


@pytest.fixture(scope="module", params=["dev", "opted in"])
def recording(request: pytest.FixtureRequest) -> Recording:
    if request.param == "dev":
        return recorded("dev")
    endpoint = "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql"
    return recorded("dev", {"hourbank:appsyncEndpoint": endpoint} | MAILS)


def body(recording: Recording) -> dict[str, Any]:
    (resource,) = recording.of_type("Dashboard")
    assert resource.inputs["dashboardName"] == f"hourbank-{recording.stack}"
    return json.loads(resource.inputs["dashboardBody"])


def widgets(recording: Recording, type_: str) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in body(recording)["widgets"] if widget["type"] == type_]


def drawn(recording: Recording) -> list[list[Any]]:
    """Every metric without its options; expressions are not among them."""
    lines = [line for properties in widgets(recording, "metric") for line in properties["metrics"]]
    plain = [[part for part in line if not isinstance(part, dict)] for line in lines]
    return [line for line in plain if line]


def test_no_widget_covers_another_or_leaves_the_page(recording: Recording) -> None:
    placed = body(recording)["widgets"]
    cells = []
    for widget in placed:
        assert widget["x"] >= 0 and widget["y"] >= 0 and widget["height"] >= 1
        assert widget["width"] >= 1 and widget["x"] + widget["width"] <= 24
        across = range(widget["x"], widget["x"] + widget["width"])
        cells.append({(x, y) for x in across for y in range(widget["y"], widget["y"] + widget["height"])})
    assert all(not one & other for one, other in combinations(cells, 2))
    # and no hole between them, in which something seems to be missing
    bottom = max(widget["y"] + widget["height"] for widget in placed)
    assert set.union(*cells) == {(x, y) for x in range(24) for y in range(bottom)}


def test_the_alarms_are_on_top_and_all_of_them_are_there_once(recording: Recording) -> None:
    assert [widget["type"] for widget in body(recording)["widgets"]][:3] == ["text", "alarm", "alarm"]
    shown = [arn for properties in widgets(recording, "alarm") for arn in properties["alarms"]]
    assert sorted(shown) == sorted(f"${{{alarm.logical_id}.Arn}}" for alarm in recording.of_type("MetricAlarm"))


def test_a_metric_of_aws_is_of_a_resource_of_the_program(recording: Recording) -> None:
    seen = set()
    for namespace, metric, *dimensions in drawn(recording):
        if namespace == "HourBank":
            continue
        ((_, dimension, type_, form), known) = next(one for one in METRICS.items() if one[0][0] == namespace)
        name, value = dimensions
        assert (name, metric in known) == (dimension, True), metric
        logical_id = re.fullmatch(form, value)[1]
        assert logical_id in {resource.logical_id for resource in recording.of_type(type_)}, value
        seen.add((namespace, metric, logical_id))
    for function in recording.of_type("Function"):
        assert {("AWS/Lambda", metric, function.logical_id) for metric in ("Errors", "Duration", "Throttles")} <= seen
    queues = {("AWS/SQS", "ApproximateNumberOfMessagesVisible", one.logical_id) for one in recording.of_type("Queue")}
    assert queues <= seen
    # what is not drawn need not be in the list above
    assert {metric for _, metric, _ in seen} == set.union(*METRICS.values())


def test_a_graph_adds_up_what_is_there(recording: Recording) -> None:
    for properties in widgets(recording, "metric"):
        options = [line[-1] for line in properties["metrics"] if isinstance(line[-1], dict)]
        ids = {option["id"] for option in options if "id" in option}
        for expression in filter(None, (option.get("expression") for option in options)):
            assert set(re.findall(r"[a-z]\w*", expression)) <= ids
        assert properties["region"] == "${AWS::Region}"
        assert properties["title"]
        assert properties["period"] % 60 == 0
        # a metric of the auditor comes once an hour: in a shorter period it would be missing most of the time
        if any(line[:2] == ["HourBank", "HoursInEscrow"] for line in properties["metrics"]):
            assert properties["period"] >= 2 * 60 * 60


def test_every_end_of_a_request_has_a_line() -> None:
    assert set(dashboard.OUTCOMES) == {status for status, after in requests.TRANSITIONS.items() if not after}
    assert len(set(dashboard.OUTCOMES.values())) == len(dashboard.OUTCOMES)


def emitted(printed: str) -> set[tuple[str, ...]]:
    """Namespace, name and dimensions with their values, of each metric in what was printed."""
    found = set()
    for line in printed.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        metric = json.loads(line)
        for directive in metric["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = [part for name in names for part in (name, metric[name])]
                found |= {(directive["Namespace"], one["Name"], *dimensions) for one in directive["Metrics"]}
    return found


@pytest.mark.thorough
def test_a_custom_metric_is_emitted_with_its_dimensions(
    log: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a stack in which people do all that can be counted
    variables = recorded("dev").named("auditLedger").inputs["environment"]["variables"]
    with deployed() as world:
        world.grant("ann", 100)
        for outcome, answers in {
            "COMPLETED": ({"providerResponse": "ACCEPTED"}, {"requesterResponse": "COMPLETED"}),
            "DECLINED": ({"providerResponse": "REJECTED"},),
            "CANCELLED": ({"requesterResponse": "CANCELLED"},),
            "REJECTED": (),
        }.items():
            world.submit(outcome, **({"estimatedHours": Decimal(1000)} if outcome == "REJECTED" else {}))
            world.settle()
            for answer in answers:
                world.update(outcome, **answer)
                world.settle()
        world.submit("TIMED_OUT")
        world.settle()
        world.expire(world.execution("service-request-TIMED_OUT"))
        world.on_invoke = fail_to_ask
        world.submit("FAILED")
        world.settle()
        world.on_invoke = None
        statuses = {request_id: request["status"] for request_id, request in world.ledger().requests.items()}
        assert statuses == {outcome: outcome for outcome in dashboard.OUTCOMES}
        # When its functions count, as that stack's
        counted = emitted(log.readouterr().out)
        with world.as_client():
            os.environ |= variables | world._environment["auditLedger"]
            os.environ["POWERTOOLS_SERVICE_NAME"] = variables["POWERTOOLS_SERVICE_NAME"]
            parameter = SimpleNamespace(
                get_parameter=lambda **_: {"Parameter": {"Value": "begin"}}, put_parameter=lambda **_: None
            )
            monkeypatch.setattr("handlers.bank.cursor.client", lambda _: parameter)
            audit_ledger.handler({}, Context())
            route_service_request.deliver("a token that nobody waits for", "ACCEPTED")
            for reason in dashboard.IGNORED:
                route_service_request.ignore(reason)
        counted |= emitted(log.readouterr().out)
    service = {metric[metric.index("service") + 1] for metric in counted}
    (other,) = service - {variables["POWERTOOLS_SERVICE_NAME"]}  # the stack that is played
    as_deployed = {tuple(part.replace(other, "hourbank-dev") for part in metric) for metric in counted}
    # Then what is drawn is there, in the same order of dimensions
    shown = {tuple(line) for line in drawn(recorded("dev")) if line[0] == "HourBank"}
    assert shown - as_deployed == set()
    # and what is counted is drawn, but for the auditor's own bookkeeping
    assert {metric[1] for metric in as_deployed - shown} == {"AuditCompleted", "AuditHoursBehind", "RequestsAudited"}


def fail_to_ask(invocation: Any, moment: str) -> None:
    if invocation.function == "notifyProvider":
        raise RuntimeError("the bus is down")


class Context:
    """What Lambda tells a function of itself."""

    function_name = invoked_function_arn = aws_request_id = "x"
    memory_limit_in_mb = 512

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_an_export_has_it_with_its_references(recording: Recording) -> None:
    made = parameterised.template(parameterised.record("cloudformation"), code="./code.zip")["Resources"]["Dashboard"]
    assert made["Type"] == "AWS::CloudWatch::Dashboard"
    assert made["Properties"]["DashboardName"] == {"Fn::Sub": "hourbank-${Environment}"}
    text = made["Properties"]["DashboardBody"]["Fn::Sub"]
    assert '"${RouteServiceRequest}"' in text and '"hourbank-${Environment}"' in text
    json.loads(text)


@pytest.mark.thorough
@pytest.mark.xdist_group("dashboard")
def test_the_emulator_shows_it_with_names_in_place_of_references() -> None:
    with Emulator() as emulator:
        deploy.deploy(emulator, response_timeout_seconds=60)
        cloudwatch = emulator.client("cloudwatch")
        shown = cloudwatch.get_dashboard(DashboardName="hourbank-local")["DashboardBody"]
        alarms = [one["AlarmArn"] for one in cloudwatch.describe_alarms()["MetricAlarms"]]
    assert "${" not in shown
    named = [arn for widget in json.loads(shown)["widgets"] for arn in widget["properties"].get("alarms", ())]
    assert sorted(named) == sorted(alarms)
    assert '"FunctionName", "hourbank-createEscrow-local"' in shown
