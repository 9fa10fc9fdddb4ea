"""What the program deploys, as a world of the simulator has it: names, environments, rights, filters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from components.models import MODELS
from handlers.bank import errors
from hourbank.program import recorder

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUS = "hourbank-event-bus-test"
TABLES = {model.name: f"{model.name}-api-test" for model in MODELS.values()}
KEYS = {TABLES[model.name]: model.hash_key for model in MODELS.values()}
SEVEN_DAYS = 7 * 24 * 3600
REFUSALS = frozenset(refusal.__name__ for refusal in errors.Refusal.__subclasses__())


def function_arn(name: str, version: int = 1) -> str:
    """Return the ARN of a version of the function `name` (camelCase)."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hourbank-{name}-test:{version}"


def function_of(arn: str) -> str:
    """Return the name (camelCase) of the function that an ARN names."""
    return arn.split(":")[6].removeprefix("hourbank-").removesuffix("-test")


def machine_arn(name: str) -> str:
    """Return the ARN of the state machine `name` (such as ServiceRequestWorkflow)."""
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}-test"


def snake_case(name: str) -> str:
    """Return the file name of a function: `createEscrow` lives in `create_escrow.py`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# in place of what a stack configures; other variables are as recorded
VALUES = {
    **{model.variable: TABLES[model.name] for model in MODELS.values()},
    "EVENT_BUS_NAME": BUS,
    "PROVIDER_RESPONSE_TIMEOUT_SECONDS": str(SEVEN_DAYS),
    "MINIMUM_RESPONSE_TIMEOUT_SECONDS": "60",
    "START_REQUESTS_FROM": "2026-01-01T00:00:00Z",
    "SERVICE_REQUEST_WORKFLOW_ARN": machine_arn("ServiceRequestWorkflow"),
    "ESCROW_MANAGEMENT_WORKFLOW_ARN": machine_arn("EscrowManagementWorkflow"),
    "POWERTOOLS_SERVICE_NAME": "hourbank-test",
    "POWERTOOLS_METRICS_NAMESPACE": "HourBank",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}


def definition_of(workflow: ModuleType) -> dict[str, Any]:
    """Return the definition that a module of `workflows` makes of exact versions of its functions."""
    return workflow.definition(functions={name: function_arn(name) for name in workflow.FUNCTIONS})


@dataclass(frozen=True)
class DeployedProgram:
    """What the program says about its functions and its stream, as a recording of stack `dev` has it."""

    environment: dict[str, dict[str, str]]
    timeout_seconds: dict[str, int]
    permissions: dict[str, set[tuple[str, str]]]
    filters: list[dict[str, Any]]
    mapping: dict[str, Any]
    """The inputs of the event source mapping."""


@cache
def recorded() -> DeployedProgram:
    """Return what the program deploys; evaluating it takes a second, once a process."""
    recording = recorder.record("dev", config=recorder.EXAMPLE)
    functions = {function.name: function.inputs for function in recording.of_type("Function")}
    [mapping] = recording.of_type("EventSourceMapping")
    return DeployedProgram(
        environment={
            name: {key: VALUES.get(key, value) for key, value in inputs["environment"]["variables"].items()}
            for name, inputs in functions.items()
        },
        timeout_seconds={name: inputs["timeout"] for name, inputs in functions.items()},
        permissions={
            name: {
                (action, _subject(resource))
                for statement in json.loads(recording.named(f"{name}-policy").inputs["policy"])["Statement"]
                for action in _list(statement["Action"])
                for resource in _list(statement["Resource"])
            }
            for name in functions
        },
        filters=[json.loads(given["pattern"]) for given in mapping.inputs["filterCriteria"]["filters"]],
        mapping=dict(mapping.inputs),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _subject(resource: str) -> str:
    """Return the model of a table's ARN or name, and nothing for anything else."""
    return next((name for name in TABLES if re.search(rf"(^|/){name}-[^/]*$", resource)), "")


def needed(service: str, operation: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a role must allow for a call to AWS, as (action, model)."""
    if service == "dynamodb" and operation in ("TransactGetItems", "TransactWriteItems"):
        for item in parameters["TransactItems"]:
            [(kind, access)] = item.items()
            yield f"dynamodb:{kind}Item", _subject(access["TableName"])
    elif operation == "BatchGetItem":
        yield from (("dynamodb:BatchGetItem", _subject(table)) for table in parameters["RequestItems"])
    elif service == "dynamodb":
        yield f"dynamodb:{operation}", _subject(parameters["TableName"])
    else:
        yield f"{'states' if service == 'stepfunctions' else service}:{operation}", ""
