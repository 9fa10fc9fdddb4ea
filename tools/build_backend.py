"""Builds what is installed: the package `hourbank` alone, with what it needs of this clone in `hourbank/project`.

The program's own packages are none of the environment that it is installed in, where another project's may be called
`handlers` or `components`. The source distribution is that staged folder, so it needs neither this file nor Node.
An editable install is the clone itself. The hooks are those of https://peps.python.org/pep-0517/.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uv_build

CLONE = Path(__file__).resolve().parent.parent
OF_THE_PACKAGE = ("README.md", "LICENSE", "hourbank")
# Of the stacks only what runs on the user's own machine: the others are the user's.
OF_THE_PROGRAM = (
    *("__main__.py", "Pulumi.yaml", "Pulumi.local.yaml", "components", "workflows", "handlers", "amplify"),
    "frontend/console/dist",
)
BACKEND = ('build-backend = "build_backend"\nbackend-path = ["tools"]\n', 'build-backend = "uv_build"\n')


build_editable = uv_build.build_editable


def build_wheel(wheel_directory: str, *_: object, **__: object) -> str:
    target = Path(wheel_directory).resolve()
    with staged():
        return uv_build.build_wheel(str(target))


def build_sdist(sdist_directory: str, *_: object, **__: object) -> str:
    target = Path(sdist_directory).resolve()
    with staged():
        return uv_build.build_sdist(str(target))


@contextmanager
def staged() -> Iterator[None]:
    """Works in a folder with nothing but what is shipped; what is built there is the same bytes every time."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="hourbank-build-") as folder:
        stage = Path(folder)
        settings = (CLONE / "pyproject.toml").read_text(encoding="utf-8")
        if BACKEND[0] not in settings:
            raise SystemExit("pyproject.toml does not name tools/build_backend.py as it did: see BACKEND there")
        (stage / "pyproject.toml").write_text(settings.replace(*BACKEND), encoding="utf-8")
        for name in OF_THE_PACKAGE:
            copy(name, stage)
        for name in OF_THE_PROGRAM:
            copy(name, stage / "hourbank" / "project")
        os.chdir(stage)
        try:
            yield
        finally:
            os.chdir(before)


def copy(name: str, into: Path) -> None:
    """Copies a file or a folder of the clone, without what Python or an editor left there, and without its rights."""
    source, target = CLONE / name, into / name
    files = [file for file in sorted(source.rglob("*")) if file.is_file()] if source.is_dir() else [source]
    for file in files:
        inside = file.relative_to(source)
        if "__pycache__" in inside.parts or any(part.startswith(".") for part in inside.parts):
            continue
        place = target / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o644)
