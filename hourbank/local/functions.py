"""Calling a function of a stack, here or on AWS, and reading what it answers or why it failed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hourbank.errors import HourBankError


class FunctionFailed(HourBankError):
    """The function raised, or ran out of time or memory; the message is its own, in one line."""


def invoked(functions: Any, name: str, event: object) -> Any:
    """Invoke a function by a client of Lambda's, and return what it answers.

    Raises
    ------
    FunctionFailed
        If it answers with an error.
    """
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    told = answer["Payload"].read().decode(errors="replace")
    if "FunctionError" not in answer:
        return json.loads(told)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(told)["errorMessage"]
    raise FunctionFailed(" ".join(str(told).split())[:300])
