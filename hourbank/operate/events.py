"""`hourbank events`: what a stack's bus tells people, as it tells it.

A bus keeps nothing. The command therefore subscribes as any other listener would: a rule of the bus brings the events
to a queue, both made for this look at it and removed at its end, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from handlers.aws.dynamodb import client
from handlers.bank import requests
from hourbank.account.stack import Stack
from hourbank.terminal import at, say

SOURCE = "hourbank.workflows"
# Below what the handlers' clients wait for an answer.
WAIT_SECONDS = 3
# A queue that was left behind, as by a machine that lost its power, keeps nothing for long.
KEPT_SECONDS = 300


def show_events(console: Console, stack: Stack, *, follow: bool, as_json: bool = False) -> None:
    """Print the next event of the stack's bus; or each, until the process is interrupted.

    The bus delivers at least once: an eventId that was seen is dropped.
    """
    seen: set[str] = set()
    with subscribed(stack) as queue:
        say(Console(stderr=True), f"listening to {bus_of(stack)}, until {'Ctrl-C' if follow else 'the next event'}")
        for event in received(queue):
            row = _row(event)
            if (known := str(row["eventId"] or event.get("id"))) in seen:
                continue
            seen.add(known)
            if as_json:
                console.file.write(json.dumps(row) + "\n")
            else:
                about = f"  {row['requestId']}  {row['status']}, tells {row['userId']}"
                say(console, (at(requests.moment(row, "time")), "dim"), (f"  {row['event']:<14}", "bold"), about)
            console.file.flush()
            if not follow:
                return


def bus_of(stack: Stack) -> str:
    """Return the name of the stack's bus."""
    return f"hourbank-event-bus-{stack.env}"


@contextlib.contextmanager
def subscribed(stack: Stack) -> Iterator[str]:
    """Make a queue to which the bus brings its events, and return its address; remove it at the end."""
    events, sqs, bus = client("events"), client("sqs"), bus_of(stack)
    name = f"hourbank-events-{stack.env}-{secrets.token_hex(4)}"
    _, partition, _, region, account, *_ = stack.requests_arn.split(":")
    queue_arn = f"arn:{partition}:sqs:{region}:{account}:{name}"
    rule_arn = f"arn:{partition}:events:{region}:{account}:rule/{bus}/{name}"
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
        },
    }
    with contextlib.ExitStack() as at_end:
        at_end.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        attributes = {"Policy": json.dumps(policy), "MessageRetentionPeriod": str(KEPT_SECONDS)}
        queue: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        at_end.callback(sqs.delete_queue, QueueUrl=queue)
        pattern = json.dumps({"source": [SOURCE]})
        events.put_rule(Name=name, EventBusName=bus, EventPattern=pattern, Description="hourbank events: for one look")
        at_end.callback(events.delete_rule, Name=name, EventBusName=bus)
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}])
        at_end.callback(events.remove_targets, Rule=name, EventBusName=bus, Ids=["queue"])
        # called first: a second Ctrl-C must not leave half of it behind
        at_end.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)
        yield queue


def received(queue: str) -> Iterator[dict[str, Any]]:
    """Yield the events as the queue gets them, without an end."""
    sqs = client("sqs")
    while True:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS)
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            yield json.loads(message["Body"])


def _row(event: dict[str, Any]) -> dict[str, Any]:
    """An event as EventBridge brings it, on one level; whoever may put events on the bus may leave out what it has."""
    detail = event.get("detail")
    told = detail if isinstance(detail, dict) else {}
    return {"time": event.get("time"), "event": str(event.get("detail-type"))} | {
        name: told.get(name) for name in ("requestId", "userId", "role", "status", "eventId")
    }
