"""What there is to know of a type of resource: an entry for each that the program declares.

A new type is one entry here, and `tests/program/test_cloudformation.py` says what it lacks.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def tags(value: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": text} for key, text in sorted(value.items())]


def dimensions(value: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": key, "Value": text} for key, text in sorted(value.items())]


def logging_configuration(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Level": value["level"],
        "IncludeExecutionData": value["includeExecutionData"],
        "Destinations": [{"CloudWatchLogsLogGroup": {"LogGroupArn": value["logDestination"]}}],
    }


# A property's name in CloudFormation and, where its shape is another, how to make it of the input; None where the input
# has no property of its own.
Property = str | tuple[str, Callable[[Any], Any]] | None


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """One of Pulumi's types."""

    word: str
    """What people call it."""
    template: str | None
    """CloudFormation's type; None where it is none there, or a part of another resource."""
    properties: Mapping[str, Property]
    """By input; an input without an entry is refused, so that nothing is left out unseen."""
    import_id: str
    """What `pulumi import` finds it by: inputs in braces, or what AWS alone knows of one (`hourbank.account.adopt`)."""
    references: Mapping[str, str] = field(default_factory=dict)
    """What other resources refer to, by output, with `%s` for the logical id: Ref gives a name here, an ARN there."""
    replaced_by: tuple[str, ...] = ("name",)
    """Inputs with which the provider makes another resource, as its documentation says ("Forces new resource")."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of those, what the provider takes where nothing is set."""
    runs_as_role: bool = False
    """Whether a role that it names is what it runs as; what else names one, such as an attachment, is not its user."""


FUNCTION = "aws:lambda/function:Function"
MACHINE = "aws:sfn/stateMachine:StateMachine"
RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"

