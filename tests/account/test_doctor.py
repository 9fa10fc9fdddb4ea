"""`hourbank doctor`: an account that lacks something is told what, and what to do.

On the emulator where it answers as AWS does; on recorded shapes for what it has not: refusals, and other readers.
"""

import json
import os
import re
import subprocess
from datetime import UTC, datetime
from io import BytesIO, StringIO
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from rich.console import Console

from components.models import MODELS, Model
from hourbank.account import app_schema, doctor, mail
from hourbank.account.checks import Account, Check, Outcome
from hourbank.local import deploy
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from hourbank.program import recorder
from hourbank.program.configuration import stack_config
from tests.helpers.processes import HOURBANK, left_running
from tests.helpers.waiting import until

SCHEMA = (ROOT / "amplify/schema.graphql").read_text()
HERE = Account("123456789012", "us-east-1", "aws")
STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/ServiceRequest-x-dev/stream/2026-11-01T00:00:00.000"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:%s"
OURS = "hourbank-routeServiceRequest-dev"
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"


@pytest.fixture
def aws(monkeypatch):
    """Stubs of the services that are asked, by name."""
    names = (
        *("appsync", "cloudformation", "cognito-idp", "dynamodb", "iam", "kms", "lambda", "sesv2", "sns"),
        *("stepfunctions", "sts"),
    )
    clients = {name: boto3.client(name, region_name="us-east-1") for name in names}
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    for module in (doctor, app_schema, mail):
        monkeypatch.setattr(module, "client", clients.__getitem__)
    yield stubs
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def misses(checks) -> list[Check]:
    return [one for one in checks if one.outcome is not Outcome.FITS]


# ---- who reads the stream


def reading(aws, **states: str) -> list[Check]:
    """The checks of a stream that is read by these functions, `-` in their names as `_`."""
    mappings = [
        {"EventSourceArn": STREAM, "FunctionArn": FUNCTION % name.replace("_", "-"), "State": state}
        for name, state in states.items()
    ]
    aws["lambda"].add_response(
        "list_event_source_mappings", {"EventSourceMappings": mappings}, {"EventSourceArn": STREAM}
    )
    return list(doctor.readers(STREAM, "dev"))


@pytest.mark.parametrize(
    ("states", "state", "found"),
    [
        ({}, Outcome.FITS, "read by nobody yet"),
        ({"hourbank_routeServiceRequest_dev": "Enabled"}, Outcome.FITS, f"read by {OURS} alone"),
        (
            {"search": "Enabled", "old": "Disabled", "gone": "Deleting"},
            Outcome.NOTE,
            f"search reads it too; with {OURS}",
        ),
        ({"hourbank_routeServiceRequest_dev": "Enabled", "search": "Enabled"}, Outcome.NOTE, "no room for a third"),
        (
            {"search": "Enabled", "audit": "Enabled"},
            Outcome.MISS,
            f"audit, search read it, and {OURS} would be one too many",
        ),
        ({"hourbank_routeServiceRequest_dev": "Disabled"}, Outcome.MISS, f"{OURS} is disabled"),
        (
            {"hourbank_routeServiceRequest_test": "Enabled"},
            Outcome.MISS,
            "hourbank-routeServiceRequest-test reads it too",
        ),
    ],
)
def test_a_stream_has_room_for_two_readers_and_one_router(aws, states, state, found):
    (check,) = reading(aws, **states)
    assert check.outcome is state
    assert found in check.found
    assert bool(check.remedy) is (state is Outcome.MISS)


def test_a_version_of_a_function_is_named_after_the_function(aws):
    mapping = {"EventSourceArn": STREAM, "FunctionArn": FUNCTION % f"{OURS}:live", "State": "Enabled"}
    aws["lambda"].add_response("list_event_source_mappings", {"EventSourceMappings": [mapping]})
    (check,) = doctor.readers(STREAM, "dev")
    assert check.found == f"read by {OURS} alone"


# ---- what AWS does not show


def test_what_nobody_may_see_is_not_missing(aws):
    for _ in range(2):
        message = "User is not authorized to perform: appsync:GetGraphqlApi"
        aws["appsync"].add_client_error("get_graphql_api", "AccessDeniedException", message, 403)
    (check,) = doctor.seen("schema", lambda: app_schema.schema("x", "", HERE))
    assert (check.outcome, check.found) == (Outcome.UNSEEN, f"AWS does not allow GetGraphqlApi: {message}")
    with pytest.raises(ClientError):
        list(app_schema.schema("x", "", HERE))


