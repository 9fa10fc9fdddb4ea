"""Makes a release: `make release VERSION=1.2.3`. Publishes nothing.

The release is committed and built in a worktree of its own. So what is built is what is committed, and a build that
fails leaves nothing: files, tag and branch come last. The version is in pyproject.toml; the files that other
tools want it in too are written with it.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent
DIST = CLONE / "dist"
NUMBERS = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
UNRELEASED = re.compile(r"^## \[Unreleased\][ \t]*\n(?P<text>.*?)(?=^## \[|\Z)", re.MULTILINE | re.DOTALL)
# What names the version, and how often, around the version itself.
PLACES = {
    "pyproject.toml": (r'(^\[project\]\nname = "hourbank"\nversion = ")[^"]+(")', 1),
    "uv.lock": (r'(^name = "hourbank"\nversion = ")[^"]+(")', 1),
    "frontend/package.json": (r'(^  "name": "hourbank-frontend",\n  "version": ")[^"]+(")', 1),
    "frontend/package-lock.json": (r'(^ +"name": "hourbank-frontend",\n +"version": ")[^"]+(")', 2),
}
BUILT = ("frontend/console/dist/index.html", "frontend/dist/src/index.js")
BACKEND = "import sys, build_backend as b; b.build_sdist(sys.argv[1]); b.build_wheel(sys.argv[1])"


class Refused(Exception):
    """What is wrong and what to do, in one line."""


def main(version: str) -> None:
    if not re.fullmatch(NUMBERS, version):
        raise Refused("which version? Name it by three numbers: make release VERSION=1.2.3")
    if git("status", "--porcelain"):
        raise Refused("the working tree has changes: commit them, or put them away (git stash --include-untracked)")
    changelog = (CLONE / "CHANGELOG.md").read_text(encoding="utf-8")
    refuse_old(version, changelog)
    changed = released(changelog, version, f"{datetime.now(UTC):%Y-%m-%d}")
    with worktree() as tree, tempfile.TemporaryDirectory(prefix="hourbank-release-") as out:
        (tree / "CHANGELOG.md").write_text(changed, encoding="utf-8")
        for file, (pattern, count) in PLACES.items():
            write_version(tree / file, pattern, count, version)
        git("commit", "--quiet", "--all", "--message", f"Release {version}", folder=tree)
        names = build(tree, Path(out), version)
        put(Path(out), names)
        try:
            commit_here(version, git("rev-parse", "HEAD", folder=tree), notes=changed)
        except Refused:
            shutil.rmtree(DIST)
            raise
    for name in names:
        print(f"dist/{name}")
    print(
        f"v{version} is committed and tagged here, and published nowhere: git push --follow-tags, when it may be seen"
    )


def refuse_old(version: str, changelog: str) -> None:
    """Refuses a version that is out, or is not newer than all that are."""
    tags = {tag.removeprefix("v") for tag in git("tag", "--list", "v*").split()}
    if version in tags:
        raise Refused(f"{version} is out, there is a tag v{version}: name a newer version")
    told = re.findall(rf"^## \[({NUMBERS})\]", changelog, re.MULTILINE)
    out = {tag for tag in tags if re.fullmatch(NUMBERS, tag)} | {one[0] for one in told}
    newest = max(out, key=ordered, default="")
    if newest and ordered(version) <= ordered(newest):
        raise Refused(f"{version} is not newer than {newest}, which is out: name a newer version")
    with (CLONE / "pyproject.toml").open("rb") as file:
        written = tomllib.load(file)["project"]["version"]
    if ordered(version) < ordered(written):
        raise Refused(f"{version} is older than {written}, which pyproject.toml says: name a newer version")


def ordered(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def released(changelog: str, version: str, day: str) -> str:
    """The changelog, what was unreleased in a part of its own."""
    found = UNRELEASED.search(changelog)
    if not found:
        raise Refused("CHANGELOG.md has no part `## [Unreleased]`: write one, with what is new")
    if not re.search(r"^[-*] ", found["text"], re.MULTILINE):
        raise Refused("CHANGELOG.md says nothing in `## [Unreleased]`: write what is new there, and commit it")
    return f"{changelog[: found.start('text')]}\n## [{version}] - {day}\n{changelog[found.start('text') :]}"


def write_version(file: Path, pattern: str, count: int, version: str) -> None:
    text = file.read_text(encoding="utf-8")
    text, found = re.subn(pattern, rf"\g<1>{version}\g<2>", text, flags=re.MULTILINE)
    if found != count:
        raise Refused(f"{file.name} does not say its version as it did: see PLACES in tools/release.py")
    file.write_text(text, encoding="utf-8")


@contextmanager
def worktree() -> Iterator[Path]:
    """What is committed, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hourbank-release-") as folder:
        tree = Path(folder) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
        try:
            yield tree / git("rev-parse", "--show-prefix")
        finally:
            git("worktree", "remove", "--force", str(tree))


def build(tree: Path, out: Path, version: str) -> list[str]:
    """The files of the release: source distribution, wheel, npm's package, and their sums."""
    run(["make", "--silent", "frontend"], tree)
    if missing := [file for file in BUILT if not (tree / file).is_file()]:
        raise Refused(f"{missing[0]} was not built: install Node 20.19 or newer, which the page and the package need")
    pack = [*shlex.split(os.environ.get("NPM", "npm")), "pack", "--silent", "--pack-destination", str(out)]
    run(pack, tree / "frontend")
    # by the locked backend, which is beside this Python
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(tree / "tools")}
    run([sys.executable, "-c", BACKEND, str(out)], tree, tools)
    names = (f"hourbank-{version}.tar.gz", f"hourbank-{version}-py3-none-any.whl", f"hourbank-frontend-{version}.tgz")
    if missing := [name for name in names if not (out / name).is_file()]:
        raise Refused(f"{missing[0]} was not built: see what is above")
    sums = (f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names))
    (out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return [*sorted(names), "SHA256SUMS"]


def put(out: Path, names: list[str]) -> None:
    """Puts the files where they are looked for, alone."""
    try:
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
        for name in names:
            shutil.move(out / name, DIST / name)
    except OSError as error:
        raise Refused(f"{DIST} cannot be written ({error.strerror}); nothing is committed or tagged") from None


def commit_here(version: str, commit: str, notes: str) -> None:
    """Moves tag and branch, both or none."""
    found = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## \[|\Z)", notes, re.MULTILINE | re.DOTALL)
    message = f"HourBank {version}\n\n{found[1].strip() if found else ''}\n"
    git("tag", "--annotate", "--cleanup=whitespace", "--message", message, f"v{version}", commit)
    try:
        git("merge", "--quiet", "--ff-only", commit)
    except Refused:
        git("tag", "--delete", f"v{version}")
        raise


def git(*arguments: str, folder: Path = CLONE) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or "it says nothing"
        raise Refused(f"git {arguments[0]} refuses: {said}")
    return done.stdout.strip()


def run(command: list[str], folder: Path, more: dict[str, str] | None = None) -> None:
    """Runs a step of the build, whose words go to standard error."""
    done = subprocess.run(command, cwd=folder, env=os.environ | (more or {}), check=False, stdout=sys.stderr)
    if done.returncode:
        raise Refused(f"`{' '.join(command[:3])}` failed, see above; nothing is committed or tagged")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refused as refused:
        sys.exit(f"make release: {refused}")
    except KeyboardInterrupt:
        sys.exit(130)
