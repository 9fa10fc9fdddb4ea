"""`hourbank up --watch`: what is edited while it runs is deployed onto the emulator that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hourbank.errors import HourBankError
from hourbank.names import ROOT

# What the deployment is made of: its handlers, its definitions and its resources, and what the stack `local` is told.
FOLDERS = ("handlers", "components", "workflows")
FILES = ("__main__.py", "Pulumi.yaml", "Pulumi.local.yaml")


class Watcher:
    """Deploys what has changed since it was made.

    Parameters
    ----------
    options : mapping
        What `redeploy.py` is told.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._seen = states()

    def changed(self) -> list[str]:
        """Return the names of the files that have changed since the last look, in order."""
        seen, before = states(), self._seen
        self._seen = seen
        return sorted({name for name, _ in seen.items() ^ before.items()})

    def redeploy(self) -> None:
        """Deploy what the files say now, by a process that has imported none of it before.

        Raises
        ------
        HourBankError
            If they cannot be deployed: one line that says where and why; what was deployed before stays.
        """
        command = [sys.executable, "-P", "-m", "hourbank.local.develop.redeploy"]
        child = subprocess.run(command, input=json.dumps(self._options), capture_output=True, text=True, check=False)
        if child.returncode != 0:
            lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
            raise HourBankError(lines[-1] if lines else f"the process that deploys ended with {child.returncode}")


def states() -> dict[str, tuple[int, int]]:
    """Return when each watched file was written last, and its size, by its name below the project's folder."""
    paths = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += (ROOT / folder).rglob("*.py")
    return {path.relative_to(ROOT).as_posix(): state for path in paths if (state := _state(path))}


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # an editor is replacing it
        return None
    return found.st_mtime_ns, found.st_size
