"""What is changed on somebody's word: a yes before, and after it a line of JSON with who and why, to be kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from handlers.aws.dynamodb import client, now
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError

Confirm = Callable[[str], bool]


def asker(*, yes: bool) -> Confirm:
    """Return what asks for a yes; where it was given before, nobody is asked.

    Raises
    ------
    HourBankError
        When it asks and there is nobody at a terminal.
    """

    def confirm(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise HourBankError("nobody is there to say yes: add --yes")
        print(f"{question} [y/N] ", end="", flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return confirm


def caller() -> str:
    arn: str = client("sts").get_caller_identity()["Arn"]
    return arn


def log(stack: Stack, command: str, by: str, reason: str, **more: Any) -> None:
    line = {"timestamp": now(), "message": command, "stack": stack.env, "region": stack.region}
    # in ASCII: what a client chose for an id must not speak to a terminal, and stays what it is
    print(json.dumps(line | {"by": by, "reason": reason} | more), file=sys.stderr, flush=True)
