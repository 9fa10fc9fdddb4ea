"""The emulator with enforced IAM: signatures, people's rights and the functions' roles count, exactly as deployed.

The emulator does not enforce the machines' own roles; those are asserted in test_program.py. What spoofed inputs,
squatted names and a client's writes can do is played in all variants in test_spoofed.py; here with real rights.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from handlers.bank.cursor import SHARES, Cursor
from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, execution_name
from hourbank.local import deploy, emulator, people
from hourbank.local.emulator import Emulator
from hourbank.stories import stage, stories
from hourbank.stories.stage import Performance
from tests.helpers.processes import HOURBANK, left_running
from tests.helpers.rights import RIGHTS
from tests.helpers.waiting import ENDLESS_SECONDS, until
from tests.helpers.world import World
from workflows import escrow_management, service_request

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("intruders")]

TABLES = {"SR": "serviceRequest", "E": "escrow", "UB": "userBalance", "TL": "transactionLog"}
OLD = "2020-01-01T00:00:00.000Z"
# The emulator checks these against no stream, so nobody who is given one stream may read it there; it reads the stream
# for the router itself.
NOT_TRIED = {
    ("dynamodb:DescribeStream", "STREAM"),
    ("dynamodb:GetShardIterator", "STREAM"),
    ("dynamodb:GetRecords", "STREAM"),
}
Clients = Callable[[str], Any]


class Guarded(World):
    """The deployment on an emulator that enforces IAM; a queue hears all that is said on the bus."""

    def __init__(self, emulator_: Emulator) -> None:
        super().__init__(emulator_)
        sqs, events = emulator_.client("sqs"), emulator_.client("events")
        self.bus = self.deployment.outputs["eventBusName"]
        self.heard = sqs.create_queue(QueueName="heard")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.heard, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="all", EventBusName=self.bus, EventPattern=json.dumps({"source": ["hourbank.workflows"]}))
        events.put_targets(Rule="all", EventBusName=self.bus, Targets=[{"Id": "heard", "Arn": arn}])
        sqs.set_queue_attributes(
            QueueUrl=self.heard,
            Attributes={
                "Policy": json.dumps(
                    {
                        "Statement": {
                            "Effect": "Allow",
                            "Principal": {"Service": "events.amazonaws.com"},
                            "Action": "sqs:SendMessage",
                            "Resource": arn,
                        }
                    }
                )
            },
        )

    def clients_of(self, access_key: str, secret_key: str, token: str | None = None) -> Clients:
        session = boto3.Session(access_key, secret_key, token, region_name=emulator.REGION)
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        return lambda service: session.client(service, endpoint_url=self.emulator.endpoint, config=config)

    def role(self, name: str) -> str:
        return f"arn:aws:iam::{emulator.ACCOUNT}:role/hourbank-{name}-local-{emulator.REGION}"

    def clients_of_role(self, name: str) -> Clients:
        # The emulator lets its root user stand in for a service that a role trusts.
        root = self.clients_of(*emulator.ROOT_CREDENTIALS)
        session = root("sts").assume_role(RoleArn=self.role(name), RoleSessionName="probe")["Credentials"]
        return self.clients_of(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])

    def clients_of_user(self, name: str, *statements: dict) -> Clients:
        iam = self.emulator.client("iam")
        iam.create_user(UserName=name)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | one for one in statements]}
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.clients_of(key["AccessKeyId"], key["SecretAccessKey"])

    def function(self, name: str) -> str:
        return str(json.loads(self.deployment.outputs["functionNames"])[name])

    def machine(self, name: str) -> str:
        return str(self.deployment.outputs[f"{name}WorkflowArn"])

    def execution(self, name: str) -> str:
        return f"{self.machine('serviceRequest').replace(':stateMachine:', ':execution:')}:{name}"

    def stream_arn(self) -> str:
        table = self.dynamodb.describe_table(TableName=self.tables["serviceRequest"])["Table"]
        return str(table["LatestStreamArn"])


@pytest.fixture(scope="module")
def world() -> Iterator[Guarded]:
    with Emulator(enforce_iam=True) as emulator_:
        world = Guarded(emulator_)
        yield world
        world.assert_laws()


@pytest.fixture(scope="module")
def played(world: Guarded) -> list[Performance]:
    """The stories, played; beside them, an answer that is refused within a wait."""
    illegal = world.submit()
    world.provider(illegal, "COUNTER_OFFER", counter_offer=Decimal("0.001"))
    performances = stage.Stage(world.deployment).play()
    world.until(illegal, "DECLINED")
    return performances


@pytest.fixture(scope="module")
def waiting(world: Guarded) -> dict:
    """The record of a request that waits for its provider, token and all."""
    return world.until(world.submit(), "AWAITING_PROVIDER")


def code(call: Callable[[], Any]) -> str:
    """Make a call to AWS; return the code of its error, nothing where there is none."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def is_refused(call: Callable[[], Any]) -> bool:
    return "AccessDenied" in code(call)


