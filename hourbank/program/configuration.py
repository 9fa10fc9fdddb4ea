"""What Pulumi.yaml and a stack's file set, as the engine hands it to the program.

What only Pulumi can open is unknown here, and never shown: secrets, and what an environment of Pulumi ESC sets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.models import MODELS
from hourbank.errors import HourBankError
from hourbank.files import why_unreadable
from hourbank.names import PROJECT, ROOT
from hourbank.program import go_yaml

# What a stack cannot do without; an environment of Pulumi ESC may be where it is.
NEEDED = ("amplifyApiId", "amplifyEnv", "startRequestsFrom")
UNKNOWN = "unknown"
# What the program takes for a value that is unknown here, where it does not take any text.
LEGAL = {
    "tables": go_yaml.json_of({key: f"{UNKNOWN}-{key}" for key in MODELS}),
    "startRequestsFrom": "2026-01-01T00:00:00Z",
    "notifyFrom": f"{UNKNOWN}@example.com",
    "permissionsBoundaryArn": f"arn:aws:iam::000000000000:policy/{UNKNOWN}",
}
# Begins what stands for a secret where two versions are compared; a digest of what is encrypted follows.
SECRET = "\0secret "  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """A stack's configuration, by full keys such as `aws:region`."""

    values: Mapping[str, str]
    """The stack's own over the project's over the defaults, without what is unknown here."""
    unknown: Mapping[str, str]
    """Why a value is unknown here, in words that go on from its key."""
    placeholders: Mapping[str, str]
    """What the program can be recorded with in place of its values that are unknown here."""
    stand_ins: Mapping[str, str]
    """The same for every value that it has."""
    own: Mapping[str, Any]
    """What the stack's file sets, to be compared; in place of a secret, a text that begins with `SECRET`."""
    environments: tuple[str, ...]
    """The environments of Pulumi ESC that may set what the stack's file does not."""

    @property
    def for_recording(self) -> dict[str, str]:
        """The values as the engine hands them to the program, with placeholders for those unknown here."""
        return {**self.values, **self.placeholders}

    def need(self, keys: Iterable[str]) -> None:
        """Refuse to go on where one of these is unknown.

        Raises
        ------
        HourBankError
            One line.
        """
        for key in keys:
            if key in self.unknown:
                raise HourBankError(
                    f"{key} {self.unknown[key]}, which only Pulumi can open: set it in plain, here it is needed "
                    f"(pulumi config set --plaintext {key.removeprefix(f'{PROJECT}:')} VALUE)"
                )


@dataclass(frozen=True, kw_only=True)
class ProjectConfig:
    """What Pulumi.yaml sets and declares."""

    name: str
    values: Mapping[str, Any]
    """By full key, what it gives every stack."""
    declared: Mapping[str, Mapping[str, Any]]
    """By key as it is written there, what it says of values that a stack gives: `type`, `default` and so on."""

    @property
    def defaults(self) -> dict[str, Any]:
        """By full key, what is so where no stack says otherwise."""
        declared = {full_key(key, self.name): one for key, one in self.declared.items()}
        defaults = {key: one["default"] for key, one in declared.items() if one.get("default") is not None}
        return {**defaults, **self.values}


def read_project(tree: Path = ROOT) -> ProjectConfig:
    """What Pulumi.yaml sets, in all three forms: `key: x`, `key: {value: x}`, `key: {default: x}`.

    Raises
    ------
    HourBankError
        One line: the file cannot be read, or is no map.
    """
    path = tree / "Pulumi.yaml"
    content = load_yaml(path)
    name, given = str(content.get("name") or PROJECT), content.get("config") or {}
    # what was once the folder of the stacks' files
    given = {} if isinstance(given, str) else as_map(given, path)
    values, declared = {}, {}
    for key, one in given.items():
        if not isinstance(one, dict):
            values[full_key(key, name)] = one
            continue
        if one.get("value") is not None:
            values[full_key(key, name)] = one["value"]
        says = {part: said for part, said in one.items() if part not in ("value", "secret")}
        if says and full_key(key, name).startswith(f"{name}:"):
            declared[key] = says
    return ProjectConfig(name=name, values=values, declared=declared)


def stack_file(stack: str, tree: Path = ROOT) -> Path:
    """Where the file of a stack is, if there is one.

    Raises
    ------
    HourBankError
        One line: Pulumi.yaml cannot be read.
    """
    content = load_yaml(tree / "Pulumi.yaml")
    folder = content.get("stackConfigDir") or content.get("config")
    return tree / (folder if isinstance(folder, str) else "") / f"Pulumi.{stack}.yaml"


