"""What `hourbank doctor --amplify` proposes, for projects of both generations, on recorded shapes of AWS's APIs.

The projects in tests/fixtures/amplify have the form that Amplify's own tools give them; no name in them is anybody's.
"""

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from hourbank import names
from hourbank.account import amplify_project
from hourbank.account.amplify_project import propose
from hourbank.errors import HourBankError
from tests.helpers.processes import HOURBANK

PROJECTS = Path(__file__).parents[1] / "fixtures" / "amplify"
GEN1, PROVIDERS, GEN2 = PROJECTS / "gen1", PROJECTS / "gen1-without-meta", PROJECTS / "gen2"
URL = "https://gen2endpointgen2endpoint02.appsync-api.eu-west-1.amazonaws.com/graphql"
POOL = "eu-west-1:00000000-0000-0000-0000-000000000000"


@pytest.fixture
def aws(monkeypatch):
    """Stubs of the services that are asked, by name."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(names, "command", lambda: "hourbank")
    clients = {
        name: boto3.client(name, region_name="eu-west-1") for name in ("appsync", "cloudformation", "cognito-identity")
    }
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    monkeypatch.setattr(amplify_project, "client", clients.__getitem__)
    return stubs


def settings(proposed: str) -> dict[str, str]:
    """The values that are set, by key; what is a comment is not."""
    return dict(re.findall(r"^pulumi config set (\S+) (\S+)", proposed, re.MULTILINE))


def refusal(path: Path, stack: str | None = None) -> str:
    with pytest.raises(HourBankError) as caught:
        propose(path, stack, None)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    "path", [GEN1, GEN1 / "amplify", GEN1 / "amplify/backend/amplify-meta.json"], ids=["project", "amplify", "file"]
)
def test_gen_1_after_a_pull_needs_nobody(aws, path):
    before = datetime.now(UTC).replace(microsecond=0)
    proposed = propose(path, "dev", None)
    found = settings(proposed)
    assert before <= datetime.fromisoformat(found.pop("startRequestsFrom")) <= datetime.now(UTC)
    assert found == {"aws:region": "eu-west-1", "amplifyApiId": "gen1apiidgen1apiidgen1api1", "amplifyEnv": "test"}
    first, warning, *lines = proposed.splitlines()
    assert first == f"# from {GEN1 / 'amplify/backend/amplify-meta.json'}; to be typed in {names.ROOT}"
    whose = "the tables of the environment test, for the stack dev"
    assert warning == f"# careful: these are {whose}: two stacks must not share one environment"
    assert all(" --stack dev" in line for line in lines)
    # what gives something away is shown, and not done
    assert "\n# pulumi config set amplifyAuthRoleName amplify-timebank-test-101112-authRole --stack dev" in proposed
    endpoint = "https://gen1endpointgen1endpoint01.appsync-api.eu-west-1.amazonaws.com/graphql"
    assert f"\n# pulumi config set appsyncEndpoint {endpoint} --stack dev" in proposed
    assert proposed.splitlines()[-1].startswith("hourbank doctor --stack dev")


@pytest.mark.parametrize("stack", ["test", "acme/hourbank/test", None])
def test_nothing_is_warned_of_where_the_stack_is_called_like_the_environment(aws, stack):
    assert "careful" not in propose(GEN1, stack, None)


def test_a_byte_order_mark_does_no_harm(aws, tmp_path):
    shutil.copytree(GEN1, tmp_path / "app")
    for file in (tmp_path / "app").rglob("*.json"):
        file.write_text(file.read_text(), encoding="utf-8-sig")
    assert propose(tmp_path / "app", "test", None).splitlines()[1:4] == propose(GEN1, "test", None).splitlines()[1:4]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_environment_that_is_checked_out_is_not_proposed_for_the_stack_of_another(aws, tmp_path, stack):
    shutil.copytree(GEN1 / "amplify", tmp_path / "amplify")
    shutil.copy(PROVIDERS / "amplify/team-provider-info.json", tmp_path / "amplify")
    file = tmp_path / "amplify/backend/amplify-meta.json"
    says = f"test is checked out in {file}, and the stack is {stack}: run `amplify env checkout {stack}`"
    assert refusal(tmp_path, stack) == says
    # but a stack may be called otherwise than its environment
    for own in ("test", "staging", None):
        assert settings(propose(tmp_path, own, None))["amplifyEnv"] == "test"


def test_gen_1s_environment_is_in_its_root_stacks_name_where_nothing_else_says_it(aws, tmp_path):
    shutil.copytree(GEN1 / "amplify" / "backend", tmp_path / "backend")
    proposed = propose(tmp_path, None, "eu-central-1")
    assert settings(proposed)["amplifyEnv"] == "test"
    assert settings(proposed)["aws:region"] == "eu-central-1"
    assert "--stack dev" not in proposed


def lists_root(aws, root: str) -> None:
    nested = f"arn:aws:cloudformation:eu-central-1:123456789012:stack/{root}-apitimebank-1ABC/0000"
    resource = {"LastUpdatedTimestamp": datetime.now(UTC), "ResourceStatus": "UPDATE_COMPLETE"}
    stack = resource | {"ResourceType": "AWS::CloudFormation::Stack"}
    listed = [
        stack | {"LogicalResourceId": "authtimebank", "PhysicalResourceId": f"{root}-authtimebank-2DEF"},
        resource | {"LogicalResourceId": "DeploymentBucket", "ResourceType": "AWS::S3::Bucket"},
        stack | {"LogicalResourceId": "apitimebank", "PhysicalResourceId": nested},
    ]
    aws["cloudformation"].add_response("list_stack_resources", {"StackResourceSummaries": listed}, {"StackName": root})
    outputs = [{"OutputKey": "GraphQLAPIIdOutput", "OutputValue": "prodapiidprodapiidprodapi1"}]
    described = {"StackName": nested, "CreationTime": datetime.now(UTC), "StackStatus": "UPDATE_COMPLETE"}
    aws["cloudformation"].add_response(
        "describe_stacks", {"Stacks": [described | {"Outputs": outputs}]}, {"StackName": nested}
    )


def test_gen_1_without_a_pull_is_found_by_the_root_stack_of_its_environment(aws):
    lists_root(aws, "amplify-timebank-prod-161718")
    proposed = propose(PROVIDERS, "prod", None)
    found = settings(proposed)
    del found["startRequestsFrom"]
    assert found == {"aws:region": "eu-central-1", "amplifyApiId": "prodapiidprodapiidprodapi1", "amplifyEnv": "prod"}
    assert os.environ["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert "amplify-timebank-prod-161718-authRole" in proposed
    assert "appsyncEndpoint" not in proposed


def test_which_of_many_environments_is_meant_must_be_said(aws):
    line = refusal(PROVIDERS, "staging")
    assert "has the environments dev, prod: say which with --stack" in line


def test_a_root_stack_that_is_not_in_this_account_is_one_line(aws):
    aws["cloudformation"].add_client_error("list_stack_resources", "ValidationError", "Stack does not exist")
    assert "there is no stack amplify-timebank-dev-131415 in eu-west-1: log in to" in refusal(PROVIDERS, "dev")


@pytest.mark.parametrize("inside", ["", "amplify"])
def test_gen_2s_api_is_found_by_its_url(aws, tmp_path, monkeypatch, inside):
    # Given the project's folder, or its `amplify`, which is what an export wants
    shutil.copytree(GEN2, tmp_path, dirs_exist_ok=True)
    (tmp_path / "amplify").mkdir()
    (tmp_path / "amplify/backend.ts").touch()
    monkeypatch.chdir(tmp_path / inside)
    apis = [
        {"apiId": "another", "name": "another", "uris": {"GRAPHQL": URL.replace("gen2", "nope")}},
        {"apiId": "gen2apiidgen2apiidgen2api2", "name": "amplifyData", "uris": {"GRAPHQL": URL}},
    ]
    aws["appsync"].add_response("list_graphql_apis", {"graphqlApis": apis[:1], "nextToken": "more"}, {})
    aws["appsync"].add_response("list_graphql_apis", {"graphqlApis": apis[1:]}, {"nextToken": "more"})
    role = "amplify-timebank-ana-sandbox-0-amplifyAuthauthenticatedU-3GHI"
    roles = {"IdentityPoolId": POOL, "Roles": {"authenticated": f"arn:aws:iam::123456789012:role/{role}"}}
    aws["cognito-identity"].add_response("get_identity_pool_roles", roles, {"IdentityPoolId": POOL})
    proposed = propose(Path(), None, None)
    first, warning, *_ = proposed.splitlines()
    assert first == f"# from {'../' if inside else ''}amplify_outputs.json; to be typed in {names.ROOT}"
    whose = "a branch's or a sandbox's, that amplify_outputs.json was generated for last"
    assert warning == f"# careful: these are the tables of the backend, {whose}"
    found = settings(proposed)
    del found["startRequestsFrom"]
    assert found == {"aws:region": "eu-west-1", "amplifyApiId": "gen2apiidgen2apiidgen2api2", "amplifyEnv": "NONE"}
    assert f"# pulumi config set amplifyAuthRoleName {role}  # optional" in proposed
    assert f"# pulumi config set appsyncEndpoint {URL}  # optional" in proposed


def test_a_role_that_nobody_may_look_up_is_left_out(aws):
    api = {"apiId": "gen2apiid", "name": "amplifyData", "uris": {"GRAPHQL": URL}}
    aws["appsync"].add_response("list_graphql_apis", {"graphqlApis": [api]}, {})
    aws["cognito-identity"].add_client_error("get_identity_pool_roles", "AccessDeniedException", "no")
    assert "amplifyAuthRoleName" not in propose(GEN2, None, None)


def test_an_api_that_is_not_in_this_account_is_one_line(aws):
    aws["appsync"].add_response("list_graphql_apis", {"graphqlApis": []}, {})
    assert f"no API in eu-west-1 has the URL {URL}: log in to the account of this backend" in refusal(GEN2)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("amplify_outputs.json", "{", "cannot be read"),
        pytest.param(
            "amplify_outputs.json", "[" * 100_000, "cannot be read (it is nested too deeply): pull it again", id="deep"
        ),
        ("amplify_outputs.json", "\ufeff{\xe4", "cannot be read (it is not UTF-8): pull it again"),
        ("amplify_outputs.json", '{"data": {"url": "u", "aws_region": "eu west"}}', "gives 'eu west' for aws:region"),
        (
            "team-provider-info.json",
            '{"dev": {"awscloudformation": {"StackName": "s", "Region": "x"}}}',
            "gives 'x' for aws:region",
        ),
        ("amplify_outputs.json", "[]", "is not a JSON object"),
        ("amplify_outputs.json", "{}", "has no data.url: the backend has no data"),
        ("amplify_outputs.json", '{"data": {"url": "https://x.appsync-api/graphql"}}', "has no data.aws_region"),
        ("team-provider-info.json", "{}", "has no environment"),
        ("team-provider-info.json", '{"dev": {}}', "has no stack of dev"),
        ("team-provider-info.json", '{"dev": {"awscloudformation": {"StackName": "s"}}}', "has no region of dev"),
        ("amplify-meta.json", '{"api": {"a": {"service": "AppSync"}}}', "has no GraphQL API that was pushed"),
        ("amplify-meta.json", '{"api": 3}', "has no GraphQL API that was pushed"),
    ],
)
def test_a_file_that_says_too_little_is_one_line(aws, tmp_path, name, content, says):
    (tmp_path / name).write_text(content, encoding="utf-16" if content.startswith("\ufeff") else "utf-8")
    line = refusal(tmp_path / name)
    assert line.startswith(str(tmp_path / name))
    assert says in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GraphQLAPIIdOutput", "x; rm -rf ~"),
        ("GraphQLAPIIdOutput", 3),
        ("GraphQLAPIEndpointOutput", "https://x/\nrm -rf ~"),
    ],
)
def test_nothing_of_a_file_reaches_the_users_shell(aws, tmp_path, key, value):
    content = json.loads((GEN1 / "amplify/backend/amplify-meta.json").read_text())
    content["api"]["timebank"]["output"][key] = value
    (tmp_path / "amplify-meta.json").write_text(json.dumps(content))
    refusal(tmp_path / "amplify-meta.json")


@pytest.mark.parametrize(
    ("path", "says"), [(PROJECTS, "it has no amplify/backend"), (Path("no-such"), "no such folder")]
)
def test_a_folder_that_is_no_amplify_project_is_one_line(tmp_path, path, says):
    environment = os.environ | {"HOURBANK_STATE": str(tmp_path)}
    command = [*HOURBANK, "doctor", "--amplify", str(path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert says in ended.stderr
    assert "give the folder that `amplify` is in" in ended.stderr


def test_an_api_that_was_never_pushed_stands_in_nobody_s_way(aws, tmp_path):
    content = json.loads((GEN1 / "amplify/backend/amplify-meta.json").read_text())
    content["api"] = {"older": {"service": "AppSync"}, **content["api"]}
    (tmp_path / "amplify-meta.json").write_text(json.dumps(content))
    assert "amplifyApiId" in settings(propose(tmp_path / "amplify-meta.json", None, None))


def test_a_region_that_is_none_is_the_command_line_s(aws):
    with pytest.raises(HourBankError, match=r"^--region is 'eu west', which is no region of AWS: give one such as"):
        propose(GEN1, None, "eu west")


def test_without_credentials_there_is_one_line(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if "AWS_ACCESS" not in name and "SECRET" not in name
    }
    command = [*HOURBANK, "doctor", "--amplify", str(GEN2)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (3, "", 1)
    assert ended.stderr.startswith("hourbank: no AWS credentials: `aws ")
