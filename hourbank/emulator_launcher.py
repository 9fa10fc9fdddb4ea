"""Run by the emulator's Python, never imported: ministack, bound to the life of the process that started it."""

import importlib
import os
import runpy
import shutil
import signal
import sys
import threading


def follow_parent(directory: str) -> None:
    """Wait for the end of standard input, which is when the parent is gone, then kill the whole process group."""
    while os.read(0, 1):
        pass
    shutil.rmtree(directory, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    if os.getpgrp() != os.getpid():
        sys.exit("start this in a session of its own: it kills its whole process group")
    threading.Thread(target=follow_parent, args=(sys.argv[1],), daemon=True).start()
    # Many cold starts at once on a small machine take longer than AWS's ten seconds for an initialisation; there is
    # no setting for it.
    vars(importlib.import_module("ministack.core.lambda_runtime"))["_PROVIDED_INIT_TIMEOUT"] = 60.0
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")


main()
