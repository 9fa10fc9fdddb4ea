"""What things are called: this project and its folder, and how the user calls this program."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# The folder of `__main__.py` and `Pulumi.yaml`.
ROOT = Path(__file__).resolve().parent.parent
# The Pulumi project's name, which begins the keys of its configuration.
PROJECT = "hourbank"


def stack_name(full: str) -> str:
    """The name of a stack without whose it is: `dev` of `acme/hourbank/dev`, as Pulumi also takes it."""
    return full.rpartition("/")[2]


def workflow_name(machine: str) -> str:
    """The name of a state machine without its stack: `ServiceRequestWorkflow` of `ServiceRequestWorkflow-dev`."""
    return machine.rpartition("-")[0]


def execution_arn(machine: str, name: str) -> str:
    """The ARN of an execution, from its state machine's."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def command() -> str:
    """Return how to call this program from the user's shell."""
    program, on_path = Path(sys.argv[0]).resolve(), shutil.which("hourbank")
    if on_path and Path(on_path).resolve() == program:
        return "hourbank"
    try:
        return str(program.relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):  # elsewhere, or in a folder that is gone
        return str(program)
