"""RefundEscrow and RefundAfterFailure; in the release workflow, the refund of a service given up."""

from typing import Any

from handlers.aws.telemetry import logged
from handlers.bank import ledger
from handlers.bank.endings import ending, never_held
from handlers.bank.events import publish_end
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> str:
    """The outcome: the request's status, NOT_OWNER, or NOTHING_TO_DO."""
    run = Execution.of(event)
    if "decision" in event:
        order = run.order
        ended = (
            ledger.settle(run.request_id, order.decision, order.reason) if order else ledger.withdraw(run.request_id)
        )
    else:
        ended = ledger.refund(run, *ending(run.state, event["states"]), never_held=never_held(event["states"]))
    publish_end(run.request_id, ended)
    return ended.outcome
