"""Prints docs/configuration.md: every key of a stack's configuration, as Pulumi.yaml declares it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hourbank.program.configuration import read_project

ROOT = Path(__file__).parent.parent
HEAD = """# Configuration

Written by `make docs` from Pulumi.yaml: change it there.

A stack's values are in `Pulumi.<stack>.yaml`, set with `pulumi config set KEY VALUE`; a part of an object with
`pulumi config set --path tables.escrow NAME`. The project is `hourbank`, so the file shows a key as `hourbank:KEY`. A
value that is missing or makes no sense stops a preview in one line that names the key. `hourbank doctor --amplify
PATH` proposes the values for an Amplify project. `aws:region` is the backend's region.

Commands of `hourbank` read these files as Pulumi does: also values for the whole project in `Pulumi.yaml`, and a stack
named with its organisation. What only Pulumi can open is unknown to them: a secret, or what an environment of Pulumi
ESC sets. A plan says so; `doctor` and `adopt` name a value that they cannot do without. A time stands in quotes.

| key | type | default | meaning |
|---|---|---|---|
"""


def row(key: str, declared: Mapping[str, Any]) -> str:
    """Return a row of the table; a key without a default is required."""
    default = declared.get("default", "required")
    if default == "":
        default = "none"
    elif default != "required":
        default = f"`{json.dumps(default)}`"
    meaning = " ".join(declared["description"].split()).replace("|", "\\|")
    meaning = re.sub(r"docs/([\w/-]+\.md)", r"[\1](\1)", meaning)
    return f"| `{key}` | {declared['type']} | {default} | {meaning} |\n"


def page() -> str:
    """Return the page."""
    keys = read_project(ROOT).declared
    return HEAD + "".join(row(key, declared) for key, declared in keys.items())


if __name__ == "__main__":
    print(page(), end="")
