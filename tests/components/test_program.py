"""The real program, recorded for each stack: plain asserts on what it declares.

Write one here when what is deployed changes: a name of the contract, a right, an alarm.
"""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.settings import get_root_resource

from components import archive
from components.functions import ACCESS
from components.models import MODELS
from handlers.aws import dynamodb, environment
from handlers.bank import audit
from hourbank.program import recorder
from hourbank.program.recorder import STACKS, Recording, Resource, record
from hourbank.verify.limits import NAMES
from tests.helpers.recordings import recorded
from tests.helpers.rights import RIGHTS
from workflows import WORKFLOWS

# Names that apps and operators rely on; the program may have more.
CONTRACT = {
    "validateServiceRequest",
    "createEscrow",
    "notifyProvider",
    "startServiceExecution",
    "processNegotiation",
    "refundEscrow",
    "timeoutRequest",
    "rejectRequest",
    "validateEscrowRelease",
    "processEscrowRelease",
    "adjustEscrow",
    "grantHours",
    "routeServiceRequest",
    "auditLedger",
}
FUNCTIONS = (*ACCESS, "routeServiceRequest", "auditLedger")
AUDITED = (
    *("AuditMismatches", "RequestsMissed", "UnconfirmedServices", "OldestWaitSeconds", "AuditIncomplete"),
    "AuditHoursBehind",
    "AuditCompleted",
    "UnexplainedBalances",
)
ROLES = (*FUNCTIONS, *WORKFLOWS, "auditLedger-schedule")
API_IDS = {
    "dev": "abcdefghijklmnopqrstuvwxyz",
    "staging": "bcdefghijklmnopqrstuvwxyza",
    "prod": "cdefghijklmnopqrstuvwxyzab",
    "local": "local",
}
TOPIC = "arn:aws:sns:us-east-1:123456789012:hourbank-alarms"
PLACE = "${AWS::Region}:${AWS::AccountId}"

