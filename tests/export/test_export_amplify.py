"""The export for Amplify Gen 1: a folder for every environment's `amplify push`, and the hook that helps it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from typer.testing import CliRunner

from hourbank.cli import app
from hourbank.errors import HourBankError
from hourbank.export import parameterised
from hourbank.local import deploy
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from hourbank.program import cloudformation
from tests.helpers.exports import adapt, amplify_exports, play
from tests.helpers.recordings import called_versions, exports_recorded_once  # noqa: F401

PAGE = (ROOT / "docs" / "deploy" / "amplify-gen1.md").read_text(encoding="utf-8")
API, ENVIRONMENT = "hourbank", "dev"
START = "2026-01-01T00:00:00Z"


def run(into: Path, *options: str) -> str:
    arguments = ["export", "amplify", "--into", str(into), *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(into: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["export", "amplify", "--into", str(into), *options])
    assert isinstance(result.exception, HourBankError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def project(root: Path, **apis: str) -> Path:
    """What `amplify init` and `amplify add api` leave, as far as it matters here; the `amplify/backend` in it."""
    backend = root / "amplify" / "backend"
    backend.mkdir(parents=True)
    config = {"api": {name: {"service": service} for name, service in (apis or {API: "AppSync"}).items()}}
    (backend / "backend-config.json").write_text(json.dumps(config))
    return backend


SCHEMA = (ROOT / "amplify" / "schema.graphql").read_text(encoding="utf-8")


def with_api(root: Path, schema: str = SCHEMA, **files: Any) -> Path:
    """A project with the files of its API."""
    backend = project(root)
    folder = backend / "api" / API
    folder.mkdir(parents=True)
    (folder / "schema.graphql").write_text(schema, encoding="utf-8-sig")  # as an editor on Windows leaves it
    for name, content in files.items():
        (folder / f"{name.replace('_', '.')}.json").write_text(json.dumps(content), encoding="utf-8-sig")
    return backend


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend = project(tmp_path_factory.mktemp("project"))
    run(backend, "--start-requests-from", START, "--write")
    return backend


@pytest.fixture
def made(backend: Path) -> dict[str, Any]:
    return json.loads((backend / "custom/stepfunctions/stepfunctions-cloudformation-template.json").read_text())


@pytest.mark.thorough
def test_cfn_lint_finds_nothing(made: dict[str, Any]) -> None:
    found = lint(json.dumps(made), config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_every_resource_of_the_program_is_there(made: dict[str, Any]) -> None:
    recording = parameterised.record("amplify", environment="${env}", permissions_boundary=False)
    assert set(made["Resources"]) == {
        *(resource.logical_id for resource in recording.resources),
        *called_versions(recording),
    }
    assert made["Resources"]["ServiceRequestWorkflow"]["Properties"]["StateMachineName"] == {
        "Fn::Sub": "ServiceRequestWorkflow-${env}"
    }
    # Amplify's CLI puts the environment's boundary on roles that have none
    assert not [name for name, one in made["Resources"].items() if "PermissionsBoundary" in one["Properties"]]
    assert set(made["Metadata"]["HourBank"]["LeftOut"]) == {*parameterised.LEFT_OUT, "permissionsBoundaryArn"}
    assert {"Key": "ManagedBy", "Value": "amplify"} in made["Resources"]["EventBus"]["Properties"]["Tags"]


def test_a_table_s_name_is_what_the_api_exports_unless_it_is_told(made: dict[str, Any]) -> None:
    variables = made["Resources"]["CreateEscrow"]["Properties"]["Environment"]["Variables"]
    assert variables["ESCROW_TABLE_NAME"] == {
        "Fn::If": [
            "HasEscrowTableName",
            {"Ref": "EscrowTableName"},
            {"Fn::ImportValue": {"Fn::Sub": "${apihourbankGraphQLAPIIdOutput}:GetAtt:EscrowTable:Name"}},
        ]
    }
    stream = made["Resources"]["RouteServiceRequestStream"]["Properties"]["EventSourceArn"]["Fn::If"][2]
    assert stream["Fn::ImportValue"]["Fn::Sub"] == (
        "${apihourbankGraphQLAPIIdOutput}:GetAtt:ServiceRequestTable:StreamArn"
    )


def test_backend_config_is_shown_or_changed(tmp_path: Path) -> None:
    backend = project(tmp_path)
    before = (backend / "backend-config.json").read_text()
    shown = run(backend, "--start-requests-from", START)
    assert f"{backend / 'custom' / 'stepfunctions'} is written" in shown
    assert f"{backend / 'backend-config.json'} is not changed, and needs (--write puts it there)" in shown
    assert (backend / "backend-config.json").read_text() == before
    entry = json.loads(shown[shown.index("\n{") :])["custom"]
    assert entry["stepfunctions"]["dependsOn"] == [
        {"category": "api", "resourceName": API, "attributes": ["GraphQLAPIIdOutput"]}
    ]
    assert f"{backend / 'backend-config.json'} is changed" in run(backend, "--write")
    assert json.loads((backend / "backend-config.json").read_text()) == {**json.loads(before), "custom": entry}
    assert "backend-config.json" not in run(backend)


def test_a_second_export_is_the_same_bytes_and_keeps_what_people_set(backend: Path, tmp_path: Path) -> None:
    copy = tmp_path / "amplify"
    shutil.copytree(backend.parent, copy)
    parameters = copy / "backend" / "custom" / "stepfunctions" / "parameters.json"
    own = {**json.loads(parameters.read_text()), "LogRetentionDays": 90}
    parameters.write_text(json.dumps(own))
    run(copy / "backend", "--write")
    assert json.loads(parameters.read_text()) == own
    for path in [path for path in backend.parent.rglob("*") if path.is_file() and path.name != "parameters.json"]:
        assert (copy / path.relative_to(backend.parent)).read_bytes() == path.read_bytes()


def test_what_cannot_be_is_refused_in_a_line(tmp_path: Path) -> None:
    backend = project(tmp_path / "one")
    assert f"did you mean {backend}?" in refused(tmp_path / "one")
    assert "no backend-config.json" in refused(tmp_path)
    (tmp_path / "backend.ts").touch()
    assert "use `hourbank export amplify-gen2`" in refused(tmp_path)
    assert "--start-requests-from is missing: give an ISO 8601 time" in refused(backend)
    assert "'yesterday'" in refused(backend, "--start-requests-from", "yesterday")
    assert "'2026-13-01T00:00:00Z'" in refused(backend, "--start-requests-from", "2026-13-01T00:00:00Z")
    assert "'2026-01-01'" in refused(backend, "--start-requests-from", "2026-01-01")
    assert list(backend.iterdir()) == [backend / "backend-config.json"]
    two = project(tmp_path / "two", first="AppSync", second="AppSync", rest="API Gateway")
    assert "first, second: say which with --api" in refused(two, "--start-requests-from", START)
    assert "has no GraphQL API 'rest': it has first, second" in refused(two, "--api", "rest")
    assert "has no GraphQL API 'orders': it has hourbank" in refused(backend, "--api", "orders")
    assert "has no GraphQL API" in refused(project(tmp_path / "none", rest="API Gateway"))
    (backend / "custom").touch()
    assert "custom/stepfunctions cannot be made: Not a directory" in refused(backend, "--start-requests-from", START)
    (backend / "custom").unlink()
    folder = backend / "custom" / "stepfunctions"
    folder.mkdir(parents=True)
    # the seed's: its tables are in other stacks
    (folder / "parameters.json").write_text('{"EscrowTableName": {"Ref": "EscrowTable"}}')
    assert "gives EscrowTableName a Ref to EscrowTable" in refused(backend, "--start-requests-from", START)
    (folder / "parameters.json").unlink()
    for name in ("stepfunctions-cloudformation-template.json", "hourbank-functions.zip"):
        (folder / name).write_text("mine")
        said = refused(backend, "--start-requests-from", START)
        assert said == f"{folder / name} was not written by this command: move it away, the name is fixed"
        assert [path.read_text() for path in folder.iterdir()] == ["mine"]
        (folder / name).unlink()


AUTOMERGE = {"ConflictHandler": "AUTOMERGE", "ConflictDetection": "VERSION"}


def test_the_models_of_docs_app_schema_are_as_they_must_be(tmp_path: Path) -> None:
    said = run(with_api(tmp_path, transform_conf={"Version": 5, "ResolverConfig": {}}), "--start-requests-from", START)
    assert "!" not in said


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("type Note @model { id: ID! text: String }", "has no model ServiceRequest: add it (docs/app/schema.md), or"),
        (SCHEMA.replace("type Escrow\n", "type EscrowRecord\n"), "has no model Escrow: add it"),
        (SCHEMA.replace("ID! @primaryKey", "ID!"), "the key of UserBalance is id: the workflows need userId alone"),
        (
            SCHEMA.replace("@primaryKey", '@primaryKey(sortKeyFields: ["availableBalance"])'),
            "the key of UserBalance is userId and availableBalance: the workflows need userId alone",
        ),
        (
            SCHEMA.replace("  @model(mutations: {", "  @other(mutations: {"),
            "ServiceRequest is no model: give it @model",
        ),
    ],
    ids=["none", "renamed", "another key", "two keys", "no model"],
)
def test_models_that_the_workflows_cannot_work_with_are_refused(tmp_path: Path, schema: str, says: str) -> None:
    backend = with_api(tmp_path, schema)
    assert says in refused(backend, "--start-requests-from", START, "--write")
    assert not (backend / "custom").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"transform_conf": {"ResolverConfig": {"project": AUTOMERGE}}},
        {"transform_conf": {"ResolverConfig": {"models": {"Escrow": AUTOMERGE}}}},
        {
            "cli-inputs": {
                "serviceConfiguration": {
                    "conflictResolution": {"defaultResolutionStrategy": {"type": "OPTIMISTIC_CONCURRENCY"}}
                }
            }
        },
        {
            "cli-inputs": {
                "serviceConfiguration": {
                    "conflictResolution": {
                        "perModelResolutionStrategy": [
                            {"entityName": "UserBalance", "resolutionStrategy": {"type": "LAMBDA"}}
                        ]
                    }
                }
            }
        },
    ],
)
def test_conflict_resolution_is_refused_as_a_preview_refuses_it(tmp_path: Path, files: dict[str, Any]) -> None:
    backend = with_api(tmp_path, **files)
    said = refused(backend, "--start-requests-from", START, "--write")
    assert "has conflict resolution (" in said
    assert "turn it off (`amplify update api`)" in said
    assert not (backend / "custom").exists()
    run(backend, "--start-requests-from", START, "--allow-conflict-resolution")


@pytest.mark.parametrize(
    "resolvers",
    [
        {"project": {"ConflictHandler": "AUTOMERGE", "ConflictDetection": "NONE"}},
        {"models": {"Note": AUTOMERGE}},
        {"project": None},
    ],
)
def test_conflict_resolution_of_other_models_is_nobody_s_business(tmp_path: Path, resolvers: dict[str, Any]) -> None:
    run(with_api(tmp_path, transform_conf={"ResolverConfig": resolvers}), "--start-requests-from", START)


def test_what_clients_would_miss_is_said(tmp_path: Path) -> None:
    schema = SCHEMA.replace("offeredHours", "offered").replace("estimatedHours: Float!", "estimatedHours: Int!")
    schema = schema.replace("type UserBalance\n", "type UserBalance\n  @dead\n").replace("  WITHDRAWN\n", "")
    backend = with_api(tmp_path, schema.replace("  serviceId: ID!", "  serviceId: ID!\n  taskToken: String"))
    said = [line for line in run(backend, "--start-requests-from", START).splitlines() if line.startswith("! ")]
    file = backend / "api" / API / "schema.graphql"
    assert [line.removeprefix(f"! {file}: ").split(": ")[0] for line in said] == [
        "ServiceRequest has no offeredHours",
        "ServiceRequest estimatedHours is Int",
        "ServiceRequest providerResponse cannot be WITHDRAWN",
        "ServiceRequest shows taskToken",
    ]


def test_a_schema_of_several_files_a_renamed_model_and_the_first_transformer_are_read(tmp_path: Path) -> None:
    schema = SCHEMA.replace("type Escrow\n", 'type Deposit @mapsTo(name: "Escrow")\n')
    schema = schema.replace("ID! @primaryKey", "ID!").replace(
        "type UserBalance\n", 'type UserBalance @key(fields: ["userId"])\n'
    )
    backend = with_api(tmp_path)
    folder = backend / "api" / API
    (folder / "schema.graphql").unlink()
    head, middle, tail = schema.partition("type UserBalance")
    (folder / "schema" / "more").mkdir(parents=True)
    (folder / "schema" / "one.graphql").write_text(head, encoding="utf-8-sig")
    (folder / "schema" / "more" / "two.graphql").write_text(middle + tail, encoding="utf-8-sig")
    assert "!" not in run(backend, "--start-requests-from", START)


@pytest.mark.parametrize("schema", [None, "type {"])
def test_a_schema_that_nobody_can_read_is_said(tmp_path: Path, schema: str | None) -> None:
    backend = with_api(tmp_path, schema or "")
    if schema is None:
        (backend / "api" / API / "schema.graphql").unlink()
    assert "so nobody looked whether the models are those of docs/app/schema.md" in run(
        backend, "--start-requests-from", START
    )


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (SCHEMA + "\n\ntype {", f"schema.graphql cannot be read (line {SCHEMA.count(chr(10)) + 3}: Syntax Error: "),
        (f"{SCHEMA}\ntype Deep {{ a: {'[' * 3000}Int{']' * 3000} }}", "cannot be read (it is nested too deeply)"),
        (SCHEMA.encode("utf-16"), "cannot be read (it is not UTF-8)"),
    ],
    ids=["syntax", "depth", "encoding"],
)
def test_why_a_schema_cannot_be_read_is_said(tmp_path: Path, schema: str | bytes, says: str) -> None:
    backend = with_api(tmp_path)
    file = backend / "api" / API / "schema.graphql"
    file.write_bytes(schema if isinstance(schema, bytes) else schema.encode())
    [remark] = [line for line in run(backend, "--start-requests-from", START).splitlines() if line.startswith("!")]
    assert says in remark


def test_of_several_files_the_one_that_cannot_be_read_is_named_and_comments_alone_are_none(tmp_path: Path) -> None:
    backend = with_api(tmp_path)
    folder = backend / "api" / API / "schema"
    folder.mkdir()
    (folder.parent / "schema.graphql").rename(folder / "one.graphql")
    (folder / "two.graphql").write_text("# nothing, yet\n")
    assert "!" not in run(backend, "--start-requests-from", START)
    (folder / "two.graphql").write_text("\n\ntype {\n")
    assert f"! {folder / 'two.graphql'} cannot be read (line 3: " in run(backend, "--start-requests-from", START)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("type UserBalance @model @key", "the key of UserBalance is id: the workflows need userId alone"),
        ("type UserBalance @model @key(fields: 3)", "the key of UserBalance is 3: "),
        ('type UserBalance @model @key(fields: ["userId", "x"])', "the key of UserBalance is userId and x: "),
        ('type X @model @mapsTo(name: ["UserBalance"])', "has no model UserBalance"),
        ("interface UserBalance @model", "has no model UserBalance"),
    ],
)
def test_directives_of_any_form_are_no_hindrance(tmp_path: Path, head: str, says: str) -> None:
    schema = re.sub(r"type UserBalance\s+@model(\([^)]*\))?", lambda _: head, SCHEMA).replace("@primaryKey", "")
    assert says in refused(with_api(tmp_path, schema), "--start-requests-from", START)


@pytest.mark.parametrize("key", ['"userId"', '["userId"]'])
def test_a_list_of_one_may_stand_without_brackets(tmp_path: Path, key: str) -> None:
    head = f"type UserBalance @model @key(fields: {key})"
    schema = re.sub(r"type UserBalance\s+@model(\([^)]*\))?", lambda _: head, SCHEMA).replace("@primaryKey", "")
    assert "!" not in run(with_api(tmp_path, schema), "--start-requests-from", START)


def test_a_time_that_refers_to_something_is_taken(tmp_path: Path) -> None:
    backend = with_api(tmp_path)
    parameters = backend / "custom" / "stepfunctions" / "parameters.json"
    parameters.parent.mkdir(parents=True)
    parameters.write_text('{"StartRequestsFrom": {"Ref": "someParameter"}}')
    assert "is written" in run(backend)


def test_a_name_that_no_api_of_amplify_s_has_is_refused(tmp_path: Path) -> None:
    backend = project(tmp_path, **{"time/../bank": "AppSync"})
    assert "Amplify's names have letters and digits alone" in refused(backend, "--start-requests-from", START)


@pytest.mark.parametrize("file", ["stepfunctions-cloudformation-template.json", "hourbank-functions.zip"])
@pytest.mark.parametrize("what", ["a folder", "a link"])
def test_where_something_else_is_in_a_file_s_place_nothing_is_left(tmp_path: Path, file: str, what: str) -> None:
    backend = with_api(tmp_path)
    place = backend / "custom" / "stepfunctions" / file
    place.parent.mkdir(parents=True)
    if what == "a folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    said = refused(backend, "--start-requests-from", START)
    assert str(place) in said and (said.endswith(": remove it") or "move it away" in said)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("where", ["parameters", "team"])
def test_models_whose_tables_are_told_may_be_anywhere(tmp_path: Path, where: str) -> None:
    backend = with_api(
        tmp_path, "type Note @model { id: ID! }", transform_conf={"ResolverConfig": {"project": AUTOMERGE}}
    )
    told = dict.fromkeys(parameterised.TABLE_NAMES.values(), "Some-table")
    if where == "parameters":
        (backend / "custom" / "stepfunctions").mkdir(parents=True)
        (backend / "custom" / "stepfunctions" / "parameters.json").write_text(json.dumps(told), encoding="utf-8-sig")
    else:
        team = {"dev": {"awscloudformation": {}}, "prod": {"categories": {"custom": {"stepfunctions": told}}}}
        (backend.parent / "team-provider-info.json").write_text(json.dumps(team), encoding="utf-8-sig")
    run(backend, "--start-requests-from", START, "--allow-conflict-resolution")
    assert "conflict resolution (AUTOMERGE)" in refused(backend, "--start-requests-from", START)


def test_a_time_that_is_still_to_come_is_said(tmp_path: Path) -> None:
    backend = project(tmp_path)
    says = "! StartRequestsFrom is 2099-01-01T00:00:00Z, which is still to come: until then no request starts\n"
    assert says in run(backend, "--start-requests-from", "2099-01-01T00:00:00Z")
    assert says in run(backend)


@pytest.mark.parametrize("own", ["pre-push.js", "pre-push.sh"])
def test_a_project_s_own_hook_stays_and_is_told_what_to_call(tmp_path: Path, own: str) -> None:
    backend = project(tmp_path)
    hooks = backend.parent / "hooks"
    hooks.mkdir()
    (hooks / "pre-push.js.sample").write_text("// Amplify's\n")
    assert "is yours" not in run(backend, "--start-requests-from", START)
    ours = (hooks / "pre-push.js").read_bytes()
    (hooks / own).write_text("// mine\n")
    said = run(backend)
    assert f"{hooks / own} is yours: call `node amplify/hooks/hourbank-upload.js ENV` from it" in said
    # Amplify stops a push where it finds two hooks
    assert {path.name for path in hooks.iterdir()} == {own, "pre-push.js.sample", "hourbank-upload.js"}
    assert (hooks / own).read_text() == "// mine\n"
    assert (hooks / "hourbank-upload.js").read_bytes() == ours
    assert run(backend) == said
    (hooks / own).unlink()
    run(backend)
    assert {path.name for path in hooks.iterdir()} == {"pre-push.js", "pre-push.js.sample"}


def test_nothing_is_left_where_a_file_of_the_hook_s_name_is_somebody_s(tmp_path: Path) -> None:
    backend = project(tmp_path)
    hooks = backend.parent / "hooks"
    hooks.mkdir()
    for name in ("pre-push.js", "hourbank-upload.js"):
        (hooks / name).write_text("// mine\n")
    assert "hourbank-upload.js was not written by this command: move it" in refused(
        backend, "--start-requests-from", START
    )
    assert list(backend.iterdir()) == [backend / "backend-config.json"]


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"api": {"a": 1}}, "a"),
        ({"api": {"a": None}}, "a"),
        ({"api": []}, "api"),
        ({"api": {"a": {"service": "AppSync"}}, "custom": []}, "custom"),
        ({"api": {"a": {"service": "AppSync"}}, "custom": None}, "custom"),
    ],
)
def test_a_backend_config_of_another_form_is_refused(tmp_path: Path, config: dict[str, Any], part: str) -> None:
    backend = project(tmp_path)
    (backend / "backend-config.json").write_text(json.dumps(config))
    said = refused(backend, "--start-requests-from", START, "--write")
    assert said == f"{backend / 'backend-config.json'}: {part} is not an object"


@pytest.mark.thorough
def test_the_page_s_command_does_it(tmp_path: Path) -> None:
    first, later = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    backend = project(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def bash(command: str) -> dict[str, Any]:
        subprocess.run(["bash", "-ec", command], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
        return json.loads((backend / "custom" / "stepfunctions" / "parameters.json").read_text())

    parameters = bash(first)
    assert "custom" in json.loads((backend / "backend-config.json").read_text())
    assert set(parameters) == {"DeploymentBucketName", "StartRequestsFrom"}
    assert bash(later) == parameters


def test_the_time_of_the_first_export_stays(tmp_path: Path) -> None:
    backend = project(tmp_path)
    parameters = backend / "custom" / "stepfunctions" / "parameters.json"
    assert "which stays" not in run(backend, "--start-requests-from", START)
    before = parameters.read_bytes()
    assert "which stays" not in run(backend, "--start-requests-from", START)
    said = run(backend, "--start-requests-from", "2026-11-25T17:51:00Z")
    assert f"{parameters} has StartRequestsFrom {START}, which stays: change it there" in said
    assert parameters.read_bytes() == before


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"Foo": "1"}, "has Foo, which is no parameter of the template: remove it"),
        ({"StartRequestsFrom": "nope"}, ': StartRequestsFrom is "nope": give an ISO 8601 time with offset, such as'),
        ({"StartRequestsFrom": None}, ": StartRequestsFrom is null: give an ISO 8601 time"),
        ({"LogRetentionDays": "31"}, ': LogRetentionDays is "31": give one of 1, 3, 5, 7, '),
        ({"LogRetentionDays": 30.5}, ": LogRetentionDays is 30.5: give one of"),
        ({"ConfirmationDays": 366}, ": ConfirmationDays is 366: give a whole number from 1 to 365"),
        ({"ConfirmationDays": ""}, ': ConfirmationDays is "": give a whole number from 1 to 365'),
        ({"EscrowTableName": "no/table"}, ': EscrowTableName is "no/table": give 3 to 60 letters'),
        ({"AlarmTopicArn": ["arn:aws:sns:us-east-1:123456789012:alarms"]}, "give an SNS topic's ARN, or nothing"),
    ],
)
def test_people_s_parameters_are_checked(tmp_path: Path, own: dict[str, Any], said: str) -> None:
    backend = project(tmp_path)
    parameters = backend / "custom" / "stepfunctions" / "parameters.json"
    parameters.parent.mkdir(parents=True)
    parameters.write_text(json.dumps({"StartRequestsFrom": START, **own}))
    assert said in refused(backend)
    assert list(parameters.parent.iterdir()) == [parameters]


def test_people_s_legal_parameters_stay(tmp_path: Path) -> None:
    backend = project(tmp_path)
    parameters = backend / "custom" / "stepfunctions" / "parameters.json"
    parameters.parent.mkdir(parents=True)
    own = {
        "StartRequestsFrom": "2028-02-29T23:59:59.5+05:30",
        "LogRetentionDays": "365",
        "ConfirmationDays": 7,
        "EscrowTableName": "",
        "AlarmTopicArn": {"Fn::GetAtt": ["customalarms", "Outputs.TopicArn"]},
        "DeploymentBucketName": {"Ref": "DeploymentBucketName"},
    }
    parameters.write_text(json.dumps(own))
    run(backend)
    assert json.loads(parameters.read_text()) == own


# The one command of the AWS CLI that the hook runs, with the same arguments and endings.
AWS = """
    import argparse, sys
    import boto3
    from botocore.exceptions import NoCredentialsError
    parser = argparse.ArgumentParser()
    for name in ("service", "command", "source", "target"):
        parser.add_argument(name)
    parser.add_argument("--only-show-errors", action="store_true")
    parser.add_argument("--region")
    parser.add_argument("--profile")
    told = parser.parse_args()
    assert (told.service, told.command) == ("s3", "cp")
    bucket, _, key = told.target.removeprefix("s3://").partition("/")
    if told.profile:
        print(f"The config profile ({told.profile}) could not be found", file=sys.stderr)
        sys.exit(255)
    try:
        boto3.client("s3", region_name=told.region).upload_file(told.source, bucket, key)
    except NoCredentialsError:
        print(f"upload failed: {told.source} to {told.target} Unable to locate credentials", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        print(f"upload failed: {error}", file=sys.stderr)
        sys.exit(1)
"""


class Hook:
    """The hook, run as Amplify runs it: told on standard input what is being done, in the project's folder."""

    def __init__(self, project: Path, emulator: Emulator, tools: Path) -> None:
        self.amplify = project / "amplify"
        self.name = "pre-push.js"
        self.tools = tools
        access, secret = emulator.credentials
        self.env = {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "PATH": f"{tools}{os.pathsep}{Path(shutil.which('node') or '').parent}",
        }

    def run(self, environment: str = ENVIRONMENT, *arguments: str) -> subprocess.CompletedProcess[str]:
        told = {"data": {"amplify": {"command": "push", "environment": {"envName": environment}}}, "error": None}
        command = ["node", f"amplify/hooks/{self.name}", *arguments]
        text = "" if arguments else json.dumps(told)
        return subprocess.run(
            command, cwd=self.amplify.parent, env=self.env, input=text, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def hook(backend: Path, emulator: Emulator, tmp_path: Path) -> Hook:
    if not shutil.which("node"):
        pytest.skip("Node is not here; Amplify runs hooks with it")
    shutil.copytree(backend.parent, tmp_path / "amplify")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "aws").write_text(f"#!{sys.executable}\n{textwrap.dedent(AWS)}")
    (tools / "aws").chmod(0o755)
    emulator.client("s3").create_bucket(Bucket="amplify-hourbank-dev-deployment")
    team = {
        "dev": {"awscloudformation": {"Region": "us-east-1", "DeploymentBucketName": "amplify-hourbank-dev-deployment"}}
    }
    (tmp_path / "amplify" / "team-provider-info.json").write_text(json.dumps(team))
    return Hook(tmp_path, emulator, tools)


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
def test_the_hook_brings_the_archive_where_the_template_expects_it(
    hook: Hook, emulator: Emulator, made: dict[str, Any]
) -> None:
    key = made["Resources"]["CreateEscrow"]["Properties"]["Code"]["S3Key"]
    for ended in (hook.run(), hook.run(), hook.run("", "dev")):
        assert (ended.returncode, ended.stderr) == (0, "")
    content = emulator.client("s3").get_object(Bucket="amplify-hourbank-dev-deployment", Key=key)["Body"].read()
    assert content == cloudformation.archive_bytes()
    assert key == f"hourbank/{hashlib.sha256(content).hexdigest()}.zip"


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
def test_the_hook_stops_a_push_in_one_line(hook: Hook) -> None:
    def stopped(*arguments: str) -> str:
        ended = hook.run(*arguments)
        assert ended.returncode == 1
        assert ended.stderr.startswith("hourbank: ") and ended.stderr.count("\n") == 1, ended.stderr
        return ended.stderr

    assert "no deployment bucket of environment prod" in stopped("prod")
    team = hook.amplify / "team-provider-info.json"
    team.write_text(team.read_text().replace("dev-deployment", "gone-deployment"))
    said = stopped()
    assert "could not be uploaded to amplify-hourbank-gone-deployment (environment dev): upload failed" in said
    assert said.endswith("does not exist: run `amplify pull --envName dev`\n")
    access, hook.env["AWS_ACCESS_KEY_ID"] = hook.env["AWS_ACCESS_KEY_ID"], ""
    assert stopped().endswith("Unable to locate credentials: set AWS_PROFILE, or log in\n")
    hook.env["AWS_ACCESS_KEY_ID"] = access
    (hook.amplify / ".config").mkdir()
    (hook.amplify / ".config" / "local-aws-info.json").write_text('{"dev": {"useProfile": true, "profileName": "me"}}')
    assert "The config profile (me) could not be found: set AWS_PROFILE, or log in" in stopped()
    (hook.tools / "aws").unlink()
    assert "the AWS CLI is not here" in stopped()
    team.write_text("{")
    assert "team-provider-info.json is not JSON" in stopped()
    archive = hook.amplify / "backend" / "custom" / "stepfunctions" / "hourbank-functions.zip"
    archive.write_bytes(archive.read_bytes() + b"changed")
    assert "is not the archive that the template names" in stopped()
    archive.unlink()
    assert "is missing: run `hourbank export amplify`" in stopped()


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
@pytest.mark.parametrize("where", ["parameters.json", "team-provider-info.json"])
def test_the_hook_refuses_a_topic_of_another_region(hook: Hook, where: str) -> None:
    topic = {"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms"}
    parameters, team = (
        hook.amplify / "backend/custom/stepfunctions/parameters.json",
        hook.amplify / "team-provider-info.json",
    )
    if where == parameters.name:
        parameters.write_text(json.dumps({**json.loads(parameters.read_text()), **topic}))
    else:
        told = json.loads(team.read_text())
        team.write_text(json.dumps({"dev": {**told["dev"], "categories": {"custom": {"stepfunctions": topic}}}}))
    refused = hook.run()
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "AlarmTopicArn is in eu-west-1, and an alarm in us-east-1 (environment dev) cannot tell it" in refused.stderr


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
def test_the_hook_lets_a_push_without_the_workflows_go_on(hook: Hook) -> None:
    shutil.rmtree(hook.amplify / "backend" / "custom")
    config = hook.amplify / "backend" / "backend-config.json"
    for custom in ({}, {"custom": {}}, {"custom": {"other": {}}}):
        config.write_text(json.dumps(custom))
        ended = hook.run()
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    config.unlink()
    ended = hook.run()
    assert (ended.returncode, ended.stderr) == (1, f"hourbank: {hook.amplify} has no backend/backend-config.json\n")


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
@pytest.mark.parametrize(("kind", "call"), [("commonjs", "require"), ("module", "import")])
def test_a_project_s_own_hook_calls_ours(hook: Hook, kind: str, call: str) -> None:
    (hook.amplify.parent / "package.json").write_text(json.dumps({"type": kind}))
    said = "hourbank: the functions' archive is in amplify-hourbank-dev-deployment (environment dev)\n"
    assert hook.run().stdout == said
    (hook.amplify / "hooks" / "pre-push.js").write_text(f'{call}("./hourbank-upload.js");\nconsole.log("mine");\n')
    run(hook.amplify / "backend")
    assert sorted(hook.run().stdout.splitlines(keepends=True)) == [said, "mine\n"]
    (hook.tools / "aws").unlink()
    assert hook.run().returncode == 1
    hook.name = "hourbank-upload.js"
    assert "the AWS CLI is not here" in hook.run("", "dev").stderr


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
def test_the_meta_of_the_last_checkout_knows_its_bucket(hook: Hook) -> None:
    team = json.loads((hook.amplify / "team-provider-info.json").read_text())
    (hook.amplify / "team-provider-info.json").unlink()
    (hook.amplify / "backend" / "amplify-meta.json").write_text(json.dumps({"providers": team["dev"]}))
    (hook.amplify / ".config").mkdir()
    (hook.amplify / ".config" / "local-env-info.json").write_text('{"envName": "dev"}')
    assert hook.run().returncode == 0
    # told nothing, as from a pipeline
    (hook.amplify / "hooks" / "pre-push.js").chmod(0o644)
    assert hook.run("").returncode == 0
    assert "no deployment bucket of environment prod" in hook.run("prod").stderr


@pytest.mark.thorough
@pytest.mark.xdist_group("export-amplify")
def test_the_template_plays_every_story_below_amplify_s_root_stack(
    backend: Path, emulator: Emulator, made: dict[str, Any]
) -> None:
    tables = deploy.create_tables(emulator)
    # On AWS a stack below the API's exports these; the emulator keeps no exports of nested stacks.
    amplify_exports(emulator, "abcdefghij", tables)
    api = {
        "Resources": {"Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"}},
        "Outputs": {"GraphQLAPIIdOutput": {"Value": "abcdefghij"}},
    }
    code = cloudformation.archive_bytes({"bootstrap": deploy.bootstrap().encode()})
    # what the emulator needs to start a function is in another archive than the hook's
    for resource in made["Resources"].values():
        if "Code" in resource["Properties"]:
            resource["Properties"]["Code"]["S3Key"] = deploy.upload(emulator, code)
    parameters = json.loads((backend / "custom/stepfunctions/parameters.json").read_text())
    config = json.loads((backend / "backend-config.json").read_text())["custom"]["stepfunctions"]
    for one in config["dependsOn"]:
        for attribute in one["attributes"]:
            source = {"Fn::GetAtt": [f"{one['category']}{one['resourceName']}", f"Outputs.{attribute}"]}
            parameters[f"{one['category']}{one['resourceName']}{attribute}"] = source
    # As Amplify's CLI forms it (formNestedStack of amplify-provider-awscloudformation 8.11).
    root = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {"DeploymentBucketName": {"Type": "String"}},
        "Resources": {
            "apihourbank": nested(emulator, api, {}),
            "customstepfunctions": nested(emulator, adapt(made), {**parameters, "env": ENVIRONMENT}),
        },
        "Outputs": {
            output: {"Value": {"Fn::GetAtt": ["customstepfunctions", f"Outputs.{output}"]}}
            for output, _ in parameterised.OUTPUTS.values()
        },
    }
    play(emulator, root, {"DeploymentBucketName": deploy.BUCKET}, tables)


def nested(emulator: Emulator, template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    key = deploy.upload(emulator, json.dumps(template).encode())
    url = f"{emulator.endpoint}/{deploy.BUCKET}/{key}"
    return {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url, "Parameters": parameters}}
