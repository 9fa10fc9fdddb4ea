"""RejectRequest: the request is not one that can be served."""

from typing import Any

from handlers.aws.telemetry import logged
from handlers.bank import ledger
from handlers.bank.endings import ending, never_held
from handlers.bank.events import publish_end
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> str:
    """The outcome: REJECTED, or NOT_OWNER where the record is gone."""
    run = Execution.of(event)
    ended = ledger.refund(run, *ending(run.state, event["states"]), never_held=never_held(event["states"]))
    publish_end(run.request_id, ended)
    return ended.outcome
