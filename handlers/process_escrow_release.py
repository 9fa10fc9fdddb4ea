"""ProcessEscrowRelease: pays the provider."""

from typing import Any

from handlers.aws.telemetry import logged
from handlers.bank import ledger
from handlers.bank.events import publish_end
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> str:
    """The outcome: COMPLETED, or NOTHING_TO_DO."""
    run = Execution.of(event)
    order = run.order
    ended = ledger.settle(run.request_id, order.decision, order.reason) if order else ledger.release(run.request_id)
    publish_end(run.request_id, ended)
    return ended.outcome