# ---- with exactly the deployed roles


def test_every_story_ends_as_it_must(world: Guarded, played: list[Performance]) -> None:
    assert {p.story.title: p.problem for p in played if p.problem} == {}
    balances = world.ledger().spendable()
    expected = stories.expected_balances(stories.DEMO)
    assert {name: balances[name] for name in expected} == expected


def test_the_auditor_reads_all_of_it_and_finds_nothing(world: Guarded, played: list[Performance]) -> None:
    functions, name = world.emulator.client("lambda"), world.function("auditLedger")
    told = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    # as after a week in which it did not run: all that has ended is due as well
    a_week_ago = Cursor(int(time.time()) // 3600 - SHARES + 1).text()
    world.emulator.client("ssm").put_parameter(
        Name=told["AUDIT_CURSOR_NAME"], Value=a_week_ago, Type="String", Overwrite=True
    )
    found = json.load(functions.invoke(FunctionName=name)["Payload"])
    assert (found["complete"], found["AuditMismatches"], found["UnconfirmedServices"]) == (True, 0, 0)
    assert found["RequestsAudited"] >= stage.OLD_RECORDS + len(stories.DEMO)


def test_an_operators_word_is_heard_once_nobody_runs_any_more(world: Guarded) -> None:
    record = world.until(world.submit(), "AWAITING_PROVIDER")
    before = world.ledger()

    def ended(arn: str) -> dict:
        execution = world.states.describe_execution(executionArn=arn)
        return {} if execution["status"] == "RUNNING" else execution

    def settle() -> dict:
        order = {"requestId": record["id"], "decision": "REFUND", "by": "operator", "reason": "a test"}
        arn = world.states.start_execution(stateMachineArn=world.machine("escrowManagement"), input=json.dumps(order))
        return until(lambda: ended(arn["executionArn"]), what="the release's end")

    assert settle()["error"] == "ReleaseRefused"
    assert world.ledger() == before
    world.states.stop_execution(executionArn=record["stepFunctionExecutionArn"])
    assert json.loads(settle()["output"])["outcome"] == "FAILED"
    assert world.ledger().escrows[record["id"]]["status"] == "REFUNDED"


def test_no_right_differs_from_what_aws_would_get() -> None:
    assert not [difference for difference in deploy.DIFFERENCES if "IAM" in difference.type]


def test_a_function_has_the_rights_of_its_role_and_no_others(world: Guarded) -> None:
    iam, functions = world.emulator.client("iam"), world.emulator.client("lambda")
    role = world.role("createEscrow").rpartition("/")[2]
    execution = {"Id": world.execution("x"), "Name": "service-request-x", "Input": {"requestId": "x"}}
    event = json.dumps({"execution": execution, "state": {"Name": "EscrowHours"}})

    def fails_with() -> str:
        answer = functions.invoke(FunctionName=world.function("createEscrow"), Payload=event)
        return str(json.load(answer["Payload"])["errorMessage"])

    assert fails_with() == "The request was deleted, replaced or ended"
    policy = iam.get_role_policy(RoleName=role, PolicyName="function")["PolicyDocument"]
    without = [statement for statement in policy["Statement"] if "Escrow" not in str(statement["Resource"])]
    assert len(without) == len(policy["Statement"]) - 2, "its rights on Escrow, and on its log group"
    try:
        changed = json.dumps(policy | {"Statement": without})
        iam.put_role_policy(RoleName=role, PolicyName="function", PolicyDocument=changed)
        assert "not authorized to perform: dynamodb:GetItem" in fails_with()
    finally:
        iam.put_role_policy(RoleName=role, PolicyName="function", PolicyDocument=json.dumps(policy))
    assert fails_with() == "The request was deleted, replaced or ended"


# ---- what one function's role may not do of what another's may


def calls(world: Guarded, token: str) -> dict[tuple[str, str], Callable[[Clients], Any]]:
    """A call to AWS that has no effect, for each action on each thing; named as in `RIGHTS`."""
    made: dict[tuple[str, str], Callable[[Clients], Any]] = {}
    for short, name in TABLES.items():
        table, key = world.tables[name], {"userId" if short == "UB" else "id": {"S": "nobody"}}
        there = {"ConditionExpression": f"attribute_exists({next(iter(key))})"}
        one = {"TableName": table, "Key": key}

        def check(aws: Clients, item: dict = {**one, **there}) -> Any:  # noqa: B006
            return aws("dynamodb").transact_write_items(TransactItems=[{"ConditionCheck": item}])

        def update(aws: Clients, item: dict = {**one, **there}) -> Any:  # noqa: B006
            change = item | {"UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}
            in_transaction = code(lambda: aws("dynamodb").transact_write_items(TransactItems=[{"Update": change}]))
            alone = code(lambda: aws("dynamodb").update_item(**change))
            assert ("AccessDenied" in in_transaction) == ("AccessDenied" in alone)
            return aws("dynamodb").update_item(**change)

        made |= {
            ("dynamodb:GetItem", short): lambda aws, one=one: aws("dynamodb").get_item(**one),
            ("dynamodb:PutItem", short): lambda aws, table=table, key=key, there=there: aws("dynamodb").put_item(
                TableName=table, Item=key, **there
            ),
            ("dynamodb:UpdateItem", short): update,
            ("dynamodb:ConditionCheckItem", short): check,
            ("dynamodb:DeleteItem", short): lambda aws, one=one, there=there: aws("dynamodb").delete_item(
                **one, **there
            ),
            ("dynamodb:BatchGetItem", short): lambda aws, table=table, key=key: aws("dynamodb").batch_get_item(
                RequestItems={table: {"Keys": [key]}}
            ),
            ("dynamodb:Scan", short): lambda aws, table=table: aws("dynamodb").scan(TableName=table, Limit=1),
        }
    queue = world.emulator.client("sqs").get_queue_url(QueueName="hourbank-routeServiceRequest-failures-local")
    for short, machine in {"Request": "serviceRequest", "Release": "escrowManagement"}.items():
        arn = world.machine(machine)
        nobody = arn.replace(":stateMachine:", ":execution:") + ":nobody"
        placeholder = "${ServiceRequestWorkflow}" if short == "Request" else "${EscrowManagementWorkflow}"
        made |= {
            ("states:StartExecution", placeholder): lambda aws, arn=arn: aws("stepfunctions").start_execution(
                stateMachineArn=arn, input="{}"
            ),
            ("states:DescribeExecution", f"{short.upper()} EXECUTIONS"): lambda aws, nobody=nobody: aws(
                "stepfunctions"
            ).describe_execution(executionArn=nobody),
            ("states:StopExecution", short): lambda aws, nobody=nobody: aws("stepfunctions").stop_execution(
                executionArn=nobody
            ),
            ("states:GetExecutionHistory", short): lambda aws, nobody=nobody: aws(
                "stepfunctions"
            ).get_execution_history(executionArn=nobody),
        }
    for short, (name, index, attribute) in {
        "SR BY OPEN": ("ServiceRequest", "byOpen", "open"),
        "E BY STATUS": ("Escrow", "byStatus", "status"),
    }.items():
        asked = {
            "TableName": next(world.tables[table] for table in TABLES.values() if world.tables[table].startswith(name)),
            "IndexName": index,
            "KeyConditionExpression": "#index = :value",
            "ExpressionAttributeNames": {"#index": attribute},
            "ExpressionAttributeValues": {":value": {"S": "nobody"}},
        }
        made["dynamodb:Query", short] = lambda aws, asked=asked: aws("dynamodb").query(**asked)
    machine, cursor = world.machine("serviceRequest"), "hourbank-auditCursor-local"
    made["states:ListExecutions", "${ServiceRequestWorkflow}"] = lambda aws: aws("stepfunctions").list_executions(
        stateMachineArn=machine, maxResults=1
    )
    made["ssm:GetParameter", "CURSOR"] = lambda aws: aws("ssm").get_parameter(Name=cursor)
    made["ssm:PutParameter", "CURSOR"] = lambda aws: aws("ssm").put_parameter(
        Name=cursor, Value="begin", Type="String", Overwrite=True
    )
    event = {"Source": "probe", "DetailType": "probe", "Detail": "{}"}
    return made | {
        ("dynamodb:ListStreams", "*"): lambda aws: aws("dynamodbstreams").list_streams(),
        ("events:PutEvents", "BUS"): lambda aws: aws("events").put_events(
            Entries=[event | {"EventBusName": world.bus}]
        ),
        ("events:PutEvents", "default"): lambda aws: aws("events").put_events(Entries=[event]),
        ("states:SendTaskSuccess", "${ServiceRequestWorkflow}"): lambda aws: aws("stepfunctions").send_task_success(
            taskToken=token, output=json.dumps({"answer": "REJECTED"})
        ),
        ("states:SendTaskFailure", "any"): lambda aws: aws("stepfunctions").send_task_failure(taskToken=token),
        ("sqs:SendMessage", "${RouteServiceRequestQueue.Arn}"): lambda aws: aws("sqs").send_message(
            QueueUrl=queue["QueueUrl"], MessageBody="probe"
        ),
        ("sqs:ReceiveMessage", "any"): lambda aws: aws("sqs").receive_message(QueueUrl=queue["QueueUrl"]),
        ("lambda:InvokeFunction", "any"): lambda aws: aws("lambda").invoke(
            FunctionName=world.function("processEscrowRelease"), Payload="{}"
        ),
        ("logs:FilterLogEvents", "any"): lambda aws: aws("logs").filter_log_events(
            logGroupName=f"/aws/lambda/{world.function('notifyProvider')}"
        ),
        ("s3:GetObject", "code"): lambda aws: aws("s3").list_objects_v2(Bucket=deploy.BUCKET),
        ("iam:PutRolePolicy", "any"): lambda aws: aws("iam").put_role_policy(
            RoleName="nobody", PolicyName="more", PolicyDocument="{}"
        ),
        ("sts:AssumeRole", "another's"): lambda aws: aws("sts").assume_role(
            RoleArn=world.role("processEscrowRelease"), RoleSessionName="more"
        ),
    }


@pytest.mark.parametrize("function", sorted(RIGHTS))
def test_a_role_may_do_what_its_function_does_and_nothing_of_another(
    world: Guarded, waiting: dict, function: str
) -> None:
    possible = calls(world, waiting["taskToken"])
    assert set().union(*RIGHTS.values()) - NOT_TRIED <= set(possible), (
        "each right of any function is tried with each role"
    )
    aws = world.clients_of_role(function)
    allowed = {right for right, call in possible.items() if not is_refused(lambda call=call: call(aws))}
    assert allowed == RIGHTS[function] - NOT_TRIED


@pytest.mark.parametrize("workflow", [service_request, escrow_management], ids=["requests", "releases"])
def test_a_machine_may_call_its_functions_and_no_others(world: Guarded, workflow: Any) -> None:
    name = "ServiceRequestWorkflow" if workflow is service_request else "EscrowManagementWorkflow"

    def may(action: str, resource: str) -> bool:
        (result,) = world.emulator.client("iam").simulate_principal_policy(
            PolicySourceArn=world.role(name), ActionNames=[action], ResourceArns=[resource]
        )["EvaluationResults"]
        return result["EvalDecision"] == "allowed"

    arn = f"arn:aws:lambda:{emulator.REGION}:{emulator.ACCOUNT}:function:"
    invokable = {function for function in RIGHTS if may("lambda:InvokeFunction", f"{arn}{world.function(function)}:1")}
    assert invokable == set(workflow.FUNCTIONS)
    assert not may("lambda:InvokeFunction", f"{arn}somebody-elses:1")
    assert not may("states:StartExecution", world.machine("escrowManagement"))
    assert not may(
        "dynamodb:GetItem", f"arn:aws:dynamodb:{emulator.REGION}:{emulator.ACCOUNT}:table/{world.tables['escrow']}"
    )


def test_nobody_takes_a_role_that_is_a_services(world: Guarded) -> None:
    administrator = world.emulator.client("sts")
    roles = [role["Arn"] for role in world.emulator.client("iam").list_roles()["Roles"]]
    assert len(roles) > len(RIGHTS)
    for role in roles:
        assert is_refused(lambda role=role: administrator.assume_role(RoleArn=role, RoleSessionName="intruder")), role
    # Whose trust names the thing that a service acts for, is refused to whoever acts for nothing, the root user too.
    root = world.clients_of(*emulator.ROOT_CREDENTIALS)("sts")
    for workflow in ("ServiceRequestWorkflow", "EscrowManagementWorkflow"):
        role = world.role(workflow)
        assert is_refused(lambda role=role: root.assume_role(RoleArn=role, RoleSessionName="intruder"))


def test_a_wrong_signature_is_refused(world: Guarded) -> None:
    key, _ = world.emulator.credentials
    table = world.tables["userBalance"]
    wrong = world.clients_of(key, "another secret")
    assert code(lambda: wrong("dynamodb").scan(TableName=table)) in (
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    )
    unknown = world.clients_of("AKIAIOSFODNN7EXAMPLE", "x")
    assert code(lambda: unknown("dynamodb").scan(TableName=table)) == "UnrecognizedClientException"


# ---- an intruder who may start executions of the request workflow, as a browser could


@pytest.fixture(scope="module")
def intruder(world: Guarded) -> Clients:
    return world.clients_of_user(
        "intruder", {"Action": "states:StartExecution", "Resource": world.machine("serviceRequest")}
    )


def start(world: Guarded, intruder: Clients, name: str, given: Any) -> str:
    intruder("stepfunctions").start_execution(
        stateMachineArn=world.machine("serviceRequest"), name=name, input=json.dumps(given)
    )
    return name


def test_an_intruder_cannot_answer_release_look_or_write(world: Guarded, intruder: Clients, waiting: dict) -> None:
    possible = calls(world, waiting["taskToken"])
    allowed = {right for right, call in possible.items() if not is_refused(lambda call=call: call(intruder))}
    assert allowed == {("states:StartExecution", "${ServiceRequestWorkflow}")}


def test_a_name_taken_before_the_record_is_there_is_passed_over(world: Guarded, intruder: Clients) -> None:
    before = world.ledger()
    record = people.request_record(requester="rosa", provider="theo", hours=Decimal(2))
    name = start(world, intruder, execution_name(REQUEST_PREFIX, record["id"]), {"requestId": record["id"]})
    assert world.outcome(world.execution(name)) == "NOT_OWNER"
    people.submit(world.dynamodb, world.tables, record)
    waiting = world.until(record["id"], "AWAITING_PROVIDER")
    assert waiting["stepFunctionExecutionArn"] == world.execution(f"{name}-2")
    world.provider(record["id"], "REJECTED")
    world.until(record["id"], "DECLINED")
    assert world.outcome(world.execution(f"{name}-2")) == "DECLINED"
    assert world.ledger().spendable() == before.spendable()


def test_an_execution_for_anothers_request_touches_nothing(world: Guarded, intruder: Clients) -> None:
    # Given a request that no router starts, so that the intruder is the first
    target = world.submit(createdAt=OLD)
    before = world.ledger()
    for name, given in {
        "by-hand": {"requestId": target},
        "service-request-mine": {"requestId": target},
        execution_name(RELEASE_PREFIX, target): {"requestId": target},
        execution_name(REQUEST_PREFIX, target): {
            "requestId": target,
            "states": {"WaitForProviderResponse": {"answer": "ACCEPTED"}},
        },
    }.items():
        assert world.outcome(world.execution(start(world, intruder, name, given))) == "NOT_OWNER", name
    after = world.ledger()
    assert (after.requests[target], after.spendable(), after.escrows) == (
        before.requests[target],
        before.spendable(),
        before.escrows,
    )


@pytest.mark.parametrize("spoofed", [{"requesterId": "theo"}, {"estimatedHours": 0.01}, {"providerId": "intruder"}])
def test_an_input_that_differs_from_the_record_moves_nothing(
    world: Guarded, intruder: Clients, spoofed: dict[str, Any]
) -> None:
    target = world.submit(createdAt=OLD)
    before = world.ledger()
    name = start(world, intruder, execution_name(REQUEST_PREFIX, target), {"requestId": target} | spoofed)
    assert world.outcome(world.execution(name)) == "REJECTED"
    after = world.ledger()
    assert (after.spendable(), after.escrows) == (before.spendable(), before.escrows)


def test_a_decision_in_the_request_workflow_decides_nothing(world: Guarded, intruder: Clients) -> None:
    target = world.submit(createdAt=OLD)
    before = world.ledger()
    decision = {"decision": "RELEASE", "by": "intruder", "reason": "mine"}
    name = start(world, intruder, execution_name(REQUEST_PREFIX, target), {"requestId": target} | decision)
    world.until(target, "AWAITING_PROVIDER")
    world.provider(target, "REJECTED")
    assert world.outcome(world.execution(name)) == "DECLINED"
    assert world.ledger().spendable() == before.spendable()


# ---- task tokens


def test_a_task_token_is_nowhere_but_in_its_record(
    world: Guarded, played: list[Performance], waiting: dict, tmp_path: Any
) -> None:
    said = "\n".join(commands(world, tmp_path))
    tokens = set(tokens_ever(world))
    assert waiting["taskToken"] in tokens
    assert len(tokens) > len(stories.DEMO)

    places = {
        "what commands print": said,
        "logs and metrics": "\n".join(log_lines(world)),
        "events": "\n".join(messages(world, world.heard)),
        "failures": "\n".join(messages(world, failures(world))),
        "inputs, outputs and errors of executions": "\n".join(execution_texts(world)),
        "other tables": str([world.ledger().escrows, world.ledger().log, world.ledger().spendable()]),
        "what the stage saw": str([(p.paths, p.problem, p.seen, p.doing) for p in played]),
        "what the emulator printed": world.emulator.log.read_text(),
    }
    # each of them was really read
    told = waiting["id"]
    assert told in places["logs and metrics"] and '"HoursHeld"' in places["logs and metrics"]
    assert "IllegalOffer" in places["logs and metrics"], "an error within a wait is there as well"
    assert told in places["events"] and "ProviderAsked" in places["events"] and "RequesterAsked" in places["events"]
    assert told in places["inputs, outputs and errors of executions"]
    assert "AWAITING_PROVIDER" in said and "WaitForProviderResponse" in said and "IN_PROGRESS" in said
    assert "hours at stake" in said and "cannot redrive" in said and "settled: the requester" in said
    assert {place for place, text in places.items() if any(token in text for token in tokens)} == set()


def commands(world: Guarded, directory: Any) -> Iterator[str]:
    """What commands print about a request that waits, is answered and goes on, and about one that is stuck."""
    there = left_running(directory, world.deployment, pid=os.getpid())
    environment = os.environ | {"HOURBANK_STATE": str(directory), "COLUMNS": "200"}

    def run(*arguments: str, statuses: Collection[int] = (0,)) -> subprocess.CompletedProcess:
        ended = subprocess.run(
            [*HOURBANK, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=ENDLESS_SECONDS,
            check=False,
        )
        assert ended.returncode in statuses, ended.stdout + ended.stderr
        return ended

    asked = run("request", "--from", "rosa", "--to", "theo", "--hours", "1")
    request_id = asked.stdout.strip()
    world.until(request_id, "AWAITING_PROVIDER")
    outputs = [asked, run("show", request_id), run("answer", request_id, "counter", "--hours", "2")]
    world.until(request_id, "NEGOTIATING")
    outputs += [run("show", request_id), run("respond", request_id, "accept")]
    world.until(request_id, "IN_PROGRESS")
    outputs += [run("show", request_id), run("confirm", request_id)]
    world.until(request_id, "COMPLETED")
    outputs.append(run("show", request_id))

    # and about an execution that was stopped
    stuck = world.until(world.submit(), "AWAITING_PROVIDER")
    arn, reason = stuck["stepFunctionExecutionArn"], ("--reason", "stopped by hand")
    world.states.stop_execution(executionArn=arn, error="Stopped", cause="by hand")
    outputs += [run("audit", "--touch", statuses=[1]), run("stuck", statuses=[1]), run("show", stuck["id"])]
    outputs += [run("redrive", stuck["id"], *reason, "--yes", statuses=[1])]
    outputs += [run("settle", stuck["id"], "--refund", *reason, "--yes"), run("show", stuck["id"])]
    # another test's message may be in the queue of failures
    outputs.append(run("stuck", statuses=[0, 1]))
    there.close()
    for output in outputs:
        yield output.stdout + output.stderr


def tokens_ever(world: Guarded) -> Iterator[str]:
    """Every task token that was ever in a record: the table's stream has them all."""
    streams, arn = world.emulator.client("dynamodbstreams"), world.stream_arn()
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = streams.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                if token := record["dynamodb"].get("NewImage", {}).get("taskToken", {}).get("S"):
                    yield token
            iterator = answer.get("NextShardIterator") if answer["Records"] else None


def log_lines(world: Guarded) -> Iterator[str]:
    logs = world.emulator.client("logs")
    for groups in logs.get_paginator("describe_log_groups").paginate():
        for group in groups["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                for event in page["events"]:
                    yield event["message"]


def failures(world: Guarded) -> str:
    queue = world.emulator.client("sqs").get_queue_url(QueueName="hourbank-routeServiceRequest-failures-local")
    return str(queue["QueueUrl"])


def messages(world: Guarded, queue: str) -> Iterator[str]:
    sqs = world.emulator.client("sqs")
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages"):
        for message in found:
            yield message["Body"]


def execution_texts(world: Guarded) -> Iterator[str]:
    """What DescribeExecution shows; the history, which shows tokens, is in nobody's rights."""
    for machine in ("serviceRequest", "escrowManagement"):
        for page in world.states.get_paginator("list_executions").paginate(stateMachineArn=world.machine(machine)):
            for execution in page["executions"]:
                described = world.states.describe_execution(executionArn=execution["executionArn"])
                yield json.dumps([described.get(part) for part in ("name", "input", "output", "error", "cause")])