def read_stack(stack: str, tree: Path = ROOT) -> StackConfig:
    """The configuration of a stack, whether its file is there or not.

    Raises
    ------
    HourBankError
        One line: a file cannot be read, or is no map.
    """
    project, path = read_project(tree), stack_file(stack, tree)
    content = load_yaml(path) if path.exists() else {}
    own = {full_key(key, project.name): one for key, one in as_map(content.get("config") or {}, path).items()}
    environments = tuple(names_of(content.get("environment")))
    unknown = {key: f"is a secret in {path.name}" for key, one in own.items() if has_secret(one)}
    given = {**project.defaults, **own}
    if environments:
        told = given.get(f"{PROJECT}:tables")
        needed = NEEDED if not isinstance(told, dict) or set(MODELS) - set(told) else ("startRequestsFrom",)
        where = f"comes from {' and '.join(environments)} of Pulumi ESC, or from nowhere"
        unknown |= {key: where for name in needed if not given.get(key := f"{PROJECT}:{name}")}
    values = {key: text(key, one, path) for key, one in given.items() if key not in unknown}
    stand_ins = {
        key: placeholder(key.removeprefix(f"{PROJECT}:"), given, project.defaults)
        for key in {**given, **unknown}
        if key.startswith(f"{PROJECT}:") and (key in unknown or given[key] not in (None, "", {}))
    }
    return StackConfig(
        values=values,
        unknown=unknown,
        placeholders={key: one for key, one in stand_ins.items() if key in unknown},
        stand_ins=stand_ins,
        own={key: without_secrets(one) for key, one in own.items()},
        environments=environments,
    )


def stack_config(stack: str, tree: Path = ROOT) -> dict[str, str]:
    """The values of a stack as the engine hands them to the program, with placeholders for those unknown here.

    Raises
    ------
    HourBankError
        One line: a file cannot be read, or is no map.
    """
    return read_stack(stack, tree).for_recording


def told_tables(config: Mapping[str, str]) -> dict[str, str]:
    """The tables' names that the configuration gives in full, by key."""
    told: dict[str, str] = json.loads(config.get(f"{PROJECT}:tables") or "{}")
    return told


def full_key(key: str, project: str) -> str:
    """A key with the name of whose it is: without one it is the project's. Pulumi once wrote a `config:` between."""
    namespace, colon, name = key.partition(":")
    return f"{namespace}:{name.removeprefix('config:')}" if colon else f"{project}:{key}"


def names_of(environment: Any) -> list[str]:
    """The names in a stack file's `environment`, of which each may be a map with options."""
    if isinstance(environment, dict):
        environment = environment.get("imports") or ["the environment"]
    if isinstance(environment, str):
        return [environment]
    return [str(next(iter(one), "")) if isinstance(one, dict) else str(one) for one in environment or []]


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"secure"} and isinstance(value["secure"], str)


def has_secret(value: Any) -> bool:
    if is_secret(value):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(has_secret, inner))


def without_secrets(value: Any) -> Any:
    """A value in which each secret is what begins with `SECRET`."""
    if is_secret(value):
        return SECRET + hashlib.sha256(value["secure"].encode()).hexdigest()
    if isinstance(value, dict):
        return {key: without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


def placeholder(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """What the program takes for a value of its own that is unknown here."""
    value = given.get(f"{PROJECT}:{name}")
    region = one if isinstance(one := given.get("aws:region"), str) else "us-east-1"
    if name == "alarmTopicArn":
        return f"arn:aws:sns:{region}:000000000000:{UNKNOWN}"
    if name == "appsyncEndpoint":
        return f"https://{UNKNOWN}.appsync-api.{region}.amazonaws.com/graphql"
    if name == "userPoolId":
        return f"{region}_{UNKNOWN}"
    if name == "tables" and isinstance(value, dict) and not is_secret(value):
        told = {key: f"{UNKNOWN}-{key}" if has_secret(one) else one for key, one in value.items()}
        return go_yaml.text_of(told)
    default = defaults.get(f"{PROJECT}:{name}")
    return LEGAL.get(name) or (go_yaml.text_of(default) if default not in (None, "") else UNKNOWN)


def text(key: str, value: Any, path: Path) -> str:
    try:
        return go_yaml.text_of(value)
    except ValueError as error:
        raise HourBankError(f"{path.name}: {key} {error}: correct it") from None


def as_map(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HourBankError(f"{path.name}: config is not a map of keys and values: correct it")
    return value


def load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = go_yaml.load(path.read_bytes()) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise HourBankError(f"{path.name} is no YAML (line {line}: {error.problem}): correct it") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise HourBankError(f"{path.name} cannot be read ({why_unreadable(error)}): correct it") from None
    if not isinstance(content, dict):
        raise HourBankError(f"{path.name} is not a map of keys and values: correct it")
    return content
