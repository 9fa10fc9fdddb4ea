"""Waiting for what a busy machine may take long for: nobody gives up while anything still changes."""

from __future__ import annotations

import time

# Far longer than anything here takes between two steps, on a machine that has time for nothing.
STALLED_SECONDS = 300


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
        self._since = time.monotonic()

    def is_over(self, seen: object = None) -> bool:
        """Whether `seen`, all of what may change on the way, has been the same for too long."""
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since > self.seconds