def test_a_look_that_fails_is_a_line_of_its_own_and_never_taken_for_a_refusal(aws):
    aws["iam"].add_client_error("get_policy", "Throttling", "Rate exceeded")
    (check,) = doctor.seen("x", lambda: doctor.boundary("arn:aws:iam::123456789012:policy/x", HERE))
    assert (check.what, check.outcome, check.found) == (
        "x",
        Outcome.MISS,
        "GetPolicy failed, Throttling: Rate exceeded",
    )
    assert check.remedy.startswith("look again")

    def cut_off():
        raise ReadTimeoutError(endpoint_url="https://iam")

    (check,) = doctor.seen("x", cut_off)
    assert (check.outcome, check.found.startswith("Read timeout on endpoint URL")) == (Outcome.MISS, True)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": null}'])
def test_a_schema_that_says_nothing_is_a_line_of_its_own(aws, body):
    aws["appsync"].add_response("get_graphql_api", {"graphqlApi": {"apiId": "x"}})
    answer = {"schema": StreamingBody(BytesIO(body.encode()), len(body))}
    aws["appsync"].add_response("get_introspection_schema", answer)
    (check,) = app_schema.schema("x", "", HERE)
    assert (check.what, check.outcome, check.found) == ("schema", Outcome.MISS, "AppSync shows none of API x")
    assert "deploy the API's schema" in check.remedy


VERSIONED = {"CodeSha256": "new", "MemorySize": 512, "Environment": {"Variables": {"A": "1"}}}


@pytest.mark.parametrize(
    ("published", "found"),
    [
        ({}, "2 functions are called as they were last changed"),
        (
            {"CodeSha256": "old", "MemorySize": 256},
            "hourbank-a-dev was changed (code) and not published: the workflow calls",
        ),
        ({"Environment": {"Variables": {"A": "0"}}}, "hourbank-a-dev was changed (Environment) and not published"),
    ],
)
def test_a_version_that_was_not_published_is_told(aws, published, found):
    place = "arn:aws:states:us-east-1:123456789012:stateMachine:"
    for machine, name, version in (("ServiceRequest", "a", 7), ("EscrowManagement", "b", 12)):
        arn = f"{place}{machine}Workflow-dev"
        task = json.dumps({"Resource": f"{FUNCTION % f'hourbank-{name}-dev'}:{version}"})
        answer = {"stateMachineArn": arn, "name": machine, "definition": task, "roleArn": "x" * 20, "type": "STANDARD"}
        answer["creationDate"] = datetime(2026, 1, 1, tzinfo=UTC)
        aws["stepfunctions"].add_response("describe_state_machine", answer, {"stateMachineArn": arn})
        of = {"FunctionName": f"hourbank-{name}-dev"}
        aws["lambda"].add_response("get_function_configuration", VERSIONED, of)
        own = VERSIONED | (published if name == "a" else {})
        aws["lambda"].add_response("get_function_configuration", own, of | {"Qualifier": str(version)})
    (check,) = doctor.unpublished(doctor.client, "dev", HERE)
    assert found in check.found
    assert check.outcome is (Outcome.MISS if published else Outcome.FITS)
    if published:
        assert check.remedy.startswith(
            "aws lambda publish-version --function-name hourbank-a-dev, then `pulumi refresh`"
        )


def test_before_a_deployment_there_is_no_version_to_look_at(aws):
    aws["stepfunctions"].add_client_error("describe_state_machine", "StateMachineDoesNotExist")
    assert list(doctor.unpublished(doctor.client, "dev", HERE)) == []


KEY = "arn:aws:kms:us-east-1:123456789012:key/own"


