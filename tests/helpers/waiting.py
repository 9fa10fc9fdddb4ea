"""Waiting in tests: for an event, however long it takes; what fails a test is that nothing happens any more."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from hourbank.local.patience import Patience

Found = TypeVar("Found")

# For a command, an answer or a thread that shows nothing on its way: only what never ends takes this long.
ENDLESS_SECONDS = 1800


def until(find: Callable[[], Found], *, moving: Callable[[], object] = lambda: None, what: str = "") -> Found:
    """Return what `find` finds as soon as it is true.

    Parameters
    ----------
    find
        Looks once, without waiting.
    moving
        All of what may change on the way, asked once a second. Where it stays the same for minutes, the test fails.
    what
        What is waited for, for the failure.
    """
    patience, looked = Patience(), time.monotonic()
    while not (found := find()):
        if time.monotonic() - looked > 1:
            if patience.is_over(seen := moving()):
                pytest.fail(f"{what or 'what is waited for'} does not come; it stays at {seen!r}")
            looked = time.monotonic()
        time.sleep(0.05)
    return found
