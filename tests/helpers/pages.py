"""Tutorials, read as a reader follows them: what stands in their fences, in order."""

import re
from collections.abc import Iterator
from typing import NamedTuple


class Block(NamedTuple):
    """A fence of the page: its kind, the file that the words before it name, and what it says."""

    kind: str
    file: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    for before, kind, text in re.findall(r"(.*)\n\n```(\w+)\n((?:.*\n)*?)```$", page, re.MULTILINE):
        named = re.search(r"`([\w/.]+)`:$", before)
        yield Block(kind, named[1] if named else "", text)
