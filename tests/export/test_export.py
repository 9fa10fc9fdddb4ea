"""The exports: what Pulumi would deploy, as a template that takes parameters, and that plays every story."""

import inspect
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from cfnlint.decode.cfn_yaml import loads
from typer.testing import CliRunner

from hourbank.account import doctor
from hourbank.cli import app
from hourbank.errors import HourBankError
from hourbank.export import parameterised
from hourbank.local import deploy
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from hourbank.program import cloudformation, recorder
from hourbank.program.recorder import Recording
from tests.helpers.exports import adapt, play
from tests.helpers.recordings import called_versions, exports_recorded_once, recorded  # noqa: F401
from workflows import WORKFLOWS


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def recording() -> Recording:
    return parameterised.record("cloudformation")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "template.yaml"
    run("cloudformation", "--out", out)
    return out


@pytest.fixture(scope="module")
def made(exported: Path) -> dict[str, Any]:
    """The template as a reader of YAML sees it."""
    return json.loads(json.dumps(loads(exported.read_text(encoding="utf-8"))))


def test_every_resource_of_the_program_is_there(recording: Recording, made: dict[str, Any]) -> None:
    program = {resource.logical_id: resource.type for resource in recorded("dev").resources}
    # a topic and a boundary change no resource's being there
    assert {resource.logical_id: resource.type for resource in recording.resources} == program
    assert set(made["Resources"]) == {*program, *called_versions(recording)}
    assert made["Metadata"]["HourBank"]["Recorded"] == len(program)
    assert made["Metadata"]["HourBank"]["LeftOut"] == parameterised.LEFT_OUT


def test_what_the_stack_may_ask_for_and_the_template_cannot_is_listed(recording: Recording) -> None:
    endpoint = "https://abcdefghijklm.appsync-api.us-east-1.amazonaws.com/graphql"
    options = {
        "hourbank:amplifyAuthRoleName": "authRole",
        "hourbank:appsyncEndpoint": endpoint,
        "hourbank:notifyFrom": "hours@example.com",
    }
    assert "tracing" in parameterised.LEFT_OUT
    pool = {"hourbank:userPoolId": "us-east-1_AbCdEfGhI"}
    for key, value in options.items():
        more = {resource.logical_id for resource in recorded("dev", pool | {key: value}).resources}
        assert more > {resource.logical_id for resource in recording.resources}
        assert key.removeprefix("hourbank:") in parameterised.LEFT_OUT


def test_the_parameters_put_in_place_make_what_pulumi_deploys(recording: Recording) -> None:
    """Each parameter's value where its placeholder is: the template of the stack itself, but for tags and versions."""
    topic, boundary = "arn:aws:sns:us-east-1:123456789012:alarms", "arn:aws:iam::123456789012:policy/boundary"
    config = {
        "hourbank:tables": json.dumps({key: f"{key}-table" for key in parameterised.TABLE_NAMES}),
        "hourbank:startRequestsFrom": "2026-05-05T00:00:00Z",
        "hourbank:providerResponseTimeoutSeconds": "12345",
        "hourbank:confirmationDays": "77",
        "hourbank:logRetentionDays": "90",
        "hourbank:alarmTopicArn": topic,
        "hourbank:permissionsBoundaryArn": boundary,
    }
    key = "arn:aws:kms:us-east-1:123456789012:key/own"

    def encrypted(args: dict[str, Any]) -> dict[str, Any]:
        table = recorder.table_that_serves(args["name"], {key: f"{key}-table" for key in parameterised.TABLE_NAMES})
        return table | {"serverSideEncryption": {"enabled": True, "kmsKeyArn": key}}

    stack = recorder.record("dev", config=config, invokes={recorder.GET_TABLE: encrypted})
    (mapping,) = stack.of_type("EventSourceMapping")
    values = {
        "Environment": "dev",
        **{name: f"{key}-table" for key, name in parameterised.TABLE_NAMES.items()},
        "ServiceRequestStreamArn": mapping.inputs["eventSourceArn"],
        "StartRequestsFrom": "2026-05-05T00:00:00Z",
        "ProviderResponseTimeoutSeconds": "12345",
        "ConfirmationDays": "77",
        "LogRetentionDays": "90",
        "AlarmTopicArn": topic,
        "PermissionsBoundaryArn": boundary,
        "TablesKmsKeyArn": key,
        "DeploymentAttempt": "1",
        "AWS::StackName": "organization/hourbank/dev",
    }
    assert set(values) == {*parameterised.PARAMETERS, "AWS::StackName"}
    text = json.dumps([resource.inputs for resource in recording.resources], default=lambda _: "code")
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    # versions are named after what configures them, which here is a placeholder
    for one, other in zip(recording.of_type("Function"), stack.of_type("Function"), strict=True):
        text = text.replace(str(one.version_id), str(other.version_id))
    text = text.replace('"ManagedBy": "cloudformation"', '"ManagedBy": "pulumi"').replace(
        '"retentionInDays": "90"', '"retentionInDays": 90'
    )
    assert json.loads(text) == json.loads(json.dumps([one.inputs for one in stack.resources], default=lambda _: "code"))


