"""The embedded emulator of AWS: ministack, in a process group of its own, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from functools import cache, cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session

from hourbank.errors import HourBankError
from hourbank.local import machine
from hourbank.local.machine import REGION
from hourbank.local.patience import STALLED_SECONDS, Patience
from hourbank.names import IS_INSTALLED, ROOT, to_install

ACCOUNT = "000000000000"

LAUNCHER = Path(__file__).with_name("processes") / "emulator_process.py"
# Access key and secret: the emulator takes any, and `test` is its account's root user where it enforces IAM.
ANYBODY = ("local", "local")
ROOT_CREDENTIALS = ("test", "test")


@cache
def client(endpoint: str, service: str, access_key: str = ANYBODY[0], secret_key: str = ANYBODY[1]) -> Any:
    """Return a client of `service` (as boto3 names it, thread-safe) that speaks to the emulator and to nothing else.

    The user's own profile, credentials, service endpoints and proxies are left out: a demo must never reach an account.
    """
    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    return session.create_client(
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=botocore.config.Config(
            proxies={},
            max_pool_connections=64,
            read_timeout=STALLED_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


class Emulator:
    """A running emulator; a context manager that leaves no process behind, however it is left.

    The emulator's launcher holds the other end of a pipe and kills its process group when that closes, so the group
    (emulator and every Lambda process) dies with this process even where this process is killed by SIGKILL.

    Parameters
    ----------
    enforce_iam : bool
        Whether signatures and policies count, those of the functions' roles too; `client` is then an administrator's.
    port : int
        Of one that runs already, which another process has started and ends.

    Attributes
    ----------
    endpoint : str
        `http://127.0.0.1:<port>`, for every service.
    credentials : tuple of str
        Access key and secret of `client`.
    log : Path
        What the emulator printed; gone after `stop`.
    """

    def __init__(self, *, enforce_iam: bool = False, port: int = 0) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._enforce_iam = enforce_iam
        self.credentials = ANYBODY
        self.port = port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def directory(self) -> Path:
        return machine.working_folder()

    @property
    def log(self) -> Path:
        return self.directory / "emulator.log"

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        return client(self.endpoint, service, *self.credentials)

    def start(self) -> Emulator:
        """Start it and wait until it answers.

        Raises
        ------
        HourBankError
            If its Python environment is missing, or it does not answer in time.
        """
        python = _python()
        machine.check_limits()
        try:
            for _ in range(3):  # another process may take the port between the choice and the bind
                self.port = _free_port()
                self._process = self._launch(python)
                if self._ready():
                    if self._enforce_iam:
                        self.credentials = self._make_administrator()
                    return self
                if self._process.poll() is None:
                    raise HourBankError(f"the emulator does not answer after {STALLED_SECONDS} s: {self.last_words()}")
                self._kill()
            raise HourBankError(f"the emulator did not start: {self.last_words()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the whole process group and remove its files; may be called more than once."""
        self._kill()
        if "directory" in self.__dict__:
            shutil.rmtree(self.directory, ignore_errors=True)
            del self.__dict__["directory"]

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, python: Path) -> subprocess.Popen[bytes]:
        environment = machine.of_emulator(os.environ, self.directory) | {
            "AUTH": str(self._enforce_iam).lower(),
            "AWS_ENDPOINT_URL": self.endpoint,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            # a port of the machine's, open to all, for a service that is not used
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "MINISTACK_REGION": REGION,
            "SFTP_ENABLED": "0",
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [python, LAUNCHER, self.directory, sys.executable],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.directory,
                start_new_session=True,
                umask=0o077,
            )

    def _ready(self) -> bool:
        patience = Patience()
        while self._process is not None and self._process.poll() is None and not patience.is_over():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                # another process may have taken the port meanwhile, an emulator too
                connection.request("GET", "/_hourbank/process")
                if connection.getresponse().read() == str(self._process.pid).encode():
                    return True
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.05)
        return False

    def _make_administrator(self) -> tuple[str, str]:
        iam = client(self.endpoint, "iam", *ROOT_CREDENTIALS)
        iam.create_user(UserName="administrator")
        statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="administrator", PolicyName="everything", PolicyDocument=policy)
        key = iam.create_access_key(UserName="administrator")["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only zombies are left
            os.killpg(process.pid, signal.SIGKILL)  # start_new_session made it the leader of its group
        process.wait()
        if process.stdin:
            process.stdin.close()

    def last_words(self) -> str:
        """Return the last line that it printed, which tells of the machine's limits where it met one."""
        is_here = "directory" in self.__dict__ and self.log.exists()
        lines = self.log.read_text(errors="replace").split("\n") if is_here else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def _python() -> Path:
    """Return the Python that has the emulator: this one where hourbank was installed with it, else a clone's other."""
    if configured := os.environ.get("HOURBANK_EMULATOR_PYTHON"):
        python, instead = Path(configured), "see HOURBANK_EMULATOR_PYTHON, or unset it"
    elif IS_INSTALLED or _is_beside():
        if not _is_beside():
            raise HourBankError(f"the emulator is not installed here: `{to_install('emulator')}` does it")
        return Path(sys.executable)
    else:
        python, instead = ROOT / ".venv-emulator" / "bin" / "python", "run `make .venv-emulator`"
    if not python.exists():
        raise HourBankError(f"the emulator's Python is not at {python}: {instead}")
    return python


def _is_beside() -> bool:
    """Whether this Python has the emulator installed; what else the user lets it find is not what it starts with."""
    return PathFinder.find_spec("ministack", [sysconfig.get_path("purelib")]) is not None


def _free_port() -> int:
    try:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return port
    except OSError as error:
        raise HourBankError(
            f"this machine does not reach itself at 127.0.0.1 ({error.strerror or error}): see its loopback interface"
        ) from None