# The actions for which IAM takes no resource.
ONLY_STAR = {
    "dynamodb:ListStreams",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
TRACES = {("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")}
SAMPLED = {("xray:GetSamplingRules", "*"), ("xray:GetSamplingTargets", "*")}
# What a stack may opt in to: AppSync's subscribers are told of events; people are mailed; a browser starts executions.
AUTH_ROLE = "amplify-app-dev-123456-authRole"
ENDPOINT = "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.%s.amazonaws.com/graphql"
OPT_IN = {
    "hourbank:appsyncEndpoint": ENDPOINT % "us-east-1",
    "hourbank:amplifyAuthRoleName": AUTH_ROLE,
    "hourbank:notifyFrom": "hours@example.com",
    "hourbank:userPoolId": "us-east-1_AbCdEfGhI",
}
NOTIFICATION_PARTS = (
    *("", "-rule", "-target", "-events", "-events-policy", "-mapping", "-mailed", "-queue", "-queue-policy"),
    *("-role", "-policy", "-logs", "-errors", "-failures"),
)
VARIABLES = {
    "SR": ("SERVICE_REQUEST_TABLE_NAME", "ServiceRequest"),
    "E": ("ESCROW_TABLE_NAME", "Escrow"),
    "UB": ("USER_BALANCE_TABLE_NAME", "UserBalance"),
    "TL": ("TRANSACTION_LOG_TABLE_NAME", "TransactionLog"),
}


@pytest.fixture(scope="module", params=STACKS)
def recording(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


@pytest.fixture(scope="module")
def dev() -> Recording:
    return recorded("dev")


@pytest.fixture(scope="module")
def opted_in() -> Recording:
    return recorded("dev", OPT_IN)


def names(recording: Recording, type_: str) -> set[str]:
    return {resource.inputs["name"] for resource in recording.of_type(type_)}


def table_name(recording: Recording, model: str) -> str:
    return f"{model}-{API_IDS[recording.stack]}-{'NONE' if recording.stack == 'local' else recording.stack}"


def statements(policy: Resource) -> Iterator[tuple[str, str]]:
    """Each action with each resource that it is allowed on."""
    for statement in json.loads(policy.inputs["policy"])["Statement"]:
        assert statement["Effect"] == "Allow"
        assert set(statement) == {"Effect", "Action", "Resource"}
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                yield action, resource


def as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def definition(recording: Recording, workflow: str) -> dict[str, Any]:
    return json.loads(recording.named(workflow).inputs["definition"])


def called(task: dict[str, Any]) -> str:
    return task["Parameters"]["FunctionName"] if "waitForTaskToken" in task["Resource"] else task["Resource"]


def tasks(asl: dict[str, Any]) -> list[dict[str, Any]]:
    return [state for state in asl["States"].values() if state["Type"] == "Task"]


# ---- names and outputs of the contract


def test_everything_of_the_contract_is_there_under_its_name(recording: Recording) -> None:
    env = recording.stack
    assert set(FUNCTIONS) >= CONTRACT
    assert names(recording, "Function") == {f"hourbank-{name}-{env}" for name in FUNCTIONS}
    assert names(recording, "StateMachine") == {f"{name}-{env}" for name in WORKFLOWS}
    assert names(recording, "EventBus") == {f"hourbank-event-bus-{env}"}
    assert names(recording, "Queue") == {f"hourbank-routeServiceRequest-failures-{env}"}
    assert names(recording, "LogGroup") == {
        *(f"/aws/lambda/hourbank-{name}-{env}" for name in FUNCTIONS),
        *(f"/aws/vendedlogs/states/{name}-{env}" for name in WORKFLOWS),
    }
    assert names(recording, "Role") == {f"hourbank-{name}-{env}-${{AWS::Region}}" for name in ROLES}
    assert names(recording, "Schedule") == {f"hourbank-auditLedger-{env}"}
    assert [one.inputs["dashboardName"] for one in recording.of_type("Dashboard")] == [f"hourbank-{env}"]
    assert len(recording.of_type("EventSourceMapping")) == 1


def test_outputs_are_those_of_the_contract(recording: Recording) -> None:
    assert recording.outputs == {
        "serviceRequestWorkflowArn": "${ServiceRequestWorkflow}",
        "escrowManagementWorkflowArn": "${EscrowManagementWorkflow}",
        "serviceRequestWorkflowRoleArn": "${ServiceRequestWorkflowRole.Arn}",
        "escrowManagementWorkflowRoleArn": "${EscrowManagementWorkflowRole.Arn}",
        "eventBusName": "${EventBus}",
        "functionNames": {name: f"${{{name[0].upper()}{name[1:]}}}" for name in FUNCTIONS},
    }


def test_no_table_is_made_or_altered(recording: Recording) -> None:
    assert {resource.type.split("/")[0] for resource in recording.resources} == {
        "aws:cloudwatch",
        "aws:iam",
        "aws:lambda",
        "aws:scheduler",
        "aws:sfn",
        "aws:sqs",
        "aws:ssm",
    }


@pytest.mark.parametrize(("env", "region"), [("staging", "ap-southeast-2"), ("a23456789012345", "ap-northeast-3")])
def test_the_longest_names_fit_what_aws_takes(env: str, region: str) -> None:
    here = {"aws:index/getRegion:getRegion": lambda _: {"region": region}}
    config = {
        "hourbank:amplifyApiId": "api",
        "hourbank:amplifyEnv": "NONE",
        "hourbank:startRequestsFrom": "2026-01-01T00:00:00Z",
    }
    recording = record(
        env, config=config | {"aws:region": region, "hourbank:appsyncEndpoint": ENDPOINT % region}, invokes=here
    )
    # cfn-lint knows no pattern of a queue's name or a dashboard's
    for type_, (key, pattern) in NAMES.items():
        found = {resource.inputs[key] for resource in recording.of_type(type_)}
        assert found and [name for name in found if not re.fullmatch(pattern, name)] == [], type_
    assert all(name.endswith(f"-{env}-{region}") for name in names(recording, "Role"))


# ---- functions


def test_functions_run_their_handlers_on_python_and_arm(recording: Recording) -> None:
    for name in FUNCTIONS:
        inputs = recording.named(name).inputs
        module = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        assert inputs["handler"] == f"handlers.{module}.handler"
        assert Path("handlers", f"{module}.py").as_posix() in recording.code
        assert inputs["runtime"] == "python3.13"
        assert inputs["architectures"] == ["arm64"]
        assert inputs["tracingConfig"] == {"mode": "PassThrough"}, "one that is not named stays as it was on AWS"
        assert inputs["publish"] is True
        assert inputs["role"] == f"${{{recording.named(f'{name}-role').logical_id}.Arn}}"


def test_what_a_function_may_do_is_written_here_too() -> None:
    missing = [name for name in FUNCTIONS if name not in RIGHTS]
    assert not missing, f"write into RIGHTS of tests/helpers/rights.py what {' and '.join(missing)} may do"


def test_functions_are_told_the_tables_they_use_and_no_others(recording: Recording) -> None:
    env = recording.stack
    for name, rights in RIGHTS.items():
        variables = recording.named(name).inputs["environment"]["variables"]
        used = {table for _, table in rights}
        tables = {key: value for key, value in variables.items() if key.endswith("_TABLE_NAME")}
        assert tables == {
            variable: table_name(recording, model) for table, (variable, model) in VARIABLES.items() if table in used
        }
        assert ("EVENT_BUS_NAME" in variables) == ("BUS" in used)
        assert variables["POWERTOOLS_SERVICE_NAME"] == f"hourbank-{env}"
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "HourBank"
        assert variables["POWERTOOLS_LOG_LEVEL"] == "INFO"


def test_the_time_to_answer_comes_from_the_stack(recording: Recording) -> None:
    variables = recording.named("validateServiceRequest").inputs["environment"]["variables"]
    local = recording.stack == "local"
    assert variables["PROVIDER_RESPONSE_TIMEOUT_SECONDS"] == ("900" if local else "604800")
    assert variables["MINIMUM_RESPONSE_TIMEOUT_SECONDS"] == ("1" if local else "60")


def test_functions_know_the_models_as_the_program_does() -> None:
    assert {model.name: model.variable for model in MODELS.values()} == environment._TABLE
    assert {model.name: model.hash_key for model in MODELS.values()} == dynamodb._KEY
    indexes = {model.name: (model.index.name, model.index.attribute) for model in MODELS.values() if model.index}
    asked = {"ServiceRequest": audit.OPEN_REQUESTS, "Escrow": audit.HELD_ESCROWS}
    assert indexes == {name: (index.name, index.attribute) for name, index in asked.items()}


def test_functions_may_do_what_they_use_and_nothing_else(recording: Recording) -> None:
    arn = f"arn:${{AWS::Partition}}:dynamodb:{PLACE}:table/"
    resources = {arn + table_name(recording, model): short for short, (_, model) in VARIABLES.items()}
    by_table = {"SR BY OPEN": ("ServiceRequest", "byOpen"), "E BY STATUS": ("Escrow", "byStatus")}
    resources |= {
        f"{arn}{table_name(recording, model)}/index/{index}": short for short, (model, index) in by_table.items()
    }
    resources |= {"${EventBus.Arn}": "BUS"}
    place = f"arn:${{AWS::Partition}}:ssm:{PLACE}:parameter/${{{recording.named('auditLedger-cursor').logical_id}}}"
    resources |= {place: "CURSOR"}
    executions = f"arn:${{AWS::Partition}}:states:{PLACE}:execution:"
    resources |= {f"{executions}ServiceRequestWorkflow-{recording.stack}:*": "REQUEST EXECUTIONS"}
    resources |= {f"{executions}EscrowManagementWorkflow-{recording.stack}:*": "RELEASE EXECUTIONS"}
    resources |= {recording.named("routeServiceRequest-stream").inputs["eventSourceArn"]: "STREAM"}
    for name, rights in RIGHTS.items():
        logs = recording.named(f"{name}-logs").logical_id
        own = {
            ("logs:CreateLogStream", f"arn:${{AWS::Partition}}:logs:{PLACE}:log-group:${{{logs}}}:*"),
            ("logs:PutLogEvents", f"arn:${{AWS::Partition}}:logs:{PLACE}:log-group:${{{logs}}}:*"),
        }
        policy = recording.named(f"{name}-policy")
        assert {(action, resources.get(on_, on_)) for action, on_ in statements(policy)} == rights | own, name
        assert policy.inputs["role"] == f"${{{recording.named(f'{name}-role').logical_id}}}"


def test_the_key_of_a_table_is_used_by_whoever_uses_that_table_through_dynamodb_alone(dev: Recording) -> None:
    """Two tables have a key of the customer's, one has a key of its own: who may do what with which."""
    keys = {name: f"arn:aws:kms:us-east-1:123456789012:key/{name}" for name in ("shared", "own")}
    encrypted = {
        table_name(dev, "Escrow"): keys["shared"],
        table_name(dev, "UserBalance"): keys["shared"],
        table_name(dev, "TransactionLog"): keys["own"],
    }

    def table(args: dict[str, Any]) -> dict[str, Any]:
        found = recorder.table_that_serves(args["name"], {})
        key = encrypted.get(args["name"], "")
        return found | {"serverSideEncryption": {"enabled": bool(key), "kmsKeyArn": key}}

    changed = record("dev", invokes={recorder.GET_TABLE: table})
    for name in ROLES:
        given = json.loads(changed.named(f"{name}-policy").inputs["policy"])["Statement"]
        more = [
            one for one in given if one not in json.loads(dev.named(f"{name}-policy").inputs["policy"])["Statement"]
        ]
        used = {
            name for one in given for name in encrypted for arn in as_list(one["Resource"]) if f"table/{name}" in arn
        }
        expected = sorted({encrypted[one] for one in used})
        if not expected:
            assert more == [], name
            continue
        assert more == [
            {
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": expected,
                "Condition": {
                    "StringEquals": {
                        "kms:ViaService": [
                            "dynamodb.${AWS::Region}.amazonaws.com",
                            "dynamodb.${AWS::Region}.amazonaws.com.cn",
                        ]
                    }
                },
            }
        ], name


def test_a_role_has_one_policy_and_one_user(recording: Recording) -> None:
    roles = [policy.inputs["role"] for policy in recording.of_type("RolePolicy")]
    assert sorted(roles) == sorted({f"${{{role.logical_id}}}" for role in recording.of_type("Role")})
    users = [function.inputs["role"] for function in recording.of_type("Function")]
    users += [schedule.inputs["target"]["roleArn"] for schedule in recording.of_type("Schedule")]
    users += [machine.inputs["roleArn"] for machine in recording.of_type("StateMachine")]
    assert len(users) == len(set(users)) == len(roles)


def test_star_stands_only_where_iam_takes_nothing_else(recording: Recording) -> None:
    for policy in recording.of_type("RolePolicy"):
        for action, resource in statements(policy):
            assert "*" not in action
            assert (resource == "*") == (action in ONLY_STAR), f"{policy.name}: {action} on {resource}"


def test_functions_are_trusted_to_lambda_alone(recording: Recording) -> None:
    for name in FUNCTIONS:
        trust = json.loads(recording.named(f"{name}-role").inputs["assumeRolePolicy"])
        assert trust["Statement"] == [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ]


def test_a_function_comes_after_its_rights_and_its_log_group(recording: Recording) -> None:
    for name in FUNCTIONS:
        before = {recording.named(f"{name}-{part}").logical_id for part in ("policy", "logs", "role")}
        assert before <= set(recording.named(name).dependencies)


# ---- workflows


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_the_definition_is_that_of_the_module(recording: Recording, workflow: str) -> None:
    module = WORKFLOWS[workflow]
    versions = {name: f"${{{recording.named(name).version_id}}}" for name in module.FUNCTIONS}
    assert definition(recording, workflow) == module.definition(functions=versions, partition="${AWS::Partition}")


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_tasks_call_exact_versions_which_stay_invokable(recording: Recording, workflow: str) -> None:
    by_version = {f"${{{function.version_id}}}": function for function in recording.of_type("Function")}
    functions = [by_version[called(task)] for task in tasks(definition(recording, workflow))]
    invoked = {
        on_ for action, on_ in statements(recording.named(f"{workflow}-policy")) if action == "lambda:InvokeFunction"
    }
    assert invoked == {f"${{{function.logical_id}.Arn}}:*" for function in functions}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_after_a_release_executions_that_wait_may_still_call_what_they_began_with(
    dev: Recording, workflow: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed = tmp_path / "telemetry.py"
    changed.write_text("# another release\n")
    files = archive.handler_files() | {"handlers/aws/telemetry.py": changed}
    monkeypatch.setattr(archive, "handler_files", lambda: files)
    release = record("dev")

    def calls(recording: Recording) -> set[str]:
        return {called(task) for task in tasks(definition(recording, workflow))}

    assert not calls(dev) & calls(release), "the new definition calls new versions"
    began_with = [one for one in dev.of_type("Function") if f"${{{one.version_id}}}" in calls(dev)]
    for before in began_with:
        # the same function, not another in its place: deleting a function deletes its versions
        now = release.named(before.name)
        assert (now.logical_id, now.inputs["name"]) == (before.logical_id, before.inputs["name"])
        right = ("lambda:InvokeFunction", f"${{{before.logical_id}.Arn}}:*")
        assert right in set(statements(release.named(f"{workflow}-policy")))


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_tasks_wait_longer_than_their_functions_may_take(recording: Recording, workflow: str) -> None:
    by_version = {f"${{{function.version_id}}}": function for function in recording.of_type("Function")}
    for task in tasks(definition(recording, workflow)):
        if "TimeoutSeconds" in task:
            assert task["TimeoutSeconds"] > by_version[called(task)].inputs["timeout"]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_machine_is_standard_logged_without_data_and_not_traced(recording: Recording, workflow: str) -> None:
    machine = recording.named(workflow)
    assert "type" not in machine.inputs, "the default is STANDARD, and to name it could replace what was imported"
    assert machine.inputs["tracingConfiguration"] == {"enabled": False}, "unnamed, it stays as it was on AWS"
    assert machine.inputs["loggingConfiguration"] == {
        "level": "ALL",
        "includeExecutionData": False,
        "logDestination": f"arn:${{AWS::Partition}}:logs:{PLACE}:log-group:${{{workflow}Logs}}:*",
    }


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_machine_comes_after_its_policy(recording: Recording, workflow: str) -> None:
    assert f"{workflow}Policy" in recording.named(workflow).dependencies


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_only_this_machine_can_act_with_its_role(recording: Recording, workflow: str) -> None:
    trust = json.loads(recording.named(f"{workflow}-role").inputs["assumeRolePolicy"])
    machine = f"arn:${{AWS::Partition}}:states:{PLACE}:stateMachine:{workflow}-{recording.stack}"
    assert trust["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "states.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "ArnLike": {"aws:SourceArn": machine},
                "StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"},
            },
        }
    ]


