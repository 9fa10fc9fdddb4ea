"""The program recorded once for every environment: names and values are a template's parameters.

Options 1 and 2 of Amplify's users come from here: what `pulumi up` deploys, as a template of CloudFormation.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from components.models import MODELS
from components.settings import LOG_RETENTION_DAYS, POLICY, THIRTY_DAYS, TOPIC, Settings
from hourbank.program import cloudformation, recorder
from hourbank.program.recorder import Recording

ARCHIVE = "hourbank-functions.zip"
ENVIRONMENT = "Environment"
TABLE_NAMES = {key: f"{model.name}TableName" for key, model in MODELS.items()}
STREAM_ARN = "ServiceRequestStreamArn"
ATTEMPT = "DeploymentAttempt"
KEY_ARN = "TablesKmsKeyArn"
# What the program is told while it is recorded: legal, and replaced by a parameter afterwards.
CONFIG = {
    "hourbank:tables": json.dumps({key: f"{model.name}-parameter" for key, model in MODELS.items()}),
    "hourbank:startRequestsFrom": "2026-01-01T00:00:00Z",
    # what a template leaves out, also where the project sets it for all its stacks
    "hourbank:allowConflictResolution": "false",
    "hourbank:tracing": "false",
    "hourbank:amplifyAuthRoleName": "",
    "hourbank:appsyncEndpoint": "",
    "hourbank:notifyFrom": "",
    "hourbank:userPoolId": "",
    # replaced, and legal whatever the project says
    "hourbank:providerResponseTimeoutSeconds": "604800",
    "hourbank:confirmationDays": "14",
    "hourbank:logRetentionDays": "30",
    "hourbank:alarmTopicArn": "",
    "hourbank:permissionsBoundaryArn": "",
}

# Only days that exist, of 1900 to 2099: the functions read the time, and CloudFormation looks at nothing but a pattern.
LEAP_YEAR = r"((19|20)(0[48]|[2468][048]|[13579][26])|2000)"
DAY = (
    r"((19|20)\d\d-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    rf"|{LEAP_YEAR}-02-29)"
)
CLOCK = r"([01]\d|2[0-3]):[0-5]\d"

PARAMETERS: dict[str, dict[str, Any]] = {
    ENVIRONMENT: {
        "Type": "String",
        "Default": "dev",
        "Description": "A part of every name; one deployment per account, region and environment",
        "AllowedPattern": "[a-z][a-z0-9]{0,14}",
        "ConstraintDescription": "1 to 15 lowercase letters and digits, beginning with a letter",
    },
    **{
        TABLE_NAMES[key]: {
            "Type": "String",
            "Description": f"Name of {model.name}'s DynamoDB table, which Amplify owns",
            "AllowedPattern": "[A-Za-z0-9_.-]{3,60}",
            # four of them stand in the description of a function's version, which has 256 characters
            "ConstraintDescription": "3 to 60 letters, digits, '_', '-' and '.'; Amplify's names have at most 52",
        }
        for key, model in MODELS.items()
    },
    STREAM_ARN: {
        "Type": "String",
        "Description": "ARN of the stream of ServiceRequest's table, with new images",
        "AllowedPattern": "arn:[a-z0-9-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[^/]+/stream/.+",
        "ConstraintDescription": "the LatestStreamArn of ServiceRequest's table",
    },
    "StartRequestsFrom": {
        "Type": "String",
        "Description": "ISO 8601 time with offset, such as 2026-01-01T00:00:00Z; older requests are left alone",
        "AllowedPattern": rf"{DAY}T{CLOCK}(:[0-5]\d(\.\d{{1,6}})?)?(Z|[+-]{CLOCK})",
        "ConstraintDescription": "an ISO 8601 time with offset, such as 2026-01-01T00:00:00Z",
    },
    "ProviderResponseTimeoutSeconds": {
        "Type": "Number",
        "Default": 604800,
        "Description": "How long people have to answer where the request does not say: 60 seconds to 30 days",
        "MinValue": 60,
        "MaxValue": THIRTY_DAYS,
        "ConstraintDescription": f"a whole number from 60 to {THIRTY_DAYS}",
    },
    "ConfirmationDays": {
        "Type": "Number",
        "Default": 14,
        "Description": "Days after which the auditor reports a service in progress that nobody has ended",
        "MinValue": 1,
        "MaxValue": 365,
        "ConstraintDescription": "a whole number from 1 to 365",
    },
    "LogRetentionDays": {
        "Type": "Number",
        "Default": 30,
        "Description": "Days that logs are kept; a period that CloudWatch Logs offers",
        "AllowedValues": list(LOG_RETENTION_DAYS),
        "ConstraintDescription": f"one of {', '.join(map(str, LOG_RETENTION_DAYS))}",
    },
    "AlarmTopicArn": {
        "Type": "String",
        "Default": "",
        "Description": "SNS topic that every alarm tells; without it alarms only show in the console",
        "AllowedPattern": f"|{TOPIC}",
        "ConstraintDescription": "an SNS topic's ARN, or nothing",
    },
    "PermissionsBoundaryArn": {
        "Type": "String",
        "Default": "",
        "Description": "Permissions boundary of every role, where an organisation asks for one",
        "AllowedPattern": f"|{POLICY}",
        "ConstraintDescription": "an IAM policy's ARN, or nothing",
    },
    KEY_ARN: {
        "Type": "String",
        "Default": "",
        "Description": "KMS key of yours that the tables are encrypted with, where they are",
        "AllowedPattern": r"|arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+",
        "ConstraintDescription": "a KMS key's ARN, or nothing",
    },
    ATTEMPT: {
        "Type": "Number",
        "Default": 1,
        "Description": "Another number lets an update that was rolled back be tried again",
        "MinValue": 1,
        "MaxValue": 999,
        "ConstraintDescription": "a whole number from 1 to 999",
    },
}
# A parameter that may be empty: the property, or the list's item, is there if it is not.
OPTIONAL = {"AlarmTopicArn": "HasAlarmTopic", "PermissionsBoundaryArn": "HasPermissionsBoundary"}
# The same of whole statements of policies.
OPTIONAL_STATEMENTS = {KEY_ARN: "HasTablesKmsKey"}

OUTPUTS = {
    "serviceRequestWorkflowArn": ("ServiceRequestWorkflowArn", "Service Request Workflow ARN"),
    "escrowManagementWorkflowArn": ("EscrowManagementWorkflowArn", "Escrow Management Workflow ARN"),
    "serviceRequestWorkflowRoleArn": ("StepFunctionsExecutionRoleArn", "ARN of ServiceRequestWorkflow's role"),
    "escrowManagementWorkflowRoleArn": (
        "EscrowManagementWorkflowRoleArn",
        "ARN of EscrowManagementWorkflow's role, another one",
    ),
    "eventBusName": ("EventBusName", "The bus that tells people what happened"),
    "functionNames": ("FunctionNames", "The functions' names, as JSON"),
}
# What of the program is not in a template, and why.
LEFT_OUT = {
    "protect": (
        "Pulumi refuses to delete the state machines of staging and prod; CloudFormation has a protection of the whole "
        "stack for that: aws cloudformation update-termination-protection --enable-termination-protection"
    ),
    "amplifyAuthRoleName": "browsers start requests by writing records; starting executions is offered by Pulumi alone",
    "appsyncEndpoint": "telling AppSync's subscribers is offered by Pulumi alone",
    "notifyFrom": "mailing people is offered by Pulumi alone; the bus is there for a consumer of your own",
    "tracing": "traces of X-Ray are offered by Pulumi alone",
    "table checks": "a template cannot look at tables: `hourbank doctor` does",
}


def record(tool: str, *, environment: str = "${Environment}", permissions_boundary: bool = True) -> Recording:
    """Record the program with the parameters of `PARAMETERS` in place of values.

    Parameters
    ----------
    tool
        What will deploy it: the tag `ManagedBy` of every resource.
    environment
        The placeholder of the environment, a part of every name.
    permissions_boundary
        Whether roles have the boundary `PermissionsBoundaryArn`.
    """

    def parameters(settings: Settings) -> Settings:
        values: dict[str, Any] = {
            "env": environment,
            "stack": "${AWS::StackName}",
            "managed_by": tool,
            "table_names": {key: f"${{{name}}}" for key, name in TABLE_NAMES.items()},
            "start_requests_from": "${StartRequestsFrom}",
            "response_timeout_seconds": "${ProviderResponseTimeoutSeconds}",
            "confirmation_days": "${ConfirmationDays}",
            "log_retention_days": "${LogRetentionDays}",
            "alarm_topic_arn": "${AlarmTopicArn}",
            "permissions_boundary_arn": "${PermissionsBoundaryArn}" if permissions_boundary else None,
        }
        return dataclasses.replace(settings, **values)

    return recorder.record("export", config=CONFIG, invokes={recorder.GET_TABLE: described}, settings=parameters)


def described(args: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a table whose name is a parameter."""
    told = {key: f"${{{parameter}}}" for key, parameter in TABLE_NAMES.items()}
    encrypted = {"enabled": True, "kmsKeyArn": f"${{{KEY_ARN}}}"}
    stream = f"${{{STREAM_ARN}}}"
    return recorder.table_that_serves(args["name"], told) | {"streamArn": stream, "serverSideEncryption": encrypted}


