"""A local deployment as seen from outside: the emulator's endpoint, the names in it, and what has been executed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, execution_name
from hourbank.local import emulator
from hourbank.names import execution_arn, workflow_name

# What begins the names of a machine's executions, by the stack's output that has the machine.
MACHINES = {"serviceRequestWorkflowArn": REQUEST_PREFIX, "escrowManagementWorkflowArn": RELEASE_PREFIX}

# AppSync's place in a local run: what the stack is told, and the queue to which its rule brings events instead
APPSYNC_ENDPOINT = f"https://local.appsync-api.{emulator.REGION}.amazonaws.com/graphql"
APPSYNC_QUEUE = "hourbank-appsync-local"


@dataclass(frozen=True)
class Deployment:
    """What was deployed, and where.

    Attributes
    ----------
    endpoint : str
        The emulator's.
    tables : dict
        Names by serviceRequest, escrow, userBalance, transactionLog.
    outputs : dict
        The stack's outputs.
    credentials : sequence of str
        Access key and secret of `client`.
    """

    endpoint: str
    tables: dict[str, str]
    outputs: dict[str, str]
    credentials: Sequence[str] = emulator.ANYBODY

    def client(self, service: str) -> Any:
        """Return a client of a service of the emulator."""
        return emulator.client(self.endpoint, service, *self.credentials)

    def executions(self, request_id: str) -> list[dict[str, Any]]:
        """Return the executions of a request, of both machines, oldest first.

        Each has `machine` and what DescribeExecution says: executionArn, status, input, output, error, cause.
        """
        states = self.client("stepfunctions")
        found = []
        for output in MACHINES:
            pages = states.get_paginator("list_executions").paginate(stateMachineArn=self.outputs[output])
            for execution in [execution for page in pages for execution in page["executions"]]:
                # by input: a name need not have the id in it, as it is or at all
                description = states.describe_execution(executionArn=execution["executionArn"])
                if json.loads(description["input"]).get("requestId") == request_id:
                    found.append(description | {"machine": self.outputs[output].rpartition(":")[2]})
        return sorted(found, key=lambda execution: execution["startDate"])

    def named_executions(self, request_id: str) -> list[dict[str, Any]]:
        """Return those of `executions` that have the request's names: few calls, however many executions there are.

        The router and `hourbank settle` give these names, one after the other.
        """
        states = self.client("stepfunctions")
        found = []
        for output, prefix in MACHINES.items():
            machine = self.outputs[output]
            for number in itertools.count(1):
                name = execution_name(prefix, request_id, number)
                arn = execution_arn(machine, name)
                try:
                    description = states.describe_execution(executionArn=arn)
                except states.exceptions.ExecutionDoesNotExist:
                    break
                found.append(description | {"machine": machine.rpartition(":")[2]})
        return sorted(found, key=lambda execution: execution["startDate"])

    def history(self, execution_arn: str) -> list[dict[str, Any]]:
        """Return an execution's events, oldest first; a waiting state's has its task token in it."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution_arn)
        return [event for page in pages for event in page["events"]]

    def path(self, execution_arn: str) -> list[str]:
        """Return the names of the states that an execution entered, in order."""
        return [name for name, _ in entered(self.history(execution_arn))]

    def ways(self, request_id: str) -> list[tuple[str, list[str], str]]:
        """Return of each execution of a request, oldest first: its workflow, the states that it entered, its status."""
        return [
            (workflow_name(execution["machine"]), self.path(execution["executionArn"]), execution["status"])
            for execution in self.executions(request_id)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what `Deployment(**...)` takes, for a file."""
        return asdict(self)


def entered(events: Iterable[dict[str, Any]]) -> list[tuple[str, datetime]]:
    """Return the states that events of a history enter, in order: their names, and when."""
    return [
        (event["stateEnteredEventDetails"]["name"], event["timestamp"])
        for event in events
        if "stateEnteredEventDetails" in event
    ]
