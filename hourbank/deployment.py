"""A local deployment as seen from outside: the emulator's endpoint, the names in it, and what has been executed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hourbank import emulator


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
        for output in ("serviceRequestWorkflowArn", "escrowManagementWorkflowArn"):
            pages = states.get_paginator("list_executions").paginate(stateMachineArn=self.outputs[output])
            for execution in [execution for page in pages for execution in page["executions"]]:
                # by input: a name need not have the id in it, as it is or at all
                description = states.describe_execution(executionArn=execution["executionArn"])
                if json.loads(description["input"]).get("requestId") == request_id:
                    found.append(description | {"machine": self.outputs[output].rpartition(":")[2]})
        return sorted(found, key=lambda execution: execution["startDate"])

    def path(self, execution_arn: str) -> list[str]:
        """Return the names of the states that an execution entered, in order."""
        history = self.client("stepfunctions").get_paginator("get_execution_history")
        events = [event for page in history.paginate(executionArn=execution_arn) for event in page["events"]]
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]

    def to_json(self) -> dict[str, Any]:
        """Return what `Deployment(**...)` takes, for a file."""
        return asdict(self)
