"""The auditor: a function that holds the books against each other every hour, and alarms on what it finds.

What it found is looked at again in each run until it fits, so that an alarm lasts as long as its cause.
"""

from collections.abc import Mapping
from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.alarms import alarm
from components.archive import handler_archive
from components.functions import GET, UPDATE
from components.models import MODELS
from components.service_role import service_role
from components.settings import THIRTY_DAYS, Settings
from components.tables import Table, decryption
from components.workflow import Workflow
from components.workflow_function import WorkflowFunction

BATCH_GET = "dynamodb:BatchGetItem"
SCAN = "dynamodb:Scan"
QUERY = "dynamodb:Query"
# What it reads, by the key in the configuration.
READ = ("serviceRequest", "escrow", "transactionLog", "userBalance")

# long enough for two runs, so that what one finds stays an alarm until the next says otherwise
TWO_HOURS = 2 * 60 * 60
ONE_DAY = 24 * 60 * 60
# metric: what it means, its section of the runbook, the statistic and the threshold. A wait for the provider and then
# for the requester that is a day older than both time-outs is stuck.
ALARMS = {
    "AuditMismatches": ("found hours, states or executions that do not fit.", "books-do-not-fit", "Maximum", 1),
    "RequestsMissed": (
        "found what the stream was shown again in vain, or a record that cannot be dealt with.",
        "the-stream-is-not-read",
        "Maximum",
        1,
    ),
    "UnconfirmedServices": (
        "found services that nobody has ended for hourbank:confirmationDays.",
        "services-that-nobody-ends",
        "Maximum",
        1,
    ),
    "OldestWaitSeconds": (
        "found a request that waits longer than any time-out allows.",
        "a-request-waits-too-long",
        "Maximum",
        2 * THIRTY_DAYS + ONE_DAY,
    ),
    "AuditIncomplete": (
        "ran out of time before it had looked at all that can still change.",
        "the-auditor-ran-out-of-time",
        "Sum",
        1,
    ),
    "AuditHoursBehind": (
        "is a day behind: the past is looked at in more than a week.",
        "the-auditor-ran-out-of-time",
        "Maximum",
        24,
    ),
}


class AuditorArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    tables: Mapping[str, Table]
    """The four tables by their key in the configuration."""
    requests: Workflow
    """The workflow whose executions own requests."""


class Auditor(pulumi.ComponentResource):
    """``hourbank-auditLedger-{env}`` on an hourly schedule; it moves no hours."""

    function: WorkflowFunction
    """The function."""
    alarms: list[aws.cloudwatch.MetricAlarm]
    """Go off for what the auditor finds, and for its silence."""

    def __init__(self, name: str, args: AuditorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:Auditor", name, None, opts)
        settings, tables = args["settings"], args["tables"]
        child = pulumi.ResourceOptions(parent=self)
        schedule_name = f"hourbank-{name}-{settings.env}"

        place = aws.ssm.Parameter(
            f"{name}-cursor",
            name=f"hourbank-auditCursor-{settings.env}",
            description="Where the auditor goes on in its next run; it is written by the auditor alone.",
            type="String",
            # no secret: the provider would take `value` for one
            insecure_value="begin",
            tags=settings.tags,
            # a deployment leaves the auditor where it is
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["insecureValue"]),
        )
        self.function = WorkflowFunction(
            name,
            {
                "settings": settings,
                "code": handler_archive(),
                "statements": [
                    {
                        # the update touches a record that the stream may have missed
                        "Effect": "Allow",
                        "Action": [GET, BATCH_GET, SCAN, UPDATE],
                        "Resource": tables["serviceRequest"].arn,
                    },
                    {"Effect": "Allow", "Action": [GET, BATCH_GET, SCAN], "Resource": tables["escrow"].arn},
                    {"Effect": "Allow", "Action": [GET, BATCH_GET, SCAN], "Resource": tables["transactionLog"].arn},
                    {"Effect": "Allow", "Action": [GET, SCAN], "Resource": tables["userBalance"].arn},
                    {
                        # also where a table has no such index (yet): then its answer says so
                        "Effect": "Allow",
                        "Action": QUERY,
                        "Resource": [
                            f"{tables[key].arn}/index/{model.index.name}"
                            for key, model in MODELS.items()
                            if model.index
                        ],
                    },
                    {
                        "Effect": "Allow",
                        "Action": "states:DescribeExecution",
                        "Resource": args["requests"].executions_arn,
                    },
                    {"Effect": "Allow", "Action": "states:ListExecutions", "Resource": args["requests"].arn},
                    {"Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:PutParameter"], "Resource": place.arn},
                    *decryption(settings, *(tables[key] for key in READ)),
                ],
                "environment": {
                    **{MODELS[key].variable: tables[key].name for key in READ},
                    "SERVICE_REQUEST_WORKFLOW_ARN": args["requests"].arn,
                    "AUDIT_CURSOR_NAME": place.name,
                    "START_REQUESTS_FROM": settings.start_requests_from,
                    "CONFIRMATION_DAYS": str(settings.confirmation_days),
                },
                "timeout_seconds": 15 * 60,
            },
            opts=child,
        )
        role, policy = service_role(
            f"{name}-schedule",
            settings,
            service="scheduler.amazonaws.com",
            policy_name="schedule",
            statements=[{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": self.function.arn}],
            # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
            condition={
                "ArnLike": {"aws:SourceArn": settings.arn("scheduler", "schedule-group/default")},
                "StringEquals": {"aws:SourceAccount": settings.account_id},
            },
            parent=self,
        )
        aws.scheduler.Schedule(
            f"{name}-schedule",
            name=schedule_name,
            schedule_expression="rate(1 hour)",
            flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": 15},
            target={"arn": self.function.arn, "role_arn": role.arn},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        dimensions = {"service": f"hourbank-{settings.env}"}
        self.alarms = [
            alarm(
                f"{name}-{metric}",
                settings,
                description=f"The auditor {meaning}",
                section=section,
                namespace="HourBank",
                metric=metric,
                dimensions=dimensions,
                statistic=statistic,
                threshold=threshold,
                period=TWO_HOURS,
                parent=self,
            )
            for metric, (meaning, section, statistic, threshold) in ALARMS.items()
        ]
        silence = alarm(
            f"{name}-AuditCompleted",
            settings,
            description="The auditor has not finished for a day: nobody watches the ledger.",
            section="the-auditor-is-silent",
            namespace="HourBank",
            metric="AuditCompleted",
            dimensions=dimensions,
            threshold=1,
            period=ONE_DAY,
            when_missing=True,
            parent=self,
        )
        unexplained = alarm(
            f"{name}-UnexplainedBalances",
            settings,
            description="The auditor found balances that no entry of the log explains.",
            section="balances-that-no-entry-explains",
            namespace="HourBank",
            metric="UnexplainedBalances",
            dimensions=dimensions,
            statistic="Maximum",
            period=TWO_HOURS,
            # they are compared once a week: until then, the alarm is what it was
            is_kept=True,
            parent=self,
        )
        self.alarms += [silence, unexplained]
        self.register_outputs({})
