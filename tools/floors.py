"""What stands on what: the floors of `pyproject.toml`, from the top, and each package in its own words."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def words(package: str) -> str:
    """Return the first line of a package's or a module's docstring."""
    path = ROOT / package.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def main() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    for contract in contracts:
        if contract["type"] != "layers":
            continue
        (container,) = contract["containers"]
        print(f"\n{contract['name']}")
        floors = contract["layers"]
        for number, packages in zip(range(len(floors), 0, -1), floors, strict=True):
            for place, package in enumerate(packages.split(" | ")):
                print(f"  {'' if place else number:>2}  {package:<10}{words(f'{container}.{package}')}")


main()