@pytest.mark.parametrize(
    ("manager", "state", "outcome", "says"),
    [
        ("AWS", "Enabled", None, ""),
        ("CUSTOMER", "Enabled", Outcome.NOTE, "is yours: the functions' roles get kms:Decrypt through DynamoDB"),
        ("CUSTOMER", "Disabled", Outcome.MISS, "is Disabled"),
        ("CUSTOMER", "PendingDeletion", Outcome.MISS, "is PendingDeletion"),
        (None, "", Outcome.MISS, "there is no key"),
        ("denied", "", Outcome.UNSEEN, "AWS does not allow DescribeKey"),
    ],
)
def test_the_customers_key_of_tables_must_be_usable(aws, manager, state, outcome, says):
    for model in ("UserBalance", "TransactionLog"):
        key = next(one for one in MODELS.values() if one.name == model).hash_key
        described = {
            "TableName": model,
            "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
            "SSEDescription": {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": KEY},
        }
        aws["dynamodb"].add_response("describe_table", {"Table": described}, {"TableName": model})
        aws["dynamodb"].add_response(
            "describe_time_to_live", {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}, {"TableName": model}
        )
    if manager == "denied":
        aws["kms"].add_client_error("describe_key", "AccessDeniedException", "no")
    elif manager is None:
        aws["kms"].add_client_error("describe_key", "NotFoundException", "no")
    else:
        about = {"KeyId": "own", "KeyManager": manager, "KeyState": state}
        aws["kms"].add_response("describe_key", {"KeyMetadata": about}, {"KeyId": KEY})
    names = {"userBalance": "UserBalance", "transactionLog": "TransactionLog"}
    _, _, *more = doctor.tables(names, HERE, accepts=False, env="dev")
    assert [one.outcome for one in more] == ([outcome] if outcome else [])
    assert says in "".join(one.found for one in more)


def test_a_table_that_nobody_may_see_is_missing_as_for_a_preview(aws):
    aws["dynamodb"].add_client_error("describe_table", "AccessDeniedException", "not authorized")
    (check,) = doctor.tables({"escrow": "Escrow-x-dev"}, HERE, accepts=False, env="dev")
    assert (check.what, check.outcome) == ("table Escrow", Outcome.MISS)
    assert "dynamodb:DescribeTable" in check.remedy


def test_the_schema_is_read_in_the_form_of_a_query_result_too(aws):
    """As `aws appsync get-introspection-schema` shows it; the emulator leaves the wrapping out."""
    types = [{"name": model, "fields": []} for model in app_schema.FIELDS]
    body = json.dumps({"data": {"__schema": {"types": types}}}).encode()
    api = {"graphqlApi": {"apiId": "x", "uris": {"GRAPHQL": "https://x"}}}
    aws["appsync"].add_response("get_graphql_api", api, {"apiId": "x"})
    answer = {"schema": StreamingBody(BytesIO(body), len(body))}
    aws["appsync"].add_response("get_introspection_schema", answer, {"apiId": "x", "format": "JSON"})
    checks = list(app_schema.schema("x", "", HERE))
    assert [one.found for one in checks] == [f"has no {', '.join(fields)}" for fields in app_schema.FIELDS.values()]


@pytest.mark.parametrize("kind", ["ENUM", "NON_NULL"])
@pytest.mark.parametrize(("last", "says"), [("GRANT", []), ("ESCROW_RELEASE", ["type cannot be GRANT"])])
def test_a_schema_that_knows_no_grants_is_told_of(aws, kind, last, says):
    """A note alone: an app that grants no hours by the workflows has no such entry."""
    enum = {"name": "TransactionType", "kind": "ENUM", "ofType": None}
    type_ = enum if kind == "ENUM" else {"name": None, "kind": kind, "ofType": enum}
    types = [
        {"name": "TransactionLog", "fields": [{"name": "type", "type": type_}]},
        {"name": "TransactionType", "enumValues": [{"name": name} for name in ("ESCROW_HOLD", last)]},
    ]
    body = json.dumps({"__schema": {"types": types}}).encode()
    api = {"graphqlApi": {"apiId": "x", "uris": {"GRAPHQL": "https://x"}}}
    aws["appsync"].add_response("get_graphql_api", api, {"apiId": "x"})
    answer = {"schema": StreamingBody(BytesIO(body), len(body))}
    aws["appsync"].add_response("get_introspection_schema", answer, {"apiId": "x", "format": "JSON"})
    checks = [one for one in app_schema.schema("x", "", HERE) if one.outcome is Outcome.NOTE]
    assert [one.found for one in checks] == says


def test_where_there_is_no_api_its_id_and_the_region_are_to_be_checked(aws):
    aws["appsync"].add_client_error("get_graphql_api", "NotFoundException", "none")
    aws["appsync"].add_response("list_graphql_apis", {"graphqlApis": []})
    (check,) = app_schema.schema("x", "", HERE)
    assert (check.found, check.remedy) == (
        "there is no API x in us-east-1",
        "check amplifyApiId and aws:region",
    )


# ---- what the configuration names


def trust(amr: str) -> str:
    condition = {"ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": amr}}
    principal = {"Federated": "cognito-identity.amazonaws.com"}
    return json.dumps({"Statement": [{"Effect": "Allow", "Principal": principal, "Condition": condition}]})


