"""The file for `pulumi import`: all that is declared, under its parents, each by the id that the provider asks for.

What an engine makes of the file is tried in tests/engine/test_handover.py.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from rich.console import Console

from hourbank import names
from hourbank.account import adopt, doctor
from hourbank.export import parameterised
from hourbank.program.configuration import read_stack
from hourbank.program.recorder import Recording
from tests.helpers.recordings import recorded

OPT_IN = {
    "hourbank:appsyncEndpoint": "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql",
    "hourbank:amplifyAuthRoleName": "amplify-app-dev-123456-authRole",
    "hourbank:notifyFrom": "hours@example.com",
    "hourbank:userPoolId": "us-east-1_AbCdEfGhI",
}
PLACE = "us-east-1:123456789012"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recorded("dev", OPT_IN)


@pytest.fixture
def made(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The file's entries by what they are called in it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(adopt, "queue_url", lambda name: f"https://queues/{name}")
    monkeypatch.setattr(adopt, "mapping_uuid", lambda function: f"mapping of {function}")
    with mock_aws():
        entries = adopt.imports(recording, adopt.Placeholders(recording))["resources"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry for entry in entries}


def test_everything_declared_is_there_with_an_id_and_nothing_else(
    recording: Recording, made: dict[str, dict[str, Any]]
) -> None:
    resources = {(entry["type"], entry["logicalName"]) for entry in made.values() if not entry.get("component")}
    assert resources == {(part.type, part.name) for part in recording.resources}
    components = {(entry["type"], entry["logicalName"]) for entry in made.values() if entry.get("component")}
    assert components == {(part.type, part.name) for part in recording.components.values()}
    for entry in made.values():
        assert ("id" in entry) != entry.get("component", False)
        assert "$" not in json.dumps(entry)


def test_a_part_stands_after_the_component_that_it_is_a_part_of(made: dict[str, dict[str, Any]]) -> None:
    seen: set[str] = set()
    for name, entry in made.items():
        assert entry.get("parent") is None or entry["parent"] in seen, name
        seen.add(name)
    function = made["aws:lambda/function:Function auditLedger"]
    # three things of one name, one inside the other
    assert function["parent"] == "hourbank:index:WorkflowFunction auditLedger"
    assert made[function["parent"]]["parent"] == "hourbank:index:Auditor auditLedger"


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("aws:cloudwatch/eventBus:EventBus eventBus", "hourbank-event-bus-dev"),
        (
            "aws:cloudwatch/eventRule:EventRule subscriptions-rule",
            "hourbank-event-bus-dev/hourbank-subscriptions-dev",
        ),
        (
            "aws:cloudwatch/eventTarget:EventTarget subscriptions-target",
            "hourbank-event-bus-dev/hourbank-subscriptions-dev/appsync",
        ),
        ("aws:cloudwatch/logGroup:LogGroup createEscrow-logs", "/aws/lambda/hourbank-createEscrow-dev"),
        ("aws:cloudwatch/metricAlarm:MetricAlarm createEscrow-errors", "hourbank-createEscrow-errors-dev"),
        ("aws:cloudwatch/dashboard:Dashboard dashboard", "hourbank-dev"),
        ("aws:iam/role:Role createEscrow-role", "hourbank-createEscrow-dev-us-east-1"),
        ("aws:iam/rolePolicy:RolePolicy createEscrow-policy", "hourbank-createEscrow-dev-us-east-1:function"),
        (
            "aws:iam/rolePolicy:RolePolicy browserStarts-policy",
            "amplify-app-dev-123456-authRole:hourbank-browserStarts-dev",
        ),
        (
            "aws:lambda/eventSourceMapping:EventSourceMapping routeServiceRequest-stream",
            "mapping of hourbank-routeServiceRequest-dev",
        ),
        ("aws:dynamodb/table:Table sendNotification-mailed", "hourbank-mailed-dev"),
        ("aws:lambda/function:Function createEscrow", "hourbank-createEscrow-dev"),
        ("aws:scheduler/schedule:Schedule auditLedger-schedule", "default/hourbank-auditLedger-dev"),
        (
            "aws:sfn/stateMachine:StateMachine ServiceRequestWorkflow",
            f"arn:aws:states:{PLACE}:stateMachine:ServiceRequestWorkflow-dev",
        ),
        ("aws:sqs/queue:Queue subscriptions-queue", "https://queues/hourbank-subscriptions-failures-dev"),
        (
            "aws:sqs/queuePolicy:QueuePolicy subscriptions-queue-policy",
            "https://queues/hourbank-subscriptions-failures-dev",
        ),
    ],
)
def test_an_id_is_what_the_providers_documentation_asks_for(
    made: dict[str, dict[str, Any]], name: str, id_: str
) -> None:
    assert made[name]["id"] == id_


def test_a_stack_that_is_not_there_or_that_the_program_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        adopt.HourBankError, match=r"^there is no Pulumi\.nowhere\.yaml beside the program: `pulumi stack"
    ):
        adopt.write(tmp_path / "adopt.json", "nowhere", "us-east-1")
    monkeypatch.setattr(adopt, "configuration", read_stack)
    with pytest.raises(adopt.HourBankError, match=r"^stack Nowhere: its name is a part of every resource's name"):
        adopt.write(tmp_path / "adopt.json", "Nowhere", "us-east-1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("config: [", r"^Pulumi\.mine\.yaml is no YAML \(line 1: .*\): correct it"),
        ("- a", r"^Pulumi\.mine\.yaml is not a map"),
        ("config: 3", r"^Pulumi\.mine\.yaml: config is not a map"),
        (b"\xff", r"^Pulumi\.mine\.yaml cannot be read"),
    ],
)
@pytest.mark.parametrize(
    "command", [lambda out: adopt.write(out, "mine", "us-east-1"), lambda _: doctor.doctor(Console(), "mine", None)]
)
def test_a_stacks_file_that_nobody_can_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, says: str, command: Callable[[Path], object]
) -> None:
    shutil.copy(names.ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(names, "ROOT", tmp_path)
    with pytest.raises(adopt.HourBankError, match=says) as refused:
        command(tmp_path / "adopt.json")
    assert "\n" not in str(refused.value)


def test_a_region_that_is_not_the_stacks_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(adopt.HourBankError, match=r"^stack dev is in us-east-1 \(aws:region\), not in eu-west-1"):
        adopt.write(tmp_path / "adopt.json", "dev", "eu-west-1")


def test_a_template_that_lets_go_changes_more_than_the_policies() -> None:
    # CloudFormation takes no update that changes them alone
    recording = parameterised.record("cloudformation")
    held, retained = (
        parameterised.template(recording, code="./code.zip", retain=retain)["Resources"] for retain in (False, True)
    )
    policies = {"DeletionPolicy", "UpdateReplacePolicy"}
    for name, part in retained.items():
        assert part["DeletionPolicy"] == "Retain"
        assert {key: part[key] for key in set(part) - policies} != {
            key: held[name][key] for key in set(held[name]) - policies
        }
