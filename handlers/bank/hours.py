"""Hours are exact decimals, above 0, at most 1,000,000, with at most 2 decimal places."""

import functools
from collections.abc import Iterable
from decimal import Context, Decimal, Inexact
from typing import Any, TypeGuard

MOST_HOURS = 1_000_000
LEGAL = f"a number above 0, at most {MOST_HOURS}, with at most 2 decimal places"
# What DynamoDB keeps of a number: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_DIGITS = 38
_EXACT = Context(prec=_DIGITS, traps=[Inexact])
# from the largest number's first digit to the smallest's last
_ANY_SUM = Context(prec=400, traps=[Inexact])
_ROUGH = Context(prec=6, traps=[])


def is_legal(hours: Any) -> TypeGuard[Decimal]:
    """Whether a value read from DynamoDB is a legal number of hours."""
    if not is_amount(hours) or hours > MOST_HOURS:
        return False
    _, digits, exponent = hours.as_tuple()
    # digits behind the second decimal place, which are nothing but zeros in 2.500
    return not (isinstance(exponent, int) and exponent < -2 and any(digits[exponent + 2 :]))


def is_amount(hours: Any) -> TypeGuard[Decimal]:
    """Whether a value can have been moved: any number above 0, such as hours held by an earlier rule."""
    return isinstance(hours, Decimal) and hours.is_finite() and hours > 0


def adds_up(balance: Any, change: Decimal) -> bool:
    """Whether a balance is a number, and DynamoDB can keep its sum with a change exactly."""
    if not isinstance(balance, Decimal) or not balance.is_finite():
        return False
    try:
        _EXACT.add(balance, change)
    except Inexact:
        return False
    return True


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum of numbers that DynamoDB can keep."""
    return functools.reduce(_ANY_SUM.add, amounts, Decimal(0))


def difference(more: Decimal, less: Decimal) -> Decimal:
    return _EXACT.subtract(more, less)


def in_words(hours: Decimal) -> str:
    """``2.5``, never ``2.50`` or ``2.5E+0``; what is far from legal in six digits, such as ``1e+50``."""
    if len(hours.as_tuple().digits) > _DIGITS or not -_DIGITS < hours.adjusted() < _DIGITS:
        return f"{_ROUGH.create_decimal(hours).normalize(_ROUGH):g}"
    return f"{hours.normalize(_EXACT):f}"
