"""How the code is named: what import-linter cannot say.

Write one here when a rule of the house can be read off the files.
"""

import ast
import re
from collections import Counter

from hourbank.names import ROOT

PACKAGES = ("hourbank", "components", "workflows", "handlers")


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