def template(
    recording: Recording,
    *,
    code: str | Mapping[str, Any],
    parameters: Mapping[str, Mapping[str, Any]] = PARAMETERS,
    forms: Mapping[str, Any] | None = None,
    conditions: Mapping[str, Any] | None = None,
    left_out: Mapping[str, str] = LEFT_OUT,
    retain: bool = False,
) -> dict[str, Any]:
    """Return the template of a recording that `record` made.

    Parameters
    ----------
    recording
        The program with placeholders.
    code
        Every function's `Code`: a local path, or where in S3 the archive is.
    parameters
        The template's parameters.
    forms
        What stands for a placeholder where that is not the parameter of its name, such as an `Fn::ImportValue`.
    conditions
        The conditions that `forms` need.
    left_out
        What of the program is not in the template, and why.
    retain
        Keep every resource when it leaves the template: before it is handed over to another tool.
    """
    optional = {name: has for name, has in OPTIONAL.items() if name in parameters}
    forms = {
        **{name: {"Fn::If": [has, {"Ref": name}, {"Ref": "AWS::NoValue"}]} for name, has in optional.items()},
        **(forms or {}),
    }
    made = cloudformation.assemble(recording, code=code, placeholders={*parameters, *forms})
    for part in made["Resources"].values():
        if part["Type"] == "AWS::Lambda::Version":
            count_attempts(made["Resources"][part["Properties"]["FunctionName"]["Ref"]])
            describe(part["Properties"], made["Resources"], {*parameters, *forms})
        if retain:
            # CloudFormation takes no update that changes DeletionPolicy alone
            part.update(cloudformation.retained(), Metadata={"HourBank": "kept for another tool"})
    outputs = {}
    for name, value in made["Outputs"].items():
        if name not in OUTPUTS:
            raise ValueError(f"the output {name} has no name in the template")
        output, description = OUTPUTS[name]
        outputs[output] = {"Description": description, **value}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "HourBank's Step Functions workflows beside an Amplify backend",
        "Metadata": {"HourBank": {"Recorded": len(recording.resources), "LeftOut": dict(left_out)}},
        "Parameters": {name: dict(declared) for name, declared in parameters.items()},
        "Conditions": {
            **{
                has: {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}
                for name, has in {**optional, **OPTIONAL_STATEMENTS}.items()
            },
            **(conditions or {}),
        },
        "Resources": replaced(with_optional_statements(made["Resources"]), forms),
        "Outputs": replaced(outputs, forms),
    }


