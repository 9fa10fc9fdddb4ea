"""A listener to a stack's bus: a rule brings its events to a queue, both made for a while and removed again.

A bus keeps nothing: whoever wants to know what it tells listens meanwhile, as any other listener would.
"""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from hourbank.account.stack import error_in_words

SOURCE = "hourbank.workflows"
# Below what the handlers' clients wait for an answer.
WAIT_SECONDS = 3
# A queue that was left behind, as by a machine that lost its power, keeps nothing for long.
KEPT_SECONDS = 3600


def bus_of(env: str) -> str:
    """Return the name of a stack's bus."""
    return f"hourbank-event-bus-{env}"


class Listener:
    """Listens to a stack's bus from `subscribe` to `remove`.

    Parameters
    ----------
    client : callable
        Returns the client of a service.
    env : str
        The stack.
    machine : str
        An ARN in the stack's account and region.
    pattern : mapping
        Which events it hears.

    Attributes
    ----------
    bus, name : str
        The bus's name, and that of both the rule and the queue, whose ARNs are `rule_arn` and `queue_arn`.
    """

    def __init__(self, client: Callable[[str], Any], env: str, machine: str, pattern: Mapping[str, Any]) -> None:
        self._client, self._pattern = client, pattern
        self.bus = bus_of(env)
        self.name = f"hourbank-events-{env}-{secrets.token_hex(4)}"
        _, partition, _, region, account, *_ = machine.split(":")
        self.queue_arn = f"arn:{partition}:sqs:{region}:{account}:{self.name}"
        self.rule_arn = f"arn:{partition}:events:{region}:{account}:rule/{self.bus}/{self.name}"
        self._queue = ""
        self._made: list[tuple[str, Callable[[], object]]] = []

    def subscribe(self) -> None:
        """Make the queue, to which the rule alone may write, and the rule."""
        events, sqs = self._client("events"), self._client("sqs")
        rule = {"EventBusName": self.bus, "Rule": self.name}
        policy = {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": self.queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": self.rule_arn}},
            },
        }
        attributes = {"Policy": json.dumps(policy), "MessageRetentionPeriod": str(KEPT_SECONDS)}
        with uninterrupted():
            queue = self._queue = sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
            self._made.append((f"queue {self.name}", lambda: sqs.delete_queue(QueueUrl=queue)))
            events.put_rule(
                Name=self.name,
                EventBusName=self.bus,
                EventPattern=json.dumps(self._pattern),
                Description="hourbank: for one look at the events",
            )
            self._made.append((f"rule {self.name}", lambda: events.delete_rule(EventBusName=self.bus, Name=self.name)))
            events.put_targets(**rule, Targets=[{"Id": "queue", "Arn": self.queue_arn}])
            self._made.append((f"target of rule {self.name}", lambda: events.remove_targets(**rule, Ids=["queue"])))

    def look(self) -> list[dict[str, Any]]:
        """Return what the queue has got, and wait a while for the first; at least once, as all of EventBridge."""
        sqs = self._client("sqs")
        answer = sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS)
        found = []
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
        return found

    def remove(self) -> list[str]:
        """Remove what was made, and say what could not be removed, and why."""
        left = []
        with uninterrupted():
            while self._made:
                what, undo = self._made.pop()
                try:
                    undo()
                except (BotoCoreError, ClientError) as error:
                    left.append(f"{what} of bus {self.bus} was not removed: {error_in_words(error)}")
        return left


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and whoever ends this process, wait: half of what is made or removed here must not be left behind."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
