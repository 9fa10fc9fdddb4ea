"""Hours that a person typed."""

import re
import unicodedata
from decimal import Decimal

from handlers.bank.hours import MOST_HOURS

# the zeros of the digits that keyboards type: ASCII, full width, Arabic, Persian and Urdu, Devanagari, Bengali
_ZEROS = (0x30, 0xFF10, 0x660, 0x6F0, 0x966, 0x9E6)
_SEPARATORS = str.maketrans({"\u066b": ".", "\uff0e": ".", "\uff0c": ","})
_NUMBER = re.compile(r"([0-9]*)(?:[.,]([0-9]+))?")
_GROUPED = re.compile(r"[0-9]{1,3}([.,'\u2019\u066c\s][0-9]{2,3})*[.,'\u2019\u066c\s][0-9]{3}([.,][0-9]+)?")
_LONGEST_QUOTE = 30


def parse_hours(text: str) -> Decimal:
    """Read hours exactly: ``1.5`` and ``1,5`` are one and a half.

    The browser's side reads alike (``parseHours``), and frontend/test/vectors.json holds both to it.

    Raises
    ------
    ValueError
        For what is no legal number of hours, and for what could mean two, such as ``1,000``; it says what to write.
    """
    read = _in_ascii(text)
    quote = f'"{read[:_LONGEST_QUOTE]}..."' if len(read) > _LONGEST_QUOTE else f'"{read}"'
    if not read:
        raise ValueError("The hours are missing: write a number such as 2 or 1.5.")
    number = _NUMBER.fullmatch(read)
    whole, fraction = (number[1], number[2] or "") if number else ("", "")
    hours = Decimal(f"{whole}.{fraction}") if number else None
    if hours == 0 or re.fullmatch(r"[-\u2212][0-9.,]+", read):
        raise ValueError("The hours must be above 0.")
    if re.fullmatch(r"0[0-9]{1,2}", read):
        raise ValueError(f"{quote} could mean {int(whole)} or {_short(f'0.{whole[1:]}')}: write the one you mean.")
    if re.fullmatch(r"[1-9][0-9]{0,2}[.,][0-9]{3}", read):
        meanings = f"{whole}{fraction} or {_short(f'{whole}.{fraction}')}"
        raise ValueError(
            f"{quote} could mean {meanings}: leave out the separator of thousands, and write at most 2 decimals."
        )
    if not number and _GROUPED.fullmatch(read):
        raise ValueError(f"{quote} has separators of thousands: write it without, such as 1500 or 1500.5.")
    if hours is None or re.match(r"0[0-9]", read):
        raise ValueError(f"{quote} is not a number of hours: write one such as 2 or 1.5.")
    if len(fraction) > 2:
        raise ValueError("The hours must have at most 2 decimals.")
    if hours > MOST_HOURS:
        raise ValueError(f"The hours must be at most {MOST_HOURS}.")
    return hours


def _in_ascii(text: str) -> str:
    """Without what cannot be seen, spaces around and the unit; digits of one script, and separators, in ASCII."""
    seen = "".join(sign for sign in text if unicodedata.category(sign) != "Cf").strip()
    zero = next((zero for zero in _ZEROS if any(zero <= ord(sign) <= zero + 9 for sign in seen)), 0x30)
    digits = {zero + value: str(value) for value in range(10)}
    return re.sub(r"([0-9])\s*[hH]$", r"\1", seen.translate(digits).translate(_SEPARATORS))


def _short(text: str) -> str:
    return text.rstrip("0").rstrip(".")
