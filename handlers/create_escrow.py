"""EscrowHours: moves the hours into escrow."""

from typing import Any

from handlers.aws.telemetry import logged
from handlers.bank import hours, ledger
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """The hours held, as a string: a JSON number would become a binary float."""
    return {"hours": hours.in_words(ledger.hold(Execution.of(event)))}
