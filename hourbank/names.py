"""What things are called: this project and its folder, and how the user calls this program."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

# What an installed hourbank has of the clone that it was built from: tools/build_backend.py.
_SHIPPED = Path(__file__).resolve().with_name("project")
IS_INSTALLED = _SHIPPED.is_dir()
# The folder of the program: of `__main__.py`, `components`, `handlers` and `Pulumi.yaml`.
ROOT = _SHIPPED if IS_INSTALLED else _SHIPPED.parent.parent
# The Pulumi project's name, which begins the keys of its configuration.
PROJECT = "hourbank"
# What its Pulumi.yaml says.
NAMED = re.compile(rf"^name:\s*['\"]?{PROJECT}['\"]?\s*(#.*)?$", re.MULTILINE)


def project_folder() -> Path | None:
    """Where the user's stacks are configured: this clone, or where hourbank is installed, that of the working folder.

    The nearest Pulumi.yaml decides, as for Pulumi; None where it is not of this project, or there is none.
    """
    if not IS_INSTALLED:
        return ROOT
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return None
    for folder in (here, *here.parents):
        try:
            content = (folder / "Pulumi.yaml").read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            continue
        return folder if NAMED.search(content) else None
    return None


def stack_name(full: str) -> str:
    """The name of a stack without whose it is: `dev` of `acme/hourbank/dev`, as Pulumi also takes it."""
    return full.rpartition("/")[2]


def workflow_name(machine: str) -> str:
    """The name of a state machine without its stack: `ServiceRequestWorkflow` of `ServiceRequestWorkflow-dev`."""
    return machine.rpartition("-")[0]


def execution_arn(machine: str, name: str) -> str:
    """The ARN of an execution, from its state machine's."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def to_install(extra: str) -> str:
    """Return how to add one of hourbank's extras to where it is installed."""
    return f"{shlex.quote(sys.executable)} -m pip install '{PROJECT}[{extra}]'"


def command() -> str:
    """Return how to call this program from the user's shell."""
    program, on_path = Path(sys.argv[0]).resolve(), shutil.which("hourbank")
    if on_path and Path(on_path).resolve() == program:
        return "hourbank"
    try:
        return str(program.relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):  # elsewhere, or in a folder that is gone
        return str(program)
