"""The program as verify asks about it, and an emulator that is asked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from handlers.aws import dynamodb
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


@contextmanager
def asking(emulator: Emulator) -> Iterator[None]:
    """Lead this process to an emulator."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(emulator).items():
            patch.setenv(name, value)
        dynamodb.client.cache_clear()
        yield
    dynamodb.client.cache_clear()


def changed(program: Program, workflow: str, change: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    """The program's definitions, after a change of the states of one."""
    definitions = dict(program.definitions)
    name = next(machine for machine in definitions if machine.startswith(workflow))
    definition = json.loads(definitions[name])
    change(definition["States"])
    return definitions | {name: json.dumps(definition)}


def misses(verdicts: list[Verdict]) -> list[Verdict]:
    return [one for one in verdicts if one.outcome is not Outcome.FITS]
