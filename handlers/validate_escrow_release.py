"""ValidateEscrowRelease: do request and escrow belong together, and what was decided?"""

from typing import Any

from handlers.aws import dynamodb
from handlers.aws.dynamodb import client
from handlers.aws.telemetry import logged, logger
from handlers.bank import ledger, requests
from handlers.bank.errors import ReleaseRefused
from handlers.bank.execution import Execution, Order


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """``{"decision": "RELEASE" | "REFUND" | "NOTHING"}``: the people's, or an operator's."""
    run = Execution.of(event)
    if not isinstance(run.request_id, str) or not run.request_id:
        raise ReleaseRefused("The execution's input has no requestId")
    request = requests.load(run.request_id)
    escrow = dynamodb.read("Escrow", run.request_id)
    if run.order and (owner := ledger.unfinished(request, escrow)):
        return {"decision": checked(run, run.order, owner)}
    if escrow and escrow["status"] != "HELD":
        return {"decision": "NOTHING"}
    return {"decision": requests.decision(ledger.matched(request, escrow)[0])}


def checked(run: Execution, order: Order, owner: str) -> str:
    """An operator's decision; raises ReleaseRefused unless it is one, says who and why, and the owner runs no more."""
    if order.decision not in ("RELEASE", "REFUND"):
        raise ReleaseRefused("decision must be RELEASE or REFUND")
    if not all(isinstance(word, str) and word.strip() for word in (order.by, order.reason)):
        raise ReleaseRefused("A decision needs `by` and `reason`")
    status = status_of(owner) if run.is_beside(owner) else "not of this deployment"
    if status == "RUNNING":
        raise ReleaseRefused("The execution of this request is still running")
    logger.info("An operator decides", decision=order.decision, by=order.by, reason=order.reason, owner=status)
    return order.decision


def status_of(execution_arn: str) -> str:
    """The status of an execution, or ``forgotten``: Step Functions keeps those that have ended for 90 days."""
    states = client("stepfunctions")
    try:
        return states.describe_execution(executionArn=execution_arn)["status"]
    except states.exceptions.ExecutionDoesNotExist:
        return "forgotten"
