"""Writes the bills of months into docs/why/scale.md, in place of those before: a part of `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

from hourbank.cost import month

PAGE = Path(__file__).parent.parent / "docs" / "why" / "scale.md"
BLOCK = re.compile(r"(?<=<!-- printed by make docs -->\n).*?(?=<!-- end -->)", re.DOTALL)


def page(before: str) -> str:
    """The page with what the program says now."""
    return BLOCK.sub(lambda _: month.markdown() + "\n", before, count=1)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
