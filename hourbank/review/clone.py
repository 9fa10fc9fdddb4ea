"""What git has of two versions of this project, in whatever clone: shallow, partial, a worktree, a folder of another's.

What git refuses is told in its own words. git 2.25 is enough.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from hourbank.errors import HourBankError
from hourbank.names import NAMED, project_folder

# With these a hook is told which repository it is of; here it is that of this folder.
OF_A_HOOK = ("GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_WORK_TREE")


class GitRefusal(HourBankError):
    """git does not do it; its own words."""


@dataclass(frozen=True, kw_only=True)
class Commits:
    """The two commits to compare."""

    before: str
    after: str | None
    """None for the files as they are."""
    have_common: bool
    """Whether the first is where the second left the base; else they are the two that were named."""


def clone() -> Path:
    """The folder of the program in the user's clone.

    Raises
    ------
    HourBankError
        There is none here.
    """
    if folder := project_folder():
        return folder
    raise HourBankError("two commits of a clone are compared, and this folder is in none: run this in yours")


def git(*arguments: str, folder: Path | None = None) -> bytes:
    """What git says.

    Raises
    ------
    GitRefusal
        One line.
    """
    environment = {key: value for key, value in os.environ.items() if key not in OF_A_HOOK}
    try:
        ended = subprocess.run(
            ["git", "-C", folder or clone(), *arguments],
            capture_output=True,
            check=False,
            env=environment | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise HourBankError("there is no git on the PATH: install it") from None
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").replace("fatal: ", "")
        raise GitRefusal(f"git refuses: {' '.join(said.split())[:600] or arguments[0]}")
    return ended.stdout


def line(*arguments: str) -> str:
    return git(*arguments).decode().rstrip("\n")


def find(base: str, head: str | None) -> Commits:
    """The commits to compare: as a pull request does, what is in the head since it left the base.

    Raises
    ------
    HourBankError
        One line: this is no clone, or a commit that is needed is not in it.
    """
    try:
        git("rev-parse", "--git-dir")
    except GitRefusal as refusal:
        if "not a git repository" not in str(refusal):
            raise
        raise HourBankError(f"{clone()} is not in a git repository: run this in a clone") from None
    before, after = commit(base), commit(head or "HEAD")
    try:
        common = line("merge-base", before, after).split()
    except GitRefusal:
        common = []
    if not common and is_shallow():
        raise HourBankError(
            f"this clone is shallow, and has no commit that {head or 'HEAD'} and {base} have in common: {fetch(base)}"
        )
    return Commits(before=common[0] if common else before, after=after if head else None, have_common=bool(common))


def commit(ref: str) -> str:
    try:
        if ref.startswith("-"):
            raise GitRefusal("it is an option")
        return line("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except GitRefusal:
        if ref == "HEAD":
            raise HourBankError("nothing is committed here yet: commit first") from None
        raise HourBankError(f"there is no commit {ref} here: {how_to_get(ref)}") from None


def how_to_get(ref: str) -> str:
    """What to do where a commit is not here."""
    if not (remotes := line("remote").splitlines()) or ref.startswith("-"):
        return "name another"
    command = fetch(ref)
    is_local = ref.partition("/")[0] not in remotes and not re.fullmatch(r"[0-9a-f]{7,64}|.*[~^@].*", ref)
    return f"{command}, then name it {remote_of(ref)}/{ref}, or another" if is_local else f"{command}, or name another"


def remote_of(ref: str) -> str:
    remotes = line("remote").splitlines() or ["origin"]
    return next(one for one in (ref.partition("/")[0], "origin", remotes[0]) if one in remotes)


def fetch(ref: str) -> str:
    """The command that brings all that a remote has, also into a clone of one branch, or of a part of its history."""
    remote = remote_of(ref)
    depth = "--unshallow " if is_shallow() else ""
    return f"git fetch {depth}{remote} '+refs/heads/*:refs/remotes/{remote}/*'"


def is_shallow() -> bool:
    return line("rev-parse", "--is-shallow-repository") == "true"


def prefix() -> str:
    """This folder in its repository, with a slash at its end; empty for the top."""
    return line("rev-parse", "--show-prefix")


def place(found: str) -> str | None:
    """The folder of the program in a commit, with a slash at its end: where it is now, else wherever it is alone.

    None where the commit has none.
    """
    here = prefix()
    files = set(git("ls-tree", "-r", "-z", "--name-only", "--full-tree", found).decode(errors="replace").split("\0"))
    folders = [
        folder
        for file in sorted(files)
        if (folder := file.removesuffix("__main__.py")) != file
        and folder[-1:] in ("", "/")
        and f"{folder}Pulumi.yaml" in files
        and any(one.startswith(f"{folder}components/") for one in files)
    ]
    if here in folders:
        return here
    ours = [one for one in folders if NAMED.search(git("show", f"{found}:{one}Pulumi.yaml").decode(errors="replace"))]
    return ours[0] if len(ours) == 1 else None


def within(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """What may be unpacked: all but links that lead out of the folder, which the program does not need."""
    try:
        return tarfile.data_filter(member, folder)
    except tarfile.FilterError:
        return None


def extract(found: str, place: str, folder: Path) -> Path:
    """The files of the program in a commit, in a folder."""
    top = Path(line("rev-parse", "--show-toplevel"))
    packed = git("archive", "--format=tar", f"{found}:{place.rstrip('/')}" if place else found, folder=top)
    try:
        with tarfile.open(fileobj=BytesIO(packed)) as files:
            files.extractall(folder, filter=within)  # noqa: S202 - the filter is stricter than the standard one
    except tarfile.TarError as error:
        raise HourBankError(f"{found[:10]} cannot be unpacked: {error}") from None
    return folder
