"""A comment in Markdown: names and values as code, blocks that are kept or left out whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# GitHub takes 65,536 characters for a comment, tools/comment.py posts 60,000, and each section says what it leaves out.
LONGEST = 58_000


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the comment: a heading, and blocks that are left out whole where there is no room."""

    heading: str
    blocks: list[str]


def code(text: str) -> str:
    """A text as Markdown's code, whatever is in it: nothing of it can be read as Markdown, HTML or a mention."""
    text = " ".join(text.split()) or " "
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def listed(words: list[str]) -> str:
    """Such as "a, b and c"."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def fenced(language: str, body: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{fence}{language}\n{body.rstrip()}\n{fence}"


def fit(head: str, sections: Iterable[Section], folded_stacks: Sequence[str]) -> str:
    """All of it, or as many whole blocks as a comment takes, and how many are left out."""
    text = head
    left = LONGEST - len(head) - 200
    for section in sections:
        text += f"\n### {section.heading}\n\n"
        kept, cut = [], 0
        for block in section.blocks:
            if len(block) + 2 <= left and not cut:
                kept.append(block)
                left -= len(block) + 2
            else:
                cut += 1
        text += joined(kept)
        left -= len(section.heading) + 60
        if cut:
            text += f"\n… and {cut} more that a comment has no room for.\n"
    for block in folded_stacks:
        if len(block) + 2 <= left:
            text += f"\n{block}\n"
            left -= len(block) + 2
        else:
            text += "\nAnother stack is left out: a comment has no room for it.\n"
    return text


def joined(blocks: Sequence[str]) -> str:
    """The blocks, those of a list together."""
    text = ""
    for block in blocks:
        is_item = block.startswith("- ")
        gap = "" if not text or (is_item and text.rpartition("\n\n")[2].startswith("- ")) else "\n"
        text += f"{gap}{block}\n"
    return text
