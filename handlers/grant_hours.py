"""grantHours: gives a user hours of the bank, once for each reason; the app's backend calls it."""

import re
from decimal import Decimal
from typing import Any

from handlers.aws.telemetry import logger
from handlers.bank import hours, ledger
from handlers.bank.errors import GrantRefused, Refusal

# longer than any legal number of hours, with zeros to spare
LONGEST_NUMBER = 40


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: Any, context: Any) -> dict[str, str]:
    """``{"outcome": "GRANTED" | "REFUSED", "message": ...}``: a refusal is an answer, an error is to be tried again.

    ``event`` is ``{"userId", "hours", "reason"}``, from whoever may invoke the function: any JSON until it is checked.
    """
    given = event if isinstance(event, dict) else {}
    try:
        user_id, reason = given.get("userId"), given.get("reason")
        granted = ledger.grant(user_id, amount_of(given.get("hours")), reason)
    except Refusal as refusal:
        logger.warning("A grant is refused", problem=str(refusal))
        return {"outcome": "REFUSED", "message": str(refusal)}
    logger.info("Hours are granted", user=user_id, hours=str(granted), reason=reason)
    return {"outcome": "GRANTED", "message": f"{user_id} was granted {hours.in_words(granted)} h: {reason}"}


def amount_of(given: Any) -> Decimal:
    """Hours of a JSON number or, exactly as it is written, of a string."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    text = repr(given) if is_number else given
    if not isinstance(text, str) or len(text) > LONGEST_NUMBER or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise GrantRefused(f"`hours` is not {hours.LEGAL}")
    return Decimal(text)
