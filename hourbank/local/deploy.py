"""The local deployment: the CloudFormation template of the recorded program, deployed to the emulator.

Everything in which the emulator differs from AWS, and for which the template is therefore changed, is in `DIFFERENCES`;
what a function's process does differently is in `hourbank.local.processes.lambda_runtime`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import botocore.exceptions
import pulumi

from components.models import MODELS
from hourbank.errors import HourBankError
from hourbank.local import people
from hourbank.local.deployment import APPSYNC_QUEUE, Deployment
from hourbank.local.emulator import Emulator
from hourbank.local.functions import FunctionFailed, invoked
from hourbank.local.patience import Patience
from hourbank.local.processes import lambda_runtime
from hourbank.names import ROOT
from hourbank.program import cloudformation, recorder
from hourbank.program.configuration import stack_config

STACK = "local"
BUCKET = "hourbank-local-code"
ENDLESS_SECONDS = 24 * 3600
Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that the emulator does otherwise than AWS."""

    what: str
    """What is changed in the template."""
    why: str
    """What the emulator does without the change."""
    type: str
    """The resources concerned, by CloudFormation's type."""
    apply: Callable[[Properties], None]
    """Changes a resource's properties."""


def own_runtime(function: Properties) -> None:
    function["Runtime"] = "provided.al2023"


def missing_attributes(mapping: Properties) -> None:
    filters = mapping.get("FilterCriteria", {}).get("Filters", [])
    for pattern in [json.loads(one["Pattern"]) for one in filters]:
        image = pattern["dynamodb"]["NewImage"]
        if optional := [name for name, types in image.items() if {"exists": False} in types.get("S", [])]:
            image |= {name: [{"exists": False}] for name in optional}
            filters.append({"Pattern": json.dumps(pattern)})


def queue_for_appsync(rule: Properties) -> None:
    for target in rule["Targets"]:
        if target.pop("AppSyncParameters", None):
            target["Arn"] = {"Fn::Sub": f"arn:aws:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{APPSYNC_QUEUE}"}


DIFFERENCES = (
    Difference(
        what="runs on provided.al2023, with a bootstrap in the archive that starts "
        "hourbank/local/processes/lambda_runtime.py",
        why="its Python runner calls every exception Runtime.HandlerError, which no Retry or Catch names",
        type="AWS::Lambda::Function",
        apply=own_runtime,
    ),
    Difference(
        what="a filter on a status that is not there stands beside the one on a status without a string",
        why='it matches {"S": [{"exists": false}]} where the attribute is NULL, not where it is missing',
        type="AWS::Lambda::EventSourceMapping",
        apply=missing_attributes,
    ),
    Difference(
        what="a queue gets what a rule would give AppSync's mutation, and hourbank/local/page/realtime.py gives it on",
        why="its rules do not call its AppSync, which has no subscriptions",
        type="AWS::Events::Rule",
        apply=queue_for_appsync,
    ),
)


def no_function_s_time_out(function: Properties) -> None:
    function["Timeout"] = ENDLESS_SECONDS


def no_state_s_time_out(machine: Properties) -> None:
    text = json.dumps(machine["Definition"])
    machine["Definition"] = json.loads(re.sub(r'("TimeoutSeconds": )\d+', rf"\g<1>{ENDLESS_SECONDS}", text))


# What a debugger needs beside them.
DEBUGGED = (
    Difference(
        what="functions have a day",
        why="it ends a function whose time is over, also one that somebody has stopped to look at",
        type="AWS::Lambda::Function",
        apply=no_function_s_time_out,
    ),
    Difference(
        what="states have a day, but for those that wait for people",
        why="it goes on without a function that does not answer in time",
        type="AWS::StepFunctions::StateMachine",
        apply=no_state_s_time_out,
    ),
)


def create_tables(emulator: Emulator) -> dict[str, str]:
    """Create the four tables as Amplify would, where they are not there yet, and return their names."""
    try:
        config = stack_config(STACK)
    except pulumi.RunError as error:
        raise HourBankError(f"the program refuses the stack {STACK}: {error}") from None
    dynamodb = emulator.client("dynamodb")
    names = {}
    for key, model in MODELS.items():
        names[key] = f"{model.name}-{config.get('hourbank:amplifyApiId')}-{config.get('hourbank:amplifyEnv')}"
        try:
            dynamodb.create_table(
                TableName=names[key],
                **model.keys(),
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            )
        except dynamodb.exceptions.ResourceInUseException:
            continue
    return names


def deploy(
    emulator: Emulator,
    *,
    response_timeout_seconds: int = 15 * 60,
    config: Mapping[str, str] | None = None,
    meter: Path | None = None,
    debugger: Path | None = None,
) -> Deployment:
    """Deploy what the program declares for the stack `local`, or update what is deployed already.

    Parameters
    ----------
    emulator : Emulator
        A running one.
    response_timeout_seconds : int
        How long people have to answer a request that does not say it itself.
    config : mapping, optional
        Configuration that replaces the stack's own, by full key such as `hourbank:startRequestsFrom`.
    meter : Path, optional
        A file to which the functions add what each invocation uses (`hourbank.local.processes.meter`).
    debugger : Path, optional
        A file by which functions find a debugger (`hourbank.local.develop.debugger`), whom no time-out interrupts then.

    Raises
    ------
    HourBankError
        If the program or the emulator refuses: one line that says what and why.
    """
    tables = create_tables(emulator)
    config = {"hourbank:providerResponseTimeoutSeconds": str(response_timeout_seconds), **(config or {})}
    try:
        recording = recorder.record(
            STACK, config=config, invokes={recorder.GET_TABLE: lambda args: _describe_table(emulator, args["name"])}
        )
    except pulumi.RunError as error:
        raise HourBankError(f"the program refuses the stack {STACK}: {error}") from error
    key = upload(emulator, cloudformation.archive_bytes({"bootstrap": bootstrap(meter, debugger).encode()}))
    differences = (*DIFFERENCES, *DEBUGGED) if debugger else DIFFERENCES
    template = adapt(cloudformation.template(recording, bucket=BUCKET, key=key), differences)
    outputs = apply(emulator, template)
    return Deployment(endpoint=emulator.endpoint, tables=tables, outputs=outputs, credentials=emulator.credentials)


