"""Plays every path of a request, metered, and keeps what it used: hourbank/cost/measured.json."""

from __future__ import annotations

import os

from rich.console import Console

from hourbank.cost import recorded
from hourbank.cost.measure import measure
from hourbank.errors import HourBankError
from hourbank.local.machine import shut_off_this_process
from hourbank.terminal import step

if __name__ == "__main__":
    shut_off_this_process()
    console = Console(stderr=True)
    try:
        recorded.write(measure(lambda text: step(console, text)))
    except HourBankError as error:
        raise SystemExit(f"measured: {error}") from None
    console.print(os.path.relpath(recorded.FILE))