def test_machines_of_staging_and_prod_are_protected_and_nothing_else(recording: Recording) -> None:
    protected = {resource.name for resource in recording.resources if resource.protect}
    assert protected == (set(WORKFLOWS) if recording.stack in ("staging", "prod") else set())


# ---- the stream


def test_the_stream_is_read_from_its_beginning_with_bounded_retries(recording: Recording) -> None:
    mapping = recording.named("routeServiceRequest-stream").inputs
    table = f"arn:${{AWS::Partition}}:dynamodb:{PLACE}:table/{table_name(recording, 'ServiceRequest')}"
    assert mapping["eventSourceArn"].startswith(f"{table}/stream/")
    assert mapping["functionName"] == "${RouteServiceRequest.Arn}"
    assert mapping["startingPosition"] == "TRIM_HORIZON"
    assert mapping["functionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["bisectBatchOnFunctionError"] is True
    assert mapping["parallelizationFactor"] == 10
    assert 0 < mapping["maximumRetryAttempts"] <= 100
    assert 0 < mapping["maximumRecordAgeInSeconds"] <= 24 * 60 * 60
    assert mapping["destinationConfig"] == {"onFailure": {"destinationArn": "${RouteServiceRequestQueue.Arn}"}}
    assert recording.named("routeServiceRequest-queue").inputs["sqsManagedSseEnabled"] is True


def test_at_most_five_filters_look_at_the_new_image_only(dev: Recording) -> None:
    filters = dev.named("routeServiceRequest-stream").inputs["filterCriteria"]["filters"]
    patterns = [json.loads(one["pattern"]) for one in filters]
    assert 0 < len(patterns) <= 5
    for pattern in patterns:
        assert set(pattern) == {"dynamodb"}
        assert set(pattern["dynamodb"]) == {"NewImage"}
        image = pattern["dynamodb"]["NewImage"]
        if {"exists": False} in [test for attribute in image.values() for test in attribute["S"]]:
            assert image["id"] == {"S": [{"exists": True}]}, "it would also match a removal"


def test_the_router_knows_where_to_send_and_from_when(recording: Recording) -> None:
    variables = recording.named("routeServiceRequest").inputs["environment"]["variables"]
    assert variables["SERVICE_REQUEST_WORKFLOW_ARN"] == "${ServiceRequestWorkflow}"
    assert variables["ESCROW_MANAGEMENT_WORKFLOW_ARN"] == "${EscrowManagementWorkflow}"
    assert variables["START_REQUESTS_FROM"] == "2026-01-01T00:00:00Z"


# ---- what a stack may opt in to


def test_opting_in_adds_what_it_is_for_and_changes_nothing_else(dev: Recording, opted_in: Recording) -> None:
    before = {resource.name: resource for resource in dev.resources}
    after = {resource.name: resource for resource in opted_in.resources}
    assert set(after) - set(before) == {
        *(
            f"subscriptions-{part}"
            for part in ("rule", "target", "role", "policy", "queue", "queue-policy", "failures")
        ),
        "browserStarts-policy",
        *(f"sendNotification{part}" for part in NOTIFICATION_PARTS),
    }
    # the page that shows everything shows these too
    del before["dashboard"]
    for name, resource in before.items():
        assert after[name].dependencies == resource.dependencies
        assert after[name].version_id == resource.version_id
        assert {**after[name].inputs, "code": None} == {**resource.inputs, "code": None}


def test_tracing_adds_the_rights_and_modes_that_it_needs_and_changes_nothing_else(dev: Recording) -> None:
    traced = recorded("dev", {"hourbank:tracing": "true"})
    users = {resource.inputs["role"] for resource in dev.of_type("Function")}
    machines = {resource.inputs["roleArn"].removesuffix(".Arn}") + "}" for resource in dev.of_type("StateMachine")}
    seen = set()
    for before, after in zip(dev.resources, traced.resources, strict=True):
        # what names a version names another one
        changed = {key for key, value in before.inputs.items() if after.inputs[key] != value and key != "code"}
        if "tracingConfig" in changed:
            assert after.inputs["tracingConfig"] == {"mode": "Active"}
            assert before.version_id != after.version_id
            changed -= {"tracingConfig"}
            seen.add(f"${{{before.logical_id}}}")
        elif "tracingConfiguration" in changed:
            assert after.inputs["tracingConfiguration"] == {"enabled": True}
            changed -= {"tracingConfiguration", "definition"}
        elif "policy" in changed and set(statements(after)) != set(statements(before)):
            role = before.inputs["role"]
            needs = TRACES | SAMPLED if role in machines else TRACES
            assert role in machines or f"{role.removesuffix('}')}.Arn}}" in users
            assert set(statements(after)) - set(statements(before)) == needs
            assert set(statements(before)) <= set(statements(after))
            changed -= {"policy"}
            seen.add(role)
        assert not changed, before.name
    assert len(seen) == 2 * len(dev.of_type("Function")) + len(machines)


def test_an_event_calls_the_published_mutation_with_all_it_says(opted_in: Recording) -> None:
    rule, target = opted_in.named("subscriptions-rule"), opted_in.named("subscriptions-target").inputs
    assert (rule.inputs["eventBusName"], target["eventBusName"]) == ("${EventBus}", "${EventBus}")
    assert rule.inputs["name"] == "hourbank-subscriptions-dev"
    pattern = json.loads(rule.inputs["eventPattern"])
    assert pattern == {"source": ["hourbank.workflows"], "detail": {"userId": [{"prefix": ""}]}}
    assert target["rule"] == f"${{{rule.logical_id}}}"
    # the endpoint's id, which is not the API's
    assert target["arn"] == f"arn:${{AWS::Partition}}:appsync:{PLACE}:endpoints/graphql-api/zyxwvutsrqponmlkjihgfedcba"
    paths = target["inputTransformer"]["inputPaths"]
    assert paths == {
        "eventId": "$.detail.eventId",
        "type": "$.detail-type",
        "requestId": "$.detail.requestId",
        "userId": "$.detail.userId",
        "role": "$.detail.role",
        "status": "$.detail.status",
    }
    filled = target["inputTransformer"]["inputTemplate"]
    for name in paths:
        filled = filled.replace(f"<{name}>", json.dumps(f"the {name}"))
    assert json.loads(filled) == {name: f"the {name}" for name in paths}
    operation = target["appsyncTarget"]["graphqlOperation"]
    declared, arguments, selected = re.fullmatch(
        r"mutation PublishRequestEvent\((.*?)\) \{ publishRequestEvent\((.*?)\) \{ (.*?) \} \}", operation
    ).groups()
    assert {part.split(":")[0] for part in declared.split(", ")} == {f"${name}" for name in paths}
    assert set(arguments.split(", ")) == {f"{name}: ${name}" for name in paths}
    assert set(selected.split()) == set(paths), "subscribers get what the mutation selects"


def test_mails_are_sent_by_a_queue_that_only_the_rule_writes(opted_in: Recording) -> None:
    rule, target = opted_in.named("sendNotification-rule").inputs, opted_in.named("sendNotification-target").inputs
    assert json.loads(rule["eventPattern"]) == {
        "source": ["hourbank.workflows"],
        "detail": {"userId": [{"prefix": ""}]},
    }
    assert (rule["eventBusName"], target["eventBusName"]) == ("${EventBus}", "${EventBus}")
    queue, failures = opted_in.named("sendNotification-events"), opted_in.named("sendNotification-queue")
    assert target["arn"] == f"${{{queue.logical_id}.Arn}}"
    given_up = json.loads(queue.inputs["redrivePolicy"])["deadLetterTargetArn"]
    assert given_up == target["deadLetterConfig"]["arn"] == f"${{{failures.logical_id}.Arn}}"
    mapping, function = opted_in.named("sendNotification-mapping").inputs, opted_in.named("sendNotification")
    assert mapping["functionResponseTypes"] == ["ReportBatchItemFailures"]
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert queue.inputs["visibilityTimeoutSeconds"] >= 6 * function.inputs["timeout"]
    source = f"arn:${{AWS::Partition}}:events:{PLACE}:rule/hourbank-event-bus-dev/hourbank-sendNotification-dev"
    for name in ("events", "queue"):
        (statement,) = json.loads(opted_in.named(f"sendNotification-{name}-policy").inputs["policy"])["Statement"]
        assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": source}
    assert opted_in.named("sendNotification-mailed").inputs["ttl"] == {"attributeName": "expiration", "enabled": True}


def test_what_mails_may_read_one_pool_and_send_from_one_address(opted_in: Recording) -> None:
    policy = json.loads(opted_in.named("sendNotification-policy").inputs["policy"])["Statement"]
    (pool,) = [one for one in policy if one["Action"] == "cognito-idp:ListUsers"]
    assert pool["Resource"] == f"arn:${{AWS::Partition}}:cognito-idp:{PLACE}:userpool/us-east-1_AbCdEfGhI"
    (mail,) = [one for one in policy if one["Action"] == "ses:SendEmail"]
    identity = f"arn:${{AWS::Partition}}:ses:{PLACE}:identity"
    assert mail["Resource"] == [f"{identity}/hours@example.com", f"{identity}/example.com"]
    assert mail["Condition"] == {"StringEquals": {"ses:FromAddress": "hours@example.com"}}
    of_tables = [one["Resource"] for one in policy if "dynamodb" in str(one["Action"])]
    assert of_tables == ["${SendNotificationMailed.Arn}"], "none of the app's"
    variables = opted_in.named("sendNotification").inputs["environment"]["variables"]
    told = {name: value for name, value in variables.items() if not name.startswith("POWERTOOLS")}
    assert told == {
        "NOTIFY_FROM": "hours@example.com",
        "USER_POOL_ID": "us-east-1_AbCdEfGhI",
        "MAILED_TABLE_NAME": "${SendNotificationMailed}",
    }


def test_the_rule_may_call_the_mutation_and_nothing_else(opted_in: Recording) -> None:
    target = opted_in.named("subscriptions-target")
    assert target.inputs["roleArn"] == "${SubscriptionsRole.Arn}"
    (right,) = statements(opted_in.named("subscriptions-policy"))
    api = f"arn:${{AWS::Partition}}:appsync:{PLACE}:apis/{API_IDS['dev']}"
    assert right == ("appsync:GraphQL", f"{api}/types/Mutation/fields/publishRequestEvent")
    assert opted_in.named("subscriptions-policy").inputs["role"] == "${SubscriptionsRole}"
    assert {"SubscriptionsPolicy", "SubscriptionsQueuePolicy"} <= set(target.dependencies)


def test_what_appsync_does_not_take_is_kept_and_sets_off_an_alarm(opted_in: Recording) -> None:
    target, queue = opted_in.named("subscriptions-target").inputs, opted_in.named("subscriptions-queue")
    assert target["deadLetterConfig"] == {"arn": "${SubscriptionsQueue.Arn}"}
    assert queue.inputs["sqsManagedSseEnabled"] is True
    policy = opted_in.named("subscriptions-queue-policy").inputs
    assert policy["queueUrl"] == "${SubscriptionsQueue}"
    (statement,) = json.loads(policy["policy"])["Statement"]
    rule = f"arn:${{AWS::Partition}}:events:{PLACE}:rule/hourbank-event-bus-dev/hourbank-subscriptions-dev"
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "${SubscriptionsQueue.Arn}",
        "Condition": {
            "ArnEquals": {"aws:SourceArn": rule},
            "StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"},
        },
    }
    alarm = opted_in.named("subscriptions-failures").inputs
    assert alarm["dimensions"] == {"QueueName": "${SubscriptionsQueue.QueueName}"}


