"""The one way to declare a queue for what could not be delivered: kept for two weeks, and never in silence."""

import pulumi
import pulumi_aws as aws

from components.alarms import alarm
from components.settings import Settings

FOURTEEN_DAYS = 14 * 24 * 60 * 60


def failure_queue(
    name: str, settings: Settings, *, description: str, section: str, parent: pulumi.Resource
) -> tuple[aws.sqs.Queue, aws.cloudwatch.MetricAlarm]:
    """Declare the queue ``hourbank-<name>-failures-{env}`` and the alarm that its first message sets off.

    What the alarm says is as for every ``alarm``.
    """
    queue = aws.sqs.Queue(
        f"{name}-queue",
        name=f"hourbank-{name}-failures-{settings.env}",
        message_retention_seconds=FOURTEEN_DAYS,
        sqs_managed_sse_enabled=True,
        tags=settings.tags,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    first_message = alarm(
        f"{name}-failures",
        settings,
        description=description,
        section=section,
        namespace="AWS/SQS",
        metric="ApproximateNumberOfMessagesVisible",
        dimensions={"QueueName": queue.name},
        statistic="Maximum",
        parent=parent,
    )
    return queue, first_message