def test_the_template_takes_times_that_exist_alone(made: dict[str, Any]) -> None:
    declared = made["Parameters"]["StartRequestsFrom"]

    def exists(text: str) -> bool:
        try:
            return datetime.fromisoformat(text).utcoffset() is not None
        except ValueError:
            return False

    # the months' lengths, and leap years
    days = [f"{y}-{m:02}-{d:02}" for y in (1900, 2000, 2026, 2028, 2099) for m in range(14) for d in range(33)]
    days += [f"{year}-02-29" for year in range(1900, 2100)]
    times = [f"{day}T00:00Z" for day in days]
    times += [f"2026-01-01T{hour:02}:{minute:02}Z" for hour in (*range(24), 25) for minute in (0, 59, 60, 99)]
    times += [f"2026-01-01T00:00:{second}Z" for second in ("00", "59", "60", "59.5", "59.123456")]
    times += [f"2026-01-01T00:00:00{offset}" for offset in ("+05:30", "-23:59", "+24:00", "")]
    for text in times:
        assert parameterised.is_legal(declared, text) == exists(text), text
    for text in (
        "2026-13-45T99:99Z",
        "2026-01-01",
        "2026-01-01 00:00Z",
        "2026-01-01T00:00Z\n",
        "2026-01-01T24:00Z",
        "now",
        "",
    ):
        assert not parameterised.is_legal(declared, text)


def test_the_seed_s_parameters_and_outputs_are_there(made: dict[str, Any]) -> None:
    tables = {"ServiceRequestTableName", "EscrowTableName", "UserBalanceTableName", "TransactionLogTableName"}
    assert {"Environment", *tables} < set(made["Parameters"])
    assert made["Parameters"]["Environment"]["Default"] == "dev"
    assert set(made["Parameters"]) <= set(cloudformation.references(made["Resources"]))
    stream = made["Resources"]["RouteServiceRequestStream"]["Properties"]["EventSourceArn"]
    assert stream == {"Ref": "ServiceRequestStreamArn"}
    outputs = made["Outputs"]
    assert outputs["ServiceRequestWorkflowArn"]["Value"] == {"Ref": "ServiceRequestWorkflow"}
    assert outputs["EscrowManagementWorkflowArn"]["Value"] == {"Ref": "EscrowManagementWorkflow"}
    assert outputs["StepFunctionsExecutionRoleArn"]["Value"] == {"Fn::GetAtt": ["ServiceRequestWorkflowRole", "Arn"]}


def test_the_page_has_every_parameter_output_and_what_is_left_out(made: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "deploy" / "sam.md").read_text(encoding="utf-8")
    # the checks of tables have a line of their own
    named = [*made["Parameters"], *made["Outputs"], *(set(parameterised.LEFT_OUT) - {"table checks"})]
    assert [name for name in named if f"`{name}`" not in page] == []


def test_definitions_are_objects_that_call_versions(made: dict[str, Any]) -> None:
    machine = made["Resources"]["ServiceRequestWorkflow"]["Properties"]
    assert machine["StateMachineName"] == {"Fn::Sub": "ServiceRequestWorkflow-${Environment}"}
    state = machine["Definition"]["States"]["EscrowHours"]
    assert state["Type"] == "Task"
    assert made["Resources"][state["Resource"]["Ref"]]["Type"] == "AWS::Lambda::Version"


