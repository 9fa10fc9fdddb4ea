"""Hours are exact decimals, above 0, at most a million, with at most 2 decimal places."""

from decimal import Context, Decimal, Inexact
from typing import Any, TypeGuard

MOST_HOURS = 1_000_000
LEGAL = f"a number above 0, at most {MOST_HOURS}, with at most 2 decimal places"
# DynamoDB keeps 38 digits; Python's default context would round at 28.
_EXACT = Context(prec=40, traps=[Inexact])


def is_legal(hours: Any) -> TypeGuard[Decimal]:
    """Whether a value read from DynamoDB is a legal number of hours."""
    if not isinstance(hours, Decimal) or not hours.is_finite() or not 0 < hours <= MOST_HOURS:
        return False
    exponent = hours.normalize(_EXACT).as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -2


def difference(more: Decimal, less: Decimal) -> Decimal:
    return _EXACT.subtract(more, less)


def in_words(hours: Decimal) -> str:
    """``2.5``, never ``2.50`` or ``2.5E+0``."""
    return f"{hours.normalize(_EXACT):f}"
