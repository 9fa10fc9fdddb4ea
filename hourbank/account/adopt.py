"""The file with which `pulumi import` takes over what a template of ours made: types, names and ids.

What is to be taken over is what the program declares, so the recording says it; the ids are the names in it, but for a
queue's URL and a mapping's UUID, which only AWS knows.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pulumi

from hourbank.account.checks import Account
from hourbank.account.stack import configuration, errors_in_words, reach
from hourbank.errors import HourBankError
from hourbank.names import PROJECT, stack_name
from hourbank.program.recorder import Recording, Resource, record
from hourbank.program.resource_types import RESOURCE_TYPES

REFERENCE = re.compile(r"\$\{([^}]+)\}")


def write(out: Path, stack: str, region: str | None) -> int:
    """Write the file for a stack, and return how many resources it names.

    Raises
    ------
    HourBankError
        One line: there is no such stack, the program refuses its configuration, something to adopt is not there, or the
        file cannot be written.
    """
    config, env = configuration(stack), stack_name(stack)
    # these decide what there is to adopt
    if config.environments:
        for key in ("appsyncEndpoint", "notifyFrom", "amplifyAuthRoleName"):
            if f"{PROJECT}:{key}" not in config.own:
                where = f"may come from {' and '.join(config.environments)} of Pulumi ESC, which only Pulumi can open"
                raise HourBankError(
                    f"{PROJECT}:{key} {where}: set it in Pulumi.{env}.yaml, to nothing if there is none"
                )
    # where Pulumi imports from
    if not region:
        config.need(["aws:region"])
    configured = config.values.get("aws:region")
    if region and configured and region != configured:
        raise HourBankError(f"stack {stack} is in {configured} (aws:region), not in {region}: leave --region out")
    try:
        recording = record(env, config=config.for_recording)
    except pulumi.RunError as error:
        raise HourBankError(str(error)) from None
    with errors_in_words():
        _, _, led = reach(stack, region)
        placeholders = Placeholders(recording)
        account, place, partition = (placeholders.values[f"AWS::{one}"] for one in ("AccountId", "Region", "Partition"))
        print(Account(account, place, partition, led), file=sys.stderr)
        made = imports(recording, placeholders)
    try:
        out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise HourBankError(f"{out} cannot be written: {error.strerror}") from None
    return len(recording.resources)


def imports(recording: Recording, placeholders: Placeholders) -> dict[str, Any]:
    """Return the import file; https://www.pulumi.com/docs/iac/guides/migration/import/ describes it.

    A component and a part of it can have one name, so each is known here by its type too.
    """
    known = {urn: f"{part.type} {part.name}" for urn, part in recording.components.items()}
    components = [
        entry(part.type, part.name, known.get(part.parent or "")) | {"component": True}
        for part in recording.components.values()
    ]
    resources = [
        entry(part.type, part.name, known.get(part.parent or "")) | {"id": placeholders.import_id(part)}
        for part in recording.resources
    ]
    return {"resources": components + resources}


def entry(type_: str, name: str, parent: str | None) -> dict[str, Any]:
    return {
        "type": type_,
        "name": f"{type_} {name}",
        "logicalName": name,
        **({"parent": parent} if parent else {}),
    }


class Placeholders:
    """What the recording's placeholders stand for in an account and region."""

    def __init__(self, recording: Recording) -> None:
        identity = boto3.client("sts").get_caller_identity()
        self.values = {
            "AWS::AccountId": identity["Account"],
            "AWS::Partition": identity["Arn"].split(":")[1],
            "AWS::Region": boto3.client("lambda").meta.region_name,
        }
        # every resource that another refers to has its name as an input
        self.values |= {
            name: part.inputs["name"]
            for part in recording.resources
            if "name" in part.inputs
            # where AWS is asked for a function or a queue, a name is as good as an ARN or a URL
            for name in (part.logical_id, *(f"{part.logical_id}.{of}" for of in ("Arn", "Name", "QueueName")))
        }

    def resolve(self, text: str) -> str:
        """Return a text with names in place of placeholders."""
        while (after := REFERENCE.sub(lambda match: self.values[match[1]], text)) != text:
            text = after
        return text

    def import_id(self, part: Resource) -> str:
        """Return the id that the provider's documentation asks for.

        Raises
        ------
        HourBankError
            The resource is not there, or the type has no id that is known here.
        """
        form = RESOURCE_TYPES.get(part.type)
        if not form:
            raise HourBankError(f"{part.name}: it is not known by which id {part.type} is imported")
        return self.resolve(form.import_id.format_map(Answers(self, {**form.defaults, **part.inputs})))


@dataclass(frozen=True)
class Answers:
    """A resource's inputs, and what AWS alone knows of one: `url of name`, `uuid of functionName`."""

    placeholders: Placeholders
    inputs: Mapping[str, Any]

    def __getitem__(self, key: str) -> str:
        question, _, name = key.rpartition(" of ")
        ask = {"": str, "url": queue_url, "uuid": mapping_uuid}[question]
        return ask(self.placeholders.resolve(self.inputs[name]))


def queue_url(name: str) -> str:
    sqs = boto3.client("sqs")
    try:
        url: str = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        raise HourBankError(f"there is no queue {name} in {sqs.meta.region_name}: see --stack and --region") from None
    return url


def mapping_uuid(function: str) -> str:
    client = boto3.client("lambda")
    mappings = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    if len(mappings) != 1:
        raise HourBankError(
            f"{function} in {client.meta.region_name} reads {len(mappings)} streams, not 1: "
            "see --stack and --region, or delete the mappings that are not of its template"
        )
    uuid: str = mappings[0]["UUID"]
    return uuid