def test_a_browser_may_start_requests_and_see_how_they_ended(opted_in: Recording) -> None:
    policy = opted_in.named("browserStarts-policy")
    assert policy.inputs["role"] == AUTH_ROLE
    assert policy.inputs["name"] == "hourbank-browserStarts-dev"
    # not the history: it shows task tokens; and nothing of the release machine, which operators' decisions start
    assert set(statements(policy)) == {
        ("states:StartExecution", "${ServiceRequestWorkflow}"),
        (
            "states:DescribeExecution",
            f"arn:${{AWS::Partition}}:states:{PLACE}:execution:ServiceRequestWorkflow-dev:*",
        ),
    }


def test_the_role_of_signed_in_users_stays_amplifys(opted_in: Recording) -> None:
    assert AUTH_ROLE not in names(opted_in, "Role")
    assert not opted_in.of_type("RolePolicyAttachment")


# ---- what is on everything


def test_everything_that_takes_tags_has_them(recording: Recording) -> None:
    stack = f"organization/hourbank/{recording.stack}"
    tags = {"Project": "hourbank", "Environment": recording.stack, "ManagedBy": "pulumi", "Stack": stack}
    untaggable = set()
    for resource in recording.resources:
        module, _, class_name = resource.type.removeprefix("aws:").partition("/")
        package = importlib.import_module(f"pulumi_aws.{'lambda_' if module == 'lambda' else module}")
        if hasattr(getattr(package, class_name.split(":")[1]), "tags"):
            assert resource.inputs.get("tags") == tags, resource.name
        else:
            untaggable.add(resource.type.split(":")[-1])
    assert untaggable == {"Dashboard", "RolePolicy", "Schedule"}


