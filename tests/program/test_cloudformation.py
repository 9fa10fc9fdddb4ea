"""The template: all that was recorded, in CloudFormation's words, and nothing that it does not know.

Write one here when the program declares a new type of resource.
"""

import dataclasses
import json
from string import Formatter
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint

from hourbank.program import cloudformation
from hourbank.program.cloudformation import references, template
from hourbank.program.recorder import Recording, Resource, record
from hourbank.program.resource_types import RESOURCE_TYPES
from tests.helpers.recordings import called_versions, recorded
from workflows import service_request

BUCKET, KEY = "code-bucket", "hourbank.zip"


@pytest.fixture(scope="module")
def dev() -> Recording:
    return recorded("dev")


@pytest.fixture(scope="module")
def opted_in() -> Recording:
    config = {
        "hourbank:appsyncEndpoint": "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql",
        "hourbank:amplifyAuthRoleName": "amplify-app-dev-123456-authRole",
        "hourbank:notifyFrom": "hours@example.com",
        "hourbank:userPoolId": "us-east-1_AbCdEfGhI",
    }
    return recorded("dev", config)


@pytest.fixture(scope="module")
def resources(dev: Recording) -> dict[str, Any]:
    return template(dev, bucket=BUCKET, key=KEY)["Resources"]


def changed(recording: Recording, name: str, **changes: Any) -> Recording:
    """The recording with one resource changed."""
    parts = [dataclasses.replace(part, **changes) if part.name == name else part for part in recording.resources]
    return dataclasses.replace(recording, resources=tuple(parts))


@pytest.mark.thorough
def test_cfn_lint_finds_nothing() -> None:
    # prod has what the others have, and actions of alarms and retained machines besides
    made = template(recorded("prod"), bucket=BUCKET, key=KEY)
    found = lint(json.dumps(made), config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


@pytest.mark.thorough
def test_cfn_lint_finds_nothing_where_the_stack_opts_in(opted_in: Recording) -> None:
    made = template(opted_in, bucket=BUCKET, key=KEY)
    found = lint(json.dumps(made), config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_a_target_is_a_part_of_its_rule(opted_in: Recording) -> None:
    made = template(opted_in, bucket=BUCKET, key=KEY)["Resources"]
    assert "SubscriptionsTarget" not in made
    rule = made["SubscriptionsRule"]
    (target,) = rule["Properties"]["Targets"]
    assert target["Id"] == "appsync"
    assert target["RoleArn"] == {"Fn::GetAtt": ["SubscriptionsRole", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["SubscriptionsQueue", "Arn"]}}
    assert target["AppSyncParameters"]["GraphQLOperation"].startswith("mutation PublishRequestEvent(")
    # what the target waits for, its rule waits for
    assert rule["DependsOn"] == ["SubscriptionsPolicy", "SubscriptionsQueuePolicy"]


def test_an_input_of_a_target_without_a_form_is_refused_by_name(opted_in: Recording) -> None:
    inputs = opted_in.named("subscriptions-target").inputs | {"sqsTarget": {"messageGroupId": "one"}}
    with pytest.raises(ValueError, match="subscriptions-target: sqsTarget"):
        template(changed(opted_in, "subscriptions-target", inputs=inputs), bucket=BUCKET, key=KEY)


def test_every_recorded_resource_is_in_the_template(dev: Recording, resources: dict[str, Any]) -> None:
    assert set(resources) == {resource.logical_id for resource in dev.resources} | called_versions(dev)


def test_every_form_is_used(opted_in: Recording) -> None:
    assert {resource.type for resource in opted_in.resources} == set(RESOURCE_TYPES)


@pytest.mark.parametrize("type_", RESOURCE_TYPES)
def test_an_entry_speaks_of_inputs_that_the_template_knows(type_: str) -> None:
    entry = RESOURCE_TYPES[type_]
    asked = {name.rpartition(" of ")[2] for _, name, _, _ in Formatter().parse(entry.import_id) if name}
    named = {name for name in asked if not name.startswith("AWS::")} | {*entry.replaced_by} | {*entry.defaults}
    assert named <= {*entry.properties, *entry.defaults}
    assert entry.defaults.keys() <= {*entry.replaced_by}


def test_every_input_reaches_the_template(resources: dict[str, Any]) -> None:
    assert resources["CreateEscrow"]["Properties"] == {
        "Code": {"S3Bucket": BUCKET, "S3Key": KEY},
        "FunctionName": "hourbank-createEscrow-dev",
        "Runtime": "python3.13",
        "Architectures": ["arm64"],
        "Handler": "handlers.create_escrow.handler",
        "Role": {"Fn::GetAtt": ["CreateEscrowRole", "Arn"]},
        "Timeout": 30,
        "MemorySize": 512,
        "Environment": {
            "Variables": {
                "POWERTOOLS_SERVICE_NAME": "hourbank-dev",
                "POWERTOOLS_METRICS_NAMESPACE": "HourBank",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                "SERVICE_REQUEST_TABLE_NAME": "ServiceRequest-abcdefghijklmnopqrstuvwxyz-dev",
                "ESCROW_TABLE_NAME": "Escrow-abcdefghijklmnopqrstuvwxyz-dev",
                "USER_BALANCE_TABLE_NAME": "UserBalance-abcdefghijklmnopqrstuvwxyz-dev",
                "TRANSACTION_LOG_TABLE_NAME": "TransactionLog-abcdefghijklmnopqrstuvwxyz-dev",
            }
        },
        "TracingConfig": {"Mode": "PassThrough"},
        "Tags": [
            {"Key": "Environment", "Value": "dev"},
            {"Key": "ManagedBy", "Value": "pulumi"},
            {"Key": "Project", "Value": "hourbank"},
            {"Key": "Stack", "Value": "organization/hourbank/dev"},
        ],
    }
    queue = resources["RouteServiceRequestQueue"]["Properties"]
    assert (queue["MessageRetentionPeriod"], queue["SqsManagedSseEnabled"]) == (14 * 24 * 60 * 60, True)
    alarm = resources["RouteServiceRequestAge"]["Properties"]
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "RouteServiceRequest"}}]
    mapping = resources["RouteServiceRequestStream"]["Properties"]
    assert mapping["DestinationConfig"] == {
        "OnFailure": {"Destination": {"Fn::GetAtt": ["RouteServiceRequestQueue", "Arn"]}}
    }
    assert len(mapping["FilterCriteria"]["Filters"]) == 5


