"""Values of two versions: where they differ, and how a difference reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from hourbank.review.markdown import code

# Where a version has no value.
MISSING = object()
LONGEST_VALUE = 90


def differing(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The values that differ, by their path, such as `environment.variables.EVENT_BUS_NAME`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path else key
            yield from differing(before.get(key, MISSING), after.get(key, MISSING), inner)
    elif before != after:
        yield path, before, after


def from_to(old: Any, new: Any) -> str:
    if old is MISSING:
        return f"{value(new)}, new"
    if new is MISSING:
        return f"{value(old)}, no longer"
    before, after = text_of(old), text_of(new)
    if max(len(before), len(after)) > LONGEST_VALUE:  # what both begin with is not what is looked for
        same = max(0, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))) - 25)
        before, after = (f"… {text[same:]}" if same else text for text in (before, after))
    return f"{value(before)} → {value(after)}"


def text_of(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given, sort_keys=True, ensure_ascii=False)


def value(given: Any) -> str:
    """A value as code, shortened in its middle."""
    text = text_of(given)
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE - 30]} … {text[-25:]}"
    return code(text)