def test_logs_are_kept_as_long_as_the_stack_says(recording: Recording) -> None:
    days = {"dev": 14, "staging": 30, "prod": 365, "local": 1}[recording.stack]
    assert {group.inputs["retentionInDays"] for group in recording.of_type("LogGroup")} == {days}


def test_what_goes_wrong_sets_off_an_alarm(recording: Recording) -> None:
    watched = {
        (alarm.inputs["namespace"], alarm.inputs["metricName"], *alarm.inputs["dimensions"].values())
        for alarm in recording.of_type("MetricAlarm")
    }
    metrics = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled")
    assert watched == {
        *(("AWS/States", metric, f"${{{workflow}}}") for metric in metrics for workflow in WORKFLOWS),
        *(("AWS/Lambda", "Errors", f"${{{recording.named(name).logical_id}}}") for name in FUNCTIONS),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "${RouteServiceRequestQueue.QueueName}"),
        ("AWS/Lambda", "IteratorAge", "${RouteServiceRequest}"),
        ("AWS/Lambda", "Throttles", "${RouteServiceRequest}"),
        *(("HourBank", metric, f"hourbank-{recording.stack}") for metric in AUDITED),
    }
    for alarm in recording.of_type("MetricAlarm"):
        # the auditor's silence is bad news; what is compared once a week is no news in between
        silence = alarm.inputs["metricName"] == "AuditCompleted"
        missing = {"AuditCompleted": "breaching", "UnexplainedBalances": "ignore"}
        assert alarm.inputs["treatMissingData"] == missing.get(alarm.inputs["metricName"], "notBreaching")
        assert alarm.inputs["comparisonOperator"] == (
            "LessThanThreshold" if silence else "GreaterThanOrEqualToThreshold"
        )
        assert alarm.inputs["threshold"] > 0