def is_legal(declared: Mapping[str, Any], value: Any) -> bool:
    """Whether CloudFormation takes a value for a parameter, where it looks at no more than the template says."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    if declared["Type"] != "Number":
        return re.fullmatch(declared.get("AllowedPattern", ".*"), str(value), re.ASCII) is not None
    if not re.fullmatch(r"[0-9]{1,9}", str(value)):
        return False
    if allowed := declared.get("AllowedValues"):
        return int(value) in allowed
    return declared["MinValue"] <= int(value) <= declared["MaxValue"]


def with_optional_statements(value: Any) -> Any:
    """Let a policy speak of what may not be there only where it is."""
    if isinstance(value, list):
        return [with_optional_statements(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Effect" in value and (names := OPTIONAL_STATEMENTS.keys() & set(cloudformation.references(value))):
        (name,) = names
        return {"Fn::If": [OPTIONAL_STATEMENTS[name], value, {"Ref": "AWS::NoValue"}]}
    return {key: with_optional_statements(item) for key, item in value.items()}


def count_attempts(function: dict[str, Any]) -> None:
    """Make the attempt a part of what configures a function, so that another attempt publishes another version.

    An update that is rolled back leaves its versions, which executions that began meanwhile need. Lambda publishes
    nothing where code and configuration are those of the newest version, and CloudFormation fails then: the same update
    could not be tried again.
    https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
    """
    function["Properties"]["Environment"]["Variables"]["DEPLOYMENT_ATTEMPT"] = {"Ref": ATTEMPT}


def describe(version: dict[str, Any], resources: Mapping[str, Any], placeholders: set[str]) -> None:
    """Put the parameters that configure a function into its version's description, which replaces it when they change.

    The version's logical id changes with the code, but cannot with a parameter's value; and without a new version the
    workflows would call the function as it was configured before.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-version.html
    """
    environment = resources[version["FunctionName"]["Ref"]]["Properties"]["Environment"]
    named = sorted({name for name in cloudformation.references(environment) if name in placeholders})
    # the environment is in the function's name: another one makes another function
    if told := [name for name in named if name not in (ENVIRONMENT, "env")]:
        version["Description"] = {"Fn::Sub": " ".join(f"${{{name}}}" for name in told)}


def replaced(value: Any, forms: Mapping[str, Any]) -> Any:
    """Put what stands for a placeholder where the template refers to it."""
    if isinstance(value, list):
        return [replaced(item, forms) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(name := value.get("Ref"), str) and name in forms:
        return forms[name]
    if isinstance(text := value.get("Fn::Sub"), str):
        needed = {name: forms[name] for name in sorted(set(cloudformation.references(value))) if name in forms}
        return {"Fn::Sub": [text, needed]} if needed else value
    return {key: replaced(item, forms) for key, item in value.items()}


def archive() -> tuple[str, bytes]:
    """Return the functions' archive and its SHA-256 in hexadecimal."""
    content = cloudformation.archive_bytes()
    return hashlib.sha256(content).hexdigest(), content
