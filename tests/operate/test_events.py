"""`hourbank events`: what it makes in an account to listen, and that nothing of it stays, however it ends."""

import json
import signal
from io import StringIO

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from rich.console import Console

from hourbank.account import bus
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError
from hourbank.operate import events

DEV = Stack(
    env="dev",
    region="eu-west-1",
    requests_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:ServiceRequestWorkflow-dev",
    releases_arn="",
    queue="",
    options=" --stack dev",
    is_local=False,
)
NAME, BUS, URL = "hourbank-events-dev-c0ffee00", "hourbank-event-bus-dev", "https://sqs/q"
QUEUE = f"arn:aws:sqs:eu-west-1:123456789012:{NAME}"
RULE = f"arn:aws:events:eu-west-1:123456789012:rule/{BUS}/{NAME}"
EVENT = {
    "id": "1",
    "detail-type": "ProviderAsked",
    "source": "hourbank.workflows",
    "time": "2026-11-20T10:00:00Z",
    "detail": {
        "requestId": "r1",
        "userId": "ben",
        "role": "provider",
        "status": "AWAITING_PROVIDER",
        "eventId": "r1#AWAITING_PROVIDER#provider",
    },
}
ROW = {"time": EVENT["time"], "event": "ProviderAsked", **EVENT["detail"]}


class Aws:
    """The bus and the queues of an account; `asked` has every call in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients = {name: boto3.client(name, region_name="eu-west-1") for name in ("events", "sqs")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        self.asked: list[str] = []
        for name, stub in self.stubs.items():
            stub.activate()
            self.clients[name].meta.events.register(f"before-parameter-build.{name}", self._note)
        monkeypatch.setattr(events, "client", self.clients.__getitem__)
        monkeypatch.setattr(bus.secrets, "token_hex", lambda _: "c0ffee00")

    def _note(self, model, **_: object) -> None:
        self.asked.append(model.name)

    def makes(self, *, allowed: bool = True) -> None:
        attributes = {"Policy": ANY, "MessageRetentionPeriod": "3600"}
        self.stubs["sqs"].add_response("create_queue", {"QueueUrl": URL}, {"QueueName": NAME, "Attributes": attributes})
        if not allowed:
            self.stubs["events"].add_client_error("put_rule", "AccessDeniedException")
            return
        pattern = {"EventPattern": '{"source": ["hourbank.workflows"]}', "Description": ANY}
        self.stubs["events"].add_response("put_rule", {}, {"Name": NAME, "EventBusName": BUS} | pattern)
        targets = {"Rule": NAME, "EventBusName": BUS, "Targets": [{"Id": "queue", "Arn": QUEUE}]}
        self.stubs["events"].add_response("put_targets", {}, targets)

    def removes(self) -> None:
        self.stubs["events"].add_response("remove_targets", {}, {"Rule": NAME, "EventBusName": BUS, "Ids": ["queue"]})
        self.stubs["events"].add_response("delete_rule", {}, {"Name": NAME, "EventBusName": BUS})

    def removes_no_target(self) -> None:
        self.stubs["events"].add_client_error("remove_targets", "AccessDeniedException", "no")
        self.stubs["events"].add_response("delete_rule", {}, {"Name": NAME, "EventBusName": BUS})

    def removes_queue(self) -> None:
        self.stubs["sqs"].add_response("delete_queue", {}, {"QueueUrl": URL})

    def brings(self, *brought: dict) -> None:
        messages = [{"ReceiptHandle": str(number), "Body": json.dumps(event)} for number, event in enumerate(brought)]
        asked = {"QueueUrl": URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": bus.WAIT_SECONDS}
        self.stubs["sqs"].add_response("receive_message", {"Messages": messages} if messages else {}, asked)
        for message in messages:
            handle = {"QueueUrl": URL, "ReceiptHandle": message["ReceiptHandle"]}
            self.stubs["sqs"].add_response("delete_message", {}, handle)

    def assert_nothing_is_left(self) -> None:
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    return Aws(monkeypatch)


def test_the_next_event_is_printed_and_all_that_was_made_is_removed(aws):
    aws.makes()
    aws.brings()
    aws.brings(EVENT)
    aws.removes()
    aws.removes_queue()
    out = Console(file=StringIO(), width=60)
    events.show_events(out, DEV, follow=False)
    assert out.file.getvalue() == "2026-11-20 10:00:00 UTC  ProviderAsked   r1  AWAITING_PROVIDER, tells ben\n"
    aws.assert_nothing_is_left()
    assert aws.asked[-3:] == ["RemoveTargets", "DeleteRule", "DeleteQueue"]


def test_only_the_rule_may_write_to_the_queue(aws):
    policies = []
    aws.clients["sqs"].meta.events.register(
        "provide-client-params.sqs.CreateQueue", lambda params, **_: policies.append(params["Attributes"]["Policy"])
    )
    aws.makes()
    aws.removes()
    aws.removes_queue()
    with events.subscribed(DEV):
        pass
    statement = json.loads(policies[0])["Statement"]
    assert (statement["Resource"], statement["Action"]) == (QUEUE, "sqs:SendMessage")
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": RULE}}


def test_an_interrupt_removes_all_of_it_and_each_event_is_told_once(aws):
    strange = EVENT | {"id": "2", "detail": "nothing"}
    aws.makes()
    aws.brings(EVENT, EVENT | {"id": "told again"}, strange)
    aws.removes()
    aws.removes_queue()
    out, before = Console(file=StringIO(), width=60), signal.getsignal(signal.SIGINT)

    def interrupt(**_: object) -> None:
        if "ReceiveMessage" in aws.asked:
            raise KeyboardInterrupt

    aws.clients["sqs"].meta.events.register("provide-client-params.sqs.ReceiveMessage", interrupt)
    with pytest.raises(KeyboardInterrupt):
        events.show_events(out, DEV, follow=True, as_json=True)
    lines = [json.loads(line) for line in out.file.getvalue().splitlines()]
    nothing = dict.fromkeys(("requestId", "userId", "role", "status", "eventId"))
    assert lines == [ROW, {"time": EVENT["time"], "event": "ProviderAsked"} | nothing]
    aws.assert_nothing_is_left()
    # while it was removed a second interrupt did nothing; afterwards it does again
    assert signal.getsignal(signal.SIGINT) is before


def test_where_the_rule_may_not_be_made_the_queue_is_removed(aws):
    aws.makes(allowed=False)
    aws.removes_queue()
    with pytest.raises(ClientError), events.subscribed(DEV):
        pass
    aws.assert_nothing_is_left()


def test_what_could_not_be_removed_is_said_and_the_rest_is_removed(aws):
    aws.makes()
    aws.removes_no_target()
    aws.removes_queue()
    said = f"^target of rule {NAME} of bus {BUS} was not removed: "
    with pytest.raises(HourBankError, match=said), events.subscribed(DEV):
        pass
    aws.assert_nothing_is_left()


def test_an_interrupt_while_it_is_made_waits_until_it_can_all_be_removed(aws):
    aws.makes()
    aws.removes()
    aws.removes_queue()
    aws.clients["sqs"].meta.events.register(
        "before-parameter-build.sqs.CreateQueue", lambda **_: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt), events.subscribed(DEV):
        pytest.fail("it was not interrupted")
    aws.assert_nothing_is_left()
