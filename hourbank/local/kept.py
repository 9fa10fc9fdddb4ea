"""What `hourbank up --keep` keeps over a restart: all tables and executions, in one file beside up.json."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from handlers.aws.dynamodb import now
from hourbank.errors import HourBankError
from hourbank.local import machine, running
from hourbank.local.emulator import Emulator
from hourbank.local.patience import STALLED_SECONDS

# Of the file; another one where what is in it changes.
FORMAT = 1
# The emulator's process has it: emulator_process.tell_and_take_state.
STATE_PATH = "/_hourbank/state"
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
_MOST_WRITES = 25


@dataclass(frozen=True, kw_only=True)
class KeptState:
    """The state of a run, and of those that go on with it."""

    run: str
    """Names them all, for a page that is still open."""
    began: str
    """The time from which requests are the workflows'."""
    items: dict[str, list[dict[str, Any]]]
    """By table, in DynamoDB's JSON."""
    executions: list[dict[str, Any]]
    """As the emulator has them, with their histories."""


def new() -> KeptState:
    """Return the state of a run that begins now."""
    return KeptState(run=str(uuid.uuid4()), began=now(), items={}, executions=[])


def file() -> Path:
    """Return where it is kept."""
    return running.STATE.with_name("kept.json")


def read() -> KeptState | None:
    """Return what is kept; None where nothing is.

    Raises
    ------
    HourBankError
        If it cannot be read, or another version of hourbank wrote it.
    """
    anew = "remove it to begin anew"
    try:
        kept = json.loads(file().read_text(encoding="utf-8"))
        version = kept.pop("format")
        if version == FORMAT:
            state = KeptState(**kept)
            if not isinstance(state.executions, list) or not all(
                isinstance(some, list) for some in state.items.values()
            ):
                raise ValueError
            return state
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HourBankError(f"{file()} cannot be read ({error.strerror}): {anew}") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise HourBankError(f"{file()} is no kept state: {anew}") from None
    raise HourBankError(
        f"{file()} was kept by another version of hourbank (format {version}, this one reads {FORMAT}): {anew}, "
        "or go on with that version"
    )


class Keeper:
    """Writes a run's state after each change; nobody finds half of it, whenever the process is killed.

    Parameters
    ----------
    emulator : Emulator
        Where the state is.
    state : KeptState
        Names the run.
    """

    def __init__(self, emulator: Emulator, state: KeptState) -> None:
        self._emulator, self._state, self._mark = emulator, state, ""

    def save(self) -> None:
        """Write the state, where it is not the one that was written last.

        Raises
        ------
        HourBankError
            If it cannot be written.
        """
        mark, answer = _ask(self._emulator, "GET", known=self._mark)
        if answer is None:
            return
        state = asdict(replace(self._state, **answer))
        machine.write_whole(file(), json.dumps({"format": FORMAT, **state}))
        self._mark = mark


def put_back(emulator: Emulator, items_by_table: Mapping[str, Sequence[Any]]) -> None:
    """Put items, in DynamoDB's JSON, into those of the tables that are there."""
    dynamodb = emulator.client("dynamodb")
    for table in set(dynamodb.list_tables()["TableNames"]) & items_by_table.keys():
        items = items_by_table[table]
        for begin in range(0, len(items), _MOST_WRITES):
            writes = [{"PutRequest": {"Item": item}} for item in items[begin : begin + _MOST_WRITES]]
            dynamodb.batch_write_item(RequestItems={table: writes})


def let_executions_go_on(emulator: Emulator, executions: Sequence[Any]) -> int:
    """Put executions back, and let those that ran go on in the state where they were; return how many did."""
    _, number = _ask(emulator, "PUT", json.dumps(executions))
    return int(number)


def _ask(emulator: Emulator, method: str, body: str = "", *, known: str = "") -> tuple[str, Any]:
    """Return the mark of the emulator's state and its answer; None where the state is known."""
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=STALLED_SECONDS)
    try:
        connection.request(method, STATE_PATH, body, {"If-None-Match": known})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 304):
            raise HourBankError(f"the emulator does not tell its state ({answer.status}): {emulator.last_words()}")
        return answer.headers["ETag"], json.loads(content) if content else None
    except OSError as error:
        raise HourBankError(f"the emulator does not answer any more: {error.strerror or error}") from None
    finally:
        connection.close()
