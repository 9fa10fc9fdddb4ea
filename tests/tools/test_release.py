"""`make release`: all of a release, or nothing of it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from hourbank.names import ROOT

SOURCES = (
    *("pyproject.toml", "uv.lock", "README.md", "LICENSE", "Makefile", "__main__.py", "Pulumi.yaml"),
    *("Pulumi.local.yaml", ".gitignore", "hourbank/names.py", "hourbank/__init__.py", "components", "workflows"),
    *("handlers", "amplify", "tools/build_backend.py", "tools/release.py"),
    *("frontend/package.json", "frontend/package-lock.json"),
)
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- Something.

## [0.1.0] - 2026-01-01

- The first.
"""
NPM = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
asked = [one for one in ("ci", "build:console", "build", "pack") if one in sys.argv]
if asked and asked[0] == os.environ.get("FAILS"):
    sys.exit(f"npm: {{asked[0]}} fails")
def write(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("built")
match asked:
    case ["ci"]: Path("frontend/node_modules").mkdir()
    case ["build:console"]: write("frontend/console/dist/index.html")
    case ["build"]: write("frontend/dist/src/index.js")
    case ["pack"]:
        version = json.loads(Path("package.json").read_text())["version"]
        write(Path(sys.argv[-1]) / f"hourbank-frontend-{{version}}.tgz")
"""


@dataclass
class Clone:
    folder: Path
    programs: Path

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name.replace("_", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "more")

    def release(self, version: str, **variables: str) -> subprocess.CompletedProcess[str]:
        people = {f"GIT_{who}_{what}": "x@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return subprocess.run(
            [sys.executable, "tools/release.py", version],
            cwd=self.folder,
            env=os.environ | people | {"PATH": f"{self.programs}:{os.environ['PATH']}"} | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def state(self) -> tuple[str, ...]:
        """What a release that is refused, or fails, leaves as it is."""
        asked = (("log", "--format=%H"), ("tag",), ("status", "--porcelain"), ("worktree", "list"))
        return (*(self.git(*one) for one in asked), str(sorted(self.folder.glob("dist/*"))))


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = Clone(tmp_path / "clone", tmp_path / "programs")
    for name in SOURCES:
        (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, made.folder / name)
    made.programs.mkdir()
    for name, text in {"npm": NPM, "node": "#!/bin/sh\n"}.items():
        (made.programs / name).write_text(text)
        (made.programs / name).chmod(0o755)
    settings = (made.folder / "pyproject.toml").read_text()
    (made.folder / "pyproject.toml").write_text(re.sub(r'(?m)^version = ".*"', 'version = "0.1.0"', settings, count=1))
    made.git("init", "--quiet")
    made.commit(CHANGELOG_md=CHANGELOG)
    return made


def refused(clone: Clone, version: str, **variables: str) -> str:
    before = clone.state
    done = clone.release(version, **variables)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert clone.state == before
    return done.stderr.splitlines()[-1]


def test_what_is_no_newer_version_is_refused(clone: Clone) -> None:
    for wrong in ("", "1.2", "v1.2.3", "1.2.3-rc1", "01.2.3"):
        assert refused(clone, wrong).startswith("make release: which version? Name it by three numbers")
    assert "0.1.0 is not newer than 0.1.0, which is out" in refused(clone, "0.1.0")
    clone.git("tag", "v0.10.0")
    assert "0.10.0 is out, there is a tag v0.10.0" in refused(clone, "0.10.0")
    assert "0.9.9 is not newer than 0.10.0, which is out" in refused(clone, "0.9.9")
    settings = (clone.folder / "pyproject.toml").read_text()
    clone.commit(pyproject_toml=settings.replace('version = "0.1.0"', 'version = "2.0.0"'))
    assert "1.0.0 is older than 2.0.0, which pyproject.toml says" in refused(clone, "1.0.0")


@pytest.mark.parametrize(
    ("changelog", "says"),
    [
        (CHANGELOG.replace("- Something.", ""), "says nothing in `## [Unreleased]`"),
        (CHANGELOG.replace("[Unreleased]", "Next"), "has no part `## [Unreleased]`"),
        ("# Changelog\n\n## [Unreleased]\n", "says nothing in `## [Unreleased]`"),
    ],
)
def test_a_changelog_that_says_nothing_is_refused(clone: Clone, changelog: str, says: str) -> None:
    clone.commit(CHANGELOG_md=changelog)
    assert says in refused(clone, "0.2.0")


def test_changes_that_are_not_committed_are_refused(clone: Clone) -> None:
    (clone.folder / "new.txt").touch()
    assert "the working tree has changes: commit them" in refused(clone, "0.2.0")


@pytest.mark.thorough
@pytest.mark.parametrize("step", ["ci", "build:console", "build", "pack"])
def test_a_build_that_fails_leaves_nothing(clone: Clone, step: str) -> None:
    assert refused(clone, "0.2.0", FAILS=step).endswith("failed, see above; nothing is committed or tagged")


@pytest.mark.thorough
def test_a_wheel_that_cannot_be_built_and_a_missing_node_leave_nothing(clone: Clone) -> None:
    (clone.programs / "node").write_text("#!/bin/sh\nexit 127\n")
    assert "was not built: install Node" in refused(clone, "0.2.0", CI="")
    (clone.programs / "node").write_text("#!/bin/sh\n")
    settings = (clone.folder / "pyproject.toml").read_text()
    clone.commit(pyproject_toml=settings.replace('license-files = ["LICENSE"]', 'license-files = ["NONE"]'))
    assert refused(clone, "0.2.0").endswith("failed, see above; nothing is committed or tagged")
    before = settings.replace('build-backend = "build_backend"', 'build-backend = "other"')
    clone.commit(pyproject_toml=before)
    assert refused(clone, "0.2.0").endswith("failed, see above; nothing is committed or tagged")


@pytest.mark.thorough
def test_a_release_is_a_commit_a_tag_and_files(clone: Clone) -> None:
    (clone.folder / "dist").mkdir()
    (clone.folder / "dist" / "hourbank-0.0.9.tar.gz").touch()
    done = clone.release("0.2.0")
    assert done.returncode == 0, done.stderr
    assert clone.git("log", "--format=%s").splitlines() == ["Release 0.2.0", "more"]
    assert clone.git("status", "--porcelain") == "" and len(clone.git("worktree", "list").splitlines()) == 1
    assert clone.git("rev-parse", "v0.2.0^{commit}") == clone.git("rev-parse", "HEAD")
    assert clone.git("tag", "--list", "--format=%(contents)").splitlines() == [
        *("HourBank 0.2.0", "", "### Added", "", "- Something."),
    ]
    changelog = (clone.folder / "CHANGELOG.md").read_text()
    parts = re.sub(r"\d{4}-\d\d-\d\d(?=\n\n###)", "DAY", changelog)
    assert parts == CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n## [0.2.0] - DAY\n")

    told = tomllib.loads((clone.folder / "pyproject.toml").read_text())["project"]["version"]
    lock = tomllib.loads((clone.folder / "uv.lock").read_text())["package"]
    [locked] = [one["version"] for one in lock if one["name"] == "hourbank"]
    package = json.loads((clone.folder / "frontend" / "package.json").read_text())["version"]
    pinned = json.loads((clone.folder / "frontend" / "package-lock.json").read_text())
    assert {told, locked, package, pinned["version"], pinned["packages"][""]["version"]} == {"0.2.0"}

    sums = (clone.folder / "dist" / "SHA256SUMS").read_text()
    names = ["hourbank-0.2.0-py3-none-any.whl", "hourbank-0.2.0.tar.gz", "hourbank-frontend-0.2.0.tgz"]
    assert sorted(path.name for path in (clone.folder / "dist").iterdir()) == ["SHA256SUMS", *names]
    digests = [hashlib.sha256((clone.folder / "dist" / name).read_bytes()).hexdigest() for name in names]
    assert sums == "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    with zipfile.ZipFile(clone.folder / "dist" / names[0]) as wheel:
        assert wheel.read("hourbank/project/frontend/console/dist/index.html") == b"built"
        assert b"\nVersion: 0.2.0\n" in wheel.read("hourbank-0.2.0.dist-info/METADATA")
    assert "0.2.0 is out" in refused(clone, "0.2.0")
    assert "says nothing in" in refused(clone, "0.3.0")


def test_make_asks_for_the_version() -> None:
    command = ["make", "--silent", "-o", ".venv/.locked", "release"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "make release: which version?" in done.stderr
