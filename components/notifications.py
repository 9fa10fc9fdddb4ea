"""Mails to the people whom an event concerns: an example of a consumer of the bus, where the stack has ``notifyFrom``.

A rule brings the events to a queue, and a function mails them through SES. docs/app/people-are-told.md says how to make
another one of it.
"""

from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.archive import handler_archive
from components.bus_rule import bus_rule, bus_rule_writes
from components.event_bus import EventBus
from components.failure_queue import failure_queue
from components.settings import Mailing, Settings
from components.workflow_function import WorkflowFunction

FUNCTION_SECONDS = 60
# six times as long as a call may take: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
HIDDEN_SECONDS = 6 * FUNCTION_SECONDS
DELIVERIES = 5
# SES takes one a second of a new account; what it refuses meanwhile is delivered again
CALLS_AT_ONCE = 2
# who is told a day late has looked already
ONE_DAY = 24 * 60 * 60


class NotificationsArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    mailing: Mailing
    """Whose mails they are, and who has the addresses."""
    bus: EventBus
    """Where the workflows tell what happened."""


class Notifications(pulumi.ComponentResource):
    """``hourbank-sendNotification-{env}`` with its queue, the table of what was mailed, and a queue for failures."""

    function: WorkflowFunction
    """The function that mails."""
    events: aws.sqs.Queue
    """The queue of what is to be mailed."""
    failures: aws.sqs.Queue
    """The queue of what could not be mailed."""
    alarms: list[aws.cloudwatch.MetricAlarm]
    """Go off when somebody could not be told."""

    def __init__(self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:Notifications", name, None, opts)
        settings, mailing = args["settings"], args["mailing"]
        child = pulumi.ResourceOptions(parent=self)

        self.failures, not_mailed = failure_queue(
            name,
            settings,
            description="Mails could not be sent: people were not told.",
            section="mails-could-not-be-sent",
            parent=self,
        )
        self.alarms = [not_mailed]
        queue = self.events = aws.sqs.Queue(
            f"{name}-events",
            name=f"hourbank-{name}-{settings.env}",
            message_retention_seconds=ONE_DAY,
            visibility_timeout_seconds=HIDDEN_SECONDS,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": self.failures.arn, "maxReceiveCount": DELIVERIES}
            ),
            sqs_managed_sse_enabled=True,
            tags=settings.tags,
            opts=child,
        )
        policies = [
            bus_rule_writes(f"{name}-{part}-policy", name, settings, one, parent=self)
            for part, one in (("events", queue), ("queue", self.failures))
        ]
        mailed = aws.dynamodb.Table(
            f"{name}-mailed",
            name=f"hourbank-mailed-{settings.env}",
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": "id", "type": "S"}],
            ttl={"attribute_name": "expiration", "enabled": True},
            tags=settings.tags,
            opts=child,
        )
        self.function = WorkflowFunction(
            name,
            {
                "settings": settings,
                "code": handler_archive(),
                "statements": [
                    {
                        "Effect": "Allow",
                        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                        "Resource": queue.arn,
                    },
                    {
                        "Effect": "Allow",
                        "Action": [
                            "dynamodb:GetItem",
                            "dynamodb:PutItem",
                            "dynamodb:UpdateItem",
                            "dynamodb:DeleteItem",
                        ],
                        "Resource": mailed.arn,
                    },
                    {
                        "Effect": "Allow",
                        "Action": "cognito-idp:ListUsers",
                        "Resource": settings.arn("cognito-idp", f"userpool/{mailing.user_pool_id}"),
                    },
                    {
                        # the address itself is verified, or its domain is
                        "Effect": "Allow",
                        "Action": "ses:SendEmail",
                        "Resource": [settings.arn("ses", f"identity/{one}") for one in mailing.identities],
                        "Condition": {"StringEquals": {"ses:FromAddress": mailing.sender}},
                    },
                ],
                "environment": {
                    "NOTIFY_FROM": mailing.sender,
                    "USER_POOL_ID": mailing.user_pool_id,
                    "MAILED_TABLE_NAME": mailed.name,
                },
                "timeout_seconds": FUNCTION_SECONDS,
            },
            opts=child,
        )
        aws.lambda_.EventSourceMapping(
            f"{name}-mapping",
            function_name=self.function.arn,
            event_source_arn=queue.arn,
            batch_size=5,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config={"maximum_concurrency": CALLS_AT_ONCE},
            tags=settings.tags,
            # It comes after the function, which comes after its policy: by then the role may read the queue.
            opts=child,
        )
        description = "Mails people what the workflows told the bus."
        rule = bus_rule(name, settings, args["bus"], description=description, parent=self)
        aws.cloudwatch.EventTarget(
            f"{name}-target",
            rule=rule.name,
            event_bus_name=args["bus"].name,
            target_id="queue",
            arn=queue.arn,
            dead_letter_config={"arn": self.failures.arn},
            # By then the queues take what it brings.
            opts=pulumi.ResourceOptions(parent=self, depends_on=policies),
        )
        self.register_outputs({})
