"""What an operator does with a stack: on recorded shapes of AWS's APIs, and end to end on the emulator.

Only redrive and what the emulator never answers (refusals, records that the stream has lost) rest on recorded shapes.
"""

import json
import os
import pty
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    LoginRefreshRequired,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    SSOTokenLoadError,
    UnauthorizedSSOTokenError,
)
from botocore.stub import Stubber
from rich.console import Console

from handlers.aws import dynamodb
from handlers.bank.case import Case
from handlers.bank.execution import RELEASE_PREFIX, execution_name
from hourbank import laws, names
from hourbank.account import stack
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError, UnreachableError
from hourbank.local import deploy, people
from hourbank.local.emulator import Emulator
from hourbank.local.tables import plain, read_ledger
from hourbank.operate import executions, orders, redrive, settle, stream, stuck
from hourbank.operate.audit import show_audit
from hourbank.operate.executions import DescribedExecution, owner_of, refusal_of, unsuccessful
from hourbank.operate.redrive import redrive_executions
from hourbank.operate.remedies import Trouble, remedies
from hourbank.operate.report import print_findings
from hourbank.operate.show import show_request
from hourbank.operate.stream import failure_of, of_stream
from hourbank.operate.stuck import Stuck, show_stuck, waiting
from tests.helpers.processes import HOURBANK, left_running
from tests.helpers.waiting import ENDLESS_SECONDS, until

ARN = "arn:aws:states:eu-west-1:123456789012:%s:%s"
DEV = Stack(
    env="dev",
    region="eu-west-1",
    requests_arn=ARN % ("stateMachine", "ServiceRequestWorkflow-dev"),
    releases_arn=ARN % ("stateMachine", "EscrowManagementWorkflow-dev"),
    queue="hourbank-routeServiceRequest-failures-dev",
    options=" --stack dev",
    is_local=False,
)
STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/ServiceRequest/stream/2026-11-01T00:00:00.000"
ENDED = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


def execution(request_id: str, machine: str = "ServiceRequestWorkflow-dev", prefix: str = "service-request-") -> str:
    return ARN % ("execution", f"{machine}:{prefix}{request_id}")


