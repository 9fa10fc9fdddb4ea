"""Waiting for what a busy machine may take long for: nobody gives up while anything still changes."""

from __future__ import annotations

import time

# Far longer than anything here takes between two steps, on a machine that has time for nothing.
STALLED_SECONDS = 300
# Whoever has not looked for longer, because the machine slept or had no time for the process, has not waited.
_LONGEST_LOOK_SECONDS = 5


class Patience:
    """Says when to give up: where nothing has changed for so long that nothing will.

    Parameters
    ----------
    seconds : float
        How long that is. It is no limit of how long all of it may take.
    """

    def __init__(self, seconds: float = STALLED_SECONDS) -> None:
        self.seconds = seconds
        self._seen: object = None
        self._looked = time.monotonic()
        self._waited = 0.0

    def is_over(self, seen: object = None) -> bool:
        """Whether `seen`, all of what may change on the way, has been the same for too long."""
        looked = time.monotonic()
        self._waited += min(looked - self._looked, _LONGEST_LOOK_SECONDS)
        self._looked = looked
        if seen != self._seen:
            self._seen, self._waited = seen, 0.0
        return self._waited > self.seconds
