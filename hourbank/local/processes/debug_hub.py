"""Run by `hourbank up --debug`, never imported: the process that a debugger attaches to.

Functions have a process each, which the debugger finds through this one, as its children. While a debugger is attached,
a file tells functions the way (`lambda_runtime` follows it). This process ends with its standard input.
"""

import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import debugpy  # noqa: T100

LOOK_EVERY_SECONDS = 0.1


def end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


def main() -> None:
    file, port = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=end_with_parent, daemon=True).start()
    debugpy.listen(("127.0.0.1", port))  # noqa: T100
    # debugpy has it inside, where it is found now
    setup = importlib.import_module("pydevd").SetupHolder.setup
    way = {"port": setup["port"], "token": setup["access-token"], "pid": os.getpid()}
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(way), encoding="utf-8")
    print("listening", flush=True)
    while True:
        # there under its name while a debugger is attached
        if (is_attached := debugpy.is_client_connected()) != file.exists():
            (new if is_attached else file).replace(file if is_attached else new)
        time.sleep(LOOK_EVERY_SECONDS)


main()