class Aws:
    """Clients that answer what AWS was recorded to answer, in order, and nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients = {
            name: boto3.client(name, region_name="eu-west-1")
            for name in ("stepfunctions", "dynamodb", "dynamodbstreams", "sqs", "sts")
        }
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        for module in (executions, orders, redrive, settle, stream, stuck, dynamodb):
            monkeypatch.setattr(module, "client", self.clients.__getitem__)
        monkeypatch.setattr("handlers.bank.execution.client", self.clients.__getitem__)
        monkeypatch.setattr(names, "command", lambda: "hourbank")
        monkeypatch.setenv("SERVICE_REQUEST_TABLE_NAME", "ServiceRequest")
        monkeypatch.setenv("ESCROW_TABLE_NAME", "Escrow")
        monkeypatch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")

    def lists(self, *arns: str, ended: datetime = ENDED) -> None:
        """Executions that failed, of the request workflow, the first one last."""
        for machine in (DEV.requests_arn, DEV.releases_arn):
            for status in ("FAILED", "TIMED_OUT", "ABORTED"):
                given = arns if (machine, status) == (DEV.requests_arn, "FAILED") else ()
                listed = [
                    {
                        "executionArn": arn,
                        "stateMachineArn": machine,
                        "name": arn.rpartition(":")[2],
                        "status": status,
                        "startDate": ENDED - timedelta(days=1),
                        "stopDate": ended - timedelta(minutes=number),
                    }
                    for number, arn in enumerate(given)
                ]
                asked = {"stateMachineArn": machine, "statusFilter": status, "maxResults": 1000}
                self.stubs["stepfunctions"].add_response("list_executions", {"executions": listed}, asked)

    def describes(self, arn: str, status: str | None = "FAILED", *, error: str = "States.TaskFailed", **more) -> None:
        if status is None:
            asked = {"executionArn": arn}
            states = self.stubs["stepfunctions"]
            states.add_client_error("describe_execution", "ExecutionDoesNotExist", "gone", 400, None, asked)
            return
        request_id = arn.rpartition(":")[2].removeprefix("service-request-").removeprefix("escrow-release-")
        described = {
            "executionArn": arn,
            "stateMachineArn": arn.replace(":execution:", ":stateMachine:").rpartition(":")[0],
            "status": status,
            "startDate": ENDED - timedelta(days=1),
            "input": json.dumps({"requestId": request_id}),
            "redriveCount": 0,
        }
        if status != "RUNNING":
            described |= {"stopDate": ENDED, "error": error, "cause": "{}", "redriveStatus": "REDRIVABLE"}
        self.stubs["stepfunctions"].add_response("describe_execution", described | more, {"executionArn": arn})

    def holds(self, *request_ids: str) -> None:
        """Requests that wait for their provider, and two hours held for each."""
        request = {"status": {"S": "AWAITING_PROVIDER"}, "taskToken": {"S": "SECRET"}}
        escrow = {"status": {"S": "HELD"}, "hours": {"N": "2"}}
        people = {"requesterId": {"S": "ana"}, "providerId": {"S": "ben"}}
        for table, item, owner in (
            ("ServiceRequest", request, "stepFunctionExecutionArn"),
            ("Escrow", escrow, "executionArn"),
        ):
            items = [{"id": {"S": i}, owner: {"S": execution(i)}} | item | people for i in request_ids]
            self.stubs["dynamodb"].add_response("batch_get_item", {"Responses": {table: items}})

    def finds(self, *request_ids: str) -> None:
        """All that can still change, by the indexes: these requests, and no hours that are held for others."""
        self.stubs["dynamodb"].add_response("query", {"Items": [{"id": {"S": id_}} for id_ in request_ids]})
        self.holds(*request_ids)
        self.stubs["dynamodb"].add_response("query", {"Items": []})

    def redrives(self, arn: str) -> None:
        answer = {"redriveDate": ENDED + timedelta(days=1)}
        self.stubs["stepfunctions"].add_response("redrive_execution", answer, {"executionArn": arn})

    def knows_the_caller(self) -> None:
        caller = {"UserId": "AIDA", "Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/olga"}
        self.stubs["sts"].add_response("get_caller_identity", caller)

    def assert_all_asked(self) -> None:
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    return Aws(monkeypatch)


def let_go_on(target: str | None, *, answer: bool = True, on: Stack = DEV, limit: int = 5) -> tuple[bool, str]:
    """Whether all went on, and what was printed."""
    out = Console(file=StringIO(), width=300)
    well = redrive_executions(
        out, on, target, by=None, reason="the table was throttled", confirm=lambda _: answer, limit=limit
    )
    return well, out.file.getvalue()


class TestRedrive:
    """On recorded shapes alone: the emulator has no redrive."""

    def expect_request(self, aws: Aws, **described) -> None:
        """What is asked about the request r1, whose execution failed and which was never released."""
        aws.describes(execution("r1"), **described)
        aws.describes(execution("r1-2"), None)
        aws.describes(execution("r1", "EscrowManagementWorkflow-dev", "escrow-release-"), None)
        aws.holds("r1")

    def test_a_request_goes_on_in_the_execution_that_failed_with_who_and_why_in_the_log(self, aws, capsys):
        self.expect_request(aws)
        aws.holds("r1")
        aws.knows_the_caller()
        aws.redrives(execution("r1"))
        well, printed = let_go_on("r1")
        assert well
        assert "service-request-r1: FAILED, 2 hours held" in printed
        assert "SECRET" not in printed
        line = json.loads(capsys.readouterr().err)
        assert datetime.fromisoformat(line.pop("timestamp")).tzinfo
        assert line == {
            "message": "redrive",
            "stack": "dev",
            "region": "eu-west-1",
            "by": "arn:aws:iam::123456789012:user/olga",
            "reason": "the table was throttled",
            "requestId": "r1",
            "executionArn": execution("r1"),
            "outcome": "REDRIVEN",
        }
        aws.assert_all_asked()

    def test_without_a_yes_nothing_goes_on(self, aws):
        self.expect_request(aws)
        aws.holds("r1")
        with pytest.raises(HourBankError, match="nothing was done"):
            let_go_on("r1", answer=False)
        aws.assert_all_asked()

    @pytest.mark.parametrize(
        ("described", "says"),
        [
            ({"status": "RUNNING"}, "r1 has nothing to redrive: RUNNING"),
            ({"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "too old"}, "r1 cannot go on where it failed"),
            ({"error": "ReleaseRefused"}, "it ended by a refusal"),
        ],
    )
    def test_what_cannot_go_on_is_refused_in_a_line(self, aws, described, says):
        self.expect_request(aws, **described)
        if "status" not in described:
            aws.holds("r1")
        with pytest.raises(HourBankError, match=says):
            let_go_on("r1")

    def test_all_that_is_unfinished_goes_on_and_one_that_is_refused_stops_no_other(self, aws, capsys):
        aws.lists(execution("r1"), execution("r2"), execution("r3"), ended=datetime.now(UTC))
        aws.finds("r1", "r3")  # the hours of r2 were settled meanwhile
        aws.knows_the_caller()
        aws.stubs["stepfunctions"].add_client_error("redrive_execution", "ExecutionNotRedrivable", "It is running", 400)
        aws.redrives(execution("r3"))
        well, printed = let_go_on(None)
        assert not well
        assert "r1: RedriveExecution failed, ExecutionNotRedrivable: It is running" in printed
        outcomes = [json.loads(line)["outcome"] for line in capsys.readouterr().err.splitlines()]
        assert outcomes[1:] == ["REDRIVEN"]
        aws.assert_all_asked()

    def test_so_many_as_are_asked_for_go_on_those_that_ended_last_first(self, aws, capsys):
        aws.lists(execution("r1"), execution("r2"), execution("r3"), ended=datetime.now(UTC))
        aws.finds("r3", "r2", "r1")
        aws.knows_the_caller()
        aws.redrives(execution("r1"))
        aws.redrives(execution("r2"))
        assert let_go_on(None, limit=2)[0]
        aws.assert_all_asked()

    @pytest.mark.parametrize(
        ("fails", "says"),
        [
            ("ThrottlingException", "RedriveExecution failed, ThrottlingException: no"),
            ("ExpiredTokenException", r"AWS does not take these credentials \(ExpiredTokenException\): .*"),
            ("AccessDeniedException", "AWS does not allow RedriveExecution: no"),
        ],
    )
    def test_what_concerns_all_of_them_ends_it_with_how_far_it_got(self, aws, capsys, fails, says):
        aws.lists(execution("r1"), execution("r2"), execution("r3"), ended=datetime.now(UTC))
        aws.finds("r1", "r2", "r3")
        aws.knows_the_caller()
        aws.redrives(execution("r1"))
        aws.stubs["stepfunctions"].add_client_error("redrive_execution", fails, "no", 400)
        with pytest.raises(UnreachableError, match=f"^{says}; 1 of 3 asked, 1 go on; give it again for the others$"):
            let_go_on(None)
        aws.assert_all_asked()

    def test_one_that_is_interrupted_says_so_and_the_next_goes_on_with_the_rest(self, aws, capsys, monkeypatch):
        aws.lists(execution("r1"), execution("r2"), ended=datetime.now(UTC))
        aws.finds("r1", "r2")
        aws.knows_the_caller()
        redrive_one, asked = redrive._redrive, []

        def interrupted(run: DescribedExecution) -> str:
            asked.append(run.arn)
            if len(asked) == 2:
                raise KeyboardInterrupt
            return redrive_one(run)

        monkeypatch.setattr(redrive, "_redrive", interrupted)
        aws.redrives(execution("r1"))
        with pytest.raises(KeyboardInterrupt):
            let_go_on(None)
        assert capsys.readouterr().err.endswith("interrupted; 1 of 2 asked, 1 go on; give it again for the others\n")
        # r1 runs, so that it is listed no more
        aws.lists(execution("r2"), ended=datetime.now(UTC))
        aws.finds("r1", "r2")
        aws.knows_the_caller()
        aws.redrives(execution("r2"))
        assert let_go_on(None)[0]
        aws.assert_all_asked()

    @pytest.mark.parametrize("ended", [datetime.now(UTC) - timedelta(days=15), None], ids=["too old", "none failed"])
    def test_where_nothing_can_go_on_is_said_what_to_look_at(self, aws, ended):
        aws.lists(*((execution("r1"), execution("r2")) if ended else ()), ended=ended or ENDED)
        aws.finds("r1", "r2")
        with pytest.raises(
            HourBankError, match="nothing is unfinished that could go on: see `hourbank stuck --stack d"
        ):
            let_go_on(None)
        aws.assert_all_asked()

    @pytest.mark.parametrize(
        "given",
        ["9" * 5000, '{"requestId": ' + "9" * 5000 + "}", '{"requestId": "\\ud800"}', "[" * 100_000, "[]", "null", "{"],
        ids=["digits", "an id of digits", "half a character", "brackets", "a list", "null", "no JSON"],
    )
    def test_an_input_that_cannot_be_is_no_requests(self, aws, given):
        aws.describes(execution("r1"), input=given)
        aws.knows_the_caller()
        aws.redrives(execution("r1"))
        assert let_go_on(execution("r1"))[0]
        aws.assert_all_asked()

    @pytest.mark.parametrize("request_id", ["r" * 5000, "", 5, None], ids=["endless", "empty", "number", "none"])
    def test_an_id_that_no_table_takes_is_not_looked_for(self, aws, request_id):
        case = redrive._case_of(DescribedExecution(execution("x"), "FAILED", request_id=request_id))
        assert case.request is None and case.escrow is None
        aws.assert_all_asked()

    def test_an_execution_of_another_stack_is_refused(self, aws):
        other = execution("r1").replace("-dev", "-prod")
        aws.describes(other)
        with pytest.raises(HourBankError, match="is no execution of stack dev in eu-west-1"):
            let_go_on(other)

    def test_the_emulator_is_not_asked_for_what_it_lacks(self, aws):
        with pytest.raises(HourBankError, match="the emulator cannot redrive"):
            let_go_on("r1", on=Stack(**{**DEV.__dict__, "is_local": True}))


class TestStuck:
    """On recorded shapes."""

    @pytest.fixture(autouse=True)
    def told(self, monkeypatch):
        monkeypatch.setattr(stuck, "variables", lambda _: {"PROVIDER_RESPONSE_TIMEOUT_SECONDS": "604800"})

    @staticmethod
    def look(limit: int, now: datetime = ENDED) -> Stuck:
        found = Stuck(DEV, limit)
        found.look(unsuccessful(DEV, now), now, timedelta(days=14))
        return found

    def test_executions_are_counted_and_the_newest_name_the_command(self, aws):
        aws.lists(*(execution(request_id) for request_id in ("r1", "r2", "r3")))
        aws.finds("r3", "r2", "r1")
        found = self.look(2, ENDED + timedelta(days=14) - timedelta(seconds=30))
        findings = list(found.of_executions())
        assert [(finding.request_id, finding.hours) for finding in findings] == [("r1", 2), ("r2", 2)]
        assert findings[0].what == "service-request-r1 is FAILED; the request is AWAITING_PROVIDER"
        assert found.tally.rows() == [
            {
                "kind": "EXECUTION",
                "what": "its execution FAILED; the request is AWAITING_PROVIDER",
                "requests": 3,
                "hours": Decimal(6),
            }
        ]
        commands = [[remedy.command for remedy in finding.remedies] for finding in findings]
        settle = [f'hourbank settle r%d {way} --reason "WHY" --stack dev' for way in ("--refund", "--release")]
        # the second one ended 14 days ago
        assert commands == [
            ['hourbank redrive r1 --reason "WHY" --stack dev', *(command % 1 for command in settle)],
            [command % 2 for command in settle],
        ]
        aws.assert_all_asked()

    @pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", None])
    def test_an_owner_of_another_stack_that_runs_is_seen(self, aws, status):
        """Two stacks may read the same tables."""
        other = execution("r1").replace("-dev", "-prod")
        aws.describes(other, status)
        escrow = {"status": "HELD", "hours": Decimal(2), "executionArn": other}
        run = owner_of(DEV, Case("r1", None, escrow, []))
        assert run.status == ("RUNNING" if status == "RUNNING" else "unknown")

    def test_an_owner_that_this_stack_may_not_see_may_still_run_and_that_is_said(self, aws):
        other = execution("r1").replace("-dev", "-prod")
        aws.stubs["stepfunctions"].add_client_error("describe_execution", "AccessDeniedException")
        escrow = {"status": "HELD", "hours": Decimal(2), "executionArn": other}
        run = owner_of(DEV, Case("r1", None, escrow, []))
        assert settle._state_of_owner(DEV, run) == (
            f"unknown: {other} is none of this stack, see that it does not run elsewhere"
        )
        assert settle._state_of_owner(DEV, DescribedExecution(execution("r1"), "FAILED")) == "FAILED"

    @pytest.mark.parametrize("arn", [None, "", 5, ["x"], "x" * 257])
    def test_an_owner_that_is_no_execution_is_unknown(self, aws, arn):
        escrow = {"status": "HELD", "hours": Decimal(2), "executionArn": arn}
        assert owner_of(DEV, Case("r1", None, escrow, [])).status == "unknown"

    def test_an_execution_that_somebody_else_named_for_a_request_hides_nothing(self, aws):
        """Whoever may start executions can start one that fails at once, for any request, under any free name."""
        squatters = execution("anything"), execution("r1-2")
        aws.lists(*squatters, execution("r1"))
        aws.finds("r1")
        assert [finding.what for finding in self.look(9).of_executions()] == [
            "service-request-r1 is FAILED; the request is AWAITING_PROVIDER"
        ]
        aws.assert_all_asked()

    @pytest.mark.parametrize(
        ("request_id", "printed"),
        [
            ("$(rm -rf ~)", """settle '$(rm -rf ~)' --refund --reason "WHY" --stack dev"""),
            ("--all", """settle --refund --reason "WHY" --stack dev -- --all"""),
            ("a\n\x1b[2J", """settle 'a\ufffd\ufffd[2J' --refund"""),
            ("[red]", """settle '[red]' --refund"""),
        ],
    )
    def test_an_id_that_a_client_chose_is_neither_run_nor_drawn(self, monkeypatch, request_id, printed):
        monkeypatch.setattr(names, "command", lambda: "hourbank")
        escrow = {"status": "HELD", "hours": Decimal(2), "executionArn": execution("r1")}
        helps = remedies(DEV, Case(request_id, None, escrow, []), DescribedExecution("arn", "FAILED"))
        out = Console(file=StringIO(), width=80)
        finding = Trouble(kind="WAIT", what="odd", request_id=request_id, hours=Decimal(2), remedies=helps)
        print_findings(out, [finding])
        assert f"  hourbank {printed}" in out.file.getvalue()
        assert "\x1b" not in out.file.getvalue()

    def test_records_that_the_stream_has_lost_are_left_to_the_audit(self, aws):
        queue = {"QueueUrl": "https://sqs/q"}
        aws.stubs["sqs"].add_response("get_queue_url", queue)
        message = {"MessageId": "m", "ReceiptHandle": "h", "Body": failure(STREAM, "1" + 20 * "0", "3" + 20 * "0")}
        received = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 60, "WaitTimeSeconds": 1}
        aws.stubs["sqs"].add_response("receive_message", {"Messages": [message]}, queue | received)
        aws.stubs["sqs"].add_response("receive_message", {}, queue | received)
        shown_again = {"Entries": [{"Id": "0", "ReceiptHandle": "h", "VisibilityTimeout": 0}]}
        aws.stubs["sqs"].add_response(
            "change_message_visibility_batch", {"Successful": [{"Id": "0"}], "Failed": []}, queue | shown_again
        )
        aws.stubs["dynamodbstreams"].add_client_error("get_shard_iterator", "TrimmedDataAccessException", "gone", 400)
        findings, lines, more = of_stream(DEV, 10)
        assert (findings, more) == ([], False)
        assert lines == [
            (
                "2026-11-20 10:15 UTC, 2 records (RetryAttemptsExhausted): no longer in the stream; "
                "`audit --touch` finds what they asked for"
            )
        ]
        aws.assert_all_asked()

    def test_messages_of_somebody_else_stop_nothing(self):
        assert failure_of("{}").condition == "not a message of Lambda's"
        assert stream.resolve(failure_of("hello")) is None


def failure(stream: str, first: str, last: str) -> str:
    """A message as Lambda queues it: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html."""
    return json.dumps(
        {
            "requestContext": {
                "requestId": "316aa6d0-8154-4c58-a2b9-d1b0e2f0c5f1",
                "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:hourbank-routeServiceRequest-dev",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 11,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2026-11-20T10:20:49.717Z",
            "DDBStreamBatchInfo": {
                "shardId": "shardId-00000001573689847184-864758bb",
                "startSequenceNumber": first,
                "endSequenceNumber": last,
                "approximateArrivalOfFirstRecord": "2026-11-20T10:15:19Z",
                "approximateArrivalOfLastRecord": "2026-11-20T10:15:20Z",
                "batchSize": 2,
                "streamArn": stream,
            },
        }
    )


NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "held_for", "changed", "more", "says"),
    [
        ("AWAITING_PROVIDER", 7, 7, {}, ""),
        ("AWAITING_PROVIDER", 8, 8, {}, "AWAITING_PROVIDER, and nobody was timed out"),
        ("AWAITING_PROVIDER", 8, 8, {"providerResponseTimeoutSeconds": Decimal(30 * 86400)}, ""),
        ("NEGOTIATING", 8, 8, {}, ""),
        ("NEGOTIATING", 15, 15, {}, "NEGOTIATING, and nobody was timed out"),
        ("ESCROWED", 1, 1, {}, "ESCROWED, which takes minutes at most"),
        ("ESCROWED", 1, 0.01, {}, ""),
        ("IN_PROGRESS", 13, 13, {}, ""),
        ("IN_PROGRESS", 14, 14, {}, "IN_PROGRESS, and nobody ends the service: ask its people"),
        ("IN_PROGRESS", 1, 1, {"requesterResponse": "COMPLETED"}, "the service was received the hours are still held"),
        ("IN_PROGRESS", 1, 1, {"providerResponse": "WITHDRAWN"}, "the service was given up the hours are still held"),
        ("IN_PROGRESS", 1, 0.01, {"requesterResponse": "COMPLETED"}, ""),
        ("AWAITING_PROVIDER", 1, 1, {"taskToken": "t", "providerResponse": "ACCEPTED"}, "the answer ACCEPTED was not"),
        ("PENDING", 1, 1, {}, "PENDING, and not started"),
        ("DECLINED", 90, 90, {}, ""),
    ],
)
def test_a_request_waits_too_long(monkeypatch, status, held_for, changed, more, says):
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-01-01T00:00:00Z")

    def ago(days: float) -> str:
        return (NOW - timedelta(days=days)).isoformat()

    request = {"id": "r1", "status": status, "createdAt": ago(100), "updatedAt": ago(changed)} | more
    escrow = {"id": "r1", "status": "HELD", "hours": Decimal(2), "updatedAt": ago(held_for)}
    case = Case("r1", request, escrow, [])
    _, words = waiting(case, NOW, timedelta(days=7), timedelta(days=14))
    assert says in words if says else words == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NoRegionError(), "no AWS region: give --region"),
        (NoCredentialsError(), "no AWS credentials: "),
        (ProfileNotFound(profile="nope"), r"profile \(nope\) could not be found: see AWS_PROFILE"),
        (
            EndpointConnectionError(endpoint_url="https://x"),
            'endpoint URL: "https://x": see --region, and the network$',
        ),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "Scan"), "AWS does not take these credentials"),
        (
            ClientError({"Error": {"Code": "AccessDeniedException", "Message": "User x\nmay not"}}, "Scan"),
            "AWS does not allow Scan: User x may not",
        ),
        (ClientError({"Error": {"Code": "Throttled", "Message": "slow"}}, "Scan"), "Scan failed, Throttled: slow"),
        (dynamodb.Contended("The table kept changing"), "The table kept changing"),
    ],
)
def test_what_aws_refuses_is_one_line_with_a_status_of_its_own(error, says):
    with pytest.raises(UnreachableError, match=says) as refused, stack.errors_in_words():
        raise error
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 3


CONFIG = """
[default]
region = us-east-1
[profile sso]
sso_session = my
[profile "old sso"]
sso_start_url = https://x.awsapps.com/start
[profile console]
login_session = arn:aws:iam::123456789012:user/me
[profile keys]
region = us-east-1
[profile role]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = sso
[profile circle]
source_profile = circle
[profile program]
credential_process = /bin/vault
"""
ENDED_SIGN_IN = (UnauthorizedSSOTokenError(), SSOTokenLoadError(error_msg="x"), LoginRefreshRequired())
REFUSED = ClientError({"Error": {"Code": "ExpiredToken"}}, "Scan")


@pytest.fixture
def signs_in(monkeypatch, tmp_path):
    (tmp_path / "config").write_text(CONFIG)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return monkeypatch


@pytest.mark.parametrize(
    ("profile", "command"),
    [
        (None, "`aws configure`"),
        ("sso", "`aws sso login --profile sso`"),
        ("old sso", "`aws sso login --profile 'old sso'`"),
        ("console", "`aws login --profile console`"),
        ("keys", "`aws configure --profile keys`"),
        ("role", "`aws sso login --profile sso`"),
        ("circle", "`aws configure --profile circle`"),
        ("program", "see the credential_process of the profile program"),
    ],
)
def test_who_is_not_signed_in_reads_the_command_that_does_it(signs_in, profile, command):
    if profile:
        signs_in.setenv("AWS_PROFILE", profile)
    for error in (NoCredentialsError(), REFUSED, *ENDED_SIGN_IN):
        assert f": {command}" in stack.error_in_words(error)


def test_a_sign_in_that_is_nobodys_or_the_environments_is_told_as_such(signs_in, tmp_path):
    (tmp_path / "config").write_text("")
    assert stack.error_in_words(NoCredentialsError()) == (
        "no AWS credentials: `aws login`, `aws sso login` or `aws configure`, or set AWS_PROFILE"
    )
    (tmp_path / "config").write_text("no configuration")
    assert "`aws configure`" in stack.error_in_words(NoCredentialsError())
    signs_in.setenv("AWS_ACCESS_KEY_ID", "x")
    assert "put new ones in AWS_ACCESS_KEY_ID and its siblings, or unset them" in stack.error_in_words(REFUSED)


@pytest.mark.parametrize(
    "look",
    [
        lambda out: show_audit(out, DEV, touch=False),
        lambda out: show_stuck(out, DEV, 5),
        lambda out: show_request(out, DEV, "r1"),
    ],
    ids=["audit", "stuck", "show"],
)
def test_a_stack_that_was_told_no_time_is_one_line(aws, monkeypatch, look):
    monkeypatch.setenv("START_REQUESTS_FROM", "2026-13-45T99:99Z")
    monkeypatch.setenv("CONFIRMATION_DAYS", "14")
    out = Console(file=StringIO())
    with pytest.raises(HourBankError) as refused, stack.errors_in_words():
        look(out)
    assert str(refused.value) == (
        "START_REQUESTS_FROM is '2026-13-45T99:99Z', which is no time with its offset from UTC: "
        "deploy with a legal startRequestsFrom, such as 2026-01-01T00:00:00Z"
    )
    assert out.file.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["audit"], "nothing is running: start it with `"),
        (["settle", "r1", "--release", "--refund", "--reason", "x"], "give one of the two"),
        (["settle", "r1", "--release"], "Missing option '--reason'"),
        (["settle", "r1", "--release", "--reason", " "], "an empty one says nothing"),
        (["redrive", "--reason", "x"], "give a request's id, an execution's ARN, or --all"),
        (["redrive", "r1", "--all", "--reason", "x"], "give a request's id, an execution's ARN, or --all"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, arguments, says):
    ended = subprocess.run(
        [*HOURBANK, *arguments],
        env=os.environ | {"HOURBANK_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode != 0, ended.stdout, ended.stderr.count("\n")) == (True, "", 1)
    assert says in ended.stderr


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "Invalid endpoint: nonsense: see AWS_ENDPOINT_URL, or unset it"),
        ("http://localhost:abc", "as 'abc': see AWS_ENDPOINT_URL, or unset it"),
        ("http://127.0.0.1:1", "is `hourbank up` still running? see AWS_ENDPOINT_URL"),
    ],
)
def test_an_address_at_which_nothing_is_asked_is_one_line(monkeypatch, address, says):
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    dynamodb.client.cache_clear()
    with pytest.raises(HourBankError) as refused, stack.errors_in_words():
        stack.connect("dev", None)
    dynamodb.client.cache_clear()
    assert str(refused.value).endswith(says)
    assert "\n" not in str(refused.value)
    # but a fault of this program is one
    with pytest.raises(ValueError, match="of ours"), stack.errors_in_words():
        raise ValueError("of ours")


# what comes first of a stack that `operator` looks at
PLACE = "local: account 000000000000 in us-east-1\n"


class World:
    """A deployment, people, and an operator whose words are kept."""

    def __init__(self, emulator: Emulator, state: str) -> None:
        self.emulator = emulator
        self.dynamodb, self.states = emulator.client("dynamodb"), emulator.client("stepfunctions")
        self.tables = deploy.create_tables(emulator)
        config = {"hourbank:startRequestsFrom": "2026-01-01T00:00:00Z"}
        self.deployment = deploy.deploy(emulator, response_timeout_seconds=24 * 3600, config=config)
        deploy.grant_hours(self.deployment, {"rosa": Decimal(100)})
        self.before = self.ledger()
        self.said = ""
        self.secrets: set[str] = set()
        self.running = left_running(state, self.deployment)
        self.at_home = os.environ | {"HOURBANK_STATE": state, "AWS_PROFILE": "not-there"}
        self.on_aws = os.environ | {"HOURBANK_STATE": "/nowhere", "AWS_ENDPOINT_URL": emulator.endpoint}

    def operator(self, *arguments: str, **more) -> subprocess.CompletedProcess:
        """Run a command as against AWS: with `--stack`, and an endpoint in the environment."""
        return self.run(self.on_aws, *arguments, "--stack", "local", **more)

    def run(self, environment: dict, *arguments: str, **more) -> subprocess.CompletedProcess:
        ended = subprocess.run(
            [*HOURBANK, *arguments],
            env=environment,
            stdin=more.pop("stdin", subprocess.DEVNULL),
            capture_output=True,
            text=True,
            timeout=ENDLESS_SECONDS,
            check=False,
        )
        self.said += ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended

    def ledger(self) -> laws.Ledger:
        return read_ledger(self.dynamodb, self.tables)

    def record(self, request_id: str) -> dict:
        key = {"id": {"S": request_id}}
        answer = self.dynamodb.get_item(TableName=self.tables["serviceRequest"], Key=key, ConsistentRead=True)
        record = plain(answer.get("Item", {}))
        if record.get("taskToken"):
            self.secrets.add(record["taskToken"])
        return record

    def submit(self) -> str:
        record = people.request_record(requester="rosa", provider="theo", hours=Decimal("2.5"))
        people.submit(self.dynamodb, self.tables, record)
        self.until(record["id"], "AWAITING_PROVIDER")
        return record["id"]

    def until(self, request_id: str, status: str) -> None:
        self.wait(lambda: self.record(request_id).get("status") == status)

    def wait(self, is_so) -> None:
        until(is_so, moving=self.ledger)

    def set(self, request_id: str, **values: str) -> None:
        self.dynamodb.update_item(
            TableName=self.tables["serviceRequest"],
            Key={"id": {"S": request_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues={f":{name}": {"S": value} for name, value in values.items()},
        )

    def stop(self, request_id: str) -> str:
        arn = self.record(request_id)["stepFunctionExecutionArn"]
        self.states.stop_execution(executionArn=arn, error="Stopped", cause=self.record(request_id)["taskToken"])
        return arn

    def released(self, request_id: str) -> list[dict]:
        return [one for one in self.deployment.executions(request_id) if one["machine"].startswith("Escrow")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with Emulator() as emulator:
        world = World(emulator, str(tmp_path_factory.mktemp("state")))
        yield world
        assert laws.made_or_lost(world.before, world.ledger()) == []
        assert len(world.secrets) > 2
        assert [secret for secret in world.secrets if secret in world.said] == []


@pytest.mark.thorough
@pytest.mark.xdist_group("operations")
class TestOnTheEmulator:
    """With the deployed functions, the table's stream and its queue."""

    def test_hours_of_a_stopped_execution_are_seen_and_settled(self, world):
        # Given books that fit, and an operator's attempt while the execution still ran, which took the first name
        request_id = world.submit()
        clean = world.operator("audit")
        assert (clean.returncode, clean.stderr) == (0, "")
        assert clean.stdout.endswith("everything fits\n")
        early = world.operator("settle", request_id, "--refund", "--reason", "early", "--yes")
        assert (early.returncode, early.stdout, early.stderr.count("\n")) == (1, PLACE, 1)
        assert "still runs; let it end, or stop it first: aws stepfunctions stop-execution" in early.stderr
        order = {"requestId": request_id, "decision": "REFUND", "by": "olga", "reason": "early"}
        first = world.states.start_execution(
            stateMachineArn=world.deployment.outputs["escrowManagementWorkflowArn"],
            name=execution_name(RELEASE_PREFIX, request_id),
            input=json.dumps(order),
        )["executionArn"]
        world.wait(lambda: world.states.describe_execution(executionArn=first)["status"] == "FAILED")
        # When the execution is stopped
        stopped = world.stop(request_id)
        # Then both commands see it, with its hours and the command that helps
        settle = f'settle {request_id} --refund --reason "WHY" --stack local'
        for command in ("stuck", "audit"):
            seen = world.operator(command)
            assert (seen.returncode, seen.stderr) == (1, "")
            assert f"2.5  {request_id}  " in seen.stdout
            assert settle in seen.stdout
            assert "1 request, 2.5 hours at stake" in seen.stdout
            # and as JSON, with the same status
            as_json = world.operator(command, "--json")
            assert (as_json.returncode, as_json.stderr) == (1, PLACE)
            document = json.loads(as_json.stdout)
            assert (document["stack"], document["region"], document["ok"]) == ("local", "us-east-1", False)
            (row,) = document["rows"]
            assert (row["requestId"], row["hours"], row["kind"]) == (
                request_id,
                "2.5",
                {"stuck": "EXECUTION", "audit": "MISMATCH"}[command],
            )
            assert any(settle in one["command"] for one in row["remedies"])
            assert all(set(one) == {"command", "use"} for one in row["remedies"])
        story = json.loads(world.operator("show", request_id, "--json").stdout)["rows"][0]
        assert [one["status"] for one in story["executions"]] == ["ABORTED", "FAILED"]
        assert story["request"]["estimatedHours"] == "2.5"
        shown = world.operator("show", request_id)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "  stopped by hand in WaitForProviderResponse\n" in shown.stdout
        assert "  refused: The execution of this request is still running\n" in shown.stdout
        assert "  an operator's word: REFUND by olga: early\n" in shown.stdout
        assert settle in shown.stdout.partition("\nNow\n  The request is AWAITING_PROVIDER, but its execution is")[2]
        # And nothing happens without a yes
        assert "nobody is there to say yes" in world.operator("settle", request_id, "--refund", "--reason", "x").stderr
        assert [one["name"] for one in world.released(request_id)] == [execution_name(RELEASE_PREFIX, request_id)]
        # When it is settled
        done = world.operator("settle", request_id, "--refund", "--reason", "its code was wrong", "--yes")
        # Then the hours are back, and who and why are in the log and in the execution that did it
        assert done.returncode == 0
        assert f"2.5 hours go from escrow:{request_id} to the requester rosa" in done.stdout
        assert "the request is AWAITING_PROVIDER and becomes FAILED; its execution is ABORTED" in done.stdout
        assert "settled: the requester rosa has 2.5 hours more; the request is FAILED" in done.stdout
        line = json.loads(done.stderr)
        assert (line["reason"], line["outcome"]) == ("its code was wrong", "REFUND SUCCEEDED")
        assert line["by"].startswith("arn:aws:")
        _refused, second = world.released(request_id)
        assert second["name"] == execution_name(RELEASE_PREFIX, request_id, 2)
        given = json.loads(second["input"])
        assert given == {"requestId": request_id, "decision": "REFUND", "by": line["by"], "reason": line["reason"]}
        assert world.record(request_id)["failureReason"] == "its code was wrong"
        assert stopped == world.ledger().escrows[request_id]["executionArn"]
        # And nothing is left to see or to do
        shown = world.operator("show", request_id)
        assert shown.stdout.startswith(f"{PLACE}FAILED  a step failed, and no hours are held: its code was wrong\n")
        assert f"  an operator's word: REFUND by {line['by']}: its code was wrong\n" in shown.stdout
        assert shown.stdout.endswith("\nNow\n  nothing is left to do\n")
        assert world.operator("audit").returncode == 0
        assert (after := world.operator("stuck")).returncode == 0, after.stdout
        assert after.stdout.endswith("nothing is stuck\n")
        nothing = {"ok": True, "rows": [], "messages": [], "more": False}
        assert json.loads(world.operator("stuck", "--json").stdout).items() >= nothing.items()
        again = world.operator("settle", request_id, "--release", "--reason", "x", "--yes")
        assert again.stderr == f"hourbank: nothing is held for {request_id}: its hours were REFUNDED before\n"

    def test_a_request_whose_execution_was_forgotten_before_it_held_anything_is_ended(self, world):
        # Given a request that was begun with by an execution of which nothing is known any more
        machine = world.deployment.outputs["serviceRequestWorkflowArn"]
        forgotten = f"{machine.replace(':stateMachine:', ':execution:')}:service-request-forgotten"
        record = people.request_record(requester="rosa", provider="theo", hours=Decimal("2.5"))
        record |= {"status": "VALIDATING", "stepFunctionExecutionArn": forgotten}
        request_id = people.submit(world.dynamodb, world.tables, record)
        # Then it is seen, with the one command that helps
        seen = world.operator("audit")
        assert f"{request_id}  The request is VALIDATING, but its execution is unknown" in seen.stdout
        assert f'settle {request_id} --refund --reason "WHY" --stack local' in seen.stdout
        assert f"settle {request_id} --release" not in seen.stdout
        paid = world.operator("settle", request_id, "--release", "--reason", "x", "--yes")
        assert (paid.returncode, paid.stderr) == (
            1,
            f"hourbank: nothing is held for {request_id} that its provider could get: give --refund to end it\n",
        )
        # And when it is ended, nothing has moved, and nothing is left to see
        done = world.operator("settle", request_id, "--refund", "--reason", "its execution is gone", "--yes")
        assert done.returncode == 0
        assert "the request is VALIDATING and becomes FAILED; its execution is unknown" in done.stdout
        assert "settled: nothing was held; the request is FAILED" in done.stdout
        assert json.loads(done.stderr)["outcome"] == "REFUND SUCCEEDED"
        assert world.record(request_id)["failureReason"] == "its execution is gone"
        assert request_id not in world.ledger().escrows
        assert world.operator("audit").returncode == 0

    def test_the_workflows_refusal_is_reported_in_its_words(self, world, monkeypatch):
        request_id = world.submit()
        order = {"requestId": request_id, "decision": "REFUND", "by": "olga", "reason": "early"}
        arn = world.states.start_execution(
            stateMachineArn=world.deployment.outputs["escrowManagementWorkflowArn"],
            name=execution_name(RELEASE_PREFIX, request_id),
            input=json.dumps(order),
        )["executionArn"]
        for module in (executions, orders, redrive, settle, stream, stuck):
            monkeypatch.setattr(module, "client", world.emulator.client)
        monkeypatch.setattr("handlers.bank.execution.client", world.emulator.client)
        run = settle._wait(arn)
        assert refusal_of(run) == "The execution of this request is still running"
        people.provider_says(world.dynamodb, world.tables, request_id, "REJECTED")
        world.until(request_id, "DECLINED")

    def test_a_release_that_was_refused_is_settled_on_a_yes_at_the_terminal(self, world):
        # Given a service in progress, whose record then names another provider, and is confirmed
        request_id = world.submit()
        people.provider_says(world.dynamodb, world.tables, request_id, "ACCEPTED")
        world.until(request_id, "IN_PROGRESS")
        world.set(request_id, providerId="eve")
        people.requester_says(world.dynamodb, world.tables, request_id, "COMPLETED")
        world.wait(lambda: [one["status"] for one in world.released(request_id)] == ["FAILED"])
        seen = world.run(world.at_home, "stuck")
        assert seen.returncode == 1
        failed = execution_name(RELEASE_PREFIX, request_id)
        assert f"2.5  {request_id}  {failed} is FAILED (ReleaseRefused)" in seen.stdout
        assert "redrive" not in seen.stdout
        # When the operator says no, and then yes
        before = world.ledger().balance("theo")
        for answer, code in (("n\n", 1), ("y\n", 0)):
            ours, theirs = pty.openpty()
            os.write(ours, answer.encode())
            words = ("settle", request_id, "--release", "--by", "olga", "--reason", "the record was edited")
            ended = world.run(world.at_home, *words, stdin=theirs)
            os.close(ours)
            os.close(theirs)
            assert (ended.returncode, "[y/N]" in ended.stdout) == (code, True)
        # Then the provider whose hours these were is paid
        assert json.loads(ended.stderr)["by"] == "olga"
        assert world.ledger().balance("theo") == before + Decimal("2.5")
        assert world.record(request_id)["status"] == "COMPLETED"
        # And nothing is left to find: nobody can be paid wrongly any more
        audited = world.run(world.at_home, "audit")
        assert (audited.returncode, audited.stdout.splitlines()[0]) == (0, "nothing that does not fit")
        assert audited.stdout.endswith("everything fits\n")

    def test_an_answer_that_the_stream_missed_is_found_and_shown_to_it_again(self, world):
        # Given a router that fails until its records are given up on
        request_id = world.submit()
        functions, queues = world.emulator.client("lambda"), world.emulator.client("sqs")
        router = "hourbank-routeServiceRequest-local"
        (mapping,) = functions.list_event_source_mappings(FunctionName=router)["EventSourceMappings"]
        works = functions.get_function_configuration(FunctionName=router)["Handler"]
        functions.update_function_configuration(FunctionName=router, Handler="handlers.not_there.handler")
        functions.update_event_source_mapping(UUID=mapping["UUID"], MaximumRecordAgeInSeconds=1)
        # When its provider answers
        long_ago = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
        world.set(request_id, providerResponse="ACCEPTED", updatedAt=long_ago)
        queue = queues.get_queue_url(QueueName="hourbank-routeServiceRequest-failures-local")["QueueUrl"]

        def waiting() -> int:
            asked = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
            return int(asked["Attributes"]["ApproximateNumberOfMessages"])

        world.wait(waiting)
        functions.update_event_source_mapping(UUID=mapping["UUID"], MaximumRecordAgeInSeconds=86400)
        functions.update_function_configuration(FunctionName=router, Handler=works)
        # Then the wait and the message are seen, and the message stays for others
        for _ in range(2):
            seen = world.operator("stuck")
            assert seen.returncode == 1
            assert f"{request_id}  AWAITING_PROVIDER, and the answer ACCEPTED was not delivered" in seen.stdout
            assert f"1 record (MaxRecordAgeExceeded): {request_id}\n" in seen.stdout
            assert "audit --touch --stack local" in seen.stdout
        assert waiting() == 1
        # And the audit alone changes nothing
        read_only = world.operator("audit")
        assert read_only.returncode == 1
        assert "1 record missed by the stream" in read_only.stdout
        assert "fit" not in read_only.stdout
        assert world.record(request_id)["updatedAt"] == long_ago
        assert "audit --touch --stack local" in world.operator("show", request_id).stdout
        # When the record is touched, the answer arrives
        touched = world.operator("audit", "--touch")
        assert touched.returncode == 0
        assert touched.stdout.endswith("1 record shown to the stream's reader again\neverything else fits\n")
        world.until(request_id, "IN_PROGRESS")
        done = world.operator("stuck")
        assert f"{request_id} has nothing left to do" in done.stdout
        purge = next(line for line in done.stdout.splitlines() if "aws sqs purge-queue" in line)
        assert queue in purge
        queues.purge_queue(QueueUrl=queue)
        assert world.operator("stuck").returncode == 0

    def test_what_is_not_there_is_one_line(self, world):
        nowhere = world.run(world.on_aws, "stuck", "--stack", "dev", "--region", "us-east-1")
        assert nowhere.stderr == (
            "hourbank: no stack dev in account 000000000000 in us-east-1, there is no function "
            "hourbank-auditLedger-dev: see --stack and --region\n"
        )
        unknown = world.operator("settle", "nobody", "--refund", "--reason", "x", "--yes")
        assert "nothing is held for nobody: give the request's whole id" in unknown.stderr
        unseen = world.operator("show", "nobody")
        assert unseen.stderr == (
            "hourbank: no request has the id nobody in stack local: give its whole id, as it is in the table\n"
        )
        lacking = world.run(world.at_home, "redrive", "x", "--reason", "x", "--yes")
        assert "the emulator cannot redrive an execution" in lacking.stderr
        for ended, first in ((nowhere, ""), (unknown, PLACE), (unseen, PLACE), (lacking, "")):
            assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, first, 1)
