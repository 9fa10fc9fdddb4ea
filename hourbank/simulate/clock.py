"""Virtual time: work in threads of which exactly one runs, while time passes only when all of them sleep."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class VirtualClock:
    """A clock that goes on to whatever is due next, so that an hour of sleep takes no time.

    Attributes
    ----------
    now
        Seconds since the clock began.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, threading.Semaphore]] = []
        self._order = itertools.count()
        self._back = threading.Semaphore(0)
        self._raised: list[BaseException] = []

    def start(self, work: Callable[[], None], at: float = 0.0) -> None:
        """Let `work` begin at a time, in a thread of its own; it may call `sleep`."""
        go = threading.Semaphore(0)

        def run() -> None:
            go.acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001  raised by `run`
                self._raised.append(error)
            finally:
                self._back.release()

        threading.Thread(target=run, daemon=True).start()
        self._wake(at, go)

    def sleep(self, seconds: float) -> None:
        """Sleep; others work meanwhile."""
        go = threading.Semaphore(0)
        self._wake(self.now + seconds, go)
        self._back.release()
        go.acquire()

    def run(self) -> None:
        """Let all work come to its end; raise what one of it raised first."""
        while self._due and not self._raised:
            self.now, _, go = heapq.heappop(self._due)
            go.release()
            self._back.acquire()
        if self._raised:
            raise self._raised[0]

    def _wake(self, at: float, go: threading.Semaphore) -> None:
        heapq.heappush(self._due, (at, next(self._order), go))
