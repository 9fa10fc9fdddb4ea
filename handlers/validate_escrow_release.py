"""ValidateEscrowRelease: do request and escrow belong together, and what was decided?"""

from typing import Any

from handlers.aws import dynamodb
from handlers.aws.telemetry import logged, logger
from handlers.bank import ledger, requests
from handlers.bank.errors import ReleaseRefused
from handlers.bank.execution import Execution, Order, described
from handlers.bank.requests import OWNER

# failureReason takes an operator's words, and a record near 400 KB has room for no more.
LONGEST_REASON_BYTES = 1024


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """``{"decision": "RELEASE" | "REFUND" | "NOTHING"}``: the people's, or an operator's."""
    run = Execution.of(event)
    if not dynamodb.is_key(run.request_id):
        raise ReleaseRefused("The execution's input has no requestId")
    escrow = dynamodb.read("Escrow", run.request_id)
    if run.order:
        request = requests.load_if_readable(run.request_id)
        if ledger.is_unfinished(request, escrow):
            owner = escrow.get("executionArn") if escrow and ledger.is_held(escrow) else (request or {}).get(OWNER)
            return {"decision": checked(run, run.order, owner)}
    else:
        request = requests.load(run.request_id)
    if escrow and not ledger.is_held(escrow):
        return {"decision": "NOTHING"}
    return {"decision": requests.decision(ledger.matched(request, escrow)[0])}


def checked(run: Execution, order: Order, owner: Any) -> str:
    """An operator's decision; raises ReleaseRefused unless it is one, says who and why, and the owner runs no more."""
    if order.decision not in ("RELEASE", "REFUND"):
        raise ReleaseRefused("decision must be RELEASE or REFUND")
    if not all(isinstance(word, str) and word.strip() for word in (order.by, order.reason)):
        raise ReleaseRefused("A decision needs `by` and `reason`")
    if len(order.reason.encode(errors="surrogatepass")) > LONGEST_REASON_BYTES:
        raise ReleaseRefused(f"`reason` is longer than {LONGEST_REASON_BYTES} bytes")
    if not dynamodb.is_key(order.reason):  # half of a surrogate pair, which a shell can give and no record can take
        raise ReleaseRefused("`reason` is no text")
    status = described(owner)["status"] if run.is_beside(owner) else "not of this deployment"
    if status == "RUNNING":
        raise ReleaseRefused("The execution of this request is still running")
    logger.info("An operator decides", decision=order.decision, by=order.by, reason=order.reason, owner=status)
    return order.decision