def test_the_definition_calls_versions_by_reference(resources: dict[str, Any]) -> None:
    machine = resources["ServiceRequestWorkflow"]["Properties"]
    versions = {name for name in references(machine["Definition"]) if name in resources}
    assert {resources[name]["Type"] for name in versions} == {"AWS::Lambda::Version"}
    assert len(versions) == len(service_request.FUNCTIONS)


def test_old_versions_stay(resources: dict[str, Any]) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::Lambda::Version":
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
            assert resources[resource["Properties"]["FunctionName"]["Ref"]]["Type"] == "AWS::Lambda::Function"


@pytest.mark.parametrize(("stack", "kept"), [("dev", False), ("prod", True)])
def test_what_pulumi_protects_cloudformation_keeps(stack: str, kept: bool) -> None:
    made = template(recorded(stack), bucket=BUCKET, key=KEY)["Resources"]
    machines = [part for part in made.values() if part["Type"] == "AWS::StepFunctions::StateMachine"]
    assert [part.get("DeletionPolicy") for part in machines] == ["Retain" if kept else None] * 2


def test_a_version_is_another_one_when_code_or_configuration_change(
    dev: Recording, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def version(recording: Recording, name: str = "createEscrow") -> str | None:
        return recording.named(name).version_id

    assert version(record("dev")) == version(dev)
    topic = "arn:aws:sns:us-east-1:123456789012:alarms"
    assert version(record("dev", config={"hourbank:alarmTopicArn": topic})) == version(dev)
    other_escrow = record("dev", config={"hourbank:tables": '{"escrow": "Held"}'})
    assert version(other_escrow) != version(dev)
    assert version(other_escrow, "notifyProvider") == version(dev, "notifyProvider")
    changed_file = tmp_path / "ledger.py"
    changed_file.write_text("# changed\n")
    files = cloudformation.handler_files() | {"handlers/bank/ledger.py": changed_file}
    monkeypatch.setattr("components.archive.handler_files", lambda: files)
    assert version(record("dev")) != version(dev)


def test_order_follows_where_no_reference_says_it(dev: Recording, resources: dict[str, Any]) -> None:
    assert resources["ServiceRequestWorkflow"]["DependsOn"] == ["ServiceRequestWorkflowPolicy"]
    assert resources["CreateEscrow"]["DependsOn"] == ["CreateEscrowLogs", "CreateEscrowPolicy"]
    for logical_id, resource in resources.items():
        assert not set(resource.get("DependsOn", ())) & set(references(resource["Properties"])), logical_id
    # and all that the program waits for is waited for
    for resource in dev.resources:
        assert set(resource.dependencies) <= before(resource.logical_id, resources)


def before(logical_id: str, resources: dict[str, Any]) -> set[str]:
    direct = {*references(resources[logical_id]["Properties"]), *resources[logical_id].get("DependsOn", ())}
    direct &= set(resources)
    return direct.union(*(before(name, resources) for name in direct))


def test_outputs_are_strings(dev: Recording) -> None:
    outputs = template(dev, bucket=BUCKET, key=KEY)["Outputs"]
    assert set(outputs) == set(dev.outputs)
    assert outputs["eventBusName"] == {"Value": {"Ref": "EventBus"}}
    assert outputs["serviceRequestWorkflowRoleArn"] == {"Value": {"Fn::GetAtt": ["ServiceRequestWorkflowRole", "Arn"]}}
    assert json.loads(outputs["functionNames"]["Value"]["Fn::Sub"])["createEscrow"] == "${CreateEscrow}"


def test_a_type_without_a_form_is_refused_by_name(dev: Recording) -> None:
    topic = Resource(
        type="aws:sns/topic:Topic", name="alarms", logical_id="Alarms", inputs={}, dependencies=(), protect=False
    )
    with pytest.raises(ValueError, match="alarms: aws:sns/topic:Topic has no form in the template"):
        template(dataclasses.replace(dev, resources=(*dev.resources, topic)), bucket=BUCKET, key=KEY)


def test_an_input_without_a_form_is_refused_by_name(dev: Recording) -> None:
    inputs = dev.named("routeServiceRequest-queue").inputs | {"fifoQueue": True}
    with pytest.raises(ValueError, match="routeServiceRequest-queue: fifoQueue"):
        template(changed(dev, "routeServiceRequest-queue", inputs=inputs), bucket=BUCKET, key=KEY)


@pytest.mark.parametrize("reference", ["${Nowhere}", "a ${Nowhere.Arn} b", "${not a name}"])
def test_a_reference_to_nothing_is_refused_by_name(dev: Recording, reference: str) -> None:
    inputs = dev.named("eventBus").inputs | {"name": reference}
    with pytest.raises(ValueError, match=r"EventBus refers to .*(Nowhere|not a name)"):
        template(changed(dev, "eventBus", inputs=inputs), bucket=BUCKET, key=KEY)
