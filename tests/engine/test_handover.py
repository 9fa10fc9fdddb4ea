"""What a template of ours made, handed over to Pulumi under executions that wait, as docs/operate/migrate.md does.

Write a test here when what is declared gets a type that is imported by another id.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hourbank.export import parameterised
from hourbank.local import deploy
from hourbank.local.emulator import REGION, Emulator
from hourbank.names import ROOT
from hourbank.program import cloudformation
from tests.helpers.engine import KEYS, MACHINE, Engine, made_by_the_program, make_table, table_name
from tests.helpers.waiting import ENDLESS_SECONDS, until

pytestmark = pytest.mark.engine

STACK = "hourbank-dev"
FIRST, SECOND = "the-first-that-waits", "the-second-that-waits"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        for model, key in KEYS.items():
            make_table(running, table_name("dev", model), key)
        yield running


@pytest.fixture(scope="module")
def engine(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    program, state = tmp_path_factory.mktemp("program"), tmp_path_factory.mktemp("state")
    for folder in ("components", "handlers", "workflows"):
        shutil.copytree(ROOT / folder, program / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__main__.py", "pyproject.toml", "uv.lock", "Pulumi.yaml", "Pulumi.dev.yaml"):
        shutil.copy2(ROOT / file, program)
    (program / ".venv").symlink_to(sys.prefix)
    engine = Engine(program, state, emulator)
    engine.succeed("dev", "stack", "init")
    return engine


def deploy_template(emulator: Emulator) -> None:
    """The exported template, every resource of which stays when the stack goes, with functions that run here."""
    store, stacks = emulator.client("s3"), emulator.client("cloudformation")
    archive = cloudformation.archive_bytes({"bootstrap": deploy.bootstrap().encode()})
    store.create_bucket(Bucket="code")
    store.put_object(Bucket="code", Key="functions.zip", Body=archive)
    code = {"S3Bucket": "code", "S3Key": "functions.zip"}
    template = parameterised.template(parameterised.record("cloudformation"), code=code, retain=True)
    assert {part["DeletionPolicy"] for part in template["Resources"].values()} == {"Retain"}
    template = deploy.adapt(template)
    store.put_object(Bucket="code", Key="template.json", Body=json.dumps(template).encode())
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    described = emulator.client("dynamodb").describe_table(TableName=table_name("dev", "ServiceRequest"))
    parameters = {
        "Environment": "dev",
        **{f"{model}TableName": table_name("dev", model) for model in KEYS},
        "ServiceRequestStreamArn": described["Table"]["LatestStreamArn"],
        "StartRequestsFrom": config["hourbank:startRequestsFrom"],
        "LogRetentionDays": str(config["hourbank:logRetentionDays"]),
    }
    stacks.create_stack(
        StackName=STACK,
        TemplateURL=f"{emulator.endpoint}/code/template.json",
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    until(lambda: stacks.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")


def adopt(emulator: Emulator, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    access_key, secret_key = emulator.credentials
    environment = os.environ | {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }
    command = [Path(sys.executable).parent / "hourbank", "adopt", "--stack", "dev", "--region", REGION, *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=ENDLESS_SECONDS, check=False
    )


def ask(emulator: Emulator, request_id: str) -> None:
    """Ana asks Ben for two hours, and Ben lets her wait."""
    emulator.client("dynamodb").put_item(
        TableName=table_name("dev", "ServiceRequest"),
        Item={
            "id": {"S": request_id},
            "serviceId": {"S": "lawn"},
            "requesterId": {"S": "ana"},
            "providerId": {"S": "ben"},
            "estimatedHours": {"N": "2"},
            # the emulator's filters do not see that a status is missing
            "status": {"S": "PENDING"},
            "createdAt": {"S": "2026-12-02T00:00:00.000Z"},
            "updatedAt": {"S": "2026-12-02T00:00:00.000Z"},
        },
    )
    until(lambda: status(emulator, request_id) == "AWAITING_PROVIDER")


def answer(emulator: Emulator, request_id: str) -> None:
    emulator.client("dynamodb").update_item(
        TableName=table_name("dev", "ServiceRequest"),
        Key={"id": {"S": request_id}},
        UpdateExpression="SET providerResponse = :accepted",
        ExpressionAttributeValues={":accepted": {"S": "ACCEPTED"}},
    )


def status(emulator: Emulator, request_id: str) -> str | None:
    record = emulator.client("dynamodb").get_item(
        TableName=table_name("dev", "ServiceRequest"), Key={"id": {"S": request_id}}, ConsistentRead=True
    )["Item"]
    return record.get("status", {}).get("S")


def executions(emulator: Emulator, machine: str) -> dict[str, str]:
    found = emulator.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    return {one["name"].removeprefix("service-request-"): one["status"] for one in found}


def hours(emulator: Emulator) -> tuple[str, list[str]]:
    """Ana's balance, and the escrows that hold hours of hers."""
    dynamodb = emulator.client("dynamodb")
    balance = dynamodb.get_item(
        TableName=table_name("dev", "UserBalance"), Key={"userId": {"S": "ana"}}, ConsistentRead=True
    )["Item"]["availableBalance"]["N"]
    escrows = dynamodb.scan(TableName=table_name("dev", "Escrow"), ConsistentRead=True)["Items"]
    return balance, sorted(one["id"]["S"] for one in escrows if one["status"]["S"] == "HELD")