@pytest.mark.parametrize(("document", "state"), [("authenticated", Outcome.FITS), ("unauthenticated", Outcome.MISS)])
def test_the_role_of_guests_is_not_the_role_of_signed_in_users(aws, document, state):
    role = {"Path": "/", "RoleName": "r", "RoleId": "AROAEXAMPLEEXAMPLE", "Arn": "arn:aws:iam::123456789012:role/r"}
    role |= {"CreateDate": "2026-01-01T00:00:00Z", "AssumeRolePolicyDocument": trust(document)}
    aws["iam"].add_response("get_role", {"Role": role}, {"RoleName": "r"})
    (check,) = doctor.auth_role("r", HERE)
    assert check.outcome is state


@pytest.mark.parametrize(
    ("topic", "confirmed", "state", "found"),
    [
        (TOPIC, "1", Outcome.FITS, TOPIC),
        (TOPIC, "0", Outcome.NOTE, "nobody has subscribed"),
        (TOPIC.replace("us-east-1", "eu-west-1"), None, Outcome.MISS, "is in eu-west-1"),
    ],
)
def test_a_topic_must_be_here_and_somebody_should_hear_it(aws, topic, confirmed, state, found):
    if confirmed:
        attributes = {"Attributes": {"TopicArn": topic, "SubscriptionsConfirmed": confirmed}}
        aws["sns"].add_response("get_topic_attributes", attributes, {"TopicArn": topic})
    (check,) = doctor.alarm_topic(topic, HERE)
    assert check.outcome is state
    assert found in check.found


@pytest.mark.parametrize(
    ("address", "domain", "production", "state", "found"),
    [
        (True, None, True, Outcome.FITS, "hours@example.com"),
        (False, True, True, Outcome.FITS, "hours@example.com"),
        (None, True, False, Outcome.NOTE, "SES is in its sandbox here"),
        (None, False, None, Outcome.MISS, "SES has verified neither hours@example.com nor example.com"),
        (None, None, None, Outcome.MISS, "SES has verified neither hours@example.com nor example.com"),
    ],
)
def test_ses_must_have_verified_who_mails(aws, address, domain, production, state, found):
    for name, verified in (("hours@example.com", address), ("example.com", domain)):
        if verified is None:
            aws["sesv2"].add_client_error("get_email_identity", "NotFoundException", "none")
        else:
            answer = {"VerifiedForSendingStatus": verified}
            aws["sesv2"].add_response("get_email_identity", answer, {"EmailIdentity": name})
        if verified:
            break
    if production is not None:
        aws["sesv2"].add_response("get_account", {"ProductionAccessEnabled": production})
    (check,) = mail.sender("hours@example.com")
    assert (check.what, check.outcome) == ("notifyFrom", state)
    assert found in check.found


def test_the_user_pool_must_be_there(aws):
    pool = "us-east-1_AbCdEfGhI"
    aws["cognito-idp"].add_response("describe_user_pool", {"UserPool": {"Id": pool}}, {"UserPoolId": pool})
    aws["cognito-idp"].add_client_error("describe_user_pool", "ResourceNotFoundException", "none")
    (there,), (gone,) = mail.user_pool(pool), mail.user_pool(pool)
    assert (there.outcome, gone.outcome, gone.found) == (Outcome.FITS, Outcome.MISS, f"there is no user pool {pool}")


# ---- who has the names