def test_the_auditor_comes_every_hour_and_its_alarms_last_until_it_comes_again(recording: Recording) -> None:
    schedule = recording.named("auditLedger-schedule").inputs
    assert schedule["scheduleExpression"] == "rate(1 hour)"
    assert schedule["target"] == {"arn": "${AuditLedger.Arn}", "roleArn": "${AuditLedgerScheduleRole.Arn}"}
    (right,) = statements(recording.named("auditLedger-schedule-policy"))
    assert right == ("lambda:InvokeFunction", "${AuditLedger.Arn}")
    (trust,) = json.loads(recording.named("auditLedger-schedule-role").inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "${AWS::AccountId}"}
    alarms = [alarm for alarm in recording.of_type("MetricAlarm") if alarm.inputs["namespace"] == "HourBank"]
    assert all(alarm.inputs["period"] >= 2 * 60 * 60 for alarm in alarms)
    assert recording.named("auditLedger").inputs["environment"]["variables"]["CONFIRMATION_DAYS"] == "14"


def test_alarms_tell_the_topic_where_there_is_one(recording: Recording) -> None:
    told = {
        tuple(alarm.inputs.get(key, ()))
        for alarm in recording.of_type("MetricAlarm")
        for key in ("alarmActions", "okActions")
    }
    assert told == ({(TOPIC,)} if recording.stack == "prod" else {()})