RESOURCE_TYPES = {
    FUNCTION: ResourceType(
        word="function",
        template="AWS::Lambda::Function",
        properties={
            "name": "FunctionName",
            "runtime": "Runtime",
            "architectures": "Architectures",
            "handler": "Handler",
            "code": None,  # the bucket and key
            "role": "Role",
            "timeout": "Timeout",
            "memorySize": "MemorySize",
            "environment": ("Environment", lambda value: {"Variables": dict(sorted(value["variables"].items()))}),
            "publish": None,  # an AWS::Lambda::Version
            "tracingConfig": ("TracingConfig", lambda value: {"Mode": value["mode"]}),
            "tags": ("Tags", tags),
        },
        import_id="{name}",
        references={"name": "${%s}", "arn": "${%s.Arn}"},
        runs_as_role=True,
    ),
    "aws:lambda/eventSourceMapping:EventSourceMapping": ResourceType(
        word="event source mapping",
        template="AWS::Lambda::EventSourceMapping",
        properties={
            "functionName": "FunctionName",
            "eventSourceArn": "EventSourceArn",
            "startingPosition": "StartingPosition",
            "batchSize": "BatchSize",
            "parallelizationFactor": "ParallelizationFactor",
            "filterCriteria": (
                "FilterCriteria",
                lambda value: {"Filters": [{"Pattern": one["pattern"]} for one in value["filters"]]},
            ),
            "functionResponseTypes": "FunctionResponseTypes",
            "bisectBatchOnFunctionError": "BisectBatchOnFunctionError",
            "maximumRetryAttempts": "MaximumRetryAttempts",
            "maximumRecordAgeInSeconds": "MaximumRecordAgeInSeconds",
            "destinationConfig": (
                "DestinationConfig",
                lambda value: {"OnFailure": {"Destination": value["onFailure"]["destinationArn"]}},
            ),
            "scalingConfig": ("ScalingConfig", lambda value: {"MaximumConcurrency": value["maximumConcurrency"]}),
            "tags": ("Tags", tags),
        },
        import_id="{uuid of functionName}",
        replaced_by=("eventSourceArn", "startingPosition"),
        runs_as_role=True,
    ),
    MACHINE: ResourceType(
        word="workflow",
        template="AWS::StepFunctions::StateMachine",
        properties={
            "name": "StateMachineName",
            "type": "StateMachineType",
            "roleArn": "RoleArn",
            "definition": ("Definition", json.loads),
            "loggingConfiguration": ("LoggingConfiguration", logging_configuration),
            "tracingConfiguration": ("TracingConfiguration", lambda value: {"Enabled": value["enabled"]}),
            "tags": ("Tags", tags),
        },
        import_id="arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:stateMachine:{name}",
        references={"name": "${%s.Name}", "arn": "${%s}"},
        replaced_by=("name", "type"),
        defaults={"type": "STANDARD"},
        runs_as_role=True,
    ),
    "aws:iam/role:Role": ResourceType(
        word="role",
        template="AWS::IAM::Role",
        properties={
            "name": "RoleName",
            "assumeRolePolicy": ("AssumeRolePolicyDocument", json.loads),
            "permissionsBoundary": "PermissionsBoundary",
            "tags": ("Tags", tags),
        },
        import_id="{name}",
        references={"name": "${%s}", "arn": "${%s.Arn}"},
    ),
    "aws:iam/rolePolicy:RolePolicy": ResourceType(
        word="policy",
        template="AWS::IAM::Policy",
        properties={
            "name": "PolicyName",
            "role": ("Roles", lambda value: [value]),
            "policy": ("PolicyDocument", json.loads),
        },
        import_id="{role}:{name}",
        replaced_by=("name", "role"),
    ),
    "aws:cloudwatch/logGroup:LogGroup": ResourceType(
        word="log group",
        template="AWS::Logs::LogGroup",
        properties={"name": "LogGroupName", "retentionInDays": "RetentionInDays", "tags": ("Tags", tags)},
        import_id="{name}",
        references={
            "name": "${%s}",
            # Fn::GetAtt of a log group's Arn ends in ":*", Pulumi's arn does not
            "arn": "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${%s}",
        },
    ),
    "aws:cloudwatch/eventBus:EventBus": ResourceType(
        word="bus",
        template="AWS::Events::EventBus",
        properties={"name": "Name", "tags": ("Tags", tags)},
        import_id="{name}",
        references={"name": "${%s}", "arn": "${%s.Arn}"},
    ),
    RULE: ResourceType(
        word="event rule",
        template="AWS::Events::Rule",
        properties={
            "name": "Name",
            "description": "Description",
            "eventBusName": "EventBusName",
            "eventPattern": ("EventPattern", json.loads),
            "targets": "Targets",
            "tags": ("Tags", tags),
        },
        import_id="{eventBusName}/{name}",
        # only targets refer to a rule, and in a template they are a part of it
        references={"name": "${%s}"},
        replaced_by=("name", "eventBusName"),
        defaults={"eventBusName": "default"},
    ),
    # no resource in CloudFormation: these are its properties in its rule
    TARGET: ResourceType(
        word="event target",
        template=None,
        properties={
            "rule": None,
            "eventBusName": None,
            "targetId": "Id",
            "arn": "Arn",
            "roleArn": "RoleArn",
            "appsyncTarget": ("AppSyncParameters", lambda value: {"GraphQLOperation": value["graphqlOperation"]}),
            "inputTransformer": (
                "InputTransformer",
                lambda value: {
                    "InputPathsMap": dict(sorted(value["inputPaths"].items())),
                    "InputTemplate": value["inputTemplate"],
                },
            ),
            "deadLetterConfig": ("DeadLetterConfig", lambda value: {"Arn": value["arn"]}),
            "retryPolicy": (
                "RetryPolicy",
                lambda value: {
                    "MaximumEventAgeInSeconds": value["maximumEventAgeInSeconds"],
                    "MaximumRetryAttempts": value["maximumRetryAttempts"],
                },
            ),
        },
        import_id="{eventBusName}/{rule}/{targetId}",
        replaced_by=("rule", "targetId", "eventBusName"),
        defaults={"eventBusName": "default"},
        runs_as_role=True,
    ),
    ALARM: ResourceType(
        word="alarm",
        template="AWS::CloudWatch::Alarm",
        properties={
            "name": "AlarmName",
            "alarmDescription": "AlarmDescription",
            "namespace": "Namespace",
            "metricName": "MetricName",
            "dimensions": ("Dimensions", dimensions),
            "statistic": "Statistic",
            "period": "Period",
            "evaluationPeriods": "EvaluationPeriods",
            "threshold": "Threshold",
            "comparisonOperator": "ComparisonOperator",
            "treatMissingData": "TreatMissingData",
            "alarmActions": "AlarmActions",
            "okActions": "OKActions",
            "tags": ("Tags", tags),
        },
        import_id="{name}",
        references={"arn": "${%s.Arn}"},
    ),
    DASHBOARD: ResourceType(
        word="dashboard",
        template="AWS::CloudWatch::Dashboard",
        properties={"dashboardName": "DashboardName", "dashboardBody": "DashboardBody"},
        import_id="{dashboardName}",
        replaced_by=("dashboardName",),
    ),
    "aws:scheduler/schedule:Schedule": ResourceType(
        word="schedule",
        template="AWS::Scheduler::Schedule",
        properties={
            "name": "Name",
            "scheduleExpression": "ScheduleExpression",
            "flexibleTimeWindow": (
                "FlexibleTimeWindow",
                lambda value: {
                    "Mode": value["mode"],
                    "MaximumWindowInMinutes": value["maximumWindowInMinutes"],
                },
            ),
            "target": ("Target", lambda value: {"Arn": value["arn"], "RoleArn": value["roleArn"]}),
        },
        import_id="{groupName}/{name}",
        replaced_by=("name", "groupName"),
        defaults={"groupName": "default"},
        runs_as_role=True,
    ),
    "aws:ssm/parameter:Parameter": ResourceType(
        word="parameter",
        template="AWS::SSM::Parameter",
        properties={
            "name": "Name",
            "description": "Description",
            "type": "Type",
            "insecureValue": "Value",
            # by name, unlike those of every other type
            "tags": ("Tags", lambda value: dict(sorted(value.items()))),
        },
        import_id="{name}",
        references={
            "name": "${%s}",
            "arn": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/${%s}",
        },
    ),
    "aws:sqs/queue:Queue": ResourceType(
        word="queue",
        template="AWS::SQS::Queue",
        properties={
            "name": "QueueName",
            "messageRetentionSeconds": "MessageRetentionPeriod",
            "visibilityTimeoutSeconds": "VisibilityTimeout",
            "redrivePolicy": ("RedrivePolicy", json.loads),
            "sqsManagedSseEnabled": "SqsManagedSseEnabled",
            "tags": ("Tags", tags),
        },
        import_id="{url of name}",
        references={"name": "${%s.QueueName}", "arn": "${%s.Arn}", "url": "${%s}"},
        replaced_by=("name", "fifoQueue"),
        defaults={"fifoQueue": False},
    ),
    "aws:dynamodb/table:Table": ResourceType(
        word="table",
        template="AWS::DynamoDB::Table",
        properties={
            "name": "TableName",
            "billingMode": "BillingMode",
            "hashKey": ("KeySchema", lambda value: [{"AttributeName": value, "KeyType": "HASH"}]),
            "attributes": (
                "AttributeDefinitions",
                lambda value: [{"AttributeName": one["name"], "AttributeType": one["type"]} for one in value],
            ),
            "ttl": (
                "TimeToLiveSpecification",
                lambda value: {"AttributeName": value["attributeName"], "Enabled": value["enabled"]},
            ),
            "tags": ("Tags", tags),
        },
        import_id="{name}",
        references={"name": "${%s}", "arn": "${%s.Arn}"},
        replaced_by=("name", "hashKey"),
    ),
    "aws:sqs/queuePolicy:QueuePolicy": ResourceType(
        word="queue policy",
        template="AWS::SQS::QueuePolicy",
        properties={"queueUrl": ("Queues", lambda value: [value]), "policy": ("PolicyDocument", json.loads)},
        import_id="{url of queueUrl}",
        replaced_by=("queueUrl",),
    ),
}


def known(type_: str) -> ResourceType:
    """What there is to know of a type: of one that the program does not declare, what its name says."""
    words = re.findall(r"[A-Z]?[^A-Z]+|[A-Z]+", type_.rpartition(":")[2])
    return RESOURCE_TYPES.get(type_) or ResourceType(
        word=" ".join(words).lower(), template=None, properties={}, import_id=""
    )
