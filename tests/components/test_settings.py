"""What a stack is told: every mistake is refused before anything is made, in one line that says what to do.

Write one here when a key or a demand on the tables changes.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pulumi
import pytest
import yaml

from components import settings
from components.models import MODELS
from hourbank.names import ROOT
from hourbank.program.configuration import stack_config
from hourbank.program.recorder import GET_EXPORT, GET_ROLE, GET_TABLE, STACKS, record

DECLARED = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]


def refusal(stack: str = "dev", **arguments: Any) -> str:
    with pytest.raises(pulumi.RunError) as caught:
        record(stack, **arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def test_who_mails_must_say_whose_addresses_it_asks() -> None:
    assert "hourbank:userPoolId is missing" in refusal(config={"hourbank:notifyFrom": "hours@example.com"})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("amplifyApiId", "", "set the id of Amplify's GraphQL API"),
        ("amplifyApiId", "two words", "use letters, digits"),
        ("amplifyEnv", "", "Gen 2: NONE"),
        ("tables", '{"serviceRequests": "X"}', "tables.serviceRequests is not one of the four tables"),
        ("tables", '{"escrow": "a/b"}', "tables.escrow makes 'a/b' a table's name"),
        ("tables", '{"escrow": 3}', "is not a map of names"),
        ("tables", "[]", "is not a map of names"),
        ("tables", "Requests", "is not an object"),
        ("tables", '{"escrow": "One", "transactionLog": "One"}', "names one table twice"),
        ("allowConflictResolution", "yes", "set true or false"),
        ("startRequestsFrom", "", "is missing"),
        ("startRequestsFrom", "tomorrow", "ISO 8601"),
        ("startRequestsFrom", "2026-01-01T00:00:00", "without an offset"),
        ("startRequestsFrom", "2026-01-01", "without an offset"),
        ("providerResponseTimeoutSeconds", "59", "from 60 to 2592000"),
        ("providerResponseTimeoutSeconds", "2592001", "from 60 to 2592000"),
        ("providerResponseTimeoutSeconds", "90.5", "whole number"),
        ("providerResponseTimeoutSeconds", "a week", "whole number"),
        ("providerResponseTimeoutSeconds", "", "is missing"),
        ("confirmationDays", "0", "from 1 to 365"),
        ("logRetentionDays", "15", "CloudWatch Logs does not offer"),
        ("logRetentionDays", "-1", "whole number"),
        ("tracing", "yes", "set true or false"),
        ("alarmTopicArn", "hourbank-alarms", "set an ARN such as arn:aws:sns"),
        ("alarmTopicArn", "arn:aws:sqs:us-east-1:123456789012:alarms", "set an ARN such as arn:aws:sns"),
        ("alarmTopicArn", "arn:aws:sns:eu-west-1:123456789012:alarms", "is in eu-west-1: an alarm in us-east-1"),
        ("permissionsBoundaryArn", "boundary", "set an ARN such as arn:aws:iam"),
        ("permissionsBoundaryArn", "arn:aws:iam::123456789012:role/boundary", "set an ARN such as arn:aws:iam"),
        ("amplifyAuthRoleName", "arn:aws:iam::123456789012:role/authRole", "not its ARN"),
        ("amplifyAuthRoleName", "auth role", "set a role's name"),
        ("notifyFrom", "hours at example.com", "set an address that SES has verified"),
        ("notifyFrom", "*@example.com", "set an address that SES has verified"),
        ("notifyFrom", "Hours <hours@example.com>", "set an address that SES has verified"),
        ("notifyFrom", "${aws:username}@example.com", "set an address that SES has verified"),
        ("userPoolId", "AbCdEfGhI", "set a user pool's id, such as us-east-1_AbCdEfGhI"),
        ("userPoolId", "us-east-1_*", "set a user pool's id, such as us-east-1_AbCdEfGhI"),
        ("userPoolId", "eu-west-1_AbCdEfGhI", "a function in us-east-1, which is aws:region, asks a pool there"),
        ("appsyncEndpoint", "abcdefghijklmnopqrstuvwxyz", "set the URL that AppSync shows"),
        ("appsyncEndpoint", "https://api.example.com/graphql", "set the URL that AppSync shows"),
        ("appsyncEndpoint", "https://a1.appsync-realtime-api.us-east-1.amazonaws.com/graphql", "set the URL"),
        ("appsyncEndpoint", "https://a1.appsync-api.us-east-1.amazonaws.com", "set the URL that AppSync shows"),
        (
            "appsyncEndpoint",
            "https://a1.appsync-api.eu-west-1.amazonaws.com/graphql",
            "is in eu-west-1: a rule in us-east-1",
        ),
        ("logRetention", "14", "is not a key of this project"),
        ("tables.escrow", "Escrow-x", "pulumi config set --path tables.escrow NAME"),
    ],
)
def test_a_senseless_value_is_one_line_that_names_the_key(key: str, value: str, says: str) -> None:
    line = refusal(config={f"hourbank:{key}": value})
    assert line.startswith(f"hourbank:{key}")
    assert says in line
    assert "stack dev" in line


@pytest.mark.parametrize(
    ("topic", "region", "partition", "is_refused"),
    [
        ("arn:aws:sns:us-east-1:123456789012:alarms", "eu-west-1", "aws", True),
        ("arn:aws:sns:us-east-1:123456789012:alarms", "us-east-1", "aws-us-gov", True),
        ("arn:aws-cn:sns:cn-north-1:123456789012:alarms", "cn-north-1", "aws-cn", False),
    ],
)
def test_a_topic_is_where_aws_says_that_the_stack_is(topic: str, region: str, partition: str, is_refused: bool) -> None:
    """Also where the configuration names no region, so that the environment's or a profile's counts."""
    place = {
        "aws:index/getRegion:getRegion": lambda _: {"region": region},
        "aws:index/getPartition:getPartition": lambda _: {"partition": partition},
    }
    told = {"hourbank:alarmTopicArn": topic, "aws:region": ""}
    if not is_refused:
        record("dev", config=told, invokes=place)
        return
    line = refusal(config=told, invokes=place)
    assert f"hourbank:alarmTopicArn is in {':'.join(topic.split(':')[1:4:2])}: " in line
    assert f"an alarm in {partition}:{region} cannot tell it" in line


@pytest.mark.parametrize("owner", ["123456789012", "aws"])
def test_a_boundary_is_the_account_s_or_one_of_aws_s_own(owner: str) -> None:
    policy = f"arn:aws:iam::{owner}:policy/PowerUserAccess"
    roles = record("dev", config={"hourbank:permissionsBoundaryArn": policy}).of_type("aws:iam/role:Role")
    assert {role.inputs["permissionsBoundary"] for role in roles} == {policy}


def test_the_mutation_of_an_api_without_an_id_is_refused() -> None:
    named = '{"serviceRequest": "Requests", "escrow": "Held", "userBalance": "Hours", "transactionLog": "Journal"}'
    endpoint = "https://a1.appsync-api.us-east-1.amazonaws.com/graphql"
    config = {"hourbank:tables": named, "hourbank:amplifyApiId": "", "hourbank:appsyncEndpoint": endpoint}
    line = refusal(config=config)
    assert line.startswith("hourbank:amplifyApiId is missing: set the id of the API")


@pytest.mark.parametrize(
    "stack", ["Dev", "feature-1", "a-very-long-name", "1st", "sixteen-letters", "abcdefghijklmnop"]
)
def test_a_stack_whose_name_does_not_fit_into_names_is_refused(stack: str) -> None:
    line = refusal(stack)
    assert line.startswith(f"stack {stack}: ")


def test_nothing_is_made_before_a_refusal() -> None:
    asked = []

    def ask(args: dict[str, Any]) -> dict[str, Any]:
        asked.append(args)
        return {"accountId": "123456789012"}

    invokes = {"aws:index/getCallerIdentity:getCallerIdentity": ask}
    refusal(config={"hourbank:logRetentionDays": "15"}, invokes=invokes)
    assert asked == []


@pytest.mark.parametrize("token", ["getCallerIdentity:getCallerIdentity", "getRegion:getRegion"])
def test_an_account_that_nobody_may_ask_for_is_refused_in_one_line(token: str) -> None:
    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise Exception("operation error STS: GetCallerIdentity,\n AccessDenied: not authorized")  # noqa: TRY002

    line = refusal(invokes={f"aws:index/{token}": fail})
    assert line.startswith("AWS does not say whose account this is (")
    assert "GetCallerIdentity, AccessDenied: not authorized" in line
    assert line.endswith("and allow sts:GetCallerIdentity (stack dev)")


def test_a_refusal_leaves_no_trace_in_the_next_recording() -> None:
    refusal(config={"hourbank:logRetentionDays": "15"})
    assert record("dev").named("createEscrow-logs").inputs["retentionInDays"] == 14


def test_the_stack_local_allows_seconds() -> None:
    recording = record("local", config={"hourbank:providerResponseTimeoutSeconds": "1"})
    variables = recording.named("validateServiceRequest").inputs["environment"]["variables"]
    assert variables["PROVIDER_RESPONSE_TIMEOUT_SECONDS"] == "1"


@pytest.mark.parametrize(("moment", "said"), [("2099-01-01T00:00:00Z", 1), ("2026-01-01T00:00:00Z", 0)])
def test_a_time_that_is_still_to_come_is_warned_of(monkeypatch: pytest.MonkeyPatch, moment: str, said: int) -> None:
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda line, *_: warned.append(line))
    record("dev", config={"hourbank:startRequestsFrom": moment})
    assert len(warned) == said
    assert all("which is still to come: until then no request starts" in line for line in warned)


def test_pulumi_yaml_types_and_describes_every_key() -> None:
    assert set(DECLARED) == set(settings.KEYS)
    for declared in DECLARED.values():
        assert declared["type"] in ("string", "integer", "boolean", "object")
        assert len(declared["description"]) > 20


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_sets_only_declared_keys(stack: str) -> None:
    given = {key.removeprefix("hourbank:") for key in stack_config(stack) if key.startswith("hourbank:")}
    assert given <= set(DECLARED)


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_example_values_say_that_they_are_examples(stack: str) -> None:
    assert "Example values: put your own here" in (ROOT / f"Pulumi.{stack}.yaml").read_text()
    # nothing would start for whoever leaves one as it is
    assert datetime.fromisoformat(stack_config(stack)["hourbank:startRequestsFrom"]) < datetime.now(UTC)


# ---- tables

SERVES = {
    "hashKey": "id",
    "attributes": [{"name": "id", "type": "S"}],
    "streamArn": "arn:aws:dynamodb:us-east-1:123456789012:table/T/stream/2026-11-23T00:00:00.000",
    "streamViewType": "NEW_AND_OLD_IMAGES",
}


def tables(**differing: dict[str, Any]) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Look-ups of tables that serve, but for what differs by model."""

    def get_table(args: dict[str, Any]) -> dict[str, Any]:
        model = args["name"].split("-")[0]
        key = "userId" if model == "UserBalance" else "id"
        table = SERVES | {"name": args["name"], "arn": f"arn:aws:dynamodb:us-east-1:123456789012:table/{args['name']}"}
        table |= {"hashKey": key, "attributes": [{"name": key, "type": "S"}]}
        return table | differing.get(model, {})

    return {GET_TABLE: get_table}