def test_a_permissions_boundary_is_on_every_role_where_it_is_set(dev: Recording) -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    bounded = record("dev", config={"hourbank:permissionsBoundaryArn": boundary})
    assert {role.inputs.get("permissionsBoundary") for role in bounded.of_type("Role")} == {boundary}
    assert {role.inputs.get("permissionsBoundary") for role in dev.of_type("Role")} == {None}


# ---- the recording itself


def test_a_second_recording_equals_the_first(dev: Recording) -> None:
    def without_code(recording: Recording) -> list:
        # archives have no equality of their own: their files do
        resources = [
            (resource, {key: value for key, value in resource.inputs.items() if key != "code"})
            for resource in recording.resources
        ]
        return [
            (resource.type, resource.name, resource.logical_id, resource.version_id, resource.dependencies, inputs)
            for resource, inputs in resources
        ]

    again = record("dev")
    assert without_code(again) == without_code(dev)
    assert (again.code, again.outputs) == (dev.code, dev.outputs)


def test_a_recording_leaves_nothing_of_it_behind() -> None:
    before = (pulumi.get_stack(), pulumi.get_project(), get_root_resource())
    record("prod")
    assert (pulumi.get_stack(), pulumi.get_project(), get_root_resource()) == before
    assert pulumi.Config("hourbank").get("logRetentionDays") is None


def test_stacks_differ_only_in_their_names_and_values() -> None:
    assert len({tuple(resource.logical_id for resource in recorded(stack).resources) for stack in STACKS}) == 1


def test_other_names_of_tables_are_used_as_they_are() -> None:
    names = {"serviceRequest": "Requests", "escrow": "Held", "userBalance": "Hours", "transactionLog": "Journal"}
    recording = recorded("dev", {"hourbank:tables": json.dumps(names), "hourbank:amplifyApiId": ""})
    variables = recording.named("refundEscrow").inputs["environment"]["variables"]
    assert {key: variables[variable] for key, (variable, _) in zip(names, VARIABLES.values(), strict=True)} == names
