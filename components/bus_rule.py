"""The one way to listen to the bus: a rule for what people are told, and queues that take what it brings or cannot."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws

from components.event_bus import EventBus
from components.settings import Settings

PATTERN = {
    "source": ["hourbank.workflows"],
    # any string: it is null where a record names nobody, and then there is nobody to tell
    "detail": {"userId": [{"prefix": ""}]},
}


def bus_rule(
    name: str, settings: Settings, bus: EventBus, *, description: str, parent: pulumi.Resource
) -> aws.cloudwatch.EventRule:
    """Declare the rule ``hourbank-<name>-{env}`` of the bus."""
    return aws.cloudwatch.EventRule(
        f"{name}-rule",
        name=_rule_name(name, settings),
        description=description,
        event_bus_name=bus.name,
        event_pattern=json.dumps(PATTERN),
        tags=settings.tags,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def only_bus_rule(name: str, settings: Settings) -> dict[str, Any]:
    """The condition of a policy under which EventBridge acts for this rule alone.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html
    """
    rule = f"rule/hourbank-event-bus-{settings.env}/{_rule_name(name, settings)}"
    return {
        "ArnEquals": {"aws:SourceArn": settings.arn("events", rule)},
        "StringEquals": {"aws:SourceAccount": settings.account_id},
    }


def bus_rule_writes(
    policy_name: str, rule_name: str, settings: Settings, queue: aws.sqs.Queue, *, parent: pulumi.Resource
) -> aws.sqs.QueuePolicy:
    """Let the rule alone write a queue: EventBridge does so as itself, not with a target's role."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue.arn,
        "Condition": only_bus_rule(rule_name, settings),
    }
    return aws.sqs.QueuePolicy(
        policy_name,
        queue_url=queue.url,
        policy=pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": [statement]}),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _rule_name(name: str, settings: Settings) -> str:
    return f"hourbank-{name}-{settings.env}"