def test_what_configures_a_function_replaces_its_version(made: dict[str, Any]) -> None:
    """A parameter's change must reach the code that new executions call."""
    called = {name for workflow in WORKFLOWS.values() for name in workflow.FUNCTIONS}
    for logical_id, function in made["Resources"].items():
        if function["Type"] == "AWS::Lambda::Function":
            versions = [
                part["Properties"]
                for part in made["Resources"].values()
                if part["Type"] == "AWS::Lambda::Version" and part["Properties"]["FunctionName"]["Ref"] == logical_id
            ]
            assert len(versions) == (logical_id[0].lower() + logical_id[1:] in called)
            if not versions:
                continue
            (version,) = versions
            told = set(cloudformation.references(function["Properties"]["Environment"])) & set(made["Parameters"])
            assert set(cloudformation.references(version.get("Description"))) == told - {"Environment"}
            # a description has 256 characters
            longest = {
                "StartRequestsFrom": 40,
                "ProviderResponseTimeoutSeconds": 7,
                "ConfirmationDays": 3,
                "DeploymentAttempt": 3,
            }
            assert sum(longest.get(name, 60) + 1 for name in told - {"Environment"}) <= 256


@pytest.mark.thorough
@pytest.mark.xdist_group("export-cloudformation")
def test_an_update_that_was_rolled_back_is_tried_again_as_another_attempt(made: dict[str, Any]) -> None:
    """On an emulator that publishes a version of nothing that is as the newest one, and fails the update then."""
    with Emulator() as emulator:
        template, parameters = deployable(emulator, made)
        deploy.apply(emulator, template, name="repeated", parameters=parameters)
        # an update of every function, in the midst of which something else cannot be made
        changed = json.loads(json.dumps(template))
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Lambda::Function":
                changed["Resources"][logical_id]["Properties"]["MemorySize"] = 1024
            elif resource["Type"] == "AWS::Lambda::Version":
                changed["Resources"][f"{logical_id}X"] = changed["Resources"].pop(logical_id)
        versions = [one for one in changed["Resources"] if changed["Resources"][one]["Type"] == "AWS::Lambda::Version"]
        text = json.dumps(changed)
        for one in versions:
            text = text.replace(json.dumps(one.removesuffix("X")), json.dumps(one))
        changed = json.loads(text)
        broken = json.loads(text)
        broken["Resources"]["Broken"] = {
            "Type": "AWS::CloudFormation::Stack",
            "DependsOn": versions,
            "Properties": {"TemplateURL": f"{emulator.endpoint}/{deploy.BUCKET}/nothing"},
        }
        with pytest.raises(HourBankError):
            deploy.apply(emulator, broken, name="repeated", parameters=parameters)
        with pytest.raises(HourBankError, match="A version for this Lambda function exists"):
            deploy.apply(emulator, changed, name="repeated", parameters=parameters)
        deploy.apply(emulator, changed, name="repeated", parameters={**parameters, "DeploymentAttempt": "2"})
        machine = emulator.client("stepfunctions").list_state_machines()["stateMachines"][0]["stateMachineArn"]
        definition = emulator.client("stepfunctions").describe_state_machine(stateMachineArn=machine)["definition"]
        called = re.search(r"arn:aws:lambda:[^\"]*:function:[^\"]*:[0-9]+", definition)
        assert called
        code = emulator.client("lambda").get_function_configuration(FunctionName=called[0])
        assert (code["MemorySize"], code["Environment"]["Variables"]["DEPLOYMENT_ATTEMPT"]) == (1024, "2")


def test_a_policy_speaks_of_the_tables_key_only_where_there_is_one(made: dict[str, Any]) -> None:
    statements = [
        statement
        for part in made["Resources"].values()
        if part["Type"] == "AWS::IAM::Policy"
        for statement in part["Properties"]["PolicyDocument"]["Statement"]
    ]
    conditional = [one["Fn::If"] for one in statements if "Fn::If" in one]
    assert len(conditional) == 14 and "kms" not in json.dumps([one for one in statements if "Fn::If" not in one])
    for has, statement, otherwise in conditional:
        assert (has, otherwise) == ("HasTablesKmsKey", {"Ref": "AWS::NoValue"})
        assert statement["Action"] == "kms:Decrypt"
    # which a doctor tells
    assert f"{parameterised.KEY_ARN}=" in inspect.getsource(doctor.encryption)


