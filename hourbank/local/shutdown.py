"""How a program with an emulator ends when it is told to."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from hourbank.errors import HourBankError

STOPPED = "HourBank has stopped; nothing is left running."


def end_at(
    number: signal.Signals,
    words: str,
    status: int,
    *,
    forget: Path | None = None,
    at_last: Callable[[], None] = lambda: None,
) -> None:
    """From now on, end this process at once when the signal comes: with a line, and without the file to forget.

    What is to be done at last says in one line why it could not be.

    Not by an exception: raised in the midst of an import or of Pulumi's tasks, it can be swallowed. The emulator, its
    functions and its files go with this process, whose end they wait for.
    """

    def end(*_: object) -> None:
        last_words, last_status = words, status
        try:
            at_last()
        except HourBankError as error:
            last_words, last_status = f"hourbank: {error}", 1
        with contextlib.suppress(RuntimeError, OSError):  # it may have come in the midst of a write
            sys.stdout.flush()
        if forget:
            forget.unlink(missing_ok=True)
        # a spinner hides the cursor, and leaves it at the end of its line
        before = "\x1b[?25h\r\n" if sys.stdout.isatty() else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{before}{last_words}\n".encode())
        os._exit(last_status)

    signal.signal(number, end)
