"""Two versions of this project, and what the program of each declares: recorded with the packages that are here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hourbank.errors import HourBankError
from hourbank.files import UNREADABLE, why_unreadable
from hourbank.names import ROOT
from hourbank.program import cloudformation
from hourbank.program.configuration import read_stack
from hourbank.program.recorder import Resource
from hourbank.program.resource_types import MACHINE

SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class DeclaredStack:
    """What a version declares for a stack; functions' versions are called by their functions' names."""

    resources: Mapping[str, Resource]
    """By type and name."""
    outputs: Mapping[str, Any]
    refused: str = ""
    """Why the program refuses the stack; then there is nothing else."""

    def definition(self, machine: str) -> Mapping[str, Any] | None:
        """The definition of a state machine, if it is there."""
        found = self.resources.get(f"{MACHINE} {machine}")
        return json.loads(found.inputs["definition"]) if found else None

    def of_type(self, type_: str) -> list[Resource]:
        """The resources of a type."""
        return [resource for resource in self.resources.values() if resource.type == type_]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One of the two versions: what its program declares, and the files that it takes along."""

    name: str
    stacks: Mapping[str, DeclaredStack]
    files: Mapping[str, bytes]
    """Of the functions' archive."""
    archive_bytes: int
    keys: Mapping[str, Any]
    """Of Pulumi.yaml."""
    project: Mapping[str, Any] = field(default_factory=dict)
    """What Pulumi.yaml gives every stack."""
    config: Mapping[str, Mapping[str, Any]]
    """By stack."""
    environments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By stack, the environments of Pulumi ESC that it takes values from."""
    unknown: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By stack, why the value of a key is unknown here."""
    packages: Mapping[str, str]
    """Versions by name, as locked."""


def unknown_in(name: str, tree: Path, stacks: Sequence[str]) -> dict[str, dict[str, str]]:
    """By stack, the values of a version that only Pulumi can open, by key, and the word that stands for each."""
    try:
        configs = {stack: read_stack(stack, tree) for stack in stacks}
    except HourBankError as error:
        raise HourBankError(f"{name} cannot be recorded: {error}") from None
    return {
        stack: {key: "a secret" if "secret" in why else "from Pulumi ESC" for key, why in config.unknown.items()}
        for stack, config in configs.items()
    }


def read(name: str, tree: Path, unknown: Mapping[str, Mapping[str, str]]) -> Version:
    """Record a version in a process of its own.

    Parameters
    ----------
    name
        What the version is called.
    tree
        Its files.
    unknown
        By stack, the keys that have no value that could be compared, and a word for each.
    """
    if not (tree / "__main__.py").exists() or not (tree / "components").is_dir():
        raise HourBankError(
            f"{name} cannot be recorded: it has no __main__.py and components/, so it is from before the program"
        )
    # Not the user's: nothing may be asked of an account.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_", "PYTHON"))}
    with tempfile.TemporaryDirectory(prefix="hourbank-plan-") as folder:
        out = Path(folder, "snapshot.json")
        command = [sys.executable, "-m", "hourbank.review.snapshot", str(tree), json.dumps(unknown), str(out)]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            raise HourBankError(f"{name} cannot be recorded: its program does not end within {SECONDS} s") from None
        if ended.returncode or not out.is_file():
            said = ended.stderr.strip().splitlines() or [f"its program ends by itself, with {ended.returncode}"]
            raise HourBankError(f"{name} cannot be recorded with what is installed here: {said[-1]}")
        found = json.loads(out.read_text(encoding="utf-8"))
    files = {inside: Path(path).read_bytes() for inside, path in found["code"].items()}
    return Version(
        name=name,
        stacks={stack: to_stack(declared) for stack, declared in found["stacks"].items()},
        files=files,
        archive_bytes=len(cloudformation.zipped({inside: (content, 0o644) for inside, content in files.items()})),
        keys=found["keys"],
        project=found["project"],
        config=found["config"],
        environments=found["environments"],
        unknown=found["unknown"],
        packages=packages(name, tree / "uv.lock"),
    )


def packages(name: str, lock: Path) -> dict[str, str]:
    """Versions by name, as a version of this project locks them; none where it has no lock."""
    try:
        locked = tomllib.loads(lock.read_text(encoding="utf-8-sig")).get("package", []) if lock.exists() else []
        return {package["name"]: package.get("version", "") for package in locked}
    except (*UNREADABLE, AttributeError, KeyError, TypeError) as error:
        raise HourBankError(f"{name} cannot be recorded: uv.lock cannot be read ({why_unreadable(error)})") from None


def nothing(name: str, stacks: Sequence[str]) -> Version:
    """The version that does not have the program yet."""
    empty = {stack: DeclaredStack(resources={}, outputs={}) for stack in stacks}
    return Version(
        name=name, stacks=empty, files={}, archive_bytes=0, keys={}, config={one: {} for one in stacks}, packages={}
    )


def to_stack(declared: Mapping[str, Any]) -> DeclaredStack:
    if "refused" in declared:
        return DeclaredStack(resources={}, outputs={}, refused=declared["refused"])
    text = json.dumps(declared["resources"])
    for one in declared["resources"]:
        if one["version_id"]:  # another one for every change of the code, which is said once
            text = text.replace(f"${{{one['version_id']}}}", one["name"])
    resources = [replace(Resource(**one), version_id=None) for one in json.loads(text)]
    return DeclaredStack(resources={key_of(resource): resource for resource in resources}, outputs=declared["outputs"])


def key_of(resource: Resource) -> str:
    """What makes a resource the same one in two versions."""
    return f"{resource.type} {resource.name}"
