"""What Pulumi.yaml and a stack's file set, as the engine hands it to the program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

from hourbank.names import PROJECT, ROOT


def stack_config(stack: str, tree: Path = ROOT) -> dict[str, str]:
    """The values of ``Pulumi.<stack>.yaml`` over the defaults of ``Pulumi.yaml``, as the engine hands them over.

    Raises
    ------
    pulumi.RunError
        One line: the file cannot be read, or is no map.
    """
    path = tree / f"Pulumi.{stack}.yaml"
    own = load_yaml(path).get("config") or {} if path.exists() else {}
    if not isinstance(own, dict):
        raise pulumi.RunError(f"{path.name}: config is not a map of keys and values: correct it")
    defaults = {
        f"{PROJECT}:{key}": declared["default"]
        for key, declared in load_yaml(tree / "Pulumi.yaml")["config"].items()
        if "default" in declared
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in {**defaults, **own}.items()}


def told_tables(config: Mapping[str, str]) -> dict[str, str]:
    """The tables' names that the configuration gives in full, by key."""
    told: dict[str, str] = json.loads(config.get(f"{PROJECT}:tables") or "{}")
    return told


def load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise pulumi.RunError(f"{path.name} is no YAML (line {line}: {error.problem}): correct it") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise pulumi.RunError(f"{path.name} cannot be read ({' '.join(str(error).split())}): correct it") from None
    if not isinstance(content, dict):
        raise pulumi.RunError(f"{path.name} is not a map of keys and values: correct it")
    return content