@pytest.mark.parametrize(
    ("tags", "state", "found"),
    [
        (None, Outcome.FITS, "free: no stack dev is here yet"),
        ({"Stack": "acme/hourbank/dev"}, Outcome.FITS, "those of the stack acme/hourbank/dev"),
        ({"Stack": "acme/other/dev"}, Outcome.MISS, "belongs to acme/other/dev"),
        ({"ManagedBy": "hand"}, Outcome.MISS, "belongs to something else"),
        (
            {"Stack": "organization/hourbank/dev", "aws:cloudformation:stack-name": "amplify-x"},
            Outcome.NOTE,
            "deployed by the CloudFormation stack amplify-x",
        ),
    ],
)
def test_names_are_free_or_ones_own(aws, tags, state, found):
    recording = recorder.record("dev", invokes={"aws:index/getRegion:getRegion": lambda _: {"region": "us-east-1"}})
    for role in recording.of_type("Role"):
        name = role.inputs["name"]
        if tags is None:
            aws["iam"].add_client_error("get_role", "NoSuchEntity", "none", 404, None, {"RoleName": name})
            continue
        there = {"Path": "/", "RoleName": name, "RoleId": "AROAEXAMPLEEXAMPLE", "CreateDate": "2026-01-01T00:00:00Z"}
        there |= {
            "Arn": f"arn:aws:iam::123456789012:role/{name}",
            "Tags": [{"Key": k, "Value": v} for k, v in tags.items()],
        }
        aws["iam"].add_response("get_role", {"Role": there}, {"RoleName": name})
    (check,) = doctor.owners(recording, "dev")
    assert check.outcome is state
    assert found in check.found


# ---- on the emulator


def key(name: str) -> dict[str, Any]:
    """Keys of a table that has no index."""
    return Model(name="", hash_key=name, variable="").keys()


