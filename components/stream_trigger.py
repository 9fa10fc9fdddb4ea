"""What makes a change of a ServiceRequest start and answer workflows: the router and the stream that feeds it."""

import json
from collections.abc import Mapping
from typing import Any, TypedDict

import pulumi
import pulumi_aws as aws

from components.alarms import alarm
from components.archive import handler_archive
from components.failure_queue import failure_queue
from components.functions import GET
from components.models import MODELS
from components.settings import Settings
from components.tables import Table, decryption
from components.workflow import Workflow
from components.workflow_function import WorkflowFunction

ANY = [{"exists": True}]
# Which new images the router is called for. It decides by itself; these only spare calls that would do nothing. AWS
# gives a mapping five. Where an attribute may be missing, the key is asked for: a removal has no attributes at all.
FILTERS: tuple[Mapping[str, Any], ...] = (
    # a new request
    {"id": {"S": ANY}, "status": {"S": [{"exists": False}, "PENDING"]}},
    # the provider's answer, or the token that it was waiting for
    {"taskToken": {"S": ANY}, "status": {"S": ["AWAITING_PROVIDER"]}, "providerResponse": {"S": ANY}},
    # the requester's answer, or the token that it was waiting for
    {
        "taskToken": {"S": ANY},
        "status": {"S": ["AWAITING_PROVIDER", "NEGOTIATING"]},
        "requesterResponse": {"S": ["ACCEPTED", "REJECTED", "CANCELLED"]},
    },
    # the service was received
    {"status": {"S": ["IN_PROGRESS"]}, "requesterResponse": {"S": ["COMPLETED"]}},
    # the service was given up
    {"status": {"S": ["IN_PROGRESS"]}, "providerResponse": {"S": ["WITHDRAWN"]}},
)

# as long as the stream keeps a record: a first deployment starts with what it has, and an outage loses nothing earlier
ONE_DAY = 24 * 60 * 60
FIFTEEN_MINUTES = 15 * 60
FIFTEEN_MINUTES_IN_MILLISECONDS = FIFTEEN_MINUTES * 1000
# in fifteen minutes: a shard's reader that is refused comes back within a minute
THROTTLES = 10


class StreamTriggerArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    table: Table
    """The ServiceRequest table; it has a stream."""
    requests: Workflow
    """Started for a new request, and answered."""
    releases: Workflow
    """Started when a service was received or given up."""


class StreamTrigger(pulumi.ComponentResource):
    """The function that reads ServiceRequest's stream, and a queue for what it gave up on."""

    router: WorkflowFunction
    """The function that reads the stream."""
    failures: aws.sqs.Queue
    """The queue of what it gave up on."""
    alarms: list[aws.cloudwatch.MetricAlarm]
    """Go off when records are given up on or read late, and when the router is throttled."""

    def __init__(self, name: str, args: StreamTriggerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:StreamTrigger", name, None, opts)
        settings, table = args["settings"], args["table"]
        requests, releases = args["requests"], args["releases"]
        child = pulumi.ResourceOptions(parent=self)

        self.failures, given_up = failure_queue(
            name,
            settings,
            description="Records of ServiceRequest's stream were given up on.",
            section="records-of-the-stream-were-given-up-on",
            parent=self,
        )
        self.router = WorkflowFunction(
            name,
            {
                "settings": settings,
                "code": handler_archive(),
                "statements": [
                    {"Effect": "Allow", "Action": GET, "Resource": table.arn},
                    {
                        "Effect": "Allow",
                        "Action": ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
                        "Resource": table.stream_arn,
                    },
                    {
                        # IAM takes nothing but * for listing streams, which the event source mapping does.
                        "Effect": "Allow",
                        "Action": "dynamodb:ListStreams",
                        "Resource": "*",
                    },
                    {
                        "Effect": "Allow",
                        "Action": "states:StartExecution",
                        "Resource": [requests.arn, releases.arn],
                    },
                    {
                        "Effect": "Allow",
                        "Action": "states:DescribeExecution",
                        "Resource": [requests.executions_arn, releases.executions_arn],
                    },
                    {
                        # IAM's reference knows only * here, but Step Functions also checks the token's machine:
                        # https://github.com/aws/aws-cdk/pull/8486
                        "Effect": "Allow",
                        "Action": "states:SendTaskSuccess",
                        "Resource": requests.arn,
                    },
                    {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": self.failures.arn},
                    *decryption(settings, table),
                ],
                "environment": {
                    MODELS["serviceRequest"].variable: table.name,
                    "START_REQUESTS_FROM": settings.start_requests_from,
                    "SERVICE_REQUEST_WORKFLOW_ARN": requests.arn,
                    "ESCROW_MANAGEMENT_WORKFLOW_ARN": releases.arn,
                },
                "timeout_seconds": 60,
            },
            opts=child,
        )
        aws.lambda_.EventSourceMapping(
            f"{name}-stream",
            function_name=self.router.arn,
            event_source_arn=table.stream_arn,
            # A record that was written while this was being deployed is not missed.
            starting_position="TRIM_HORIZON",
            batch_size=25,
            # As many batches of each shard at once, each request's changes in their order all the same:
            # https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
            parallelization_factor=10,
            filter_criteria={
                "filters": [{"pattern": json.dumps({"dynamodb": {"NewImage": image}})} for image in FILTERS]
            },
            function_response_types=["ReportBatchItemFailures"],
            bisect_batch_on_function_error=True,
            maximum_retry_attempts=10,
            maximum_record_age_in_seconds=ONE_DAY,
            destination_config={"on_failure": {"destination_arn": self.failures.arn}},
            tags=settings.tags,
            # It comes after the router, which comes after its policy: by then the role may read the stream.
            opts=child,
        )
        late = alarm(
            f"{name}-age",
            settings,
            description="ServiceRequest's stream is read 15 minutes late: requests start and answers arrive late.",
            section="the-stream-is-read-late",
            namespace="AWS/Lambda",
            metric="IteratorAge",
            dimensions={"FunctionName": self.router.name},
            statistic="Maximum",
            threshold=FIFTEEN_MINUTES_IN_MILLISECONDS,
            parent=self,
        )
        # a few at once are Lambda's way to make the stream wait; a limit that lets nothing through goes on
        throttled = alarm(
            f"{name}-throttled",
            settings,
            description="The reader of ServiceRequest's stream is throttled: requests may not start at all.",
            section="the-streams-reader-is-throttled",
            namespace="AWS/Lambda",
            metric="Throttles",
            dimensions={"FunctionName": self.router.name},
            threshold=THROTTLES,
            period=FIFTEEN_MINUTES,
            parent=self,
        )
        self.alarms = [given_up, late, throttled]
        self.register_outputs({})
