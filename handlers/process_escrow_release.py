"""ProcessEscrowRelease: pays the provider."""

from typing import Any

from handlers import ledger
from handlers.events import publish_end
from handlers.execution import Execution
from handlers.telemetry import logged


@logged
def handler(event: dict[str, Any], context: Any) -> str:
    """The outcome: COMPLETED, or NOTHING_TO_DO."""
    run = Execution.of(event)
    order = run.order
    ended = ledger.settle(run.request_id, order.decision, order.reason) if order else ledger.release(run.request_id)
    publish_end(run.request_id, ended)
    return ended.outcome
