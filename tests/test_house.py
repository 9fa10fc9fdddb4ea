"""How the code is named: what import-linter cannot say.

Write one here when a rule of the house can be read off the files.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from hourbank.names import ROOT

PACKAGES = ("hourbank", "components", "workflows", "handlers")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = SETTINGS["tool"]["importlinter"]["contracts"]


def test_no_class_has_the_name_of_another() -> None:
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    ]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_one_place_reads_what_functions_are_told() -> None:
    reading = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "handlers").rglob("*.py")
        if re.search(r"\b(environ|getenv)\b", path.read_text(encoding="utf-8"))
    }
    assert reading == {"handlers/aws/environment.py"}


# An import for each contract that breaks it, and where it would stand.
BREAKS = {
    "handlers run in Lambda alone": ("handlers/bank/hours.py", "import hourbank.hours"),
    "workflows import nothing of ours and nothing to install": ("workflows/retries.py", "import boto3"),
    "components import workflows at most": ("components/models.py", "import handlers.bank.hours"),
    "a function stands on the bank, the bank on AWS": ("handlers/aws/telemetry.py", "import handlers.bank.hours"),
    "only the simulator imports moto": ("hourbank/local/tables.py", "import moto"),
    "help, and what operates a stack, import no Pulumi": ("hourbank/operate/stuck.py", "import pulumi"),
    "what runs in a process of its own imports nothing of ours": (
        "hourbank/local/processes/meter.py",
        "import hourbank.names",
    ),
    "no circle": ("hourbank/drawing/graph.py", "import hourbank.drawing.svg"),
    "hourbank is built in floors": ("hourbank/drawing/graph.py", "import hourbank.local.people"),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def broken(house: Path) -> list[str]:
    """The contracts that import-linter finds broken."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    said = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False).stdout
    return re.findall(r"^(.+) BROKEN", said, re.MULTILINE)


def test_every_contract_has_what_breaks_it() -> None:
    assert {contract["name"] for contract in CONTRACTS} == set(BREAKS)


@pytest.mark.thorough
@pytest.mark.parametrize("contract", BREAKS)
def test_each_contract_can_fail(house: Path, contract: str) -> None:
    path, line = BREAKS[contract]
    file = house / path
    before = file.read_text(encoding="utf-8")
    file.write_text(f"{before}\n{line}\n", encoding="utf-8")
    try:
        assert contract in broken(house)
    finally:
        file.write_text(before, encoding="utf-8")


@pytest.mark.thorough
def test_no_contract_is_broken(house: Path) -> None:
    assert broken(house) == []


def test_the_command_line_stands_on_eight_floors_at_most() -> None:
    (floors,) = (contract["layers"] for contract in CONTRACTS if contract.get("containers") == ["hourbank"])
    assert len(floors) <= 8


def test_a_large_class_says_why() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
                    assert len(methods) <= 20 or "one class" in (ast.get_docstring(tree) or ""), (path, node.name)


def test_a_large_file_says_why() -> None:
    large = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if len((text := path.read_text(encoding="utf-8")).splitlines()) > 400
        and "in one file" not in (ast.get_docstring(ast.parse(text)) or "")
    ]
    assert large == []
