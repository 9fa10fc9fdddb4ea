"""The execution that a handler works for, and the names that executions may have."""

import hashlib
import json
import re
from typing import Any, NamedTuple, TypeGuard

from botocore.exceptions import ClientError

from handlers.aws import dynamodb
from handlers.aws.dynamodb import client

REQUEST_PREFIX = "service-request-"
RELEASE_PREFIX = "escrow-release-"
LAST_NUMBER = 9999
# The status of what Step Functions knows no execution for.
UNKNOWN = "unknown"
_LONGEST_NAME = 80
# Each Task passes the input on: one near Step Functions' 262,144 bytes would fail a state that comes after the hold.
_LONGEST_INPUT = 65_536
# The last two: the ARN of what can be no execution.
_NO_EXECUTION = ("ExecutionDoesNotExist", "InvalidArn", "ValidationException")
_LONGEST_ARN = 256


def described(execution_arn: Any) -> dict[str, Any]:
    """What Step Functions says of an execution; its status is ``unknown`` where it knows none.

    It forgets what has ended after 90 days, and what stands in a record may be no ARN at all.
    """
    if isinstance(execution_arn, str) and 0 < len(execution_arn) <= _LONGEST_ARN:
        try:
            return client("stepfunctions").describe_execution(executionArn=execution_arn)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_EXECUTION:
                raise
    return {"status": UNKNOWN}


def given_to(execution_input: str | None) -> dict[str, Any]:
    """An execution's input; empty where it is no object, or one that Python does not read.

    Whoever may start executions may give them a whole number of thousands of digits, or ten thousand brackets.
    """
    try:
        given = json.loads(execution_input or "{}")
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


class Order(NamedTuple):
    """An operator's word on hours that the workflows could not settle: any JSON values until they were checked."""

    decision: Any
    by: Any
    reason: Any


class Execution(NamedTuple):
    """What a Task passes on from Step Functions' context object.

    ``attempt`` grows with each redrive, and within one with each retry of the state.
    """

    arn: str
    name: str
    input: dict[str, Any]
    state: str
    attempt: int

    @classmethod
    def of(cls, event: dict[str, Any]) -> "Execution":
        execution, state = event["execution"], event["state"]
        given = execution.get("Input")
        return cls(
            arn=execution["Id"],
            name=execution["Name"],
            input=given if isinstance(given, dict) else {},
            state=state["Name"],
            # RedriveCount is there only once an execution was redriven.
            attempt=execution.get("RedriveCount", 0) * 1_000_000 + state.get("RetryCount", 0),
        )

    @property
    def request_id(self) -> Any:
        """The id as it was given: any JSON value, or None."""
        return self.input.get("requestId")

    @property
    def order(self) -> Order | None:
        """What an operator starts the release workflow with; the router never gives a decision."""
        if "decision" not in self.input:
            return None
        return Order(self.input["decision"], self.input.get("by"), self.input.get("reason"))

    def is_beside(self, execution_arn: Any) -> TypeGuard[str]:
        """Whether an execution is of the request workflow beside this one of the release workflow."""
        machine = self.arn.rpartition(":")[0].replace(":EscrowManagementWorkflow-", ":ServiceRequestWorkflow-")
        return isinstance(execution_arn, str) and execution_arn.startswith(f"{machine}:")

    def is_named_after_request(self) -> bool:
        """Whether this execution of the request workflow may speak for its request: its name says so.

        One that was given `states`, the workflow's own field, may not: it would find results that no state left there.
        Nor may one whose input is so large that a later state could not take it.
        """
        if not dynamodb.is_key(self.request_id) or "states" in self.input:
            return False
        if not _is_short(self.input):
            return False
        number = re.search(r"-([1-9]\d{0,3})$", self.name)
        return self.name in (
            execution_name(REQUEST_PREFIX, self.request_id),
            execution_name(REQUEST_PREFIX, self.request_id, int(number[1]) if number else 1),
        )


def _is_short(given: dict[str, Any]) -> bool:
    try:
        return len(json.dumps(given)) <= _LONGEST_INPUT
    except ValueError:  # a whole number of thousands of digits, which Python does not write
        return False


def execution_name(prefix: str, request_id: str, number: int = 1) -> str:
    """The name of a request's n-th execution: ``service-request-<id>``, ``service-request-<id>-2``, ...

    The id is hashed where the name would be illegal, longer than 80 characters, or could be read as another id's n-th
    or as another id's hash: no two ids share a name.
    Names with other characters are legal for an execution but not for its logs:
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    suffix = f"-{number}" if number > 1 else ""
    name = f"{prefix}{request_id}{suffix}"
    is_plain = re.fullmatch(r"[A-Za-z0-9_-]+", request_id) and not re.search(r"-\d+$|^[0-9a-f]{40}$", request_id)
    if len(name) > _LONGEST_NAME or not is_plain:
        digest = hashlib.sha256(request_id.encode(errors="surrogatepass")).hexdigest()
        name = f"{prefix}{digest[:40]}{suffix}"
    return name