class World:
    """An account with four tables, an API with the schema of amplify/, and a stack that is told of both."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.appsync = emulator.client("appsync")
        self.api = self.appsync.create_graphql_api(name="timebank", authenticationType="AMAZON_COGNITO_USER_POOLS")
        self.api_id = self.api["graphqlApi"]["apiId"]
        for model in MODELS.values():
            self.table(f"{model.name}-{self.api_id}-dev", model.keys())
            self.reads(f"{model.name}Table", f"{model.name}-{self.api_id}-dev")
        self.says()

    def reads(self, source: str, table: str) -> None:
        """Let the API have a table, as Amplify does for each model."""
        config = {"tableName": table, "awsRegion": "us-east-1"}
        self.appsync.create_data_source(
            apiId=self.api_id,
            name=source,
            type="AMAZON_DYNAMODB",
            dynamodbConfig=config,
            serviceRoleArn="arn:aws:iam::0:role/r",
        )

    def table(self, name: str, keys: dict[str, Any], view: str | None = "NEW_AND_OLD_IMAGES") -> None:
        self.emulator.client("dynamodb").create_table(
            TableName=name,
            **keys,
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}} if view else {}),
        )

    def says(self, *changes: tuple[str, str], more: str = "") -> None:
        """Give the API the schema that a client sees, changed in places."""
        definition = published(SCHEMA)
        for old, new in changes:
            assert old in definition, old
            definition = definition.replace(old, new, 1)
        self.appsync.start_schema_creation(apiId=self.api_id, definition=(definition + more).encode())
        until(lambda: self.appsync.get_schema_creation_status(apiId=self.api_id)["status"] != "PROCESSING")

    def examine(self, **config: str) -> list[Check]:
        own = stack_config("dev") | {"hourbank:amplifyApiId": self.api_id}
        return list(doctor.examine("dev", own | {f"hourbank:{key}": value for key, value in config.items()}))

    def finds(self, **config: str) -> list[tuple[str, str]]:
        return [(one.what, one.found) for one in misses(self.examine(**config))]


def published(schema: str) -> str:
    """What Amplify makes of its schema for clients, as far as it matters: directives go, and two fields come."""
    text = re.sub(r"#.*", "", schema)
    while (start := re.search(r"@\w+", text)) is not None:
        end = start.end()
        if text[end : end + 1] == "(":
            depth = 0
            while True:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
                if not depth:
                    break
        text = text[: start.start()] + text[end:]
    text = re.sub(r"(type \w+[^{]*\{[^}]*)\}", r"\1  createdAt: AWSDateTime!\n  updatedAt: AWSDateTime!\n}", text)
    return text + "\ntype Query { getServiceRequest(id: ID!): ServiceRequest }\n"


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def account(emulator):
    return World(emulator)


@pytest.fixture
def world(account, monkeypatch):
    for module in (doctor, app_schema):
        monkeypatch.setattr(module, "client", account.emulator.client)
    yield account
    account.says()


@pytest.mark.thorough
@pytest.mark.xdist_group("doctor")
class TestOnTheEmulator:
    """With tables, exports, roles, and an API that has a schema."""

    def test_an_account_that_has_everything(self, world, monkeypatch):
        asked: set[str] = set()

        def client(service: str):
            made = world.emulator.client(service)
            made.meta.events.register("before-call", lambda model, **_: asked.add(model.name), unique_id="asked")
            return made

        for module in (doctor, app_schema):
            monkeypatch.setattr(module, "client", client)
        checks = world.examine()
        assert {name for name in asked if not name.startswith(("Get", "List", "Describe"))} == set()
        assert "GetItem" not in asked  # however many records there are, none is read
        assert len(asked) > 6
        assert misses(checks) == []
        assert [one.what for one in checks] == [
            *("account", "configuration", "table ServiceRequest", "stream", "table Escrow", "table UserBalance"),
            *("table TransactionLog", "names", "schema ServiceRequest", "schema Escrow", "schema UserBalance"),
            "schema TransactionLog",
        ]

    def test_every_table_that_cannot_serve_is_told_at_once(self, world):
        world.table("no-stream", key("id"), view=None)
        world.table("keys-only", key("pk"))
        world.reads("Streamless", "no-stream")
        world.reads("Keys", "keys-only")
        told = {"serviceRequest": "no-stream", "escrow": "keys-only", "userBalance": "not-there"}
        assert world.finds(tables=json.dumps(told)) == [
            ("table ServiceRequest", "no-stream: it has no stream"),
            ("table Escrow", "keys-only: its key is pk (S)"),
            ("table UserBalance", f"not-there is no table of API {world.api_id}"),
        ]

    def test_a_table_of_another_app_is_told(self, world):
        world.table("Escrow-anotherapi-dev", key("id"))
        checks = world.examine(tables=json.dumps({"escrow": "Escrow-anotherapi-dev"}))
        assert [one.what for one in checks].count("table Escrow") == 1
        (miss,) = misses(checks)
        assert miss.found == f"Escrow-anotherapi-dev is no table of API {world.api_id}"
        assert miss.remedy == f"its Escrow is Escrow-{world.api_id}-dev: set tables.escrow to it"

    def test_what_amplifys_stacks_export_is_looked_at(self, world):
        world.table("Renamed", key("id"))
        world.reads("Old", "Renamed")
        output = {"Value": "Renamed", "Export": {"Name": f"{world.api_id}:GetAtt:ServiceRequestTable:Name"}}
        handle = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
        template = {"Resources": {"Nothing": handle}, "Outputs": {"GetAttServiceRequestTableName": output}}
        stacks = world.emulator.client("cloudformation")
        stacks.create_stack(StackName="amplify-model", TemplateBody=json.dumps(template))
        until(lambda: stacks.list_exports()["Exports"])
        try:
            checks = {one.what: one for one in world.examine()}
        finally:
            stacks.delete_stack(StackName="amplify-model")
        renamed = checks["table ServiceRequest"]
        assert renamed.outcome is Outcome.NOTE
        assert renamed.found == "Renamed has no index byOpen: the auditor reads the whole table every hour"
        assert '@default(value: "OPEN") @index(name: "byOpen"' in renamed.remedy
        assert checks["table Escrow"].found == f"Escrow-{world.api_id}-dev"

    def test_a_configuration_that_a_preview_refuses_is_refused_with_its_words(self, world):
        *_, check = world.examine(startRequestsFrom="tomorrow")
        assert (check.what, check.outcome) == ("configuration", Outcome.MISS)
        assert check.found.startswith("hourbank:startRequestsFrom is 'tomorrow'")
        assert "ISO 8601" in check.remedy

    def test_what_the_configuration_names_must_be_there(self, world):
        nowhere = {
            "amplifyAuthRoleName": "nobody",
            "alarmTopicArn": "arn:aws:sns:us-east-1:000000000000:nowhere",
            "permissionsBoundaryArn": "arn:aws:iam::000000000000:policy/nothing",
        }
        found = dict(world.finds(**nowhere))
        assert set(found) == set(nowhere)
        assert all(value in found[key] for key, value in nowhere.items())

        topic = world.emulator.client("sns").create_topic(Name="alarms")["TopicArn"]
        world.emulator.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:0:q")
        document = json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        )
        policy = world.emulator.client("iam").create_policy(PolicyName="boundary", PolicyDocument=document)["Policy"]
        role = {"RoleName": "authRole", "AssumeRolePolicyDocument": trust("authenticated")}
        world.emulator.client("iam").create_role(**role)
        there = {"amplifyAuthRoleName": "authRole", "alarmTopicArn": topic, "permissionsBoundaryArn": policy["Arn"]}
        assert world.finds(**there) == []

    def test_a_schema_that_shows_tokens_or_lacks_fields_is_told(self, world):
        world.says(
            ("failureReason: String", "taskToken: String"),
            ("counterOfferHours: Float", "counterOfferHours: Int"),
            ("requesterResponse: RequesterResponse", "requesterResponse: RequesterResponse!"),
            ("WITHDRAWN\n", ""),
            ("executionArn: String", "executionArn: String\n  note: String!"),
            more="""
                input CreateServiceRequestInput { taskTokenAttempt: Int }
                type Mutation { deleteEscrow(id: ID!): Escrow, ask(input: CreateServiceRequestInput): ID }
            """,
        )
        assert world.finds() == [
            ("schema ServiceRequest", "has no failureReason"),
            ("schema ServiceRequest", "providerResponse cannot be WITHDRAWN"),
            ("schema ServiceRequest", "counterOfferHours is Int"),
            ("schema ServiceRequest", "requesterResponse is required"),
            ("schema Escrow", "note is required"),
            ("schema ServiceRequest", "shows taskToken"),
            ("schema CreateServiceRequestInput", "shows taskTokenAttempt"),
            ("schema Mutation", "has deleteEscrow"),
        ]

    def test_a_schema_that_is_older_than_a_field_is_told_what_it_is_for_and_fits(self, world):
        world.says(("failureCode: String", "note: String"))
        checks = [one for one in world.examine() if one.what == "schema ServiceRequest"]
        assert [(one.outcome, one.found) for one in checks] == [
            (Outcome.FITS, f"{len(app_schema.FIELDS['ServiceRequest'])} fields"),
            (Outcome.NOTE, "has no failureCode"),
        ]
        assert checks[1].remedy.startswith("add it from amplify/schema.graphql: ")

    def test_a_model_that_is_not_in_the_schema_is_told(self, world):
        world.says(("type TransactionLog", "type Log"))
        assert world.finds() == [("schema TransactionLog", "there is no type TransactionLog")]

    def test_a_wrong_api_is_told_the_ones_that_are_there(self, world):
        told = {key: f"{model.name}-{world.api_id}-dev" for key, model in MODELS.items()}
        (miss,) = misses(world.examine(amplifyApiId="nowhere", tables=json.dumps(told)))
        assert miss.found == "there is no API nowhere in us-east-1"
        assert f"{world.api_id} (timebank)" in miss.remedy

    def test_an_api_without_a_schema_is_told_beside_everything_else(self, world):
        bare = world.appsync.create_graphql_api(name="bare", authenticationType="API_KEY")["graphqlApi"]["apiId"]
        told = {key: f"{model.name}-{world.api_id}-dev" for key, model in MODELS.items()}
        try:
            checks = world.examine(amplifyApiId=bare, tables=json.dumps(told))
        finally:
            world.appsync.delete_graphql_api(apiId=bare)
        (miss,) = misses(checks)
        assert (miss.what, miss.remedy) == (
            "schema",
            "deploy the API's schema, with the models of amplify/schema.graphql",
        )
        assert miss.found.startswith("GetIntrospectionSchema failed, ")
        assert "names" in [one.what for one in checks]

    def test_subscribers_are_reached_by_the_apis_own_url_and_mutation(self, world):
        url = world.api["graphqlApi"]["uris"]["GRAPHQL"]
        told = [("appsyncEndpoint", "the API does not take IAM, with which EventBridge calls it")]
        assert world.finds(appsyncEndpoint=url) == [
            *told,
            ("appsyncEndpoint", "there is no mutation publishRequestEvent"),
        ]
        more = "type Mutation { publishRequestEvent(eventId: ID!, type: String!, requestId: ID!, userId: ID!): String }"
        world.says(more=more)
        another = url.replace(world.api_id, "another")
        assert world.finds(appsyncEndpoint=another) == [
            ("appsyncEndpoint", f"{another} is not the URL of API {world.api_id}"),
            *told,
            ("appsyncEndpoint", "mutation publishRequestEvent has no role, status"),
        ]

    def test_what_is_proposed_for_an_amplify_project_fits(self, world, tmp_path):
        # Given the file of a Gen 2 backend, whose tables' names end in NONE, and whose users have a role
        for model in MODELS.values():
            world.table(f"{model.name}-{world.api_id}-NONE", model.keys())
            world.reads(f"{model.name}None", f"{model.name}-{world.api_id}-NONE")
        cognito, iam = world.emulator.client("cognito-identity"), world.emulator.client("iam")
        document = trust("authenticated")
        role = iam.create_role(RoleName="signed-in", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        pool = cognito.create_identity_pool(IdentityPoolName="timebank", AllowUnauthenticatedIdentities=False)
        cognito.set_identity_pool_roles(IdentityPoolId=pool["IdentityPoolId"], Roles={"authenticated": role})
        outputs = {
            "auth": {"identity_pool_id": pool["IdentityPoolId"]},
            "data": {"url": world.api["graphqlApi"]["uris"]["GRAPHQL"], "aws_region": "us-east-1"},
        }
        (tmp_path / "amplify_outputs.json").write_text(json.dumps(outputs))
        # When its configuration is asked for
        environment = os.environ | {"AWS_ENDPOINT_URL": world.emulator.endpoint, "HOURBANK_STATE": str(tmp_path)}
        command = [*HOURBANK, "doctor", "--amplify", str(tmp_path), "--stack", "dev"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        # Then a stack with this configuration, and with the role that it leaves to the user, has what it needs
        lines = re.findall(r"^(?:# )?pulumi config set (\w+) (\S+) --stack dev", ended.stdout, re.MULTILINE)
        proposed = {key: value for key, value in lines if key != "appsyncEndpoint"}
        assert (proposed["amplifyEnv"], proposed["amplifyAuthRoleName"]) == ("NONE", "signed-in")
        checks = world.examine(**proposed)
        assert misses(checks) == []
        assert f"Escrow-{world.api_id}-NONE" in [one.found for one in checks]

    def test_what_up_runs_is_examined_without_a_word_on_where(self, emulator, tmp_path):
        deployment = deploy.deploy(emulator, response_timeout_seconds=600)
        at_home = os.environ | {"HOURBANK_STATE": str(tmp_path), "COLUMNS": "200", "AWS_PROFILE": "not-there"}
        with left_running(tmp_path, deployment):
            ended = subprocess.run([*HOURBANK, "doctor"], env=at_home, capture_output=True, text=True, check=False)
            assert (ended.returncode, ended.stderr) == (0, "")
            assert "read by hourbank-routeServiceRequest-local alone" in ended.stdout
            assert ended.stdout.endswith("local has what it needs\n")
            as_json = subprocess.run(
                [*HOURBANK, "doctor", "--json"], env=at_home, capture_output=True, text=True, check=True
            )
        document = json.loads(as_json.stdout)
        assert (document["stack"], document["region"], document["ok"]) == ("local", "us-east-1", True)
        assert {"what": "configuration", "outcome": "FITS", "found": "Pulumi.local.yaml", "remedy": ""} in document[
            "rows"
        ]

    def test_a_stack_that_lacks_something_is_told_and_fails(self, emulator, tmp_path):
        environment = os.environ | {"HOURBANK_STATE": str(tmp_path), "COLUMNS": "200"}
        environment |= {"AWS_ENDPOINT_URL": emulator.endpoint}
        command = [*HOURBANK, "doctor", "--stack", "dev"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (1, "")
        assert "✗  table Escrow" in ended.stdout
        assert "Escrow-abcdefghijklmnopqrstuvwxyz-dev does not exist in us-east-1" in ended.stdout
        assert "→ amplifyApiId, amplifyEnv (or tables.escrow) and aws:region" in ended.stdout
        assert ended.stdout.endswith("5 missing: see → above\n")


def test_the_table_is_readable_where_a_terminal_is_narrow():
    console = Console(file=StringIO(), width=60)
    doctor.show(console, [Check("table Escrow", Outcome.MISS, "Escrow-x-dev does not exist", "check " + "this " * 20)])
    lines = console.file.getvalue().splitlines()
    assert lines[0].rstrip() == "✗  table Escrow  Escrow-x-dev does not exist"
    assert lines[1].lstrip().startswith("→ check this")
    assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--stack", "nowhere"], 1, "there is no Pulumi.nowhere.yaml beside the program: `pulumi stack init nowhere`"),
        ([], 3, "nothing is running: start it with `"),
        (["--stack", "dev"], 3, "no AWS credentials"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, arguments, status, says):
    credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = {name: value for name, value in os.environ.items() if name not in credentials}
    environment["HOURBANK_STATE"] = str(tmp_path)
    ended = subprocess.run(
        [*HOURBANK, "doctor", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (status, "", 1)
    assert says in ended.stderr
