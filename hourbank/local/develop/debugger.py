"""`hourbank up --debug`: a debugger attaches to one port, and stops in any handler."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hourbank.errors import HourBankError

HUB = Path(__file__).parent.parent / "processes" / "debug_hub.py"
# debugpy's own, and that of .vscode/launch.json
PORT = 5678


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[Path]:
    """Listen for a debugger while the context lasts; yields the file by which functions find it.

    Parameters
    ----------
    folder : Path
        Where the file is, while a debugger is attached.

    Raises
    ------
    HourBankError
        If the port is taken, or debugpy does not start.
    """
    try:
        socket.create_server(("127.0.0.1", PORT)).close()
    except OSError as error:
        raise HourBankError(
            f"port {PORT} is not free for a debugger ({error.strerror}): end what has it, or leave --debug out"
        ) from None
    file = folder / "debugger.json"
    # what debugpy says of the standard library's modules, in which nobody stops here
    environment = os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with subprocess.Popen(
        [sys.executable, "-P", HUB, file, str(PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as hub:
        try:
            if hub.stdout and not hub.stdout.readline():
                said = hub.stderr.read().strip().splitlines() if hub.stderr else []
                raise HourBankError(f"debugpy does not start: {said[-1] if said else 'it says nothing'}")
            yield file
        finally:
            hub.kill()
