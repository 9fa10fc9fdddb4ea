"""The program as verify asks about it, and an emulator that is asked."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from hourbank.account.checks import Account, Outcome
from hourbank.local.emulator import Emulator
from hourbank.verify.program import Program
from hourbank.verify.verdicts import Verdict

HERE = Account("123456789012", "us-east-1", "aws")


def environment(emulator: Emulator) -> dict[str, str]:
    """What leads a command of a user's to an emulator in place of AWS."""
    access_key, secret_key = emulator.credentials
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def ask_here(emulator: Emulator) -> pytest.MonkeyPatch:
    """Lead this process to an emulator, until what this returns is undone."""
    patch = pytest.MonkeyPatch()
    for name, value in environment(emulator).items():
        patch.setitem(os.environ, name, value)
    return patch


def changed(program: Program, workflow: str, change: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    """The program's definitions, after a change of the states of one."""
    definitions = dict(program.definitions)
    name = next(machine for machine in definitions if machine.startswith(workflow))
    definition = json.loads(definitions[name])
    change(definition["States"])
    return definitions | {name: json.dumps(definition)}


def misses(verdicts: list[Verdict]) -> list[Verdict]:
    return [one for one in verdicts if one.outcome is not Outcome.FITS]
