"""A state machine with all that belongs to it: role, rights, logs, alarms."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.alarms import alarm
from components.service_role import service_role, traces
from components.settings import Settings
from components.workflow_function import WorkflowFunction

# metric: what it means for whoever is woken up, and its section of the runbook
ALARMS = {
    "ExecutionsFailed": ("failed; hours may still be held.", "an-execution-of-{name}-failed"),
    "ExecutionsTimedOut": ("timed out as a whole; hours may still be held.", "an-execution-timed-out"),
    "ExecutionsAborted": ("was stopped by hand; hours may still be held.", "an-execution-was-stopped"),
    "ExecutionThrottled": ("was throttled: Step Functions is at a limit of this account.", "executions-are-throttled"),
}


class WorkflowArgs(TypedDict):
    settings: Settings
    """The stack's settings."""
    definition: Callable[..., dict]
    """Returns the state machine, given ``functions`` (name to ARN of a version) and ``partition``."""
    calls: Sequence[str]
    """The names of the functions that the definition calls."""
    functions: Mapping[str, WorkflowFunction]
    """All functions by name."""


class Workflow(pulumi.ComponentResource):
    """The Standard state machine ``<name>-{env}``.

    Its tasks call exact versions of the functions, so a deployment never changes the code under an execution that
    waits; its role may invoke every version of these functions, so that old ones stay invokable.

    Raises
    ------
    pulumi.RunError
        The definition calls a function that there is not.
    """

    name: pulumi.Output[str]
    """The state machine's name."""
    arn: pulumi.Output[str]
    """The state machine's ARN."""
    executions_arn: str
    """The ARN, with a ``*``, of every execution of the state machine."""
    role_arn: pulumi.Output[str]
    """The ARN of the role that the state machine runs as."""
    alarms: list[aws.cloudwatch.MetricAlarm]
    """Go off when executions do not succeed."""

    def __init__(self, name: str, args: WorkflowArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hourbank:index:Workflow", name, None, opts)
        settings = args["settings"]
        for call in args["calls"]:
            if call not in args["functions"]:
                raise pulumi.RunError(
                    f"{name} calls {call}: write into components/functions.py, ACCESS, what it may do"
                )
        functions = {call: args["functions"][call] for call in args["calls"]}
        machine_name = f"{name}-{settings.env}"
        child = pulumi.ResourceOptions(parent=self)

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            # Log groups elsewhere each take room in a resource policy that holds 5,120 characters.
            name=f"/aws/vendedlogs/states/{machine_name}",
            retention_in_days=settings.log_retention_days,
            tags=settings.tags,
            opts=child,
        )
        role, policy = service_role(
            name,
            settings,
            service="states.amazonaws.com",
            policy_name="workflow",
            statements=[
                {
                    "Effect": "Allow",
                    "Action": "lambda:InvokeFunction",
                    "Resource": [pulumi.Output.concat(function.arn, ":*") for function in functions.values()],
                },
                {
                    # Log delivery is set up for the account: IAM takes nothing but * here.
                    # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
                    "Effect": "Allow",
                    "Action": [
                        "logs:CreateLogDelivery",
                        "logs:GetLogDelivery",
                        "logs:UpdateLogDelivery",
                        "logs:DeleteLogDelivery",
                        "logs:ListLogDeliveries",
                        "logs:PutResourcePolicy",
                        "logs:DescribeResourcePolicies",
                        "logs:DescribeLogGroups",
                    ],
                    "Resource": "*",
                },
                *traces(settings, "xray:GetSamplingRules", "xray:GetSamplingTargets"),
            ],
            # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html:
            # no other account can make Step Functions act with this role.
            condition={
                "ArnLike": {"aws:SourceArn": settings.arn("states", f"stateMachine:{machine_name}")},
                "StringEquals": {"aws:SourceAccount": settings.account_id},
            },
            parent=self,
        )
        machine = aws.sfn.StateMachine(
            name,
            name=machine_name,
            # No type: STANDARD is the default. An imported machine has none among its inputs, and one that is added
            # could be taken for a change that replaces the machine, and ends what waits.
            role_arn=role.arn,
            definition=pulumi.Output.all(**{call: function.version_arn for call, function in functions.items()}).apply(
                lambda versions: json.dumps(args["definition"](functions=versions, partition=settings.partition))
            ),
            logging_configuration={
                "level": "ALL",
                # execution data has task tokens in it
                "include_execution_data": False,
                "log_destination": pulumi.Output.concat(logs.arn, ":*"),
            },
            # Named also where it is the default: the provider leaves what is not named as it was.
            tracing_configuration={"enabled": settings.tracing},
            tags=settings.tags,
            # Without the policy the first deployment ends in "not authorized to access the Log Destination".
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy], protect=settings.protects_workflows),
        )
        self.alarms = [
            alarm(
                f"{name}-{metric}",
                settings,
                description=f"An execution of {machine_name} {meaning}",
                section=section.format(name=name.lower()),
                namespace="AWS/States",
                metric=metric,
                dimensions={"StateMachineArn": machine.arn},
                parent=self,
            )
            for metric, (meaning, section) in ALARMS.items()
        ]
        self.executions_arn = settings.arn("states", f"execution:{machine_name}:*")
        self.name = machine.name
        self.arn = machine.arn
        self.role_arn = role.arn
        self.register_outputs({"name": self.name, "arn": self.arn, "role_arn": self.role_arn})