def start_a_function(deployment: Deployment) -> None:
    """Let the router handle a removal, which it ignores: where no function starts, people would wait in vain.

    Raises
    ------
    HourBankError
        If it could not be started, with the reason.
    """
    removal = {"eventID": "0", "eventSource": "aws:dynamodb", "dynamodb": {"SequenceNumber": "0"}}
    try:
        invoked(deployment.client("lambda"), f"hourbank-routeServiceRequest-{STACK}", {"Records": [removal]})
    except FunctionFailed as failed:
        raise HourBankError(f"no function can be started on this machine: {failed}") from None


def grant_hours(deployment: Deployment, balances: Mapping[str, Decimal]) -> None:
    """Let the bank give people their first hours, as the app's backend does at a sign-up."""
    people.grant_hours(deployment.client("lambda"), STACK, balances)


def adapt(template: dict[str, Any], differences: Iterable[Difference] = DIFFERENCES) -> dict[str, Any]:
    """Apply differences to a template, in place, and return it."""
    for difference in differences:
        concerned = [one for one in template["Resources"].values() if one["Type"] == difference.type]
        for resource in concerned:
            difference.apply(resource["Properties"])
    return template


def bootstrap(meter: Path | None = None, debugger: Path | None = None) -> str:
    """Return the executable that the emulator starts for each Lambda process.

    Handlers and Powertools come from the archive; boto3 from this environment, as from Lambda's own runtime.
    """
    python, runtime = shlex.quote(sys.executable), Path(lambda_runtime.__file__)
    told = {"HOURBANK_METER": str(meter)} if meter else {}
    if debugger:
        told |= {
            "HOURBANK_DEBUGGER": str(debugger),
            "HOURBANK_SOURCE": str(ROOT),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())
    # a copy of another process would be measured, or debugged, with what the other one did
    program = shlex.quote(str(runtime if told else runtime.with_name("prefork.py")))
    return f"""#!/bin/sh
{exports}exec {python} -P{"" if told else " -S"} {program}
"""


def _describe_table(emulator: Emulator, name: str) -> dict[str, Any]:
    """Answer Pulumi's getTable from the emulator."""
    table = emulator.client("dynamodb").describe_table(TableName=name)["Table"]
    stream = table.get("StreamSpecification", {})
    return {
        "name": name,
        "arn": table["TableArn"],
        "hashKey": next(key["AttributeName"] for key in table["KeySchema"] if key["KeyType"] == "HASH"),
        "attributes": [
            {"name": attribute["AttributeName"], "type": attribute["AttributeType"]}
            for attribute in table["AttributeDefinitions"]
        ],
        "streamArn": table.get("LatestStreamArn", ""),
        "streamEnabled": stream.get("StreamEnabled", False),
        "streamViewType": stream.get("StreamViewType", ""),
    }


def upload(emulator: Emulator, content: bytes) -> str:
    """Put something into the bucket `BUCKET` and return its key, which changes with the content."""
    emulator.client("s3").create_bucket(Bucket=BUCKET)
    key = hashlib.sha256(content).hexdigest()
    emulator.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)
    return key


def apply(
    emulator: Emulator,
    template: dict[str, Any],
    *,
    name: str = f"hourbank-{STACK}",
    parameters: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Create or update a stack, wait for it, and return its outputs.

    Raises
    ------
    HourBankError
        If the emulator refuses: one line that says what and why.
    """
    stacks = emulator.client("cloudformation")
    exists = any(stack["StackName"] == name for stack in stacks.describe_stacks()["Stacks"])
    change = stacks.update_stack if exists else stacks.create_stack
    failed_before = len(list(_failures(stacks, name))) if exists else 0
    # by URL: a template of more than 51,200 bytes is not taken by value
    url = f"{emulator.endpoint}/{BUCKET}/{upload(emulator, json.dumps(template).encode())}"
    values = [{"ParameterKey": key, "ParameterValue": value} for key, value in (parameters or {}).items()]
    try:
        change(StackName=name, TemplateURL=url, Parameters=values, Capabilities=["CAPABILITY_NAMED_IAM"])
    except botocore.exceptions.ClientError as error:
        if exists and "No updates are to be performed" in str(error):
            return _outputs(stacks.describe_stacks(StackName=name)["Stacks"][0])
        raise HourBankError(f"the emulator refuses the template: {str(error)[:500]}") from error
    patience = Patience()
    while True:
        stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
        if stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return _outputs(stack)
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            reason = next(itertools.islice(_failures(stacks, name), failed_before, None), stack["StackStatus"])
            raise HourBankError(f"the emulator refuses the deployment: {reason}")
        if patience.is_over(len(stacks.describe_stack_events(StackName=name)["StackEvents"])):
            raise HourBankError(f"the emulator deploys nothing any more: {emulator.last_words()}")
        time.sleep(0.05)


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _failures(stacks: Any, name: str) -> Iterator[str]:
    """What failed, in order, through all changes of the stack."""
    pages = stacks.get_paginator("describe_stack_events").paginate(StackName=name)
    for event in reversed([one for page in pages for one in page["StackEvents"]]):
        if event["ResourceStatus"].endswith("_FAILED"):
            yield f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
