"""The functions that the workflows call, and the one that the app's backend calls: what each may do and is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.archive import handler_archive
from components.event_bus import EventBus
from components.models import MODELS
from components.settings import Settings
from components.tables import Table, decryption
from components.workflow_function import WorkflowFunction

# A transaction has no action of its own in IAM: it needs that of each item it touches.
GET = "dynamodb:GetItem"
PUT = "dynamodb:PutItem"
UPDATE = "dynamodb:UpdateItem"
CHECK = "dynamodb:ConditionCheckItem"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What one function does, and so what it may do and is told: the one declaration of both."""

    request: tuple[str, ...] = ()
    escrow: tuple[str, ...] = ()
    balance: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    events: bool = False
    """It tells people, by an event on the bus."""
    timeouts: bool = False
    """It decides how long people have; the workflow reads it from its result."""
    executions: bool = False
    """It looks whether an execution still runs: an operator decides only about hours whose own runs no more."""
    errors_threshold: int = 1

    @property
    def tables(self) -> dict[str, tuple[str, ...]]:
        by_table = {
            "serviceRequest": self.request,
            "escrow": self.escrow,
            "userBalance": self.balance,
            "transactionLog": self.log,
        }
        return {table: actions for table, actions in by_table.items() if actions}


# These say no to people by raising a typed error, which Lambda counts as one of the function's: their alarm is for a
# flood of them. A technical failure also shows at the workflow, whose alarms go off at the first.
REFUSALS = 20

ACCESS = {
    "validateServiceRequest": Access(
        request=(GET, UPDATE), escrow=(GET,), balance=(GET,), timeouts=True, errors_threshold=REFUSALS
    ),
    "createEscrow": Access(
        request=(GET, UPDATE), escrow=(GET, PUT), balance=(GET, UPDATE), log=(PUT,), errors_threshold=REFUSALS
    ),
    "notifyProvider": Access(request=(GET, UPDATE), events=True),
    "processNegotiation": Access(request=(GET, UPDATE), events=True, errors_threshold=REFUSALS),
    "adjustEscrow": Access(
        request=(GET, CHECK), escrow=(GET, UPDATE), balance=(GET, UPDATE), log=(PUT,), errors_threshold=REFUSALS
    ),
    "startServiceExecution": Access(request=(GET, UPDATE), events=True),
    "refundEscrow": Access(
        request=(GET, UPDATE, CHECK), escrow=(GET, UPDATE, CHECK), balance=(GET, UPDATE), log=(PUT,), events=True
    ),
    "timeoutRequest": Access(
        request=(GET, UPDATE, CHECK), escrow=(GET, UPDATE, CHECK), balance=(GET, UPDATE), log=(PUT,), events=True
    ),
    "rejectRequest": Access(
        request=(GET, UPDATE, CHECK), escrow=(GET, UPDATE, CHECK), balance=(GET, UPDATE), log=(PUT,), events=True
    ),
    "validateEscrowRelease": Access(request=(GET,), escrow=(GET,), executions=True),
    "processEscrowRelease": Access(
        request=(GET, UPDATE), escrow=(GET, UPDATE), balance=(GET, UPDATE), log=(PUT,), events=True
    ),
    # No workflow's: whoever may invoke it gives hours, so no resource policy lets anybody in. docs/app/first-hours.md
    "grantHours": Access(balance=(GET, UPDATE), log=(GET, PUT)),
}


def workflow_functions(settings: Settings, tables: Mapping[str, Table], bus: EventBus) -> dict[str, WorkflowFunction]:
    """The functions by name, such as ``createEscrow``."""
    code = handler_archive()
    timeouts = {
        "PROVIDER_RESPONSE_TIMEOUT_SECONDS": str(settings.response_timeout_seconds),
        "MINIMUM_RESPONSE_TIMEOUT_SECONDS": str(settings.minimum_response_timeout_seconds),
    }
    look_at_executions = {
        "Effect": "Allow",
        "Action": "states:DescribeExecution",
        "Resource": settings.arn("states", f"execution:ServiceRequestWorkflow-{settings.env}:*"),
    }
    functions = {}
    for name, access in ACCESS.items():
        statements: list[Mapping[str, Any]] = [
            {"Effect": "Allow", "Action": list(actions), "Resource": tables[table].arn}
            for table, actions in access.tables.items()
        ]
        statements += decryption(settings, *(tables[table] for table in access.tables))
        environment: dict[str, pulumi.Input[str]] = {
            MODELS[table].variable: tables[table].name for table in access.tables
        }
        if access.events:
            statements.append({"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus.arn})
            environment["EVENT_BUS_NAME"] = bus.name
        if access.timeouts:
            environment |= timeouts
        if access.executions:
            statements.append(look_at_executions)
        functions[name] = WorkflowFunction(
            name,
            {
                "settings": settings,
                "code": code,
                "statements": statements,
                "environment": environment,
                "errors_threshold": access.errors_threshold,
            },
        )
    return functions
