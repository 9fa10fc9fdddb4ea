"""ValidateEscrowRelease: do request and escrow belong together, and what was decided?"""

from typing import Any

from handlers import ledger, requests, tables
from handlers.errors import ReleaseRefused
from handlers.execution import Execution
from handlers.telemetry import logged


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """``{"decision": "RELEASE" | "REFUND" | "NOTHING"}``."""
    run = Execution.of(event)
    if not isinstance(run.request_id, str) or not run.request_id:
        raise ReleaseRefused("The execution's input has no requestId")
    request = requests.load(run.request_id)
    escrow = tables.read("Escrow", run.request_id)
    if escrow and escrow["status"] != "HELD":
        return {"decision": "NOTHING"}
    return {"decision": requests.decision(ledger.matched(request, escrow)[0])}
