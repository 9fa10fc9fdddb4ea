"""The program as it would be deployed in an account: names and ARNs in place of the recording's placeholders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pulumi

from hourbank.account import doctor
from hourbank.account.checks import Account
from hourbank.account.stack import configuration
from hourbank.drawing.graph import Definition
from hourbank.errors import HourBankError
from hourbank.names import PROJECT, stack_name
from hourbank.program.configuration import stack_config
from hourbank.program.recorder import EXAMPLE

REFERENCE = re.compile(r"\$\{([^}]+)\}")
# A stack that nobody has: what can be asked before there is one.
NOBODYS = "verify"
# what an ARN has before the name, by the last part of a type
ARNS = {
    "EventBus": "events:{place}:event-bus/",
    "EventRule": "events:{place}:rule/",
    "Function": "lambda:{place}:function:",
    "Queue": "sqs:{place}:",
    "Role": "iam::{account}:role/",
    "StateMachine": "states:{place}:stateMachine:",
}


class Program:
    """What the program declares for a stack, in an account.

    Parameters
    ----------
    stack : str, optional
        One with a `Pulumi.<stack>.yaml`; without one, a stack that nobody has.

    Raises
    ------
    HourBankError
        There is no such stack, or the program refuses its configuration.
    """

    def __init__(self, stack: str | None, account: Account) -> None:
        self.stack, self.account = stack_name(stack or NOBODYS), account
        config: Mapping[str, str] = {**stack_config(NOBODYS), **EXAMPLE}
        if stack:
            told = configuration(stack)
            told.need(f"{PROJECT}:{key}" for key in ("tables", "amplifyApiId", "amplifyEnv"))
            config = told.values
        try:
            self.recording, self.tables = doctor.plan(self.stack, config, account)
        except pulumi.RunError as error:
            raise HourBankError(str(error)) from None

    @cached_property
    def values(self) -> Mapping[str, str]:
        """What each placeholder stands for."""
        arn = f"arn:{self.account.partition}:"
        place = {"place": f"{self.account.region}:{self.account.id}", "account": self.account.id}
        values = {
            "AWS::AccountId": self.account.id,
            "AWS::Partition": self.account.partition,
            "AWS::Region": self.account.region,
        }
        for resource in self.recording.resources:
            if (name := resource.inputs.get("name")) is None:
                continue
            kind = resource.type.rpartition(":")[2]
            own = arn + ARNS[kind].format_map(place) + name if kind in ARNS else name
            values |= {resource.logical_id: own if kind == "StateMachine" else name, f"{resource.logical_id}.Arn": own}
            if resource.version_id:
                values[resource.version_id] = f"{own}:1"
        return values

    def resolve(self, text: str) -> str:
        """Return a text as AWS would get it."""
        return REFERENCE.sub(lambda match: self.values[match[1]], text)

    @cached_property
    def definitions(self) -> Mapping[str, str]:
        """The state machines' definitions as they would be deployed, by the machine's name on AWS."""
        machines = self.recording.of_type("StateMachine")
        return {machine.inputs["name"]: self.resolve(machine.inputs["definition"]) for machine in machines}

    def machine(self, name: str) -> str:
        """Return the ARN of a state machine."""
        return f"arn:{self.account.partition}:states:{self.account.region}:{self.account.id}:stateMachine:{name}"

    @cached_property
    def filters(self) -> list[str]:
        """The patterns of the stream's filters."""
        (mapping,) = self.recording.of_type("EventSourceMapping")
        return [one["pattern"] for one in mapping.inputs["filterCriteria"]["filters"]]

    @cached_property
    def roles(self) -> set[str]:
        """The ARNs of the program's own roles."""
        return {self.values[f"{role.logical_id}.Arn"] for role in self.recording.of_type("Role")}

    def statements(self) -> dict[str, list[dict[str, Any]]]:
        """The statements of each role's policies, by the role's ARN."""
        found: dict[str, list[dict[str, Any]]] = {}
        for policy in self.recording.of_type("RolePolicy"):
            role = self.values.get(f"{policy.inputs['role'].removeprefix('${').removesuffix('}')}.Arn")
            role = role or f"arn:{self.account.partition}:iam::{self.account.id}:role/{policy.inputs['role']}"
            found.setdefault(role, []).extend(json.loads(self.resolve(policy.inputs["policy"]))["Statement"])
        return found


def read(definition: str) -> Definition:
    """Return a definition's text as what `hourbank.drawing.graph` reads."""
    parsed: Definition = json.loads(definition)
    return parsed
