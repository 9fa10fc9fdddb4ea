"""What `hourbank up` left running, which other terminals find by a file."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import time
from dataclasses import dataclass

from hourbank import names
from hourbank.errors import HourBankError, UnreachableError
from hourbank.local import machine
from hourbank.local.deployment import Deployment
from hourbank.local.patience import Patience

STATE = machine.state_folder(os.environ) / "up.json"
# Whoever takes longer is there, and has no time.
_ANSWERS_WITHIN_SECONDS = 60


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
    while STATE.exists() or _answers(state.deployment.endpoint):
        if patience.is_over():
            raise HourBankError(f"process {state.pid} does not end: see what it does, or kill it")
        time.sleep(0.1)
    return "stopped"


def remember(state: RunningState) -> None:
    """Let other terminals find what runs."""
    text = json.dumps({"pid": state.pid, "console": state.console, "deployment": state.deployment.to_json()}, indent=2)
    machine.write_whole(STATE, text)


def find() -> RunningState | None:
    """Return the state of what runs; one that a killed process left behind, or that nobody can read, is removed."""
    try:
        told = json.loads(STATE.read_text(encoding="utf-8"))
        state = RunningState(int(told["pid"]), str(told.get("console", "")), Deployment(**told["deployment"]))
        if _answers(state.deployment.endpoint):
            return state
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (AttributeError, KeyError, TypeError, ValueError, http.client.HTTPException):
        pass
    except OSError as error:
        raise HourBankError(f"{STATE} cannot be read ({error.strerror}): remove it, or see HOURBANK_STATE") from None
    with contextlib.suppress(OSError):
        STATE.unlink()
    return None


def _answers(endpoint: str) -> bool:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=_ANSWERS_WITHIN_SECONDS)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == 200
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        connection.close()
