"""What a local run takes of the machine and its user: a few variables, and a folder in which programs run.

By lists of what is let in: every new release of the emulator, of boto3 and of Pulumi may read one more variable, and a
run that follows a setting meant for something else fails far from it, or reaches an account.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from hourbank.errors import HourBankError
from hourbank.names import IS_INSTALLED, ROOT

REGION = "us-east-1"
# Where Python itself may find its libraries.
_LIBRARIES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
# How this program is called, how it prints, what time it shows, and where it may write.
KEPT = (
    *("PATH", "HOURBANK_*", "PYTHON*", *_LIBRARIES),
    *("TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "LANG", "LC_*", "LOCPATH", "TZ"),
    *("TMPDIR", "TEMP", "TMP"),
)
# Of the emulator's process: a few for each function that runs.
_FILES = 256
# The functions' files and what they print: far more than a demo needs.
_ROOM_MB = 16
# The emulator, some functions at a time, each with one that has asked for it, and what else the user has.
_PROCESSES = 150
_ADDRESSES = 2_000_000 * 1024
_PROBE = "#!/bin/sh\nexit 0\n"
_PROBE_SECONDS = 60

# boto3 looks nowhere else, neither for a file nor for a host that tells credentials. There is no home, because a file
# below ~/.aws/models can replace a service's API.
_NO_ACCOUNT = {
    "HOME": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


def shut_off(environment: Mapping[str, str], *, also: Collection[str] = ()) -> dict[str, str]:
    """Return what this process may know of its environment: `KEPT`, and nothing that leads boto3 to an account.

    Parameters
    ----------
    environment : mapping
        Variables by name.
    also : collection of str
        More names, or patterns of names, that are let in.
    """
    names = (*KEPT, *also)
    kept = {name: value for name, value in environment.items() if any(fnmatchcase(name, one) for one in names)}
    return _NO_ACCOUNT | kept


def shut_off_this_process(*, also: Collection[str] = ()) -> None:
    """Let this process forget the user's settings, for all that is imported and started from here on."""
    kept = shut_off(os.environ, also=also)
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    os.environ |= kept


def of_emulator(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of the emulator's process, which each function's process inherits.

    Parameters
    ----------
    environment : mapping
        This process's.
    folder : Path
        Where all its files go.
    """
    libraries = {name: environment[name] for name in _LIBRARIES if name in environment}
    # as on Lambda; and no locale of the machine's, which may be one that is not there
    fixed = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", "TZ": "UTC"}
    return libraries | _NO_ACCOUNT | fixed | {"PYTHONUTF8": "1"}


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where `hourbank up` tells other terminals of itself: HOURBANK_STATE, else in the clone.

    Where the user may not write there, as in somebody else's clone, and where hourbank is installed, a folder of the
    user's beside temporary files.
    """
    if told := environment.get("HOURBANK_STATE"):
        return Path(told)
    folder = ROOT / ".hourbank"
    if not IS_INSTALLED and os.access(folder if folder.exists() else ROOT, os.W_OK | os.X_OK):
        return folder
    own = [Path(place) / f"hourbank-of-{os.getuid()}" for place in _places()]
    return next((folder for folder in own if _is_free_or_ours(folder)), folder)


def _is_free_or_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return True
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def make_state_folder(folder: Path) -> None:
    """Make it, where it is not there yet.

    Raises
    ------
    HourBankError
        If it cannot be written.
    """
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HourBankError(
            f"{folder} cannot be written ({error.strerror}): set HOURBANK_STATE to a folder of yours, here and in "
            "other terminals"
        ) from None


def write_whole(file: Path, text: str) -> None:
    """Write a file of the state folder, for this user alone; whoever reads it finds all of it, or what was before.

    Raises
    ------
    HourBankError
        If it cannot be written.
    """
    new = file.with_suffix(".new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as content:  # noqa: PTH123
            os.fchmod(descriptor, 0o600)
            content.write(text)
            content.flush()
            os.fsync(descriptor)
        new.replace(file)
    except OSError as error:
        raise HourBankError(f"{file} cannot be written ({error.strerror}): see HOURBANK_STATE") from None


def check_limits() -> None:
    """Refuse limits with which functions would wait for each other for ever, or end in the midst of their work.

    Raises
    ------
    HourBankError
        If this user may not have enough processes, or a process not enough files or memory.
    """
    # root may have as many as there are
    if os.geteuid() and (most := _most(resource.RLIMIT_NPROC)) < _PROCESSES:
        raise HourBankError(
            f"a user may have {most} processes here, and a local run needs {_PROCESSES}: raise the limit (ulimit -u)"
        )
    if (most := _most(resource.RLIMIT_AS)) < _ADDRESSES:
        raise HourBankError(
            f"a program may have {most // 1024} KB of memory here, and the emulator needs {_ADDRESSES // 1024}: raise "
            "the limit (ulimit -v)"
        )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES:
        raise HourBankError(
            f"a program may open {most} files here, and the emulator needs {_FILES}: raise the limit (ulimit -Hn)"
        )


def _most(limit: int) -> float:
    most = resource.getrlimit(limit)[0]
    return math.inf if most == resource.RLIM_INFINITY else most


def working_folder() -> Path:
    """Make a folder for this user alone, in which programs can be run and some files have room.

    Raises
    ------
    HourBankError
        If the machine has none.
    """
    refused = []
    for place in _places():
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix="hourbank-", dir=place))
            folder.chmod(0o700)  # whatever the umask
            _try(folder)
        except (OSError, subprocess.SubprocessError) as error:
            if getattr(error, "errno", None) in (errno.EAGAIN, errno.ENOMEM):
                raise HourBankError("no process can be started: there are too many, or too little memory") from None
            refused.append(f"{place} ({_why(error)})")
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            return folder
    raise HourBankError(
        f"no folder for temporary files serves: {', '.join(refused)}: set TMPDIR to a folder with {_ROOM_MB} MB "
        "in which programs may run"
    )


def _places() -> Iterator[str]:
    """Where temporary files go on this machine, then where they might; each once."""
    told = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    last = () if IS_INSTALLED else (str(ROOT),)
    places = [os.path.abspath(place) for place in (*told, "/tmp", "/var/tmp", *last)]  # noqa: PTH100, S108
    yield from dict.fromkeys(places)


def _try(folder: Path) -> None:
    """Do there what will be done there; raises OSError or SubprocessError."""
    program, content = folder / "probe", folder / "room"
    descriptor = os.open(program, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123
        os.fchmod(descriptor, 0o700)
        file.write(_PROBE)
    subprocess.run([program], check=True, timeout=_PROBE_SECONDS, env={}, stdin=subprocess.DEVNULL)
    with content.open("wb") as file:
        for _ in range(_ROOM_MB):
            file.write(bytes(1_000_000))
    program.unlink()
    content.unlink()


def _why(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename and str(error.filename).endswith("probe"):
        return "lets no program run"
    return str(getattr(error, "strerror", None) or error).lower()
