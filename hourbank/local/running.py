"""What `hourbank up` left running, which other terminals find by a file."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from hourbank import names
from hourbank.errors import HourBankError, UnreachableError
from hourbank.local import machine
from hourbank.local.deployment import Deployment
from hourbank.local.patience import Patience

STATE = machine.state_folder(os.environ) / "up.json"
LOCK = "up.lock"
_UNKNOWN = "end what runs by Ctrl-C, and start it again"


@dataclass(frozen=True)
class RunningState:
    """What other terminals find: the process, the page's address, and what is deployed."""

    pid: int
    console: str
    deployment: Deployment


def running() -> Deployment:
    """Return the deployment that `hourbank up` left running.

    Raises
    ------
    UnreachableError
        If there is none.
    """
    state = find()
    if state is None:
        raise UnreachableError(f"nothing is running: start it with `{names.command()} up` in another terminal")
    return state.deployment


def down() -> str:
    """End what runs, and return what happened in words."""
    state = find()
    if state is None:
        return "nothing was running"
    if state.pid > 1:  # what is less means all of this group, or the machine's first process
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or is somebody else's
            os.kill(state.pid, signal.SIGTERM)
    patience = Patience()
    while _is_held() or _answers(state.deployment.endpoint):
        if patience.is_over():
            raise HourBankError(f"process {state.pid} does not end: see what it does, or kill it")
        time.sleep(0.1)
    return "stopped"


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Be the only run that other terminals find, until this ends, or the process does, however it ends.

    Raises
    ------
    HourBankError
        If there is another one.
    """
    machine.make_state_folder(STATE.parent)
    while not (lock := _locked(fcntl.LOCK_EX)):
        if state := find():
            end = f"{names.command()} down"
            raise HourBankError(f"already running on {state.console} (process {state.pid}): `{end}` ends it")
        time.sleep(0.05)  # somebody looked, which takes a moment
    with lock:
        try:
            STATE.unlink(missing_ok=True)
        except OSError as error:
            raise HourBankError(f"{STATE} cannot be removed ({error.strerror}): see HOURBANK_STATE") from None
        yield
        with contextlib.suppress(OSError):
            STATE.unlink()


def remember(state: RunningState) -> None:
    """Let other terminals find what runs."""
    text = json.dumps({"pid": state.pid, "console": state.console, "deployment": state.deployment.to_json()}, indent=2)
    machine.write_whole(STATE, text)


def find() -> RunningState | None:
    """Return the state of what runs; what a killed process left behind is removed.

    Raises
    ------
    HourBankError
        If it is only starting, or nobody can read what it said.
    """
    if not _is_held():
        with contextlib.suppress(OSError):
            STATE.unlink()
        return None
    try:
        told = json.loads(STATE.read_text(encoding="utf-8"))
        state = RunningState(int(told["pid"]), str(told.get("console", "")), Deployment(**told["deployment"]))
        if re.fullmatch(r"http://127\.0\.0\.1:\d+", state.deployment.endpoint):
            return state
        raise ValueError
    except FileNotFoundError:
        up = f"{names.command()} up"
        raise HourBankError(f"`{up}` is still starting, in another terminal: wait until it says that it runs") from None
    except OSError as error:
        raise HourBankError(f"{STATE} cannot be read ({error.strerror}): {_UNKNOWN}") from None
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise HourBankError(f"{STATE} is not what `{names.command()} up` wrote: {_UNKNOWN}") from None


def _is_held() -> bool:
    """Whether a run is there, or is starting: its process has the lock, which ends with it."""
    if not STATE.with_name(LOCK).exists():
        return False
    if lock := _locked(fcntl.LOCK_SH):
        lock.close()
    return lock is None


def _locked(kind: int) -> TextIO | None:
    """Return the file that is held by who runs, locked; None where another process has it."""
    file = STATE.with_name(LOCK)
    try:
        lock = open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600), encoding="utf-8")  # noqa: PTH123, SIM115
    except OSError as error:
        raise HourBankError(f"{file} cannot be opened ({error.strerror}): remove it, or see HOURBANK_STATE") from None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError as error:
        lock.close()
        raise HourBankError(f"{file} cannot be locked ({error.strerror}): see HOURBANK_STATE") from None
    return lock


def _answers(endpoint: str) -> bool:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", "/_hourbank/process")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
