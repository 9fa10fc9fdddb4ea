"""A Lambda function with all that belongs to it: role, rights, log group, alarm."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from components.alarms import alarm
from components.service_role import service_role, traces
from components.settings import Settings


class WorkflowFunctionArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    code: pulumi.Archive
    """The archive that has ``handlers/<name in snake case>.py``."""
    statements: Sequence[Mapping[str, Any]]
    """What the function may do, as IAM statements; what its logs need, and its traces where there are any, is added."""
    environment: Mapping[str, pulumi.Input[str]]
    """Environment variables; those of Powertools are added."""
    timeout_seconds: NotRequired[int]
    """How long one call may take, 30 by default: less than the task's TimeoutSeconds."""
    errors_threshold: NotRequired[int]
    """Errors in five minutes that set off the alarm, 1 by default."""


class WorkflowFunction(pulumi.ComponentResource):
    """The function ``hourbank-<name>-{env}``; its name in camel case is also its handler's file in snake case."""

    name: pulumi.Output[str]
    """The function's name."""
    arn: pulumi.Output[str]
    """The function's ARN, without a version."""
    version_arn: pulumi.Output[str]
    """The ARN of the version that this deployment published; it runs this code for ever."""
    alarm: aws.cloudwatch.MetricAlarm
    """Goes off when the function raises errors."""

    def __init__(self, name: str, args: WorkflowFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:WorkflowFunction", name, None, opts)
        settings = args["settings"]
        function_name = f"hourbank-{name}-{settings.env}"
        child = pulumi.ResourceOptions(parent=self)

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/aws/lambda/{function_name}",
            retention_in_days=settings.log_retention_days,
            tags=settings.tags,
            opts=child,
        )
        role, policy = service_role(
            name,
            settings,
            service="lambda.amazonaws.com",
            policy_name="function",
            statements=[
                *args["statements"],
                {
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                    "Resource": pulumi.Output.concat(logs.arn, ":*"),
                },
                *traces(settings),
            ],
            # No condition on the source: AWS documents neither aws:SourceArn nor aws:SourceAccount for the execution
            # roles of Lambda, and one that Lambda did not send would lock the function out. Another account cannot use
            # the role: a function takes roles of its own account only.
            # https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
            condition=None,
            parent=self,
        )
        function = aws.lambda_.Function(
            name,
            name=function_name,
            runtime="python3.13",
            architectures=["arm64"],
            handler=f"handlers.{snake_case(name)}.handler",
            code=args["code"],
            role=role.arn,
            timeout=args.get("timeout_seconds", 30),
            # A share of the processor comes with the memory: with less, importing boto3 takes seconds.
            memory_size=512,
            environment={
                "variables": {
                    "POWERTOOLS_SERVICE_NAME": f"hourbank-{settings.env}",
                    "POWERTOOLS_METRICS_NAMESPACE": "HourBank",
                    "POWERTOOLS_LOG_LEVEL": "INFO",
                    **args["environment"],
                }
            },
            publish=True,
            # Named also where it is the default: the provider leaves a mode that is not named as it was.
            tracing_config={"mode": "Active" if settings.tracing else "PassThrough"},
            tags=settings.tags,
            # The policy first, so that the first call has its rights; the log group, so that Lambda makes none itself.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy, logs]),
        )
        self.alarm = alarm(
            f"{name}-errors",
            settings,
            description=f"{function_name} raised an error; its log group has the reason.",
            section="a-function-raised-errors",
            namespace="AWS/Lambda",
            metric="Errors",
            dimensions={"FunctionName": function.name},
            threshold=args.get("errors_threshold", 1),
            parent=self,
        )
        self.name = function.name
        self.arn = function.arn
        self.version_arn = function.qualified_arn
        self.register_outputs({"name": self.name, "arn": self.arn, "version_arn": self.version_arn})


def snake_case(name: str) -> str:
    """``createEscrow`` is handled in ``create_escrow.py``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