def test_nothing_to_adopt_is_one_line(emulator: Emulator, tmp_path: Path) -> None:
    done = adopt(emulator, "--out", tmp_path / "adopt.json")
    assert done.returncode == 1
    assert done.stderr == (
        "account 000000000000 in us-east-1\n"
        "hourbank: there is no queue hourbank-routeServiceRequest-failures-dev in us-east-1: see --stack and --region\n"
    )
    assert not (tmp_path / "adopt.json").exists()


@pytest.mark.thorough
def test_pulumi_takes_over_under_an_execution_that_waits(engine: Engine, tmp_path: Path) -> None:
    emulator = engine.emulator
    deploy_template(emulator)
    emulator.client("dynamodb").put_item(
        TableName=table_name("dev", "UserBalance"),
        Item={"userId": {"S": "ana"}, "availableBalance": {"N": "10"}},
    )
    for request_id in (FIRST, SECOND):
        ask(emulator, request_id)
    machines = emulator.client("stepfunctions").list_state_machines()["stateMachines"]
    machine = next(one["stateMachineArn"] for one in machines if one["name"] == "ServiceRequestWorkflow-dev")
    assert executions(emulator, machine) == {FIRST: "RUNNING", SECOND: "RUNNING"}
    before = made_by_the_program(emulator)

    # the template's stack goes, and takes nothing along
    emulator.client("cloudformation").delete_stack(StackName=STACK)
    until(lambda: not emulator.client("cloudformation").describe_stacks()["Stacks"])
    assert count(made_by_the_program(emulator)) == count(before)

    # Pulumi takes over what is there
    file, again = tmp_path / "adopt.json", tmp_path / "again.json"
    for path in (file, again):
        done = adopt(emulator, "--out", path)
        assert done.returncode == 0, done.stderr
    assert again.read_bytes() == file.read_bytes()
    engine.succeed("dev", "import", "--file", str(file), "--yes", "--generate-code=false", "--protect=false")

    # nothing is made, replaced or deleted: a machine above all stays the machine it is
    operations = engine.preview("dev")
    # the stand-in for the provider imports a parameter without what it is
    operations.pop("aws:ssm/parameter:Parameter auditLedger-cursor")
    assert {name: one for name, one in operations.items() if one not in ("same", "update")} == {}
    assert operations[f"{MACHINE} ServiceRequestWorkflow"] == "update"

    # who waited is answered
    answer(emulator, FIRST)
    until(lambda: status(emulator, FIRST) == "IN_PROGRESS")
    until(lambda: executions(emulator, machine)[FIRST] == "SUCCEEDED")

    # and after the first update there is nothing left to do, and nothing lost
    engine.succeed("dev", "up", "--yes", "--skip-preview")
    assert engine.changes("dev") == {}
    assert executions(emulator, machine) == {FIRST: "SUCCEEDED", SECOND: "RUNNING"}
    assert hours(emulator) == ("6", [FIRST, SECOND])

    # the way back begins like this: Pulumi forgets, and everything is still there
    there = count(made_by_the_program(emulator))
    engine.succeed("dev", "state", "delete", "--all", "--force", "--yes")
    assert engine.urns("dev") == []
    assert count(made_by_the_program(emulator)) == there
    assert executions(emulator, machine)[SECOND] == "RUNNING"


def count(made: dict[str, list]) -> dict[str, int]:
    return {kind: len(things) for kind, things in made.items()}
