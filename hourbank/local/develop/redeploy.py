"""Run by `hourbank up --watch` after each change, never imported: deploys what the files say now.

On standard input it is told `port`, the emulator's, and what `deploy.deploy` takes. Where the files cannot be deployed,
the last line on standard error says where and why, and nothing changed.
"""

import importlib
import json
import pkgutil
import sys
import traceback
from pathlib import Path

from hourbank.errors import HourBankError
from hourbank.local import deploy
from hourbank.local.develop.watch import FILES, FOLDERS
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT


def main() -> None:
    """Deploy, or say in one line why not."""
    options = json.load(sys.stdin)
    emulator = Emulator(port=options.pop("port"))
    try:
        # before anything is deployed: a function that cannot be imported would start no more
        for folder in FOLDERS:
            package = importlib.import_module(folder)
            for module in pkgutil.walk_packages(package.__path__, f"{folder}."):
                importlib.import_module(module.name)
        deploy.deploy(emulator, **options)
    except Exception as error:  # noqa: BLE001 - whatever somebody has written raises
        sys.exit(in_words(error))


def in_words(error: BaseException) -> str:
    """Say in one line what is wrong with the files, and where."""
    if isinstance(error, HourBankError):
        return " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_name(error.filename)}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_watched(frame.filename)]
    where = f"{_name(frames[-1].filename)}, line {frames[-1].lineno}: " if frames else ""
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"


def _is_watched(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in (*FOLDERS, *FILES)


def _name(file: str) -> str:
    path = Path(file)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else file


if __name__ == "__main__":
    main()
