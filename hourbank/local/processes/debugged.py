"""Lets a debugger stop in a function's process: loaded by `lambda_runtime` where `HOURBANK_DEBUGGER` is set.

It must not import anything of this project.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOOK_EVERY_SECONDS = 0.02


class Debugged:
    """Waits, before each event, for a debugger that is attached to have this process too.

    Parameters
    ----------
    file : Path
        Is there while a debugger is attached, and says by which process it is found (`debug_hub.py`).
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._is_connected = False

    def around(self, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return the handler, in which a debugger can stop."""

        def debugged(event: Any, context: Any) -> Any:
            self._wait()
            return handler(event, context)

        return debugged

    def _wait(self) -> None:
        while self._file.exists():
            self._connect()
            import debugpy  # noqa: T100

            if debugpy.is_client_connected():
                return
            time.sleep(LOOK_EVERY_SECONDS)

    def _connect(self) -> None:
        if self._is_connected:
            return
        try:
            hub = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:  # the debugger has gone this moment
            return
        # debugpy has pydevd inside. Its own `connect` does not pass on the token that the hub's adapter shows.
        importlib.import_module("debugpy.server.api")
        importlib.import_module("pydevd").settrace(
            host="127.0.0.1",
            port=hub["port"],
            access_token=hub["token"],
            ppid=hub["pid"],
            suspend=False,
            notify_stdin=False,
            patch_multiprocessing=False,
        )
        self._is_connected = True