def test_retained_is_everything(recording: Recording) -> None:
    made = parameterised.template(recording, code="./code.zip", retain=True)
    assert {part.get("DeletionPolicy") for part in made["Resources"].values()} == {"Retain"}


@pytest.mark.thorough
def test_cfn_lint_finds_nothing(exported: Path, made: dict[str, Any]) -> None:
    found = lint(
        exported.read_text(encoding="utf-8"), config=ManualArgs(regions=["us-east-1"], ignore_checks=["W3002"])
    )
    assert [f"{match.rule.id} {match.message}" for match in found] == []
    # for who runs it by hand or by `sam validate --lint`
    assert made["Metadata"]["cfn-lint"] == {"config": {"ignore_checks": ["W3002"]}}


@pytest.mark.thorough
def test_a_second_export_is_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "template.yaml"
    command = [sys.executable, "-c", "from hourbank.cli import main; main()", "export", "cloudformation", "--out", out]
    for seed in ("1", "2"):
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        for path in exported.parent.iterdir():
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_nothing_of_others_is_written_over(tmp_path: Path) -> None:
    theirs = tmp_path / "template.yaml"
    theirs.write_text("Resources: {}\n")
    for out, word in (
        (theirs, "was not written by this command"),
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere" / "template.yaml", "is not a folder"),
    ):
        result = CliRunner().invoke(app, ["export", "cloudformation", "--out", str(out)])
        assert word in str(result.exception) and "\n" not in str(result.exception)
    assert theirs.read_text() == "Resources: {}\n"
    assert list(tmp_path.iterdir()) == [theirs]
    theirs.unlink()
    archive = tmp_path / "hourbank-functions.zip"
    archive.write_bytes(cloudformation.zipped({"mine.txt": (b"mine", 0o644)}))
    before = archive.read_bytes()
    result = CliRunner().invoke(app, ["export", "cloudformation", "--out", str(theirs)])
    assert str(result.exception) == f"{archive} was not written by this command: move it away, the name is fixed"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("command", [("cloudformation", "--out"), ("amplify", "--into"), ("amplify-gen2", "--into")])
def test_an_empty_path_is_not_the_folder_one_is_in(command: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["export", *command, ""])
    assert result.exit_code == 2 and "it is empty" in result.output


def deployable(emulator: Emulator, made: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The template adapted to the emulator, whose tables and code are there, and its parameters."""
    tables = deploy.create_tables(emulator)
    code = cloudformation.archive_bytes({"bootstrap": deploy.bootstrap().encode()})
    template = json.loads(json.dumps(made))
    # what `sam deploy` and `aws cloudformation package` do with a path
    packaged = {"S3Bucket": deploy.BUCKET, "S3Key": deploy.upload(emulator, code)}
    for resource in template["Resources"].values():
        if "Code" in resource["Properties"]:
            assert resource["Properties"]["Code"] == "./hourbank-functions.zip"
            resource["Properties"]["Code"] = packaged
    described = emulator.client("dynamodb").describe_table(TableName=tables["serviceRequest"])["Table"]
    parameters = {
        "Environment": "exported",
        **{name: tables[key] for key, name in parameterised.TABLE_NAMES.items()},
        "ServiceRequestStreamArn": described["LatestStreamArn"],
        "StartRequestsFrom": "2026-01-01T00:00:00Z",
    }
    return adapt(template), parameters


@pytest.mark.thorough
@pytest.mark.xdist_group("export-cloudformation")
def test_the_template_plays_every_story(made: dict[str, Any]) -> None:
    with Emulator() as emulator:
        template, parameters = deployable(emulator, made)
        tables = {key: parameters[name] for key, name in parameterised.TABLE_NAMES.items()}
        play(emulator, template, parameters, tables)
