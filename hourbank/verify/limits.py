"""Names, lengths and limits: what AWS takes, held against what the program declares; no call is needed.

A region's name is a part of some names, so a stack that is legal in one region may be too long in another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from hourbank.verify.program import Program, read
from hourbank.verify.verdicts import Verdict, found

LIMITS = "names, lengths and limits"
SHORTEN = "choose a shorter stack name"
# by the last part of a type: the input that has the name, and what AWS takes
NAMES = {
    "Dashboard": ("dashboardName", r"[0-9A-Za-z_-]{1,255}"),
    "EventBus": ("name", r"[/.\-_A-Za-z0-9]{1,256}"),
    "EventRule": ("name", r"[.\-_A-Za-z0-9]{1,64}"),
    "Function": ("name", r"[a-zA-Z0-9-_]{1,64}"),
    "LogGroup": ("name", r"[.\-_/#A-Za-z0-9]{1,512}"),
    "MetricAlarm": ("name", r"[ -~]{1,255}"),
    "Parameter": ("name", r"[a-zA-Z0-9_.-]{1,1011}"),
    "Queue": ("name", r"[0-9A-Za-z_-]{1,80}"),
    "Role": ("name", r"[\w+=,.@-]{1,64}"),
    "Schedule": ("name", r"[0-9a-zA-Z-_.]{1,64}"),
    "StateMachine": ("name", r"[0-9A-Za-z_-]{1,80}"),
}
POLICY_CHARACTERS = 10_240
DEFINITION_BYTES = 1_048_576
STATE_CHARACTERS = 80
FILTERS = 5
PATTERN_CHARACTERS = 4096
ENVIRONMENT_BYTES = 4096


def kept(program: Program) -> Iterator[Verdict]:
    """Hold each name against AWS's pattern, and each text against its longest."""
    for resource in program.recording.resources:
        key, pattern = NAMES.get(resource.type.rpartition(":")[2], ("", ""))
        if key:
            name = program.resolve(resource.inputs[key])
            wrong = "" if re.fullmatch(pattern, name) else f"{len(name)} characters, and AWS takes {pattern}"
            yield found(LIMITS, name, wrong, SHORTEN)
    for role, statements in program.statements().items():
        yield at_most(f"policy of {role.rpartition('/')[2]}", len(json.dumps(statements)), POLICY_CHARACTERS)
    for machine, text in program.definitions.items():
        yield at_most(f"definition of {machine}", len(text.encode()), DEFINITION_BYTES)
        yield at_most(f"longest state of {machine}", max(map(len, read(text)["States"])), STATE_CHARACTERS)
    yield at_most("filters of the stream", len(program.filters), FILTERS)
    yield at_most("longest filter", max(map(len, program.filters)), PATTERN_CHARACTERS)
    for function in program.recording.of_type("Function"):
        variables = function.inputs.get("environment", {}).get("variables", {})
        size = len(program.resolve(json.dumps(variables)).encode())
        yield at_most(f"environment of {function.inputs['name']}", size, ENVIRONMENT_BYTES)


def at_most(what: str, size: int, most: int) -> Verdict:
    return found(LIMITS, what, f"{size}, and AWS takes {most}" if size > most else "", "make it shorter")
