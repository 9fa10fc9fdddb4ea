"""What the program in a folder declares, as JSON: the other half of `hourbank plan`, in a process of its own.

The folder can be another version of this project, older than this file: its `__main__.py`, components, workflows and
configuration are recorded with the recorder and the packages that are here. So it is the folder's modules that the
program must find, and this project's that must be out of its sight.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hourbank.names import PROJECT, ROOT
from hourbank.program import recorder
from hourbank.program.configuration import read_project, read_stack

# What is told to the program and only handed on, by key, and where it is among its settings.
VALUES = {
    "startRequestsFrom": "start_requests_from",
    "providerResponseTimeoutSeconds": "response_timeout_seconds",
    "confirmationDays": "confirmation_days",
    "logRetentionDays": "log_retention_days",
    "alarmTopicArn": "alarm_topic_arn",
    "permissionsBoundaryArn": "permissions_boundary_arn",
}


def snapshot(tree: Path, unknown: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Record stacks of the program in a folder; once for a process, as modules stay imported.

    Parameters
    ----------
    tree
        The folder.
    unknown
        By the stack's name, the keys whose values are unknown in one of the two versions: they are in neither.

    Returns
    -------
    `stacks`: by name `resources` and `outputs`, or `refused`: why the program refuses, in one line. `code`: the files
    of the functions' archive, path inside to path. `keys`: what Pulumi.yaml declares, and `project` what it sets.
    `config`: by stack, what its file sets; `environments` of Pulumi ESC; and `unknown`: why a value is unknown.
    """
    sys.path[:] = [str(tree), *(place for place in sys.path if Path(place).resolve() != ROOT)]
    # the recorder needs some of this project's, and keeps them
    for name in [name for name in sys.modules if name.partition(".")[0] in ("components", "workflows", "handlers")]:
        del sys.modules[name]
    project = read_project(tree)
    seen: dict[str, Any] = {
        "stacks": {},
        "code": {},
        "keys": project.declared,
        "project": project.values,
        "config": {},
        "environments": {},
        "unknown": {},
    }
    import pulumi

    for stack, words in unknown.items():
        config = read_stack(stack, tree)
        seen["config"][stack] = config.own
        seen["environments"][stack] = config.environments
        seen["unknown"][stack] = config.unknown
        try:
            recording = recorder.record(
                stack,
                config={key: config.stand_ins[key] for key in words if key in config.stand_ins},
                tree=tree,
                settings=lambda read, words=words: veiled(read, words),
            )
        except pulumi.RunError as error:
            seen["stacks"][stack] = {"refused": str(error)}
            continue
        seen["stacks"][stack] = {
            "resources": [declared(resource) for resource in recording.resources],
            "outputs": recording.outputs,
        }
        seen["code"] = {name: str(path) for name, path in recording.code.items()}
    return seen


def veiled(settings: Any, words: Mapping[str, str]) -> Any:
    """The settings with a word in place of each value that is unknown here and only handed on."""
    values = {
        field: words[key]
        for name, field in VALUES.items()
        if (key := f"{PROJECT}:{name}") in words and getattr(settings, field, None)
    }
    return dataclasses.replace(settings, **values)


def declared(resource: recorder.Resource) -> dict[str, Any]:
    """A resource without its code; of the component that it is a part of, the type, which is a part of its URN."""
    return {
        "type": resource.type,
        "name": resource.name,
        "logical_id": resource.logical_id,
        "inputs": {key: value for key, value in resource.inputs.items() if key != "code"},
        "protect": resource.protect,
        "version_id": resource.version_id,
        "parent": resource.parent.split("::")[2] if resource.parent else None,
    }


def main() -> None:
    """Write the snapshot of the folder, the stacks and what is unknown of them, as told; what stops it, in one line.

    Into a file, as the program may print.
    """
    tree, unknown, out = sys.argv[1:]
    try:
        Path(out).write_text(json.dumps(snapshot(Path(tree), json.loads(unknown))), encoding="utf-8")
    except Exception as error:  # noqa: BLE001 - whatever the other version does, the reader wants one line
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


if __name__ == "__main__":
    main()
