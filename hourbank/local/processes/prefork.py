"""Starts functions' processes as copies of one that has imported what each of them needs: boto3.

Two programs that import nothing of this project. `prefork.py serve` is run by the emulator's process: it
imports boto3, and becomes the function in a copy of itself for each one that asks. `prefork.py` is run by the
`bootstrap` of a function (`hourbank.local.deploy`): it asks for a copy with its own environment, folder and output, and
stays, as its process is the one that the emulator knows: where one of the two ends, so does the other. Where no copy
says that it has begun, it becomes the function itself.
"""

import contextlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from pathlib import Path

RUNTIME = str(Path(__file__).with_name("lambda_runtime.py"))
# in the emulator's folder, which is HOME there: a whole path can be longer than a socket's may be
SOCKET = "functions"
# what a copy says that has all it needs
BEGUN = b"1"


def serve() -> None:
    """Import, then wait for functions to be started, until the emulator's process group is killed."""
    import boto3

    # what a client's making imports
    boto3.Session(aws_access_key_id="none", aws_secret_access_key="none").client("dynamodb", "us-east-1")  # noqa: S106
    # copies that have ended are nobody's business
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{SOCKET}.new")
    listener.listen(128)
    # who finds it under its name is heard
    Path(f"{SOCKET}.new").rename(SOCKET)
    while True:
        connection = None
        try:
            connection, _ = listener.accept()
            if not os.fork():
                break
        except OSError:
            # no more processes or files; who asks becomes the function itself
            time.sleep(0.1)
        if connection:
            connection.close()
    listener.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    become(connection)


def become(connection: socket.socket) -> None:
    """Run what is asked for, as the process that asks would."""
    _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    for own, given in zip((1, 2), outputs, strict=True):
        os.dup2(given, own)
        os.close(given)
    asked = json.loads(connection.makefile("rb").readline())
    # where nobody hears it any more, the thread below ends this
    with contextlib.suppress(OSError):
        connection.sendall(BEGUN)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    runpy.run_path(RUNTIME, run_name="__main__")


def end_with(other: socket.socket) -> None:
    """Wait for the other's end."""
    with contextlib.suppress(OSError):
        other.recv(1)
    os._exit(0)


def start() -> None:
    """Ask for a copy, and stay as long as it does."""
    folder = Path.cwd()
    connection = socket.socket(socket.AF_UNIX)
    try:
        os.chdir(os.environ["HOME"])
        connection.connect(SOCKET)
        socket.send_fds(connection, [b"1"], [1, 2])
        connection.sendall(json.dumps({"environment": dict(os.environ), "folder": str(folder)}).encode() + b"\n")
        if connection.recv(1) != BEGUN:
            raise ConnectionError
    except OSError:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-P", RUNTIME])  # noqa: S606
    end_with(connection)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else start()