@pytest.mark.parametrize(
    ("model", "differing", "says"),
    [
        (
            "Escrow",
            {"hashKey": "requestId", "attributes": [{"name": "requestId", "type": "S"}]},
            "its key is requestId",
        ),
        (
            "UserBalance",
            {"hashKey": "id", "attributes": [{"name": "id", "type": "S"}]},
            "the workflows need userId (S)",
        ),
        ("TransactionLog", {"rangeKey": "createdAt"}, "its key is id (S) and createdAt"),
        ("Escrow", {"attributes": [{"name": "id", "type": "N"}]}, "its key is id (N)"),
        ("ServiceRequest", {"streamArn": "", "streamViewType": ""}, "it has no stream"),
        ("ServiceRequest", {"streamViewType": "KEYS_ONLY"}, "its stream shows KEYS_ONLY"),
        ("ServiceRequest", {"streamViewType": "OLD_IMAGE"}, "NEW_AND_OLD_IMAGES"),
        ("UserBalance", {"ttl": {"attributeName": "_ttl", "enabled": True}}, "conflict resolution (DataStore)"),
    ],
)
def test_a_table_that_cannot_serve_is_refused_in_one_line(model: str, differing: dict[str, Any], says: str) -> None:
    line = refusal(invokes=tables(**{model: differing}))
    assert line.startswith(f"table {model}-abcdefghijklmnopqrstuvwxyz-dev ({model}): ")
    assert says in line


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("reading DynamoDB Table (Escrow): couldn't find resource", "does not exist"),
        (
            "operation error DynamoDB: DescribeTable, ResourceNotFoundException: Requested resource not found",
            "does not exist",
        ),
        ("AccessDeniedException: User is not authorized to perform:\n dynamodb:DescribeTable", "check AWS credentials"),
    ],
)
def test_a_table_that_cannot_be_looked_up_is_refused_in_one_line(error: str, says: str) -> None:
    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise Exception(error)  # noqa: TRY002 what the SDK raises

    line = refusal(invokes={GET_TABLE: fail})
    assert line.startswith("table ServiceRequest-abcdefghijklmnopqrstuvwxyz-dev (ServiceRequest): ")
    assert says in line


