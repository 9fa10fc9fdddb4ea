"""The command line `hourbank`: record, export, run locally."""

import os
import sys
from pathlib import Path

from hourbank.names import IS_INSTALLED, ROOT


def _search_pythonpath_last() -> None:
    """Let no `handlers`, `components` or boto3 on the user's PYTHONPATH hide what is installed here.

    Its folders stay, because a debugger that started this process may have come from one.
    """
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep) if not sys.flags.ignore_environment else []
    last = {os.path.realpath(place) for place in places} - {str(Path(__file__).resolve().parent.parent), str(ROOT)}
    sys.path.sort(key=lambda place: os.path.realpath(place) in last)


if IS_INSTALLED:  # so that nothing of the environment's own is called `handlers` or `components`
    sys.path.insert(0, str(ROOT))
if os.environ.get("PYTHONPATH"):
    _search_pythonpath_last()
