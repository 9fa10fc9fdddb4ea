"""Files that an export writes: over what an export wrote before, and over nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hourbank.errors import HourBankError

# A file that the functions' archive has.
HANDLER = "handlers/process_escrow_release.py"
MOVE_IT = "move it away, the name is fixed"
# The first line of what is written here, so that nothing else is ever written over.
HEADER = "# Written by `hourbank export`: change the program instead, and export again."
HOOK_HEADER = HEADER.replace("#", "//", 1)


# What reading somebody's file raises, also where it is not the JSON or the text that it is taken for.
UNREADABLE = (OSError, ValueError, RecursionError)


def why_unreadable(error: BaseException) -> str:
    """Say why a file cannot be read, in words that stand behind its name."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:200]


def is_ours(path: Path, header: str) -> bool:
    """Whether an export wrote a file."""
    return header.encode() in path.read_bytes()[:1000]


def refuse_foreign(path: Path, header: str, instead: str = "remove it, or choose another name") -> None:
    """Refuse to write over a file that an export did not write.

    Raises
    ------
    HourBankError
        The file is somebody's, or its folder is not there.
    """
    if not path.parent.is_dir():
        raise HourBankError(f"{path.parent} is not a folder: make it, or choose another place")
    if path.is_dir():
        if instead == MOVE_IT:
            raise HourBankError(f"{path} is a folder: {instead}")
        raise HourBankError(f"{path} is a folder: give the file's name, such as {path / 'template.yaml'}")
    refuse_dangling(path)
    if path.exists() and not is_ours(path, header):
        raise HourBankError(f"{path} was not written by this command: {instead}")


def refuse_foreign_archive(path: Path) -> None:
    """Refuse to write over an archive that is not the functions', of whatever version.

    Raises
    ------
    HourBankError
        The file is somebody's.
    """
    refuse_dangling(path)
    if not path.exists():
        return
    try:
        with zipfile.ZipFile(path) as archive:
            ours = HANDLER in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        ours = False
    if not ours:
        raise HourBankError(f"{path} was not written by this command: {MOVE_IT}")


def refuse_dangling(path: Path) -> None:
    """Refuse what is neither there nor free; raises HourBankError."""
    if path.is_symlink() and not path.exists():
        raise HourBankError(f"{path} is a link to what is not there: remove it")


def write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises
    ------
    HourBankError
        It cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise HourBankError(f"{path} cannot be written: {error.strerror}") from error
