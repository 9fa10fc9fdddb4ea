"""AdjustEscrow: the hold becomes the offered hours."""

from typing import Any

from handlers.aws.telemetry import logged
from handlers.bank import hours, ledger
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """The hours held now, as a string: a JSON number would become a binary float."""
    return {"hours": hours.in_words(ledger.adjust(Execution.of(event)))}