@pytest.mark.thorough
def test_tables_of_both_generations_serve() -> None:
    for differing in ({}, {"ServiceRequest": {"streamViewType": "NEW_IMAGE"}}, {"Escrow": {"streamArn": ""}}):
        assert record("dev", invokes=tables(**differing)).resources


def test_conflict_resolution_is_accepted_only_where_the_stack_says_so() -> None:
    with_ttl = tables(Escrow={"ttl": {"attributeName": "_ttl", "enabled": True}})
    assert "allowConflictResolution" in refusal(invokes=with_ttl)
    assert record("dev", config={"hourbank:allowConflictResolution": "true"}, invokes=with_ttl).resources


def test_a_time_to_live_of_the_apps_own_is_no_matter() -> None:
    assert record("dev", invokes=tables(Escrow={"ttl": {"attributeName": "expiresAt", "enabled": True}})).resources


# ---- where a table's name comes from

API = "abcdefghijklmnopqrstuvwxyz"


class Account:
    """Exports by name and tables that serve; remembers what it was asked."""

    def __init__(self, **exports: str) -> None:
        self.exports = {f"{API}:GetAtt:{model}Table:Name": name for model, name in exports.items()}
        self.asked: list[str] = []
        self.tables: list[str] = []

    @property
    def invokes(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {GET_EXPORT: self.get_export, GET_TABLE: self.get_table}

    def get_export(self, args: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(args["name"])
        if args["name"] not in self.exports:
            raise LookupError(f"{args['name']} was not found in CloudFormation Exports for region us-east-1")
        return {"name": args["name"], "value": self.exports[args["name"]]}

    def get_table(self, args: dict[str, Any]) -> dict[str, Any]:
        self.tables.append(args["name"])
        model = ("ServiceRequest", "Escrow", "UserBalance", "TransactionLog")[len(self.tables) - 1]
        return tables()[GET_TABLE]({"name": f"{model}-"}) | {"name": args["name"]}


def test_a_name_is_told_or_exported_or_computed_in_this_order() -> None:
    exports = {"ServiceRequest": f"Request-{API}-dev", "Escrow": f"Escrow-{API}-dev"}
    account = Account(**exports, TransactionLog=f"TransactionLog-{API}-dev")
    record("dev", config={"hourbank:tables": '{"escrow": "Held"}'}, invokes=account.invokes)

    assert account.tables == [f"Request-{API}-dev", "Held", f"UserBalance-{API}-dev", f"TransactionLog-{API}-dev"]
    # what is told is not asked for, and after the first that is not there nothing is: every look-up reads all exports
    assert account.asked == [f"{API}:GetAtt:{model}Table:Name" for model in ("ServiceRequest", "UserBalance")]


def test_exports_are_not_looked_at_where_every_table_is_told() -> None:
    told = {key: f"Table-{key}" for key in MODELS}
    account = Account()
    record("dev", config={"hourbank:tables": json.dumps(told)}, invokes=account.invokes)
    assert (account.asked, account.tables) == ([], list(told.values()))


def test_a_table_that_was_brought_along_from_another_api_serves() -> None:
    account = Account(ServiceRequest="ServiceRequest-older-dev")
    record("dev", invokes=account.invokes)
    assert account.tables[0] == "ServiceRequest-older-dev"


def test_an_api_of_another_environment_is_refused_in_one_line() -> None:
    line = refusal(invokes=Account(ServiceRequest=f"ServiceRequest-{API}-prod").invokes)
    assert line.startswith(f"hourbank:amplifyEnv is 'dev', but ServiceRequest's table of API {API} is ")
    assert "set it to prod" in line


def test_an_exported_table_that_is_told_for_another_model_is_refused_in_one_line() -> None:
    account = Account(ServiceRequest=f"ServiceRequest-{API}-dev", Escrow=f"Held-{API}-dev")
    line = refusal(
        config={"hourbank:tables": json.dumps({"transactionLog": f"Held-{API}-dev"})}, invokes=account.invokes
    )
    assert "names one table twice" in line


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"Stack": "acme/hourbank/dev"}, "belongs to acme/hourbank/dev"),
        ({"Stack": "hourbank-dev", "ManagedBy": "cloudformation"}, "take over what a template of ours made"),
        ({"ManagedBy": "amplify"}, "belongs to something else"),
        ({}, "belongs to something else"),
    ],
)
def test_names_that_another_stack_owns_are_refused_in_one_line(tags: dict[str, str], says: str) -> None:
    line = refusal(invokes={GET_ROLE: lambda args: {"name": args["name"], "tags": tags}})
    assert line.startswith("stack organization/hourbank/dev: the role hourbank-ServiceRequestWorkflow-dev-")
    assert says in line


def test_a_stacks_own_names_are_its_own() -> None:
    own = {GET_ROLE: lambda args: {"name": args["name"], "tags": {"Stack": "organization/hourbank/dev"}}}
    assert record("dev", invokes=own).resources


def test_whoever_may_not_look_at_roles_may_still_deploy() -> None:
    def deny(_: dict[str, Any]) -> dict[str, Any]:
        raise Exception("AccessDenied: not authorized to perform: iam:GetRole")  # noqa: TRY002 what the SDK raises

    assert record("dev", invokes={GET_ROLE: deny}).resources
